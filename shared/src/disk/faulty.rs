//! A disk that fails on demand, for tests of what happens next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Disk, DiskFile, DiskLock};

/// The operations at which a fault can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Creating a file.
    Create,
    /// Opening a file.
    Open,
    /// Listing what lies in a directory.
    List,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Syncing a directory.
    SyncDir,
    /// Renaming.
    Rename,
    /// Removing a file.
    Remove,
    /// Cutting or extending a file.
    SetLen,
}

/// When to fail, and how.
#[derive(Debug)]
pub struct Fault {
    step: Step,
    skip: u64,
    times: u64,
    kind: io::ErrorKind,
    seen: AtomicU64,
    free_bytes: Option<u64>,
}

impl Fault {
    /// Fails once, at the `skip`-th (from 0) operation of that kind.
    pub fn nth(step: Step, skip: u64, kind: io::ErrorKind) -> Self {
        Self { step, skip, times: 1, kind, seen: AtomicU64::new(0), free_bytes: None }
    }

    /// Fails at every operation of that kind from the `skip`-th on.
    pub fn from(step: Step, skip: u64, kind: io::ErrorKind) -> Self {
        Self { times: u64::MAX, ..Self::nth(step, skip, kind) }
    }

    /// Never fails, but claims that only `bytes` are free.
    pub fn nearly_full(bytes: u64) -> Self {
        Self { free_bytes: Some(bytes), ..Self::nth(Step::Create, u64::MAX, io::ErrorKind::Other) }
    }

    fn check(&self, step: Step) -> io::Result<()> {
        if step != self.step {
            return Ok(());
        }
        let nth = self.seen.fetch_add(1, Ordering::SeqCst);
        if nth >= self.skip && nth - self.skip < self.times {
            return Err(io::Error::new(self.kind, format!("injected fault at {step:?} {nth}")));
        }
        Ok(())
    }
}

/// Another disk with one [`Fault`] in it.
#[derive(Debug)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    fault: Arc<Fault>,
}

impl FaultyDisk {
    /// `inner`, failing as `fault` says.
    pub fn new(inner: Arc<dyn Disk>, fault: Fault) -> Self {
        Self { inner, fault: Arc::new(fault) }
    }

    /// How many operations of the fault's kind there were.
    pub fn seen(&self) -> u64 {
        self.fault.seen.load(Ordering::SeqCst)
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { inner: file, fault: Arc::clone(&self.fault) })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.fault.check(Step::Create)?;
        Ok(self.wrap(self.inner.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.fault.check(Step::Open)?;
        Ok(self.wrap(self.inner.open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.fault.check(Step::Open)?;
        Ok(self.wrap(self.inner.open_read(path)?))
    }

    fn files(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.fault.check(Step::List)?;
        self.inner.files(dir)
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.fault.check(Step::List)?;
        self.inner.dirs(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fault.check(Step::Remove)?;
        self.inner.remove(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.fault.check(Step::Remove)?;
        self.inner.remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fault.check(Step::Rename)?;
        self.inner.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.link(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fault.check(Step::SyncDir)?;
        self.inner.sync_dir(dir)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.fault.free_bytes.map_or_else(|| self.inner.free_bytes(path), Ok)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        self.inner.lock(path, note)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn DiskFile>,
    fault: Arc<Fault>,
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fault.check(Step::Read)?;
        self.inner.read_at(buffer, offset)
    }

    fn write_all_at(&self, buffers: &[&[u8]], offset: u64) -> io::Result<()> {
        if let Err(error) = self.fault.check(Step::Write) {
            // A failing write may have put part of its bytes on the disk: leave half of the first buffer there.
            if let Some(first) = buffers.first() {
                self.inner.write_all_at(&[&first[..first.len() / 2]], offset)?;
            }
            return Err(error);
        }
        self.inner.write_all_at(buffers, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fault.check(Step::Sync)?;
        self.inner.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fault.check(Step::SetLen)?;
        self.inner.set_len(len)
    }

    fn drop_cache(&self) {
        self.inner.drop_cache();
    }
}
