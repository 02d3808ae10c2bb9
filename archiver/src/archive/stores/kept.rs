//! The files of a backup: the list that names them, and how one is copied so that what the list names stays whole.
//!
//! A file that changed is appended to, when the backup has a part of it and the rest is new, or written beside it, as
//! `name~` or, when the list has it there, as `name`. So until another list takes the place of the old one, everything that the old one names is
//! there as it was.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::{Digest, Sha256, sha256};
use postern_shared::disk::{Disk, DiskFile};
use serde::{Deserialize, Serialize};

use super::file::FORMAT;
use crate::archive::ArchiveError;
use crate::archive::store::read_around;

pub(super) const BACKUP_FILE: &str = "backup.json";
pub(super) const PROGRESS_FILE: &str = "backup.unfinished.json";
const WINDOW_BYTES: usize = 1024 * 1024;
const BACKUP_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// `backup.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::archive) struct Backup {
    pub(in crate::archive) format: u32,
    pub(in crate::archive) instance: String,
    pub(in crate::archive) taken: UnixMillis,
    pub(in crate::archive) files: BTreeMap<String, Kept>,
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::archive) struct Kept {
    pub(in crate::archive) bytes: u64,
    pub(in crate::archive) sha256: Digest,
    /// Where its octets lie, when not under its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::archive) at: Option<String>,
    /// Some of the file could not be read, and zeros stand there instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::archive) partial: bool,
}

impl Kept {
    /// Where its octets lie in the backup's directory.
    pub(super) fn place<'k>(&'k self, name: &'k str) -> &'k str {
        self.at.as_deref().unwrap_or(name)
    }

    /// Whether it is there as it was. More may stand behind it.
    pub(super) fn is_whole(&self, disk: &dyn Disk, dir: &Path, name: &str) -> bool {
        self.is_at(disk, &dir.join(self.place(name)))
    }

    /// Whether its octets are in that file.
    pub(super) fn is_at(&self, disk: &dyn Disk, path: &Path) -> bool {
        let Ok(file) = disk.open_read(path) else { return false };
        hash_of(&*file, self.bytes).is_ok_and(|hash| hash.finish() == self.sha256)
    }
}

/// What is to be copied: where it is, how much of it, and whether it can change no more.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) from: From,
    pub(super) bytes: u64,
    pub(super) is_final: bool,
}

#[derive(Debug)]
pub(super) enum From {
    File(PathBuf),
    Octets(Vec<u8>),
}

pub(super) fn read_backup(disk: &dyn Disk, path: &Path) -> Result<Backup, ArchiveError> {
    let bytes = disk.read(path, BACKUP_FILE_BYTES_MAX).map_err(ArchiveError::file(path))?;
    let failed = |reason: String| ArchiveError::File { path: path.into(), reason };
    let backup: Backup = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    if backup.format != FORMAT {
        return Err(failed(format!("backup format {} is not known to this program", backup.format)));
    }
    let is_below = |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    for name in backup.files.iter().flat_map(|(name, kept)| [name.as_str(), kept.place(name)]) {
        if !is_below(name) {
            return Err(failed(format!("{name:?} is no name in a backup")));
        }
    }
    Ok(backup)
}

/// The hash of a file's first octets.
fn hash_of(file: &dyn DiskFile, bytes: u64) -> io::Result<Sha256> {
    let mut hash = Sha256::new();
    let mut window = vec![0; WINDOW_BYTES];
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        file.read_exact_at(&mut window[..len], at)?;
        hash.update(&window[..len]);
        at += len as u64;
    }
    Ok(hash)
}

/// What copying gave.
pub(super) struct Copied {
    pub(super) kept: Kept,
    /// Why some of it could not be read; zeros stand there instead.
    pub(super) unreadable: Option<io::Error>,
}

/// Copies a file into `dir`, where an earlier backup may have it as `before`, which stays as it was.
pub(super) fn copy_beside(
    disk: &dyn Disk,
    source: &Source,
    dir: &Path,
    name: &str,
    before: Option<&Kept>,
) -> Result<Copied, ArchiveError> {
    if let Some(before) = before {
        let same = matches!(&source.from, From::Octets(octets) if sha256(octets) == before.sha256);
        if same && before.is_whole(disk, dir, name) {
            return Ok(Copied { kept: before.clone(), unreadable: None });
        }
        if let Some(kept) = append(disk, source, dir, name, before)? {
            return Ok(Copied { kept, unreadable: None });
        }
    }
    let is_under_its_name = before.is_some_and(|before| before.at.is_none());
    let at = is_under_its_name.then(|| format!("{name}~"));
    let target = dir.join(at.as_deref().unwrap_or(name));
    let copied = copy(disk, source, &target)?;
    Ok(Copied { kept: Kept { at, ..copied.kept }, ..copied })
}

/// Copies what is new behind what the earlier backup has, when all that it has is the beginning of it.
fn append(
    disk: &dyn Disk,
    source: &Source,
    dir: &Path,
    name: &str,
    before: &Kept,
) -> Result<Option<Kept>, ArchiveError> {
    let From::File(path) = &source.from else { return Ok(None) };
    if before.bytes == 0 || before.bytes > source.bytes || !before.is_whole(disk, dir, name) {
        return Ok(None);
    }
    let from = disk.open_read(path).map_err(ArchiveError::file(path))?;
    // What cannot be read is somebody else's trouble: it is copied as far as it can be.
    let Ok(mut hash) = hash_of(&*from, before.bytes) else { return Ok(None) };
    if hash.clone().finish() != before.sha256 {
        return Ok(None);
    }
    let target = dir.join(before.place(name));
    let to = disk.open(&target).map_err(ArchiveError::file(&target))?;
    if copy_range(&*from, &*to, before.bytes..source.bytes, &mut hash, (path, &target))?.is_some() {
        return Ok(None);
    }
    to.sync_data().map_err(ArchiveError::file(&target))?;
    to.drop_cache();
    let sha256 = hash.finish();
    let kept = Kept { bytes: source.bytes, sha256, at: before.at.clone(), partial: false };
    read_back(disk, &target, &kept).map(|()| Some(kept))
}

/// What the earlier backup has, with `records` in it, and behind it what is new: beside the earlier one, which stays as it was.
pub(super) fn merge(
    disk: &dyn Disk,
    source: &Source,
    dir: &Path,
    name: &str,
    before: &Kept,
    records: &[(u64, [u8; 64])],
) -> Result<Kept, ArchiveError> {
    let From::File(path) = &source.from else { return Ok(before.clone()) };
    let at = before.at.is_none().then(|| format!("{name}~"));
    let (first, target) = (dir.join(before.place(name)), dir.join(at.as_deref().unwrap_or(name)));
    let first_part = Source { from: From::File(first), bytes: before.bytes, is_final: false };
    copy(disk, &first_part, &target)?;
    let failed = || ArchiveError::file(&target);
    let to = disk.open(&target).map_err(failed())?;
    for (offset, record) in records {
        to.write_all_at(&[record], *offset).map_err(failed())?;
    }
    let from = disk.open_read(path).map_err(ArchiveError::file(path))?;
    let new = before.bytes..source.bytes;
    let unreadable = copy_range(&*from, &*to, new, &mut Sha256::new(), (path, &target))?;
    to.sync_data().map_err(failed())?;
    to.drop_cache();
    let hash = hash_of(&*disk.open_read(&target).map_err(failed())?, source.bytes).map_err(failed())?;
    Ok(Kept { bytes: source.bytes, sha256: hash.finish(), at, partial: unreadable.is_some() })
}

/// Copies, syncs, and reads again what was written.
pub(super) fn copy(disk: &dyn Disk, source: &Source, target: &Path) -> Result<Copied, ArchiveError> {
    let dir = target.parent().unwrap_or(target);
    disk.create_dir_all(dir).map_err(ArchiveError::file(dir))?;
    if disk.exists(target).map_err(ArchiveError::file(target))? {
        disk.remove(target).map_err(ArchiveError::file(target))?;
    }
    let to = disk.create(target).map_err(ArchiveError::file(target))?;
    let mut hash = Sha256::new();
    let mut unreadable = None;
    match &source.from {
        From::Octets(octets) => {
            hash.update(octets);
            to.write_all_at(&[octets], 0).map_err(ArchiveError::file(target))?;
        }
        From::File(path) => {
            let from = disk.open_read(path).map_err(ArchiveError::file(path))?;
            unreadable = copy_range(&*from, &*to, 0..source.bytes, &mut hash, (path, target))?;
        }
    }
    to.sync_data().and_then(|()| disk.sync_dir(dir)).map_err(ArchiveError::file(target))?;
    to.drop_cache();
    let partial = unreadable.is_some();
    let kept = Kept { bytes: source.bytes, sha256: hash.finish(), at: None, partial };
    read_back(disk, target, &kept)?;
    Ok(Copied { kept, unreadable })
}

fn read_back(disk: &dyn Disk, target: &Path, kept: &Kept) -> Result<(), ArchiveError> {
    match kept.is_at(disk, target) {
        true => Ok(()),
        false => {
            Err(ArchiveError::Backup(format!("{} reads otherwise than it was written", target.display())))
        }
    }
}

fn copy_range(
    from: &dyn DiskFile,
    to: &dyn DiskFile,
    range: std::ops::Range<u64>,
    hash: &mut Sha256,
    (source, target): (&Path, &Path),
) -> Result<Option<io::Error>, ArchiveError> {
    let mut unreadable = None;
    let mut window = vec![0; WINDOW_BYTES];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        let failed = read_around(from, &mut window[..len], at).map_err(ArchiveError::file(source))?;
        unreadable = unreadable.or(failed);
        hash.update(&window[..len]);
        to.write_all_at(&[&window[..len]], at).map_err(ArchiveError::file(target))?;
        at += len as u64;
    }
    Ok(unreadable)
}
