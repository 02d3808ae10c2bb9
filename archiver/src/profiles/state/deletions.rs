//! Messages that are archived, and when they are to be deleted at their source.

use postern_shared::clock::UnixMillis;
use rusqlite::{Transaction, params};

use super::{State, StateError, signed, unsigned};
use crate::sources::ItemId;
use crate::sources::account::FolderId;

/// A message that is archived and still at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub(in crate::profiles) folder: FolderId,
    pub(in crate::profiles) item: ItemId,
    /// Where the archive has it: `archive::Kept`, as text.
    pub(in crate::profiles) message: String,
    /// From when on it is to be deleted; `None` when it stays.
    pub(in crate::profiles) due: Option<UnixMillis>,
}

pub(super) fn enter(
    transaction: &Transaction<'_>,
    account: &str,
    folder: &FolderId,
    item: &ItemId,
    message: &str,
    due: Option<u64>,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO deletions VALUES (?1, ?2, ?3, ?4, ?5)";
    let due = due.map(signed);
    transaction.prepare_cached(sql)?.execute(params![account, folder.0, item.0, message, due]).map(drop)
}

fn pending(row: &rusqlite::Row<'_>) -> rusqlite::Result<Pending> {
    let due: Option<i64> = row.get(3)?;
    Ok(Pending {
        folder: FolderId(row.get(0)?),
        item: ItemId(row.get(1)?),
        message: row.get(2)?,
        due: due.map(|due| UnixMillis(unsigned(due))),
    })
}

impl State {
    /// Up to `limit` messages of an account that are due, behind those of this folder and item, folder by folder.
    pub(in crate::profiles) fn due(
        &self,
        account: &str,
        now: UnixMillis,
        behind: (&FolderId, &ItemId),
        limit: usize,
    ) -> Result<Vec<Pending>, StateError> {
        self.read(|connection| {
            let sql = "SELECT folder, item, message, due FROM deletions
                WHERE account = ?1 AND due <= ?2 AND (folder, item) > (?3, ?4) ORDER BY folder, item LIMIT ?5";
            let mut statement = connection.prepare_cached(sql)?;
            let limit = signed(limit as u64);
            let at = params![account, signed(now.0), behind.0.0, behind.1.0, limit];
            let rows = statement.query_map(at, pending)?;
            rows.collect()
        })
    }

    /// All of an account that are archived and still there.
    pub(in crate::profiles) fn pending(&self, account: &str) -> Result<Vec<Pending>, StateError> {
        self.read(|connection| {
            let sql = "SELECT folder, item, message, due FROM deletions WHERE account = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([account], pending)?;
            rows.collect()
        })
    }

    /// How many wait to be deleted.
    pub fn pending_count(&self) -> Result<u64, StateError> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM deletions WHERE due IS NOT NULL";
            connection.query_row(sql, [], |row| row.get(0)).map(unsigned)
        })
    }

    /// Keeps messages as archived and still there.
    pub(in crate::profiles) fn keep_pending(&self, account: &str, all: &[Pending]) -> Result<(), StateError> {
        self.write(|transaction| {
            for one in all {
                let due = one.due.map(|due| due.0);
                enter(transaction, account, &one.folder, &one.item, &one.message, due)?;
            }
            Ok(())
        })
    }

    /// Forgets messages: they are gone, or shall not be deleted.
    pub(in crate::profiles) fn forget_pending(
        &self,
        account: &str,
        all: impl IntoIterator<Item = (FolderId, ItemId)>,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "DELETE FROM deletions WHERE account = ?1 AND folder = ?2 AND item = ?3";
            let mut statement = transaction.prepare_cached(sql)?;
            for (folder, item) in all {
                statement.execute([account, &folder.0, &item.0])?;
            }
            Ok(())
        })
    }

    /// Forgets all that an account's folder waits to have deleted.
    pub(in crate::profiles) fn forget_all_pending(&self, account: &str) -> Result<(), StateError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM deletions WHERE account = ?1", [account]).map(drop)
        })
    }

    /// Moves a deletion that did not work.
    pub(in crate::profiles) fn postpone(
        &self,
        account: &str,
        folder: &FolderId,
        item: &ItemId,
        due: UnixMillis,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "UPDATE deletions SET due = ?4 WHERE account = ?1 AND folder = ?2 AND item = ?3";
            transaction.execute(sql, params![account, folder.0, item.0, signed(due.0)]).map(drop)
        })
    }
}
