//! Connections: one that writes, and some that read.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};

const READERS_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    /// Closed before the writer, which then brings everything into the one file.
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Connection>,
}

impl Pool {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let writer = Connection::open(path)?;
        writer.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;
             PRAGMA cache_size = -16000; PRAGMA journal_size_limit = 67108864;",
        )?;
        Ok(Self { path: path.to_path_buf(), writer: Mutex::new(writer), readers: Mutex::default() })
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Connection> {
        // A transaction that was interrupted by a panic is rolled back when it is dropped.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read<R>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> rusqlite::Result<R> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&self.path, flags)?;
                connection.execute_batch("PRAGMA cache_size = -4000; PRAGMA query_only = ON;")?;
                connection.busy_timeout(std::time::Duration::from_secs(10))?;
                connection.set_prepared_statement_cache_capacity(64);
                connection
            }
        };
        let result = read(&connection);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_ok() && readers.len() < READERS_MAX {
            readers.push(connection);
        }
        result
    }

    /// Closes the readers.
    pub(super) fn close_readers(&self) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
