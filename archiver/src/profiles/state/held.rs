//! Messages that are not wanted yet: too young, or not read.

use rusqlite::{Row, params};

use super::{State, StateError, flags_of, signed, unsigned};
use crate::sources::ItemId;
use crate::sources::account::{FolderId, Item};
use postern_shared::clock::UnixMillis;

fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let flags: String = row.get(1)?;
    Ok(Item {
        id: ItemId(row.get(0)?),
        flags: flags_of(&flags),
        internal_date: row.get::<_, Option<i64>>(2)?.map(|at| UnixMillis(unsigned(at))),
        octets: row.get(3).map(unsigned)?,
    })
}

impl State {
    /// Up to `limit` of a folder behind that one, but for what is on the list of what is tried again.
    pub(in crate::profiles) fn held(
        &self,
        account: &str,
        folder: &FolderId,
        behind: Option<&ItemId>,
        limit: usize,
    ) -> Result<Vec<Item>, StateError> {
        self.read(|connection| {
            let sql = "SELECT item, flags, internal_date, octets FROM held
                WHERE account = ?1 AND folder = ?2 AND item > ?3 AND NOT EXISTS
                    (SELECT 1 FROM retries AS r WHERE r.account = ?1 AND r.folder = ?2 AND r.item = held.item)
                ORDER BY item LIMIT ?4";
            let mut statement = connection.prepare_cached(sql)?;
            let behind = behind.map_or("", |behind| &*behind.0);
            let rows = statement.query_map(params![account, folder.0, behind, signed(limit as u64)], item)?;
            rows.collect()
        })
    }

    /// Keeps messages, so that the cursor may pass them.
    pub(in crate::profiles) fn hold(
        &self,
        account: &str,
        folder: &FolderId,
        items: &[Item],
    ) -> Result<(), StateError> {
        if items.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO held VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let mut statement = transaction.prepare_cached(sql)?;
            for item in items {
                let (flags, date) = (item.flags.join(" "), item.internal_date.map(|date| signed(date.0)));
                statement.execute(params![account, folder.0, item.id.0, flags, date, signed(item.octets)])?;
            }
            Ok(())
        })
    }

    /// Forgets messages that are gone, or will never be wanted; all of a folder with `None`.
    pub(in crate::profiles) fn release(
        &self,
        account: &str,
        folder: &FolderId,
        items: Option<&[ItemId]>,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let Some(items) = items else {
                let sql = "DELETE FROM held WHERE account = ?1 AND folder = ?2";
                return transaction.execute(sql, [account, &folder.0]).map(drop);
            };
            let sql = "DELETE FROM held WHERE account = ?1 AND folder = ?2 AND item = ?3";
            let mut statement = transaction.prepare_cached(sql)?;
            for item in items {
                statement.execute([account, &folder.0, &item.0])?;
            }
            Ok(())
        })
    }
}
