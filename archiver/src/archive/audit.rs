//! The audit log: who did what, when and from where. Append-only, a JSON object a line, synced line by line:
//!
//! ```text
//! {"sequence":1,"time":"2027-01-15T08:00:00Z","who":"operator","how":"command line","from":"this machine",
//!  "what":"search","particulars":{…},"refused":"why, when it was","previous":"<SHA-256 of the line before, its end not
//!  included; 64 zeros of the first>"}
//! ```
//!
//! A line that is altered, inserted or taken out breaks the chain behind it ([`Audit::verify`]); that the last lines were cut
//! off shows by the last sequence and digest, which are worth noting elsewhere.
//!
//! Promises
//! - When [`Audit::record`] returns `Ok` the line is on disk. What cannot be recorded must not be done.
//! - What a failed or interrupted write left is no line; the next one takes its place.
//! - Memory does not grow with the log.
//! - However much is said, a line tells who did what to whom: see `particulars`.

mod particulars;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memchr::{memchr, memrchr};
use postern_shared::clock::Clock;
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::disk::{Disk, DiskFile};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ArchiveError;
use super::stores::Watch;

/// Why something was refused is told up to here.
const REFUSED_CHARS_MAX: usize = 1000;
const LINE_BYTES_MAX: usize = 64 * 1024;
const PIECE_BYTES: usize = 64 * 1024;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// `operator`, a token's name, or `archiver` for what it does by itself.
    pub who: String,
    /// By what means.
    pub how: String,
    /// From where.
    pub from: String,
}

impl By {
    /// What the archiver does by itself.
    pub fn archiver() -> Self {
        Self { who: "archiver".into(), how: "itself".into(), from: "this machine".into() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    sequence: u64,
    time: String,
    #[serde(flatten)]
    by: By,
    what: String,
    particulars: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    previous: Digest,
}

/// Whether the log is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// How many lines it has.
    pub lines: u64,
    /// SHA-256 of the last line.
    pub last: Digest,
    /// What is wrong with it; nothing when all lines are as they were written.
    pub broken: Option<String>,
}

/// An audit log.
#[derive(Debug)]
pub struct Audit {
    clock: Arc<dyn Clock>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    end: u64,
    sequence: u64,
    last: Digest,
    /// The last line could not be written, so what is behind `end` is none.
    failed: bool,
}

impl Audit {
    pub(crate) fn open(disk: &dyn Disk, clock: Arc<dyn Clock>, path: &Path) -> Result<Self, ArchiveError> {
        let file = if disk.exists(path).map_err(ArchiveError::file(path))? {
            disk.open(path)
        } else {
            let dir = path.parent().unwrap_or(Path::new("."));
            disk.create(path).and_then(|file| disk.sync_dir(dir).map(|()| file))
        };
        let file = file.map_err(ArchiveError::file(path))?;
        let state = last_line(&*file).map_err(ArchiveError::file(path))?;
        Ok(Self { clock, path: path.into(), file, state: Mutex::new(state) })
    }

    /// Records that the archiver itself does `what`, with its particulars.
    pub fn record(&self, what: &str, particulars: &Value) -> Result<(), ArchiveError> {
        self.record_by(&By::archiver(), what, particulars, None)
    }

    /// Records that somebody does `what`, or why it was refused to them.
    pub fn record_by(
        &self,
        by: &By,
        what: &str,
        particulars: &Value,
        refused: Option<&str>,
    ) -> Result<(), ArchiveError> {
        let mut state = self.lock();
        let written = self.write(&mut state, by, what, particulars, refused);
        state.failed = written.is_err();
        written.map_err(ArchiveError::file(&self.path))
    }

    fn write(
        &self,
        state: &mut State,
        by: &By,
        what: &str,
        particulars: &Value,
        refused: Option<&str>,
    ) -> std::io::Result<()> {
        if state.failed {
            self.file.set_len(state.end)?;
        }
        let sequence = state.sequence + 1;
        let line = Line {
            sequence,
            time: self.clock.wall().rfc3339(),
            by: by.clone(),
            what: what.to_owned(),
            particulars: particulars::kept(particulars),
            refused: refused.map(|why| why.chars().take(REFUSED_CHARS_MAX).collect()),
            previous: state.last,
        };
        let line = serde_json::to_vec(&line)?;
        self.file.write_all_at(&[&line, b"\n"], state.end)?;
        self.file.sync_data()?;
        state.end += line.len() as u64 + 1;
        state.sequence = sequence;
        state.last = sha256(&line);
        Ok(())
    }

    /// Lines older than `before`, or the newest, newest first, at most `limit`. One that is no line any more shows as such.
    ///
    /// Lines are numbered from the end of the log on: one whose own number is another one, or that has none, has its `place`
    /// beside it, which is what `before` means.
    pub(crate) fn lines(&self, before: Option<u64>, limit: usize) -> Result<Vec<Value>, ArchiveError> {
        let (end, mut place) = {
            let state = self.lock();
            (state.end, state.sequence)
        };
        let mut found = Vec::new();
        let mut take = |line: &[u8]| {
            if before.is_none_or(|before| place < before) {
                let read = serde_json::from_slice(line).ok().filter(Value::is_object);
                let mut shown =
                    read.unwrap_or_else(|| json!({ "unreadable": String::from_utf8_lossy(line) }));
                if shown["sequence"] != place {
                    shown["place"] = place.into();
                }
                found.push(shown);
            }
            place = place.saturating_sub(1);
            found.len() < limit
        };
        if limit > 0 {
            backwards(&*self.file, end, &mut take).map_err(ArchiveError::file(&self.path))?;
        }
        Ok(found)
    }

    /// Reads all of it and checks the chain. `None` when `watch` ended that.
    pub(crate) fn verify(&self, watch: Watch<'_>) -> Result<Option<Chain>, ArchiveError> {
        let end = self.lock().end;
        let mut chain = Chain { lines: 0, last: Digest([0; 32]), broken: None };
        let mut take = |line: &[u8]| {
            let number = chain.lines + 1;
            let good = serde_json::from_slice::<Line>(line)
                .is_ok_and(|line| line.sequence == number && line.previous == chain.last);
            if !good {
                let said = || format!("the chain of the audit log breaks at line {number}");
                chain.broken.get_or_insert_with(said);
            }
            chain.lines = number;
            chain.last = sha256(line);
        };
        let mut goes_on = |offset| !watch("reading the audit log", offset, Some(end));
        let whole = forwards(&*self.file, end, &mut take, &mut goes_on);
        Ok(whole.map_err(ArchiveError::file(&self.path))?.then_some(chain))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn endless() -> std::io::Error {
    std::io::Error::other("it has a line without end; move it away, and a new one is begun")
}

/// Where the log goes on. What stands behind the last line end was torn by a crash, and so was a last line with zeros in it.
fn last_line(file: &dyn DiskFile) -> std::io::Result<State> {
    let len = file.len()?;
    let mut piece = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(LINE_BYTES_MAX)];
    let from = len - piece.len() as u64;
    file.read_exact_at(&mut piece, from)?;
    let end = match memrchr(b'\n', &piece) {
        Some(at) => from + at as u64 + 1,
        None if from == 0 => 0,
        None => return Err(endless()),
    };
    // A power cut may leave the end of a line on disk and zeros before it. No line that was ever whole has zeros.
    let whole = &piece[..usize::try_from(end - from).unwrap_or(0)];
    let start = memrchr(b'\n', &whole[..whole.len().saturating_sub(1)]).map_or(0, |at| at + 1);
    let end = if memchr(0, &whole[start..]).is_some() { from + start as u64 } else { end };
    let mut state = State { end, sequence: 0, last: Digest([0; 32]), failed: end < len };
    let mut known = end == 0;
    backwards(file, end, &mut |line| {
        state.last = sha256(line);
        if let Ok(line) = serde_json::from_slice::<Line>(line) {
            state.sequence = line.sequence;
            known = true;
        }
        false
    })?;
    if !known {
        // The last line is not as it was written; its number is its place.
        forwards(file, end, &mut |_| state.sequence += 1, &mut |_| true)?;
    }
    Ok(state)
}

/// Hands lines on from the first to the last, as long as `goes_on`. Whether those were all.
fn forwards(
    file: &dyn DiskFile,
    end: u64,
    take: &mut dyn FnMut(&[u8]),
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> std::io::Result<bool> {
    let (mut held, mut offset) = (Vec::new(), 0);
    while offset < end {
        if !goes_on(offset) {
            return Ok(false);
        }
        let room = usize::try_from(end - offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let start = held.len();
        held.resize(start + room, 0);
        file.read_exact_at(&mut held[start..], offset)?;
        offset += room as u64;
        let mut used = 0;
        while let Some(at) = memchr(b'\n', &held[used..]) {
            take(&held[used..used + at]);
            used += at + 1;
        }
        held.drain(..used);
        if held.len() > LINE_BYTES_MAX {
            return Err(endless());
        }
    }
    Ok(true)
}

/// Hands lines on from the last to the first, until `take` has enough.
fn backwards(file: &dyn DiskFile, end: u64, take: &mut dyn FnMut(&[u8]) -> bool) -> std::io::Result<()> {
    let (mut held, mut offset): (Vec<u8>, u64) = (Vec::new(), end);
    while offset > 0 {
        let room = usize::try_from(offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
        offset -= room as u64;
        let mut piece = vec![0; room];
        file.read_exact_at(&mut piece, offset)?;
        piece.append(&mut held);
        // Behind the end of the line before.
        let mut stop = piece.len();
        while let Some(at) = memrchr(b'\n', &piece[..stop - 1]) {
            if !take(&piece[at + 1..stop - 1]) {
                return Ok(());
            }
            stop = at + 1;
        }
        if offset == 0 {
            take(&piece[..stop - 1]);
            return Ok(());
        }
        piece.truncate(stop);
        held = piece;
        if held.len() > LINE_BYTES_MAX {
            return Err(endless());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
