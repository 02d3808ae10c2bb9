//! Where a backup is made: a directory that keeps what it has until the new one is whole, or one file.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::crypto::digest::Digest;
use postern_shared::disk::{Disk, DiskFile, DiskLock};

use super::copy::{Target, copy};
use super::manifest::{self, Entry, Manifest, RelativePath};
use super::{BackupError, Work, archive};

pub(super) const CURRENT: &str = "current";
pub(super) const OUTGOING: &str = "outgoing";
pub(super) const PREVIOUS: &str = "previous";
const INCOMING: &str = "incoming";
const LOCK: &str = "postern-backup.lock";
const ARCHIVE_SUFFIX: &str = "tar";

/// A backup being made.
#[derive(Debug)]
pub(super) struct Place {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    kind: Kind,
    _lock: DiskLock,
}

#[derive(Debug)]
enum Kind {
    Directory { made: BTreeSet<PathBuf> },
    Archive { file: Arc<dyn DiskFile>, at: u64 },
}

/// Whether a place of that name is one file.
pub(super) fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == ARCHIVE_SUFFIX)
}

impl Place {
    /// Takes the place for itself, and clears away what was interrupted there.
    pub(super) fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Self, BackupError> {
        let (disk, path) = (Arc::clone(disk), path.to_path_buf());
        if is_archive(&path) {
            return Self::open_archive(disk, path);
        }
        let lock_path = path.join(LOCK);
        let list = || BackupError::io("list", &path);
        let is_ours = disk.exists(&lock_path).map_err(list())?;
        if !is_ours && !is_free(&*disk, &path).map_err(list())? {
            return Err(BackupError::Foreign(path));
        }
        disk.create_dir_all(&path).map_err(BackupError::io("create", &path))?;
        let lock = lock(&*disk, &lock_path)?.ok_or_else(|| BackupError::Busy(path.clone()))?;
        let place = Self { disk, path, kind: Kind::Directory { made: BTreeSet::new() }, _lock: lock };
        place.tidy()?;
        Ok(place)
    }

    /// The lock is on the file that will be renamed, so there is none to be left behind.
    fn open_archive(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self, BackupError> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            disk.create_dir_all(dir).map_err(BackupError::io("create", dir))?;
        }
        if disk.exists(&path).map_err(BackupError::io("look for", &path))? {
            let archive = archive::ArchiveDisk::open(&*disk, &path);
            if archive.map_err(BackupError::io("read", &path))?.is_empty() {
                return Err(BackupError::Foreign(path));
            }
        }
        let part = part_of(&path);
        let lock = lock(&*disk, &part)?.ok_or_else(|| BackupError::Busy(path.clone()))?;
        let file = disk.open(&part).and_then(|file| file.set_len(0).map(|()| file));
        let file = file.map_err(BackupError::io("write", &part))?;
        Ok(Self { disk, path, kind: Kind::Archive { file, at: 0 }, _lock: lock })
    }

    /// After a program that died: what was being made goes, what had lost its name gets it back.
    fn tidy(&self) -> Result<(), BackupError> {
        self.remove(INCOMING)?;
        if !self.has(CURRENT)? {
            for name in [OUTGOING, PREVIOUS] {
                if self.has(name)? {
                    return self.rename(name, CURRENT);
                }
            }
        }
        self.remove(OUTGOING)
    }

    /// The backup that is there, when it can be used.
    pub(super) fn earlier(&self) -> Option<Manifest> {
        match self.kind {
            Kind::Directory { .. } => Manifest::read(&*self.disk, &self.path.join(CURRENT)).ok(),
            Kind::Archive { .. } => None,
        }
    }

    /// Gives a file of the backup that is there to the one being made, when it has its length.
    pub(super) fn take_over(&mut self, entry: &Entry) -> bool {
        let Kind::Directory { made } = &mut self.kind else { return false };
        let from = entry.path.below(&self.path.join(CURRENT));
        let to = entry.path.below(&self.path.join(INCOMING));
        let is_whole = || io::Result::Ok(self.disk.open_read(&from)?.len()? == entry.bytes);
        let mut linked = || {
            make_parent(&*self.disk, &to, made)?;
            self.disk.link(&from, &to)
        };
        is_whole().is_ok_and(|whole| whole) && linked().is_ok()
    }

    /// Copies a file into the backup, and has it on disk.
    pub(super) fn put(
        &mut self,
        from: (&dyn DiskFile, &Path),
        limit: u64,
        to: &RelativePath,
        work: &mut Work<'_>,
    ) -> Result<(u64, Digest), BackupError> {
        match &mut self.kind {
            Kind::Directory { made } => {
                let path = to.below(&self.path.join(INCOMING));
                make_parent(&*self.disk, &path, made).map_err(BackupError::io("create", &path))?;
                let _ = self.disk.remove(&path);
                let file = self.disk.create(&path).map_err(BackupError::io("create", &path))?;
                let copied = copy(from, limit, &Target { file: &*file, path: &path, offset: 0 }, work)?;
                file.sync_data().map_err(BackupError::io("write", &path))?;
                Ok(copied)
            }
            Kind::Archive { file, at } => {
                let path = part_of(&self.path);
                let offset = *at + archive::HEADER_BYTES;
                let target = Target { file: &**file, path: &path, offset };
                let (bytes, sha256) = copy(from, limit, &target, work)?;
                *at = head(&**file, *at, to, bytes).map_err(BackupError::io("write", &path))?;
                Ok((bytes, sha256))
            }
        }
    }

    /// A file that is not wanted after all.
    pub(super) fn drop_file(&self, path: &RelativePath) {
        if let Kind::Directory { .. } = self.kind {
            // Not in the manifest, so not in the backup.
            let _ = self.disk.remove(&path.below(&self.path.join(INCOMING)));
        }
    }

    /// What is there by now, to be read back: the disk, and the directory on it.
    pub(super) fn view(&self) -> Result<(Arc<dyn Disk>, PathBuf), BackupError> {
        match &self.kind {
            Kind::Directory { .. } => Ok((Arc::clone(&self.disk), self.path.join(INCOMING))),
            Kind::Archive { file, .. } => {
                let path = part_of(&self.path);
                file.sync_data().map_err(BackupError::io("write", &path))?;
                let opened = archive::ArchiveDisk::open(&*self.disk, &path);
                Ok((Arc::new(opened.map_err(BackupError::io("read", &path))?), path))
            }
        }
    }

    /// Gives the backup its name; from then on it is the one. Returns the directory in which an earlier one stays, for that
    /// is without damage and this one is not.
    pub(super) fn publish(mut self, manifest: &Manifest) -> Result<Option<PathBuf>, BackupError> {
        match &mut self.kind {
            Kind::Directory { made } => {
                let incoming = self.path.join(INCOMING);
                made.insert(incoming.clone());
                for dir in &*made {
                    self.disk.create_dir_all(dir).map_err(BackupError::io("create", dir))?;
                    self.disk.sync_dir(dir).map_err(BackupError::io("write", dir))?;
                }
                manifest.write(&*self.disk, &incoming)?;
                self.swap(!manifest.damage.is_empty())
            }
            Kind::Archive { file, at } => {
                let part = part_of(&self.path);
                let write = BackupError::io("write", &part);
                let name = RelativePath::try_from(manifest::NAME.to_owned()).map_err(io::Error::other);
                let written = name.and_then(|name| {
                    let bytes = manifest.to_json()?;
                    file.write_all_at(&[&bytes], *at + archive::HEADER_BYTES)?;
                    let end = head(&**file, *at, &name, bytes.len() as u64)?;
                    // Two empty blocks end it.
                    file.set_len(end + 2 * archive::HEADER_BYTES)?;
                    file.sync_data()?;
                    self.disk.rename(&part, &self.path)?;
                    let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
                    self.disk.sync_dir(dir.unwrap_or(Path::new(".")))
                });
                written.map_err(write).map(|()| None)
            }
        }
    }

    fn swap(&self, is_damaged: bool) -> Result<Option<PathBuf>, BackupError> {
        let has_earlier = self.has(CURRENT)?;
        if has_earlier {
            self.rename(CURRENT, OUTGOING)?;
        }
        self.rename(INCOMING, CURRENT)?;
        if !is_damaged {
            self.remove(PREVIOUS)?;
        } else if has_earlier && !self.has(PREVIOUS)? {
            self.rename(OUTGOING, PREVIOUS)?;
        }
        self.remove(OUTGOING)?;
        Ok(self.has(PREVIOUS)?.then(|| self.path.join(PREVIOUS)))
    }

    /// Removes what was made so far.
    pub(super) fn abandon(self) {
        // The next backup removes what stays.
        let _ = match self.kind {
            Kind::Directory { .. } => self.remove(INCOMING),
            Kind::Archive { .. } => {
                let part = part_of(&self.path);
                self.disk.remove(&part).map_err(BackupError::io("remove", &part))
            }
        };
    }

    fn has(&self, name: &str) -> Result<bool, BackupError> {
        let path = self.path.join(name);
        self.disk.exists(&path).map_err(BackupError::io("look for", &path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), BackupError> {
        let from = self.path.join(from);
        let renamed = self.disk.rename(&from, &self.path.join(to));
        renamed.and_then(|()| self.disk.sync_dir(&self.path)).map_err(BackupError::io("rename", &from))
    }

    fn remove(&self, name: &str) -> Result<(), BackupError> {
        if !self.has(name)? {
            return Ok(());
        }
        let path = self.path.join(name);
        self.disk.remove_dir_all(&path).map_err(BackupError::io("remove", &path))
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn lock(disk: &dyn Disk, path: &Path) -> Result<Option<DiskLock>, BackupError> {
    let note = format!("postern-gateway backup, process {}", std::process::id());
    disk.lock(path, &note).map_err(BackupError::io("write", path))
}

/// Nothing is there but what a file system makes itself.
fn is_free(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let made_by_mkfs = |path: &PathBuf| path.file_name().is_some_and(|name| name == "lost+found");
    Ok(disk.files(path)?.is_empty() && disk.dirs(path)?.iter().all(made_by_mkfs))
}

fn make_parent(disk: &dyn Disk, path: &Path, made: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    if !made.contains(dir) {
        disk.create_dir_all(dir)?;
        made.insert(dir.to_path_buf());
    }
    Ok(())
}

/// Writes the header of a file whose content stands behind it; where the next one's begins.
fn head(file: &dyn DiskFile, at: u64, path: &RelativePath, bytes: u64) -> io::Result<u64> {
    file.write_all_at(&[&archive::header(path, bytes, 0)?], at)?;
    let end = at + archive::HEADER_BYTES + archive::padded(bytes);
    // What stands between a file's end and the block's is zero.
    if file.len()? < end {
        file.set_len(end)?;
    }
    Ok(end)
}
