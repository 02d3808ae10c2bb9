//! What is known of a profile's sources from one run to the next: how far folders were read, what is to be tried again, what is
//! to be deleted.
//!
//! SQLite, `<instance>/pull/<profile>.sqlite`, with its own files (WAL, `synchronous = NORMAL`), outside the door to disk, and in no
//! backup. A run says that something is read only when the archive's commit of it is durable, so whatever a crash or a power cut takes of
//! this file is read again and folds into what is there. When the file is damaged it is put aside and begun anew.
//!
//! | table | what |
//! |---|---|
//! | `cursors` | where a folder was read to, and with which filter |
//! | `done` | messages behind that which are archived already |
//! | `retries` | messages that could not be had, and why, in the source's words |
//! | `deletions` | messages archived as what, to be deleted at the source when |
//! | `tokens` | refresh tokens that a provider replaced, sealed |
//!
//! `account` names an account and server, `folder` a folder there, `item` a message in it, as `sources` name them.
//!
//! Not here: when something is tried again (`retries` in `run`).

mod deletions;
mod retries;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use postern_shared::disk::Disk;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

pub use deletions::Pending;
pub use retries::Retry;

use super::name::ProfileName;
use crate::sources::account::FolderId;
use crate::sources::{Cursor, ItemId};

const VERSION: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE cursors (account TEXT, folder TEXT, filter TEXT NOT NULL, cursor TEXT NOT NULL,
    PRIMARY KEY (account, folder)) WITHOUT ROWID;
CREATE TABLE done (account TEXT, folder TEXT, item TEXT, PRIMARY KEY (account, folder, item)) WITHOUT ROWID;
CREATE TABLE retries (account TEXT, folder TEXT, item TEXT, name TEXT NOT NULL, why TEXT NOT NULL,
    flags TEXT NOT NULL, internal_date INTEGER, octets INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, next INTEGER NOT NULL, attempts INTEGER NOT NULL,
    discarded INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (account, folder, item)) WITHOUT ROWID;
CREATE TABLE deletions (account TEXT, folder TEXT, item TEXT, message TEXT NOT NULL, due INTEGER,
    PRIMARY KEY (account, folder, item)) WITHOUT ROWID;
CREATE INDEX deletions_due ON deletions (account, due);
CREATE TABLE tokens (account TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
";

/// The file failed.
#[derive(Debug, thiserror::Error)]
#[error("what is known of the source, {path}: {reason}", path = .path.display())]
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
}

impl State {
    /// Opens the state of a profile in `dir`, made when missing; one that is damaged is put aside. Blocks for the disk.
    pub fn open(disk: &dyn Disk, dir: &Path, profile: &ProfileName) -> Result<Self, StateError> {
        let path = dir.join(format!("{profile}.sqlite"));
        let io = |error: std::io::Error| StateError {
            path: path.clone(),
            reason: error.to_string(),
            damaged: false,
        };
        disk.create_dir_all(dir).map_err(io)?;
        match Self::open_at(&path) {
            Err(error) if error.damaged => {
                tracing::error!(%error, "put aside; everything at the source is listed again");
                let aside = path.with_extension("sqlite.damaged");
                disk.rename(&path, &aside).and_then(|()| disk.sync_dir(dir)).map_err(io)?;
                remove_beside(disk, &path).map_err(io)?;
                Self::open_at(&path)
            }
            other => other,
        }
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
                let reason = format!("version {other} is not known to this program");
                return Err(StateError { path: path.into(), reason, damaged: false });
            }
        }
        Ok(Self { path: path.into(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<R>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<R>) -> Result<R, StateError> {
        read(&self.connection()).map_err(|error| failure(&self.path, &error))
    }

    fn write<R>(&self, write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R>) -> Result<R, StateError> {
        let mut connection = self.connection();
        let run = || {
            let transaction = connection.transaction()?;
            let result = write(&transaction)?;
            transaction.commit().map(|()| result)
        };
        run().map_err(|error| failure(&self.path, &error))
    }

    /// Where the folders of an account were read to with that filter.
    pub(super) fn cursors(
        &self,
        account: &str,
        filter: &str,
    ) -> Result<HashMap<FolderId, Cursor>, StateError> {
        self.read(|connection| {
            let sql = "SELECT folder, cursor FROM cursors WHERE account = ?1 AND filter = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement
                .query_map([account, filter], |row| Ok((FolderId(row.get(0)?), Cursor(row.get(1)?))))?;
            rows.collect()
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
        items: &[(ItemId, String)],
        delete: Option<u64>,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            for (item, message) in items {
                let at = params![account, folder.0, item.0];
                let sql = "INSERT OR IGNORE INTO done VALUES (?1, ?2, ?3)";
                transaction.prepare_cached(sql)?.execute(at)?;
                let sql = "DELETE FROM retries WHERE account = ?1 AND folder = ?2 AND item = ?3";
                transaction.prepare_cached(sql)?.execute(at)?;
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
            let sql = "INSERT OR REPLACE INTO cursors VALUES (?1, ?2, ?3, ?4)";
            transaction.prepare_cached(sql)?.execute(params![account, folder.0, filter, cursor.0])?;
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
            for table in ["cursors", "done", "retries", "deletions"] {
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

fn failure(path: &Path, error: &rusqlite::Error) -> StateError {
    let damaged =
        matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt));
    StateError { path: path.into(), reason: error.to_string(), damaged }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
