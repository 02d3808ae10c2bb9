//! Ports: with a daemon, does each answer as it should? Without one, could each be opened?

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use postern_shared::tls::client::{Trust, client_config};
use postern_shared::tls::server::Identity;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use super::Finding;
use crate::listen::BindError;
use crate::settings::Settings;

const CHECK: &str = "ports";
const DEADLINE: Duration = Duration::from_secs(3);

pub(super) fn check(settings: &Settings, status: &Value, identity: Option<&Identity>) -> Finding {
    match status["listening"].as_object() {
        Some(listening) => {
            let open = listening.iter().flat_map(|(name, all)| {
                let addresses = all.as_array().into_iter().flatten().filter_map(Value::as_str);
                addresses.filter_map(move |text| Some((name.as_str(), text.parse::<SocketAddr>().ok()?)))
            });
            answering(open, identity)
        }
        None => free(settings),
    }
}

fn answering<'n>(open: impl Iterator<Item = (&'n str, SocketAddr)>, identity: Option<&Identity>) -> Finding {
    let (mut good, mut trouble) = (Vec::new(), Vec::new());
    for (name, address) in open {
        match try_out(name, reachable(address), identity) {
            Ok(()) => good.push(format!("{name} {address}")),
            Err(error) => trouble.push(format!("{name} {address}: {error}")),
        }
    }
    if trouble.is_empty() {
        return Finding::ok(CHECK, format!("all answer: {}", good.join(", ")));
    }
    let advice = "look into the daemon's log; after a change of certificate or configuration, restart it";
    Finding::fail(CHECK, trouble.join("; "), advice)
}

/// Connects, and waits for what this listener should say.
fn try_out(name: &str, address: SocketAddr, identity: Option<&Identity>) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let expected: &[u8] = match name {
        "smtp" | "submission" | "smtps" => b"220",
        "pop3" | "pop3s" => b"+OK",
        // Connecting is all that can be said of others.
        _ => return Ok(()),
    };
    let mut said = [0; 3];
    match identity {
        Some(identity) if name.ends_with('s') => {
            let config = client_config(&Trust::Pinned(identity.fingerprint())).map_err(io::Error::other)?;
            let server = ServerName::from(address.ip());
            let tls = ClientConnection::new(Arc::new(config), server).map_err(io::Error::other)?;
            StreamOwned::new(tls, stream).read_exact(&mut said)?;
        }
        _ if name.ends_with('s') => return Ok(()),
        _ => stream.read_exact(&mut said)?,
    }
    if said != *expected {
        return Err(io::Error::other(format!("it says {:?}", String::from_utf8_lossy(&said))));
    }
    Ok(())
}

fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([0, 0, 0, 0, 0, 0, 0, 1], v6.port()).into(),
        other => other,
    }
}

fn free(settings: &Settings) -> Finding {
    let listen = &settings.listen;
    let all = [
        ("smtp", &listen.smtp),
        ("smtps", &listen.smtps),
        ("submission", &listen.submission),
        ("pop3", &listen.pop3),
        ("pop3s", &listen.pop3s),
        ("metrics", &listen.metrics),
        ("console", &listen.console),
    ];
    let mut trouble = Vec::new();
    for (listener, addresses) in all {
        for &address in &addresses.0 {
            if let Err(source) = TcpListener::bind(address) {
                trouble.push(BindError { listener, address, source }.to_string());
            }
        }
    }
    if trouble.is_empty() {
        return Finding::ok(CHECK, "no daemon runs, and all its ports are free");
    }
    Finding::fail(CHECK, trouble.join("; "), "or change the address in [listen]")
}
