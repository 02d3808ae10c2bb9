//! Which stores there are, and what state they are in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use postern_shared::clock::{Clock, Moment, UnixMillis};
use postern_shared::crypto::SecretBytes;
use postern_shared::disk::Disk;
use postern_shared::id::{MessageId, MessageIds};
use serde::Serialize;

use super::catalog_file::{away, open_catalog, open_catalog_as_it_is};
use super::file::{Entry, FORMAT, RollOver, State, StoreFile, StoresFile};
use super::store::{Beside, Store, StoreSetup};
use crate::archive::index::StoreIndex;
use crate::archive::master::derived;
use crate::archive::message::{IndexFields, Placement};
use crate::archive::read_only::ReadOnlyDisk;
use crate::archive::{ArchiveError, check_id};

/// Octets of fields kept for the index; past this it extracts them again.
const FRESH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A store that is attached and not disabled, with its index.
#[derive(Debug)]
pub(in crate::archive) struct Attached {
    pub(in crate::archive) store: Arc<Store>,
    pub(in crate::archive) index: StoreIndex,
    /// One catching up at a time.
    pub(in crate::archive) catching_up: Mutex<()>,
    /// One long message being read for the index at a time.
    pub(in crate::archive) reading_long: Mutex<()>,
    fresh: Mutex<(usize, HashMap<MessageId, IndexFields>)>,
}

impl Attached {
    /// Keeps fields for the index, so that they need not be extracted twice. Those of messages with documents are not: their octets
    /// are needed anyway.
    pub(super) fn keep_fresh(&self, fields: Vec<(MessageId, IndexFields)>) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, fields) in fields {
            let bytes = fields.bytes();
            if !fields.has_documents() && fresh.0 + bytes <= FRESH_BYTES_MAX {
                fresh.0 += bytes;
                fresh.1.insert(id, fields);
            }
        }
    }

    /// Fields that were kept.
    pub(in crate::archive) fn take_fresh(&self, id: MessageId) -> Option<IndexFields> {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let fields = fresh.1.remove(&id)?;
        fresh.0 -= fields.bytes();
        Some(fields)
    }
}

#[derive(Debug, Clone)]
struct Member {
    entry: Entry,
    /// Not of a disabled store, nor of one that does not open.
    open: Option<Arc<Attached>>,
    error: Option<String>,
}

/// What is shown of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StoreShown {
    pub id: String,
    pub state: State,
    pub dir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves: Option<u64>,
    pub damage: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// All stores of an instance.
#[derive(Debug)]
pub(in crate::archive) struct Stores {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dir: PathBuf,
    pub(in crate::archive) master: SecretBytes,
    pub(super) ids: MessageIds,
    /// Where catalogs and indexes of all stores are, when not in the stores' directories.
    beside: Option<Beside>,
    pack_bytes_max: u64,
    /// Nothing is written or repaired.
    safe: bool,
    set: RwLock<(RollOver, Vec<Member>)>,
    /// One change of the set at a time.
    changing: Mutex<()>,
    /// One maintenance at a time.
    maintaining: Mutex<()>,
}

impl Stores {
    /// Makes the first store of a new instance.
    pub(in crate::archive) fn create(
        disk: &dyn Disk,
        clock: &dyn Clock,
        instance: &Path,
        master: &SecretBytes,
    ) -> Result<(), ArchiveError> {
        StoreFile::create(disk, &instance.join("stores/0001"), "0001", clock.wall(), master)?;
        let first = Entry { id: "0001".into(), state: State::Current, dir: None };
        StoresFile { format: FORMAT, roll_over: RollOver::default(), stores: vec![first] }
            .write(disk, instance)
    }

    /// Opens all stores that are not disabled. One that does not open is told, unless it is the current one: then nothing
    /// could be archived.
    pub(in crate::archive) fn open(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        instance: &Path,
        master: SecretBytes,
    ) -> Result<Self, ArchiveError> {
        Self::open_beside(disk, clock, instance, master, None, StoreSetup::PACK_BYTES_MAX)
    }

    /// Opens what opens as it is, for reading only.
    pub(in crate::archive) fn open_safe(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        instance: &Path,
        master: SecretBytes,
    ) -> Result<Self, ArchiveError> {
        Self::open_as(disk, clock, instance, master, None, StoreSetup::PACK_BYTES_MAX, true)
    }

    /// The same with catalogs and indexes elsewhere, and packs of another length.
    pub(super) fn open_beside(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        instance: &Path,
        master: SecretBytes,
        beside: Option<Beside>,
        pack_bytes_max: u64,
    ) -> Result<Self, ArchiveError> {
        Self::open_as(disk, clock, instance, master, beside, pack_bytes_max, false)
    }

    fn open_as(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        instance: &Path,
        master: SecretBytes,
        beside: Option<Beside>,
        pack_bytes_max: u64,
        safe: bool,
    ) -> Result<Self, ArchiveError> {
        let file = StoresFile::read(&**disk, instance)?;
        if file.format != FORMAT {
            let reason = format!("format {} is not known to this program", file.format);
            return Err(ArchiveError::File { path: StoresFile::path(instance), reason });
        }
        let stores = Self {
            disk: Arc::clone(disk),
            clock: Arc::clone(clock),
            dir: instance.into(),
            master,
            ids: MessageIds::default(),
            beside,
            pack_bytes_max,
            safe,
            set: RwLock::default(),
            changing: Mutex::default(),
            maintaining: Mutex::default(),
        };
        let mut members = Vec::new();
        for entry in file.stores {
            members.push(stores.member(entry)?);
        }
        *stores.set.write().unwrap_or_else(PoisonError::into_inner) = (file.roll_over, members);
        if !safe {
            stores.current()?;
        }
        Ok(stores)
    }

    fn member(&self, entry: Entry) -> Result<Member, ArchiveError> {
        if entry.state == State::Disabled {
            return Ok(Member { entry, open: None, error: None });
        }
        match self.open_store(&entry) {
            Ok(open) => Ok(Member { entry, open: Some(Arc::new(open)), error: None }),
            Err(error) if entry.state == State::Current && !self.safe => Err(error),
            Err(error) => {
                tracing::error!(store = entry.id, %error, "a store does not open; the others do");
                Ok(Member { entry, open: None, error: Some(error.to_string()) })
            }
        }
    }

    pub(super) fn dir_of(&self, entry: &Entry) -> PathBuf {
        entry.dir.clone().unwrap_or_else(|| self.dir.join("stores").join(&entry.id))
    }

    fn open_store(&self, entry: &Entry) -> Result<Attached, ArchiveError> {
        let dir = self.dir_of(entry);
        let file = StoreFile::read(&*self.disk, &dir)?;
        let away = away(&*self.disk, &self.dir, entry, self.safe)?;
        let disk =
            if away.is_some() { ReadOnlyDisk::over(&self.disk, &self.dir) } else { Arc::clone(&self.disk) };
        let beside = match &self.beside {
            Some(Beside { disk, dir }) => Beside { disk: Arc::clone(disk), dir: dir.join(&entry.id) },
            None => Beside { disk: Arc::clone(&self.disk), dir: away.unwrap_or_else(|| dir.clone()) },
        };
        beside.disk.create_dir_all(&beside.dir).map_err(ArchiveError::file(&beside.dir))?;
        let setup = StoreSetup {
            id: entry.id.clone(),
            uid: file.uid,
            store_key: file.key(&dir, &self.master)?,
            duplicates: derived(&self.master, b"postern duplicates v2"),
            pack_bytes_max: self.pack_bytes_max,
            dir,
            beside: beside.clone(),
            as_it_is: self.safe,
        };
        let path = beside.dir.join("catalog.sqlite");
        let catalog = match self.safe {
            true => open_catalog_as_it_is(&*beside.disk, &path)?,
            false => open_catalog(&*beside.disk, &path)?,
        };
        let writable = matches!(entry.state, State::Current | State::Normal);
        let store = Store::open(&disk, setup, Arc::new(catalog), &self.ids, writable)?;
        Ok(Attached {
            store: Arc::new(store),
            index: StoreIndex::new(Arc::clone(&beside.disk), beside.dir.join("index")),
            catching_up: Mutex::default(),
            reading_long: Mutex::default(),
            fresh: Mutex::default(),
        })
    }

    fn members(&self) -> Vec<Member> {
        self.set.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The stores that are read, the newest first.
    pub(in crate::archive) fn open_stores(&self) -> Vec<Arc<Attached>> {
        self.members().into_iter().rev().filter_map(|member| member.open).collect()
    }

    /// Those that may be changed.
    pub(in crate::archive) fn writable_stores(&self) -> Vec<Arc<Attached>> {
        let all = self.with_states().into_iter();
        all.filter(|(state, _)| matches!(state, State::Current | State::Normal))
            .map(|(_, open)| open)
            .collect()
    }

    /// Held by the one maintenance that runs.
    pub(in crate::archive) fn maintaining(&self) -> &Mutex<()> {
        &self.maintaining
    }

    /// Gives out message ids.
    pub(in crate::archive) fn ids(&self) -> &MessageIds {
        &self.ids
    }

    /// The same with their states.
    pub(super) fn with_states(&self) -> Vec<(State, Arc<Attached>)> {
        let members = self.members().into_iter().rev();
        members.filter_map(|member| Some((member.entry.state, member.open?))).collect()
    }

    /// Where new messages go.
    pub(in crate::archive) fn current(&self) -> Result<Arc<Attached>, ArchiveError> {
        let current = self.members().into_iter().find(|member| member.entry.state == State::Current);
        current.and_then(|member| member.open).ok_or(ArchiveError::NoCurrentStore)
    }

    /// A store by its id.
    pub(in crate::archive) fn get(&self, id: &str) -> Result<Arc<Attached>, ArchiveError> {
        let found = self.members().into_iter().find(|member| member.entry.id == id);
        let member = found.ok_or_else(|| ArchiveError::NoStore(id.chars().take(64).collect()))?;
        member.open.ok_or_else(|| ArchiveError::StoreClosed { id: id.into(), state: member.entry.state })
    }

    /// The store that has a message, the newest first.
    pub(in crate::archive) fn with_message(
        &self,
        id: MessageId,
    ) -> Result<Option<Arc<Attached>>, ArchiveError> {
        for attached in self.open_stores() {
            if attached.store.catalog().record(id)?.is_some() {
                return Ok(Some(attached));
            }
        }
        Ok(None)
    }

    /// A folder's UIDVALIDITY and next UID, over all stores that are open.
    pub(super) fn next_uid(&self, placement: &Placement) -> Result<(u32, u32), ArchiveError> {
        let mut found: Option<(u32, u32)> = None;
        for attached in self.open_stores() {
            let folder = attached.store.catalog().folder(&placement.archive, &placement.folder)?;
            if let Some(folder) = folder {
                let next = found.map_or(0, |(_, next)| next).max(folder.uid_next);
                found = Some((folder.uid_validity, next));
            }
        }
        // UIDVALIDITY is 32 bits (RFC 9051 §2.3.1.1); the second of creation serves until 2106.
        let now = u32::try_from(self.clock.wall().0 / 1000).unwrap_or(u32::MAX);
        Ok(found.unwrap_or((now, 1)))
    }

    /// When another store becomes the current one.
    pub(in crate::archive) fn roll_over(&self) -> RollOver {
        self.set.read().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Sets when another store becomes the current one.
    pub(in crate::archive) fn set_roll_over(&self, roll_over: RollOver) -> Result<(), ArchiveError> {
        self.change(|file, _| {
            file.0 = roll_over;
            Ok(())
        })
    }

    /// Changes the set: first on disk, then here.
    fn change(
        &self,
        change: impl FnOnce(&mut (RollOver, Vec<Member>), &Self) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.set.read().unwrap_or_else(PoisonError::into_inner).clone();
        change(&mut next, self)?;
        let stores = next.1.iter().map(|member| member.entry.clone()).collect();
        StoresFile { format: FORMAT, roll_over: next.0, stores }.write(&*self.disk, &self.dir)?;
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Makes another store and makes it the current one; its id.
    pub(in crate::archive) fn create_next(&self) -> Result<String, ArchiveError> {
        let entries = self.members().into_iter().map(|member| member.entry).collect();
        let file = StoresFile { format: FORMAT, roll_over: self.roll_over(), stores: entries };
        let id = file.next_id(&*self.disk, &self.dir)?;
        let entry = Entry { id: id.clone(), state: State::Current, dir: None };
        StoreFile::create(&*self.disk, &self.dir_of(&entry), &id, self.clock.wall(), &self.master)?;
        self.change(|set, stores| {
            let made = stores.member(entry)?;
            retire(&mut set.1);
            set.1.push(made);
            Ok(())
        })?;
        tracing::info!(store = id, "new messages go to another store");
        Ok(id)
    }

    /// Makes another store when the current one is full.
    pub(super) fn roll_over_when_full(&self) -> Result<(), ArchiveError> {
        let (limits, current) = (self.roll_over(), self.current()?);
        let messages = current.store.catalog().counts()?.messages;
        if messages >= limits.messages || current.store.packs.total_bytes() >= limits.bytes {
            self.create_next()?;
        }
        Ok(())
    }

    /// Gives a store another state. The current one cannot be given any: make another one current.
    pub(in crate::archive) fn set_state(&self, id: &str, state: State) -> Result<(), ArchiveError> {
        self.change(|set, stores| {
            let at = position(&set.1, id)?;
            if set.1[at].entry.state == State::Current && state != State::Current {
                return Err(ArchiveError::CurrentStore(id.into()));
            }
            let entry = Entry { state, ..set.1[at].entry.clone() };
            let was_closed = set.1[at].open.is_none();
            let changed = if state == State::Disabled || was_closed {
                stores.member(entry)?
            } else {
                Member { entry, ..set.1[at].clone() }
            };
            if state == State::Current {
                retire(&mut set.1);
            }
            set.1[at] = changed;
            Ok(())
        })
    }

    /// Takes a store out of the set; its directory stays as it is. Returns where it is.
    pub(in crate::archive) fn detach(&self, id: &str) -> Result<PathBuf, ArchiveError> {
        let mut dir = PathBuf::new();
        self.change(|set, stores| {
            let at = position(&set.1, id)?;
            if set.1[at].entry.state == State::Current {
                return Err(ArchiveError::CurrentStore(id.into()));
            }
            let member = set.1.remove(at);
            dir = stores.dir_of(&member.entry);
            if let Some(open) = member.open {
                open.store.catalog().settle()?;
            }
            Ok(())
        })?;
        Ok(dir)
    }

    /// Adds a store of this instance that lies in `dir`; its id.
    pub(in crate::archive) fn attach(&self, dir: &Path) -> Result<String, ArchiveError> {
        let file = StoreFile::read(&*self.disk, dir)?;
        file.key(dir, &self.master)?;
        check_id(&file.id)?;
        let is_at_home = dir == self.dir.join("stores").join(&file.id);
        let dir = (!is_at_home).then(|| dir.to_path_buf());
        let entry = Entry { id: file.id.clone(), state: State::WriteProtected, dir };
        self.change(|set, stores| {
            let same = |member: &Member| {
                member.entry.id == file.id
                    || member.open.as_ref().is_some_and(|open| open.store.uid == file.uid)
            };
            if set.1.iter().any(same) {
                return Err(ArchiveError::StoreExists(file.id.clone()));
            }
            let attached = stores.member(entry)?;
            if let Some(error) = attached.error {
                return Err(ArchiveError::File { path: stores.dir_of(&attached.entry), reason: error });
            }
            // Newer stores come later.
            let at = set.1.iter().position(|member| member.entry.id > file.id).unwrap_or(set.1.len());
            set.1.insert(at, attached);
            Ok(())
        })?;
        Ok(file.id)
    }

    /// What is shown of all.
    pub(in crate::archive) fn shown(&self) -> Result<Vec<StoreShown>, ArchiveError> {
        let shown = self.members().into_iter().map(|member| {
            let dir = self.dir_of(&member.entry);
            let Member { entry: Entry { id, state, .. }, open, error } = member;
            let Some(attached) = open else {
                let (messages, bytes, stored_bytes, leaves) = (None, None, None, None);
                return Ok(StoreShown {
                    id,
                    state,
                    dir,
                    messages,
                    bytes,
                    stored_bytes,
                    leaves,
                    damage: Vec::new(),
                    error,
                });
            };
            let store = &attached.store;
            let counts = store.catalog().counts()?;
            Ok(StoreShown {
                id,
                state,
                dir,
                messages: Some(counts.messages),
                bytes: Some(counts.bytes),
                stored_bytes: Some(store.packs.total_bytes()),
                leaves: Some(store.leaves()),
                damage: store.damage().lines(),
                error,
            })
        });
        shown.collect()
    }

    /// The calendar time.
    pub(in crate::archive) fn now(&self) -> UnixMillis {
        self.clock.wall()
    }

    pub(in crate::archive) fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// A key for one purpose.
    pub(in crate::archive) fn derived(&self, purpose: &[u8]) -> SecretBytes {
        derived(&self.master, purpose)
    }
}

fn retire(members: &mut [Member]) {
    for member in members.iter_mut().filter(|member| member.entry.state == State::Current) {
        member.entry.state = State::Normal;
    }
}

fn position(members: &[Member], id: &str) -> Result<usize, ArchiveError> {
    let found = members.iter().position(|member| member.entry.id == id);
    found.ok_or_else(|| ArchiveError::NoStore(id.chars().take(64).collect()))
}
