//! Messages that could not be fetched or converted, with the source's own words.

use postern_shared::clock::UnixMillis;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{State, StateError, flags_of, signed, unsigned};
use crate::sources::ItemId;
use crate::sources::account::{FolderId, Item};

/// The first pause; each further one is twice as long.
const PAUSE_MS: u64 = 5 * 60 * 1000;
const PAUSE_MAX_MS: u64 = 24 * 3600 * 1000;

/// A message that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// What names the account.
    pub account: String,
    /// What names the folder.
    pub folder: String,
    /// What names the message there.
    pub item: String,
    /// The folder as people know it.
    pub folder_name: String,
    /// Why, in the source's words.
    pub why: String,
    /// Its size as the source claims.
    pub octets: u64,
    /// When it failed first.
    pub first: UnixMillis,
    /// When it failed last.
    pub last: UnixMillis,
    /// When it is tried again.
    pub next: UnixMillis,
    /// How often it was tried.
    pub attempts: u32,
    #[serde(skip)]
    pub(in crate::profiles) flags: Vec<String>,
    #[serde(skip)]
    pub(in crate::profiles) internal_date: Option<UnixMillis>,
    /// An operator said that it shall not be tried again.
    #[serde(skip)]
    pub(in crate::profiles) discarded: bool,
}

impl Retry {
    /// As a source is asked for it.
    pub(in crate::profiles) fn as_item(&self) -> Item {
        Item {
            id: ItemId(self.item.clone()),
            flags: self.flags.clone(),
            internal_date: self.internal_date,
            octets: self.octets,
        }
    }
}

const COLUMNS: &str =
    "account, folder, item, name, why, flags, internal_date, octets, first, last, next, attempts, discarded";

fn retry(row: &Row<'_>) -> rusqlite::Result<Retry> {
    let number = |index| row.get(index).map(unsigned);
    let flags: String = row.get(5)?;
    Ok(Retry {
        account: row.get(0)?,
        folder: row.get(1)?,
        item: row.get(2)?,
        folder_name: row.get(3)?,
        why: row.get(4)?,
        flags: flags_of(&flags),
        internal_date: row.get::<_, Option<i64>>(6)?.map(|at| UnixMillis(unsigned(at))),
        octets: number(7)?,
        first: UnixMillis(number(8)?),
        last: UnixMillis(number(9)?),
        next: UnixMillis(number(10)?),
        attempts: row.get(11)?,
        discarded: row.get(12)?,
    })
}

impl State {
    /// All that is to be tried again, at most `limit`; how many there are in all.
    pub fn retries(&self, limit: usize) -> Result<(Vec<Retry>, u64), StateError> {
        self.read(|connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM retries WHERE discarded = 0 ORDER BY last DESC LIMIT ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([signed(limit as u64)], retry)?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let sql = "SELECT count(*) FROM retries WHERE discarded = 0";
            Ok((rows, connection.query_row(sql, [], |row| row.get(0)).map(unsigned)?))
        })
    }

    /// Those of an account, discarded ones too.
    pub(in crate::profiles) fn retries_of(&self, account: &str) -> Result<Vec<Retry>, StateError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM retries WHERE account = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([account], retry)?;
            rows.collect()
        })
    }

    /// Keeps that a message could not be had at that time. The more often, the longer until it is tried again; it does not wait to
    /// be wanted any more.
    pub(in crate::profiles) fn retry(
        &self,
        account: &str,
        folder: (&FolderId, &str),
        item: &Item,
        why: &str,
        now: UnixMillis,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let at = params![account, folder.0.0, item.id.0];
            let sql = "SELECT attempts FROM retries WHERE account = ?1 AND folder = ?2 AND item = ?3";
            let known: rusqlite::Result<u32> = transaction.query_row(sql, at, |row| row.get(0));
            let attempts = known.unwrap_or(0).saturating_add(1);
            let pause = PAUSE_MS.saturating_mul(1 << (attempts - 1).min(20)).min(PAUSE_MAX_MS);
            let next = signed(now.0.saturating_add(pause));
            let sql = "INSERT INTO retries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, 0)
                ON CONFLICT DO UPDATE SET why = ?5, last = ?9, next = ?10, attempts = ?11";
            let date = item.internal_date.map(|date| signed(date.0));
            let (name, flags, octets) = (folder.1, item.flags.join(" "), signed(item.octets));
            let now = signed(now.0);
            transaction.execute(
                sql,
                params![account, folder.0.0, item.id.0, name, why, flags, date, octets, now, next, attempts],
            )?;
            let sql = "DELETE FROM held WHERE account = ?1 AND folder = ?2 AND item = ?3";
            transaction.prepare_cached(sql)?.execute(at).map(drop)
        })
    }

    /// Why one is on the list, when it is.
    pub(in crate::profiles) fn why(
        &self,
        account: &str,
        folder: &FolderId,
        item: &ItemId,
    ) -> Result<Option<String>, StateError> {
        self.read(|connection| {
            let sql = "SELECT why FROM retries WHERE account = ?1 AND folder = ?2 AND item = ?3";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row([account, &folder.0, &item.0], |row| row.get(0)).optional()
        })
    }

    /// Forgets one: it is gone, or it came.
    pub(in crate::profiles) fn forget_retry(
        &self,
        account: &str,
        folder: &FolderId,
        item: &ItemId,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "DELETE FROM retries WHERE account = ?1 AND folder = ?2 AND item = ?3";
            transaction.execute(sql, [account, &folder.0, &item.0]).map(drop)
        })
    }

    /// Forgets those that came.
    pub(in crate::profiles) fn forget_retries<'i>(
        &self,
        account: &str,
        folder: &FolderId,
        items: impl IntoIterator<Item = &'i ItemId>,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "DELETE FROM retries WHERE account = ?1 AND folder = ?2 AND item = ?3";
            let mut statement = transaction.prepare_cached(sql)?;
            items.into_iter().try_for_each(|item| statement.execute([account, &folder.0, &item.0]).map(drop))
        })
    }

    /// How many of those that are tried again are meant by it.
    pub fn meant(&self, which: &Which) -> Result<u64, StateError> {
        self.read(|connection| {
            let sql = format!("SELECT count(*) FROM retries WHERE discarded = 0 AND {MEANT}");
            connection.query_row(&sql, which.parameters(), |row| row.get(0)).map(unsigned)
        })
    }

    /// Tries those no more that are meant, or all; how many. They are kept, so that they are not taken for new.
    pub fn discard(&self, which: Option<&Which>) -> Result<u64, StateError> {
        self.write(|transaction| {
            let Some(which) = which else {
                let sql = "UPDATE retries SET discarded = 1 WHERE discarded = 0";
                return transaction.execute(sql, []).map(|count| count as u64);
            };
            let sql = format!("UPDATE retries SET discarded = 1 WHERE discarded = 0 AND {MEANT}");
            transaction.execute(&sql, which.parameters()).map(|count| count as u64)
        })
    }

    /// Lets all be tried in the next run, also those that were to be tried no more.
    pub fn retry_now(&self) -> Result<(), StateError> {
        self.write(|transaction| {
            transaction.execute("UPDATE retries SET next = 0, discarded = 0", []).map(drop)
        })
    }
}

/// A message on the list. Servers give the same name to messages of different folders and accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// What names it.
    pub item: String,
    /// What names its folder; can be left out when one message alone is meant then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// What names its account; can be left out when one message alone is meant then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

const MEANT: &str = "item = ?1 AND (?2 IS NULL OR folder = ?2) AND (?3 IS NULL OR account = ?3)";

impl Which {
    fn parameters(&self) -> (&str, Option<&str>, Option<&str>) {
        (&self.item, self.folder.as_deref(), self.account.as_deref())
    }
}
