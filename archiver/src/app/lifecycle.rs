//! Starting, stopping and deleting instances. One at a time for each instance; what opens one meanwhile finds out.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use postern_shared::shutdown::{Shutdown, switch};

use super::Core;
use super::slot::{Place, Slot};
use crate::archive::{ArchiveError, Instance, InstanceInfo, Mode};

/// How long whoever works on an instance may take to come to a safe point.
const PATIENCE: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(20);

/// How an instance stands, without opening it.
#[derive(Debug)]
pub enum Standing {
    /// It is open.
    Open(Arc<Instance>),
    /// Somebody opens it, or will soon.
    Opening,
    /// It was stopped.
    Stopped,
    /// It does not open: why, and whether for want of its key.
    Failed {
        /// What it said.
        error: String,
        /// Whether its key or passphrase is missing or wrong.
        is_locked: bool,
    },
}

/// Somebody writes into an instance's directory without having it open; it is not closed before they are done.
#[derive(Debug)]
pub struct Working(#[expect(dead_code, reason = "it is counted")] Arc<()>);

/// Somebody creates, starts, stops or deletes an instance; over when dropped.
#[derive(Debug)]
pub(crate) struct Changing<'c> {
    core: &'c Core,
    id: String,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.core.changing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Core {
    /// Takes care that nobody else creates, restores, starts, stops or deletes that instance.
    pub(crate) fn change(&self, id: &str) -> Result<Changing<'_>, ArchiveError> {
        let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        match changing.insert(id.to_owned()) {
            true => Ok(Changing { core: self, id: id.to_owned() }),
            false => Err(ArchiveError::Changing(id.chars().take(64).collect())),
        }
    }

    /// Opens all instances that are to be open, until `stop` says so; what keeps one closed is logged and concerns no other.
    /// Blocks for the disk.
    pub fn open_all(&self, stop: &Shutdown) {
        let ids = self.instance_ids().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look for instances");
            Vec::new()
        });
        for id in ids {
            if stop.is_requested() {
                break;
            }
            match self.instance(&id) {
                Ok(instance) => tracing::info!(instance = id, safe = instance.is_safe(), "instance is open"),
                Err(
                    error @ (ArchiveError::Stopped(_)
                    | ArchiveError::Locked { .. }
                    | ArchiveError::Opening(_)),
                ) => {
                    tracing::warn!(instance = id, %error, "instance stays closed");
                }
                Err(error) => tracing::error!(instance = id, %error, "instance does not open; the others do"),
            }
        }
        self.opened_all.store(true, Ordering::Release);
    }

    fn known_slot(&self, id: &str) -> Option<Arc<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(Arc::clone)
    }

    /// The instance when it is open, without opening it.
    pub fn open_instance_of(&self, id: &str) -> Option<Arc<Instance>> {
        match self.known_slot(id)?.place() {
            Place::Open(instance) => Some(instance),
            Place::Closed | Place::Opening | Place::Failed { .. } => None,
        }
    }

    /// How an instance stands. Waits for nobody who opens it; without a daemon, where nobody else does, it is opened.
    pub fn standing(&self, id: &str) -> Result<Standing, ArchiveError> {
        let place = self.slot(id)?.place();
        let mode = Mode::read(&*self.disk, &self.instance_dir(id)?)?;
        Ok(match place {
            Place::Open(instance) => Standing::Open(instance),
            _ if mode == Mode::Stopped => Standing::Stopped,
            Place::Opening => Standing::Opening,
            Place::Failed { error, is_locked } => Standing::Failed { error, is_locked },
            // The daemon has not come to it yet.
            Place::Closed if self.running && !self.opened_all.load(Ordering::Acquire) => Standing::Opening,
            Place::Closed => match self.instance(id) {
                Ok(instance) => Standing::Open(instance),
                Err(ArchiveError::Stopped(_)) => Standing::Stopped,
                Err(ArchiveError::Opening(_)) => Standing::Opening,
                Err(error) => {
                    let is_locked = matches!(error, ArchiveError::Locked { .. });
                    Standing::Failed { error: error.to_string(), is_locked }
                }
            },
        })
    }

    /// What is shown of an instance, open or not.
    pub fn instance_info(&self, id: &str) -> Result<InstanceInfo, ArchiveError> {
        match self.open_instance_of(id) {
            Some(instance) => Ok(instance.info().clone()),
            None => {
                self.check_there(id)?;
                InstanceInfo::read(&*self.disk, &self.instance_dir(id)?)
            }
        }
    }

    /// An error when there is no such instance.
    pub fn check_there(&self, id: &str) -> Result<(), ArchiveError> {
        self.slot(id).map(drop)
    }

    /// Told when the instance is stopped; whoever works on it then comes to an end.
    pub fn stopping(&self, id: &str) -> Option<Shutdown> {
        let slot = self.slot(id).ok()?;
        let stop = slot.stop.lock().unwrap_or_else(PoisonError::into_inner);
        Some(stop.1.clone())
    }

    /// Announces work in the directory of an instance that is to be open for writing. It is not closed before that is over.
    pub fn working(&self, id: &str) -> Result<Working, ArchiveError> {
        let working = Working(Arc::clone(&self.slot(id)?.work));
        // Whoever stops it writes the mode first, and then waits for this.
        match Mode::read(&*self.disk, &self.instance_dir(id)?)? {
            Mode::Started => Ok(working),
            Mode::Safe => Err(ArchiveError::SafeMode(id.into())),
            Mode::Stopped => Err(ArchiveError::Stopped(id.into())),
        }
    }

    /// Opens an instance, in safe mode or whole; it will be opened so from now on.
    pub fn start_instance(&self, id: &str, safe: bool) -> Result<Arc<Instance>, ArchiveError> {
        let slot = self.slot(id)?;
        let _one = self.change(id)?;
        let is_other = match slot.place() {
            Place::Open(instance) => instance.is_safe() != safe,
            Place::Opening => {
                let mode = Mode::read(&*self.disk, &self.instance_dir(id)?)?;
                mode != if safe { Mode::Safe } else { Mode::Started }
            }
            Place::Closed | Place::Failed { .. } => false,
        };
        if is_other {
            self.stop(id)?;
        }
        let mode = if safe { Mode::Safe } else { Mode::Started };
        mode.write(&*self.disk, &self.instance_dir(id)?)?;
        self.instance(id)
    }

    /// Closes an instance once whoever works on it has come to a safe point; it stays closed until it is started.
    pub fn stop_instance(&self, id: &str) -> Result<(), ArchiveError> {
        self.slot(id)?;
        let _one = self.change(id)?;
        self.stop(id)
    }

    fn stop(&self, id: &str) -> Result<(), ArchiveError> {
        Mode::Stopped.write(&*self.disk, &self.instance_dir(id)?)?;
        self.close(id)
    }

    /// Closes an instance whose mode says that nobody opens it anew.
    fn close(&self, id: &str) -> Result<(), ArchiveError> {
        let slot = self.slot(id)?;
        let mut closing = slot.closing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = slot.close(id, PATIENCE)? {
            *closing = Some(Arc::downgrade(&instance));
        }
        // Told only now: who looks for the instance again does not find it.
        let old = std::mem::replace(&mut *slot.stop.lock().unwrap_or_else(PoisonError::into_inner), switch());
        old.0.turn();
        drop(slot.follower.lock().unwrap_or_else(PoisonError::into_inner).take());
        let held = closing.clone();
        drop(closing);
        // Without a lock: who works on it may look for it again meanwhile.
        let start = self.clock.moment();
        let wait_until = |done: &dyn Fn() -> Result<bool, ArchiveError>| {
            while !done()? {
                if self.clock.moment().since(start) > PATIENCE {
                    return Err(ArchiveError::Stopping(id.into()));
                }
                std::thread::sleep(PAUSE);
            }
            Ok(())
        };
        wait_until(&|| Ok(Arc::strong_count(&slot.work) == 1))?;
        let Some(held) = held else { return Ok(()) };
        wait_until(&|| Ok(held.strong_count() == 0))?;
        // Whoever had it last may still be closing its files; the lock goes with the last of them.
        let lock = self.instance_dir(id)?.join("lock");
        wait_until(&|| {
            let free = self.disk.lock(&lock, "").map_err(ArchiveError::file(&lock))?;
            Ok(free.is_some())
        })?;
        *slot.closing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Takes an instance out of the archiver; its data stays. Ends the tokens that are bound to it, and tells how many those
    /// were, and where it lies from now on.
    pub fn delete_instance(&self, id: &str) -> Result<(PathBuf, usize), ArchiveError> {
        self.slot(id)?;
        let _one = self.change(id)?;
        self.stop(id)?;
        let from = self.instance_dir(id)?;
        // First: a token too few does no harm, and one too many opens what comes under this id later.
        let tokens = self.tokens.revoke_of(id, None);
        let tokens = tokens.map_err(|error| ArchiveError::Tokens(error.to_string()))?;
        self.jobs.forget(id);
        let dir = self.settings.data_dir.join("deleted");
        let stamp = self.clock.wall().rfc3339();
        let stamp: String = stamp.chars().filter(char::is_ascii_alphanumeric).collect();
        let to = dir.join(format!("{id}-{}", stamp.to_ascii_lowercase()));
        let disk = &*self.disk;
        disk.create_dir_all(&dir).map_err(ArchiveError::file(&dir))?;
        if disk.exists(&to).map_err(ArchiveError::file(&to))? {
            return Err(ArchiveError::InstanceExists(to.display().to_string()));
        }
        let moved = disk.rename(&from, &to).and_then(|()| disk.sync_dir(&dir));
        moved.and_then(|()| disk.sync_dir(&self.instances_dir())).map_err(ArchiveError::file(&from))?;
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        // Else an instance that is created under this id later would find a key that is not its own.
        if let Some(keys_dir) = &self.settings.keys_dir {
            Instance::rename_key_file(disk, &from, &to, keys_dir)?;
        }
        Ok((to, tokens))
    }

    /// Refuses a directory that lies among the archiver's own data, where other instances are; `allowed` may be used.
    pub fn check_outside(&self, path: &Path, allowed: Option<&Path>) -> Result<(), ArchiveError> {
        let (path, own) = (real(path), real(&self.settings.data_dir));
        let is_allowed = allowed.is_some_and(|allowed| path.starts_with(real(allowed)));
        if path.starts_with(&own) && !is_allowed {
            return Err(ArchiveError::OwnDirectory { path });
        }
        Ok(())
    }
}

/// The path behind symbolic links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut missing = Vec::new();
    let mut here = absolute.as_path();
    loop {
        if let Ok(found) = here.canonicalize() {
            return missing.iter().rev().fold(found, |path, part| match part {
                std::path::Component::ParentDir => path.parent().map(Path::to_path_buf).unwrap_or(path),
                other => path.join(other),
            });
        }
        let (Some(parent), Some(last)) = (here.parent(), here.components().next_back()) else {
            return absolute;
        };
        missing.push(last);
        here = parent;
    }
}
