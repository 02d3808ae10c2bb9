//! A store's index: the one that serves, and another one that is built beside it.
//!
//! ```text
//! index/current     the number of the generation that serves
//! index/0003/       a generation: tantivy's files
//! index/0004/       one that is being built, and goes on being built when that was ended; anything lower is removed
//! ```
//!
//! Promises
//! - What is damaged when it is opened is begun anew and follows, and is removed once that has followed to the end. What cannot be
//!   opened for another reason (no right, too many open files) stays, and is opened later.
//! - What is found damaged later serves until another one is built.
//! - A generation serves only once it has followed the catalog to its end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::clock::Moment;
use postern_shared::disk::{Disk, write_atomic};

use super::generation::Generation;
use super::{failed, waits};
use crate::archive::ArchiveError;

/// An index up to this size is read whole and checked when it is opened; longer ones are checked while they serve.
const CHECKED_AT_OPEN_MAX: u64 = 64 * 1024 * 1024;
/// Reading it whole because something failed is not done again before that.
const CHECKED_AGAIN_AFTER: Duration = Duration::from_secs(3600);
const CURRENT_BYTES_MAX: u64 = 64;

/// A store's index.
#[derive(Debug)]
pub(in crate::archive) struct StoreIndex {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    serving: Mutex<Option<Serving>>,
    /// One builds at a time.
    builder: Mutex<()>,
    /// When it was read whole because something failed.
    checked: Mutex<Option<Moment>>,
}

#[derive(Debug)]
struct Serving {
    number: u32,
    generation: Arc<Generation>,
    damage: Option<String>,
    /// What it took the place of is still there.
    others: bool,
}

impl StoreIndex {
    pub(in crate::archive) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir, serving: Mutex::default(), builder: Mutex::default(), checked: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Serving>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation that serves, opened when it is first asked for.
    pub(in crate::archive) fn current(&self) -> Result<Arc<Generation>, ArchiveError> {
        let mut serving = self.lock();
        if let Some(serving) = &*serving {
            return Ok(Arc::clone(&serving.generation));
        }
        let opened = self.open()?;
        Ok(Arc::clone(&serving.insert(opened).generation))
    }

    fn open(&self) -> Result<Serving, ArchiveError> {
        self.disk.create_dir_all(&self.dir).map_err(waits)?;
        let pointed = self.pointed()?;
        if let Some(number) = pointed {
            match self.open_checked(number) {
                Ok(generation) => {
                    self.remove_below(number);
                    return Ok(Serving {
                        number,
                        generation: Arc::new(generation),
                        damage: None,
                        others: false,
                    });
                }
                Err(error @ ArchiveError::IndexWaits(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(path = %self.dir.display(), %error, "the index is begun anew");
                }
            }
        }
        // One that was being built may be damaged too; it is easily made again.
        let number = self.numbers()?.into_iter().chain(pointed).max().unwrap_or(0) + 1;
        let generation = self.create(number)?;
        self.point_to(number)?;
        Ok(Serving { number, generation: Arc::new(generation), damage: None, others: true })
    }

    fn open_checked(&self, number: u32) -> Result<Generation, ArchiveError> {
        let dir = self.path(number);
        if !self.disk.exists(&dir.join("meta.json")).map_err(waits)? {
            return Err(failed(format!("{} is missing", dir.display())));
        }
        // What is damaged may make the library fall over as well as fail.
        let opened = guarded(|| {
            let generation = Generation::open(&self.disk, &dir)?;
            if generation.bytes()? <= CHECKED_AT_OPEN_MAX {
                let damaged = generation.damaged_files()?;
                if let Some(first) = damaged.first() {
                    return Err(failed(format!("{first} is damaged")));
                }
            }
            Ok(generation)
        });
        opened.and_then(|generation| generation)
    }

    fn create(&self, number: u32) -> Result<Generation, ArchiveError> {
        let dir = self.path(number);
        if self.disk.exists(&dir).map_err(waits)? {
            self.disk.remove_dir_all(&dir).map_err(waits)?;
        }
        self.disk.create_dir_all(&dir).map_err(waits)?;
        Generation::open(&self.disk, &dir)
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:04}"))
    }

    fn pointed(&self) -> Result<Option<u32>, ArchiveError> {
        let path = self.dir.join("current");
        if !self.disk.exists(&path).map_err(waits)? {
            return Ok(None);
        }
        match self.disk.read(&path, CURRENT_BYTES_MAX) {
            Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok())),
            Err(error) if error.raw_os_error().is_some() => Err(waits(error)),
            // Longer than any number.
            Err(_) => Ok(None),
        }
    }

    fn point_to(&self, number: u32) -> Result<(), ArchiveError> {
        write_atomic(&*self.disk, &self.dir.join("current"), format!("{number:04}\n").as_bytes())
            .map_err(waits)
    }

    /// It has followed to the end: what it took the place of goes.
    pub(in crate::archive) fn settle(&self) {
        if let Some(serving) = &mut *self.lock()
            && std::mem::take(&mut serving.others)
        {
            self.remove_below(serving.number);
        }
    }

    fn numbers(&self) -> Result<Vec<u32>, ArchiveError> {
        let number = |dir: &Path| dir.file_name()?.to_str()?.parse().ok();
        Ok(self.disk.dirs(&self.dir).map_err(waits)?.iter().filter_map(|dir| number(dir)).collect())
    }

    /// Removes what no longer serves, and what an index of an earlier version left here.
    fn remove_below(&self, number: u32) {
        let keep = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name == "current" || name.parse::<u32>().is_ok_and(|other| other >= number)
        };
        let files = self.disk.files(&self.dir).unwrap_or_default().into_iter();
        let dirs = self.disk.dirs(&self.dir).unwrap_or_default().into_iter();
        for file in files.filter(|path| !keep(path)) {
            self.report(self.disk.remove(&file));
        }
        for dir in dirs.filter(|path| !keep(path)) {
            self.report(self.disk.remove_dir_all(&dir));
        }
    }

    fn report(&self, removed: std::io::Result<()>) {
        if let Err(error) = removed {
            tracing::warn!(path = %self.dir.display(), %error, "an old index cannot be removed; it only takes room");
        }
    }

    /// What is known to be wrong with it.
    pub(in crate::archive) fn damage(&self) -> Option<String> {
        self.lock().as_ref().and_then(|serving| serving.damage.clone())
    }

    /// Marks it damaged; it serves until another one is built.
    pub(in crate::archive) fn mark_damaged(&self, what: &str) {
        if let Some(serving) = &mut *self.lock()
            && serving.damage.is_none()
        {
            tracing::error!(path = %self.dir.display(), what, "the index is damaged; another one must be built");
            serving.damage = Some(what.to_owned());
        }
    }

    /// Reads the one that serves whole and marks it when it is damaged; what is wrong.
    pub(in crate::archive) fn check(&self) -> Result<Option<String>, ArchiveError> {
        let generation = self.current()?;
        let found = guarded(|| generation.damaged_files()).and_then(|checked| checked);
        let damage = match found {
            Ok(damaged) => damaged.first().map(|first| format!("{first} is not what was written")),
            Err(error @ ArchiveError::IndexWaits(_)) => return Err(error),
            Err(error) => Some(error.to_string()),
        };
        if let Some(damage) = &damage {
            self.mark_damaged(damage);
        }
        Ok(self.damage())
    }

    /// The same because something failed, `now`; an index may be long, so once in a while only. Whether it was checked.
    pub(in crate::archive) fn check_for_failure(&self, now: Moment) -> Result<bool, ArchiveError> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.is_some_and(|before| now.since(before) < CHECKED_AGAIN_AFTER) {
            return Ok(false);
        }
        *checked = Some(now);
        drop(checked);
        self.check().map(|_| true)
    }

    /// Waits for whoever builds another one, to be the next.
    pub(in crate::archive) fn builder(&self) -> MutexGuard<'_, ()> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the generation that is to take its place; one that was begun goes on.
    pub(in crate::archive) fn building(&self, afresh: bool) -> Result<(u32, Arc<Generation>), ArchiveError> {
        self.current()?;
        let serving = self.lock().as_ref().map_or(0, |serving| serving.number);
        let begun = self.numbers()?.into_iter().filter(|number| *number > serving).max();
        if let Some(number) = begun
            && !afresh
            && let Ok(generation) = self.open_checked(number)
        {
            return Ok((number, Arc::new(generation)));
        }
        let number = begun.unwrap_or(serving) + 1;
        Ok((number, Arc::new(self.create(number)?)))
    }

    /// Lets `generation` serve.
    pub(in crate::archive) fn swap(
        &self,
        number: u32,
        generation: Arc<Generation>,
    ) -> Result<(), ArchiveError> {
        let mut serving = self.lock();
        self.point_to(number)?;
        *serving = Some(Serving { number, generation, damage: None, others: false });
        self.remove_below(number);
        Ok(())
    }
}

/// Runs what may fall over when files are damaged.
pub(in crate::archive) fn guarded<R>(run: impl FnOnce() -> R) -> Result<R, ArchiveError> {
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    ran.map_err(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        failed(format!("reading it failed inside: {what}"))
    })
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::RealDisk;

    use super::*;

    /// Goal: what fails again and again does not read an index whole each time.
    #[test]
    fn failures_read_an_index_whole_once_in_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let index = StoreIndex::new(Arc::new(RealDisk), dir.path().join("index"));
        let minutes = |minutes: u64| Moment::after_start(Duration::from_secs(60 * minutes));
        let checked = [1, 2, 30, 60, 61, 62].map(|at| index.check_for_failure(minutes(at)).unwrap());
        assert_eq!(checked, [true, false, false, false, true, false]);
        assert!(index.check().unwrap().is_none(), "whoever asks for it has it");
    }
}
