//! The only door to the spool: envelope, content and provenance in; sealed copies on disk out.
//!
//! [`SealingIntake`] seals a message to each of its mailboxes while it streams in. Up to 256 KiB of content waits in
//! memory, sealed; a longer message goes to a file of its own, chunk by chunk, and so does a shorter one when too many
//! wait at once (`memory`). So memory is bounded, per session and in all.
//!
//! Promises
//! - [`Incoming::commit`] resolves to `Ok` only when every copy would survive a power cut.
//! - A message dropped, refused or failed leaves nothing behind.
//! - A mailbox's keys outlive every message that is on its way to it.
//!
//! Not here: SMTP (`smtp_receiver`), who may receive (`smtp_receiver::policy`), files (`spool`).

mod memory;
mod sealing;

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;

use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::proto::smtp::reply::Reply;

pub use sealing::SealingIntake;

use crate::listen::TlsDetails;

/// Who sends and who receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path; empty for `<>`.
    pub mail_from: String,
    /// At least one.
    pub recipients: Vec<Recipient>,
}

/// An accepted recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Whose mail it is.
    pub mailbox: MailboxId,
    /// As it was written, sub-address and all.
    pub address: String,
}

/// Where a message came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The other side.
    pub peer: SocketAddr,
    /// What it called itself.
    pub helo: String,
    /// How it came (RFC 3848): `ESMTPS`.
    pub protocol: &'static str,
    /// How the connection was secured.
    pub tls: Option<TlsDetails>,
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
    /// Takes the next piece of content, dots undone and line ends whole.
    fn write(&mut self, piece: &[u8]) -> impl Future<Output = Result<(), IntakeError>> + Send;
    /// Resolves when every copy is on disk, or none will ever be served.
    fn commit(
        self,
        normalised: Normalised,
    ) -> impl Future<Output = Result<Vec<MessageId>, IntakeError>> + Send;
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
