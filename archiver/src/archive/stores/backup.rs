//! Backups: a directory with every file that cannot be made again, and `backup.json`, which names each with length and SHA-256.
//!
//! Consistent while archiving goes on: how long each file is counts from one moment at which no commit was under way, and
//! everything before that never changes. Each file is read again behind its writing. What lies in the directory of an earlier backup is used
//! again when it is still what it was; a backup that was ended goes on. The key file is not in it: whoever finds the backup reads no
//! mail, and who restores it needs the key file, the passphrase or the recovery key.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::{Digest, Sha256};
use postern_shared::disk::Disk;
use serde::{Deserialize, Serialize};

use super::Watch;
use super::file::{FORMAT, StoresFile};
use super::set::Stores;
use crate::archive::ArchiveError;
use crate::archive::files::write_json;

const BACKUP_FILE: &str = "backup.json";
const PROGRESS_FILE: &str = "backup.unfinished.json";
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::archive) struct Kept {
    pub(in crate::archive) bytes: u64,
    pub(in crate::archive) sha256: Digest,
}

/// What is to be copied: where it is, how much of it, and whether it can change no more.
struct Source {
    from: From,
    bytes: u64,
    is_final: bool,
}

enum From {
    File(PathBuf),
    Octets(Vec<u8>),
}

impl Stores {
    /// Backs everything up into `to` on `disk`; `None` when it was ended before its time.
    pub(in crate::archive) fn backup(
        &self,
        disk: &dyn Disk,
        instance: &str,
        to: &Path,
        watch: Watch<'_>,
    ) -> Result<Option<Backup>, ArchiveError> {
        disk.create_dir_all(to).map_err(ArchiveError::file(to))?;
        let earlier = earlier(disk, to, instance)?;
        let sources = self.sources()?;
        let total = sources.values().map(|source| source.bytes).sum();
        let mut backup = Backup {
            format: FORMAT,
            instance: instance.into(),
            taken: self.clock.wall(),
            files: BTreeMap::new(),
        };
        let mut done = 0;
        for (name, source) in sources {
            let target = to.join(&name);
            let kept = match earlier.get(&name) {
                Some(kept)
                    if source.is_final && kept.bytes == source.bytes && is_whole(disk, &target, *kept) =>
                {
                    *kept
                }
                _ => copy(disk, &source, &target)?,
            };
            backup.files.insert(name, kept);
            done += kept.bytes;
            if watch("backing up", done, Some(total)) {
                write_json(disk, &to.join(PROGRESS_FILE), &backup)?;
                return Ok(None);
            }
        }
        write_json(disk, &to.join(BACKUP_FILE), &backup)?;
        let left = to.join(PROGRESS_FILE);
        if disk.exists(&left).map_err(ArchiveError::file(&left))? {
            disk.remove(&left).map_err(ArchiveError::file(&left))?;
        }
        remove_others(disk, to, &backup)?;
        Ok(Some(backup))
    }

    /// Everything that cannot be made again, as it is at one moment.
    fn sources(&self) -> Result<BTreeMap<String, Source>, ArchiveError> {
        let mut sources = BTreeMap::new();
        let open = self.open_stores();
        // No commit is under way while lengths are read.
        let held: Vec<_> = open.iter().map(|attached| attached.store.writing()).collect();
        let mut file = StoresFile::read(&*self.disk, &self.dir)?;
        for entry in &mut file.stores {
            let dir = self.dir_of(entry);
            let below = format!("stores/{}", entry.id);
            self.add_file(&mut sources, &dir, &below, "store.json", false)?;
            self.add_dir(&mut sources, &dir.join("packs"), &format!("{below}/packs"), true)?;
            self.add_dir(&mut sources, &dir.join("keys"), &format!("{below}/keys"), false)?;
            self.add_dir(&mut sources, &dir.join("log"), &format!("{below}/log"), false)?;
            entry.dir = None;
        }
        let json = serde_json::to_vec_pretty(&file).unwrap_or_default();
        let bytes = json.len() as u64;
        sources.insert("stores.json".into(), Source { from: From::Octets(json), bytes, is_final: false });
        for name in ["instance.json", "keys.json", "users.json", "audit.log"] {
            self.add_file(&mut sources, &self.dir, "", name, false)?;
        }
        self.add_dir(&mut sources, &self.dir.join("profiles"), "profiles", false)?;
        self.add_dir(&mut sources, &self.dir.join("jobs"), "jobs", false)?;
        drop(held);
        Ok(sources)
    }

    /// The files in `dir`; all but the last of them can change no more when `closed`.
    fn add_dir(
        &self,
        sources: &mut BTreeMap<String, Source>,
        dir: &Path,
        below: &str,
        closed: bool,
    ) -> Result<(), ArchiveError> {
        let files = self.disk.files(dir).map_err(ArchiveError::file(dir))?;
        let last = files.len().saturating_sub(1);
        for (number, path) in files.iter().enumerate() {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let is_ours = !name.ends_with(".tmp") && !name.ends_with(".waiting");
            if is_ours {
                self.add_file(sources, dir, below, name, closed && number < last)?;
            }
        }
        Ok(())
    }

    fn add_file(
        &self,
        sources: &mut BTreeMap<String, Source>,
        dir: &Path,
        below: &str,
        name: &str,
        is_final: bool,
    ) -> Result<(), ArchiveError> {
        let path = dir.join(name);
        if !self.disk.exists(&path).map_err(ArchiveError::file(&path))? {
            return Ok(());
        }
        let file = self.disk.open_read(&path).map_err(ArchiveError::file(&path))?;
        let bytes = file.len().map_err(ArchiveError::file(&path))?;
        let name = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        sources.insert(name, Source { from: From::File(path), bytes, is_final });
        Ok(())
    }
}

/// What an earlier backup, or one that was ended, has in `dir`.
fn earlier(disk: &dyn Disk, dir: &Path, instance: &str) -> Result<BTreeMap<String, Kept>, ArchiveError> {
    let mut files = BTreeMap::new();
    for name in [BACKUP_FILE, PROGRESS_FILE] {
        let path = dir.join(name);
        if !disk.exists(&path).map_err(ArchiveError::file(&path))? {
            continue;
        }
        let backup = read_backup(disk, &path)?;
        if backup.instance != instance {
            let other = backup.instance;
            return Err(ArchiveError::Backup(format!("{} holds one of instance {other:?}", dir.display())));
        }
        files.extend(backup.files);
    }
    Ok(files)
}

fn read_backup(disk: &dyn Disk, path: &Path) -> Result<Backup, ArchiveError> {
    let bytes = disk.read(path, BACKUP_FILE_BYTES_MAX).map_err(ArchiveError::file(path))?;
    let failed = |reason: String| ArchiveError::File { path: path.into(), reason };
    let backup: Backup = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    if backup.format != FORMAT {
        return Err(failed(format!("backup format {} is not known to this program", backup.format)));
    }
    let is_below =
        |name: &String| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    match backup.files.keys().find(|name| !is_below(name)) {
        Some(name) => Err(failed(format!("{name:?} is no name in a backup"))),
        None => Ok(backup),
    }
}

fn is_whole(disk: &dyn Disk, path: &Path, kept: Kept) -> bool {
    hash_of(disk, path, kept.bytes).is_ok_and(|found| found == kept)
}

fn hash_of(disk: &dyn Disk, path: &Path, bytes: u64) -> Result<Kept, ArchiveError> {
    let mut hash = Sha256::new();
    let file = disk.open_read(path).map_err(ArchiveError::file(path))?;
    let mut window = vec![0; WINDOW_BYTES];
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        file.read_exact_at(&mut window[..len], at).map_err(ArchiveError::file(path))?;
        hash.update(&window[..len]);
        at += len as u64;
    }
    Ok(Kept { bytes, sha256: hash.finish() })
}

/// Copies, syncs, and reads again what was written.
fn copy(disk: &dyn Disk, source: &Source, target: &Path) -> Result<Kept, ArchiveError> {
    let dir = target.parent().unwrap_or(target);
    disk.create_dir_all(dir).map_err(ArchiveError::file(dir))?;
    if disk.exists(target).map_err(ArchiveError::file(target))? {
        disk.remove(target).map_err(ArchiveError::file(target))?;
    }
    let to = disk.create(target).map_err(ArchiveError::file(target))?;
    let mut hash = Sha256::new();
    match &source.from {
        From::Octets(octets) => {
            hash.update(octets);
            to.write_all_at(&[octets], 0).map_err(ArchiveError::file(target))?;
        }
        From::File(path) => {
            let from = disk.open_read(path).map_err(ArchiveError::file(path))?;
            let mut window = vec![0; WINDOW_BYTES];
            let mut at = 0;
            while at < source.bytes {
                let len = usize::try_from(source.bytes - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
                from.read_exact_at(&mut window[..len], at).map_err(ArchiveError::file(path))?;
                hash.update(&window[..len]);
                to.write_all_at(&[&window[..len]], at).map_err(ArchiveError::file(target))?;
                at += len as u64;
            }
        }
    }
    to.sync_data().and_then(|()| disk.sync_dir(dir)).map_err(ArchiveError::file(target))?;
    to.drop_cache();
    let kept = Kept { bytes: source.bytes, sha256: hash.finish() };
    if is_whole(disk, target, kept) {
        return Ok(kept);
    }
    Err(ArchiveError::Backup(format!("{} reads otherwise than it was written", target.display())))
}

/// Removes files of an earlier backup that are no part of this one.
fn remove_others(disk: &dyn Disk, dir: &Path, backup: &Backup) -> Result<(), ArchiveError> {
    let stores = dir.join("stores");
    for store in disk.dirs(&stores).map_err(ArchiveError::file(&stores))? {
        for below in disk.dirs(&store).map_err(ArchiveError::file(&store))? {
            for path in disk.files(&below).map_err(ArchiveError::file(&below))? {
                let name = path.strip_prefix(dir).ok().and_then(Path::to_str);
                if name.is_some_and(|name| !backup.files.contains_key(name)) {
                    disk.remove(&path).map_err(ArchiveError::file(&path))?;
                }
            }
        }
    }
    Ok(())
}

/// Copies a backup to where an instance shall be, checking every file; `instance.json`, which makes it one, comes last. `false`
/// when it was ended before its time; it goes on the next time.
pub(in crate::archive) fn restore(
    disk: &dyn Disk,
    from: &Path,
    instance: &Path,
    watch: Watch<'_>,
) -> Result<bool, ArchiveError> {
    let backup = read_backup(disk, &from.join(BACKUP_FILE))?;
    let total = backup.files.values().map(|kept| kept.bytes).sum();
    let mut done = 0;
    let last = "instance.json";
    let mut names: Vec<&String> = backup.files.keys().filter(|name| *name != last).collect();
    let instance_file = backup.files.get_key_value(last);
    let (instance_file, _) =
        instance_file.ok_or_else(|| ArchiveError::Backup(format!("it has no {last}")))?;
    names.push(instance_file);
    for name in names {
        let (source, target, kept) = (from.join(name), instance.join(name), backup.files[name]);
        if !is_whole(disk, &target, kept) {
            if !is_whole(disk, &source, kept) {
                let what =
                    format!("{} is not what was backed up: missing, cut short or altered", source.display());
                return Err(ArchiveError::Backup(what));
            }
            copy(disk, &Source { from: From::File(source), bytes: kept.bytes, is_final: true }, &target)?;
        }
        done += kept.bytes;
        if watch("restoring", done, Some(total)) && name != last {
            return Ok(false);
        }
    }
    Ok(true)
}
