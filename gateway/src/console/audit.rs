//! The audit log: every action that changes something, who did it, when, from where. Never a secret.
//!
//! `console/audit.jsonl`, appended and synced, a JSON object a line:
//!
//! ```text
//! {"sequence":1,"at":1800000000000,"who":"admin","how":"session","from":"192.0.2.1","action":"mailbox.create",
//!  "target":"mbx-…","detail":"…","previous":"<SHA-256 of the line before, its end not included; 64 zeros of the first>"}
//! ```
//!
//! A line that is altered, inserted or taken out breaks the chain behind it; that the last lines were cut off shows by
//! the last sequence and digest, which are worth noting elsewhere (the API tells both).
//!
//! When a line cannot be written the action has been done and stands in the program's log instead, and no further one
//! is done until a line can be written again ([`Audit::check`]).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::disk::{Disk, DiskFile};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Lines kept in memory, to be searched.
const ENTRIES_MAX: usize = 20_000;
const LINE_BYTES_MAX: usize = 16 * 1024;
const PIECE_BYTES: usize = 256 * 1024;

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Counts from 1.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub at: UnixMillis,
    /// The administrator.
    pub who: String,
    /// `session`, `token <id>`, `sign-in` or `command line`.
    pub how: String,
    /// The address it came from.
    pub from: String,
    /// What was done, like `mailbox.create`.
    pub action: String,
    /// To what.
    pub target: String,
    /// How, in words or as names and values.
    pub detail: String,
    /// SHA-256 of the line before.
    #[schema(value_type = String)]
    pub previous: Digest,
}

/// What is to be recorded.
#[derive(Debug, Clone, Default)]
pub struct Action {
    /// The administrator.
    pub who: String,
    /// By what means.
    pub how: String,
    /// From where.
    pub from: String,
    /// What was done.
    pub action: &'static str,
    /// To what.
    pub target: String,
    /// How.
    pub detail: String,
}

/// Whether the log is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Chain {
    /// How many lines it has.
    pub lines: u64,
    /// SHA-256 of the last line.
    #[schema(value_type = String)]
    pub last: Digest,
    /// What is wrong with it; nothing when all lines are as they were written.
    pub broken: Option<String>,
}

/// The audit log.
#[derive(Debug)]
pub struct Audit {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: Option<Arc<dyn DiskFile>>,
    len: u64,
    sequence: u64,
    last: Digest,
    broken: Option<String>,
    /// The last line could not be written.
    failed: bool,
    /// What is there cannot be read, so nothing is put behind it.
    unreadable: bool,
    entries: VecDeque<AuditEntry>,
}

impl State {
    fn empty() -> Self {
        Self {
            file: None,
            len: 0,
            sequence: 0,
            last: Digest([0; 32]),
            broken: None,
            failed: false,
            unreadable: false,
            entries: VecDeque::new(),
        }
    }

    /// Takes a line as it was found.
    fn take(&mut self, line: &[u8]) {
        let number = self.sequence + 1;
        match serde_json::from_slice::<AuditEntry>(line) {
            Ok(entry) => {
                if entry.sequence != number || entry.previous != self.last {
                    self.wrong(number);
                }
                self.sequence = entry.sequence;
                self.push(entry);
            }
            Err(_) => {
                self.wrong(number);
                self.sequence = number;
            }
        }
        self.last = sha256(line);
    }

    fn wrong(&mut self, line: u64) {
        self.broken.get_or_insert_with(|| format!("the chain of the audit log breaks at line {line}"));
    }

    fn push(&mut self, entry: AuditEntry) {
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }
}

impl Audit {
    /// Reads the log in `dir` and checks its chain. One that cannot be read is logged; then nothing can be changed.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, dir: &Path) -> Self {
        let path = dir.join("audit.jsonl");
        let state = read(&*disk, &path).unwrap_or_else(|error| State {
            unreadable: true,
            broken: Some(format!("the audit log cannot be read: {error}")),
            ..State::empty()
        });
        if let Some(broken) = &state.broken {
            tracing::error!(path = %path.display(), broken, "the audit log is not as it was written");
        }
        Self { disk, clock, path, state: Mutex::new(state) }
    }

    /// Whether a line can be written; asked before anything is changed.
    pub fn check(&self) -> std::io::Result<()> {
        let mut state = self.lock();
        if state.unreadable {
            let path = self.path.display();
            let advice = "restore it from a backup or move it away, then restart the gateway";
            return Err(std::io::Error::other(format!("the audit log {path} cannot be read; {advice}")));
        }
        if state.failed {
            // What the failed write left is no line.
            let open = self.file(&mut state)?;
            open.set_len(state.len)?;
            open.sync_data()?;
            state.failed = false;
        }
        Ok(())
    }

    /// Writes a line. Blocks for the disk.
    pub fn record(&self, action: Action) {
        let mut state = self.lock();
        let entry = AuditEntry {
            sequence: state.sequence + 1,
            at: self.clock.wall(),
            who: action.who,
            how: action.how,
            from: action.from,
            action: action.action.to_owned(),
            target: action.target,
            detail: action.detail,
            previous: state.last,
        };
        let AuditEntry { who, how, from, target, .. } = &entry;
        tracing::info!(who, how, from, action = entry.action, target, "audit");
        let written = serde_json::to_vec(&entry).map_err(std::io::Error::from).and_then(|line| {
            if state.unreadable || state.failed {
                return Err(std::io::Error::other("an earlier line could not be written"));
            }
            let file = self.file(&mut state)?;
            file.write_all_at(&[&line, b"\n"], state.len)?;
            file.sync_data()?;
            Ok(line)
        });
        match written {
            Ok(line) => {
                state.len += line.len() as u64 + 1;
                state.sequence = entry.sequence;
                state.last = sha256(&line);
                state.push(entry);
            }
            Err(error) => {
                state.failed = true;
                tracing::error!(?entry, %error, "the audit log could not be written; no further change is made");
            }
        }
    }

    /// Lines that `which` is true of, the newest first, older than `before`, at most `limit`.
    pub fn search(
        &self,
        before: Option<u64>,
        limit: usize,
        which: impl Fn(&AuditEntry) -> bool,
    ) -> Vec<AuditEntry> {
        let state = self.lock();
        let is_older = |entry: &&AuditEntry| before.is_none_or(|before| entry.sequence < before);
        let older = state.entries.iter().rev().filter(is_older);
        older.filter(|entry| which(entry)).take(limit).cloned().collect()
    }

    /// Whether the log is whole.
    pub fn chain(&self) -> Chain {
        let state = self.lock();
        Chain { lines: state.sequence, last: state.last, broken: state.broken.clone() }
    }

    fn file(&self, state: &mut State) -> std::io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = &state.file {
            return Ok(Arc::clone(file));
        }
        let file = if self.disk.exists(&self.path)? {
            self.disk.open(&self.path)?
        } else {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            self.disk.create_dir_all(dir)?;
            let file = self.disk.create(&self.path)?;
            self.disk.sync_dir(dir)?;
            file
        };
        state.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the log piece by piece. A last line without its end was torn by a crash, and is cut off.
fn read(disk: &dyn Disk, path: &Path) -> std::io::Result<State> {
    let mut state = State::empty();
    if !disk.exists(path)? {
        return Ok(state);
    }
    let file = disk.open(path)?;
    let (mut held, mut offset, mut piece) = (Vec::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let read = file.read_at(&mut piece, offset)?;
        if read == 0 {
            break;
        }
        offset += read as u64;
        held.extend_from_slice(&piece[..read]);
        let mut used = 0;
        while let Some(end) = memchr::memchr(b'\n', &held[used..]) {
            state.take(&held[used..used + end]);
            used += end + 1;
        }
        state.len += used as u64;
        held.drain(..used);
        if held.len() > LINE_BYTES_MAX + PIECE_BYTES {
            return Err(std::io::Error::other("it has a line without end"));
        }
    }
    if !held.is_empty() {
        file.set_len(state.len)?;
    }
    state.file = Some(file);
    Ok(state)
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::ManualClock;
    use postern_shared::disk::{Fault, FaultyDisk, RealDisk, Step, write_atomic};

    use super::*;

    fn open(disk: Arc<dyn Disk>, dir: &Path) -> Audit {
        Audit::open(disk, Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000))), dir)
    }

    fn act(audit: &Audit, target: &str) {
        audit.record(Action {
            who: "anna".into(),
            action: "mailbox.edit",
            target: target.into(),
            ..Action::default()
        });
    }

    fn text(dir: &Path) -> String {
        String::from_utf8(RealDisk.read(&dir.join("audit.jsonl"), 100_000).unwrap()).unwrap()
    }

    #[test]
    fn lines_are_chained_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let audit = open(Arc::new(RealDisk), dir.path());
        ["a", "b", "c"].into_iter().for_each(|target| act(&audit, target));
        let again = open(Arc::new(RealDisk), dir.path());
        assert_eq!(again.chain(), audit.chain());
        assert_eq!((again.chain().lines, again.chain().broken), (3, None));
        act(&again, "d");
        let targets = |before| {
            again.search(before, 2, |_| true).into_iter().map(|entry| entry.target).collect::<Vec<_>>()
        };
        assert_eq!((targets(None), targets(Some(2))), (vec!["d".to_owned(), "c".into()], vec!["a".into()]));
    }

    /// Goal: whatever line is altered, taken out or put in, it shows.
    #[test]
    fn tampering_breaks_the_chain() {
        let whole = tempfile::tempdir().unwrap();
        let audit = open(Arc::new(RealDisk), whole.path());
        ["a", "b", "c"].into_iter().for_each(|target| act(&audit, target));
        let lines: Vec<String> = text(whole.path()).lines().map(str::to_owned).collect();
        let broken = |lines: &[String]| {
            let dir = tempfile::tempdir().unwrap();
            let text = lines.join("\n") + "\n";
            write_atomic(&RealDisk, &dir.path().join("audit.jsonl"), text.as_bytes()).unwrap();
            open(Arc::new(RealDisk), dir.path()).chain().broken
        };
        assert_eq!(broken(&lines), None);
        let altered = lines[1].replace("anna", "otto");
        assert!(broken(&[lines[0].clone(), altered, lines[2].clone()]).unwrap().contains("line 3"));
        assert!(broken(&[lines[0].clone(), lines[2].clone()]).unwrap().contains("line 2"));
        assert!(broken(&[lines[0].clone(), "x".into(), lines[1].clone()]).unwrap().contains("line 2"));
    }

    #[test]
    fn a_torn_line_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let audit = open(Arc::new(RealDisk), dir.path());
        act(&audit, "a");
        let torn = text(dir.path()) + "{\"sequence\":2,\"at";
        write_atomic(&RealDisk, &dir.path().join("audit.jsonl"), torn.as_bytes()).unwrap();
        let again = open(Arc::new(RealDisk), dir.path());
        act(&again, "b");
        assert_eq!((again.chain().lines, again.chain().broken), (2, None));
        assert_eq!(open(Arc::new(RealDisk), dir.path()).chain(), again.chain());
    }

    /// Goal: after a line that could not be written nothing is changed until one can be.
    #[test]
    fn a_failed_write_is_told_before_the_next_change() {
        let dir = tempfile::tempdir().unwrap();
        let fault = Fault::nth(Step::Write, 1, std::io::ErrorKind::StorageFull);
        let audit = open(Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault)), dir.path());
        act(&audit, "a");
        act(&audit, "lost");
        assert_eq!(audit.chain().lines, 1);
        audit.check().unwrap();
        act(&audit, "b");
        assert_eq!(audit.chain().lines, 2);
        assert_eq!(open(Arc::new(RealDisk), dir.path()).chain(), audit.chain());
    }
}
