//! A disk on which an instance in safe mode lies, or a store on media that cannot be written: what is there is read, and only its audit log, its lock and where long works go on
//! are written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::disk::{Disk, DiskFile, DiskLock};

#[derive(Debug)]
pub(super) struct ReadOnlyDisk {
    inner: Arc<dyn Disk>,
    instance: PathBuf,
    why: Why,
}

#[derive(Debug)]
struct ReadOnlyFile(Arc<dyn DiskFile>, Why);

/// Why nothing is written.
#[derive(Debug, Clone, Copy)]
enum Why {
    SafeMode,
    Medium,
}

impl Why {
    fn refused(self) -> io::Error {
        let text = match self {
            Self::SafeMode => {
                "the instance is in safe mode and nothing is written; start it without --safe to change anything"
            }
            Self::Medium => {
                "the store lies on a medium that cannot be written; copy it to another one, detach it and attach the copy to change it"
            }
        };
        io::Error::new(io::ErrorKind::ReadOnlyFilesystem, text)
    }
}

impl ReadOnlyDisk {
    pub(super) fn new(inner: Arc<dyn Disk>, instance: &Path) -> Self {
        Self { inner, instance: instance.into(), why: Why::SafeMode }
    }

    /// For a store on a medium that cannot be written.
    pub(super) fn over(inner: &Arc<dyn Disk>, instance: &Path) -> Arc<dyn Disk> {
        Arc::new(Self { why: Why::Medium, ..Self::new(Arc::clone(inner), instance) })
    }

    fn may_write(&self, path: &Path) -> bool {
        path == self.instance.join("audit.log")
            || path == self.instance.join("lock")
            || path.starts_with(self.instance.join("work"))
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        if self.may_write(path) { Ok(()) } else { Err(self.why.refused()) }
    }
}

impl Disk for ReadOnlyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.check(path)?;
        self.inner.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.may_write(path) { self.inner.open(path) } else { self.open_read(path) }
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ReadOnlyFile(self.inner.open_read(path)?, self.why)))
    }

    fn files(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.files(dir)
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.dirs(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        match self.inner.exists(dir)? {
            true => Ok(()),
            false => self.check(dir).and_then(|()| self.inner.create_dir_all(dir)),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(path)?;
        self.inner.remove(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check(dir)?;
        self.inner.remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.inner.rename(from, to)
    }

    fn link(&self, _from: &Path, to: &Path) -> io::Result<()> {
        self.check(to).and(Err(io::ErrorKind::Unsupported.into()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_bytes(path)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        self.check(path)?;
        self.inner.lock(path, note)
    }
}

impl DiskFile for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_all_at(&self, _buffers: &[&[u8]], _offset: u64) -> io::Result<()> {
        Err(self.1.refused())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(self.1.refused())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(self.1.refused())
    }
}
