//! Every listener with TLS, seen by a client that keeps its tickets.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postern_shared::crypto::digest::sha256;
use postern_shared::tls::client::{Trust, client_config};
use postern_tests::program::Program;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

/// Whatever a browser asks for first.
const REQUEST: &str = "GET /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\n";

/// Each listener, what a client says to get to TLS, and what it may say then.
pub(crate) const DOORS: [(&str, &[&str], &str); 6] = [
    ("smtp", &["EHLO client.example.org", "STARTTLS"], "NOOP"),
    ("smtps", &[], "NOOP"),
    ("submission", &["EHLO client.example.org", "STARTTLS"], "NOOP"),
    ("pop3", &["STLS"], "QUIT"),
    ("pop3s", &[], "QUIT"),
    ("console", &[], REQUEST),
];

/// A session under TLS.
pub(crate) struct Session {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    last_words: &'static str,
    /// Of the certificate the server showed, now or when the session that was resumed began.
    pub(crate) fingerprint: String,
    /// Whether it was resumed.
    pub(crate) kind: HandshakeKind,
}

/// A client that keeps the tickets it gets.
pub(crate) fn client() -> Result<Arc<ClientConfig>> {
    Ok(Arc::new(client_config(&Trust::Any)?))
}

fn answer(reader: &mut impl BufRead) -> Result<()> {
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "closed");
        if line.starts_with("HTTP/1.1 200 ") {
            return page(reader);
        }
        ensure!(!line.starts_with(['4', '5']) && !line.starts_with("-ERR"), "{line}");
        if line.starts_with("+OK") || line.as_bytes().get(3) == Some(&b' ') {
            return Ok(());
        }
    }
}

/// The rest of an answer whose length is told.
fn page(reader: &mut impl BufRead) -> Result<()> {
    let mut length = None;
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "closed");
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(told) = line.strip_prefix("content-length:") {
            length = Some(told.trim().parse()?);
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length.context("no length")?];
    Ok(reader.read_exact(&mut body)?)
}

impl Session {
    pub(crate) fn open(
        gateway: &Program,
        (door, dialogue, last_words): (&str, &[&str], &'static str),
        config: &Arc<ClientConfig>,
    ) -> Result<Self> {
        let mut tcp = TcpStream::connect(gateway.address(door)?)?;
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        if !dialogue.is_empty() {
            let mut reader = BufReader::new(tcp.try_clone()?);
            answer(&mut reader)?;
            for line in dialogue {
                tcp.write_all(format!("{line}\r\n").as_bytes())?;
                answer(&mut reader)?;
            }
        }
        let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        let leaf = tls.peer_certificates().and_then(|chain| chain.first()).context("no certificate")?;
        let fingerprint = format!("sha256:{}", sha256(leaf));
        let kind = tls.handshake_kind().context("no handshake")?;
        let stream = BufReader::new(StreamOwned::new(tls, tcp));
        let mut session = Self { stream, last_words, fingerprint, kind };
        match dialogue {
            // A browser speaks first.
            [] if door == "console" => session.say(REQUEST)?,
            [] => answer(&mut session.stream)?,
            // Tickets come with the first answer.
            _ if door == "pop3" => session.say("CAPA")?,
            _ => session.say("EHLO client.example.org")?,
        }
        Ok(session)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        answer(&mut self.stream)
    }

    /// Says something and gets an answer.
    pub(crate) fn goes_on(mut self) -> Result<()> {
        self.say(self.last_words)
    }
}
