//! Files that are only appended to: what a backup has of one is as good as what the instance has, and better when that differs.
//!
//! Octets that differ are compared by what they are. Of packs the copy is kept that has every whole object of the other; of key tables each
//! record by itself, for a record that is no key any more must not take the place of one that is. One of zeros was destroyed on purpose, and is
//! destroyed in the backup too. What the log said is kept.

use std::collections::BTreeMap;
use std::path::Path;

use postern_shared::disk::{Disk, DiskFile};

use super::kept::{From, Kept, Source, merge};
use crate::archive::ArchiveError;
use crate::archive::store::{is_key_record, is_unreadable, scan_copy};

const FILE_HEADER_BYTES: u64 = 32;
const KEY_RECORD_BYTES: usize = 64;
const WINDOW_BYTES: usize = 1 << 20;

/// What is kept of a file whose octets are worse than those that the backup has, and why; `None` when it is to be copied as it is.
pub(super) fn keep_first(
    disk: &dyn Disk,
    source: &Source,
    dir: &Path,
    name: &str,
    before: &Kept,
) -> Result<Option<(Kept, String)>, ArchiveError> {
    let From::File(path) = &source.from else { return Ok(None) };
    let is_appended = ["/packs/", "/keys/", "/log/"].iter().any(|below| name.contains(below));
    if !is_appended || before.partial || before.bytes == 0 || before.bytes > source.bytes {
        return Ok(None);
    }
    let kept = dir.join(before.place(name));
    let (Ok(ours), Ok(theirs)) = (disk.open_read(path), disk.open_read(&kept)) else { return Ok(None) };
    let Some(at) = first_difference(&*ours, &*theirs, before.bytes) else { return Ok(None) };
    if !before.is_whole(disk, dir, name) {
        return Ok(None);
    }
    let failed = ArchiveError::file(path);
    let merged = if name.contains("/keys/") {
        match keys(&*ours, &*theirs, before.bytes).map_err(failed)? {
            (_, 0) => return Ok(None),
            (records, _) => merge(disk, source, dir, name, before, &records)?,
        }
    } else if name.contains("/packs/") && has_all_of(disk, path, source.bytes, &kept, before.bytes)? {
        return Ok(None);
    } else {
        merge(disk, source, dir, name, before, &[])?
    };
    let why = format!(
        "differs from byte {at} on from what the backup has, which was kept: put that back and rebuild, or, when it is the instance that is right, remove {} and back up again",
        kept.display()
    );
    Ok(Some((merged, why)))
}

/// Where two files differ in their first octets. What cannot be read differs.
fn first_difference(ours: &dyn DiskFile, theirs: &dyn DiskFile, bytes: u64) -> Option<u64> {
    let (mut mine, mut other) = (vec![0; WINDOW_BYTES], vec![0; WINDOW_BYTES]);
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        let read = ours.read_exact_at(&mut mine[..len], at);
        if read.and_then(|()| theirs.read_exact_at(&mut other[..len], at)).is_err() {
            return Some(at);
        }
        if mine[..len] != other[..len] {
            let nth = mine[..len].iter().zip(&other[..len]).position(|(mine, other)| mine != other);
            return Some(at + nth.unwrap_or(0) as u64);
        }
        at += len as u64;
    }
    None
}

/// Whether a pack has every whole object that a copy of it has.
fn has_all_of(
    disk: &dyn Disk,
    path: &Path,
    bytes: u64,
    copy: &Path,
    copy_bytes: u64,
) -> Result<bool, ArchiveError> {
    let objects = |path: &Path, bytes: u64| {
        let mut found = BTreeMap::new();
        scan_copy(disk, path, bytes, &mut |header, offset| {
            found.insert(offset, header.number);
            Ok(())
        })
        .map(|()| found)
    };
    let (ours, theirs) = (objects(path, bytes)?, objects(copy, copy_bytes)?);
    Ok(theirs.iter().all(|(offset, number)| ours.get(offset) == Some(number)))
}

/// A record of a key table, and its offset.
type KeyAt = (u64, [u8; KEY_RECORD_BYTES]);

/// Records of a key table that are to be taken from the instance, by offset, of those that the backup has and are other ones; and how many keys
/// the instance lost.
fn keys(ours: &dyn DiskFile, theirs: &dyn DiskFile, bytes: u64) -> std::io::Result<(Vec<KeyAt>, u64)> {
    let (mut records, mut lost) = (Vec::new(), 0);
    let mut at = FILE_HEADER_BYTES;
    while at + KEY_RECORD_BYTES as u64 <= bytes {
        let (mut mine, mut other) = ([0xff; KEY_RECORD_BYTES], [0; KEY_RECORD_BYTES]);
        match ours.read_exact_at(&mut mine, at) {
            Err(error) if is_unreadable(&error) => mine = [0xff; KEY_RECORD_BYTES],
            read => read?,
        }
        theirs.read_exact_at(&mut other, at)?;
        if mine != other {
            match is_key_record(&other) && !is_key_record(&mine) && mine != [0; KEY_RECORD_BYTES] {
                true => lost += 1,
                false => records.push((at, mine)),
            }
        }
        at += KEY_RECORD_BYTES as u64;
    }
    Ok((records, lost))
}
