//! Starting, stopping and deleting instances.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use postern_shared::shutdown::{Shutdown, switch};

use super::Core;
use crate::archive::{ArchiveError, Instance, Mode};

/// How long whoever works on an instance may take to come to a safe point.
const PATIENCE: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(20);

impl Core {
    /// Opens all instances that are to be open; what keeps one closed is logged and concerns no other. Blocks for the disk.
    pub fn open_all(&self) {
        let ids = self.instance_ids().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look for instances");
            Vec::new()
        });
        for id in ids {
            match self.instance(&id) {
                Ok(instance) => tracing::info!(instance = id, safe = instance.is_safe(), "instance is open"),
                Err(error @ (ArchiveError::Stopped(_) | ArchiveError::Locked { .. })) => {
                    tracing::warn!(instance = id, %error, "instance stays closed");
                }
                Err(error) => tracing::error!(instance = id, %error, "instance does not open; the others do"),
            }
        }
    }

    /// The instance when it is open, without opening it.
    pub fn open_instance_of(&self, id: &str) -> Option<Arc<Instance>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(id).map(Arc::clone)?;
        drop(slots);
        // One that is just being opened is not open.
        slot.open.try_lock().ok().and_then(|open| open.clone())
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

    /// Opens an instance, in safe mode or whole; it will be opened so from now on.
    pub fn start_instance(&self, id: &str, safe: bool) -> Result<Arc<Instance>, ArchiveError> {
        let slot = self.slot(id)?;
        let is_other = slot.open().as_ref().is_some_and(|instance| instance.is_safe() != safe);
        if is_other {
            self.stop_instance(id)?;
        }
        let mode = if safe { Mode::Safe } else { Mode::Started };
        mode.write(&*self.disk, &self.instance_dir(id)?)?;
        self.instance(id)
    }

    /// Closes an instance once whoever works on it has come to a safe point; it stays closed until it is started.
    pub fn stop_instance(&self, id: &str) -> Result<(), ArchiveError> {
        self.slot(id)?;
        Mode::Stopped.write(&*self.disk, &self.instance_dir(id)?)?;
        self.close(id)
    }

    /// Closes an instance whose mode says that nobody opens it anew.
    fn close(&self, id: &str) -> Result<(), ArchiveError> {
        let slot = self.slot(id)?;
        let old = std::mem::replace(&mut *slot.stop.lock().unwrap_or_else(PoisonError::into_inner), switch());
        old.0.turn();
        let mut closing = slot.closing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = slot.open().take() {
            *closing = Arc::downgrade(&instance);
        }
        drop(slot.follower.lock().unwrap_or_else(PoisonError::into_inner).take());
        let held = closing.clone();
        drop(closing);
        let start = self.clock.moment();
        // Without a lock: who works on it may look for it again meanwhile.
        while held.strong_count() > 0 {
            if self.clock.moment().since(start) > PATIENCE {
                return Err(ArchiveError::Stopping(id.into()));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Takes an instance out of the archiver; its data stays. Where it lies from now on.
    pub fn delete_instance(&self, id: &str) -> Result<PathBuf, ArchiveError> {
        self.stop_instance(id)?;
        let from = self.instance_dir(id)?;
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
        Ok(to)
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
