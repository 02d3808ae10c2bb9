//! One archive instance: keys, users, audit log, and its stores.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::aead::AeadKey;
use postern_shared::disk::{Disk, DiskLock};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::catalog::{Folder, InFolder};
use super::files::{read_json, write, write_json};
use super::follow::Following;
use super::index::Extract;
use super::master::{self, KeepKey, Opener};
use super::message::{NewMessage, Outcome, Placement};
use super::octets::Octets;
use super::read_only::ReadOnlyDisk;
use super::store::DICTIONARY;
use super::stores::{
    Commits, Ready, RollOver, State, StoreShown, Stores, away_dir, left_of_an_instance, remove_derived,
};
use super::users::{User, UserChange, Users};
use super::{ArchiveError, Audit, check_id, side_by_side};

pub(super) const FORMAT_VERSION: u32 = 2;

/// A store takes at least so much.
const ROLL_OVER_MESSAGES_MIN: u64 = 1000;
const ROLL_OVER_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// What is shown of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceInfo {
    /// Its id.
    pub id: String,
    /// Of the files on disk.
    pub format: u32,
    /// When it was created.
    pub created: UnixMillis,
}

impl InstanceInfo {
    /// Of the instance in `dir`.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, ArchiveError> {
        read_json(disk, &dir.join("instance.json"))
    }
}

/// How much an instance holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Stats {
    pub messages: u64,
    pub bytes: u64,
    /// Octets of packs: what the messages take on disk.
    pub stored_bytes: u64,
    pub users: usize,
    pub unassigned: u64,
    pub quarantined: u64,
    pub leaves: u64,
    pub stores: usize,
    pub damage: Vec<String>,
}

/// An open instance. One process opens it at a time: its lock sees to that.
#[derive(Debug)]
pub struct Instance {
    pub(super) info: InstanceInfo,
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// For what lies outside the instance's directory, where safe mode writes too.
    pub(super) outside: Arc<dyn Disk>,
    users: Users,
    audit: Audit,
    pub(super) stores: Stores,
    commits: Commits,
    pub(super) extract: Extract,
    safe: bool,
    /// What was wrong with its files when it was opened.
    notes: Vec<String>,
    pub(super) following: Following,
    _lock: DiskLock,
}

impl Instance {
    /// Creates an instance in `dir`, where none must be. Returns its recovery key, which is shown to whoever created it and
    /// is nowhere else.
    pub fn create(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        dir: &Path,
        id: &str,
        keep: &KeepKey,
    ) -> Result<(InstanceInfo, SecretString), ArchiveError> {
        check_id(id)?;
        if disk.exists(&dir.join("instance.json")).map_err(ArchiveError::file(dir))? {
            return Err(ArchiveError::InstanceExists(id.into()));
        }
        if let Some(found) = left_of_an_instance(&**disk, dir)? {
            return Err(incomplete(dir, id, &found));
        }
        let (master, recovery) = master::create(&**disk, dir, keep)?;
        keep_dictionary(&**disk, dir)?;
        Stores::create(&**disk, &**clock, dir, &master)?;
        // Last: with this file the instance exists.
        let info = InstanceInfo { id: id.into(), format: FORMAT_VERSION, created: clock.wall() };
        write_json(&**disk, &dir.join("instance.json"), &info)?;
        Ok((info, recovery))
    }

    /// Opens the instance in `dir`, finishes what a crash interrupted, and rebuilds catalogs that are missing or
    /// damaged. `extract` is for the index.
    pub fn open(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        dir: &Path,
        id: &str,
        opener: &Opener,
        extract: Extract,
    ) -> Result<Self, ArchiveError> {
        Self::open_as((disk, disk), clock, dir, id, opener, extract)
    }

    /// Opens the instance in `dir` in safe mode: nothing but its audit log is written (and what SQLite keeps beside a
    /// catalog), nothing is repaired; stores that do not open are told.
    pub fn open_safe(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        dir: &Path,
        id: &str,
        opener: &Opener,
        extract: Extract,
    ) -> Result<Self, ArchiveError> {
        let safe: Arc<dyn Disk> = Arc::new(ReadOnlyDisk::new(Arc::clone(disk), dir));
        Self::open_as((&safe, disk), clock, dir, id, opener, extract)
    }

    /// In safe mode when its own disk is another one than that for what lies outside.
    fn open_as(
        (disk, outside): (&Arc<dyn Disk>, &Arc<dyn Disk>),
        clock: &Arc<dyn Clock>,
        dir: &Path,
        id: &str,
        opener: &Opener,
        extract: Extract,
    ) -> Result<Self, ArchiveError> {
        let safe = !Arc::ptr_eq(disk, outside);
        let info_path = dir.join("instance.json");
        if check_id(id).is_err() || !disk.exists(&info_path).map_err(ArchiveError::file(&info_path))? {
            return Err(Self::absent(&**disk, dir, id));
        }
        let info: InstanceInfo = read_json(&**disk, &info_path)?;
        if info.format != FORMAT_VERSION {
            let reason =
                format!("format {} is not known to this program, which knows {FORMAT_VERSION}", info.format);
            return Err(ArchiveError::File { path: info_path, reason });
        }
        if info.id != id {
            return Err(ArchiveError::OtherInstance { path: dir.into(), found: info.id });
        }
        let lock_path = dir.join("lock");
        let note = format!("postern-archiver, process {}", std::process::id());
        let lock = disk.lock(&lock_path, &note).map_err(ArchiveError::file(&lock_path))?;
        let lock = lock.ok_or_else(|| ArchiveError::InstanceInUse(id.into()))?;
        let master = master::open(&**disk, dir, opener)?;
        let mut notes = Vec::new();
        let stores_file = dir.join("stores.json");
        if !disk.exists(&stores_file).map_err(ArchiveError::file(&stores_file))? {
            let what = "it is missing. The stores below stores/ are taken as attached, the last one as the current one and the others \
                        as write-protected; attach those that lie elsewhere, detach or disable those that are not wanted";
            tracing::error!(path = %stores_file.display(), "{what}");
            notes.push(format!("{}: {what}", stores_file.display()));
        }
        if !safe && let Err(error) = keep_dictionary(&**disk, dir) {
            tracing::warn!(%error, "the dictionary cannot be kept beside the archive; this program has it");
        }
        Ok(Self {
            info,
            dir: dir.into(),
            disk: Arc::clone(disk),
            outside: Arc::clone(outside),
            users: Users::open(Arc::clone(disk), dir.join("users.json"))?,
            audit: Audit::open(&**disk, Arc::clone(clock), &dir.join("audit.log"))?,
            stores: match safe {
                true => Stores::open_safe(disk, clock, dir, master)?,
                false => Stores::open(disk, clock, dir, master)?,
            },
            commits: Commits::default(),
            extract,
            safe,
            notes,
            following: Following::default(),
            _lock: lock,
        })
    }

    /// Whether it is in safe mode.
    pub fn is_safe(&self) -> bool {
        self.safe
    }

    /// An error in safe mode.
    pub(super) fn check_writable(&self) -> Result<(), ArchiveError> {
        if self.safe { Err(ArchiveError::SafeMode(self.info.id.clone())) } else { Ok(()) }
    }

    /// Why there is no instance in `dir` that could be opened: there is none, or its `instance.json` is missing.
    pub fn absent(disk: &dyn Disk, dir: &Path, id: &str) -> ArchiveError {
        let none = || ArchiveError::NoInstance(id.chars().take(64).collect());
        if check_id(id).is_err() {
            return none();
        }
        match left_of_an_instance(disk, dir) {
            Ok(Some(found)) => incomplete(dir, id, &found),
            Ok(None) => none(),
            Err(error) => error,
        }
    }

    /// Archives a batch: all of it is durable when this returns `Ok`. After an error none of it is, but what folded into an
    /// older store may be there; archiving it again changes nothing.
    pub fn commit(&self, batch: Vec<NewMessage>) -> Result<Vec<Outcome>, ArchiveError> {
        let ready: Result<Vec<_>, _> =
            side_by_side(batch, |message| self.ready(message)).into_iter().collect();
        self.commit_ready(ready?)
    }

    /// Does for a message what needs no turn: cuts, compresses and seals it. It is archived when it is committed.
    pub fn ready(&self, message: NewMessage) -> Result<Ready, ArchiveError> {
        self.check_writable()?;
        self.stores.ready(message, None)
    }

    /// [`Self::commit`] of messages for which all is done but that.
    pub fn commit_ready(&self, batch: Vec<Ready>) -> Result<Vec<Outcome>, ArchiveError> {
        self.check_writable()?;
        let done = self.stores.commit(&self.commits, batch);
        self.following.ring();
        done
    }

    /// Archives a message whose octets are not in memory; `message.content` is not looked at, nor is its fold key. Evidence
    /// cannot be given around such a message, only as a whole report.
    pub fn commit_long(&self, message: NewMessage, octets: Arc<dyn Octets>) -> Result<Outcome, ArchiveError> {
        self.check_writable()?;
        let outcomes = self.commit_ready(vec![self.stores.ready(message, Some(octets))?])?;
        outcomes.into_iter().next().ok_or(ArchiveError::NoCurrentStore)
    }

    /// What is shown of it.
    pub fn info(&self) -> &InstanceInfo {
        &self.info
    }

    /// How much it holds.
    pub fn stats(&self) -> Result<Stats, ArchiveError> {
        let mut stats = Stats {
            messages: 0,
            bytes: 0,
            stored_bytes: 0,
            users: self.users.list().len(),
            unassigned: 0,
            quarantined: 0,
            leaves: 0,
            stores: 0,
            damage: self.notes.clone(),
        };
        for shown in self.stores.shown()? {
            stats.stores += 1;
            stats.leaves += shown.leaves.unwrap_or(0);
            stats.stored_bytes += shown.stored_bytes.unwrap_or(0);
            stats.damage.extend(shown.damage);
            stats.damage.extend(shown.error.map(|error| format!("store {}: {error}", shown.id)));
        }
        for attached in self.stores.open_stores() {
            // One that fails is among the damage.
            let Some(counts) = attached.store.catalog().counts().ok() else { continue };
            stats.messages += counts.messages;
            stats.bytes += counts.bytes;
            stats.unassigned += counts.unassigned;
            stats.quarantined += counts.quarantined;
            let damage = attached.index.damage();
            stats
                .damage
                .extend(damage.map(|damage| format!("the index of store {}: {damage}", attached.store.id)));
        }
        Ok(stats)
    }

    /// Its stores, in the order in which they were made.
    pub fn stores(&self) -> Result<Vec<StoreShown>, ArchiveError> {
        self.stores.shown()
    }

    /// Makes another store the current one; its id.
    pub fn create_store(&self) -> Result<String, ArchiveError> {
        self.check_writable()?;
        self.stores.create_next()
    }

    /// Gives a store another state.
    pub fn set_store_state(&self, id: &str, state: State) -> Result<(), ArchiveError> {
        self.check_writable()?;
        self.stores.set_state(id, state)
    }

    /// Takes a store out of the instance; its directory, where it stays, without catalog and index: those have subjects, addresses and
    /// texts in clear, and are made again when it is attached.
    pub fn detach_store(&self, id: &str) -> Result<PathBuf, ArchiveError> {
        self.check_writable()?;
        let dir = self.stores.detach(id)?;
        let removed = [&dir, &away_dir(&self.dir, id)].map(|dir| remove_derived(&*self.disk, dir));
        if let Err(error) = removed.into_iter().collect::<Result<(), _>>() {
            let reason = format!(
                "the store is detached, but its catalog and index, which are not encrypted, are still there: {error}"
            );
            return Err(ArchiveError::File { path: dir, reason });
        }
        Ok(dir)
    }

    /// Adds a store of this instance that lies in `dir`, write-protected; its id.
    pub fn attach_store(&self, dir: &Path) -> Result<String, ArchiveError> {
        self.check_writable()?;
        self.stores.attach(dir)
    }

    /// When another store becomes the current one.
    pub fn roll_over(&self) -> RollOver {
        self.stores.roll_over()
    }

    /// Sets when another store becomes the current one. Not so low that there would soon be more stores than can be open.
    pub fn set_roll_over(&self, roll_over: RollOver) -> Result<(), ArchiveError> {
        self.check_writable()?;
        if roll_over.messages < ROLL_OVER_MESSAGES_MIN || roll_over.bytes < ROLL_OVER_BYTES_MIN {
            return Err(ArchiveError::RollOver {
                messages: ROLL_OVER_MESSAGES_MIN,
                bytes: ROLL_OVER_BYTES_MIN,
            });
        }
        self.stores.set_roll_over(roll_over)
    }

    /// The folders of an archive, or of all, store by store.
    pub fn folders(&self, archive: Option<&str>) -> Result<Vec<Folder>, ArchiveError> {
        let mut folders = Vec::new();
        for attached in self.stores.open_stores() {
            let found = self.stores.asked(&attached, attached.store.catalog().folders(archive))?;
            folders.extend(found.unwrap_or_default());
        }
        Ok(folders)
    }

    /// The messages of a folder with UIDs above `after`, at most `limit`, by UID.
    pub fn in_folder(
        &self,
        folder: &Placement,
        after: u32,
        limit: usize,
    ) -> Result<Vec<InFolder>, ArchiveError> {
        let mut messages = Vec::new();
        for attached in self.stores.open_stores() {
            let found = attached.store.catalog().in_folder(folder, after, limit);
            messages.extend(self.stores.asked(&attached, found)?.unwrap_or_default());
        }
        messages.sort_by_key(|message| message.uid);
        // Those of one UID stay together: the next page begins behind it.
        let last = limit.checked_sub(1).and_then(|last| messages.get(last)).map_or(0, |last| last.uid);
        messages
            .truncate(messages.partition_point(|message| message.uid <= last).max(messages.len().min(limit)));
        Ok(messages)
    }

    /// Adds a user who may do what is usual.
    pub fn add_user(&self, id: &str, emails: &[String]) -> Result<User, ArchiveError> {
        self.add_user_as(User::new(id, emails))
    }

    /// Adds a user.
    pub fn add_user_as(&self, user: User) -> Result<User, ArchiveError> {
        self.check_writable()?;
        self.users.add(user)
    }

    /// Changes a user.
    pub fn edit_user(&self, id: &str, change: UserChange) -> Result<User, ArchiveError> {
        self.check_writable()?;
        self.users.edit(id, change)
    }

    /// Deletes a user; the archive of that name stays.
    pub fn delete_user(&self, id: &str) -> Result<User, ArchiveError> {
        self.check_writable()?;
        self.users.delete(id)
    }

    /// All users.
    pub fn users(&self) -> Vec<User> {
        self.users.list()
    }

    /// One user.
    pub fn user(&self, id: &str) -> Result<User, ArchiveError> {
        Ok(self.users.show(id)?)
    }

    /// Whose address that is.
    pub fn owner(&self, address: &str) -> Option<String> {
        self.users.owner(address)
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Where profiles are kept, and the key that their passwords are sealed under.
    pub fn profiles(&self) -> (PathBuf, AeadKey) {
        (self.dir.join("profiles"), AeadKey::new(&self.stores.derived(b"postern profiles v1")))
    }

    /// The disk the instance lies on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

fn incomplete(dir: &Path, id: &str, found: &str) -> ArchiveError {
    ArchiveError::Incomplete { dir: dir.into(), id: id.chars().take(64).collect(), found: found.into() }
}

/// Keeps the dictionary, without which nearly no object can be read, where the objects are.
fn keep_dictionary(disk: &dyn Disk, dir: &Path) -> Result<(), ArchiveError> {
    let path = dir.join("dictionary-1.txt");
    match disk.exists(&path).map_err(ArchiveError::file(&path))? {
        true => Ok(()),
        false => write(disk, &path, DICTIONARY),
    }
}
