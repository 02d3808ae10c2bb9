//! One file, octet by octet.

use std::path::Path;

use postern_shared::crypto::digest::{Digest, Sha256};
use postern_shared::disk::{Disk, DiskFile};

use super::{BackupError, Work};

const PIECE_BYTES: usize = 1024 * 1024;

/// Where octets go: a file, from an offset on.
pub(super) struct Target<'t> {
    pub(super) file: &'t dyn DiskFile,
    pub(super) path: &'t Path,
    pub(super) offset: u64,
}

/// Copies up to `limit` octets, fewer when the file is shorter; how many, and their SHA-256.
pub(super) fn copy(
    (from, from_path): (&dyn DiskFile, &Path),
    limit: u64,
    to: &Target<'_>,
    work: &mut Work<'_>,
) -> Result<(u64, Digest), BackupError> {
    read((from, from_path), limit, work, |piece, at| {
        to.file.write_all_at(&[piece], to.offset + at).map_err(BackupError::io("write", to.path))
    })
}

/// The SHA-256 of a file as the disk has it, and its length.
pub(super) fn digest(
    disk: &dyn Disk,
    path: &Path,
    work: &mut Work<'_>,
) -> Result<(u64, Digest), BackupError> {
    let file = disk.open_read(path).map_err(BackupError::io("open", path))?;
    // What memory has of it says nothing of the disk.
    file.drop_cache();
    let read = read((&*file, path), u64::MAX, work, |_, _| Ok(()));
    file.drop_cache();
    read
}

fn read(
    (from, path): (&dyn DiskFile, &Path),
    limit: u64,
    work: &mut Work<'_>,
    mut each: impl FnMut(&[u8], u64) -> Result<(), BackupError>,
) -> Result<(u64, Digest), BackupError> {
    let (mut at, mut hash, mut piece) = (0, Sha256::new(), vec![0; PIECE_BYTES]);
    while at < limit {
        let wanted = usize::try_from(limit - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let got = from.read_at(&mut piece[..wanted], at).map_err(BackupError::io("read", path))?;
        if got == 0 {
            break;
        }
        each(&piece[..got], at)?;
        hash.update(&piece[..got]);
        at += got as u64;
        work.advance(got as u64)?;
    }
    Ok((at, hash.finish()))
}
