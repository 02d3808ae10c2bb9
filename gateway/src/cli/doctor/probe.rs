//! Connecting to one of our own listeners as a client does: what it says, and which certificate it really shows.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::tls::client::{Trust, client_config};
use postern_shared::tls::server::Leaf;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(5);
const LINE_BYTES_MAX: u64 = 2048;
const LINES_MAX: usize = 100;

/// What a listener did.
#[derive(Debug)]
pub(super) struct Probe {
    /// The key in `[listen]`.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// The certificate, where there is TLS; or what went wrong.
    pub(super) shown: io::Result<Option<Shown>>,
}

/// A certificate as a client sees it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) fingerprint: Digest,
    pub(super) leaf: Option<Leaf>,
}

/// Tries every listener that the daemon's status names.
pub(super) fn all(status: &Value) -> Option<Vec<Probe>> {
    let listening = status["listening"].as_object()?;
    let open = listening.iter().flat_map(|(name, all)| {
        let addresses = all.as_array().into_iter().flatten().filter_map(Value::as_str);
        addresses.filter_map(move |text| Some((name.clone(), text.parse::<SocketAddr>().ok()?)))
    });
    Some(open.map(|(name, address)| Probe { shown: one(&name, reachable(address)), name, address }).collect())
}

fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([0, 0, 0, 0, 0, 0, 0, 1], v6.port()).into(),
        other => other,
    }
}

fn one(name: &str, address: SocketAddr) -> io::Result<Option<Shown>> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    match name {
        "smtp" | "submission" => {
            let mut lines = BufReader::new(stream);
            reply(&mut lines, "220")?;
            lines.get_mut().write_all(b"EHLO doctor.invalid\r\n")?;
            reply(&mut lines, "250")?;
            lines.get_mut().write_all(b"STARTTLS\r\n")?;
            reply(&mut lines, "220")?;
            handshake(lines.into_inner(), address, None).map(Some)
        }
        "pop3" => {
            let mut lines = BufReader::new(stream);
            reply(&mut lines, "+OK")?;
            lines.get_mut().write_all(b"STLS\r\n")?;
            reply(&mut lines, "+OK")?;
            handshake(lines.into_inner(), address, None).map(Some)
        }
        "smtps" => handshake(stream, address, Some("220")).map(Some),
        "pop3s" => handshake(stream, address, Some("+OK")).map(Some),
        // Browsers speak first.
        "console" => handshake(stream, address, None).map(Some),
        "http01" => challenges(stream).map(|()| None),
        // Connecting is all that can be said of others.
        _ => Ok(None),
    }
}

/// Reads a reply to its last line (RFC 5321 §4.2.1; POP3 has one line).
fn reply(lines: &mut impl BufRead, expected: &str) -> io::Result<()> {
    for _ in 0..LINES_MAX {
        let mut line = String::new();
        if lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(rest) = line.strip_prefix(expected) else {
            return Err(io::Error::other(format!("it says {:?}", line.trim_end())));
        };
        if !rest.starts_with('-') {
            return Ok(());
        }
    }
    Err(io::Error::other("it does not stop talking"))
}

fn handshake(mut stream: TcpStream, address: SocketAddr, greeting: Option<&str>) -> io::Result<Shown> {
    // What is shown is judged afterwards.
    let config = client_config(&Trust::Any).map_err(io::Error::other)?;
    let name = ServerName::from(address.ip());
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    if let Some(greeting) = greeting {
        reply(&mut BufReader::new(rustls::Stream::new(&mut tls, &mut stream)), greeting)?;
    }
    let leaf = tls.peer_certificates().and_then(|chain| chain.first());
    let leaf = leaf.ok_or_else(|| io::Error::other("it shows no certificate"))?;
    Ok(Shown { fingerprint: sha256(leaf), leaf: Leaf::read(leaf) })
}

/// Whether a connection leads to our answers to challenges.
pub(super) fn challenges(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /.well-known/acme-challenge/doctor HTTP/1.0\r\nHost: doctor.invalid\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LINE_BYTES_MAX).read_to_string(&mut answer)?;
    if answer.contains("nothing is here but answers to ACME challenges") {
        return Ok(());
    }
    let first = answer.lines().next().unwrap_or_default();
    Err(io::Error::other(format!("something else answers: {first:?}")))
}
