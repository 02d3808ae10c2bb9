//! Making a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::clock::Clock;
use postern_shared::disk::{Disk, DiskFile, modified_ns};

use super::check::{Contents, contents};
use super::copy::digest;
use super::inventory::{self, FIRST, LARGE, SEGMENTS};
use super::manifest::{Entry, Facts, Manifest, RelativePath};
use super::place::{Place, is_archive};
use super::{BackupError, Work};
use crate::spool::settled_bytes;

/// What is to be backed up, and where to.
#[derive(Debug)]
pub struct Plan<'p> {
    /// Where both lie.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The gateway's data directory; a daemon may run on it.
    pub data_dir: &'p Path,
    /// The domain of the gateway's mailboxes: no other gateway's backup is replaced.
    pub email_domain: &'p str,
    /// The configuration file, when there is one.
    pub configuration: Option<&'p Path>,
    /// Where the backup is to be.
    pub to: &'p Path,
}

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    /// Files in it.
    pub files: u64,
    /// Their octets.
    pub bytes: u64,
    /// Octets that were copied; the others were there already.
    pub copied_bytes: u64,
    /// What a gateway would find in it.
    pub contents: Contents,
    /// What was not copied, being neither file nor directory.
    pub left_out: Vec<PathBuf>,
    /// Where an earlier backup was kept, for that has no damage.
    pub kept: Option<PathBuf>,
}

/// Makes a backup. On an error the place is as it was.
pub fn make(plan: &Plan<'_>, work: &mut Work<'_>) -> Result<Made, BackupError> {
    if !plan.disk.exists(plan.data_dir).map_err(BackupError::io("look for", plan.data_dir))? {
        return Err(BackupError::NoData(plan.data_dir.into()));
    }
    refuse_inside(plan)?;
    let place = Place::open(&plan.disk, plan.to)?;
    let earlier = place.earlier();
    if let Some(other) = earlier.as_ref().filter(|earlier| earlier.email_domain != plan.email_domain) {
        let domain = other.email_domain.clone();
        return Err(BackupError::OtherGateway { place: plan.to.into(), domain });
    }
    let known = earlier.into_iter().flat_map(|earlier| earlier.files);
    let earlier = known.map(|entry| (entry.path.clone(), entry)).collect();
    let begun = plan.clock.wall();
    let mut making = Making { plan, place, earlier, made: BTreeMap::new(), copied: Vec::new() };
    match making.copy_all(work).and_then(|()| making.read_back(work)) {
        Ok(contents) => making.publish(begun, contents),
        Err(error) => {
            making.place.abandon();
            Err(error)
        }
    }
}

fn refuse_inside(plan: &Plan<'_>) -> Result<(), BackupError> {
    let inside = || BackupError::Inside(plan.to.into());
    let to = std::path::absolute(plan.to).map_err(BackupError::io("look for", plan.to))?;
    let data = plan.data_dir.canonicalize().map_err(BackupError::io("look for", plan.data_dir))?;
    // What is not there yet has no links in it; what is has.
    let there = to.ancestors().find_map(|dir| dir.canonicalize().ok());
    let is_inside = to.starts_with(plan.data_dir) || there.is_some_and(|there| there.starts_with(&data));
    if is_inside { Err(inside()) } else { Ok(()) }
}

struct Making<'m> {
    plan: &'m Plan<'m>,
    place: Place,
    /// What the backup has that is there.
    earlier: BTreeMap<RelativePath, Entry>,
    made: BTreeMap<RelativePath, Entry>,
    /// What was not there already.
    copied: Vec<RelativePath>,
}

impl Making<'_> {
    fn copy_all(&mut self, work: &mut Work<'_>) -> Result<(), BackupError> {
        let total = self.survey()?;
        work.begin("copying", total);
        for group in FIRST {
            let dir = self.plan.data_dir.join(group);
            if group == SEGMENTS {
                self.segments(&dir, work)?;
            } else {
                self.tree(&dir, &[], group == LARGE, work)?;
            }
        }
        let first = FIRST.map(|group| self.plan.data_dir.join(group));
        self.tree(self.plan.data_dir, &first, false, work)?;
        if let Some(path) = self.plan.configuration {
            let file = self.plan.disk.open_read(path).map_err(BackupError::io("open", path))?;
            let name = path.file_name().unwrap_or_default();
            let to = RelativePath::of(&Path::new("configuration").join(name), Path::new(""))?;
            self.put((&*file, path), u64::MAX, to, None, work)?;
        }
        Ok(())
    }

    /// How much there is to copy, as far as one can know; refuses when there is no room for it.
    fn survey(&self) -> Result<u64, BackupError> {
        let mut needed = 0;
        for path in inventory::files(&*self.plan.disk, self.plan.data_dir, &[])? {
            // What is gone again is not needed; whatever else is wrong shows when it is its turn.
            let Ok(file) = self.plan.disk.open_read(&path) else { continue };
            let is_spooled = path.starts_with(self.plan.data_dir.join("spool"));
            if !(is_spooled && self.known(&path, &*file)?.is_some()) {
                needed += file.len().unwrap_or(0);
            }
        }
        let place = self.plan.to;
        let dir = if is_archive(place) {
            place.parent().filter(|dir| !dir.as_os_str().is_empty())
        } else {
            Some(place)
        };
        let dir = dir.unwrap_or(Path::new("."));
        let free = self.plan.disk.free_bytes(dir).map_err(BackupError::io("look at", place))?;
        if free < needed {
            return Err(BackupError::Full { place: place.into(), needed, free });
        }
        Ok(needed)
    }

    /// All files below `dir` but for some trees. `grown`: they are only ever appended to.
    fn tree(
        &mut self,
        dir: &Path,
        except: &[PathBuf],
        grown: bool,
        work: &mut Work<'_>,
    ) -> Result<(), BackupError> {
        for path in inventory::files(&*self.plan.disk, dir, except)? {
            self.file(&path, grown, None, work)?;
        }
        Ok(())
    }

    fn segments(&mut self, dir: &Path, work: &mut Work<'_>) -> Result<(), BackupError> {
        loop {
            let listed = inventory::files(&*self.plan.disk, dir, &[])?;
            let newest = listed.last().cloned();
            for path in &listed {
                let is_newest = newest.as_ref() == Some(path);
                self.file(path, true, is_newest.then_some(settled_bytes), work)?;
            }
            // A segment that is gone had everything in it moved before, into newer ones.
            let now: BTreeSet<PathBuf> = inventory::files(&*self.plan.disk, dir, &[])?.into_iter().collect();
            let gone: Vec<&PathBuf> = listed.iter().filter(|path| !now.contains(*path)).collect();
            if gone.is_empty() {
                return Ok(());
            }
            for path in gone {
                let to = self.target(path)?;
                if self.made.remove(&to).is_some() {
                    self.place.drop_file(&to);
                    self.copied.retain(|copied| *copied != to);
                }
            }
        }
    }

    /// Copies a file of the data directory, or takes it over. One that is gone by now is left out.
    fn file(
        &mut self,
        path: &Path,
        grown: bool,
        settled: Option<fn(&dyn DiskFile) -> std::io::Result<u64>>,
        work: &mut Work<'_>,
    ) -> Result<(), BackupError> {
        let file = match self.plan.disk.open_read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(BackupError::io("open", path))?,
        };
        let to = self.target(path)?;
        let facts = if grown && settled.is_none() { facts(path, &*file)? } else { None };
        if let Some(made) = self.made.get(&to)
            && facts.is_some()
            && made.source == facts
        {
            return Ok(());
        }
        if facts.is_some()
            && let Some(known) = self.known(path, &*file)?
            && self.place.take_over(&known)
        {
            self.made.insert(to, known);
            return Ok(());
        }
        let limit = match settled {
            Some(settled) => settled(&*file).map_err(BackupError::io("read", path))?,
            None => file.len().map_err(BackupError::io("read", path))?,
        };
        self.put((&*file, path), limit, to, facts, work)
    }

    fn put(
        &mut self,
        from: (&dyn DiskFile, &Path),
        limit: u64,
        to: RelativePath,
        source: Option<Facts>,
        work: &mut Work<'_>,
    ) -> Result<(), BackupError> {
        let (bytes, sha256) = self.place.put(from, limit, &to, work)?;
        self.copied.push(to.clone());
        self.made.insert(to.clone(), Entry { path: to, bytes, sha256, source });
        Ok(())
    }

    fn target(&self, path: &Path) -> Result<RelativePath, BackupError> {
        let below = RelativePath::of(path, self.plan.data_dir)?;
        RelativePath::of(&below.below(Path::new("data")), Path::new(""))
    }

    /// What the earlier backup has of that file, when it is still the same.
    fn known(&self, path: &Path, file: &dyn DiskFile) -> Result<Option<Entry>, BackupError> {
        let Some(known) = self.earlier.get(&self.target(path)?) else { return Ok(None) };
        let is_same = known.source.is_some() && known.source == facts(path, file)?;
        Ok(is_same.then(|| known.clone()))
    }

    /// Compares what was copied with what is on disk, and looks at all of it as a gateway would.
    fn read_back(&mut self, work: &mut Work<'_>) -> Result<Contents, BackupError> {
        let (disk, root) = self.place.view()?;
        let copied: BTreeSet<&RelativePath> = self.copied.iter().collect();
        let entries: Vec<&Entry> = copied.iter().filter_map(|path| self.made.get(*path)).collect();
        work.begin("reading back", entries.iter().map(|entry| entry.bytes).sum());
        for entry in entries {
            let path = entry.path.below(&root);
            if digest(&*disk, &path, work)? != (entry.bytes, entry.sha256) {
                return Err(BackupError::ReadBack(path));
            }
        }
        contents(&disk, &self.plan.clock, &root, self.plan.email_domain)
    }

    fn publish(
        self,
        begun: postern_shared::clock::UnixMillis,
        contents: Contents,
    ) -> Result<Made, BackupError> {
        let Self { plan, place, made, copied, .. } = self;
        let copied: BTreeSet<RelativePath> = copied.into_iter().collect();
        let copied_bytes = copied.iter().filter_map(|path| made.get(path)).map(|entry| entry.bytes).sum();
        let times = (begun, plan.clock.wall());
        let mut manifest =
            Manifest::new(times, plan.data_dir, plan.email_domain, made.into_values().collect());
        manifest.damage.clone_from(&contents.damage);
        let kept = place.publish(&manifest)?;
        let left_out = inventory::strangers(&*plan.disk, plan.data_dir);
        let (files, bytes) = (manifest.files.len() as u64, manifest.bytes());
        Ok(Made { files, bytes, copied_bytes, contents, left_out, kept })
    }
}

fn facts(path: &Path, file: &dyn DiskFile) -> Result<Option<Facts>, BackupError> {
    let facts = || std::io::Result::Ok(Facts { bytes: file.len()?, modified_ns: modified_ns(path)? });
    match facts() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        facts => facts.map(Some).map_err(BackupError::io("look at", path)),
    }
}
