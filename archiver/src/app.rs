//! The archiver as one thing: its data directory, locked, and the instances in it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::clock::Clock;
use postern_shared::disk::{Disk, DiskLock};

use crate::archive::{ArchiveError, Instance, InstanceInfo};
use crate::intake::index_fields;
use crate::settings::Settings;

/// Everything that commands work on. Holds the data directory's lock.
#[derive(Debug)]
pub struct Core {
    /// The checked settings.
    pub settings: Settings,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The files.
    pub disk: Arc<dyn Disk>,
    /// Whether this is the daemon.
    pub running: bool,
    open: Mutex<HashMap<String, Arc<Instance>>>,
    pulling: Mutex<HashSet<(String, String)>>,
    _lock: DiskLock,
}

/// Why the archiver cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another process works on the same data.
    #[error("{holder} uses the data directory {data_dir}; stop it first, or give this one its own data_dir")]
    InUse {
        /// The directory.
        data_dir: PathBuf,
        /// Who holds the lock.
        holder: String,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {data_dir}: {source}")]
    DataDir {
        /// The directory.
        data_dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

const LOCK_NAME: &str = "postern-archiver.lock";

impl Core {
    /// Takes the data directory's lock. Instances are opened when they are first asked for.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        settings: Settings,
        running: bool,
    ) -> Result<Self, StartError> {
        let lock = lock(&*disk, &settings.data_dir)?;
        Ok(Self {
            settings,
            clock,
            disk,
            running,
            open: Mutex::default(),
            pulling: Mutex::default(),
            _lock: lock,
        })
    }

    fn instances_dir(&self) -> PathBuf {
        self.settings.data_dir.join("instances")
    }

    /// Creates an instance.
    pub fn create_instance(&self, id: &str) -> Result<InstanceInfo, ArchiveError> {
        crate::archive::check_id(id)?;
        Instance::create(&self.disk, &self.clock, &self.instances_dir().join(id), id)
    }

    /// The ids of all instances.
    pub fn instance_ids(&self) -> Result<Vec<String>, ArchiveError> {
        let dir = self.instances_dir();
        let dirs = self
            .disk
            .dirs(&dir)
            .map_err(|error| ArchiveError::File { path: dir, reason: error.to_string() })?;
        Ok(dirs.iter().filter_map(|dir| dir.file_name()?.to_str().map(str::to_owned)).collect())
    }

    /// An instance, opened once. Blocks for the disk.
    pub fn instance(&self, id: &str) -> Result<Arc<Instance>, ArchiveError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = open.get(id) {
            return Ok(Arc::clone(instance));
        }
        let dir = self.instances_dir().join(id);
        let instance = Arc::new(Instance::open(&self.disk, &self.clock, &dir, id, index_fields)?);
        open.insert(id.to_owned(), Arc::clone(&instance));
        Ok(instance)
    }

    /// Announces a run; `None` when that profile is running.
    pub fn begin_run(&self, instance: &str, profile: &str) -> Option<Running<'_>> {
        let key = (instance.to_owned(), profile.to_owned());
        let mut pulling = self.pulling.lock().unwrap_or_else(PoisonError::into_inner);
        pulling.insert(key.clone()).then_some(Running { core: self, key })
    }
}

/// A run; over when dropped.
#[derive(Debug)]
pub struct Running<'c> {
    core: &'c Core,
    key: (String, String),
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.core.pulling.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

fn lock(disk: &dyn Disk, data_dir: &Path) -> Result<DiskLock, StartError> {
    let unusable = |source| StartError::DataDir { data_dir: data_dir.into(), source };
    disk.create_dir_all(data_dir).map_err(unusable)?;
    let path = data_dir.join(LOCK_NAME);
    let note = format!("postern-archiver, process {}", std::process::id());
    disk.lock(&path, &note).map_err(unusable)?.ok_or_else(|| StartError::InUse {
        data_dir: data_dir.into(),
        holder: disk
            .read(&path, 200)
            .ok()
            .and_then(|note| String::from_utf8(note).ok())
            .filter(|note| !note.is_empty())
            .unwrap_or_else(|| "another postern-archiver".into()),
    })
}
