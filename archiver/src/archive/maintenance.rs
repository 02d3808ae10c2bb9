//! Long works on an instance: verify, rebuild, compact, backup, restore. One at a time, beside archiving and reading; each tells
//! how far it is, can be ended, and goes on where it was the next time.

use std::path::Path;
use std::sync::MutexGuard;

use postern_shared::disk::Disk;
use serde::Serialize;

use super::files::{read_json, write_json};
use super::instance::{Instance, InstanceInfo};
use super::store::Damages;
use super::stores::{Finding, Watch, restore};
use super::verifying::Verifying;
use super::{ArchiveError, check_id};

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Messages read.
    pub messages: u64,
    /// What is not as it should be; names each damaged message.
    pub findings: Vec<Finding>,
    /// Findings past those that are told.
    pub findings_left_out: u64,
    /// It was ended; the next one goes on.
    pub cancelled: bool,
}

/// What compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Packs removed.
    pub packs: u64,
    /// Octets they had more than what was moved.
    pub bytes: u64,
    /// Stores in which messages are missing or cannot be read: nothing was dropped there, but octets that are no object.
    pub stores_incomplete: u64,
    /// It was ended; what is done stays done.
    pub cancelled: bool,
}

impl Instance {
    fn maintain(&self) -> Result<MutexGuard<'_, ()>, ArchiveError> {
        match self.stores.maintaining().try_lock() {
            Ok(held) => Ok(held),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => Err(ArchiveError::Busy),
        }
    }

    /// Reads every message of every store, or of one, and compares it with what was archived; walks every pack. `afresh`: does
    /// not go on where one was ended.
    pub fn verify(
        &self,
        store: Option<&str>,
        afresh: bool,
        watch: Watch<'_>,
    ) -> Result<Verified, ArchiveError> {
        let _held = self.maintain()?;
        let work = self.dir.join("work");
        self.disk.create_dir_all(&work).map_err(ArchiveError::file(&work))?;
        let mut verifying = Verifying::open(&*self.disk, &work, afresh)?;
        let mut verified = Verified::default();
        for attached in self.wanted_stores(store)? {
            let id = attached.store.id.clone();
            let mut state = verifying.state(&id, &attached.store.catalog().epoch()?, self.stores.now());
            let mut save = |state: &_| verifying.save(&id, state);
            verified.cancelled = !attached.store.verify(&mut state, watch, &mut save)?;
            verified.messages += state.messages;
            verified.findings.extend(state.findings);
            verified.findings_left_out += state.findings_left_out;
            if verified.cancelled {
                return Ok(verified);
            }
            if let Some(damage) = attached.index.check()? {
                let what = format!("the index: {damage}; rebuild --index-only builds another one");
                verified.findings.push(Finding { store: id, message: None, what });
            }
        }
        verifying.forget()?;
        Ok(verified)
    }

    pub(super) fn wanted_stores(
        &self,
        store: Option<&str>,
    ) -> Result<Vec<std::sync::Arc<super::stores::Attached>>, ArchiveError> {
        store.map_or_else(|| Ok(self.stores.open_stores()), |id| Ok(vec![self.stores.get(id)?]))
    }

    /// Makes the catalogs, of all stores or of one, anew from packs alone; the indexes follow. Returns what is damaged; `None`
    /// when it was ended before its time.
    pub fn rebuild(
        &self,
        store: Option<&str>,
        watch: Watch<'_>,
    ) -> Result<Option<Vec<String>>, ArchiveError> {
        self.check_writable()?;
        let _held = self.maintain()?;
        let mut damage = Damages::default();
        for attached in self.wanted_stores(store)? {
            if !attached.store.rebuild(self.stores.ids(), watch, &mut damage)? {
                return Ok(None);
            }
        }
        // The rebuilt catalogs have other epochs, so each index begins anew.
        if !self.follow(watch)? {
            return Ok(None);
        }
        Ok(Some(damage.lines()))
    }

    /// How many stores were looked at, and which of them have a catalog that is damaged; `None` when it was ended before its time.
    pub fn broken_catalogs(&self, watch: Watch<'_>) -> Result<Option<(u64, Vec<String>)>, ArchiveError> {
        let stores = self.stores.open_stores();
        let total = stores.len() as u64;
        let mut broken = Vec::new();
        for (done, attached) in stores.iter().enumerate() {
            if watch("checking catalogs", done as u64, Some(total)) {
                return Ok(None);
            }
            if let Some(what) = attached.store.catalog().check()? {
                tracing::warn!(store = attached.store.id, what, "the catalog is damaged");
                broken.push(attached.store.id.clone());
            }
        }
        Ok(Some((total, broken)))
    }

    /// Frees what nobody needs in packs of which that much is not needed, in per cent.
    pub fn compact(&self, unused_percent: u64, watch: Watch<'_>) -> Result<Compacted, ArchiveError> {
        self.check_writable()?;
        let _held = self.maintain()?;
        let mut compacted = Compacted::default();
        let mut damaged = None;
        for attached in self.stores.writable_stores() {
            let done = match attached.store.compact(unused_percent, watch) {
                Ok(done) => done,
                // It did what could be done, and what is wrong there is no reason to leave the others.
                Err(error @ ArchiveError::Store(_)) => {
                    damaged.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            compacted.packs += done.packs;
            compacted.bytes += done.bytes;
            compacted.stores_incomplete += u64::from(done.keeps_parts);
            if !done.is_whole {
                compacted.cancelled = true;
                break;
            }
        }
        match damaged {
            Some(error) if !compacted.cancelled => Err(error),
            _ => Ok(compacted),
        }
    }

    /// Backs the instance up into the directory `to`: files and octets; `None` when it was ended before its time.
    pub fn backup(&self, to: &Path, watch: Watch<'_>) -> Result<Option<(u64, u64)>, ArchiveError> {
        let _held = self.maintain()?;
        let backup = self.stores.backup(&*self.outside, &self.info.id, to, watch)?;
        Ok(backup
            .map(|backup| (backup.files.len() as u64, backup.files.values().map(|kept| kept.bytes).sum())))
    }

    /// Makes an instance `id` in `dir` from a backup. Returns files of the backup that are damaged, which are an error unless it is to be done
    /// `despite_damage`; `None` when it was ended before its time.
    pub fn restore(
        disk: &dyn Disk,
        from: &Path,
        dir: &Path,
        id: &str,
        despite_damage: bool,
        watch: Watch<'_>,
    ) -> Result<Option<Vec<String>>, ArchiveError> {
        check_id(id)?;
        let path = dir.join("instance.json");
        if disk.exists(&path).map_err(ArchiveError::file(&path))? {
            return Err(ArchiveError::InstanceExists(id.into()));
        }
        let Some(damaged) = restore(disk, from, dir, despite_damage, watch)? else { return Ok(None) };
        let info: InstanceInfo = read_json(disk, &path)?;
        if info.id != id {
            write_json(disk, &path, &InstanceInfo { id: id.into(), ..info })?;
        }
        Ok(Some(damaged))
    }

    /// Puts a key file where a restored instance looks for it; refused when it does not open the instance.
    pub fn install_key_file(
        disk: &dyn Disk,
        dir: &Path,
        keys_dir: Option<&Path>,
        key_file: &Path,
    ) -> Result<(), ArchiveError> {
        super::master::install_key_file(disk, dir, keys_dir, key_file)
    }
}
