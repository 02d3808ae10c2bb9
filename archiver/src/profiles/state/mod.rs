//! What is known of a profile's sources from one run to the next: how far folders were read, what is to be tried again, what is
//! to be deleted.
//!
//! SQLite, `<instance>/pull/<profile>.sqlite`, with its own files (WAL, `synchronous = NORMAL`), outside the door to disk, and in no
//! backup. A run says that something is read only when the archive's commit of it is durable, so whatever a crash or a power cut takes of
//! this file is read again and folds into what is there.
//!
//! | table | what |
//! |---|---|
//! | `cursors` | where a folder was read to, and with which filter; `sum` is of all that, for a cursor that is wrong passes mail over |
//! | `done` | messages behind that which are archived already |
//! | `held` | messages before that which are not wanted yet |
//! | `retries` | messages that could not be had, and why, in the source's words |
//! | `deletions` | messages archived as what, to be deleted at the source when, and whether that was ordered; with what tells them from others of that name |
//! | `counts` | how many deletions wait, kept by triggers |
//! | `missing` | folders that the source does not list any more, since when: forgotten a day later |
//! | `archive` | how far the archive was when something was said to be in it |
//! | `tokens` | refresh tokens that a provider replaced, sealed |
//!
//! `account` names an account and server, `folder` a folder there, `item` a message in it, as `sources` name them.
//!
//! Promises
//! - A file that is damaged, wherever that is found, is put aside by the run that finds it, and begun anew; refresh tokens are
//!   taken along as far as they can be read. Everything at the source is listed again then.
//! - An archive that is not the one any more that something was said of (restored from a backup, rolled back) makes the state
//!   forget what was read.
//!
//! Not here: when something is tried again (`retries` in `run`).

mod damage;
mod deletions;
mod held;
mod missing;
mod position;
mod retries;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use postern_shared::crypto::digest::sha256;
use postern_shared::disk::{Disk, RealDisk};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

pub use deletions::Pending;
pub use retries::{Retry, Which};

use super::name::ProfileName;
use crate::archive::Instance;
use crate::sources::account::{FolderId, Item};
use crate::sources::{Cursor, ItemId};

/// With less than that SQLite cannot go on.
const FULL_BYTES_MAX: u64 = 128 * 1024;
const VERSION: i64 = 3;
const SCHEMA: &str = "
CREATE TABLE cursors (account TEXT, folder TEXT, filter TEXT NOT NULL, cursor TEXT NOT NULL, sum BLOB NOT NULL,
    PRIMARY KEY (account, folder)) WITHOUT ROWID;
CREATE TABLE done (account TEXT, folder TEXT, item TEXT, PRIMARY KEY (account, folder, item)) WITHOUT ROWID;
CREATE TABLE held (account TEXT, folder TEXT, item TEXT, flags TEXT NOT NULL, internal_date INTEGER,
    octets INTEGER NOT NULL, PRIMARY KEY (account, folder, item)) WITHOUT ROWID;
CREATE TABLE retries (account TEXT, folder TEXT, item TEXT, name TEXT NOT NULL, why TEXT NOT NULL,
    flags TEXT NOT NULL, internal_date INTEGER, octets INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, next INTEGER NOT NULL, attempts INTEGER NOT NULL,
    discarded INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (account, folder, item)) WITHOUT ROWID;
CREATE TABLE deletions (account TEXT, folder TEXT, item TEXT, message TEXT NOT NULL, due INTEGER,
    octets INTEGER NOT NULL, internal_date INTEGER, ordered INTEGER NOT NULL,
    PRIMARY KEY (account, folder, item)) WITHOUT ROWID;
CREATE INDEX deletions_due ON deletions (account, due, folder, item);
CREATE TABLE counts (what TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counts VALUES ('deletions', 0);
CREATE TRIGGER deletion_entered AFTER INSERT ON deletions WHEN new.due IS NOT NULL
    BEGIN UPDATE counts SET number = number + 1 WHERE what = 'deletions'; END;
CREATE TRIGGER deletion_forgotten AFTER DELETE ON deletions WHEN old.due IS NOT NULL
    BEGIN UPDATE counts SET number = number - 1 WHERE what = 'deletions'; END;
CREATE TRIGGER deletion_moved AFTER UPDATE OF due ON deletions WHEN (old.due IS NULL) != (new.due IS NULL)
    BEGIN UPDATE counts SET number = number + (old.due IS NULL) - (new.due IS NULL) WHERE what = 'deletions'; END;
CREATE TABLE missing (account TEXT, folder TEXT, since INTEGER NOT NULL, PRIMARY KEY (account, folder)) WITHOUT ROWID;
CREATE TABLE archive (number INTEGER PRIMARY KEY CHECK (number = 1), position TEXT NOT NULL);
CREATE TABLE tokens (account TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
";

/// The file failed.
#[derive(Debug, thiserror::Error)]
#[error(
    "what is known of the source, {path}: {reason}{advice}",
    path = .path.display(),
    advice = if *.damaged { "; the next run puts the file aside and lists everything at the source again" } else { "" }
)]
pub struct StateError {
    path: PathBuf,
    reason: String,
    damaged: bool,
}

/// A profile's state.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Something in the file makes no sense.
    damaged: AtomicBool,
    /// Where that goes of which this says what it holds.
    archive: OnceLock<Weak<Instance>>,
}

impl State {
    /// Opens the state of a profile in `dir`, made when missing; one that cannot be opened because it is damaged is put aside. Blocks
    /// for the disk.
    pub fn open(disk: &dyn Disk, dir: &Path, profile: &ProfileName) -> Result<Self, StateError> {
        let path = dir.join(format!("{profile}.sqlite"));
        disk.create_dir_all(dir).map_err(|error| StateError::io(&path, &error))?;
        match Self::open_at(&path) {
            Err(error) if error.damaged => {
                tracing::error!(%error, "what is known of a source is damaged");
                Self::begin_anew(disk, dir, profile)
            }
            other => other,
        }
    }

    /// Puts a damaged state aside and opens a new one. Blocks for the disk.
    pub(super) fn begin_anew(disk: &dyn Disk, dir: &Path, profile: &ProfileName) -> Result<Self, StateError> {
        let path = dir.join(format!("{profile}.sqlite"));
        let tokens = damage::tokens(&path);
        damage::put_aside(disk, dir, &path)?;
        let state = Self::open_at(&path)?;
        match tokens {
            Some(tokens) => {
                for (account, sealed) in tokens {
                    state.keep_token(&account, &sealed)?;
                }
            }
            None => tracing::error!(
                path = %path.display(),
                "refresh tokens that a provider replaced could not be read any more: accounts whose login is refused now need \
                 consent again"
            ),
        }
        Ok(state)
    }

    /// Whether something in the file was found to make no sense.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Removes the state of a profile.
    pub fn remove(disk: &dyn Disk, dir: &Path, profile: &ProfileName) -> std::io::Result<()> {
        let path = dir.join(format!("{profile}.sqlite"));
        remove_beside(disk, &path)?;
        if disk.exists(&path)? { disk.remove(&path) } else { Ok(()) }
    }

    fn open_at(path: &Path) -> Result<Self, StateError> {
        let failed = |error: rusqlite::Error| failure(path, &error);
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4000;",
            )
            .map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(32);
        let version: i64 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        match version {
            VERSION => {}
            0 => {
                let create = format!("BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;");
                connection.execute_batch(&create).map_err(failed)?;
            }
            other => {
                let reason = format!(
                    "version {other} is not known to this program; remove the file, and everything at the source is listed again"
                );
                return Err(StateError { path: path.into(), reason, damaged: false });
            }
        }
        Ok(Self {
            path: path.into(),
            connection: Mutex::new(connection),
            damaged: AtomicBool::new(false),
            archive: OnceLock::new(),
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<R>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<R>) -> Result<R, StateError> {
        read(&self.connection()).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &rusqlite::Error) -> StateError {
        let error = failure(&self.path, error);
        self.damaged.fetch_or(error.damaged, Ordering::Relaxed);
        error
    }

    fn write<R>(&self, write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R>) -> Result<R, StateError> {
        let mut connection = self.connection();
        let run = || {
            let transaction = connection.transaction()?;
            let result = write(&transaction)?;
            transaction.commit().map(|()| result)
        };
        run().map_err(|error| self.failed(&error))
    }

    /// Where the folders of an account were read to with that filter.
    pub(super) fn cursors(
        &self,
        account: &str,
        filter: &str,
    ) -> Result<HashMap<FolderId, Cursor>, StateError> {
        self.read(|connection| {
            let sql = "SELECT folder, cursor, sum FROM cursors WHERE account = ?1 AND filter = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([account, filter])?;
            let mut cursors = HashMap::new();
            while let Some(row) = rows.next()? {
                let (folder, cursor, kept): (String, String, Vec<u8>) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                if kept == sum(&[account, &folder, filter, &cursor]) {
                    cursors.insert(FolderId(folder), Cursor(cursor));
                } else {
                    tracing::error!(
                        account,
                        folder,
                        "where it was read to is damaged; all of it is listed again"
                    );
                }
            }
            Ok(cursors)
        })
    }

    /// Messages of a folder behind its cursor that are archived already.
    pub(super) fn done(&self, account: &str, folder: &FolderId) -> Result<HashSet<ItemId>, StateError> {
        self.read(|connection| {
            let sql = "SELECT item FROM done WHERE account = ?1 AND folder = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([account, &folder.0], |row| Ok(ItemId(row.get(0)?)))?;
            rows.collect()
        })
    }

    /// Keeps that these are archived, as these messages; when they are to be deleted, from when on.
    pub(super) fn archived(
        &self,
        account: &str,
        folder: &FolderId,
        items: &[(Item, String)],
        delete: Option<u64>,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            self.keep_position(transaction)?;
            for (item, message) in items {
                let at = params![account, folder.0, item.id.0];
                let mut behind = true;
                for before in ["retries", "held"] {
                    let sql =
                        format!("DELETE FROM {before} WHERE account = ?1 AND folder = ?2 AND item = ?3");
                    behind &= transaction.prepare_cached(&sql)?.execute(at)? == 0;
                }
                // What was passed over once is not listed again, so nobody would take it out of there.
                if behind {
                    let sql = "INSERT OR IGNORE INTO done VALUES (?1, ?2, ?3)";
                    transaction.prepare_cached(sql)?.execute(at)?;
                }
                if let Some(due) = delete {
                    deletions::enter(transaction, account, folder, item, message, Some(due))?;
                }
            }
            Ok(())
        })
    }

    /// Keeps where a folder was read to. That these are done needs not be known any more: they lie before it.
    pub(super) fn keep_cursor(
        &self,
        account: &str,
        folder: &FolderId,
        (filter, cursor): (&str, &Cursor),
        before: &[ItemId],
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            self.keep_position(transaction)?;
            let sum = sum(&[account, &folder.0, filter, &cursor.0]);
            let sql = "INSERT OR REPLACE INTO cursors VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.prepare_cached(sql)?.execute(params![account, folder.0, filter, cursor.0, sum])?;
            let sql = "DELETE FROM done WHERE account = ?1 AND folder = ?2 AND item = ?3";
            let mut statement = transaction.prepare_cached(sql)?;
            for item in before {
                statement.execute([account, &folder.0, &item.0])?;
            }
            Ok(())
        })
    }

    /// Forgets what its items' names meant: the source gave them other ones.
    pub(super) fn restart(&self, account: &str, folder: &FolderId) -> Result<(), StateError> {
        self.write(|transaction| {
            for table in ["cursors", "done", "held", "retries", "deletions"] {
                let sql = format!("DELETE FROM {table} WHERE account = ?1 AND folder = ?2");
                transaction.execute(&sql, [account, &folder.0])?;
            }
            Ok(())
        })
    }

    /// A sealed refresh token.
    pub(super) fn token(&self, account: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.read(|connection| {
            let sql = "SELECT sealed FROM tokens WHERE account = ?1";
            connection.query_row(sql, [account], |row| row.get(0)).optional()
        })
    }

    /// Keeps a sealed refresh token, beyond a power cut: the one before may be worth nothing any more.
    pub(super) fn keep_token(&self, account: &str, sealed: &[u8]) -> Result<(), StateError> {
        self.read(|connection| connection.execute_batch("PRAGMA synchronous = FULL"))?;
        let kept = self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO tokens VALUES (?1, ?2)";
            transaction.execute(sql, params![account, sealed]).map(drop)
        });
        self.read(|connection| connection.execute_batch("PRAGMA synchronous = NORMAL"))?;
        kept
    }
}

fn remove_beside(disk: &dyn Disk, path: &Path) -> std::io::Result<()> {
    for end in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_os_string();
        name.push(end);
        let beside = PathBuf::from(name);
        if disk.exists(&beside)? {
            disk.remove(&beside)?;
        }
    }
    Ok(())
}

impl StateError {
    /// Whether the file makes no sense.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    fn io(path: &Path, error: &std::io::Error) -> Self {
        Self { path: path.into(), reason: error.to_string(), damaged: false }
    }
}

/// Tells a cursor from what a bit flip makes of it.
fn sum(parts: &[&str]) -> Vec<u8> {
    sha256(parts.join("\0").as_bytes()).0[..8].to_vec()
}

fn flags_of(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn failure(path: &Path, error: &rusqlite::Error) -> StateError {
    let damaged =
        matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt));
    let reason = match is_disk_full(path, error) {
        true => "no space is left on the disk; free some, the next run goes on".to_owned(),
        false => error.to_string(),
    };
    StateError { path: path.into(), reason, damaged }
}

/// SQLite tells of a full disk as such only where it writes pages; in its shared memory it is any failure.
fn is_disk_full(path: &Path, error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        Some(ErrorCode::SystemIoFailure) => {
            RealDisk.free_bytes(path.parent().unwrap_or(path)).is_ok_and(|free| free < FULL_BYTES_MAX)
        }
        _ => false,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
