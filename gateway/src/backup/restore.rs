//! Restoring a backup into an empty data directory.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::data_dir::{self, Holder};
use postern_shared::disk::{Disk, Owner, give, is_root, owner, write_atomic};

use super::check::{self, Contents, finding};
use super::copy::{Target, copy, digest};
use super::manifest::Entry;
use super::source::Source;
use super::{BackupError, RESTORING, Work};

/// What of a backup lies in the data directory, as the manifest names it.
const DATA: &str = "data/";
const LOCK: &str = "postern-gateway.lock";
const CONTROL_SOCKET: &str = "control.sock";

/// A data directory that was restored.
#[derive(Debug)]
pub struct Restored {
    /// What was acknowledged before is in it.
    pub begun: UnixMillis,
    /// The domain of its mailboxes.
    pub email_domain: String,
    /// Files.
    pub files: u64,
    /// Their octets.
    pub bytes: u64,
    /// What a gateway finds in it.
    pub contents: Contents,
}

/// Restores the backup at `place` into `data_dir`, which must be empty or not there. On an error it is so again.
pub fn restore(
    (disk, clock): (&Arc<dyn Disk>, &Arc<dyn Clock>),
    place: &Path,
    data_dir: &Path,
    work: &mut Work<'_>,
) -> Result<Restored, BackupError> {
    let source = Source::open(disk, place)?;
    // Before anything is made there: the lock's file would be.
    refuse_used(&**disk, data_dir)?;
    let lock = data_dir::lock(&**disk, data_dir, "postern-gateway", Holder::Command)?;
    refuse_used(&**disk, data_dir)?;
    let restoring = Restoring { disk, clock, place, source: &source, data_dir };
    restoring.clear()?;
    let mark = data_dir.join(RESTORING);
    let text = b"A backup was being restored here. Run `postern-gateway restore` again.\n";
    write_atomic(&**disk, &mark, text).map_err(BackupError::io("write", &mark))?;
    let contents = match restoring.fill(work) {
        Ok(contents) => contents,
        Err(error) => {
            // What stays keeps a gateway from starting, and goes at the next attempt.
            let _ = restoring.clear().and_then(|()| remove(&**disk, &mark));
            return Err(error);
        }
    };
    restoring.give_away()?;
    remove(&**disk, &mark)?;
    drop(lock);
    let entries = restoring.entries();
    let (files, bytes) = (entries.len() as u64, entries.iter().map(|entry| entry.bytes).sum());
    let (begun, email_domain) = (source.manifest.begun, source.manifest.email_domain.clone());
    Ok(Restored { begun, email_domain, files, bytes, contents })
}

/// Nothing is there but what a restore that was interrupted left, or nobody misses.
fn refuse_used(disk: &dyn Disk, data_dir: &Path) -> Result<(), BackupError> {
    let list = || BackupError::io("list", data_dir);
    let files = disk.files(data_dir).map_err(list())?;
    let is = |path: &PathBuf, names: &[&str]| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| names.contains(&name))
    };
    if files.iter().any(|path| is(path, &[RESTORING])) {
        return Ok(());
    }
    let has_files = files.iter().any(|path| !is(path, &[LOCK, CONTROL_SOCKET]));
    let dirs = disk.dirs(data_dir).map_err(list())?;
    if has_files || dirs.iter().any(|path| !is(path, &["lost+found"])) {
        // Whoever runs on it is worth telling of first.
        if disk.exists(&data_dir.join(LOCK)).map_err(list())? {
            data_dir::lock(disk, data_dir, "postern-gateway", Holder::Command).map(drop)?;
        }
        return Err(BackupError::NotEmpty(data_dir.into()));
    }
    Ok(())
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), BackupError> {
    let removed = disk.remove(path).and_then(|()| disk.sync_dir(path.parent().unwrap_or(path)));
    removed.map_err(BackupError::io("remove", path))
}

struct Restoring<'r> {
    disk: &'r Arc<dyn Disk>,
    clock: &'r Arc<dyn Clock>,
    place: &'r Path,
    source: &'r Source,
    data_dir: &'r Path,
}

impl Restoring<'_> {
    /// Removes what an interrupted restore left, but for its mark.
    fn clear(&self) -> Result<(), BackupError> {
        let cleared = || {
            for dir in self.disk.dirs(self.data_dir)? {
                if dir.file_name().is_none_or(|name| name != "lost+found") {
                    self.disk.remove_dir_all(&dir)?;
                }
            }
            for file in self.disk.files(self.data_dir)? {
                if file.file_name().is_none_or(|name| name != RESTORING && name != LOCK) {
                    self.disk.remove(&file)?;
                }
            }
            io::Result::Ok(())
        };
        cleared().map_err(BackupError::io("clear", self.data_dir))
    }

    /// What belongs into the data directory, and where.
    fn entries(&self) -> Vec<&Entry> {
        let files = self.source.manifest.files.iter();
        files.filter(|entry| entry.path.as_str().starts_with(DATA)).collect()
    }

    fn target(&self, entry: &Entry) -> PathBuf {
        let path = entry.path.as_str();
        self.data_dir.join(path.strip_prefix(DATA).unwrap_or(path))
    }

    fn fill(&self, work: &mut Work<'_>) -> Result<Contents, BackupError> {
        let entries = self.entries();
        let needed = entries.iter().map(|entry| entry.bytes).sum();
        let free = self.disk.free_bytes(self.data_dir).map_err(BackupError::io("look at", self.data_dir))?;
        if free < needed {
            return Err(BackupError::Full { place: self.data_dir.into(), needed, free });
        }
        work.begin("restoring", needed);
        let (mut findings, mut dirs) = (Vec::new(), BTreeSet::from([self.data_dir.to_path_buf()]));
        for entry in &entries {
            let found = match findings.is_empty() {
                true => self.copy(entry, &mut dirs, work)?,
                // It will not do, but all of what is wrong is worth knowing.
                false => finding(&*self.source.disk, &self.source.root, entry, work)?,
            };
            findings.extend(found);
        }
        if !findings.is_empty() {
            let place = self.place.to_path_buf();
            let advice = format!(
                "Nothing was restored. Take another backup; when there is none, copy {} to {} by hand: the gateway tells \
                 what is damaged and serves the rest",
                self.source.root.join("data").display(),
                self.data_dir.display()
            );
            return Err(BackupError::Damaged { place, findings, advice });
        }
        for dir in &dirs {
            self.disk.sync_dir(dir).map_err(BackupError::io("write", dir))?;
        }
        work.begin("reading back", needed);
        for entry in &entries {
            let path = self.target(entry);
            if digest(&**self.disk, &path, work)? != (entry.bytes, entry.sha256) {
                return Err(BackupError::ReadBack(path));
            }
        }
        check::open(self.disk, self.clock, self.data_dir, &self.source.manifest.email_domain)
    }

    /// Copies a file; what is wrong with it in the backup.
    fn copy(
        &self,
        entry: &Entry,
        dirs: &mut BTreeSet<PathBuf>,
        work: &mut Work<'_>,
    ) -> Result<Option<String>, BackupError> {
        let (from, to) = (entry.path.below(&self.source.root), self.target(entry));
        let Ok(file) = self.source.disk.open_read(&from) else {
            return finding(&*self.source.disk, &self.source.root, entry, work);
        };
        let dir = to.parent().unwrap_or(&to);
        if dirs.insert(dir.to_path_buf()) {
            self.disk.create_dir_all(dir).map_err(BackupError::io("create", dir))?;
        }
        let made = self.disk.create(&to).map_err(BackupError::io("create", &to))?;
        let target = Target { file: &*made, path: &to, offset: 0 };
        let copied = match copy((&*file, &from), u64::MAX, &target, work) {
            Err(BackupError::Io { doing: "read", .. }) => None,
            copied => Some(copied?),
        };
        made.sync_data().map_err(BackupError::io("write", &to))?;
        if copied == Some((entry.bytes, entry.sha256)) {
            return Ok(None);
        }
        finding(&*self.source.disk, &self.source.root, entry, work)
    }

    /// Root restores for whoever the directory belongs to.
    fn give_away(&self) -> Result<(), BackupError> {
        let ours = owner(self.data_dir).map_err(BackupError::io("look at", self.data_dir))?;
        if !is_root() || ours.user == 0 {
            return Ok(());
        }
        self.give_below(self.data_dir, ours).map_err(BackupError::io("give away files in", self.data_dir))
    }

    fn give_below(&self, dir: &Path, to: Owner) -> io::Result<()> {
        let (files, dirs) = (self.disk.files(dir)?, self.disk.dirs(dir)?);
        files.iter().chain(&dirs).try_for_each(|path| give(path, to))?;
        dirs.iter().try_for_each(|dir| self.give_below(dir, to))
    }
}
