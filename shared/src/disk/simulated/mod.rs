//! A disk in memory that forgets, at a power cut, what was not synced; for tests.
//!
//! What is written is seen at once, as through a page cache, and is durable only when it was synced:
//!
//! | what | durable after | until then, at a power cut |
//! |---|---|---|
//! | a file's octets | [`DiskFile::sync_data`] of that file | each sector is old, or new, or anything in between |
//! | a file's length | the same | any it had since the last sync, whatever became of its octets; what never arrived is zeros |
//! | an entry (create, rename, remove) | [`Disk::sync_dir`] of its directory | see [`EntryOrder`] |
//!
//! A sector, 512 or 4,096 octets, is written whole or not at all. A sync that fails has lost what it was to write, for
//! good: a later one does not find it again (as Linux has it), although it is still read until the power goes.
//!
//! Every operation that changes or syncs something is counted. So a test can cut the power after each one in turn
//! ([`SimulatedDisk::with_power_until`]), and look at what [`SimulatedDisk::crash`] leaves. One that fails because the
//! power is gone did nothing; what happens to one amid the cut is what can become of it when the cut follows it.
//!
//! Not here: memory of what was read, damage by age (tests flip bits themselves).

mod crash;
mod dice;
mod directory;
mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use dice::Dice;

use super::{Disk, DiskFile, DiskLock, Step};
use directory::Entries;
use file::{Content, SimulatedFile};

/// In which order entries that were not synced reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOrder {
    /// As in a journal (ext4, XFS): a power cut keeps all changes up to some moment, and a rename is whole.
    Journal,
    /// Each name by itself: of a rename, the new name may be there and the old one too, or neither.
    Any,
}

/// The longest file it takes: a wrong offset is an error, not the end of the memory.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// A file's identity, whatever it is called.
type Inode = u64;

#[derive(Debug)]
struct State {
    order: EntryOrder,
    entries: Entries,
    contents: BTreeMap<Inode, Content>,
    locks: Arc<Mutex<HashSet<PathBuf>>>,
    operations: u64,
    power_until: Option<u64>,
    fault: Option<(u64, io::ErrorKind)>,
    read_only: bool,
    bytes_max: Option<u64>,
    /// Decides what a failed sync loses.
    dice: Dice,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(order: EntryOrder) -> Self {
        Self::from_state(State::renewed(order))
    }

    /// The same disk, whose power goes after that many operations since it was made.
    #[must_use]
    pub fn with_power_until(self, operations: u64) -> Self {
        self.state().power_until = Some(operations);
        self
    }

    /// Cuts the power after that many more operations.
    pub fn cut_power_after(&self, operations: u64) {
        let mut state = self.state();
        state.power_until = Some(state.operations + operations);
    }

    /// Whether the power is still there.
    pub fn is_powered(&self) -> bool {
        self.state().is_powered()
    }

    /// How many operations changed or synced something, or tried to.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets the operation after that many more fail, once, whatever it is. A write leaves half of its octets, a sync
    /// loses some of what it was to write.
    pub fn fail_after(&self, operations: u64, kind: io::ErrorKind) {
        let mut state = self.state();
        state.fault = Some((state.operations + operations, kind));
    }

    /// Whether a fault is still waiting for its operation.
    pub fn fault_is_pending(&self) -> bool {
        self.state().fault.is_some()
    }

    /// Refuses all changes, as a file system mounted read-only, or allows them again.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Whether it refuses all changes.
    pub fn is_read_only(&self) -> bool {
        self.state().read_only
    }

    /// Holds no more than so many octets of files.
    pub fn limit_bytes(&self, bytes_max: Option<u64>) {
        self.state().bytes_max = bytes_max;
    }

    /// Octets of all files.
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// A new disk, as this one may be found when the power comes back: what was synced is there; what was not is there,
    /// lost or torn, as `seed` decides. Without faults and limits.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        Self::from_state(crash::after_cut(&self.state(), &mut Dice::new(seed)))
    }

    /// A new disk, as this one is found when only the program died: nothing is lost, and nothing more is synced.
    /// Without faults and limits.
    #[must_use]
    pub fn restart(&self) -> Self {
        let state = self.state();
        Self::from_state(State {
            entries: state.entries.clone(),
            contents: state.contents.clone(),
            dice: state.dice.clone(),
            ..State::renewed(state.order)
        })
    }

    fn from_state(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.check_power()?;
        let inode = state.entries.file(path)?;
        Ok(Arc::new(SimulatedFile::new(Arc::clone(&self.state), inode, path, writable)))
    }
}

impl State {
    fn renewed(order: EntryOrder) -> Self {
        Self {
            order,
            entries: Entries::default(),
            contents: BTreeMap::new(),
            locks: Arc::default(),
            operations: 0,
            power_until: None,
            fault: None,
            read_only: false,
            bytes_max: None,
            dice: Dice::new(0),
        }
    }

    fn is_powered(&self) -> bool {
        self.power_until.is_none_or(|until| self.operations < until)
    }

    fn check_power(&self) -> io::Result<()> {
        if self.is_powered() { Ok(()) } else { Err(io::Error::other("the power is gone")) }
    }

    /// Counts an operation. When it must fail: why, and whether it fails halfway.
    fn begin(&mut self, step: Step, path: &Path) -> Result<(), Stopped> {
        self.check_power().map_err(Stopped::Before)?;
        let operation = self.operations;
        self.operations += 1;
        let only_syncs = matches!(step, Step::Sync | Step::SyncDir);
        if self.read_only && !only_syncs {
            return Err(Stopped::Before(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        match self.fault.take_if(|(at, _)| *at <= operation) {
            Some((_, kind)) => Err(Stopped::Halfway(io::Error::new(
                kind,
                format!("injected fault at operation {operation}, {step:?} of {}", path.display()),
            ))),
            None => Ok(()),
        }
    }

    /// For operations that are done whole or not at all.
    fn begin_whole(&mut self, step: Step, path: &Path) -> io::Result<()> {
        self.begin(step, path).map_err(Stopped::into_error)
    }

    fn used_bytes(&self) -> u64 {
        let bytes = |inode| self.contents.get(&inode).map_or(0, Content::len);
        self.entries.inodes().into_iter().map(bytes).sum()
    }

    fn free_bytes(&self) -> u64 {
        self.bytes_max.map_or(1 << 40, |max| max.saturating_sub(self.used_bytes()))
    }
}

/// Why an operation does not do what it should.
enum Stopped {
    /// Nothing happens.
    Before(io::Error),
    /// Part of it happens.
    Halfway(io::Error),
}

impl Stopped {
    fn into_error(self) -> io::Error {
        match self {
            Self::Before(error) | Self::Halfway(error) => error,
        }
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.begin_whole(Step::Create, path)?;
        let inode = state.contents.last_key_value().map_or(0, |(last, _)| last + 1);
        state.entries.create(path, inode)?;
        state.contents.insert(inode, Content::default());
        Ok(Arc::new(SimulatedFile::new(Arc::clone(&self.state), inode, path, true)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.state().read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.file(path, true)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.file(path, false)
    }

    fn files(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        state.check_power()?;
        Ok(state.entries.files(dir))
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        state.check_power()?;
        Ok(state.entries.dirs(dir))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        state.check_power()?;
        Ok(state.entries.exists(path))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let parent = dir.parent();
        if !self.exists(dir)? {
            if let Some(parent) = parent {
                self.create_dir_all(parent)?;
            }
            let mut state = self.state();
            state.begin_whole(Step::Create, dir)?;
            state.entries.create_dir(dir)?;
        }
        parent.map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Step::Remove, path)?;
        state.entries.remove(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Step::Remove, dir)?;
        state.entries.remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Step::Rename, from)?;
        state.entries.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Step::SyncDir, dir)?;
        let order = state.order;
        state.entries.sync(dir, order)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let state = self.state();
        state.check_power()?;
        Ok(state.free_bytes())
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        let file = if self.exists(path)? { self.open(path)? } else { self.create(path)? };
        let locks = Arc::clone(&self.state().locks);
        if !locks.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_path_buf()) {
            return Ok(None);
        }
        let held = Held { locks, path: path.to_path_buf() };
        file.set_len(0)?;
        file.write_all_at(&[note.as_bytes()], 0)?;
        Ok(Some(DiskLock::holding(held)))
    }
}

/// A lock on a simulated file.
#[derive(Debug)]
struct Held {
    locks: Arc<Mutex<HashSet<PathBuf>>>,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}
