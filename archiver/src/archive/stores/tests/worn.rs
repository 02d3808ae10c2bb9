use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::disk::{Disk, DiskFile, DiskLock, SimulatedDisk};

/// A disk of which some sectors cannot be read, and some directories not be written.
#[derive(Debug, Clone)]
pub(super) struct WornDisk {
    pub(super) inner: SimulatedDisk,
    pub(super) unreadable: Vec<(PathBuf, Range<u64>)>,
    pub(super) read_only: Option<PathBuf>,
}

#[derive(Debug)]
struct WornFile {
    inner: Arc<dyn DiskFile>,
    unreadable: Vec<Range<u64>>,
}

/// The disk as stores take it.
pub(super) fn on(disk: &WornDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

impl WornDisk {
    pub(super) fn new(inner: &SimulatedDisk) -> Self {
        Self { inner: inner.clone(), unreadable: Vec::new(), read_only: None }
    }

    /// With a store's files on a medium that cannot be written.
    pub(super) fn with_medium(inner: &SimulatedDisk, store: &Path, medium: &Path) -> Self {
        for below in ["", "packs", "keys", "log"] {
            inner.create_dir_all(&medium.join(below)).unwrap();
            for file in inner.files(&store.join(below)).unwrap() {
                let to = medium.join(below).join(file.file_name().unwrap());
                inner.create(&to).unwrap().write_all_at(&[&inner.read(&file, 1 << 20).unwrap()], 0).unwrap();
            }
        }
        Self { read_only: Some(medium.to_path_buf()), ..Self::new(inner) }
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        match self.read_only.as_ref().is_some_and(|dir| path.starts_with(dir)) {
            true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            false => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let here = self.unreadable.iter().filter(|(file, _)| file == path);
        Arc::new(WornFile { inner, unreadable: here.map(|(_, range)| range.clone()).collect() })
    }
}

impl Disk for WornDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.check(path).and_then(|()| self.inner.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.check(path)?;
        Ok(self.wrap(path, self.inner.open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(path, self.inner.open_read(path)?))
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
        self.check(dir)?;
        self.inner.create_dir_all(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(path).and_then(|()| self.inner.remove(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check(dir).and_then(|()| self.inner.remove_dir_all(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(from).and_then(|()| self.inner.rename(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Some of them say so when they are asked to sync.
        self.check(dir).and_then(|()| self.inner.sync_dir(dir))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_bytes(path)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        self.check(path).and_then(|()| self.inner.lock(path, note))
    }
}

impl DiskFile for WornFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buffer.len() as u64;
        match self.unreadable.iter().any(|bad| bad.start < end && offset < bad.end) {
            // EIO
            true => Err(io::Error::from_raw_os_error(5)),
            false => self.inner.read_at(buffer, offset),
        }
    }

    fn write_all_at(&self, buffers: &[&[u8]], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(buffers, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
}
