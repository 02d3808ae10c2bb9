//! The archiver as one thing: its data directory, locked, and the instances in it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::clock::Clock;
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::data_dir::{self, DataDirError, Holder};
use postern_shared::disk::{Disk, DiskLock};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::archive::{ArchiveError, Follower, Instance, InstanceInfo, KeepKey, Opener};
use crate::documents::{Limits, Workers};
use crate::intake::index_fields_with_documents;
use crate::settings::Settings;

const PASSPHRASE_BYTES_MAX: u64 = 4096;

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
    /// Before what they follow is closed, they end.
    followers: Mutex<Vec<Follower>>,
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
            followers: Mutex::default(),
            _lock: lock,
        })
    }

    fn instances_dir(&self) -> PathBuf {
        self.settings.data_dir.join("instances")
    }

    /// Where an instance is, or would be.
    pub fn instance_dir(&self, id: &str) -> Result<PathBuf, ArchiveError> {
        crate::archive::check_id(id)?;
        Ok(self.instances_dir().join(id))
    }

    /// Creates an instance, opened by `passphrase` or else by a key file. Returns its recovery key too.
    pub fn create_instance(
        &self,
        id: &str,
        passphrase: Option<SecretString>,
    ) -> Result<(InstanceInfo, SecretString), ArchiveError> {
        let keep = match passphrase {
            Some(passphrase) => KeepKey::Passphrase(passphrase, Argon2Cost::DEFAULT),
            None => KeepKey::File(self.settings.keys_dir.clone()),
        };
        let created = Instance::create(&self.disk, &self.clock, &self.instance_dir(id)?, id, &keep)?;
        if let KeepKey::Passphrase(passphrase, _) = keep {
            self.unlock(id, passphrase)?;
        }
        Ok(created)
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
        let instance = self.open_instance(id, &self.opener(id)?)?;
        open.insert(id.to_owned(), Arc::clone(&instance));
        Ok(instance)
    }

    /// Opens an instance with its passphrase; it stays open as long as this does.
    pub fn unlock(&self, id: &str, passphrase: SecretString) -> Result<(), ArchiveError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(id) {
            open.insert(id.to_owned(), self.open_instance(id, &Opener::Passphrase(passphrase))?);
        }
        Ok(())
    }

    fn open_instance(&self, id: &str, opener: &Opener) -> Result<Arc<Instance>, ArchiveError> {
        let dir = self.instances_dir().join(id);
        let extract = index_fields_with_documents;
        let instance = Arc::new(Instance::open(&self.disk, &self.clock, &dir, id, opener, extract)?);
        match std::env::current_exe() {
            Ok(program) => {
                let workers = Workers::new(program, &["extract-worker"], Limits::default());
                instance.read_documents_with(Arc::new(workers));
            }
            Err(error) => tracing::error!(%error, "attached documents are not read: where is this program?"),
        }
        if self.running {
            let follower = Follower::start(&instance).map_err(ArchiveError::file(&dir))?;
            self.followers.lock().unwrap_or_else(PoisonError::into_inner).push(follower);
        }
        Ok(instance)
    }

    /// The key file, or the passphrase when that lies in a file in `keys_dir`.
    fn opener(&self, id: &str) -> Result<Opener, ArchiveError> {
        let keys_dir = self.settings.keys_dir.clone();
        let passphrase = keys_dir.as_ref().map(|dir| dir.join(id).with_extension("passphrase"));
        if let Some(path) = passphrase
            && self.disk.exists(&path).map_err(ArchiveError::file(&path))?
        {
            let bytes = self.disk.read(&path, PASSPHRASE_BYTES_MAX).map_err(ArchiveError::file(&path))?;
            let bytes = Zeroizing::new(bytes);
            let text = String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
            return Ok(Opener::Passphrase(SecretString::from(text)));
        }
        Ok(Opener::KeyFile(keys_dir))
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
