//! The only door to the spool: envelope, content and provenance in; sealed copies on disk out.
//!
//! [`SealingIntake`] seals a message to each of its mailboxes while it streams in. Up to 256 KiB of content waits in
//! memory, sealed; a longer message goes to a file of its own, chunk by chunk, and so does a shorter one when too many
//! wait at once (`memory`). So memory is bounded, per session and in all.
//!
//! Mail that passes through the proxy ([`Origin`]) is stored before the server it is meant for is asked to take it
//! ([`Incoming::prepare`]), and decided on afterwards ([`Prepared`]). It goes to the one mailbox that the client's user name
//! names; the recipients of its envelope are other people's addresses.
//!
//! Promises
//! - [`Incoming::commit`] resolves to `Ok` only when every copy would survive a power cut.
//! - [`Incoming::prepare`] resolves to `Ok` only when the copy would survive a power cut. From then on it is lost by
//!   [`Prepared::discard`] alone: whatever else becomes of the session, it is kept, and marked unconfirmed.
//! - What SPF, DKIM, ARC and DMARC say of mail sent to a mailbox is recorded when that is switched on ([`authentication`]); it never refuses a message, and holds up
//!   its commit no longer than a deadline.
//! - A message dropped, refused or failed before that leaves nothing behind.
//! - A mailbox's keys outlive every message that is on its way to it.
//!
//! Not here: SMTP (`smtp_receiver`), who may receive (`smtp_receiver::policy`), files (`spool`).

pub mod authentication;
mod hidden;
pub mod memory;
mod prepared;
mod sealing;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;

use postern_shared::crypto::digest::Digest;
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::smtp::reply::Reply;

pub use prepared::PreparedMessage;
pub use sealing::{SealingIntake, SealingMessage};

use crate::listen::TlsDetails;

/// Who sends and who receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path; empty for `<>`, and of fetched mail, where it is not known.
    pub mail_from: String,
    /// At least one. Of proxied mail all name the same mailbox.
    pub recipients: Vec<Recipient>,
}

/// An accepted recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Whose mail it is.
    pub mailbox: MailboxId,
    /// As it was written, sub-address and all. Of proxied mail what the server accepted in RCPT, anybody's address; empty
    /// when it is not known, as of fetched mail.
    pub address: String,
}

/// Where a message came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The other side: of proxied mail the client.
    pub peer: SocketAddr,
    /// What it called itself; empty over POP3.
    pub helo: String,
    /// How it came (RFC 3848): `ESMTPS`; of fetched mail how the client is served: `POP3S`.
    pub protocol: &'static str,
    /// How the connection was secured.
    pub tls: Option<TlsDetails>,
    /// How it came to be captured.
    pub origin: Origin,
}

/// How a message came to be captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It was sent to the mailbox.
    Journal,
    /// A client sends it through the proxy.
    SmtpProxy(Proxied),
    /// A client fetches it through the proxy.
    Pop3Proxy(Proxied),
}

/// What the proxy knows of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// The client's account: `remote_user%target_server`, never a secret.
    pub account: String,
    /// The server on the other side: `host:port`.
    pub server: String,
    /// How the connection to it is secured: version and cipher suite.
    pub server_tls: Option<(String, String)>,
    /// The message's unique-id there, over POP3.
    pub uidl: Option<String>,
}

/// Takes messages.
pub trait Intake: Debug + Clone + Send + Sync + 'static {
    /// A message on its way.
    type Incoming: Incoming;
    /// Announces a message.
    fn begin(&self, envelope: Envelope, provenance: Provenance) -> Result<Self::Incoming, IntakeError>;
}

/// A message on its way. Dropped before it is committed, it leaves nothing behind.
pub trait Incoming: Debug + Send {
    /// The message, stored and not decided on.
    type Prepared: Prepared;
    /// Takes the next piece of content, dots undone and line ends whole.
    fn write(&mut self, piece: &[u8]) -> impl Future<Output = Result<(), IntakeError>> + Send;
    /// Resolves when every copy is on disk, or none will ever be served.
    fn commit(
        self,
        normalised: Normalised,
    ) -> impl Future<Output = Result<Vec<MessageId>, IntakeError>> + Send;
    /// Of proxied mail, instead of [`Incoming::commit`]: resolves when the copy is on disk, where nobody is shown it yet, or
    /// will never be there.
    fn prepare(
        self,
        normalised: Normalised,
    ) -> impl Future<Output = Result<Self::Prepared, IntakeError>> + Send;
    /// The hash of the content so far; all of it, when all of it was written.
    fn content_sha256(&self) -> Digest;
}

/// A message that is stored and not decided on. Dropped without a decision, also amid one, it is kept unconfirmed.
pub trait Prepared: Debug + Send + 'static {
    /// The server took it: resolves when that is on disk as well. On an error the message is there all the same,
    /// unconfirmed.
    fn confirm(self) -> impl Future<Output = Result<MessageId, IntakeError>> + Send;
    /// The server refused it: resolves when it is gone for good. On an error it may be kept, unconfirmed.
    fn discard(self) -> impl Future<Output = Result<(), IntakeError>> + Send;
    /// Nobody knows what the server did.
    fn keep_unconfirmed(self) -> MessageId;
}

/// Why a message cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// The disk is as good as full.
    #[error("spool has {free_bytes} bytes free, message needs {needed_bytes}")]
    Full {
        /// What is free beyond the reserve.
        free_bytes: u64,
        /// What was asked for.
        needed_bytes: u64,
    },
    /// The mailbox was deleted between RCPT and DATA.
    #[error("mailbox {mailbox} is gone")]
    MailboxGone {
        /// Which.
        mailbox: MailboxId,
    },
    /// Anything else that is our fault.
    #[error("{reason}")]
    Temporary {
        /// For the log.
        reason: String,
    },
}

impl IntakeError {
    /// The peer learns only whether to retry; the reason stays in our log.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Full { .. } => Reply::new(452, "4.3.1", "Insufficient system storage, try again later"),
            Self::MailboxGone { .. } => Reply::new(550, "5.1.1", "No such mailbox here"),
            Self::Temporary { .. } => Reply::new(451, "4.3.0", "Local error, try again later"),
        }
    }
}
