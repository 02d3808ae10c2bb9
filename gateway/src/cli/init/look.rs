//! What of an answer this machine can see. An error is a mistake; a note is what the operator should know.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _, UdpSocket};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk, access};
use postern_shared::telemetry::explain;
use postern_shared::tls::server::Identity;

use crate::listen::BindError;

/// Let's Encrypt's terms of service.
pub(super) const TERMS: &str = "https://letsencrypt.org/repository/";
/// How long a name server may take.
const PATIENCE: Duration = Duration::from_secs(5);
const HTTP: u16 = 80;

/// Whether a name leads to this machine.
pub(super) fn leads_here(name: &str) -> Option<String> {
    let (found, asked) = mpsc::channel();
    let question = (name.to_owned(), 0);
    // It may wait for name servers for longer than anybody likes; then it ends with the program.
    std::thread::spawn(move || found.send(question.to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
    let addresses = match asked.recv_timeout(PATIENCE) {
        Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
        Err(_) => return Some(format!("{name} was not looked up in time: see whether the DNS knows it")),
        _ => {
            let advice = "senders and archivers will not find it until the DNS does (A or AAAA record)";
            return Some(format!("{name} has no address yet; {advice}"));
        }
    };
    let is_ours = |address: &SocketAddr| UdpSocket::bind((address.ip(), 0)).is_ok();
    if addresses.iter().any(is_ours) {
        return None;
    }
    let all = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
    let advice = "that is right behind address translation; else correct the DNS";
    Some(format!("{name} leads to {all}, which is no address of this machine; {advice}"))
}

/// Whether the port that an authority asks can be had.
pub(super) fn challenge_port() -> Option<String> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), HTTP);
    let source = TcpListener::bind(address).err()?;
    let trouble = BindError { listener: "http01", address, source };
    Some(format!("{trouble}. Let's Encrypt asks port 80: free it, or forward it and set listen.http01"))
}

/// Whether a certificate and its key can be served.
pub(super) fn at_certificate(certificate: &Path, key: &Path) -> Result<Option<String>, String> {
    let identity = Identity::from_pem_files(&RealDisk, certificate, key).map_err(|error| explain(&error))?;
    let now = SystemClock::new().wall();
    match identity.expires() {
        Some(expires) if expires <= now => {
            Err(format!("the certificate expired on {expires}; get a new one"))
        }
        Some(expires) => Ok(Some(format!("the certificate is good until {expires}"))),
        None => Ok(None),
    }
}

/// Whether a directory can be the data directory.
pub(super) fn at_data_dir(path: &Path) -> Result<Option<String>, String> {
    match access(path) {
        Err(_) => Ok(None),
        Ok(found) if found.mode & 0o170_000 != 0o040_000 => {
            Err(format!("{} is no directory", path.display()))
        }
        Ok(_) => {
            let is_used = RealDisk.exists(&path.join("mailboxes")).unwrap_or(false);
            Ok(is_used.then(|| format!("{} holds mailboxes already; they are used on", path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::write_atomic;

    use super::*;

    #[test]
    fn names_are_looked_up() {
        assert_eq!(leads_here("localhost"), None);
        assert_eq!(leads_here("127.0.0.1"), None);
        let elsewhere = leads_here("192.0.2.1").unwrap();
        assert!(elsewhere.contains("no address of this machine"), "{elsewhere}");
        assert!(leads_here("nowhere.invalid").is_some());
    }

    #[test]
    fn a_file_is_no_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        write_atomic(&RealDisk, &file, b"").unwrap();
        assert!(at_data_dir(&file).unwrap_err().contains("no directory"));
        assert_eq!(at_data_dir(dir.path()), Ok(None));
        assert_eq!(at_data_dir(&dir.path().join("new")), Ok(None));
        RealDisk.create_dir_all(&dir.path().join("mailboxes")).unwrap();
        assert!(at_data_dir(dir.path()).unwrap().unwrap().contains("holds mailboxes"));
    }
}
