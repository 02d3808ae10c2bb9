//! Which stores there are, and what state they are in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use postern_shared::clock::{Clock, Moment, UnixMillis};
use postern_shared::crypto::SecretBytes;
use postern_shared::disk::{Disk, DiskLock};
use postern_shared::id::{MessageId, MessageIds};
use serde::Serialize;

use super::catalog_file::{away, open_catalog, open_catalog_as_it_is};
use super::file::{Entry, FORMAT, RollOver, State, StoreFile, StoresFile};
use super::store::{Beside, Store, StoreSetup};
use crate::archive::ArchiveError;
use crate::archive::catalog::CatalogError;
use crate::archive::index::StoreIndex;
use crate::archive::master::derived;
use crate::archive::message::{IndexFields, Placement};
use crate::archive::read_only::ReadOnlyDisk;

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
pub(super) struct Member {
    pub(super) entry: Entry,
    /// Not of a disabled store, nor of one that does not open.
    pub(super) open: Option<Arc<Attached>>,
    pub(super) error: Option<String>,
}

impl Member {
    /// A store that was opened, or why it was not.
    pub(super) fn of(entry: Entry, opened: Result<Attached, ArchiveError>) -> Self {
        match opened {
            Ok(open) => Self { entry, open: Some(Arc::new(open)), error: None },
            Err(error) => {
                tracing::error!(store = entry.id, %error, "a store does not open; the others do");
                Self { entry, open: None, error: Some(error.to_string()) }
            }
        }
    }
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
    pub(super) set: RwLock<(RollOver, Vec<Member>)>,
    /// One change of the set at a time. The id of a store that was made and could not be entered yet.
    pub(super) changing: Mutex<Option<String>>,
    /// Held while a group is put together and written.
    grouping: Mutex<()>,
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
            grouping: Mutex::default(),
            maintaining: Mutex::default(),
        };
        let mut members = Vec::new();
        for entry in file.stores {
            members.push(stores.member(entry)?);
        }
        *stores.set.write().unwrap_or_else(PoisonError::into_inner) = (file.roll_over, members);
        if !safe {
            let current = stores.current()?;
            stores.keep_folders(&stores.members(), Some(&current))?;
        }
        Ok(stores)
    }

    pub(super) fn member(&self, entry: Entry) -> Result<Member, ArchiveError> {
        if entry.state == State::Disabled {
            return Ok(Member { entry, open: None, error: None });
        }
        match self.open_store(&entry) {
            Err(error) if entry.state == State::Current && !self.safe => Err(error),
            opened => Ok(Member::of(entry, opened)),
        }
    }

    pub(super) fn dir_of(&self, entry: &Entry) -> PathBuf {
        entry.dir.clone().unwrap_or_else(|| self.dir.join("stores").join(&entry.id))
    }

    pub(super) fn open_store(&self, entry: &Entry) -> Result<Attached, ArchiveError> {
        let dir = self.dir_of(entry);
        let file = StoreFile::read(&*self.disk, &dir)?;
        let writable = matches!(entry.state, State::Current | State::Normal);
        // Before anything of it is looked at: whoever has it open may be writing.
        let lock = if self.safe { None } else { lock_store(&*self.disk, &entry.id, &dir, writable)? };
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
            clock: Arc::clone(&self.clock),
            lock,
            as_it_is: self.safe,
        };
        let path = beside.dir.join("catalog.sqlite");
        let catalog = match self.safe {
            true => open_catalog_as_it_is(&*beside.disk, &path)?,
            false => open_catalog(&*beside.disk, &path)?,
        };
        let store = Store::open(&disk, setup, Arc::new(catalog), &self.ids, writable)?;
        Ok(Attached {
            store: Arc::new(store),
            index: StoreIndex::new(Arc::clone(&beside.disk), beside.dir.join("index")),
            catching_up: Mutex::default(),
            reading_long: Mutex::default(),
            fresh: Mutex::default(),
        })
    }

    pub(super) fn members(&self) -> Vec<Member> {
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

    /// Held while a group is put together and written.
    pub(super) fn grouping(&self) -> MutexGuard<'_, ()> {
        self.grouping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn master(&self) -> &SecretBytes {
        &self.master
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
        let mut failed = None;
        for attached in self.open_stores() {
            match attached.store.catalog().record(id) {
                Ok(Some(_)) => return Ok(Some(attached)),
                Ok(None) => {}
                // Another store may have it.
                Err(error) => {
                    attached.store.catalog_failed(&error);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }

    /// What a store's catalog says. `None`: it is damaged, which is told and healed later, and the others go on without it. Damage of
    /// the current store's is an error: nothing could be entered there.
    pub(in crate::archive) fn asked<R>(
        &self,
        attached: &Attached,
        answer: Result<R, CatalogError>,
    ) -> Result<Option<R>, ArchiveError> {
        let error = match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => error,
        };
        attached.store.catalog_failed(&error);
        let is_current = self.current().is_ok_and(|current| std::ptr::eq(&*current, attached));
        if error.lasting && !is_current { Ok(None) } else { Err(error.into()) }
    }

    /// A folder's UIDVALIDITY and next UID, over all stores that are open.
    pub(super) fn next_uid(&self, placement: &Placement) -> Result<(u32, u32), ArchiveError> {
        let mut found: Option<(u32, u32)> = None;
        for attached in self.open_stores() {
            let folder = attached.store.catalog().folder(&placement.archive, &placement.folder);
            if let Some(folder) = self.asked(&attached, folder)?.flatten() {
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
            let counts = store.catalog().counts();
            counts.as_ref().err().into_iter().for_each(|error| store.catalog_failed(error));
            let error = error.or_else(|| store.catalog_failure());
            Ok(StoreShown {
                id,
                state,
                dir,
                messages: counts.as_ref().ok().map(|counts| counts.messages),
                bytes: counts.as_ref().ok().map(|counts| counts.bytes),
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

/// Opens a store for one at a time, also within this process. Where nothing can be written no lock is needed, when nothing is to be.
fn lock_store(
    disk: &dyn Disk,
    id: &str,
    dir: &Path,
    writable: bool,
) -> Result<Option<DiskLock>, ArchiveError> {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let path = dir.join("lock");
    let note = format!("postern-archiver, process {}", std::process::id());
    match disk.lock(&path, &note) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(ArchiveError::StoreInUse { id: id.into(), dir: dir.into() }),
        Err(error) if !writable && matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => Ok(None),
        Err(error) => Err(ArchiveError::file(&path)(error)),
    }
}
