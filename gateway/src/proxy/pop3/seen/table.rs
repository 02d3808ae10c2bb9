//! What was recorded into one mailbox, and what is being recorded just now.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_shared::disk::Disk;
use tokio::sync::{Notify, OnceCell};
use tokio::task::spawn_blocking;

use super::Entry;
use super::log::Log;

/// Entries are random already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write_u128(&mut self, value: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let bits = value as u64;
        self.0 = bits;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What is known of one mailbox.
#[derive(Debug)]
pub struct Table {
    entries_max: usize,
    loaded: OnceCell<()>,
    known: Mutex<Known>,
    log: Mutex<Log>,
    /// Something is not being recorded any more.
    decided: Notify,
}

#[derive(Debug, Default)]
struct Known {
    recorded: HashSet<Entry, BuildHasherDefault<AsItIs>>,
    recording: HashSet<Entry>,
}

/// What a session learns of its message.
#[derive(Debug)]
pub enum Claim {
    /// It was recorded.
    Known,
    /// It was not, and this session is the one to record it.
    Free(Claimed),
}

/// The right to record a message. Dropped unused, the next one has it.
#[derive(Debug)]
pub struct Claimed {
    table: Arc<Table>,
    entry: Entry,
}

impl Table {
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf, entries_max: usize) -> Self {
        Self {
            entries_max,
            loaded: OnceCell::new(),
            known: Mutex::default(),
            log: Mutex::new(Log::new(disk, path)),
            decided: Notify::new(),
        }
    }

    /// Whether the message is known; waits while another session records it.
    pub async fn claim(self: &Arc<Self>, entry: Entry) -> Claim {
        self.loaded.get_or_init(|| self.load()).await;
        loop {
            let decided = self.decided.notified();
            tokio::pin!(decided);
            // Before looking, so that nothing is missed between looking and waiting.
            decided.as_mut().enable();
            {
                let mut known = lock(&self.known);
                if known.recorded.contains(&entry) {
                    return Claim::Known;
                }
                if known.recording.insert(entry) {
                    return Claim::Free(Claimed { table: Arc::clone(self), entry });
                }
            }
            decided.await;
        }
    }

    /// What cannot be read is not known: doubles are the price.
    async fn load(self: &Arc<Self>) {
        let table = Arc::clone(self);
        let loading = spawn_blocking(move || {
            let mut entries = HashSet::default();
            let mut log = lock(&table.log);
            let read = log.read(|entry| {
                if entries.len() < table.entries_max {
                    entries.insert(entry);
                }
            });
            if let Err(error) = read {
                let path = log.path().display();
                tracing::error!(%path, %error, "cannot read what was recorded; it may be recorded again");
            }
            lock(&table.known).recorded = entries;
        });
        if let Err(error) = loading.await {
            tracing::error!(%error, "reading what was recorded stopped");
        }
    }

    fn append(&self, entry: Entry) {
        let mut log = lock(&self.log);
        let full = lock(&self.known).recorded.len() >= self.entries_max;
        let written = if full { log.begin_anew() } else { Ok(()) }.and_then(|()| log.append(entry));
        if let Err(error) = written {
            let path = log.path().display();
            tracing::warn!(%path, %error, "cannot note that a message was recorded; it may be recorded again");
        }
        let mut known = lock(&self.known);
        if full {
            known.recorded.clear();
        }
        known.recorded.insert(entry);
    }
}

impl Claimed {
    /// The message is on disk: from now on it is known. Writes twenty octets where it stands, and syncs nothing: that takes less
    /// than handing them over.
    pub fn recorded(self) {
        self.table.append(self.entry);
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        lock(&self.table.known).recording.remove(&self.entry);
        self.table.decided.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
