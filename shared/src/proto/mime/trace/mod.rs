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
//! X-Postern-Capture: journal                                                     or smtp-proxy, pop3-proxy
//! X-Postern-Account: anna@example.com%smtp.example.com                           proxied mail: whose account, where
//! X-Postern-Server: smtp.example.com:587 (TLSv1.3 TLS_AES_256_GCM_SHA384)        proxied mail: the other server
//! X-Postern-UIDL: 0000c0ffee                                                     its unique-id there (POP3)
//! X-Postern-Received-At: 2018-07-17T12:13:28.5Z
//! X-Postern-TLS-Server-Name: gateway.example.com                                  only when the client named one (SNI)
//! X-Postern-Rcpt: mbx-dead1234beef5678+anna=example.com@gateway.example.com      once for each recipient
//! X-Postern-Bcc: carol@example.net                                               once for each recipient that To and Cc hide
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
//! Mail that a client sent through the proxy (`smtp-proxy`) has the client in `Received`, and in `X-Postern-Rcpt` the
//! recipients its server accepted. Those who are in neither `To` nor `Cc` are named again in `X-Postern-Bcc`, as far as the
//! gateway could read the message's header.
//!
//! Mail that a client fetched through the proxy (`pop3-proxy`) came from the server, and that is what `Received` says. Who
//! sent it to whom was said in an envelope that the gateway never saw, so there is neither `Return-Path` nor
//! `X-Postern-Rcpt`: an empty one would be a claim (`<>` is a bounce), and the provider's own may stand in the message.
//!
//! ```text
//! Received: from pop.example.com:995
//!  by gateway.example.com (Postern)
//!  with POP3S (TLSv1.3 TLS_AES_256_GCM_SHA384)
//!  id 01ARZ3NDEKTSV4RRFFQ69G5FAV; Tue, 17 Jul 2018 12:13:28 +0000
//! …
//! X-Postern-Client: [192.0.2.1]:50000 POP3S (TLSv1.3 TLS_AES_256_GCM_SHA384)     who fetched it
//! ```
//!
//! A message that may or may not have been accepted by the server it was meant for has [`UNCONFIRMED`] before all of this:
//! what is above was sealed before that could be known.
//!
//! A result is `method=result`, `(why)` when there is something to say, then what was looked at (RFC 8601 §2.2): evidence of
//! what could be known when the message came, of the octets behind the block. Without the field nothing was checked.

mod read;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::clock::UnixMillis;
use crate::crypto::digest::Digest;
use crate::id::{MailboxId, MessageId};

pub use read::split;

/// The field that a message whose fate is not known is served with, before all others.
pub const UNCONFIRMED: &[u8] = b"X-Postern-Unconfirmed: the server's answer to this message is not known\r\n";

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

    /// As it is written.
    pub fn as_str(self) -> &'static str {
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
    /// What the proxy knows; of proxied mail only.
    pub proxied: Option<Proxied>,
    /// Whether it was accepted by the server it was meant for is not known.
    pub unconfirmed: bool,
    pub received_at: UnixMillis,
    /// Empty for `<>`, and for fetched mail.
    pub mail_from: String,
    /// Empty for fetched mail.
    pub helo: String,
    /// Who sent it, or fetched it.
    pub peer: SocketAddr,
    pub by: String,
    pub protocol: String,
    /// Version and cipher suite.
    pub tls: Option<(String, String)>,
    /// What the client called the server in its TLS handshake (SNI, RFC 6066 §3).
    pub tls_server_name: Option<String>,
    /// As written in RCPT TO; none for fetched mail.
    pub recipients: Vec<String>,
    pub normalised: Normalised,
    /// Results of SPF, DKIM, ARC and DMARC; empty when they were not checked.
    pub authentication: Vec<String>,
    pub content_bytes: u64,
    pub content_sha256: Digest,
}

/// What the proxy knows of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// The client's account: `remote_user%target_server`, never a secret.
    pub account: String,
    /// The server on the other side: `host:port`.
    pub server: String,
    /// How the connection to it was secured: version and cipher suite.
    pub server_tls: Option<(String, String)>,
    /// Its unique-id there, of fetched mail.
    pub uidl: Option<String>,
    /// Recipients that are in neither `To` nor `Cc`.
    pub bcc: Vec<String>,
}

/// The fields, each with its CRLF. Nothing a peer wrote can end a field: control characters become `?`.
pub fn write(trace: &Trace) -> Vec<u8> {
    let mut out = String::new();
    if trace.unconfirmed {
        out.push_str(&String::from_utf8_lossy(UNCONFIRMED));
    }
    let mut field = |name: &str, value: &str| {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    };
    let fetched = trace.proxied.as_ref().filter(|_| trace.capture == Capture::Pop3Proxy);
    match fetched {
        None => {
            field("Return-Path", &format!("<{}>", clean(&trace.mail_from)));
            field("Received", &received_from_peer(trace));
        }
        Some(proxied) => field("Received", &received_from_server(trace, proxied)),
    }
    field("X-Postern-Id", &trace.id.to_string());
    field("X-Postern-Mailbox", &trace.mailbox.to_string());
    field("X-Postern-Capture", trace.capture.as_str());
    if let Some(proxied) = trace.proxied.as_ref().filter(|_| trace.capture != Capture::Journal) {
        field("X-Postern-Account", &folded("X-Postern-Account", clean(&proxied.account)));
        let server = token(&proxied.server) + &secured(proxied.server_tls.as_ref());
        field("X-Postern-Server", &folded("X-Postern-Server", server));
        if let Some(uidl) = &proxied.uidl {
            field("X-Postern-UIDL", &folded("X-Postern-UIDL", clean(uidl)));
        }
    }
    if fetched.is_some() {
        let (ip, port) = (trace.peer.ip(), trace.peer.port());
        let client = format!("[{ip}]:{port} {}{}", token(&trace.protocol), secured(trace.tls.as_ref()));
        field("X-Postern-Client", &folded("X-Postern-Client", client));
    }
    field("X-Postern-Received-At", &trace.received_at.rfc3339());
    if let Some(name) = &trace.tls_server_name {
        field("X-Postern-TLS-Server-Name", &clean(name));
    }
    for recipient in &trace.recipients {
        field("X-Postern-Rcpt", &clean(recipient));
    }
    for recipient in trace.proxied.iter().flat_map(|proxied| &proxied.bcc) {
        field("X-Postern-Bcc", &clean(recipient));
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

fn received_from_peer(trace: &Trace) -> String {
    let (ip, port) = (trace.peer.ip(), trace.peer.port());
    let with = clean(&trace.protocol) + &secured(trace.tls.as_ref());
    received(&format!("{} ([{ip}]:{port})", clean(&trace.helo)), &with, trace)
}

fn received_from_server(trace: &Trace, proxied: &Proxied) -> String {
    let protocol = if proxied.server_tls.is_some() { "POP3S" } else { "POP3" };
    received(&token(&proxied.server), &(protocol.to_owned() + &secured(proxied.server_tls.as_ref())), trace)
}

fn received(from: &str, with: &str, trace: &Trace) -> String {
    let (by, id, at) = (clean(&trace.by), trace.id, trace.received_at.rfc5322());
    format!("from {from}\r\n by {by} (Postern)\r\n with {with}\r\n id {id}; {at}")
}

fn secured(tls: Option<&(String, String)>) -> String {
    tls.map(|(version, cipher)| format!(" ({} {})", clean(version), clean(cipher))).unwrap_or_default()
}

/// On a line of its own where the field would otherwise be longer than clients like.
fn folded(name: &str, value: String) -> String {
    const LINE_CHARS_MAX: usize = 78;
    if name.len() + 2 + value.len() > LINE_CHARS_MAX { format!("\r\n {value}") } else { value }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn token(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c.is_whitespace() { '?' } else { c }).collect()
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
