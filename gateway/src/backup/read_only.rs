//! A disk that lets rooms open what they would mend, and mends nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::disk::{Disk, DiskFile, DiskLock};

/// Reads go through; cutting, writing into and syncing what is there does nothing and succeeds; new names are refused.
#[derive(Debug)]
pub(super) struct ReadOnly(pub(super) Arc<dyn Disk>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnly {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open_read(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Unwritten(self.0.open_read(path)?)))
    }

    fn files(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.files(dir)
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.dirs(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    /// A directory that is not there lists as empty.
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }

    fn lock(&self, _: &Path, _: &str) -> io::Result<Option<DiskLock>> {
        refused()
    }
}

#[derive(Debug)]
struct Unwritten(Arc<dyn DiskFile>);

impl DiskFile for Unwritten {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_all_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn drop_cache(&self) {
        self.0.drop_cache();
    }
}
