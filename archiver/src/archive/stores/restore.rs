//! A backup to an instance.
//!
//! `work/restore.json` says that this directory is one being restored, and from which backup: it goes on there, and nowhere else. Where an
//! instance lies, whole or not, nothing is written.

use std::path::Path;

use postern_shared::clock::UnixMillis;
use postern_shared::disk::Disk;
use serde::{Deserialize, Serialize};

use super::Watch;
use super::kept::{BACKUP_FILE, From, Source, copy, read_backup};
use crate::archive::ArchiveError;
use crate::archive::files::{read_json, write_json};

/// Makes an instance of a directory.
const LAST: &str = "instance.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    instance: String,
    taken: UnixMillis,
}

/// Copies a backup to where an instance shall be, checking every file; `instance.json`, which makes it one, comes last. Returns
/// files that are not what was backed up, which are an error unless it is to be done `despite_damage`; `None` when it was ended before
/// its time: it goes on the next time.
pub(in crate::archive) fn restore(
    disk: &dyn Disk,
    from: &Path,
    instance: &Path,
    despite_damage: bool,
    watch: Watch<'_>,
) -> Result<Option<Vec<String>>, ArchiveError> {
    let backup = read_backup(disk, &from.join(BACKUP_FILE))?;
    let mark = Mark { instance: backup.instance.clone(), taken: backup.taken };
    let mark_path = instance.join("work/restore.json");
    begin(disk, instance, &mark_path, &mark)?;
    let total = backup.files.values().map(|kept| kept.bytes).sum();
    let mut done = 0;
    let mut damaged = Vec::new();
    if !backup.files.contains_key(LAST) {
        return Err(ArchiveError::Backup(format!("it has no {LAST}")));
    }
    let names = backup.files.iter().filter(|(name, _)| *name != LAST);
    for (name, kept) in names.chain(backup.files.get_key_value(LAST)) {
        let (source, target) = (from.join(kept.place(name)), instance.join(name));
        if !kept.is_at(disk, &target) {
            let mut bytes = kept.bytes;
            if !kept.is_at(disk, &source) {
                let what =
                    format!("{} is not what was backed up: missing, cut short or altered", source.display());
                let found = disk.open_read(&source).and_then(|file| file.len());
                // Packs, keys and leaves are read past damage; of the others each octet counts.
                let is_readable =
                    name.contains("/packs/") || name.contains("/keys/") || name.contains("/log/");
                if !despite_damage || !is_readable {
                    return Err(ArchiveError::Backup(what));
                }
                damaged.push(what);
                match found {
                    Ok(found) => bytes = bytes.min(found),
                    Err(_) => continue,
                }
            }
            copy(disk, &Source { from: From::File(source), bytes, is_final: true }, &target)?;
        }
        done += kept.bytes;
        if watch("restoring", done, Some(total)) && name != LAST {
            return Ok(None);
        }
    }
    disk.remove(&mark_path).map_err(ArchiveError::file(&mark_path))?;
    Ok(Some(damaged))
}

/// Sees to it that nothing but this restore lies there.
fn begin(disk: &dyn Disk, instance: &Path, path: &Path, mark: &Mark) -> Result<(), ArchiveError> {
    if disk.exists(path).map_err(ArchiveError::file(path))? {
        return match read_json::<Mark>(disk, path)? == *mark {
            true => Ok(()),
            false => Err(ArchiveError::Backup(format!(
                "another backup's restore was begun in {}; remove that directory first",
                instance.display()
            ))),
        };
    }
    if let Some(found) = left_of_an_instance(disk, instance)? {
        return Err(ArchiveError::Backup(format!(
            "{} is there, of an instance that is not whole; move {} away first",
            found,
            instance.display()
        )));
    }
    let work = instance.join("work");
    disk.create_dir_all(&work).map_err(ArchiveError::file(&work))?;
    write_json(disk, path, mark)
}

/// What of an instance lies in a directory that has no `instance.json`.
pub(in crate::archive) fn left_of_an_instance(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<Option<String>, ArchiveError> {
    for name in ["keys.json", "stores.json", "users.json"] {
        if disk.exists(&dir.join(name)).map_err(ArchiveError::file(dir))? {
            return Ok(Some(name.into()));
        }
    }
    let stores = dir.join("stores");
    for store in disk.dirs(&stores).map_err(ArchiveError::file(&stores))? {
        let packs = store.join("packs");
        let has_packs = !disk.files(&packs).map_err(ArchiveError::file(&packs))?.is_empty();
        if has_packs || disk.exists(&store.join("store.json")).map_err(ArchiveError::file(&store))? {
            return Ok(Some(format!("stores/{}", store.file_name().unwrap_or_default().to_string_lossy())));
        }
    }
    Ok(None)
}
