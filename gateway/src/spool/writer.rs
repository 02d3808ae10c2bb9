//! Writing: a group of jobs into the current segment.
//!
//! A group is written as one piece, synced once, entered into the catalog, and only then acknowledged. After a failed write or sync the bytes behind the last good sync are worthless: they are cut
//! off, and a new segment is begun whose header says where the old one ends, so that they stay worthless even when
//! the cut itself does not reach the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::disk::DiskFile;
use postern_shared::id::{MailboxId, MessageId};
use tokio::sync::oneshot;

use super::catalog::{Grave, Located, Place, Segment, Standing};
use super::layout::{Kind, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::prepare::{Prepared, Preparer};
use super::segment::Inner;
use super::{NewBody, NewRecord, SpoolError, Step, large};

/// What the headers of a group take, with room to spare.
const HEADERS_BYTES: u64 = 16 * 1024 * 1024;

type Done = oneshot::Sender<Result<(), SpoolError>>;

#[derive(Debug)]
pub(super) enum Job {
    Append {
        batch: Vec<NewRecord>,
        done: Done,
    },
    Delete {
        mailbox: MailboxId,
        messages: Vec<MessageId>,
        done: Done,
    },
    Confirm {
        mailbox: MailboxId,
        message: MessageId,
        done: Done,
    },
    /// Writes nothing. A job all the same, so that what was handed over before is decided first.
    Keep {
        mailbox: MailboxId,
        message: MessageId,
    },
    Move {
        moves: Vec<Move>,
        done: Done,
    },
}

impl Job {
    /// Octets that it adds to the segment, headers apart.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Append { batch, .. } => batch.iter().map(NewRecord::inline_bytes).sum(),
            Self::Delete { .. } | Self::Confirm { .. } | Self::Keep { .. } => 0,
            Self::Move { moves, .. } => moves.iter().map(|moved| moved.body.len() as u64).sum(),
        }
    }
}

/// A record to be copied out of a sparse segment as it stands; without the flag, when its message is committed by then.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) header: RecordHeader,
    pub(super) body: Vec<u8>,
    /// Where it was found; moved only if it is still served from there.
    pub(super) from: Place,
}

/// What the scan found at the end of the last segment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct End {
    /// The greatest segment number in use; 0 when there is none.
    pub(super) segment: u64,
    /// Octets of it that count.
    pub(super) bytes: u64,
}

#[derive(Debug)]
struct Current {
    number: u64,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// Octets that are durable.
    bytes: u64,
    /// It was full of zeros when it was begun.
    prepared: bool,
    pace: Pace,
}

/// How many messages share a sync.
#[derive(Debug, Default)]
struct Pace {
    syncs: u64,
    jobs: u64,
    /// A segment was asked for; what is counted came since.
    asked: bool,
}

/// Syncs between two attempts to prepare a segment: where one fails, on a full disk say, the next would as well.
const SYNCS_BETWEEN: u64 = 64;

impl Pace {
    /// Few enough share one that the sync itself is what they wait for.
    fn is_slow(&self) -> bool {
        self.jobs < 3 * self.syncs
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    inner: Arc<Inner>,
    preparer: Preparer,
    end: End,
    /// `None` until the first record is written, and after a fault.
    current: Option<Current>,
}

/// One record of a group, ready to be written.
struct Ready {
    header: RecordHeader,
    /// In pieces.
    body: Vec<Vec<u8>>,
}

/// Jobs that are committed together.
#[derive(Default)]
struct Group {
    records: Vec<Ready>,
    waiters: Vec<Done>,
    /// Nobody is left to decide on these.
    kept: Vec<(MailboxId, MessageId)>,
    files: Vec<super::LargeFile>,
    bytes: u64,
    /// Decisions must work on a full disk, and moves on one that is nearly full: deletions, else it could never be emptied;
    /// confirmations, for another server has taken the message already.
    only: Option<Only>,
}

/// What a group is made of, when it is of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Only {
    Decisions,
    Moves,
}

impl Writer {
    /// `stepped`: without a thread.
    pub(super) fn new(inner: Arc<Inner>, end: End, stepped: bool) -> Result<Self, SpoolError> {
        let preparer = Preparer::start(Arc::clone(&inner), stepped)?;
        Ok(Self { inner, preparer, end, current: None })
    }

    /// Commits jobs together and answers each. Moves come alone: what they may move depends on all before them.
    pub(super) fn commit(&mut self, jobs: Vec<Job>) {
        let (decisions, others): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| matches!(job, Job::Delete { .. } | Job::Confirm { .. }));
        let together = decisions.is_empty() || others.is_empty() || {
            let bytes: u64 = others.iter().map(Job::bytes).sum();
            self.inner.check_space(bytes + HEADERS_BYTES).is_ok()
        };
        if together {
            self.commit_together(decisions.into_iter().chain(others));
        } else {
            // Refused together with mail, deletions could never make room for it.
            self.commit_together(decisions);
            self.commit_together(others);
        }
    }

    fn commit_together(&mut self, jobs: impl IntoIterator<Item = Job>) {
        let mut group = Group { only: Some(Only::Decisions), ..Group::default() };
        for job in jobs {
            match job {
                Job::Append { batch, done } => group.append(batch, done),
                Job::Delete { mailbox, messages, done } => {
                    group.delete(mailbox, messages, done, &self.inner);
                }
                Job::Confirm { mailbox, message, done } => {
                    group.confirm(mailbox, message, done, &self.inner);
                }
                Job::Keep { mailbox, message } => group.kept.push((mailbox, message)),
                Job::Move { moves, done } => {
                    debug_assert!(group.waiters.is_empty(), "moves are committed alone");
                    group = self.still_served(moves, done);
                }
            }
        }
        self.commit_group(group);
    }

    fn still_served(&self, moves: Vec<Move>, done: Done) -> Group {
        let catalog = self.inner.catalog();
        let served = moves.into_iter().filter_map(|Move { mut header, body, from }| {
            if header.kind.is_message() {
                let at = catalog.located(header.mailbox, header.message)?;
                (at.place == Some(from)).then_some(())?;
                header.prepared = at.standing != Standing::Committed;
            }
            Some(Ready { header, body: vec![body] })
        });
        let records: Vec<Ready> = served.collect();
        let bytes = records.iter().map(|record| record.header.record_bytes()).sum();
        let only = Some(Only::Moves);
        Group { records, bytes, waiters: vec![done], only, ..Group::default() }
    }

    fn commit_group(&mut self, group: Group) {
        let Group { records, waiters, kept, files, bytes, only } = group;
        if records.is_empty() && waiters.is_empty() {
            return self.keep(&kept);
        }
        let begun = self.inner.clock.moment();
        let space = match only {
            Some(Only::Decisions) => Ok(()),
            Some(Only::Moves) => self.inner.check_space_for_moves(bytes),
            None => self.inner.check_space(bytes),
        };
        let result = space.and_then(|()| self.write(&records, bytes));
        self.keep_pace(waiters.len());
        let took = self.inner.clock.moment().since(begun);
        crate::monitoring::metrics().group_committed(records.len(), bytes, took, result.is_ok());
        if let Err(error) = &result {
            tracing::error!(%error, "nothing of this group is acknowledged");
            // Before anybody is told: what was refused must not be found by a restart.
            drop(files);
        } else {
            files.into_iter().for_each(super::LargeFile::keep);
        }
        // Also those whose decision has just failed.
        self.keep(&kept);
        for waiter in waiters {
            // A waiter that went away no longer wants to know.
            let _ = waiter.send(result.clone());
        }
    }

    fn write(&mut self, records: &[Ready], bytes: u64) -> Result<(), SpoolError> {
        if records.is_empty() {
            return Ok(());
        }
        let current = self.current(bytes)?;
        let start = current.bytes;
        let headers: Vec<[u8; RECORD_HEADER_BYTES]> =
            records.iter().map(|record| record.header.to_bytes()).collect();
        let mut slices = Vec::with_capacity(2 * records.len());
        for (header, record) in headers.iter().zip(records) {
            slices.push(&header[..]);
            slices.extend(record.body.iter().map(Vec::as_slice));
        }
        let written =
            current.file.write_all_at(&slices, start).map_err(SpoolError::io(Step::Write, &current.path));
        let synced = written
            .and_then(|()| current.file.sync_data().map_err(SpoolError::io(Step::Sync, &current.path)));
        if let Err(error) = synced {
            self.abandon_current();
            return Err(error);
        }
        current.bytes += bytes;
        let number = current.number;
        self.publish(records, number, start);
        Ok(())
    }

    /// Has a segment prepared when it would help.
    fn keep_pace(&mut self, jobs: usize) {
        let Some(current) = &mut self.current else { return };
        current.pace.syncs += 1;
        current.pace.jobs += jobs as u64;
        let due = !current.pace.asked || current.pace.syncs >= SYNCS_BETWEEN;
        if due && current.bytes >= self.inner.settings.prepare_after_bytes && current.pace.is_slow() {
            self.preparer.ask();
            current.pace = Pace { asked: true, ..Pace::default() };
        }
    }

    /// The segment to write `bytes` to: the current one, or a new one when that is full, when a better one is ready,
    /// or when none is open.
    fn current(&mut self, bytes: u64) -> Result<&mut Current, SpoolError> {
        let full = |current: &Current| {
            current.bytes > SEGMENT_HEADER_BYTES as u64
                && current.bytes + bytes > self.inner.settings.segment_bytes
        };
        let outdone = |current: &Current| !current.prepared && self.preparer.is_ready();
        if let Some(current) = self.current.take_if(|current| full(current) || outdone(current)) {
            // New pages cost more than the disk; those of a full segment are better used for the next one.
            current.file.drop_cache();
            self.end = End { segment: current.number, bytes: current.bytes };
        }
        if self.current.is_none() {
            self.current = Some(self.begin_segment()?);
        }
        self.current.as_mut().ok_or(SpoolError::Closed)
    }

    fn begin_segment(&mut self) -> Result<Current, SpoolError> {
        let number = self.end.segment + 1;
        let path = self.inner.segment_path(number);
        let header = SegmentHeader { number, previous_bytes: self.end.bytes };
        let ready = self.preparer.take().and_then(|prepared| self.begin_in(prepared, header, &path));
        let prepared = ready.is_some();
        let begun = ready.map_or_else(|| self.begin_in_new_file(header, &path), Ok);
        let file = begun.map_err(SpoolError::io(Step::Create, &path))?;
        self.trim_predecessor();
        let bytes = SEGMENT_HEADER_BYTES as u64;
        let segment = Segment {
            file: Arc::clone(&file),
            path: path.clone(),
            bytes,
            live_bytes: 0,
            notes: 0,
            retired: None,
        };
        self.inner.catalog().segments.insert(number, segment);
        Ok(Current { number, file, path, bytes, prepared, pace: Pace::default() })
    }

    fn begin_in_new_file(&self, header: SegmentHeader, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let disk = &self.inner.disk;
        let file = match disk.create(path) {
            // What an earlier attempt that failed could not remove; nothing in it was ever acknowledged.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.open(path).and_then(|file| file.set_len(0).map(|()| file))
            }
            created => created,
        }?;
        file.write_all_at(&[&header.to_bytes()], 0)?;
        file.sync_data()?;
        disk.sync_dir(&self.inner.segments_dir)?;
        Ok(file)
    }

    /// The header first: a numbered segment without one would look damaged. `None` when that failed: mail need not wait
    /// for what was only to be quicker.
    fn begin_in(&self, prepared: Prepared, header: SegmentHeader, path: &Path) -> Option<Arc<dyn DiskFile>> {
        let (disk, file) = (&self.inner.disk, prepared.file);
        let begun = file.write_all_at(&[&header.to_bytes()], 0).and_then(|()| {
            file.sync_data()?;
            disk.rename(&prepared.path, path)?;
            disk.sync_dir(&self.inner.segments_dir)
        });
        if let Err(error) = begun {
            tracing::warn!(path = %path.display(), %error, "cannot begin a prepared segment; trying an empty one");
            // It may bear the number already, and is then begun anew; what stays is removed at the next start.
            let _ = disk.remove(&prepared.path);
            return None;
        }
        Some(file)
    }

    /// Gives back what was prepared in the segment before and not used.
    fn trim_predecessor(&self) {
        let End { segment, bytes } = self.end;
        let Some(file) = self.inner.catalog().segments.get(&segment).map(|found| Arc::clone(&found.file))
        else {
            return;
        };
        let trimmed = file.len().and_then(|len| if len > bytes { file.set_len(bytes) } else { Ok(()) });
        if let Err(error) = trimmed {
            tracing::warn!(segment, %error, "cannot give back unused space of a segment");
        }
    }

    /// Leaves the current segment as it was after the last good sync, and writes to it no more, unless it is empty.
    fn abandon_current(&mut self) {
        let Some(current) = self.current.take() else { return };
        self.end = End { segment: current.number, bytes: current.bytes };
        let cut = current.file.set_len(current.bytes).and_then(|()| current.file.sync_data());
        match cut {
            // As good as new. Were it left for another one, a failing disk would be strewn with empty segments.
            Ok(()) if current.bytes == SEGMENT_HEADER_BYTES as u64 => {
                self.current = Some(Current { prepared: false, ..current });
                return;
            }
            Ok(()) => {}
            Err(error) => {
                tracing::error!(path = %current.path.display(), %error, "cannot cut off what was not acknowledged");
            }
        }
        match self.begin_segment() {
            Ok(next) => self.current = Some(next),
            Err(error) => tracing::error!(%error, "cannot begin a new segment; the next message tries again"),
        }
    }

    fn publish(&self, records: &[Ready], segment: u64, mut offset: u64) {
        let now = self.inner.clock.moment();
        let mut catalog = self.inner.catalog();
        for Ready { header, .. } in records {
            let place = Place { segment, offset };
            offset += header.record_bytes();
            match header.kind {
                Kind::Message | Kind::Large => {
                    catalog.insert(header.mailbox, header.message, Located::new(header, Some(place)));
                }
                Kind::Tombstone => {
                    let removed = catalog.remove(header.mailbox, header.message);
                    if removed.is_some_and(|located| located.large) {
                        let path = large::path(&self.inner.large_dir, header.mailbox, header.message);
                        catalog.graves.push(Grave { since: now, path });
                    }
                }
                Kind::Committed => catalog.raise(header.mailbox, header.message, Standing::Committed),
            }
            if !header.kind.is_message()
                && let Some(segment) = catalog.segments.get_mut(&segment)
            {
                segment.notes += 1;
            }
        }
        if let Some(segment) = catalog.segments.get_mut(&segment) {
            segment.bytes = offset;
        }
    }
}

impl Writer {
    fn keep(&self, kept: &[(MailboxId, MessageId)]) {
        let mut catalog = self.inner.catalog();
        for (mailbox, message) in kept {
            catalog.raise(*mailbox, *message, Standing::Unconfirmed);
        }
    }
}

impl Group {
    fn append(&mut self, batch: Vec<NewRecord>, done: Done) {
        self.only = None;
        batch.into_iter().for_each(|record| self.add(record));
        self.waiters.push(done);
    }

    fn delete(&mut self, mailbox: MailboxId, messages: Vec<MessageId>, done: Done, inner: &Inner) {
        let now = inner.clock.wall();
        let catalog = inner.catalog();
        for message in messages.into_iter().filter(|id| catalog.located(mailbox, *id).is_some()) {
            self.push(RecordHeader::of(Kind::Tombstone, mailbox, message, now), Vec::new());
        }
        self.waiters.push(done);
    }

    fn confirm(&mut self, mailbox: MailboxId, message: MessageId, done: Done, inner: &Inner) {
        let standing = inner.catalog().located(mailbox, message).map(|located| located.standing);
        match standing {
            Some(Standing::Prepared) => {
                let now = inner.clock.wall();
                self.push(RecordHeader::of(Kind::Committed, mailbox, message, now), Vec::new());
                self.waiters.push(done);
            }
            Some(Standing::Committed) => self.waiters.push(done),
            Some(Standing::Unconfirmed) | None => {
                // A waiter that went away no longer wants to know.
                let _ = done.send(Err(SpoolError::NotPrepared { mailbox, message }));
            }
        }
    }

    fn add(&mut self, record: NewRecord) {
        let NewRecord { mailbox, message, received, sealed, body, prepared } = record;
        match body {
            NewBody::Inline { pieces, crc } => {
                let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
                let of = (mailbox, message);
                let header = RecordHeader::stored(Kind::Message, prepared, of, received, sealed, bytes, crc);
                self.push(header, pieces);
            }
            NewBody::Large(file) => {
                self.push(file.header(mailbox, message, received, sealed, prepared), Vec::new());
                self.files.push(file);
            }
        }
    }

    fn push(&mut self, header: RecordHeader, body: Vec<Vec<u8>>) {
        self.bytes += header.record_bytes();
        self.records.push(Ready { header, body });
    }
}
