//! Mailboxes: who may receive, whom their mail is sealed to, and the lock on the key that opens it.
//!
//! `mailboxes/<id>.json` in the data directory, one file each, replaced atomically, so that a plain copy of the
//! directory holds every mailbox whole. The password is nowhere: it is shown once, and what is stored is the private
//! key sealed under Argon2id of it (`postern_shared::crypto::keys`).
//!
//! Promises
//! - A mailbox is deleted, and its key pair replaced, only while it is suspended, empty, and no message is on its way
//!   into it: mail sealed to a key that is gone would be lost.
//! - A mailbox whose file cannot be read refuses mail for now (4xx), never for good: the fault is ours.
//! - Whether a user name exists cannot be told from a login's answer or its duration.
//!
//! Not here: the mail itself (`spool`), who keeps to a mailbox's policy (`smtp_receiver`), maildrop locks (`pop3_server`).

mod moment;
mod policy;
#[cfg(test)]
mod power_cut;
mod record;
mod registry;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use postern_shared::clock::UnixMillis;
use postern_shared::id::MailboxId;
use serde::{Deserialize, Serialize};

pub use policy::{Bound, Policy, PolicyEdit, PolicyError};
pub use registry::{Receiving, Registry};

/// Whether a mailbox takes mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does.
    Active,
    /// It does not for now; what waits in it can still be pulled.
    Suspended,
}

/// What is shown of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Its id, `mbx-` and 16 hexadecimal digits.
    pub id: MailboxId,
    /// Its address.
    pub address: String,
    /// What the operator calls it.
    pub name: String,
    /// What the operator says of it.
    pub description: String,
    /// Whether it takes mail.
    pub status: Status,
    /// When it was created, or its password last reset.
    pub keyed: UnixMillis,
    /// Whether its mail is sealed to a recovery key as well.
    pub recovery: bool,
    /// What it takes, and from whom.
    pub policy: Arc<Policy>,
}

/// What an edit changes; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The new name.
    pub name: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// The new status.
    pub status: Option<Status>,
    /// What changes of the policy.
    #[serde(default)]
    pub policy: PolicyEdit,
}

/// Why something cannot be done with a mailbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// There is none of that id.
    #[error("there is no mailbox {0}; `mailbox list` shows all")]
    Unknown(MailboxId),
    /// It must be suspended first.
    #[error("mailbox {0} is active; suspend it first: mailbox edit {0} --status suspended")]
    NotSuspended(MailboxId),
    /// Mail waits in it.
    #[error("mailbox {id} holds {messages} messages; let the archiver pull them first")]
    NotEmpty {
        /// The mailbox.
        id: MailboxId,
        /// How many.
        messages: u64,
    },
    /// Mail is on its way into it.
    #[error("a message for mailbox {0} is just arriving; try again in a moment")]
    Receiving(MailboxId),
    /// Its keys are being replaced, or it is being deleted.
    #[error("mailbox {0} is being changed; try again in a moment")]
    Changing(MailboxId),
    /// Not a name.
    #[error("a mailbox's {what} has {min} to {max} characters and no control characters")]
    BadText {
        /// Name or description.
        what: &'static str,
        /// The fewest characters.
        min: usize,
        /// The most characters.
        max: usize,
    },
    /// Not a policy.
    #[error(transparent)]
    BadPolicy(#[from] PolicyError),
    /// Its file cannot be read.
    #[error("mailbox {id} cannot be used: {path}: {reason}", path = .path.display())]
    Damaged {
        /// The mailbox.
        id: MailboxId,
        /// Its file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
