//! The only door to files.
//!
//! Everything that must survive a crash goes through [`Disk`]: the real one, one that fails on demand
//! ([`FaultyDisk`]), and one in memory that loses at a power cut what was not synced ([`SimulatedDisk`]). Offsets are
//! explicit (`pread`/`pwrite`), so a file has no hidden cursor and can be read while it grows.
//!
//! Promises
//! - Files are made readable by their owner only (0600), directories 0700.
//! - [`write_atomic`] leaves the old content or the new one, never a mixture, and returns only once the new
//!   one would survive a power cut.

mod access;
mod atomic;
mod damage;
mod facts;
mod faulty;
mod ownership;
mod probe;
mod real;
pub mod simulated;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use access::{Access, access, give_to_owner_of, program_written};
pub use atomic::write_atomic;
pub use damage::Damage;
pub use facts::{modified_ns, others, resolved};
pub use faulty::{Fault, FaultyDisk, Step};
pub use ownership::{Owner, give, is_root, owner};
pub use probe::write_probe;
pub use real::{RealDisk, read_regular};
pub use simulated::SimulatedDisk;

/// A file system, as far as Postern needs one.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Creates a file that must not exist yet, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// The regular files directly inside `dir`, sorted by name; empty when `dir` does not exist.
    fn files(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// The directories directly inside `dir`, sorted by name; empty when `dir` does not exist.
    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether something exists at `path`.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Creates `dir` and its parents, and makes their entries durable; that of `dir` also when it was there already, for
    /// whoever created it may have died before that.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file; its disappearance is durable only after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all it holds.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Renames within one file system, replacing `to`; durable only after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives the file at `from` the second name `to`, which must not exist; durable only after [`Disk::sync_dir`]. Not every
    /// file system can (`Unsupported`, `PermissionDenied`).
    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes the entries of `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that an unprivileged writer can still put on the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Takes an exclusive lock on the file at `path`, which is created when missing, and writes `note` into it.
    /// `Ok(None)` when another process holds it. The lock ends with the value, also when the process dies.
    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>>;

    /// The whole file, refused with `FileTooLarge` when it is longer than `bytes_max`.
    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = self.open_read(path)?;
        let len = file.len()?;
        if len > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{len} bytes, at most {bytes_max} expected"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buffer.len()` bytes from `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `buffers`, one behind the other, from `offset` on.
    fn write_all_at(&self, buffers: &[&[u8]], offset: u64) -> io::Result<()>;
    /// Makes content and length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Says that what is synced of the file need not stay in memory. A hint: nothing depends on it but speed, and what
    /// else the machine keeps in memory.
    fn drop_cache(&self) {}

    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

/// An exclusive lock; released when dropped.
#[derive(Debug)]
pub struct DiskLock {
    _held: Box<dyn std::any::Any + Send + Sync>,
}

impl DiskLock {
    /// A lock that ends when `held` is dropped.
    fn holding(held: impl std::any::Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}
