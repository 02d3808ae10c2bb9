//! One archive instance: keys, users, audit log, and one store.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::digest::hkdf_sha256;
use postern_shared::crypto::{SecretBytes, random_secret};
use postern_shared::disk::{Disk, write_atomic};
use postern_shared::id::{MessageId, MessageIds};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::catalog::{Catalog, Change, SqliteCatalog};
use super::index::{Extract, TextIndex};
use super::message::{IndexFields, NewMessage, Outcome};
use super::plan::Plan;
use super::store::manifest::Manifest;
use super::store::{Damage, Kind, Leaves, ObjectStore, Place, ReadOnlyFrom, StoreError};
use super::users::{User, Users};
use super::{ArchiveError, Audit, check_id};

const FORMAT_VERSION: u32 = 1;
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const STORE_NAME: &str = "0001";

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

/// How much an instance holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Stats {
    pub messages: u64,
    pub bytes: u64,
    pub users: usize,
    pub unassigned: u64,
    pub quarantined: u64,
    pub leaves: u64,
    pub damage: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreInfo {
    id: String,
    format: u32,
    state: String,
    #[serde(with = "hex::serde")]
    wrapped_key: Vec<u8>,
}

/// An open instance. One process opens it at a time; the archiver's lock on its data directory sees to that.
#[derive(Debug)]
pub struct Instance {
    pub(super) info: InstanceInfo,
    pub(super) dir: PathBuf,
    disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    master: SecretBytes,
    pub(super) users: Users,
    audit: Audit,
    pub(super) catalog: Box<dyn Catalog>,
    pub(super) store: Mutex<Writing>,
    pub(super) index: TextIndex,
    pub(super) extract: Extract,
    /// One catching up at a time.
    pub(super) catching_up: Mutex<()>,
    /// Fields of messages that the index has not seen yet, so that they need not be extracted twice.
    pub(super) fresh: Mutex<HashMap<MessageId, IndexFields>>,
    damage: Vec<Damage>,
}

/// What a commit changes; one at a time.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) objects: ObjectStore,
    leaves: Leaves,
    ids: MessageIds,
}

/// Fields kept for the index; past this it extracts them again.
const FRESH_MAX: usize = 2000;

impl Instance {
    /// Creates an instance in `dir`, which must not exist.
    pub fn create(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        dir: &Path,
        id: &str,
    ) -> Result<InstanceInfo, ArchiveError> {
        check_id(id)?;
        if disk.exists(&dir.join("instance.json")).map_err(ArchiveError::file(dir))? {
            return Err(ArchiveError::InstanceExists(id.into()));
        }
        let store_dir = dir.join("stores").join(STORE_NAME);
        disk.create_dir_all(&store_dir).map_err(ArchiveError::file(&store_dir))?;
        let master = random_secret();
        let text = Zeroizing::new(hex::encode(*master) + "\n");
        write(&**disk, &dir.join("master.key"), text.as_bytes())?;
        let store = StoreInfo {
            id: STORE_NAME.into(),
            format: FORMAT_VERSION,
            state: "current".into(),
            wrapped_key: wrapping_key(&master).wrap(STORE_NAME.as_bytes(), &*random_secret()),
        };
        write_json(&**disk, &store_dir.join("store.json"), &store)?;
        // Last: with this file the instance exists.
        let info = InstanceInfo { id: id.into(), format: FORMAT_VERSION, created: clock.wall() };
        write_json(&**disk, &dir.join("instance.json"), &info)?;
        Ok(info)
    }

    /// Opens the instance in `dir`, finishes what a crash interrupted, and rebuilds a catalog that is missing or
    /// damaged. `extract` is for the index.
    pub fn open(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        dir: &Path,
        id: &str,
        extract: Extract,
    ) -> Result<Self, ArchiveError> {
        let info_path = dir.join("instance.json");
        if check_id(id).is_err() || !disk.exists(&info_path).map_err(ArchiveError::file(&info_path))? {
            return Err(ArchiveError::NoInstance(id.chars().take(64).collect()));
        }
        let info: InstanceInfo = read_json(&**disk, &info_path)?;
        if info.format != FORMAT_VERSION {
            let reason = format!("format {} is not known to this program", info.format);
            return Err(ArchiveError::File { path: info_path, reason });
        }
        let master = read_master_key(&**disk, &dir.join("master.key"))?;
        let store_dir = dir.join("stores").join(STORE_NAME);
        let store_key = read_store_key(&**disk, &store_dir.join("store.json"), &master)?;
        let mut damage = Vec::new();
        let objects = ObjectStore::open(disk, &store_dir, store_key, &mut damage)?;
        let leaves = Leaves::open(&**disk, &store_dir.join("log"))?;
        let catalog = open_catalog(&**disk, &store_dir.join("catalog.sqlite"))?;
        let mut instance = Self {
            info,
            dir: dir.into(),
            disk: Arc::clone(disk),
            clock: Arc::clone(clock),
            users: Users::open(Arc::clone(disk), dir.join("users.json"))?,
            audit: Audit::open(&**disk, Arc::clone(clock), &dir.join("audit.log"))?,
            catalog: Box::new(catalog),
            store: Mutex::new(Writing { objects, leaves, ids: MessageIds::default() }),
            index: TextIndex::open(&**disk, &store_dir.join("index"))?,
            extract,
            catching_up: Mutex::default(),
            fresh: Mutex::default(),
            damage: Vec::new(),
            master,
        };
        instance.replay(&mut damage)?;
        for damage in &damage {
            tracing::error!(path = %damage.path.display(), offset = damage.offset, what = %damage.what, "the store is damaged");
        }
        instance.damage = damage;
        Ok(instance)
    }

    /// Enters into the catalog what the packs hold behind its watermark, and makes the leaves match.
    fn replay(&mut self, damage: &mut Vec<Damage>) -> Result<(), ArchiveError> {
        let from = self.catalog.watermark()?;
        let rebuilding = from == ReadOnlyFrom::default();
        let writing = self.store.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        let end = writing.objects.scan(from, !rebuilding, damage, |stored| found.push(stored))?;
        let mut leaves = Vec::new();
        let mut changes = Vec::new();
        for stored in &found {
            let change = match stored.kind {
                Kind::Content | Kind::Evidence => continue,
                Kind::Manifest => {
                    read_object(&writing.objects, stored.id, stored.place, damage)?.map(|bytes| {
                        serde_json::from_slice(&bytes).map(|manifest: Manifest| {
                            leaves.push(manifest.leaf);
                            Change::Archived(Box::new(manifest), stored.place)
                        })
                    })
                }
                Kind::Addition => {
                    read_object(&writing.objects, stored.id, stored.place, damage)?.map(|bytes| {
                        serde_json::from_slice(&bytes).map(|addition| Change::Added(Box::new(addition)))
                    })
                }
            };
            match change.transpose() {
                Ok(change) => changes.extend(change),
                Err(error) => tracing::error!(object = %stored.id, %error, "a manifest is not understood"),
            }
        }
        let first = if rebuilding { 0 } else { self.catalog.counts()?.messages };
        if end != from || !found.is_empty() {
            self.catalog.apply(&found, &changes, end)?;
        }
        let count = self.catalog.counts()?.messages;
        writing.leaves.write(first, &leaves)?;
        if writing.leaves.count() > count.max(first + leaves.len() as u64) {
            writing.leaves.cut(count)?;
        }
        Ok(())
    }

    /// Archives a batch: all of it is durable when this returns, or nothing is.
    pub fn commit(&self, batch: Vec<NewMessage>) -> Result<Vec<Outcome>, ArchiveError> {
        let mut writing = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plan = Plan::new(self, &writing.ids);
        let outcomes = batch.into_iter().map(|message| plan.add(message)).collect::<Result<Vec<_>, _>>()?;
        let Plan { objects, changes, leaves, fresh, .. } = plan;
        if objects.is_empty() {
            return Ok(outcomes);
        }
        let first_leaf = writing.leaves.count();
        let (stored, watermark, undo) = writing.objects.append(&objects)?;
        let changes: Vec<Change> = changes
            .into_iter()
            .map(|(object, change)| match change {
                Change::Archived(manifest, _) => Change::Archived(manifest, stored[object].place),
                added => added,
            })
            .collect();
        let entered = writing
            .leaves
            .write(first_leaf, &leaves)
            .map_err(ArchiveError::from)
            .and_then(|()| Ok(self.catalog.apply(&stored, &changes, watermark)?));
        if let Err(error) = entered {
            writing.objects.undo(&undo);
            // The next commit writes over them in any case.
            writing.leaves.forget_from(first_leaf);
            return Err(error);
        }
        let mut kept = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < FRESH_MAX {
            kept.extend(fresh);
        }
        Ok(outcomes)
    }

    /// What is shown of it.
    pub fn info(&self) -> &InstanceInfo {
        &self.info
    }

    /// How much it holds.
    pub fn stats(&self) -> Result<Stats, ArchiveError> {
        let counts = self.catalog.counts()?;
        let leaves = self.store.lock().unwrap_or_else(PoisonError::into_inner).leaves.count();
        Ok(Stats {
            messages: counts.messages,
            bytes: counts.bytes,
            users: self.users.list().len(),
            unassigned: counts.unassigned,
            quarantined: counts.quarantined,
            leaves,
            damage: self.damage.iter().map(ToString::to_string).collect(),
        })
    }

    /// Adds a user.
    pub fn add_user(&self, id: &str, emails: &[String]) -> Result<User, ArchiveError> {
        self.users.add(id, emails)
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
        (self.dir.join("profiles"), AeadKey::new(&self.derived(b"postern profiles v1")))
    }

    /// The disk the instance lies on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(super) fn derived(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        hkdf_sha256::<32>(&*self.master, &[purpose])
    }
}

/// An object's octets; damage is reported and gives `None`.
fn read_object(
    objects: &ObjectStore,
    id: super::store::ObjectId,
    place: Place,
    damage: &mut Vec<Damage>,
) -> Result<Option<Vec<u8>>, ArchiveError> {
    match objects.read(id, place) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::Damaged(found)) => {
            damage.push(found);
            Ok(None)
        }
        Err(StoreError::NoKey { path, offset, .. }) => {
            damage.push(Damage { path, offset, what: "the object has no key".into() });
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn open_catalog(disk: &dyn Disk, path: &Path) -> Result<SqliteCatalog, ArchiveError> {
    match SqliteCatalog::open(path) {
        Err(error) if error.rebuild => {
            tracing::error!(%error, "the catalog is rebuilt from packs and keys");
            for suffix in ["", "-wal", "-shm"] {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                let from = PathBuf::from(name);
                if disk.exists(&from).map_err(ArchiveError::file(&from))? {
                    let to = from.with_extension(format!("damaged{suffix}"));
                    disk.rename(&from, &to).map_err(ArchiveError::file(&from))?;
                }
            }
            Ok(SqliteCatalog::open(path)?)
        }
        opened => Ok(opened?),
    }
}

fn wrapping_key(master: &SecretBytes) -> AeadKey {
    AeadKey::new(&hkdf_sha256::<32>(&**master, &[b"postern store keys v1"]))
}

fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    write_atomic(disk, path, bytes).map_err(ArchiveError::file(path))
}

fn write_json(disk: &dyn Disk, path: &Path, value: &impl Serialize) -> Result<(), ArchiveError> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|error| ArchiveError::File { path: path.into(), reason: error.to_string() })?;
    write(disk, path, &json)
}

fn read_json<R: serde::de::DeserializeOwned>(disk: &dyn Disk, path: &Path) -> Result<R, ArchiveError> {
    let bytes = disk.read(path, FILE_BYTES_MAX).map_err(ArchiveError::file(path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ArchiveError::File { path: path.into(), reason: error.to_string() })
}

fn read_master_key(disk: &dyn Disk, path: &Path) -> Result<SecretBytes, ArchiveError> {
    let bytes = Zeroizing::new(disk.read(path, FILE_BYTES_MAX).map_err(ArchiveError::file(path))?);
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(bytes.trim_ascii(), &mut *key)
        .map_err(|_| ArchiveError::File { path: path.into(), reason: "this is no master key".into() })?;
    Ok(key)
}

fn read_store_key(disk: &dyn Disk, path: &Path, master: &SecretBytes) -> Result<AeadKey, ArchiveError> {
    let info: StoreInfo = read_json(disk, path)?;
    let failed = |reason: &str| ArchiveError::File { path: path.into(), reason: reason.into() };
    if info.format != FORMAT_VERSION {
        return Err(failed("its format is not known to this program"));
    }
    let key = wrapping_key(master).unwrap(info.id.as_bytes(), &info.wrapped_key).map_err(|_| {
        failed("the master key does not open it: it belongs to another instance, or is altered")
    })?;
    let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| failed("the store key has another length"))?;
    Ok(AeadKey::new(key))
}
