//! What runs did: `results/` in an instance's directory, a file each, kept for a while.
//!
//! ```text
//! results/<id>.<job>.run      a run that has begun; id: a ULID, so names sort by when that was
//! results/<id>.<job>.json     one that has ended; then the other is removed
//! ```
//!
//! Both are JSON ([`JobResult`]), written whole or not at all. A `.run` without its `.json`, found when nothing runs, is a run that
//! was interrupted. Names tell job and order, so only the files that are shown are read, and one that is damaged hides no
//! other.
//!
//! Promises
//! - What [`Results::end`] has stored survives a crash.
//! - Kept are those of the last days, of each job at most so many and then rather those that failed, and always its last one.
//! - Nothing is written where no instance is (any more).

mod result;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::UnixMillis;
use postern_shared::disk::{Disk, write_atomic};
use postern_shared::id::MessageId;

use super::job::JobName;
pub use result::{JobResult, Outcome, Trigger};

const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The most results on a page.
pub const PAGE_MAX: usize = 1000;

/// How long results are kept, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So long.
    pub time: Duration,
    /// At most so many of each job.
    pub count: usize,
}

/// Why results cannot be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// There is none of that id.
    #[error("there is no result {0:?}; `result list` shows all")]
    Unknown(String),
    /// The instance was deleted.
    #[error("{path}: there is no instance any more", path = .0.display())]
    Gone(PathBuf),
    /// A file holds something else.
    #[error("{path} is not a result: {reason}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A file's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    id: MessageId,
    job: JobName,
    ended: bool,
}

impl Name {
    fn parse(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (id, rest) = name.split_once('.')?;
        let (job, end) = rest.rsplit_once('.')?;
        let ended = match end {
            "json" => true,
            "run" => false,
            _ => return None,
        };
        Some(Self { id: id.parse().ok()?, job: job.parse().ok()?, ended })
    }

    /// The first 48 bits of a ULID.
    fn began(&self) -> UnixMillis {
        let mut ms = [0; 8];
        ms[2..].copy_from_slice(&self.id.to_bytes()[..6]);
        UnixMillis(u64::from_be_bytes(ms))
    }
}

/// A page of results, the newest first.
#[derive(Debug)]
pub struct Page {
    /// What could be read, and what not.
    pub results: Vec<Result<JobResult, ResultsError>>,
    /// Where the next page begins, when there is one.
    pub next: Option<MessageId>,
}

/// The results of an instance.
#[derive(Debug, Clone)]
pub struct Results {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Results {
    /// Those of the instance in `instance_dir`.
    pub fn new(disk: Arc<dyn Disk>, instance_dir: &Path) -> Self {
        Self { disk, dir: instance_dir.join("results") }
    }

    /// Stores that a run has begun.
    pub fn begin(&self, result: &JobResult) -> Result<(), ResultsError> {
        self.make_dir()?;
        self.write(result, false)
    }

    /// Stores what a run did that may have found nothing to do. When it did, and the last one of its job too, the two become one.
    /// `before` is that last one, when it is known.
    pub fn end_folded(&self, result: &mut JobResult, before: Option<JobResult>) -> Result<(), ResultsError> {
        let before = match before {
            _ if !result.is_idle() => None,
            None => self.list(Some(&result.job), Some(result.id), 1)?.results.pop().and_then(Result::ok),
            known => known,
        };
        let folds = before.filter(JobResult::is_idle);
        if let Some(before) = &folds {
            result.runs = before.runs.saturating_add(1);
        }
        self.end(result)?;
        folds.map_or(Ok(()), |before| {
            self.remove(&self.path(&Name { id: before.id, job: before.job, ended: true }))
        })
    }

    /// Stores what a run did.
    pub fn end(&self, result: &JobResult) -> Result<(), ResultsError> {
        self.make_dir()?;
        self.write(result, true)?;
        self.forget(result)
    }

    /// A run that has begun did nothing.
    pub fn forget(&self, result: &JobResult) -> Result<(), ResultsError> {
        self.remove(&self.path(&Name { id: result.id, job: result.job.clone(), ended: false }))
    }

    /// The one with that id.
    pub fn show(&self, id: &str) -> Result<JobResult, ResultsError> {
        let wanted = id.parse::<MessageId>().ok();
        let mut names = self.names()?;
        names.retain(|name| Some(name.id) == wanted);
        // One that has ended comes behind the same one that has begun.
        let found = names.pop().and_then(|name| self.read_if_there(&name));
        found.unwrap_or_else(|| Err(ResultsError::Unknown(id.chars().take(64).collect())))
    }

    /// The id of the one that began last.
    pub fn newest(&self) -> Result<Option<MessageId>, ResultsError> {
        Ok(self.names()?.last().map(|name| name.id))
    }

    /// At most `limit` results, of one job or of all, that began before the one with the id `before`; the newest first.
    pub fn list(
        &self,
        job: Option<&JobName>,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Page, ResultsError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut names = self.names()?;
        names.retain(|name| {
            job.is_none_or(|job| *job == name.job) && before.is_none_or(|before| name.id < before)
        });
        names.reverse();
        // Of one that has both files the one that tells more comes first here.
        names.dedup_by_key(|name| name.id);
        let next = names.get(limit).and(names.get(limit - 1)).map(|last| last.id);
        names.truncate(limit);
        Ok(Page { results: names.iter().filter_map(|name| self.read_if_there(name)).collect(), next })
    }

    /// The last one of each job that is wanted, when it can be read.
    pub fn lasts(
        &self,
        wanted: impl Fn(&JobName) -> bool,
    ) -> Result<HashMap<JobName, JobResult>, ResultsError> {
        let names = self.names()?.into_iter().filter(|name| wanted(&name.job));
        // Later names take the places of earlier ones.
        let last: HashMap<JobName, Name> = names.map(|name| (name.job.clone(), name)).collect();
        let read = last.into_iter().filter_map(|(job, name)| Some((job, self.read_if_there(&name)?.ok()?)));
        Ok(read.collect())
    }

    /// Ends the runs that a crash interrupted. To be called while nothing runs. What the disk does not take is there as well, with
    /// why.
    pub fn recover(&self, now: UnixMillis) -> Result<Vec<(JobResult, Option<ResultsError>)>, ResultsError> {
        let names = self.names()?;
        let ended: HashSet<MessageId> = names.iter().filter(|name| name.ended).map(|name| name.id).collect();
        let mut found = Vec::new();
        for name in names.iter().filter(|name| !name.ended) {
            if ended.contains(&name.id) {
                // Left behind, it says nothing that the other one does not.
                if let Err(error) = self.remove(&self.path(name)) {
                    tracing::warn!(%error, "a run that has ended is noted as begun");
                }
                continue;
            }
            let last = names.iter().rfind(|one| one.ended && one.job == name.job && one.id < name.id);
            let in_a_row = last.and_then(|last| self.read(last).ok()).map_or(0, |last| last.interruptions);
            // One that cannot be read has its name.
            let mut result =
                self.read(name).unwrap_or_else(|_| JobResult::begun(name.id, &name.job, name.began()));
            result.interrupted(now, in_a_row.saturating_add(1));
            let stored = self.end(&result);
            found.push((result, stored.err()));
        }
        Ok(found)
    }

    /// Removes what is older or more than is kept; how many.
    pub fn prune(&self, keep: Keep, now: UnixMillis) -> Result<usize, ResultsError> {
        let mut names = self.names()?;
        names.retain(|name| name.ended);
        names.reverse();
        let mut by_job: HashMap<&JobName, Vec<&Name>> = HashMap::new();
        for name in &names {
            by_job.entry(&name.job).or_default().push(name);
        }
        let mut removed = 0;
        for newest_first in by_job.into_values() {
            let (_last, older) = newest_first.split_at(1);
            let young = older.iter().take_while(|name| now.since(name.began()) <= keep.time).count();
            let (young, old) = older.split_at(young);
            let over = (young.len() + 1).saturating_sub(keep.count);
            let mut gone: Vec<&Name> = old.to_vec();
            if over > 0 {
                gone.extend(self.least_wanted(young).into_iter().take(over));
            }
            for name in gone {
                self.remove(&self.path(name))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// In the order in which they may go: the oldest that found nothing to do first, what failed last.
    fn least_wanted<'n>(&self, newest_first: &[&'n Name]) -> Vec<&'n Name> {
        let rank = |name: &Name| match self.read(name) {
            Ok(result) if result.is_idle() => 0,
            Ok(result) if matches!(result.outcome, Some(Outcome::Succeeded | Outcome::Cancelled)) => 1,
            _ => 2,
        };
        let mut ranked: Vec<_> = newest_first.iter().rev().map(|name| (rank(name), *name)).collect();
        // Stable: the oldest of each come first.
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, name)| name).collect()
    }

    /// Makes the directory, never the instance's: that may have been taken away.
    fn make_dir(&self) -> Result<(), ResultsError> {
        let instance = self.dir.with_file_name("instance.json");
        if !self.disk.exists(&instance).map_err(self.io(&instance))? {
            return Err(ResultsError::Gone(self.dir.clone()));
        }
        self.disk.create_dir_all(&self.dir).map_err(self.io(&self.dir))
    }

    /// By when they began. What has another name is not ours.
    fn names(&self) -> Result<Vec<Name>, ResultsError> {
        let files = self.disk.files(&self.dir).map_err(self.io(&self.dir))?;
        let mut names: Vec<Name> = files.iter().filter_map(|path| Name::parse(path)).collect();
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &Name) -> PathBuf {
        let end = if name.ended { "json" } else { "run" };
        self.dir.join(format!("{}.{}.{end}", name.id, name.job))
    }

    fn write(&self, result: &JobResult, ended: bool) -> Result<(), ResultsError> {
        let path = self.path(&Name { id: result.id, job: result.job.clone(), ended });
        let json = serde_json::to_vec(result).map_err(|error| self.io(&path)(error.into()))?;
        write_atomic(&*self.disk, &path, &json).map_err(self.io(&path))
    }

    /// Between the look at the directory and this, a run may end and a result may go.
    fn read_if_there(&self, name: &Name) -> Option<Result<JobResult, ResultsError>> {
        let gone = |read: &Result<JobResult, ResultsError>| matches!(read, Err(ResultsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound);
        let read = Some(self.read(name)).filter(|read| !gone(read));
        read.or_else(|| Some(self.read(&Name { ended: true, ..name.clone() })).filter(|read| !gone(read)))
    }

    fn read(&self, name: &Name) -> Result<JobResult, ResultsError> {
        let path = self.path(name);
        let bytes = self.disk.read(&path, FILE_BYTES_MAX).map_err(self.io(&path))?;
        let read = serde_json::from_slice::<JobResult>(&bytes).map_err(|error| error.to_string());
        let checked = read.and_then(|result| {
            let its_own = result.id == name.id && result.job == name.job;
            result.check_version()?;
            if its_own { Ok(result) } else { Err("it holds another one".into()) }
        });
        checked.map_err(|reason| ResultsError::Damaged { path, reason })
    }

    /// Its coming back after a power cut does no harm: see [`Results::recover`].
    fn remove(&self, path: &Path) -> Result<(), ResultsError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.io(path)(error)),
            _ => Ok(()),
        }
    }

    fn io(&self, path: &Path) -> impl FnOnce(io::Error) -> ResultsError + use<> {
        let path = path.to_path_buf();
        move |source| ResultsError::Io { path, source }
    }
}
