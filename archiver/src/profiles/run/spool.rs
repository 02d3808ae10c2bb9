//! A message that is too long to be held, on disk until it is archived.
//!
//! Pieces of 64 KiB, each AES-256-GCM under a key that is in this process alone, bound to its number; the file loses its name as
//! soon as it is open. So a crash leaves nothing that could be read, and nothing to be cleaned up.

use std::io;
use std::path::Path;
use std::sync::Arc;

use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::random;
use postern_shared::disk::{Disk, DiskFile};
use zeroize::Zeroizing;

use crate::archive::Octets;

const PIECE: usize = 64 * 1024;
/// Nonce and tag of a piece.
const SEALED: usize = PIECE + 12 + 16;

/// A message that is being written.
pub(super) struct Spool {
    file: Arc<dyn DiskFile>,
    key: AeadKey,
    pieces: u64,
    rest: Zeroizing<Vec<u8>>,
}

/// A whole one.
pub(super) struct Spooled {
    file: Arc<dyn DiskFile>,
    key: AeadKey,
    /// Octets before it that do not belong to it.
    start: u64,
    /// Where it ends, from the beginning of the file.
    end: u64,
}

impl Spool {
    /// A new one in `dir`.
    pub(super) fn create(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        disk.create_dir_all(dir)?;
        let path = dir.join(format!("pull.{}.tmp", hex::encode(random::<8>())));
        let file = disk.create(&path)?;
        disk.remove(&path)?;
        let key = AeadKey::new(&Zeroizing::new(random::<32>()));
        Ok(Self { file, key, pieces: 0, rest: Zeroizing::new(Vec::with_capacity(PIECE)) })
    }

    pub(super) fn write(&mut self, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            let (now, later) = octets.split_at(octets.len().min(PIECE - self.rest.len()));
            self.rest.extend_from_slice(now);
            octets = later;
            if self.rest.len() == PIECE {
                self.seal()?;
            }
        }
        Ok(())
    }

    fn seal(&mut self) -> io::Result<()> {
        let sealed = self.key.wrap(&self.pieces.to_be_bytes(), &self.rest);
        self.file.write_all_at(&[&sealed], self.pieces * SEALED as u64)?;
        self.pieces += 1;
        self.rest.clear();
        Ok(())
    }

    pub(super) fn end(mut self) -> io::Result<Spooled> {
        let end = self.pieces * PIECE as u64 + self.rest.len() as u64;
        if !self.rest.is_empty() {
            self.seal()?;
        }
        Ok(Spooled { file: self.file, key: self.key, start: 0, end })
    }
}

impl Spooled {
    /// What is behind its first octets.
    pub(super) fn behind(self, octets: u64) -> Self {
        Self { start: self.start.saturating_add(octets).min(self.end), ..self }
    }
}

impl Octets for Spooled {
    fn len(&self) -> u64 {
        self.end - self.start
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.saturating_add(buffer.len() as u64) > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut at, mut left) = (self.start + offset, buffer);
        let mut sealed = vec![0; SEALED];
        while !left.is_empty() {
            let number = at / PIECE as u64;
            let plain_len =
                usize::try_from((self.end - number * PIECE as u64).min(PIECE as u64)).unwrap_or(PIECE);
            let sealed = &mut sealed[..plain_len + SEALED - PIECE];
            self.file.read_exact_at(sealed, number * SEALED as u64)?;
            let piece = self.key.unwrap(&number.to_be_bytes(), sealed);
            let piece = piece.map_err(|_| io::Error::other("a spooled message was altered on disk"))?;
            // Within the piece, so it fits.
            let within = usize::try_from(at % PIECE as u64).unwrap_or(0);
            let found = piece.get(within..).unwrap_or_default();
            let (now, later) = left.split_at_mut(left.len().min(found.len()));
            if now.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            now.copy_from_slice(&found[..now.len()]);
            at += now.len() as u64;
            left = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::RealDisk;

    use super::*;

    /// Goal: what was written comes back from anywhere in it, and lies on disk neither in clear nor under a name.
    #[test]
    fn what_was_spooled_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 77] {
            let octets: Vec<u8> = (0..len).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
            let mut spool = Spool::create(&RealDisk, dir.path()).unwrap();
            assert_eq!(RealDisk.files(dir.path()).unwrap().len(), 0);
            octets.chunks(1000).for_each(|piece| spool.write(piece).unwrap());
            let spooled = spool.end().unwrap();
            assert_eq!(spooled.len(), len as u64);
            for (from, to) in [(0, len), (len / 2, len), (len / 3, len / 2), (len, len)] {
                let mut found = vec![0; to - from];
                spooled.read_exact_at(&mut found, from as u64).unwrap();
                assert!(found == octets[from..to], "{len} {from} {to}");
            }
            assert!(spooled.read_exact_at(&mut [0], len as u64).is_err());
            if len > 100 {
                let mut raw = vec![0; 100];
                spooled.file.read_exact_at(&mut raw, 12).unwrap();
                assert_ne!(raw, octets[..100]);
                let rest = spooled.behind(77);
                let mut found = vec![0; len - 77];
                rest.read_exact_at(&mut found, 0).unwrap();
                assert!(rest.len() == len as u64 - 77 && found == octets[77..]);
                assert!(rest.read_exact_at(&mut [0], rest.len()).is_err());
            }
        }
    }
}
