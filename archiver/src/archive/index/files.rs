//! The files of an index, as they are read.
//!
//! | files | how | why |
//! |---|---|---|
//! | terms, columns, lengths | mapped into memory | looked up in here and there, by every search |
//! | postings, positions, what is shown | read | from one end to the other by whoever merges, a stretch at a time by a search |
//!
//! Were all mapped, a merge would have all of what it merges in memory at once, by the kernel's count. Who reads on where they were
//! has the next stretch read along; who wants very much at once gets it mapped, for as long.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use postern_shared::disk::{Disk, DiskFile};
use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::footer::Footer;
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, FileSlice, Lock, MmapDirectory, OwnedBytes, WatchCallback,
    WatchHandle, WritePtr,
};

/// Postings, positions, and what is kept to be shown.
const READ: [&str; 3] = ["idx", "pos", "store"];
/// What is read along.
const STRETCH_BYTES: usize = 64 * 1024;
/// So much at once is mapped.
const MAPPED_BYTES_MIN: usize = 1024 * 1024;
/// What is summed at once.
const PIECE_BYTES: usize = 256 * 1024;

#[derive(Clone)]
pub(super) struct Files {
    mapped: MmapDirectory,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Each is open once.
    open: Arc<Mutex<HashMap<PathBuf, Weak<dyn DiskFile>>>>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Files({})", self.dir.display())
    }
}

impl Files {
    pub(super) fn open(disk: &Arc<dyn Disk>, dir: &Path) -> tantivy::Result<Self> {
        let mapped = MmapDirectory::open(dir)?;
        Ok(Self { mapped, disk: Arc::clone(disk), dir: dir.into(), open: Arc::default() })
    }

    fn file(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(path).and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = self.disk.open_read(&self.dir.join(path))?;
        open.insert(path.into(), Arc::downgrade(&file));
        Ok(file)
    }

    /// Octets of a file.
    pub(super) fn bytes(&self, path: &Path) -> io::Result<u64> {
        self.file(path)?.len()
    }

    fn stretches(&self, path: &Path) -> Result<Stretches, OpenReadError> {
        let opened = self.file(path).and_then(|file| Stretches::new(self.clone(), path, file));
        opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenReadError::FileDoesNotExist(path.into()),
            _ => OpenReadError::wrap_io_error(error, path.into()),
        })
    }

    /// Whether a file has the checksum that is written at its end; reads it piece by piece.
    pub(super) fn is_whole(&self, path: &Path) -> tantivy::Result<bool> {
        let file = FileSlice::new(Arc::new(self.stretches(path)?));
        let (footer, body) = Footer::extract_footer(file)?;
        let mut sum = crc32fast::Hasher::new();
        for start in (0..body.len()).step_by(PIECE_BYTES) {
            let end = body.len().min(start + PIECE_BYTES);
            sum.update(&body.read_bytes_slice(start..end)?);
        }
        Ok(sum.finalize() == footer.crc)
    }
}

impl Directory for Files {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let is_read = path.extension().is_some_and(|name| READ.iter().any(|read| name == *read));
        if is_read { Ok(Arc::new(self.stretches(path)?)) } else { self.mapped.get_file_handle(path) }
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        self.mapped.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.mapped.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        self.mapped.open_write(path)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.mapped.atomic_read(path)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.mapped.atomic_write(path, data)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.mapped.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.mapped.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.mapped.watch(callback)
    }
}

/// A file that is read; whoever opens one has their own.
struct Stretches {
    files: Files,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    len: usize,
    last: Mutex<Last>,
}

/// What was read last.
struct Last {
    start: usize,
    bytes: OwnedBytes,
    /// Where whoever reads was.
    end: usize,
}

impl fmt::Debug for Stretches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stretches({} octets)", self.len)
    }
}

impl Stretches {
    fn new(files: Files, path: &Path, file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let last = Last { start: 0, bytes: OwnedBytes::empty(), end: usize::MAX };
        Ok(Self { files, path: path.into(), file, len, last: Mutex::new(last) })
    }

    /// A file that was merged away has no name any more, and is read on by whoever searches in it still.
    fn mapped(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        match self.files.mapped.get_file_handle(&self.path) {
            Ok(handle) => handle.read_bytes(range),
            Err(OpenReadError::FileDoesNotExist(_)) => self.read(range),
            Err(error) => Err(as_io(error)),
        }
    }

    fn read(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let mut bytes = vec![0; range.len()];
        self.file.read_exact_at(&mut bytes, range.start as u64)?;
        Ok(OwnedBytes::new(bytes))
    }
}

fn as_io(error: OpenReadError) -> io::Error {
    match error {
        OpenReadError::IoError { io_error, .. } => match io_error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(io_error.kind(), io_error.to_string()),
        },
        other => io::Error::other(other),
    }
}

impl HasLen for Stretches {
    fn len(&self) -> usize {
        self.len
    }
}

impl FileHandle for Stretches {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.is_empty() {
            return Ok(OwnedBytes::empty());
        }
        if range.start > range.end || range.end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if range.len() >= MAPPED_BYTES_MIN {
            return self.mapped(range);
        }
        if range.len() >= STRETCH_BYTES {
            return self.read(range);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = last.end <= range.start && range.start - last.end < STRETCH_BYTES;
        last.end = range.end;
        if last.start <= range.start && range.end <= last.start + last.bytes.len() {
            return Ok(last.bytes.slice(range.start - last.start..range.end - last.start));
        }
        if !goes_on {
            // Who reads here and there has no use for it.
            last.bytes = OwnedBytes::empty();
            drop(last);
            return self.read(range);
        }
        let bytes = self.read(range.start..self.len.min(range.start + STRETCH_BYTES))?;
        (last.start, last.bytes) = (range.start, bytes.clone());
        Ok(bytes.slice(0..range.len()))
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::RealDisk;

    use super::*;

    #[test]
    fn every_stretch_is_what_the_file_has_there() {
        let dir = tempfile::tempdir().unwrap();
        let octets: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        postern_shared::disk::write_atomic(&RealDisk, &dir.path().join("a.pos"), &octets).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let files = Files::open(&disk, dir.path()).unwrap();
        let handle = files.get_file_handle(Path::new("a.pos")).unwrap();
        // By turns on and on, back, over an edge, and far away.
        let starts = [0, 10, 20, 65_530, 65_540, 5, 131_000, 131_100, 196_000, 2_999_000, 2_999_500, 200_000];
        for start in starts {
            for bytes in [0, 1, 100, 500, 70_000, 2_000_000] {
                let end = octets.len().min(start + bytes);
                assert_eq!(handle.read_bytes(start..end).unwrap(), octets[start..end], "{start} to {end}");
            }
        }
        assert!(handle.read_bytes(2_999_999..3_000_001).is_err(), "behind its end");
        assert!(files.get_file_handle(Path::new("b.pos")).is_err());
        files.delete(Path::new("a.pos")).unwrap();
        for bytes in [100, 100_000, 2_000_000] {
            assert_eq!(handle.read_bytes(7..7 + bytes).unwrap(), octets[7..7 + bytes], "merged away");
        }
    }
}
