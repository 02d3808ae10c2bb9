//! Octets that need not be in memory: a message to be archived may be longer than what we want to hold of it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use postern_shared::disk::DiskFile;

/// Octets that can be read from anywhere in them.
pub trait Octets: Send + Sync {
    /// How many there are.
    fn len(&self) -> u64;
    /// Fills `buffer` from `offset` on, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// All of them, when they are in memory anyway.
    fn in_memory(&self) -> Option<&[u8]> {
        None
    }
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Octets for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = self.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn in_memory(&self) -> Option<&[u8]> {
        Some(self)
    }
}

impl Octets for Vec<u8> {
    fn len(&self) -> u64 {
        Octets::len(self.as_slice())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        Octets::read_exact_at(self.as_slice(), buffer, offset)
    }

    fn in_memory(&self) -> Option<&[u8]> {
        Some(self)
    }
}

/// A stretch of a file.
#[derive(Debug, Clone)]
pub struct FileOctets {
    file: Arc<dyn DiskFile>,
    range: Range<u64>,
}

impl FileOctets {
    /// What lies in `range` of `file`.
    pub fn new(file: Arc<dyn DiskFile>, range: Range<u64>) -> Self {
        Self { file, range }
    }
}

impl Octets for FileOctets {
    fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.saturating_add(buffer.len() as u64) > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buffer, self.range.start + offset)
    }
}

/// How much is read at a time.
const WINDOW_BYTES: usize = 256 * 1024;

/// Hands `range` of `octets` on, piece by piece.
pub(super) fn for_each_piece<E: From<io::Error>>(
    octets: &dyn Octets,
    range: Range<u64>,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let left = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(WINDOW_BYTES);
    let mut window = vec![0; left.min(WINDOW_BYTES)];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        octets.read_exact_at(&mut window[..len], at)?;
        take(&window[..len])?;
        at += len as u64;
    }
    Ok(())
}
