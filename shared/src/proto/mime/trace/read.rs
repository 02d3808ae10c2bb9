//! From octets to the trace they tell.

use std::net::SocketAddr;

use super::{Capture, Normalised, Proxied, Trace};
use crate::clock::UnixMillis;
use crate::crypto::digest::Digest;
use crate::id::{MailboxId, MessageId};

/// The longest block looked through: a thousand recipients and more.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// Splits a served message into the gateway's fields and the message. Without the fields, as from another server, the
/// whole is the message.
pub fn split(served: &[u8]) -> (Option<Trace>, &[u8]) {
    parse_block(served).map_or((None, served), |(trace, end)| (Some(trace), &served[end..]))
}

fn parse_block(served: &[u8]) -> Option<(Trace, usize)> {
    let mut found = Found::default();
    let mut at = 0;
    while at < served.len().min(BLOCK_BYTES_MAX) {
        if let Some((digest, octets)) = last_field(&served[at..]) {
            return found.into_trace(digest).map(|trace| (trace, at + octets));
        }
        let (field, end) = next_field(served, at)?;
        at = end;
        let (name, value) = field.split_once(':')?;
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "return-path" if found.mail_from.is_none() => found.mail_from = Some(value),
            "received" if found.received.is_none() => found.received = Some(value),
            "x-postern-id" => found.id = value.parse().ok(),
            "x-postern-mailbox" => found.mailbox = value.parse().ok(),
            "x-postern-unconfirmed" => found.unconfirmed = true,
            "x-postern-capture" => found.capture = Capture::parse(&value),
            "x-postern-account" => found.account = Some(value),
            "x-postern-server" => found.server = Some(value),
            "x-postern-uidl" => found.uidl = Some(value),
            "x-postern-client" => found.client = Some(value),
            "x-postern-bcc" => found.bcc.push(value),
            "x-postern-received-at" => found.received_at = parse_time(&value),
            "x-postern-tls-server-name" => found.tls_server_name = Some(value),
            "x-postern-authentication-results" => found.authentication.push(value),
            "x-postern-rcpt" => found.recipients.push(value),
            "x-postern-normalised" => found.normalised = parse_normalised(&value)?,
            "x-postern-size" => found.content_bytes = value.parse().ok(),
            _ => return None,
        }
    }
    None
}

/// The last field, when `bytes` begin with it, and its octets: exactly its two lines, for a message may begin with a line
/// that would pass for a third.
fn last_field(bytes: &[u8]) -> Option<(Digest, usize)> {
    const NAME: &[u8] = b"X-Postern-Content-SHA256:";
    let (name, rest) = bytes.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let folding = rest.iter().take(8).take_while(|byte| byte.is_ascii_whitespace()).count();
    let digits = std::str::from_utf8(rest.get(folding..folding + 64)?).ok()?;
    let behind = &rest[folding + 64..];
    let line_end = if behind.starts_with(b"\r\n") { 2 } else { usize::from(behind.starts_with(b"\n")) };
    (line_end > 0).then_some(())?;
    Some((digits.parse().ok()?, NAME.len() + folding + 64 + line_end))
}

/// The field that begins at `at`, unfolded, and where the next one begins.
fn next_field(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let mut end = at;
    loop {
        end += memchr::memchr(b'\n', &bytes[end..])? + 1;
        if !matches!(bytes.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    let text = std::str::from_utf8(&bytes[at..end]).ok()?;
    Some((text.replace("\r\n", "").replace('\n', ""), end))
}

#[derive(Default)]
struct Found {
    unconfirmed: bool,
    mail_from: Option<String>,
    received: Option<String>,
    id: Option<MessageId>,
    mailbox: Option<MailboxId>,
    capture: Option<Capture>,
    account: Option<String>,
    server: Option<String>,
    uidl: Option<String>,
    client: Option<String>,
    received_at: Option<UnixMillis>,
    tls_server_name: Option<String>,
    recipients: Vec<String>,
    bcc: Vec<String>,
    normalised: Normalised,
    authentication: Vec<String>,
    content_bytes: Option<u64>,
}

impl Found {
    fn into_trace(self, content_sha256: Digest) -> Option<Trace> {
        let (capture, received) = (self.capture?, self.received?);
        let (mail_from, received) = match capture {
            Capture::Pop3Proxy => {
                let (peer, with) = parse_client(self.client.as_deref()?)?;
                (String::new(), Received { helo: String::new(), peer, by: parse_fetched(&received)?, with })
            }
            Capture::Journal | Capture::SmtpProxy => {
                let path = self.mail_from?.strip_prefix('<')?.strip_suffix('>')?.to_owned();
                (path, parse_received(&received)?)
            }
        };
        let proxied = match capture {
            Capture::Journal => None,
            Capture::SmtpProxy | Capture::Pop3Proxy => {
                let server = parse_with(&self.server?)?;
                Some(Proxied {
                    account: self.account?,
                    server: server.name,
                    server_tls: server.tls,
                    uidl: self.uidl,
                    bcc: self.bcc,
                })
            }
        };
        Some(Trace {
            id: self.id?,
            mailbox: self.mailbox?,
            capture,
            proxied,
            unconfirmed: self.unconfirmed,
            received_at: self.received_at?,
            mail_from,
            helo: received.helo,
            peer: received.peer,
            by: received.by,
            protocol: received.with.name,
            tls: received.with.tls,
            tls_server_name: self.tls_server_name,
            recipients: self.recipients,
            normalised: self.normalised,
            authentication: self.authentication,
            content_bytes: self.content_bytes?,
            content_sha256,
        })
    }
}

struct Received {
    helo: String,
    peer: SocketAddr,
    by: String,
    with: With,
}

/// A protocol or server, and how it was secured.
struct With {
    name: String,
    tls: Option<(String, String)>,
}

/// Reads the value of our own `Received` field.
fn parse_received(value: &str) -> Option<Received> {
    let (helo, rest) = value.strip_prefix("from ")?.split_once(" ([")?;
    let (ip, rest) = rest.split_once("]:")?;
    let (port, rest) = rest.split_once(") by ")?;
    let (by, rest) = rest.split_once(" (Postern) with ")?;
    let (with, _) = rest.split_once(" id ")?;
    let peer = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
    Some(Received { helo: helo.to_owned(), peer, by: by.to_owned(), with: parse_with(with)? })
}

/// Who says so in the `Received` field of fetched mail; the server has a field of its own.
fn parse_fetched(value: &str) -> Option<String> {
    let (_, rest) = value.strip_prefix("from ")?.split_once(" by ")?;
    let (by, _) = rest.split_once(" (Postern) with ")?;
    Some(by.to_owned())
}

fn parse_client(value: &str) -> Option<(SocketAddr, With)> {
    let (ip, rest) = value.strip_prefix('[')?.split_once("]:")?;
    let (port, with) = rest.split_once(' ')?;
    Some((SocketAddr::new(ip.parse().ok()?, port.parse().ok()?), parse_with(with)?))
}

fn parse_with(value: &str) -> Option<With> {
    let (name, tls) = match value.split_once(" (") {
        Some((name, tls)) => (name, Some(tls.strip_suffix(')')?.split_once(' ')?)),
        None => (value, None),
    };
    let tls = tls.map(|(version, cipher)| (version.to_owned(), cipher.to_owned()));
    Some(With { name: name.to_owned(), tls })
}

fn parse_normalised(value: &str) -> Option<Normalised> {
    let mut found = Normalised::default();
    for word in value.split_ascii_whitespace() {
        match word.split_once('=')? {
            ("bare-cr", n) => found.bare_cr = n.parse().ok()?,
            ("bare-lf", n) => found.bare_lf = n.parse().ok()?,
            ("final-crlf", n) => found.final_crlf_added = n == "1",
            _ => return None,
        }
    }
    Some(found)
}

fn parse_time(text: &str) -> Option<UnixMillis> {
    let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(UnixMillis)
}
