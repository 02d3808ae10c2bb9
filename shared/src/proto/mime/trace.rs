//! Trace fields: what the gateway puts before a message when it serves it.
//!
//! ```text
//! Return-Path: <anna@example.com>
//! Received: from mail.example.com ([192.0.2.1]:50000)
//!  by gateway.example.com (Postern)
//!  with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)
//!  id 01ARZ3NDEKTSV4RRFFQ69G5FAV; Tue, 17 Jul 2018 12:13:28 +0000
//! X-Postern-Id: 01ARZ3NDEKTSV4RRFFQ69G5FAV
//! X-Postern-Mailbox: mbx-dead1234beef5678
//! X-Postern-Capture: journal
//! X-Postern-Received-At: 2018-07-17T12:13:28.5Z
//! X-Postern-TLS-Server-Name: gateway.example.com                                  only when the client named one (SNI)
//! X-Postern-Rcpt: mbx-dead1234beef5678+anna=example.com@gateway.example.com      once for each recipient
//! X-Postern-Normalised: bare-cr=1 bare-lf=0 final-crlf=0                         only when something was
//! X-Postern-Authentication-Results:
//!  dkim=pass header.d=example.com header.s=s1                                     once for each result, if any
//! X-Postern-Size: 1234
//! X-Postern-Content-SHA256:
//!  <64 hexadecimal digits>                                                       always the last
//! ```
//!
//! The block ends behind the first `X-Postern-Content-SHA256`: what follows is the message, octet for octet. Fields of
//! these names further down were written by the sender and mean nothing ([`untrusted_fields`]).
//!
//! A result is `method=result`, `(why)` when there is something to say, then what was looked at (RFC 8601 §2.2): evidence of
//! what could be known when the message came, of the octets behind the block. Without the field nothing was checked.

use std::net::SocketAddr;

use crate::clock::UnixMillis;
use crate::crypto::digest::Digest;
use crate::id::{MailboxId, MessageId};

/// How a message was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// It was sent to the mailbox.
    Journal,
    /// A mail client sent it through the proxy.
    SmtpProxy,
    /// A mail client fetched it through the proxy.
    Pop3Proxy,
}

impl Capture {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Journal, "journal"), (Self::SmtpProxy, "smtp-proxy"), (Self::Pop3Proxy, "pop3-proxy")];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(capture, _)| *capture == self).map_or("journal", |(_, text)| text)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == text).map(|(capture, _)| *capture)
    }
}

/// What had to be made whole in the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Normalised {
    /// CRs without LF, now CRLF.
    pub bare_cr: u64,
    /// LFs without CR, now CRLF.
    pub bare_lf: u64,
    /// The content did not end in CRLF; now it does.
    pub final_crlf_added: bool,
}

/// What the gateway knows of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields above say it")]
pub struct Trace {
    pub id: MessageId,
    pub mailbox: MailboxId,
    pub capture: Capture,
    pub received_at: UnixMillis,
    /// Empty for `<>`.
    pub mail_from: String,
    pub helo: String,
    pub peer: SocketAddr,
    pub by: String,
    pub protocol: String,
    /// Version and cipher suite.
    pub tls: Option<(String, String)>,
    /// What the client called the server in its TLS handshake (SNI, RFC 6066 §3).
    pub tls_server_name: Option<String>,
    /// As written in RCPT TO.
    pub recipients: Vec<String>,
    pub normalised: Normalised,
    /// Results of SPF, DKIM, ARC and DMARC; empty when they were not checked.
    pub authentication: Vec<String>,
    pub content_bytes: u64,
    pub content_sha256: Digest,
}

/// The fields, each with its CRLF. Nothing a peer wrote can end a field: control characters become `?`.
pub fn write(trace: &Trace) -> Vec<u8> {
    let Trace { id, mailbox, received_at, peer, .. } = trace;
    let mut out = String::new();
    let mut field = |name: &str, value: &str| {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    };
    let tls = trace.tls.as_ref().map(|(version, cipher)| format!(" ({} {})", clean(version), clean(cipher)));
    field("Return-Path", &format!("<{}>", clean(&trace.mail_from)));
    field(
        "Received",
        &format!(
            "from {} ([{}]:{})\r\n by {} (Postern)\r\n with {}{}\r\n id {id}; {}",
            clean(&trace.helo),
            peer.ip(),
            peer.port(),
            clean(&trace.by),
            clean(&trace.protocol),
            tls.unwrap_or_default(),
            received_at.rfc5322(),
        ),
    );
    field("X-Postern-Id", &id.to_string());
    field("X-Postern-Mailbox", &mailbox.to_string());
    field("X-Postern-Capture", trace.capture.as_str());
    field("X-Postern-Received-At", &received_at.rfc3339());
    if let Some(name) = &trace.tls_server_name {
        field("X-Postern-TLS-Server-Name", &clean(name));
    }
    for recipient in &trace.recipients {
        field("X-Postern-Rcpt", &clean(recipient));
    }
    let Normalised { bare_cr, bare_lf, final_crlf_added } = trace.normalised;
    if trace.normalised != Normalised::default() {
        let value = format!("bare-cr={bare_cr} bare-lf={bare_lf} final-crlf={}", u8::from(final_crlf_added));
        field("X-Postern-Normalised", &value);
    }
    for result in &trace.authentication {
        field("X-Postern-Authentication-Results", &format!("\r\n {}", clean(result)));
    }
    field("X-Postern-Size", &trace.content_bytes.to_string());
    // Folded: some clients write every header anew whose lines have more than 78 characters.
    field("X-Postern-Content-SHA256", &format!("\r\n {}", trace.content_sha256));
    out.into_bytes()
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

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
            "x-postern-capture" => found.capture = Capture::parse(&value),
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
    mail_from: Option<String>,
    received: Option<String>,
    id: Option<MessageId>,
    mailbox: Option<MailboxId>,
    capture: Option<Capture>,
    received_at: Option<UnixMillis>,
    tls_server_name: Option<String>,
    recipients: Vec<String>,
    normalised: Normalised,
    authentication: Vec<String>,
    content_bytes: Option<u64>,
}

impl Found {
    fn into_trace(self, content_sha256: Digest) -> Option<Trace> {
        let received = parse_received(&self.received?)?;
        Some(Trace {
            id: self.id?,
            mailbox: self.mailbox?,
            capture: self.capture?,
            received_at: self.received_at?,
            mail_from: self.mail_from?.strip_prefix('<')?.strip_suffix('>')?.to_owned(),
            helo: received.helo,
            peer: received.peer,
            by: received.by,
            protocol: received.protocol,
            tls: received.tls,
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
    protocol: String,
    tls: Option<(String, String)>,
}

/// Reads the value of our own `Received` field.
fn parse_received(value: &str) -> Option<Received> {
    let (helo, rest) = value.strip_prefix("from ")?.split_once(" ([")?;
    let (ip, rest) = rest.split_once("]:")?;
    let (port, rest) = rest.split_once(") by ")?;
    let (by, rest) = rest.split_once(" (Postern) with ")?;
    let (with, _) = rest.split_once(" id ")?;
    let (protocol, tls) = match with.split_once(" (") {
        Some((protocol, tls)) => (protocol, Some(tls.strip_suffix(')')?.split_once(' ')?)),
        None => (with, None),
    };
    Some(Received {
        helo: helo.to_owned(),
        peer: SocketAddr::new(ip.parse().ok()?, port.parse().ok()?),
        by: by.to_owned(),
        protocol: protocol.to_owned(),
        tls: tls.map(|(version, cipher)| (version.to_owned(), cipher.to_owned())),
    })
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

/// The names of `X-Postern-*` fields in a message's own header, which its sender wrote.
pub fn untrusted_fields(message: &[u8]) -> Vec<String> {
    const PREFIX: &str = "x-postern-";
    let mut names = Vec::new();
    for line in message.split(|byte| *byte == b'\n').take_while(|line| !matches!(*line, [] | [b'\r'])) {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_ours = name.len() <= 80
            && name.get(..PREFIX.len()).is_some_and(|head| head.eq_ignore_ascii_case(PREFIX.as_bytes()));
        if is_ours && names.len() < 32 {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::digest::sha256;

    fn trace() -> Trace {
        Trace {
            id: MessageId::from_bytes([1; 16]),
            mailbox: MailboxId::from_bytes([2; 8]),
            capture: Capture::Journal,
            received_at: UnixMillis(1_531_829_608_500),
            mail_from: "anna@example.com".into(),
            helo: "mail.example.com".into(),
            peer: "192.0.2.1:50000".parse().unwrap(),
            by: "gateway.example.com".into(),
            protocol: "ESMTPS".into(),
            tls: Some(("TLSv1.3".into(), "TLS13_AES_256_GCM_SHA384".into())),
            tls_server_name: None,
            recipients: vec!["mbx-0202020202020202+bob=example.com@gateway.example.com".into(), "b@x".into()],
            normalised: Normalised { bare_cr: 1, bare_lf: 2, final_crlf_added: true },
            authentication: Vec::new(),
            content_bytes: 5,
            content_sha256: sha256(b"a\r\n\r\n"),
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_rest_is_untouched() {
        let message = b"X-Postern-Id: forged\r\nX-Postern-Content-SHA256: forged\r\n\r\nbody";
        for trace in [
            trace(),
            Trace { tls: None, normalised: Normalised::default(), mail_from: String::new(), ..trace() },
            Trace { tls_server_name: Some("gateway.example.com".into()), ..trace() },
            Trace {
                authentication: vec!["spf=none".into(), "dkim=pass header.d=example.com".into()],
                ..trace()
            },
            Trace { peer: "[2001:db8::1]:25".parse().unwrap(), recipients: Vec::new(), ..trace() },
        ] {
            let served = [&write(&trace)[..], message].concat();
            assert!(served.starts_with(b"Return-Path: <"));
            let (found, rest) = split(&served);
            assert_eq!((found, rest), (Some(trace), &message[..]));
        }
        assert_eq!(untrusted_fields(message), ["X-Postern-Id", "X-Postern-Content-SHA256"]);
    }

    /// Goal: a message that begins with a folded line, or with one of our fields, is not taken for more of ours.
    #[test]
    fn what_follows_the_last_field_is_the_message_whatever_it_begins_with() {
        for message in [&b" folded\r\n\r\n"[..], b"\tx", b"", b"\r\n", b"X-Postern-Size: 1\r\n\r\n", b"\n "] {
            let served = [&write(&trace())[..], message].concat();
            assert_eq!(split(&served), (Some(trace()), message));
        }
    }

    #[test]
    fn lines_stay_short() {
        let written = write(&trace());
        assert!(written.split(|byte| *byte == b'\n').all(|line| line.len() <= 79));
    }

    #[test]
    fn a_message_from_elsewhere_has_no_trace() {
        for message in
            [&b""[..], b"Subject: x\r\n\r\nbody", b"Return-Path: <a@b>\r\nSubject: x\r\n\r\n", b"\xff\xfe\n"]
        {
            assert_eq!(split(message), (None, message));
        }
        // A block that is not whole is none.
        let written = write(&trace());
        let cut = &written[..written.len() - 80];
        assert_eq!(split(cut), (None, cut));
    }

    proptest! {
        /// Goal: nothing a peer says can add or end a field.
        #[test]
        fn no_field_can_be_injected(helo in ".*", from in ".*", rcpt in ".*", result in ".*") {
            let written = write(&Trace {
                helo,
                mail_from: from,
                recipients: vec![rcpt],
                authentication: vec![result],
                ..trace()
            });
            let text = String::from_utf8(written).unwrap();
            let fields = text.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with(' ')).count();
            prop_assert_eq!(fields, 11);
            prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']));
        }

        #[test]
        fn garbage_is_split_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = split(&bytes);
            let _ = untrusted_fields(&bytes);
            let _ = split(&[&write(&trace())[..80], &bytes].concat());
        }
    }
}
