//! Finding out at start what the spool holds, from the files alone.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use postern_shared::disk::DiskFile;
use postern_shared::id::{MailboxId, MessageId};

use super::catalog::{Catalog, Grave, Located, Place, Segment, Standing};
use super::layout::{
    Kind, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use super::segment::Inner;
use super::writer::End;
use super::{Damage, SpoolError, Step, large};

/// Scans all files into the catalog; returns where writing goes on.
pub(super) fn recover(inner: &Inner) -> Result<End, SpoolError> {
    let mut found = open_segments(inner)?;
    let mut said = Said::default();
    let mut end = End::default();
    for at in 0..found.len() {
        let next = found.get(at + 1).map(|next| (next.number, next.header));
        let segment = &mut found[at];
        // Only behind the last sync can a record be torn. A segment whose successor is readable was synced whole, up
        // to the octet its successor names; when that one is swept already, up to its end (see `sweep`).
        let (limit, settled) = match next {
            Some((number, Some(header))) if number == segment.number + 1 => {
                (Some(header.previous_bytes), true)
            }
            Some((_, Some(_))) => (None, true),
            _ => (None, false),
        };
        let bytes = scan_segment(inner, segment, limit, settled, &mut said)?;
        end = End { segment: segment.number, bytes };
    }
    large_files(inner, &said)?;
    Ok(end)
}

/// What records say of messages, wherever those turn up.
#[derive(Default)]
struct Said {
    deleted: HashSet<(MailboxId, MessageId)>,
    committed: HashSet<(MailboxId, MessageId)>,
}

struct Found {
    number: u64,
    path: std::path::PathBuf,
    file: Arc<dyn DiskFile>,
    header: Option<SegmentHeader>,
}

fn open_segments(inner: &Inner) -> Result<Vec<Found>, SpoolError> {
    let paths =
        inner.disk.files(&inner.segments_dir).map_err(SpoolError::io(Step::Read, &inner.segments_dir))?;
    let mut found = Vec::new();
    for path in paths {
        let Some(number) = segment_number(&path) else { continue };
        let file = inner.disk.open(&path).map_err(SpoolError::io(Step::Read, &path))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let header = file
            .read_exact_at(&mut bytes, 0)
            .ok()
            .and_then(|()| SegmentHeader::from_bytes(&bytes))
            .filter(|header| header.number == number);
        found.push(Found { number, path, file, header });
    }
    Ok(found)
}

fn segment_number(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Enters one segment's records; returns how many of its octets count.
fn scan_segment(
    inner: &Inner,
    segment: &Found,
    limit: Option<u64>,
    settled: bool,
    said: &mut Said,
) -> Result<u64, SpoolError> {
    let Found { number, path, file, header } = segment;
    let file_bytes = file.len().map_err(SpoolError::io(Step::Read, path))?;
    let mut catalog = inner.catalog();
    let damaged = |offset, what: String| Damage { path: path.clone(), offset, what };
    if header.is_none() && file_bytes > SEGMENT_HEADER_BYTES as u64 {
        catalog.report(damaged(0, "the segment header is unreadable; its records are searched for".into()));
    }
    if let Some(limit) = limit.filter(|limit| file_bytes < *limit) {
        catalog.report(damaged(file_bytes, format!("the segment is cut short: {limit} bytes were written")));
    }
    let (file, path) = (Arc::clone(file), path.clone());
    let entry = Segment { file: Arc::clone(&file), path, bytes: 0, live_bytes: 0, notes: 0, retired: None };
    catalog.segments.insert(*number, entry);

    if !settled {
        // After a sync that failed, memory may have what the disk does not; what counts is the disk.
        file.drop_cache();
    }
    let mut scan = Scan::new(&*file, file_bytes.min(limit.unwrap_or(u64::MAX)), !settled);
    loop {
        match scan.next().map_err(SpoolError::io(Step::Read, &segment.path))? {
            Scanned::Record(header, offset) => enter(&mut catalog, &header, *number, offset, said),
            Scanned::Damage { from, to } => {
                if !settled {
                    spoil_torn_record(&segment.path, &*file, from)?;
                }
                let what = format!("{} bytes are no record; what follows them is served", to - from);
                catalog.report(damaged(from, what));
            }
            Scanned::End { at, rest } => {
                if settled && rest > 0 {
                    catalog.report(damaged(at, format!("{rest} bytes at the end are no record")));
                } else if rest > 0 {
                    cut_torn_tail(&segment.path, &*file, at, rest)?;
                }
                if !settled {
                    // What a program that died had only written is shown from now on, so it must stay.
                    file.sync_data().map_err(SpoolError::io(Step::Sync, &segment.path))?;
                }
                if let Some(entry) = catalog.segments.get_mut(number) {
                    entry.bytes = at;
                }
                // The next segment is read into the same memory.
                file.drop_cache();
                return Ok(at);
            }
        }
    }
}

fn cut_torn_tail(path: &Path, file: &dyn DiskFile, at: u64, rest: u64) -> Result<(), SpoolError> {
    tracing::warn!(path = %path.display(), offset = at, bytes = rest, "cutting a torn tail, which nobody was promised");
    file.set_len(at).map_err(SpoolError::io(Step::Write, path))
}

/// A header that reached the disk without its body, among records that did, is not taken for one at the next start, when
/// this segment is settled and bodies are no longer compared. The caller syncs.
fn spoil_torn_record(path: &Path, file: &dyn DiskFile, at: u64) -> Result<(), SpoolError> {
    let mut bytes = [0; RECORD_HEADER_BYTES];
    if file.read_exact_at(&mut bytes, at).is_err() || RecordHeader::from_bytes(&bytes).is_none() {
        return Ok(());
    }
    file.write_all_at(&[b"torn"], at).map_err(SpoolError::io(Step::Write, path))
}

fn enter(catalog: &mut Catalog, header: &RecordHeader, segment: u64, offset: u64, said: &mut Said) {
    let (mailbox, message) = (header.mailbox, header.message);
    let key = (mailbox, message);
    match header.kind {
        Kind::Tombstone => {
            catalog.remove(mailbox, message);
            said.deleted.insert(key);
        }
        Kind::Committed => {
            catalog.raise(mailbox, message, Standing::Committed);
            said.committed.insert(key);
        }
        // Ids are never used twice, so what was deleted once stays deleted wherever its record turns up.
        Kind::Message | Kind::Large if said.deleted.contains(&key) => {}
        Kind::Message | Kind::Large => {
            let place = Some(Place { segment, offset });
            catalog.insert(mailbox, message, Located::found(header, place, said.committed.contains(&key)));
        }
    }
    if !header.kind.is_message()
        && let Some(segment) = catalog.segments.get_mut(&segment)
    {
        segment.notes += 1;
    }
}

/// Compares the files of their own with the records that refer to them.
fn large_files(inner: &Inner, said: &Said) -> Result<(), SpoolError> {
    let now = inner.clock.moment();
    let mut catalog = inner.catalog();
    let mut present = HashSet::new();
    for path in inner.disk.files(&inner.large_dir).map_err(SpoolError::io(Step::Read, &inner.large_dir))? {
        let Some((mailbox, message)) = large::parse_name(&path) else { continue };
        if said.deleted.contains(&(mailbox, message)) {
            catalog.graves.push(Grave { since: now, path });
            continue;
        }
        let footer =
            read_footer(inner, &path).filter(|footer| (footer.mailbox, footer.message) == (mailbox, message));
        let known = catalog.located(mailbox, message).copied();
        match (footer, known) {
            (Some(_), Some(_)) => {
                present.insert((mailbox, message));
            }
            (Some(footer), None) if is_whole(inner, &path, &footer) => {
                tracing::warn!(path = %path.display(), "adopting a whole message that no record refers to");
                make_durable(inner, &path)?;
                let committed = said.committed.contains(&(mailbox, message));
                catalog.insert(mailbox, message, Located::found(&footer, None, committed));
                present.insert((mailbox, message));
            }
            (None, Some(_)) => {
                // Listed all the same: its owner must see that it is there and cannot be read.
                catalog.report(Damage {
                    path,
                    offset: 0,
                    what: "the large file is cut short or altered".into(),
                });
                present.insert((mailbox, message));
            }
            // Interrupted while it was streaming in; its sender was promised nothing.
            (_, None) => catalog.graves.push(Grave { since: now, path }),
        }
    }
    for (mailbox, message, _) in catalog.large() {
        if !present.contains(&(mailbox, message)) {
            let path = large::path(&inner.large_dir, mailbox, message);
            catalog.report(Damage { path, offset: 0, what: "the large file is missing".into() });
            catalog.remove(mailbox, message);
        }
    }
    Ok(())
}

fn read_footer(inner: &Inner, path: &Path) -> Option<RecordHeader> {
    let file = inner.disk.open_read(path).ok()?;
    let at = file.len().ok()?.checked_sub(RECORD_HEADER_BYTES as u64)?;
    let mut bytes = [0; RECORD_HEADER_BYTES];
    file.read_exact_at(&mut bytes, at).ok()?;
    RecordHeader::from_bytes(&bytes).filter(|footer| footer.kind == Kind::Large && footer.sealed_bytes == at)
}

/// Whether all of a large file has reached the disk; its end may have done so before its middle.
fn is_whole(inner: &Inner, path: &Path, footer: &RecordHeader) -> bool {
    let crc = || {
        let file = inner.disk.open_read(path)?;
        let (mut at, mut crc, mut piece) = (0, 0, vec![0; 1024 * 1024]);
        while at < footer.sealed_bytes {
            let len = usize::try_from(footer.sealed_bytes - at).unwrap_or(usize::MAX).min(piece.len());
            file.read_exact_at(&mut piece[..len], at)?;
            crc = crc32c::crc32c_append(crc, &piece[..len]);
            at += len as u64;
        }
        std::io::Result::Ok(crc)
    };
    // Earlier versions kept no checksum.
    footer.body_crc == 0 || crc().is_ok_and(|crc| crc == footer.body_crc)
}

/// What a program that died had only written is shown from now on, so it must stay.
fn make_durable(inner: &Inner, path: &Path) -> Result<(), SpoolError> {
    let synced = inner.disk.open(path).and_then(|file| file.sync_data());
    synced.and_then(|()| inner.disk.sync_dir(&inner.large_dir)).map_err(SpoolError::io(Step::Sync, path))
}

/// Walks the records of a segment without reading more than it must.
pub(super) struct Scan<'f> {
    file: &'f dyn DiskFile,
    at: u64,
    end: u64,
    verify_bodies: bool,
}

pub(super) enum Scanned {
    /// A record, and where its header begins.
    Record(RecordHeader, u64),
    /// Octets that are no record, with a record behind them.
    Damage { from: u64, to: u64 },
    /// No record follows; `rest` octets that are not zero-filled space do.
    End { at: u64, rest: u64 },
}

impl<'f> Scan<'f> {
    /// `verify_bodies`: also compare each body's checksum, for segments whose end may not have reached the disk.
    pub(super) fn new(file: &'f dyn DiskFile, end: u64, verify_bodies: bool) -> Self {
        Self { file, at: (SEGMENT_HEADER_BYTES as u64).min(end), end, verify_bodies }
    }

    /// Looks at `at`, which it has passed, once more.
    pub(super) fn go_back(&mut self, at: u64) {
        self.at = at;
    }

    pub(super) fn next(&mut self) -> std::io::Result<Scanned> {
        let at = self.at;
        if let Some(header) = self.record_at(at, self.verify_bodies)? {
            self.at += header.record_bytes();
            return Ok(Scanned::Record(header, at));
        }
        match self.search_from(at)? {
            Search::Record(to) => {
                self.at = to;
                Ok(Scanned::Damage { from: at, to })
            }
            Search::OnlyZeros => Ok(Scanned::End { at, rest: 0 }),
            Search::Nothing => Ok(Scanned::End { at, rest: self.end - at }),
        }
    }

    fn record_at(&self, at: u64, verify_body: bool) -> std::io::Result<Option<RecordHeader>> {
        if at + RECORD_HEADER_BYTES as u64 > self.end {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_HEADER_BYTES];
        self.file.read_exact_at(&mut bytes, at)?;
        let Some(header) = RecordHeader::from_bytes(&bytes) else { return Ok(None) };
        if at + header.record_bytes() > self.end {
            return Ok(None);
        }
        if verify_body && header.kind == Kind::Message && !self.body_is_whole(&header, at)? {
            return Ok(None);
        }
        Ok(Some(header))
    }

    fn body_is_whole(&self, header: &RecordHeader, at: u64) -> std::io::Result<bool> {
        Ok(crc32c::crc32c(&read_body(self.file, header, at)?) == header.body_crc)
    }

    /// Looks for the next whole record behind `from`.
    fn search_from(&self, from: u64) -> std::io::Result<Search> {
        const WINDOW_BYTES: u64 = 1024 * 1024;
        let (mut at, mut only_zeros) = (from, true);
        while at < self.end {
            let len = usize::try_from((self.end - at).min(WINDOW_BYTES)).unwrap_or(0);
            let mut window = vec![0; len];
            self.file.read_exact_at(&mut window, at)?;
            only_zeros &= window.iter().all(|byte| *byte == 0);
            for (i, candidate) in window.windows(RECORD_MAGIC.len()).enumerate() {
                let candidate_at = at + i as u64;
                if candidate == RECORD_MAGIC
                    && candidate_at > from
                    && self.record_at(candidate_at, true)?.is_some()
                {
                    return Ok(Search::Record(candidate_at));
                }
            }
            // The magic may straddle two windows.
            let step = (len as u64).saturating_sub(RECORD_MAGIC.len() as u64 - 1).max(1);
            at = if at + len as u64 == self.end { self.end } else { at + step };
        }
        Ok(if only_zeros { Search::OnlyZeros } else { Search::Nothing })
    }
}

enum Search {
    Record(u64),
    OnlyZeros,
    Nothing,
}

/// The body of the record whose header begins at `at`.
pub(super) fn read_body(file: &dyn DiskFile, header: &RecordHeader, at: u64) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; usize::try_from(header.body_bytes()).map_err(std::io::Error::other)?];
    file.read_exact_at(&mut body, at + RECORD_HEADER_BYTES as u64)?;
    Ok(body)
}
