//! A backup as one file: POSIX ustar, as `tar` reads it.
//!
//! Written by offset, so a file's header comes when its length is known; read by offset, so a file in it is a slice of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::disk::{Disk, DiskFile, DiskLock};

use super::manifest::RelativePath;

const BLOCK: u64 = 512;
pub(super) const HEADER_BYTES: u64 = BLOCK;
/// Eleven octal digits.
const SIZE_MAX: u64 = (1 << 33) - 1;

/// Where the header behind a file of that length begins.
pub(super) fn padded(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK) * BLOCK
}

/// The header of a file.
pub(super) fn header(path: &RelativePath, bytes: u64, modified_seconds: u64) -> io::Result<[u8; 512]> {
    let (prefix, name) =
        split(path.as_str()).ok_or_else(|| io::Error::other("its name is too long for tar"))?;
    if bytes > SIZE_MAX {
        return Err(io::Error::other("it is too long for tar: choose a directory instead"));
    }
    let mut out = [0; 512];
    let mut put = |at: usize, text: &[u8]| out[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{bytes:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", modified_seconds.min(SIZE_MAX)).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = out.iter().map(|byte| u32::from(*byte)).sum();
    out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(out)
}

/// A name of at most 100 octets, and what stands before it.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    let mut cuts = path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
    cuts.find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100)
}

/// An archive as a disk that can only be read: its files lie below its own path.
#[derive(Debug)]
pub(super) struct ArchiveDisk {
    file: Arc<dyn DiskFile>,
    files: BTreeMap<PathBuf, (u64, u64)>,
    dirs: BTreeSet<PathBuf>,
}

impl ArchiveDisk {
    /// Reads the headers. What follows a header that is none is left out.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open_read(path)?;
        let (len, mut at) = (file.len()?, 0);
        let (mut files, mut dirs) = (BTreeMap::new(), BTreeSet::from([path.to_path_buf()]));
        while at + BLOCK <= len {
            let mut block = [0; 512];
            file.read_exact_at(&mut block, at)?;
            let Some((name, bytes)) = parse(&block) else { break };
            let file_path = name.below(path);
            let parents = file_path.ancestors().skip(1).take_while(|dir| *dir != path);
            dirs.extend(parents.map(Path::to_path_buf));
            files.insert(file_path, (at + BLOCK, bytes.min(len - at - BLOCK)));
            at += BLOCK + padded(bytes);
        }
        Ok(Self { file, files, dirs })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

fn parse(block: &[u8; 512]) -> Option<(RelativePath, u64)> {
    let text = |from: usize, to: usize| {
        let field = block[from..to].split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(field).ok()
    };
    let octal = |from, to| u64::from_str_radix(text(from, to)?.trim(), 8).ok();
    let blanked =
        block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    let sum: u64 = blanked.map(u64::from).sum();
    if octal(148, 156)? != sum || block[156] != b'0' {
        return None;
    }
    let (prefix, name) = (text(345, 500)?, text(0, 100)?);
    let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    Some((RelativePath::try_from(path).ok()?, octal(124, 136)?))
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ArchiveDisk {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn open(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (offset, bytes) = *self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Slice { file: Arc::clone(&self.file), offset, bytes }))
    }

    fn files(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.files.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.dirs.iter().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.files.contains_key(path) || self.dirs.contains(path))
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
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
        refused()
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(0)
    }

    fn lock(&self, _: &Path, _: &str) -> io::Result<Option<DiskLock>> {
        refused()
    }
}

#[derive(Debug)]
struct Slice {
    file: Arc<dyn DiskFile>,
    offset: u64,
    bytes: u64,
}

impl DiskFile for Slice {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        self.file.read_at(&mut buffer[..wanted], self.offset + offset)
    }

    fn write_all_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelativePath {
        RelativePath::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn headers_are_read_as_written() {
        let long = format!("{}/{}", "d".repeat(150), "f".repeat(100));
        for (name, bytes) in [("data/a", 0), (long.as_str(), SIZE_MAX)] {
            let block = header(&path(name), bytes, 1_700_000_000).unwrap();
            assert_eq!(parse(&block), Some((path(name), bytes)));
            let mut altered = block;
            altered[3] ^= 1;
            assert_eq!(parse(&altered), None);
        }
        assert!(header(&path("a"), SIZE_MAX + 1, 0).is_err());
        assert!(header(&path(&"n".repeat(101)), 1, 0).is_err());
        assert_eq!(parse(&[0; 512]), None);
    }
}
