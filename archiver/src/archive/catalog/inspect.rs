//! Looking at the catalog from outside: what it says of a message, what should be there and is not.

use std::collections::BTreeMap;
use std::path::Path;

use postern_shared::id::MessageId;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use super::failure::failure;
use super::schema::SCHEMA;
use super::sqlite::{SqliteCatalog, id, place, seq_of, signed, unsigned};
use super::{CatalogError, Change, Damaged, enter};
use crate::archive::store::record::Filed;
use crate::archive::store::{Damage, Place};

/// What a message's rows say, by table; none of the numbers that each catalog gives by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::archive) struct Rows(Vec<(&'static str, String)>);

impl Rows {
    /// The first table in which they differ.
    pub(in crate::archive) fn difference(&self, other: &Self) -> Option<&'static str> {
        if self.0.len() != other.0.len() {
            return Some("row");
        }
        self.0.iter().zip(&other.0).find(|(mine, theirs)| mine != theirs).map(|(mine, _)| mine.0)
    }
}

/// A pack as the catalog knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct PackEnd {
    pub(in crate::archive) pack: u64,
    /// Behind its last object.
    pub(in crate::archive) end: u64,
}

/// Questions that verify, compact and backup ask.
pub(in crate::archive) trait Inspect {
    /// What it says of a message.
    fn rows(&self, id: MessageId) -> Result<Rows, CatalogError>;
    /// Whether a UID that its record gives a message is nobody's: it has another one there, and not because the UID was taken.
    fn has_other_uid(&self, filed: &[Filed]) -> Result<bool, CatalogError>;
    /// Which of these parts a message does not keep from being dropped.
    fn parts_not_kept(&self, id: MessageId, parts: &[u64]) -> Result<Vec<u64>, CatalogError>;
    /// Messages with numbers above `after` whose record is in no pack, at most `limit`.
    fn without_record(&self, after: u64, limit: usize) -> Result<Vec<(u64, MessageId)>, CatalogError>;
    /// Records and additions with numbers above `after` that belong to no message, at most `limit`.
    fn without_message(&self, after: u64, limit: usize) -> Result<Vec<(u64, Place)>, CatalogError>;
    /// The leaves of messages with numbers above `after`, at most `limit`.
    fn leaves(&self, after: u64, limit: usize) -> Result<Vec<(u64, u64)>, CatalogError>;
    /// Whether parts are missing that messages need, or something was damaged of which nobody knows what it was.
    fn lacks_octets(&self) -> Result<bool, CatalogError>;
    /// What was found damaged when packs were entered.
    fn damaged(&self) -> Result<Vec<Damaged>, CatalogError>;
    /// The highest key slot and leaf that a message has.
    fn highest_used(&self) -> Result<(u64, Option<u64>), CatalogError>;
    /// All packs in which there are objects.
    fn pack_ends(&self) -> Result<Vec<PackEnd>, CatalogError>;
}

impl Inspect for SqliteCatalog {
    fn rows(&self, id: MessageId) -> Result<Rows, CatalogError> {
        self.read(|connection| rows(connection, id))
    }

    fn has_other_uid(&self, filed: &[Filed]) -> Result<bool, CatalogError> {
        self.read(|connection| {
            let query = "SELECT 1 FROM placements JOIN folders ON folders.id = folder WHERE archive = ?1 AND path = ?2 AND uid = ?3";
            let mut statement = connection.prepare_cached(query)?;
            // Filed there twice, it is there once.
            let mut given: BTreeMap<(&str, &str), bool> = BTreeMap::new();
            for Filed { archive, folder, uid, .. } in filed {
                *given.entry((archive, folder)).or_default() |=
                    statement.exists(params![archive, folder, uid])?;
            }
            Ok(given.values().any(|given| !given))
        })
    }

    fn parts_not_kept(&self, id: MessageId, parts: &[u64]) -> Result<Vec<u64>, CatalogError> {
        self.read(|connection| {
            let Some(seq) = seq_of(connection, id)? else { return Ok(parts.to_vec()) };
            let query = "SELECT 1 FROM part_users WHERE object = ?1 AND seq = ?2";
            let mut statement = connection.prepare_cached(query)?;
            let mut missing = Vec::new();
            for part in parts {
                if !statement.exists([signed(*part), seq])? {
                    missing.push(*part);
                }
            }
            Ok(missing)
        })
    }

    fn without_record(&self, after: u64, limit: usize) -> Result<Vec<(u64, MessageId)>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, id FROM messages WHERE seq > ?1 AND NOT EXISTS (SELECT 1 FROM objects WHERE number = object)
                 ORDER BY seq LIMIT ?2",
            )?;
            let found = statement.query_map([signed(after), signed(limit as u64)], |row| {
                Ok((unsigned(row.get(0)?), id(row, 1)?))
            })?;
            found.collect()
        })
    }

    fn without_message(&self, after: u64, limit: usize) -> Result<Vec<(u64, Place)>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, pack, offset FROM objects WHERE number > ?1 AND (
                    (kind = 2 AND number NOT IN (SELECT object FROM messages)) OR
                    (kind = 3 AND NOT EXISTS (SELECT 1 FROM additions WHERE additions.object = number)))
                 ORDER BY number LIMIT ?2",
            )?;
            let found = statement.query_map([signed(after), signed(limit as u64)], |row| {
                Ok((unsigned(row.get(0)?), place(row, 1)?))
            })?;
            found.collect()
        })
    }

    fn leaves(&self, after: u64, limit: usize) -> Result<Vec<(u64, u64)>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT seq, leaf FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let mut statement = connection.prepare_cached(query)?;
            let found = statement.query_map([signed(after), signed(limit as u64)], |row| {
                Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
            })?;
            found.collect()
        })
    }

    fn lacks_octets(&self) -> Result<bool, CatalogError> {
        self.read(|connection| {
            let lost = "SELECT 1 FROM damaged WHERE is_hole AND (object IS NULL OR object NOT IN (SELECT number FROM objects))";
            let parts = "SELECT 1 FROM part_users WHERE NOT EXISTS (SELECT 1 FROM objects WHERE number = object)";
            Ok(connection.prepare(lost)?.exists([])? || connection.prepare(parts)?.exists([])?)
        })
    }

    fn damaged(&self) -> Result<Vec<Damaged>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare("SELECT path, offset, what, is_hole, object FROM damaged ORDER BY 1, 2, 3")?;
            let found = statement.query_map([], |row| {
                let (path, offset) = (row.get::<_, String>(0)?.into(), unsigned(row.get(1)?));
                let damage = Damage { path, offset, what: row.get(2)? };
                let object = row.get::<_, Option<i64>>(4)?.map(unsigned);
                Ok(Damaged { damage, is_hole: row.get(3)?, object })
            })?;
            found.collect()
        })
    }

    fn highest_used(&self) -> Result<(u64, Option<u64>), CatalogError> {
        self.read(|connection| {
            let query = "SELECT coalesce(max(slot), 0), max(leaf) FROM messages";
            connection.query_row(query, [], |row| {
                Ok((unsigned(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(unsigned)))
            })
        })
    }

    fn pack_ends(&self) -> Result<Vec<PackEnd>, CatalogError> {
        self.read(|connection| {
            // From pack to pack by the index, not over all objects.
            let mut statement = connection.prepare(
                "WITH RECURSIVE walk (at) AS (SELECT min(pack) FROM objects UNION ALL
                    SELECT (SELECT min(pack) FROM objects WHERE pack > walk.at) FROM walk WHERE walk.at IS NOT NULL)
                 SELECT at, (SELECT offset + bytes FROM objects WHERE pack = walk.at ORDER BY offset DESC LIMIT 1)
                 FROM walk WHERE at IS NOT NULL",
            )?;
            let found = statement.query_map([], |row| {
                Ok(PackEnd { pack: unsigned(row.get(0)?), end: unsigned(row.get(1)?) })
            })?;
            found.collect()
        })
    }
}

/// An empty catalog in memory, for what a message's rows should be.
#[derive(Debug)]
pub(in crate::archive) struct Expected(Connection);

impl Expected {
    pub(in crate::archive) fn new() -> Result<Self, CatalogError> {
        let made = Connection::open_in_memory();
        let made = made.and_then(|connection| connection.execute_batch(SCHEMA).map(|()| connection));
        made.map(Self).map_err(|error| failure(Path::new(":memory:"), &error))
    }

    /// What a catalog says of a message behind these changes.
    pub(in crate::archive) fn rows(
        &mut self,
        id: MessageId,
        changes: &[Change],
    ) -> Result<Rows, CatalogError> {
        let mut run = || {
            // Never committed: the next message begins with nothing.
            let transaction = self.0.transaction()?;
            changes.iter().try_for_each(|change| enter::change(&transaction, change))?;
            rows(&transaction, id)
        };
        run().map_err(|error| failure(Path::new(":memory:"), &error))
    }
}

fn rows(connection: &Connection, id: MessageId) -> rusqlite::Result<Rows> {
    // Not the UIDs: one that was taken was not given.
    const TABLES: [(&str, &str); 6] = [
        (
            "row",
            "SELECT object, slot, leaf, content_hmac, fold_hmac, bytes, archived_ms, internal_date_ms, date_s, sender, recipients,
             subject, quarantined FROM messages WHERE seq = ?1",
        ),
        (
            "places in folders",
            "SELECT archive, path, internal_date_ms, flags FROM placements JOIN folders ON folders.id = folder
             WHERE seq = ?1 ORDER BY archive, path",
        ),
        (
            "participants",
            "SELECT address, role, evidence, expanded_from FROM participants WHERE seq = ?1 ORDER BY 1, 2, 3, 4",
        ),
        ("evidence", "SELECT hmac, object FROM evidence WHERE seq = ?1 ORDER BY hmac"),
        ("additions", "SELECT object FROM additions WHERE seq = ?1 ORDER BY object"),
        (
            "arrivals",
            "SELECT profile, uidl, received_ms FROM arrivals WHERE seq = ?1 ORDER BY profile, uidl, received_ms",
        ),
    ];
    let Some(seq) = seq_of(connection, id)? else { return Ok(Rows::default()) };
    let mut all = Vec::with_capacity(TABLES.len());
    for (table, query) in TABLES {
        let mut statement = connection.prepare_cached(query)?;
        let columns = statement.column_count();
        let mut found = statement.query(params![seq])?;
        let mut text = String::new();
        while let Some(row) = found.next()? {
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Null => text.push('-'),
                    ValueRef::Integer(number) => text.push_str(&number.to_string()),
                    ValueRef::Real(number) => text.push_str(&number.to_string()),
                    ValueRef::Text(octets) => {
                        text.push_str(&format!("{:?}", String::from_utf8_lossy(octets)));
                    }
                    ValueRef::Blob(octets) => text.push_str(&hex::encode(octets)),
                }
                text.push(' ');
            }
            text.push('\n');
        }
        all.push((table, text));
    }
    Ok(Rows(all))
}
