//! The archiver as one thing: its data directory, locked, and the instances in it.

mod lifecycle;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use postern_shared::clock::{Clock, Moment};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::data_dir::{self, DataDirError, Holder};
use postern_shared::disk::{Disk, DiskLock};
use secrecy::SecretString;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::access::Tokens;
use crate::archive::{ArchiveError, Audit, Follower, Instance, InstanceInfo, KeepKey, Mode, Opener};
use crate::documents::{Limits, Workers};
use crate::intake::index_fields_with_documents;
use crate::jobs::Jobs;
use crate::settings::Settings;
pub use lifecycle::{Standing, Working};
use slot::{Place, Slot};

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
    /// What it does by itself.
    pub jobs: Jobs,
    /// Who may come over the API.
    pub tokens: Tokens,
    /// Where the daemon listens, once it does.
    pub listening: OnceLock<Value>,
    started: Moment,
    audit: Mutex<Option<Arc<Audit>>>,
    /// Processes that read documents, of all instances together.
    documents: Workers,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    pulling: Mutex<HashSet<(String, String)>>,
    /// The daemon has asked for each instance once.
    opened_all: AtomicBool,
    /// Instances that are being created, started, stopped or deleted.
    changing: Mutex<HashSet<String>>,
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
            jobs: Jobs::new(&settings, &disk, &clock),
            tokens: Tokens::open(Arc::clone(&disk), Arc::clone(&clock), &settings.data_dir),
            started: clock.moment(),
            settings,
            clock,
            disk,
            running,
            listening: OnceLock::new(),
            audit: Mutex::default(),
            // This very program, also when a newer one has taken its place on disk.
            documents: Workers::new("/proc/self/exe".into(), &["extract-worker"], Limits::default()),
            slots: Mutex::default(),
            pulling: Mutex::default(),
            opened_all: AtomicBool::new(false),
            changing: Mutex::default(),
            _lock: lock,
        })
    }

    /// Where instances are.
    pub fn instances_dir(&self) -> PathBuf {
        self.settings.data_dir.join("instances")
    }

    /// Where an instance is, or would be.
    pub fn instance_dir(&self, id: &str) -> Result<PathBuf, ArchiveError> {
        crate::archive::check_id(id)?;
        Ok(self.instances_dir().join(id))
    }

    /// How long it runs.
    pub fn uptime(&self) -> std::time::Duration {
        self.clock.moment().since(self.started)
    }

    /// The audit log of what concerns no single open instance: tokens, instances created, stopped or deleted, refusals.
    pub fn audit(&self) -> Result<Arc<Audit>, ArchiveError> {
        let mut audit = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(audit) = &*audit {
            return Ok(Arc::clone(audit));
        }
        let path = self.settings.data_dir.join("audit.log");
        let opened = Audit::open(&*self.disk, Arc::clone(&self.clock), &path)?;
        Ok(Arc::clone(audit.insert(Arc::new(opened))))
    }

    /// Creates an instance, opened by `passphrase` or else by a key file, and opens it. Returns its recovery key too, which is
    /// nowhere else; and why it did not open, when it did not.
    pub fn create_instance(
        &self,
        id: &str,
        passphrase: Option<SecretString>,
    ) -> Result<Created, ArchiveError> {
        let dir = self.instance_dir(id)?;
        let _one = self.change(id)?;
        let keep = match passphrase {
            Some(passphrase) => KeepKey::Passphrase(passphrase, Argon2Cost::DEFAULT),
            None => KeepKey::File(self.settings.keys_dir.clone()),
        };
        let (info, recovery_key) = Instance::create(&self.disk, &self.clock, &dir, id, &keep)?;
        let opened = match keep {
            KeepKey::Passphrase(passphrase, _) => self.unlock(id, passphrase),
            KeepKey::File(_) => self.instance(id).map(drop),
        };
        Ok(Created { info, recovery_key, opened })
    }

    /// The ids of all instances. A directory without `instance.json` is none, or none yet.
    pub fn instance_ids(&self) -> Result<Vec<String>, ArchiveError> {
        let dir = self.instances_dir();
        let dirs = self
            .disk
            .dirs(&dir)
            .map_err(|error| ArchiveError::File { path: dir, reason: error.to_string() })?;
        let is_instance = |dir: &&PathBuf| self.disk.exists(&dir.join("instance.json")).unwrap_or(true);
        let dirs = dirs.iter().filter(is_instance);
        Ok(dirs.filter_map(|dir| dir.file_name()?.to_str().map(str::to_owned)).collect())
    }

    /// An instance, opened once. Blocks for the disk. One that was stopped is not opened; one that somebody opens is waited for
    /// a moment only.
    pub fn instance(&self, id: &str) -> Result<Arc<Instance>, ArchiveError> {
        let slot = self.slot(id)?;
        slot.open(
            id,
            || self.open_instance(id, &self.opener(id)?),
            |instance| self.stays_open(&slot, id, instance),
        )
    }

    /// Opens an instance with its passphrase; it stays open as long as this does, or until it is stopped.
    pub fn unlock(&self, id: &str, passphrase: SecretString) -> Result<(), ArchiveError> {
        let slot = self.slot(id)?;
        if matches!(slot.place(), Place::Open(_)) {
            // Nothing is to be opened, and whoever asks is told whether that is its passphrase.
            return Instance::check_passphrase(&*self.disk, &self.instance_dir(id)?, &passphrase);
        }
        let opener = Opener::Passphrase(passphrase);
        slot.open(id, || self.open_instance(id, &opener), |instance| self.stays_open(&slot, id, instance))?;
        Ok(())
    }

    /// The place of an instance that is there.
    fn slot(&self, id: &str) -> Result<Arc<Slot>, ArchiveError> {
        let unknown = || ArchiveError::NoInstance(id.chars().take(64).collect());
        let dir = self.instance_dir(id).map_err(|_| unknown())?;
        let file = dir.join("instance.json");
        if !self.disk.exists(&file).map_err(ArchiveError::file(&file))? {
            return Err(Instance::absent(&*self.disk, &dir, id));
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(slots.entry(id.to_owned()).or_insert_with(|| Arc::new(Slot::new()))))
    }

    fn open_instance(&self, id: &str, opener: &Opener) -> Result<Arc<Instance>, ArchiveError> {
        let dir = self.instance_dir(id)?;
        let (disk, clock) = (&self.disk, &self.clock);
        let extract = index_fields_with_documents;
        let instance = Arc::new(match Mode::read(&**disk, &dir)? {
            Mode::Started => Instance::open(disk, clock, &dir, id, opener, extract)?,
            Mode::Safe => return Ok(Arc::new(Instance::open_safe(disk, clock, &dir, id, opener, extract)?)),
            Mode::Stopped => return Err(ArchiveError::Stopped(id.into())),
        });
        instance.read_documents_with(Arc::new(self.documents.shared()));
        Ok(instance)
    }

    /// Whether an instance that was just opened is still to be open, and so; then its indexes follow.
    fn stays_open(&self, slot: &Slot, id: &str, instance: &Arc<Instance>) -> Result<(), ArchiveError> {
        let dir = self.instance_dir(id)?;
        match Mode::read(&*self.disk, &dir)? {
            Mode::Started if !instance.is_safe() => {}
            Mode::Safe if instance.is_safe() => return Ok(()),
            Mode::Stopped => return Err(ArchiveError::Stopped(id.into())),
            Mode::Started | Mode::Safe => return Err(ArchiveError::Opening(id.into())),
        }
        if self.running {
            let follower = Follower::start(instance).map_err(ArchiveError::file(&dir))?;
            *slot.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(follower);
        }
        Ok(())
    }

    /// The key file, or the passphrase when that lies in a file in `keys_dir`.
    fn opener(&self, id: &str) -> Result<Opener, ArchiveError> {
        let keys_dir = self.settings.keys_dir.clone();
        let passphrase = keys_dir.as_ref().map(|dir| dir.join(format!("{id}.passphrase")));
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

/// An instance that was created.
#[derive(Debug)]
pub struct Created {
    /// What is shown of it.
    pub info: InstanceInfo,
    /// What opens it when all else is lost.
    pub recovery_key: SecretString,
    /// Whether it opened; it is there either way.
    pub opened: Result<(), ArchiveError>,
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
