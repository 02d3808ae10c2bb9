//! The archiver as one thing: its data directory, locked, and the instances in it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::clock::Clock;
use postern_shared::data_dir::{self, DataDirError, Holder};
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

impl Core {
    /// Takes the data directory's lock. Instances are opened when they are first asked for.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        settings: Settings,
        running: bool,
    ) -> Result<Self, DataDirError> {
        let holder = if running { Holder::Daemon } else { Holder::Command };
        let lock = data_dir::lock(&*disk, &settings.data_dir, "postern-archiver", holder)?;
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
