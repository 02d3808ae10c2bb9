//! The catalog in SQLite.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::Digest;
use postern_shared::id::MessageId;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use super::schema::{SCHEMA, VERSION};
use super::{Catalog, CatalogError, Change, Counts, Known, Row};
use crate::archive::message::{AddressEvidence, Placement};
use crate::archive::store::manifest::{Addition, Arrival, Manifest};
use crate::archive::store::{ObjectId, Place, ReadOnlyFrom, Stored};
use crate::archive::{QUARANTINE, UNASSIGNED};

#[derive(Debug)]
pub(in crate::archive) struct SqliteCatalog {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl SqliteCatalog {
    /// Opens the catalog at `path`, made when missing. One that is no catalog of this version says so in
    /// [`CatalogError::rebuild`].
    pub(in crate::archive) fn open(path: &Path) -> Result<Self, CatalogError> {
        let failed = |error: rusqlite::Error| failure(path, &error);
        let connection = Connection::open(path).map_err(failed)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").map_err(failed)?;
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
                return Err(CatalogError { path: path.into(), reason, rebuild: false });
            }
        }
        Ok(Self { path: path.into(), connection: Mutex::new(connection) })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that was interrupted by a panic is rolled back when it is dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<R>) -> Result<R, CatalogError> {
        work(&self.lock()).map_err(|error| failure(&self.path, &error))
    }
}

fn failure(path: &Path, error: &rusqlite::Error) -> CatalogError {
    let rebuild =
        matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt));
    CatalogError { path: path.into(), reason: error.to_string(), rebuild }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Catalog for SqliteCatalog {
    fn watermark(&self) -> Result<ReadOnlyFrom, CatalogError> {
        self.with(|connection| {
            connection.query_row("SELECT file, offset FROM watermark", [], |row| {
                Ok(ReadOnlyFrom { file: unsigned(row.get(0)?), offset: unsigned(row.get(1)?) })
            })
        })
    }

    fn apply(
        &self,
        objects: &[Stored],
        changes: &[Change],
        watermark: ReadOnlyFrom,
    ) -> Result<(), CatalogError> {
        let mut connection = self.lock();
        let mut run = || {
            let transaction = connection.transaction()?;
            enter_objects(&transaction, objects)?;
            for change in changes {
                match change {
                    Change::Archived(manifest, place) => enter_manifest(&transaction, manifest, *place)?,
                    Change::Added(addition) => enter_addition(&transaction, addition)?,
                }
            }
            transaction.execute(
                "UPDATE watermark SET file = ?1, offset = ?2",
                params![signed(watermark.file), signed(watermark.offset)],
            )?;
            transaction.commit()
        };
        run().map_err(|error| failure(&self.path, &error))
    }

    fn by_content(&self, hmac: Digest) -> Result<Option<MessageId>, CatalogError> {
        self.with(|connection| id_where(connection, "content_hmac = ?1", hmac))
    }

    fn by_fold(&self, hmac: Digest) -> Result<Option<MessageId>, CatalogError> {
        self.with(|connection| id_where(connection, "fold_hmac = ?1 ORDER BY seq LIMIT 1", hmac))
    }

    fn known(&self, id: MessageId) -> Result<Option<Known>, CatalogError> {
        self.with(|connection| {
            let Some(seq) = seq_of(connection, id)? else { return Ok(None) };
            Ok(Some(Known {
                placements: placements(connection, seq, None)?,
                participants: participants(connection, seq)?,
                evidence: evidence(connection, seq)?,
            }))
        })
    }

    fn manifest(&self, id: MessageId) -> Result<Option<Place>, CatalogError> {
        self.with(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT manifest_pack, manifest_offset FROM messages WHERE id = ?1")?;
            statement.query_row([id.to_string()], place).optional()
        })
    }

    fn object(&self, id: ObjectId) -> Result<Option<Place>, CatalogError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT pack, offset FROM objects WHERE id = ?1")?;
            statement.query_row([&id.0[..]], place).optional()
        })
    }

    fn row(&self, seq: u64, archive: Option<&str>) -> Result<Option<Row>, CatalogError> {
        self.with(|connection| {
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
                    id: parsed(&row.get::<_, String>(0)?)?,
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

    fn changed(&self, after: u64, limit: usize) -> Result<Vec<(u64, u64, MessageId)>, CatalogError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT max(number) AS latest, changes.seq, messages.id FROM changes JOIN messages USING (seq)
                 WHERE number > ?1 GROUP BY changes.seq ORDER BY latest LIMIT ?2",
            )?;
            let rows = statement.query_map(params![signed(after), signed(limit as u64)], |row| {
                Ok((unsigned(row.get(0)?), unsigned(row.get(1)?), parsed(&row.get::<_, String>(2)?)?))
            })?;
            rows.collect()
        })
    }

    fn epoch(&self) -> Result<String, CatalogError> {
        self.with(|connection| connection.query_row("SELECT id FROM epoch", [], |row| row.get(0)))
    }

    fn last_change(&self) -> Result<u64, CatalogError> {
        self.with(|connection| {
            connection
                .query_row("SELECT coalesce(max(number), 0) FROM changes", [], |row| row.get(0).map(unsigned))
        })
    }

    fn counts(&self) -> Result<Counts, CatalogError> {
        self.with(|connection| {
            let in_archive = |name: &str| {
                connection.query_row(
                    "SELECT count(*) FROM placements JOIN folders ON folders.id = folder WHERE archive = ?1",
                    [name],
                    |row| row.get(0).map(unsigned),
                )
            };
            let (messages, bytes) = connection.query_row(
                "SELECT count(*), coalesce(sum(bytes), 0) FROM messages",
                [],
                |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))),
            )?;
            Ok(Counts {
                messages,
                bytes,
                unassigned: in_archive(UNASSIGNED)?,
                quarantined: in_archive(QUARANTINE)?,
            })
        })
    }
}

fn place(row: &rusqlite::Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { pack: unsigned(row.get(0)?), offset: unsigned(row.get(1)?) })
}

fn parsed(text: &str) -> rusqlite::Result<MessageId> {
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            0,
            rusqlite::types::Type::Text,
            Box::<postern_shared::id::BadId>::new(error),
        )
    })
}

fn id_where(connection: &Connection, condition: &str, hmac: Digest) -> rusqlite::Result<Option<MessageId>> {
    let mut statement = connection.prepare_cached(&format!("SELECT id FROM messages WHERE {condition}"))?;
    statement.query_row([&hmac.0[..]], |row| parsed(&row.get::<_, String>(0)?)).optional()
}

fn seq_of(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT seq FROM messages WHERE id = ?1")?;
    statement.query_row([id.to_string()], |row| row.get(0)).optional()
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

fn enter_objects(transaction: &Transaction<'_>, objects: &[Stored]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO objects VALUES (?1, ?2, ?3)")?;
    for object in objects {
        statement.execute(params![
            &object.id.0[..],
            signed(object.place.pack),
            signed(object.place.offset)
        ])?;
    }
    Ok(())
}

fn enter_manifest(transaction: &Transaction<'_>, manifest: &Manifest, place: Place) -> rusqlite::Result<()> {
    let internal_date = manifest.arrival.source.received.unwrap_or(manifest.archived);
    // A manifest that is there already is one that was entered before a crash forgot the watermark.
    let entered = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO messages (id, content_hmac, fold_hmac, bytes, archived_ms, internal_date_ms, date_s,
             sender, recipients, subject, quarantined, manifest_pack, manifest_offset)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            manifest.message.to_string(),
            &manifest.content.hmac.0[..],
            manifest.fold.as_ref().map(|fold| &fold.0[..]),
            signed(manifest.content.bytes),
            signed(manifest.archived.0),
            signed(internal_date.0),
            manifest.date,
            manifest.from,
            manifest.to,
            manifest.subject,
            manifest.quarantined,
            signed(place.pack),
            signed(place.offset),
        ])?;
    match seq_of(transaction, manifest.message)? {
        Some(seq) if entered > 0 => enter_arrival(transaction, seq, &manifest.arrival, manifest.archived),
        _ => Ok(()),
    }
}

fn enter_addition(transaction: &Transaction<'_>, addition: &Addition) -> rusqlite::Result<()> {
    match seq_of(transaction, addition.message)? {
        Some(seq) => enter_arrival(transaction, seq, &addition.arrival, addition.added),
        None => Ok(()),
    }
}

fn enter_arrival(
    transaction: &Transaction<'_>,
    seq: i64,
    arrival: &Arrival,
    now: UnixMillis,
) -> rusqlite::Result<()> {
    for placement in &arrival.filed_in {
        enter_placement(transaction, seq, placement, now)?;
    }
    for who in &arrival.participants {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO participants VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                seq,
                who.address,
                who.role,
                who.evidence,
                who.expanded_from.as_deref().unwrap_or("")
            ])?;
    }
    if let Some(evidence) = &arrival.evidence {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO evidence VALUES (?1, ?2)")?
            .execute(params![seq, &evidence.hmac.0[..]])?;
    }
    transaction.prepare_cached("INSERT INTO arrivals VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        seq,
        arrival.source.profile,
        arrival.source.uidl,
        arrival.source.received.map(|received| signed(received.0)),
    ])?;
    transaction.prepare_cached("INSERT INTO changes (seq) VALUES (?1)")?.execute([seq])?;
    Ok(())
}

fn enter_placement(
    transaction: &Transaction<'_>,
    seq: i64,
    placement: &Placement,
    now: UnixMillis,
) -> rusqlite::Result<()> {
    // UIDVALIDITY is 32 bits (RFC 9051 §2.3.1.1); the second of creation serves until 2106.
    let uid_validity = signed(now.0 / 1000).min(i64::from(u32::MAX));
    transaction
        .prepare_cached("INSERT OR IGNORE INTO folders (archive, path, uid_validity) VALUES (?1, ?2, ?3)")?
        .execute(params![placement.archive, placement.folder, uid_validity])?;
    let (folder, uid): (i64, i64) = transaction
        .prepare_cached("SELECT id, uid_next FROM folders WHERE archive = ?1 AND path = ?2")?
        .query_row(params![placement.archive, placement.folder], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let entered = transaction
        .prepare_cached("INSERT OR IGNORE INTO placements (folder, uid, seq) VALUES (?1, ?2, ?3)")?
        .execute(params![folder, uid, seq])?;
    if entered > 0 {
        transaction
            .prepare_cached("UPDATE folders SET uid_next = ?2 + 1 WHERE id = ?1")?
            .execute([folder, uid])?;
    }
    Ok(())
}
