//! What a session is made of, and what happens in it.

use super::Listed;
use crate::proto::pop3::{MessageNumber, Reply};
use crate::proto::sasl::{Credentials, Mechanism};

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsStart {
    /// Before the first byte of POP3 (port 995, RFC 8314).
    Implicit,
    /// By STLS after the greeting (port 110, RFC 2595 §4).
    Stls,
}

/// What a session is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// How TLS begins.
    pub tls: TlsStart,
    /// Who logs in.
    pub credentials: Credentials,
    /// By AUTH with this mechanism; else by the best that is offered, USER and PASS among them.
    pub mechanism: Option<Mechanism>,
    /// Commands under way at once, when the server announces PIPELINING; at least 1.
    pub window: usize,
    /// Messages that are listed; a maildrop may hold more.
    pub messages_max: usize,
    /// Whether a unique-id may stand beside several messages, as broken servers have it.
    pub same_uidls: bool,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The server is ready for a TLS handshake. Drop what was read and not yet received.
    StartTls,
    /// The maildrop is open.
    LoggedIn,
    /// Its messages, by number, up to the bound; and how many more there are.
    Listed(Vec<Listed>, u64),
    /// The content of a message asked for begins.
    MessageBegins(MessageNumber),
    /// The next piece of its content.
    Content(&'a [u8]),
    /// Its content is complete.
    MessageEnds(MessageNumber),
    /// The server cannot give that message.
    MessageRefused(MessageNumber, Reply),
    /// The message is marked for deletion.
    Deleted(MessageNumber),
    /// The server will not delete that message.
    DeleteRefused(MessageNumber, Reply),
    /// The server confirmed QUIT: what was marked is deleted, and the session is over.
    Bye,
}
