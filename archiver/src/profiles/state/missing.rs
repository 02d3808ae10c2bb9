//! Folders that a source does not list any more: gone, or left out of one list by a server that was in trouble.

use std::collections::{BTreeSet, HashSet};

use postern_shared::clock::UnixMillis;
use rusqlite::{Transaction, params};

use super::{State, StateError, signed, unsigned};
use crate::sources::account::FolderId;

/// A folder that is missing for so long is gone.
const MISSING_MS: u64 = 24 * 3600 * 1000;
/// Where folders are known.
const TABLES: [&str; 5] = ["cursors", "done", "held", "retries", "deletions"];

impl State {
    /// Forgets what is known of folders of an account that are not `there`, and were not a day before either; how many messages
    /// of them were to be tried again. Until then nothing is deleted in them.
    pub(in crate::profiles) fn forget_folders(
        &self,
        account: &str,
        there: &HashSet<&FolderId>,
        now: UnixMillis,
    ) -> Result<u64, StateError> {
        self.write(|transaction| {
            for folder in folders(transaction, "missing", account)? {
                if there.contains(&folder) {
                    let sql = "DELETE FROM missing WHERE account = ?1 AND folder = ?2";
                    transaction.execute(sql, [account, &folder.0])?;
                }
            }
            let mut gone = BTreeSet::new();
            for table in TABLES {
                let known = folders(transaction, table, account)?;
                gone.extend(known.into_iter().filter(|folder| !there.contains(folder)));
            }
            let mut retries = 0;
            for folder in gone {
                retries += missing(transaction, account, &folder, now)?;
            }
            Ok(retries)
        })
    }
}

fn folders(transaction: &Transaction<'_>, table: &str, account: &str) -> rusqlite::Result<Vec<FolderId>> {
    let sql = format!("SELECT DISTINCT folder FROM {table} WHERE account = ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([account], |row| Ok(FolderId(row.get(0)?)))?;
    rows.collect()
}

fn missing(
    transaction: &Transaction<'_>,
    account: &str,
    folder: &FolderId,
    now: UnixMillis,
) -> rusqlite::Result<u64> {
    let sql = "INSERT OR IGNORE INTO missing VALUES (?1, ?2, ?3)";
    transaction.execute(sql, params![account, folder.0, signed(now.0)])?;
    let sql = "SELECT since FROM missing WHERE account = ?1 AND folder = ?2";
    let since = transaction.query_row(sql, [account, &folder.0], |row| row.get(0)).map(unsigned)?;
    let until = since.saturating_add(MISSING_MS);
    if now.0 < until {
        let sql = "UPDATE deletions SET due = ?3 WHERE account = ?1 AND folder = ?2 AND due < ?3";
        transaction.execute(sql, params![account, folder.0, signed(until)])?;
        return Ok(0);
    }
    let mut retries = 0;
    for table in TABLES.into_iter().chain(["missing"]) {
        let sql = format!("DELETE FROM {table} WHERE account = ?1 AND folder = ?2");
        let forgotten = transaction.execute(&sql, [account, &folder.0])?;
        if table == "retries" {
            retries = forgotten as u64;
        }
    }
    Ok(retries)
}
