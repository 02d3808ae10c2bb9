//! The catalog in SQLite.

use std::path::{Path, PathBuf};

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::Digest;
use postern_shared::id::MessageId;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Transaction, params};

use super::failure::failure;
use super::pool::Pool;
use super::schema::{SCHEMA, VERSION};
use super::{
    Catalog, CatalogError, Change, Counts, Damaged, Folder, InFolder, Known, PackUse, RecordPlace, Row, enter,
};
use crate::archive::message::{AddressEvidence, Placement};
use crate::archive::store::{Place, Stored};
use crate::archive::{QUARANTINE, UNASSIGNED};

#[derive(Debug)]
pub(in crate::archive) struct SqliteCatalog {
    path: PathBuf,
    pool: Pool,
}

const RECORD: &str =
    "SELECT id, object, slot, pack, offset, seq FROM messages JOIN objects ON number = object";
const FOLDER: &str = "SELECT archive, path, uid_validity, uid_next, messages FROM folders";

impl SqliteCatalog {
    /// Opens the catalog at `path`, made when missing. One that is no catalog of this version says so in
    /// [`CatalogError::rebuild`].
    pub(in crate::archive) fn open(path: &Path) -> Result<Self, CatalogError> {
        let failed = |error: rusqlite::Error| failure(path, &error);
        let pool = Pool::open(path).map_err(failed)?;
        let connection = pool.writer();
        connection.set_prepared_statement_cache_capacity(64);
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
                return Err(CatalogError { path: path.into(), reason, rebuild: true, lasting: true });
            }
        }
        drop(connection);
        Ok(Self { path: path.into(), pool })
    }

    pub(super) fn read<R>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R, CatalogError> {
        self.pool.read(read).map_err(|error| failure(&self.path, &error))
    }

    fn write(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), CatalogError> {
        let mut connection = self.pool.writer();
        let run = || {
            let transaction = connection.transaction()?;
            write(&transaction)?;
            transaction.commit()
        };
        run().map_err(|error| failure(&self.path, &error))
    }
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Catalog for SqliteCatalog {
    fn watermark(&self) -> Result<Place, CatalogError> {
        self.read(|connection| {
            connection.query_row("SELECT pack, offset FROM state", [], |row| place(row, 0))
        })
    }

    fn apply(&self, objects: &[Stored], changes: &[Change], watermark: Place) -> Result<(), CatalogError> {
        self.write(|transaction| {
            enter::objects(transaction, objects)?;
            changes.iter().try_for_each(|change| enter::change(transaction, change))?;
            enter::watermark(transaction, watermark)
        })
    }

    fn by_content(&self, hmac: Digest) -> Result<Option<MessageId>, CatalogError> {
        self.read(|connection| id_where(connection, "content_hmac = ?1 ORDER BY seq DESC LIMIT 1", hmac))
    }

    fn by_fold(&self, hmac: Digest) -> Result<Option<MessageId>, CatalogError> {
        self.read(|connection| id_where(connection, "fold_hmac = ?1 ORDER BY seq DESC LIMIT 1", hmac))
    }

    fn evidence(&self, id: MessageId, hmac: Digest) -> Result<Option<u64>, CatalogError> {
        self.read(|connection| {
            let Some(seq) = seq_of(connection, id)? else { return Ok(None) };
            let mut statement =
                connection.prepare_cached("SELECT object FROM evidence WHERE seq = ?1 AND hmac = ?2")?;
            statement.query_row(params![seq, &hmac.0[..]], |row| row.get(0).map(unsigned)).optional()
        })
    }

    fn known(&self, id: MessageId) -> Result<Option<Known>, CatalogError> {
        self.read(|connection| {
            let Some(seq) = seq_of(connection, id)? else { return Ok(None) };
            let mut slot = connection.prepare_cached("SELECT slot FROM messages WHERE seq = ?1")?;
            Ok(Some(Known {
                slot: slot.query_row([seq], |row| row.get(0).map(unsigned))?,
                placements: placements(connection, seq, None)?,
                participants: participants(connection, seq)?,
                evidence: evidence(connection, seq)?,
            }))
        })
    }

    fn record(&self, id: MessageId) -> Result<Option<RecordPlace>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("{RECORD} WHERE id = ?1"))?;
            statement.query_row([&id.to_bytes()[..]], record).optional()
        })
    }

    fn records(&self, after: u64, limit: usize) -> Result<Vec<(u64, RecordPlace)>, CatalogError> {
        self.records_from_leaf(0, after, limit)
    }

    fn records_from_leaf(
        &self,
        leaf: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, RecordPlace)>, CatalogError> {
        self.read(|connection| {
            let query = format!("{RECORD} WHERE seq > ?1 AND leaf >= ?2 ORDER BY seq LIMIT ?3");
            let mut statement = connection.prepare_cached(&query)?;
            let rows = statement.query_map([signed(after), signed(leaf), signed(limit as u64)], |row| {
                Ok((unsigned(row.get(5)?), record(row)?))
            })?;
            rows.collect()
        })
    }

    fn begun(&self) -> Result<Option<String>, CatalogError> {
        self.read(|connection| connection.query_row("SELECT begun FROM state", [], |row| row.get(0)))
    }

    fn set_begun(&self, begun: Option<&str>) -> Result<(), CatalogError> {
        self.write(|transaction| transaction.execute("UPDATE state SET begun = ?1", [begun]).map(drop))
    }

    fn begin_anew(&self) -> Result<(), CatalogError> {
        self.pool.close_readers();
        self.write(enter::begin_anew)
    }

    fn keep_damage(&self, damaged: &[Damaged]) -> Result<(), CatalogError> {
        self.write(|transaction| enter::damaged(transaction, damaged))
    }

    fn leaves_at_least(&self, next: u64) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let update = "UPDATE state SET leaf_next = ?1 WHERE leaf_next < ?1";
            transaction.execute(update, [signed(next)]).map(drop)
        })
    }

    fn additions(&self, id: MessageId) -> Result<Vec<u64>, CatalogError> {
        self.read(|connection| {
            let Some(seq) = seq_of(connection, id)? else { return Ok(Vec::new()) };
            let mut statement =
                connection.prepare_cached("SELECT object FROM additions WHERE seq = ?1 ORDER BY object")?;
            statement.query_map([seq], |row| row.get(0).map(unsigned))?.collect()
        })
    }

    fn object(&self, number: u64) -> Result<Option<Place>, CatalogError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT pack, offset FROM objects WHERE number = ?1")?;
            statement.query_row([signed(number)], |row| place(row, 0)).optional()
        })
    }

    fn pending(&self, after: u64, limit: usize) -> Result<Vec<(u64, Place)>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT object, pack, offset FROM pending JOIN objects ON number = object
                 WHERE object > ?1 ORDER BY object LIMIT ?2",
            )?;
            let rows = statement.query_map([signed(after), signed(limit as u64)], |row| {
                Ok((unsigned(row.get(0)?), place(row, 1)?))
            })?;
            rows.collect()
        })
    }

    fn part(&self, hmac: Digest) -> Result<Option<u64>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT object FROM parts WHERE hmac = ?1")?;
            statement.query_row([&hmac.0[..]], |row| row.get(0).map(unsigned)).optional()
        })
    }

    fn part_users(&self, object: u64, limit: usize) -> Result<Vec<RecordPlace>, CatalogError> {
        self.read(|connection| {
            let query = format!(
                "{RECORD} WHERE seq IN (SELECT seq FROM part_users WHERE part_users.object = ?1 ORDER BY seq DESC LIMIT ?2)
                 ORDER BY seq DESC"
            );
            let mut statement = connection.prepare_cached(&query)?;
            statement.query_map([signed(object), signed(limit as u64)], record)?.collect()
        })
    }

    fn part_is_used(&self, object: u64) -> Result<bool, CatalogError> {
        let used = "SELECT 1 FROM part_users WHERE object = ?1";
        self.read(|connection| connection.prepare_cached(used)?.exists([signed(object)]))
    }

    fn row(&self, seq: u64, archive: Option<&str>) -> Result<Option<Row>, CatalogError> {
        self.read(|connection| {
            let folders = placements(connection, signed(seq), archive)?;
            if folders.is_empty() {
                return Ok(None);
            }
            let mut statement = connection.prepare_cached(
                "SELECT id, date_s, archived_ms, internal_date_ms, sender, recipients, subject, bytes, quarantined
                 FROM messages WHERE seq = ?1",
            )?;
            let row = statement.query_row([signed(seq)], |row| {
                Ok(Row {
                    id: id(row, 0)?,
                    date: row.get(1)?,
                    archived: UnixMillis(unsigned(row.get(2)?)),
                    received: Some(UnixMillis(unsigned(row.get(3)?))),
                    from: row.get(4)?,
                    to: row.get(5)?,
                    subject: row.get(6)?,
                    bytes: unsigned(row.get(7)?),
                    quarantined: row.get(8)?,
                    folders,
                })
            });
            row.optional()
        })
    }

    fn participants(&self, seq: u64) -> Result<Vec<AddressEvidence>, CatalogError> {
        self.read(|connection| participants(connection, signed(seq)))
    }

    fn changed(&self, after: u64, limit: usize) -> Result<Vec<(u64, u64, MessageId)>, CatalogError> {
        self.read(|connection| {
            // A stretch of changes, so that a page costs the same however many follow it.
            let mut statement = connection.prepare_cached(
                "SELECT max(number) AS latest, stretch.seq, messages.id
                 FROM (SELECT number, seq FROM changes WHERE number > ?1 ORDER BY number LIMIT ?2) AS stretch
                 JOIN messages USING (seq) GROUP BY stretch.seq ORDER BY latest",
            )?;
            let rows = statement.query_map([signed(after), signed(limit as u64)], |row| {
                Ok((unsigned(row.get(0)?), unsigned(row.get(1)?), id(row, 2)?))
            })?;
            rows.collect()
        })
    }

    fn epoch(&self) -> Result<String, CatalogError> {
        self.read(|connection| connection.query_row("SELECT epoch FROM state", [], |row| row.get(0)))
    }

    fn last_change(&self) -> Result<u64, CatalogError> {
        let query = "SELECT coalesce(max(number), 0) FROM changes";
        self.read(|connection| connection.query_row(query, [], |row| row.get(0).map(unsigned)))
    }

    fn highest(&self) -> Result<(u64, u64, u64), CatalogError> {
        self.read(|connection| {
            let query =
                "SELECT (SELECT coalesce(max(number), 0) FROM objects), slot_max, leaf_next FROM state";
            connection.query_row(query, [], |row| {
                Ok((unsigned(row.get(0)?), unsigned(row.get(1)?), unsigned(row.get(2)?)))
            })
        })
    }

    fn counts(&self) -> Result<Counts, CatalogError> {
        self.read(|connection| {
            let in_archive = |name: &str| {
                let query = "SELECT coalesce(sum(messages), 0) FROM folders WHERE archive = ?1";
                connection.query_row(query, [name], |row| row.get(0).map(unsigned))
            };
            let (messages, bytes) = connection.query_row("SELECT messages, bytes FROM state", [], |row| {
                Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
            })?;
            Ok(Counts {
                messages,
                bytes,
                unassigned: in_archive(UNASSIGNED)?,
                quarantined: in_archive(QUARANTINE)?,
            })
        })
    }

    fn folder(&self, archive: &str, path: &str) -> Result<Option<Folder>, CatalogError> {
        self.read(|connection| {
            let query = format!("{FOLDER} WHERE archive = ?1 AND path = ?2");
            connection.prepare_cached(&query)?.query_row([archive, path], folder).optional()
        })
    }

    fn known_folders(&self) -> Result<Vec<Folder>, CatalogError> {
        self.read(|connection| connection.prepare_cached(FOLDER)?.query_map([], folder)?.collect())
    }

    fn keep_folders(&self, folders: &[Folder]) -> Result<(), CatalogError> {
        self.write(|transaction| enter::folders(transaction, folders))
    }

    fn folders(&self, archive: Option<&str>) -> Result<Vec<Folder>, CatalogError> {
        self.read(|connection| {
            let query = format!(
                "{FOLDER} WHERE messages > 0 AND (?1 IS NULL OR archive = ?1) ORDER BY archive, path"
            );
            connection.prepare_cached(&query)?.query_map([archive], folder)?.collect()
        })
    }

    fn in_folder(&self, folder: &Placement, after: u32, limit: usize) -> Result<Vec<InFolder>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT uid, messages.id, placements.internal_date_ms, flags, bytes FROM placements JOIN messages USING (seq)
                 WHERE folder = (SELECT id FROM folders WHERE archive = ?1 AND path = ?2) AND uid > ?3 ORDER BY uid LIMIT ?4",
            )?;
            let rows = statement.query_map(
                params![folder.archive, folder.folder, after, signed(limit as u64)],
                |row| {
                    Ok(InFolder {
                        uid: row.get(0)?,
                        id: id(row, 1)?,
                        internal_date: UnixMillis(unsigned(row.get(2)?)),
                        flags: row.get::<_, String>(3)?.split_whitespace().map(str::to_owned).collect(),
                        bytes: unsigned(row.get(4)?),
                    })
                },
            )?;
            rows.collect()
        })
    }

    fn pack_use(&self) -> Result<Vec<PackUse>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT pack, sum(bytes), sum(CASE WHEN kind = 1 AND NOT EXISTS
                    (SELECT 1 FROM part_users WHERE object = number) THEN bytes ELSE 0 END)
                 FROM objects GROUP BY pack ORDER BY pack",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(PackUse {
                    pack: unsigned(row.get(0)?),
                    bytes: unsigned(row.get(1)?),
                    unused_bytes: unsigned(row.get(2)?),
                })
            })?;
            rows.collect()
        })
    }

    fn needed_in(
        &self,
        pack: u64,
        from: u64,
        all_parts: bool,
        limit: usize,
    ) -> Result<Vec<(u64, Place)>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, pack, offset FROM objects WHERE pack = ?1 AND offset >= ?2 AND
                    (?4 OR kind <> 1 OR EXISTS (SELECT 1 FROM part_users WHERE object = number)) ORDER BY offset LIMIT ?3",
            )?;
            let parameters = params![signed(pack), signed(from), signed(limit as u64), all_parts];
            let rows =
                statement.query_map(parameters, |row| Ok((unsigned(row.get(0)?), place(row, 1)?)))?;
            rows.collect()
        })
    }

    fn moved(&self, objects: &[Stored], watermark: Place) -> Result<(), CatalogError> {
        self.apply(objects, &[], watermark)
    }

    fn forget_pack(&self, pack: u64) -> Result<(), CatalogError> {
        self.write(|transaction| enter::forget_pack(transaction, pack))
    }

    fn check(&self) -> Result<Option<String>, CatalogError> {
        let said: Result<String, _> =
            self.read(|connection| connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)));
        match said {
            Ok(said) => Ok((said != "ok").then_some(said)),
            Err(error) if error.rebuild => Ok(Some(error.reason)),
            Err(error) => Err(error),
        }
    }

    fn settle(&self) -> Result<(), CatalogError> {
        self.pool.close_readers();
        let settled =
            self.pool.writer().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        match settled.map_err(|error| failure(&self.path, &error))? {
            0 => Ok(()),
            _ => {
                let reason =
                    "somebody reads it for long, so it cannot be made durable now; ask again later".into();
                Err(CatalogError { path: self.path.clone(), reason, rebuild: false, lasting: false })
            }
        }
    }
}

pub(super) fn place(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Place> {
    Ok(Place { pack: unsigned(row.get(at)?), offset: unsigned(row.get(at + 1)?) })
}

pub(super) fn id(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<MessageId> {
    row.get::<_, [u8; 16]>(at).map(MessageId::from_bytes)
}

fn record(row: &SqlRow<'_>) -> rusqlite::Result<RecordPlace> {
    Ok(RecordPlace {
        id: id(row, 0)?,
        object: unsigned(row.get(1)?),
        slot: unsigned(row.get(2)?),
        place: place(row, 3)?,
    })
}

fn folder(row: &SqlRow<'_>) -> rusqlite::Result<Folder> {
    Ok(Folder {
        archive: row.get(0)?,
        path: row.get(1)?,
        uid_validity: row.get(2)?,
        uid_next: row.get(3)?,
        messages: unsigned(row.get(4)?),
    })
}

fn id_where(connection: &Connection, condition: &str, hmac: Digest) -> rusqlite::Result<Option<MessageId>> {
    let mut statement = connection.prepare_cached(&format!("SELECT id FROM messages WHERE {condition}"))?;
    statement.query_row([&hmac.0[..]], |row| id(row, 0)).optional()
}

pub(super) fn seq_of(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT seq FROM messages WHERE id = ?1")?;
    statement.query_row([&id.to_bytes()[..]], |row| row.get(0)).optional()
}

fn placements(connection: &Connection, seq: i64, archive: Option<&str>) -> rusqlite::Result<Vec<Placement>> {
    let mut statement = connection.prepare_cached(
        "SELECT archive, path FROM placements JOIN folders ON folders.id = folder
         WHERE seq = ?1 AND (?2 IS NULL OR archive = ?2) ORDER BY archive, path",
    )?;
    let rows = statement.query_map(params![seq, archive], |row| {
        Ok(Placement { archive: row.get(0)?, folder: row.get(1)? })
    })?;
    rows.collect()
}

fn participants(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<AddressEvidence>> {
    let mut statement = connection
        .prepare_cached("SELECT address, role, evidence, expanded_from FROM participants WHERE seq = ?1")?;
    let rows = statement.query_map([seq], |row| {
        Ok(AddressEvidence {
            address: row.get(0)?,
            role: row.get(1)?,
            evidence: row.get(2)?,
            expanded_from: Some(row.get::<_, String>(3)?).filter(|list| !list.is_empty()),
        })
    })?;
    rows.collect()
}

fn evidence(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<Digest>> {
    let mut statement = connection.prepare_cached("SELECT hmac FROM evidence WHERE seq = ?1")?;
    let rows = statement.query_map([seq], |row| row.get::<_, [u8; 32]>(0).map(Digest))?;
    rows.collect()
}
