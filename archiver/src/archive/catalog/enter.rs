//! Changes to rows. Whatever is entered a second time changes nothing: a crash may have forgotten the watermark only.

use rusqlite::{Transaction, params};

use super::schema::SCHEMA;
use super::sqlite::{seq_of, signed, unsigned};
use super::{Change, Damaged, Entered, Folder};
use crate::archive::store::record::{Addition, Arrival, Filed, Message};
use crate::archive::store::{Damage, Kind, Place, Stored};

pub(super) fn objects(transaction: &Transaction<'_>, objects: &[Stored]) -> rusqlite::Result<()> {
    let mut statement =
        transaction.prepare_cached("INSERT OR REPLACE INTO objects VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for Stored { header, place } in objects {
        let kind = match header.kind {
            Kind::Part => 1,
            Kind::Message => 2,
            Kind::Addition => 3,
        };
        let (pack, offset) = (signed(place.pack), signed(place.offset));
        statement.execute(params![
            signed(header.number),
            pack,
            offset,
            signed(header.record_bytes()),
            kind
        ])?;
    }
    Ok(())
}

pub(super) fn watermark(transaction: &Transaction<'_>, watermark: Place) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE state SET pack = ?1, offset = ?2")?
        .execute([signed(watermark.pack), signed(watermark.offset)])?;
    Ok(())
}

pub(super) fn change(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Archived(message, entered) => archived(transaction, message, entered),
        Change::Added(addition, entered) => added(transaction, addition, entered),
    }
}

fn archived(transaction: &Transaction<'_>, message: &Message, entered: &Entered) -> rusqlite::Result<()> {
    let internal_date = message.arrival.filed_in.first().map(|filed| filed.internal_date);
    let internal_date = internal_date.or(message.arrival.source.received).unwrap_or(message.archived);
    let is_new = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO messages (id, object, slot, leaf, content_hmac, fold_hmac, bytes, archived_ms,
             internal_date_ms, date_s, sender, recipients, subject, quarantined)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            &message.message.to_bytes()[..],
            signed(entered.object),
            signed(entered.slot),
            signed(message.leaf),
            entered.content.as_ref().map(|hmac| &hmac.0[..]),
            message.fold.as_ref().map(|fold| &fold.0[..]),
            signed(message.content.bytes),
            signed(message.archived.0),
            signed(internal_date.0),
            message.date,
            message.from,
            message.to,
            message.subject,
            message.quarantined,
        ])?;
    let Some(seq) = seq_of(transaction, message.message)?.filter(|_| is_new > 0) else { return Ok(()) };
    transaction
        .prepare_cached(
            "UPDATE state SET messages = messages + 1, bytes = bytes + ?1, slot_max = max(slot_max, ?2),
             leaf_next = max(leaf_next, ?3 + 1)",
        )?
        .execute([signed(message.content.bytes), signed(entered.slot), signed(message.leaf)])?;
    parts(transaction, seq, entered)?;
    arrival(transaction, seq, &message.arrival, entered)
}

fn added(transaction: &Transaction<'_>, addition: &Addition, entered: &Entered) -> rusqlite::Result<()> {
    let Some(seq) = seq_of(transaction, addition.message)? else {
        let mut statement = transaction.prepare_cached("INSERT OR IGNORE INTO pending VALUES (?1)")?;
        return statement.execute([signed(entered.object)]).map(|_| ());
    };
    transaction.prepare_cached("DELETE FROM pending WHERE object = ?1")?.execute([signed(entered.object)])?;
    let is_new = transaction
        .prepare_cached("INSERT OR IGNORE INTO additions VALUES (?1, ?2)")?
        .execute([signed(entered.object), seq])?;
    if is_new == 0 {
        return Ok(());
    }
    parts(transaction, seq, entered)?;
    arrival(transaction, seq, &addition.arrival, entered)
}

fn parts(transaction: &Transaction<'_>, seq: i64, entered: &Entered) -> rusqlite::Result<()> {
    for (hmac, object) in &entered.parts {
        // A later object of the same octets is there because the earlier one could not be read.
        transaction
            .prepare_cached("INSERT OR REPLACE INTO parts VALUES (?1, ?2)")?
            .execute(params![&hmac.0[..], signed(*object)])?;
        transaction
            .prepare_cached("INSERT OR IGNORE INTO part_users VALUES (?1, ?2)")?
            .execute([signed(*object), seq])?;
    }
    Ok(())
}

fn arrival(
    transaction: &Transaction<'_>,
    seq: i64,
    arrival: &Arrival,
    entered: &Entered,
) -> rusqlite::Result<()> {
    for filed in &arrival.filed_in {
        placement(transaction, seq, filed)?;
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
    if let Some(hmac) = &entered.evidence {
        transaction
            .prepare_cached(
                // A later object has it because the earlier one could not be read.
                "INSERT INTO evidence VALUES (?1, ?2, ?3)
                 ON CONFLICT (seq, hmac) DO UPDATE SET object = max(object, excluded.object)",
            )?
            .execute(params![seq, &hmac.0[..], signed(entered.object)])?;
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

fn placement(transaction: &Transaction<'_>, seq: i64, filed: &Filed) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO folders (archive, path, uid_validity) VALUES (?1, ?2, ?3)")?
        .execute(params![filed.archive, filed.folder, filed.uid_validity])?;
    let (folder, uid_next): (i64, u32) = transaction
        .prepare_cached("SELECT id, uid_next FROM folders WHERE archive = ?1 AND path = ?2")?
        .query_row(params![filed.archive, filed.folder], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut uid = filed.uid;
    let mut is_new = place(transaction, (folder, uid), seq, filed)?;
    if !is_new && !is_placed(transaction, folder, seq)? {
        // Never left out: a message without a place in its folder would be found by nobody.
        let last = "SELECT coalesce(max(uid), 0) FROM placements WHERE folder = ?1";
        let last: u32 = transaction.prepare_cached(last)?.query_row([folder], |row| row.get(0))?;
        uid = uid_next.max(last.saturating_add(1));
        tracing::error!(
            archive = filed.archive,
            folder = filed.folder,
            taken = filed.uid,
            uid,
            "two messages have one UID; the later one gets another"
        );
        is_new = place(transaction, (folder, uid), seq, filed)?;
    }
    if is_new {
        transaction
            .prepare_cached(
                "UPDATE folders SET messages = messages + 1, uid_next = max(uid_next, ?2 + 1) WHERE id = ?1",
            )?
            .execute(params![folder, uid])?;
    }
    Ok(())
}

/// Whether it is there now and was not before.
fn place(
    transaction: &Transaction<'_>,
    (folder, uid): (i64, u32),
    seq: i64,
    filed: &Filed,
) -> rusqlite::Result<bool> {
    let placed = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO placements (folder, uid, seq, internal_date_ms, flags) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![folder, uid, seq, signed(filed.internal_date.0), filed.flags.join(" ")])?;
    Ok(placed > 0)
}

fn is_placed(transaction: &Transaction<'_>, folder: i64, seq: i64) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM placements WHERE seq = ?1 AND folder = ?2")?
        .exists(params![seq, folder])
}

/// Folders as another catalog knows them.
pub(super) fn folders(transaction: &Transaction<'_>, folders: &[Folder]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO folders (archive, path, uid_validity, uid_next) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (archive, path) DO UPDATE SET uid_next = excluded.uid_next WHERE excluded.uid_next > uid_next",
    )?;
    for folder in folders {
        statement.execute(params![folder.archive, folder.path, folder.uid_validity, folder.uid_next])?;
    }
    Ok(())
}

/// Kept one by one up to this number, in all.
const DAMAGED_MAX: i64 = 10_000;

pub(super) fn damaged(transaction: &Transaction<'_>, damaged: &[Damaged]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR IGNORE INTO damaged SELECT ?1, ?2, ?3, ?4, ?5 WHERE (SELECT count(*) FROM damaged) < ?6",
    )?;
    for Damaged { damage: Damage { path, offset, what }, is_hole, object } in damaged {
        let (path, object) = (path.to_string_lossy(), object.map(signed));
        statement.execute(params![path, signed(*offset), what, is_hole, object, DAMAGED_MAX])?;
    }
    Ok(())
}

/// All tables as they are in a new catalog.
pub(super) fn begin_anew(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    // The last ones refer to the first ones.
    let mut tables = transaction.prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid DESC",
    )?;
    let tables = tables.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    for table in tables {
        transaction.execute_batch(&format!("DROP TABLE \"{table}\""))?;
    }
    transaction.execute_batch(SCHEMA)
}

pub(super) fn forget_pack(transaction: &Transaction<'_>, pack: u64) -> rusqlite::Result<()> {
    let parts = "DELETE FROM parts WHERE object IN (SELECT number FROM objects WHERE pack = ?1 AND kind = 1)";
    transaction.execute(parts, [signed(pack)])?;
    let gone = transaction.execute("DELETE FROM objects WHERE pack = ?1", [signed(pack)])?;
    tracing::debug!(pack, objects = unsigned(i64::try_from(gone).unwrap_or(0)), "a pack is forgotten");
    Ok(())
}
