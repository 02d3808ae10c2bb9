//! Messages that are archived, and when they are to be deleted at their source.

use postern_shared::clock::UnixMillis;
use rusqlite::{Transaction, params};

use super::{State, StateError, signed, unsigned};
use crate::sources::ItemId;
use crate::sources::account::{FolderId, Item};

/// A message that is archived and still at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub(in crate::profiles) folder: FolderId,
    pub(in crate::profiles) item: ItemId,
    /// Where the archive has it: `archive::Kept`, as text.
    pub(in crate::profiles) message: String,
    /// From when on it is to be deleted; `None` when it stays.
    pub(in crate::profiles) due: Option<UnixMillis>,
    /// Its size as the source claimed; 0 when nobody knows.
    pub(in crate::profiles) octets: u64,
    /// When it came to the source.
    pub(in crate::profiles) internal_date: Option<UnixMillis>,
    /// Its deletion was ordered: when it is gone, that is why.
    pub(in crate::profiles) ordered: bool,
}

impl Pending {
    /// As a source is asked for it.
    pub(in crate::profiles) fn as_item(&self) -> Item {
        let (id, flags) = (self.item.clone(), Vec::new());
        Item { id, flags, internal_date: self.internal_date, octets: self.octets }
    }

    /// Whether what the source has under that name now is another message: names are given out again when a server is restored
    /// from a backup.
    pub(in crate::profiles) fn is_other(&self, now: &Item) -> bool {
        let other_size = self.octets != 0 && now.octets != 0 && self.octets != now.octets;
        let other_date = self.internal_date.zip(now.internal_date).is_some_and(|(then, now)| then != now);
        other_size || other_date
    }

    /// Whether its size or its date tells that it is the same; else nobody knows.
    pub(in crate::profiles) fn is_comparable(&self, now: &Item) -> bool {
        (self.octets != 0 && now.octets != 0) || (self.internal_date.is_some() && now.internal_date.is_some())
    }
}

pub(super) fn enter(
    transaction: &Transaction<'_>,
    account: &str,
    folder: &FolderId,
    item: &Item,
    message: &str,
    due: Option<u64>,
) -> rusqlite::Result<()> {
    // An upsert: what replaces a row tells no trigger of the row.
    let sql = "INSERT INTO deletions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0) ON CONFLICT DO UPDATE
        SET message = ?4, due = ?5, octets = ?6, internal_date = ?7, ordered = 0";
    let (due, date) = (due.map(signed), item.internal_date.map(|date| signed(date.0)));
    let row = params![account, folder.0, item.id.0, message, due, signed(item.octets), date];
    transaction.prepare_cached(sql)?.execute(row).map(drop)
}

const COLUMNS: &str = "folder, item, message, due, octets, internal_date, ordered";

fn pending(row: &rusqlite::Row<'_>) -> rusqlite::Result<Pending> {
    let time = |index| row.get::<_, Option<i64>>(index).map(|at| at.map(|at| UnixMillis(unsigned(at))));
    Ok(Pending {
        folder: FolderId(row.get(0)?),
        item: ItemId(row.get(1)?),
        message: row.get(2)?,
        due: time(3)?,
        octets: row.get(4).map(unsigned)?,
        internal_date: time(5)?,
        ordered: row.get(6)?,
    })
}

impl State {
    /// Up to `limit` messages of an account that are due, behind that one, the first to become due first.
    pub(in crate::profiles) fn due(
        &self,
        account: &str,
        now: UnixMillis,
        behind: Option<&Pending>,
        limit: usize,
    ) -> Result<Vec<Pending>, StateError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM deletions WHERE account = ?1 AND due <= ?2
                AND (due, folder, item) > (?3, ?4, ?5) ORDER BY due, folder, item LIMIT ?6"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let due = behind.and_then(|behind| behind.due).map_or(-1, |due| signed(due.0));
            let (folder, item) = behind.map_or(("", ""), |behind| (&behind.folder.0, &behind.item.0));
            let limit = signed(limit as u64);
            let rows =
                statement.query_map(params![account, signed(now.0), due, folder, item, limit], pending)?;
            rows.collect()
        })
    }

    /// All of an account that are archived and still there.
    pub(in crate::profiles) fn pending(&self, account: &str) -> Result<Vec<Pending>, StateError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM deletions WHERE account = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([account], pending)?;
            rows.collect()
        })
    }

    /// How many wait to be deleted.
    pub fn pending_count(&self) -> Result<u64, StateError> {
        self.read(|connection| {
            let sql = "SELECT number FROM counts WHERE what = 'deletions'";
            connection.query_row(sql, [], |row| row.get(0)).map(unsigned)
        })
    }

    /// Keeps messages as archived and still there.
    pub(in crate::profiles) fn keep_pending(&self, account: &str, all: &[Pending]) -> Result<(), StateError> {
        self.write(|transaction| {
            self.keep_position(transaction)?;
            for one in all {
                let due = one.due.map(|due| due.0);
                enter(transaction, account, &one.folder, &one.as_item(), &one.message, due)?;
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

    /// Moves all deletions in a folder that are due: nothing can be deleted there now.
    pub(in crate::profiles) fn postpone_folder(
        &self,
        account: &str,
        folder: &FolderId,
        now: UnixMillis,
        due: UnixMillis,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "UPDATE deletions SET due = ?4 WHERE account = ?1 AND folder = ?2 AND due <= ?3";
            transaction.execute(sql, params![account, folder.0, signed(now.0), signed(due.0)]).map(drop)
        })
    }

    /// Keeps that the deletion of these is ordered. Before it is: whoever orders may not learn any more what became of it.
    pub(in crate::profiles) fn order_deletion(
        &self,
        account: &str,
        folder: &FolderId,
        items: &[ItemId],
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "UPDATE deletions SET ordered = 1 WHERE account = ?1 AND folder = ?2 AND item = ?3";
            let mut statement = transaction.prepare_cached(sql)?;
            for item in items {
                statement.execute([account, &folder.0, &item.0])?;
            }
            Ok(())
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
            let sql =
                "UPDATE deletions SET due = ?4, ordered = 0 WHERE account = ?1 AND folder = ?2 AND item = ?3";
            transaction.execute(sql, params![account, folder.0, item.0, signed(due.0)]).map(drop)
        })
    }
}
