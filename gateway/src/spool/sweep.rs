//! Giving space back: dead files go after their grace period, sparse segments are compacted.
//!
//! A note (a tombstone, or the word that a message is committed) is needed as long as an older segment exists, for that may
//! hold its message. So a segment dies when nothing in it is held and none of its notes is needed. A committed message needs
//! no note any more once it has moved: it is written without the flag. Notes stand behind what they speak of, always.

use super::catalog::{Place, Segment};
use super::layout::{Kind, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES};
use super::recover::{Scan, Scanned, read_body};
use super::segment::Inner;
use super::writer::Move;
use super::{Receipt, SpoolError, Step, Swept};

/// Records are moved in pieces of this size, so that mail coming in meanwhile hardly waits.
const MOVE_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub(super) fn sweep(inner: &Inner, append: impl Fn(Vec<Move>) -> Receipt) -> Result<Swept, SpoolError> {
    let mut swept = Swept::default();
    // What fails at one file must not hold the space of the others: on a full disk nothing can be moved, and all the
    // more must what is dead go.
    let mut failed = remove_graves(inner, &mut swept).err();
    for (number, segment) in closed_segments(inner) {
        if let Err(error) = give_back(inner, number, &segment, &append, &mut swept) {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(swept), Err)
}

fn give_back(
    inner: &Inner,
    number: u64,
    segment: &Segment,
    append: &impl Fn(Vec<Move>) -> Receipt,
    swept: &mut Swept,
) -> Result<(), SpoolError> {
    if segment.retired.is_none() && is_sparse(inner, number, segment) {
        swept.messages_moved += move_out(inner, number, segment, append)?;
    }
    retire_or_remove(inner, number, swept)
}

/// A nearly full disk gives those who are copying no grace: not losing what comes in goes first.
fn grace_is_over(inner: &Inner, since: postern_shared::clock::Moment) -> bool {
    inner.clock.moment().since(since) >= inner.settings.grace
        || inner.check_space(inner.settings.reserve_bytes).is_err()
}

fn remove_graves(inner: &Inner, swept: &mut Swept) -> Result<(), SpoolError> {
    let mut due: Vec<_> =
        inner.catalog().graves.iter().filter(|grave| grace_is_over(inner, grave.since)).cloned().collect();
    let mut failed = None;
    due.retain(|grave| match remove(inner, &grave.path) {
        Ok(()) => true,
        Err(error) => {
            failed.get_or_insert(error);
            false
        }
    });
    swept.files_removed += due.len() as u64;
    let failed = failed.map_or(Ok(()), Err);
    if due.is_empty() {
        return failed;
    }
    inner.disk.sync_dir(&inner.large_dir).map_err(SpoolError::io(Step::Sweep, &inner.large_dir))?;
    // Only now: a tombstone must outlive its file, else a restart would adopt that.
    inner.catalog().graves.retain(|grave| !due.contains(grave));
    failed
}

fn remove(inner: &Inner, path: &std::path::Path) -> Result<(), SpoolError> {
    match inner.disk.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SpoolError::io(Step::Sweep, path)(error))
        }
        _ => Ok(()),
    }
}

/// All segments but the newest, which may still be written to.
fn closed_segments(inner: &Inner) -> Vec<(u64, Segment)> {
    let catalog = inner.catalog();
    let mut all: Vec<_> =
        catalog.segments.iter().map(|(number, segment)| (*number, segment.clone())).collect();
    all.pop();
    all
}

fn is_oldest(inner: &Inner, number: u64) -> bool {
    inner.catalog().segments.first_key_value().is_some_and(|(oldest, _)| *oldest == number)
}

/// Less than half of it is needed.
fn is_sparse(inner: &Inner, number: u64, segment: &Segment) -> bool {
    let notes = if is_oldest(inner, number) { 0 } else { segment.notes * RECORD_HEADER_BYTES as u64 };
    let needed = segment.live_bytes + notes;
    needed > 0 && needed * 2 < segment.bytes.saturating_sub(SEGMENT_HEADER_BYTES as u64)
}

fn move_out(
    inner: &Inner,
    number: u64,
    segment: &Segment,
    append: &impl Fn(Vec<Move>) -> Receipt,
) -> Result<u64, SpoolError> {
    let keep_notes = !is_oldest(inner, number);
    let read_error = || SpoolError::io(Step::Read, &segment.path);
    let mut scan = Scan::new(&*segment.file, segment.bytes, false);
    let (mut moves, mut bytes, mut moved) = (Vec::new(), 0, 0);
    loop {
        let (header, offset) = match scan.next().map_err(read_error())? {
            Scanned::Record(header, offset) => (header, offset),
            Scanned::Damage { .. } => continue,
            Scanned::End { .. } => break,
        };
        let from = Place { segment: number, offset };
        if !is_needed(inner, &header, from, keep_notes) {
            continue;
        }
        let body = read_body(&*segment.file, &header, offset).map_err(read_error())?;
        if header.kind == Kind::Message && crc32c::crc32c(&body) != header.body_crc {
            // Stays where it is: moving would only hide the place of the damage.
            inner.catalog().report(super::Damage {
                path: segment.path.clone(),
                offset,
                what: "the body is altered".into(),
            });
            continue;
        }
        bytes += header.record_bytes();
        moved += u64::from(header.kind.is_message());
        moves.push(Move { header, body, from });
        if bytes >= MOVE_BYTES_MAX {
            append(std::mem::take(&mut moves)).wait()?;
            bytes = 0;
        }
    }
    append(moves).wait()?;
    if keep_notes && let Some(segment) = inner.catalog().segments.get_mut(&number) {
        // They stand further on now.
        segment.notes = 0;
    }
    Ok(moved)
}

fn is_needed(inner: &Inner, header: &RecordHeader, from: Place, keep_notes: bool) -> bool {
    match header.kind {
        Kind::Tombstone | Kind::Committed => keep_notes,
        Kind::Message | Kind::Large => {
            inner.catalog().located(header.mailbox, header.message).is_some_and(|at| at.place == Some(from))
        }
    }
}

fn retire_or_remove(inner: &Inner, number: u64, swept: &mut Swept) -> Result<(), SpoolError> {
    let oldest = is_oldest(inner, number);
    let now = inner.clock.moment();
    let (path, since) = {
        let mut catalog = inner.catalog();
        let Some(segment) = catalog.segments.get_mut(&number) else { return Ok(()) };
        if segment.live_bytes > 0 || (segment.notes > 0 && !oldest) {
            return Ok(());
        }
        let since = *segment.retired.get_or_insert(now);
        let (path, has_notes) = (segment.path.clone(), segment.notes > 0);
        if has_notes && catalog.graves.iter().any(|grave| grave.since <= since) {
            // One of them may speak of that file, which a restart would adopt without it.
            return Ok(());
        }
        (path, since)
    };
    if grace_is_over(inner, since) {
        cut_predecessor(inner, number)?;
        remove(inner, &path)?;
        inner.disk.sync_dir(&inner.segments_dir).map_err(SpoolError::io(Step::Sweep, &inner.segments_dir))?;
        inner.catalog().segments.remove(&number);
        swept.files_removed += 1;
    }
    Ok(())
}

/// Only this segment's header says where its predecessor ends, should that have failed in the middle of a write.
fn cut_predecessor(inner: &Inner, number: u64) -> Result<(), SpoolError> {
    let predecessor = inner.catalog().segments.get(&(number - 1)).cloned();
    let Some(Segment { file, path, bytes, .. }) = predecessor else { return Ok(()) };
    let cut =
        || if file.len()? > bytes { file.set_len(bytes).and_then(|()| file.sync_data()) } else { Ok(()) };
    cut().map_err(SpoolError::io(Step::Sweep, &path))
}
