//! What a session holds of a mailbox: an exclusive lock, and a snapshot of its messages that does not change.
//!
//! [`Accounts`] and [`Maildrops`] are what this room needs from the rest of the gateway.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::crypto::keys::PrivateKey;
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::pop3::{MessageNumber, Reply, ResponseCode};
use secrecy::SecretString;

/// Who may log in.
pub trait Accounts: Send + Sync + 'static {
    /// The mailbox that `user` (its id or address, in any case) names, and the key that `password` opens.
    ///
    /// Blocks for Argon2id. A mailbox that does not exist costs the same time and is [`LoginError::WrongPassword`].
    fn unlock(&self, user: &str, password: &SecretString) -> Result<(MailboxId, PrivateKey), LoginError>;
}

/// Why nobody was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such mailbox, or not its password.
    #[error("wrong user name or password")]
    WrongPassword,
    /// It could not be found out; trying later may help.
    #[error("the login could not be checked")]
    Temporary,
}

/// A message as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its id, which is its unique-id.
    pub id: MessageId,
    /// Exactly how many octets serving it sends, before byte-stuffing. The octets end in CRLF.
    pub served_bytes: u64,
}

/// Where messages wait.
pub trait Maildrops: Send + Sync + 'static {
    /// An open message.
    type Message: ServedMessage + 'static;

    /// What waits in `mailbox`, in order of arrival.
    fn snapshot(&self, mailbox: MailboxId) -> Vec<Entry>;
    /// Opens a message. Blocks for the disk.
    fn open(&self, mailbox: MailboxId, id: MessageId, key: &PrivateKey) -> Result<Self::Message, ReadError>;
    /// Deletes messages for good; resolves when that is on disk.
    fn delete(
        &self,
        mailbox: MailboxId,
        ids: &[MessageId],
    ) -> impl Future<Output = Result<(), DeleteError>> + Send;
}

/// A message being read.
pub trait ServedMessage: Send {
    /// The next piece, at most 64 KiB and not empty, or `None` at the end. Blocks for the disk.
    fn next_piece(&mut self) -> Result<Option<&[u8]>, ReadError>;
}

/// Why a message cannot be served. The text is for the log; [`ReadError::reply`] is for the peer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It was deleted since the snapshot.
    #[error("message {id} is no longer there")]
    Gone {
        /// Which message.
        id: MessageId,
    },
    /// What lies on the disk is not what was stored.
    #[error("message {id} is damaged: {what}")]
    Damaged {
        /// Which message.
        id: MessageId,
        /// What is wrong, and where.
        what: String,
    },
    /// The disk could not be read.
    #[error("message {id} cannot be read: {what}")]
    Io {
        /// Which message.
        id: MessageId,
        /// What failed, and where.
        what: String,
    },
}

impl ReadError {
    /// The peer learns which message and whether trying again may help; where and why stay in our log.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Gone { id } => Reply::err(format!("Message {id} is gone")).with(ResponseCode::SysPerm),
            Self::Damaged { id, .. } => {
                Reply::err(format!("Message {id} is damaged; the others can be read"))
                    .with(ResponseCode::SysPerm)
            }
            Self::Io { id, .. } => {
                Reply::err(format!("Message {id} cannot be read now")).with(ResponseCode::SysTemp)
            }
        }
    }
}

/// Messages that should be deleted are not; for the log.
#[derive(Debug, thiserror::Error)]
#[error("messages of {mailbox} could not be deleted: {what}")]
pub struct DeleteError {
    /// Whose messages.
    pub mailbox: MailboxId,
    /// What failed.
    pub what: String,
}

/// Which mailboxes are held by a session.
#[derive(Debug, Default, Clone)]
pub struct Locks {
    held: Arc<Mutex<HashSet<MailboxId>>>,
}

impl Locks {
    /// Takes the lock on `mailbox`; `None` when a session holds it.
    pub fn take(&self, mailbox: MailboxId) -> Option<Lock> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(mailbox).then(|| Lock { locks: self.clone(), mailbox })
    }
}

/// The lock on a mailbox; released when dropped.
#[derive(Debug)]
pub struct Lock {
    locks: Locks,
    mailbox: MailboxId,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.locks.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.mailbox);
    }
}

/// A locked mailbox as it was at login, and which of its messages are marked for deletion.
#[derive(Debug)]
pub struct Maildrop {
    lock: Lock,
    messages: Vec<(Entry, Mark)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Kept,
    Deleted,
}

impl Maildrop {
    /// The snapshot `entries`, taken after `lock` was.
    pub fn new(lock: Lock, entries: Vec<Entry>) -> Self {
        Self { lock, messages: entries.into_iter().map(|entry| (entry, Mark::Kept)).collect() }
    }

    /// Whose it is.
    pub fn mailbox(&self) -> MailboxId {
        self.lock.mailbox
    }

    /// Count and total size of the messages not marked.
    pub fn totals(&self) -> (usize, u64) {
        self.listed(0).fold((0, 0), |(count, octets), (_, entry)| (count + 1, octets + entry.served_bytes))
    }

    /// The message `number`, unless there is none or it is marked.
    pub fn message(&self, number: MessageNumber) -> Option<Entry> {
        match self.messages.get(number.index()) {
            Some(&(entry, Mark::Kept)) => Some(entry),
            _ => None,
        }
    }

    /// The messages not marked, from the `first` one (from 0) on.
    pub fn listed(&self, first: usize) -> impl Iterator<Item = (MessageNumber, Entry)> {
        self.messages.iter().enumerate().skip(first).filter_map(|(index, &(entry, mark))| {
            MessageNumber::from_index(index).filter(|_| mark == Mark::Kept).map(|number| (number, entry))
        })
    }

    /// Marks the message `number`; `false` when there is none or it is marked already.
    pub fn mark(&mut self, number: MessageNumber) -> bool {
        match self.messages.get_mut(number.index()) {
            Some((_, mark @ Mark::Kept)) => {
                *mark = Mark::Deleted;
                true
            }
            _ => false,
        }
    }

    /// Unmarks all messages.
    pub fn unmark_all(&mut self) {
        self.messages.iter_mut().for_each(|(_, mark)| *mark = Mark::Kept);
    }

    /// The messages marked.
    pub fn marked(&self) -> Vec<MessageId> {
        self.messages.iter().filter(|(_, mark)| *mark == Mark::Deleted).map(|(entry, _)| entry.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_held_once_until_the_lock_is_dropped() {
        let locks = Locks::default();
        let (anna, bob) = (MailboxId::from_bytes([1; 8]), MailboxId::from_bytes([2; 8]));
        let held = locks.take(anna).expect("free");
        assert!(locks.take(anna).is_none());
        assert!(locks.take(bob).is_some(), "another mailbox is another lock");
        drop(held);
        assert!(locks.take(anna).is_some());
    }

    #[test]
    fn a_panic_in_a_session_releases_its_mailbox() {
        let locks = Locks::default();
        let mailbox = MailboxId::from_bytes([1; 8]);
        let held = locks.take(mailbox);
        let result = std::thread::spawn(move || {
            let _held = held;
            panic!("a session fails");
        })
        .join();
        assert!(result.is_err());
        assert!(locks.take(mailbox).is_some());
    }
}
