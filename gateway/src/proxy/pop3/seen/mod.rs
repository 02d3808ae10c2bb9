//! Which messages were recorded already: a client that fetches a message twice, or leaves its mail on the server, makes one
//! copy of it.
//!
//! ```text
//! <data_dir>/proxy/seen.key        32 random octets; without them an entry tells nobody anything
//! <data_dir>/proxy/seen/<mailbox>  records of 20 octets, only ever appended to:
//!
//!   0   16   entry: the first octets of HMAC-SHA-256(key, mailbox (8) | account | 0 | unique-id | 0 | SHA-256 of the content)
//!   16   4   CRC-32C of the entry, big-endian
//! ```
//!
//! The first record of a file is a mark in place of an entry. What stands behind the last whole record is written over; a
//! record that is damaged is passed over.
//!
//! Promises
//! - An entry is written after its message is on disk. It is not synced: an entry that is lost costs a double, which the
//!   archive folds; one that is there too early would cost a message.
//! - Without an entry's exact octets nothing is known: no damage makes a message known that was not recorded.
//! - Of two sessions that get the same message at once, the second waits for what becomes of the first, and records it when
//!   that fails.
//! - Files are read when their mailbox is first used, and forgotten when it is idle. Sixteen octets a message and the table's
//!   share are in memory; beyond [`ENTRIES_MAX`] a table starts anew.
//!
//! A copy of the data directory may do without these files, and is better restored without them: with files newer than its
//! spool, what was recorded in between would be taken for recorded.
//!
//! Not here: recording (`intake`).

mod log;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Clock, Moment};
use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::digest::{Digest, hmac_sha256};
use postern_shared::crypto::random_secret;
use postern_shared::disk::{Disk, write_atomic};
use postern_shared::id::MailboxId;
use postern_shared::proto::pop3::UidlToken;
use zeroize::Zeroizing;

pub use table::{Claim, Claimed, Table};

/// What one table holds at most: 160 MB of file, and about as much memory.
pub const ENTRIES_MAX: usize = 8_000_000;
/// A table that nobody used for so long leaves memory.
const IDLE: Duration = Duration::from_secs(3600);

/// What stands for one message of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry(u128);

/// The tables of all mailboxes.
pub struct Seen {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    key: SecretBytes,
    clock: Arc<dyn Clock>,
    tables: Mutex<HashMap<MailboxId, (Arc<Table>, Moment)>>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Seen {
    /// The tables in `data_dir`. A key that is missing or damaged is made anew; old entries mean nothing then.
    pub fn open(disk: Arc<dyn Disk>, data_dir: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let proxy = data_dir.join("proxy");
        let dir = proxy.join("seen");
        disk.create_dir_all(&dir)?;
        let path = proxy.join("seen.key");
        let stored =
            if disk.exists(&path)? { Zeroizing::new(disk.read(&path, 1024)?) } else { Zeroizing::default() };
        let key = if let Ok(bytes) = <[u8; 32]>::try_from(&stored[..]) {
            Zeroizing::new(bytes)
        } else {
            if !stored.is_empty() {
                tracing::error!(path = %path.display(), "this is no key: what was recorded before is not known any more");
            }
            let key = random_secret();
            write_atomic(&*disk, &path, &*key)?;
            key
        };
        Ok(Self { disk, dir, key, clock, tables: Mutex::default() })
    }

    /// What stands for a message.
    pub fn entry(
        &self,
        mailbox: MailboxId,
        account: &str,
        uidl: Option<&UidlToken>,
        content: Digest,
    ) -> Entry {
        let mut bytes = Vec::with_capacity(8 + account.len() + 72 + 32);
        bytes.extend_from_slice(&mailbox.to_bytes());
        bytes.extend_from_slice(account.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(uidl.map_or("", UidlToken::as_str).as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&content.0);
        let Digest(hash) = hmac_sha256(&self.key, &bytes);
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        Entry(u128::from_be_bytes(first))
    }

    /// What was recorded into `mailbox`.
    pub fn table(&self, mailbox: MailboxId) -> Arc<Table> {
        let mut tables = self.lock();
        let (table, used) = tables.entry(mailbox).or_insert_with(|| {
            let path = self.dir.join(mailbox.to_string());
            (Arc::new(Table::new(Arc::clone(&self.disk), path, ENTRIES_MAX)), Moment::default())
        });
        *used = self.clock.moment();
        Arc::clone(table)
    }

    /// Gives back the memory of tables that are not in use; to be called now and then.
    pub fn forget_idle(&self) {
        let now = self.clock.moment();
        self.lock().retain(|_, (table, used)| Arc::strong_count(table) > 1 || now.since(*used) < IDLE);
    }

    /// Removes the files of mailboxes that are no more.
    pub fn sweep(&self, exists: impl Fn(MailboxId) -> bool) -> io::Result<()> {
        for path in self.disk.files(&self.dir)? {
            let mailbox = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            if let Some(mailbox) = mailbox
                && !exists(mailbox)
            {
                self.lock().remove(&mailbox);
                self.disk.remove(&path)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MailboxId, (Arc<Table>, Moment)>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
