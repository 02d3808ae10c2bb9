//! Jobs on disk: `jobs/<name>.json` in an instance's directory, one file each, replaced atomically.
//!
//! ```json
//! {"version":1,"since":1783382400000,
//!  "job":{"name":"nightly-verify","enabled":true,"missed":"run","notify":true,
//!         "schedule":{"when":"daily at 02:00"},"template":{"type":"verify"}}}
//! ```
//!
//! `since` is when it was put or enabled, in milliseconds since 1970: times before that were not missed.
//!
//! A profile's own schedule makes a job too, `profile:<name>`. It has no file: it is read from the profile's, of which only what
//! says when is looked at.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::clock::UnixMillis;
use postern_shared::disk::{Disk, write_atomic};
use serde::{Deserialize, Serialize};

use super::job::{Job, JobName};
use super::schedule::Schedule;
use crate::profiles::ProfileName;

const VERSION: u32 = 1;
/// A profile may list many accounts.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most jobs of an instance that have files.
const JOBS_MAX: usize = 1000;

/// A job as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredJob {
    version: u32,
    /// When it was put or enabled.
    pub since: UnixMillis,
    /// What is done, and when.
    pub job: Job,
}

/// Why jobs cannot be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobStoreError {
    /// There is none of that name.
    #[error("there is no job {0}; `job list` shows all")]
    Unknown(JobName),
    /// The job cannot be.
    #[error("job {name}: {fault}")]
    Refused {
        /// Which.
        name: JobName,
        /// Why.
        fault: String,
    },
    /// A file holds something else.
    #[error("{path} is not a stored job: {reason}", path = .path.display())]
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

impl JobStoreError {
    /// The job that cannot be read, as its file is called.
    pub fn job(&self) -> Option<JobName> {
        let (Self::Damaged { path, .. } | Self::Io { path, .. }) = self else { return None };
        let (name, dir) = (path.file_stem()?.to_str()?, path.parent()?.file_name()?);
        match dir.to_str()? {
            "jobs" => name.parse().ok(),
            "profiles" => JobName::of_profile(&name.parse().ok()?).into(),
            _ => None,
        }
    }
}

/// The part of a profile's file that says when it runs.
#[derive(Debug, Deserialize)]
struct ProfileFile {
    enabled: bool,
    profile: Named,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: ProfileName,
    #[serde(default)]
    schedule: Option<Schedule>,
}

/// The jobs of an instance.
#[derive(Debug, Clone)]
pub struct StoredJobs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    profiles: PathBuf,
}

impl StoredJobs {
    /// Those of the instance in `instance_dir`.
    pub fn new(disk: Arc<dyn Disk>, instance_dir: &Path) -> Self {
        Self { disk, dir: instance_dir.join("jobs"), profiles: instance_dir.join("profiles") }
    }

    /// Stores `job` durably, in place of the one of the same name.
    pub fn put(&self, job: Job, now: UnixMillis) -> Result<StoredJob, JobStoreError> {
        let refused = |fault: String| JobStoreError::Refused { name: job.name.clone(), fault };
        if let Some(fault) = job.fault() {
            return Err(refused(fault.into()));
        }
        let path = self.path(&job.name);
        let io = |source| JobStoreError::Io { path: path.clone(), source };
        if !self.disk.exists(&path).map_err(io)? && self.files(&self.dir)?.len() >= JOBS_MAX {
            return Err(refused(format!("an instance has at most {JOBS_MAX} jobs")));
        }
        let stored = StoredJob { version: VERSION, since: now, job };
        let mut json = serde_json::to_vec_pretty(&stored).map_err(|error| io(error.into()))?;
        json.push(b'\n');
        self.disk.create_dir_all(&self.dir).map_err(io)?;
        write_atomic(&*self.disk, &path, &json).map_err(io)?;
        Ok(stored)
    }

    /// The one called `name`; also a profile's.
    pub fn show(&self, name: &JobName) -> Result<StoredJob, JobStoreError> {
        let (path, found) = match name.profile() {
            Some(profile) => {
                let path = self.profiles.join(format!("{profile}.json"));
                (
                    path.clone(),
                    self.read_profile(&path).map(|job| StoredJob {
                        version: VERSION,
                        since: UnixMillis(0),
                        job,
                    }),
                )
            }
            None => (self.path(name), self.read(self.path(name))),
        };
        match found {
            Err(JobStoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(JobStoreError::Unknown(name.clone()))
            }
            Ok(found) if found.job.name != *name => {
                Err(JobStoreError::Damaged { path, reason: format!("it holds {}", found.job.name) })
            }
            other => other,
        }
    }

    /// All of them, by name, then those of profiles with a schedule. What cannot be read does not hide the others.
    pub fn list(&self) -> Result<Vec<Result<StoredJob, JobStoreError>>, JobStoreError> {
        let mut all: Vec<_> = self.files(&self.dir)?.into_iter().map(|path| self.read(path)).collect();
        for path in self.files(&self.profiles)? {
            match self.read_profile(&path) {
                Ok(job) if job.schedule.is_none() => {}
                // Since ever: a first run is wanted at once.
                Ok(job) => all.push(Ok(StoredJob { version: VERSION, since: UnixMillis(0), job })),
                Err(error) => all.push(Err(error)),
            }
        }
        Ok(all)
    }

    /// Deletes the one called `name`, durably.
    pub fn delete(&self, name: &JobName) -> Result<(), JobStoreError> {
        let path = self.path(name);
        match self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(JobStoreError::Unknown(name.clone()))
            }
            other => other.map_err(|source| JobStoreError::Io { path, source }),
        }
    }

    /// What a crash left behind of a file ends in `.tmp`.
    fn files(&self, dir: &Path) -> Result<Vec<PathBuf>, JobStoreError> {
        let files = self.disk.files(dir);
        let mut files = files.map_err(|source| JobStoreError::Io { path: dir.into(), source })?;
        files.retain(|path| path.extension().is_some_and(|end| end == "json"));
        Ok(files)
    }

    fn read(&self, path: PathBuf) -> Result<StoredJob, JobStoreError> {
        let found: StoredJob = self.read_json(&path)?;
        if found.version != VERSION {
            let reason = format!("it has version {}, this program knows {VERSION}", found.version);
            return Err(JobStoreError::Damaged { path, reason });
        }
        Ok(found)
    }

    fn read_profile(&self, path: &Path) -> Result<Job, JobStoreError> {
        let ProfileFile { enabled, profile } = self.read_json(path)?;
        Ok(Job::of_profile(&profile.name, profile.schedule, enabled))
    }

    fn read_json<R: serde::de::DeserializeOwned>(&self, path: &Path) -> Result<R, JobStoreError> {
        let bytes = self.disk.read(path, FILE_BYTES_MAX);
        let bytes = bytes.map_err(|source| JobStoreError::Io { path: path.into(), source })?;
        serde_json::from_slice(&bytes)
            .map_err(|error| JobStoreError::Damaged { path: path.into(), reason: error.to_string() })
    }

    fn path(&self, name: &JobName) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }
}
