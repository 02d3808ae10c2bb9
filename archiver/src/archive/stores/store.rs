//! One open store: packs, keys, leaves and the catalog over them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::digest::{Digest, hmac_sha256};
use postern_shared::disk::Disk;
use postern_shared::id::MessageIds;

use crate::archive::ArchiveError;
use crate::archive::catalog::Catalog;
use crate::archive::store::record::Part;
use crate::archive::store::{Damages, KeyTable, Leaves, PACK_BYTES_MAX, Packs, StoreUid, Tail};

/// Parts that were stored or read a moment ago: what comes in several messages comes close together.
const RECENT_MAX: usize = 4096;

/// Where catalog and index are: SQLite and tantivy know files of the machine only.
#[derive(Debug, Clone)]
pub(in crate::archive) struct Beside {
    pub(in crate::archive) disk: Arc<dyn Disk>,
    pub(in crate::archive) dir: PathBuf,
}

/// Where a store is and what opens it.
#[derive(Debug)]
pub(in crate::archive) struct StoreSetup {
    pub(in crate::archive) id: String,
    pub(in crate::archive) uid: StoreUid,
    pub(in crate::archive) dir: PathBuf,
    pub(in crate::archive) beside: Beside,
    pub(in crate::archive) store_key: AeadKey,
    /// The instance's, for telling duplicates.
    pub(in crate::archive) duplicates: SecretBytes,
    pub(in crate::archive) pack_bytes_max: u64,
    /// What a crash interrupted stays as it is.
    pub(in crate::archive) as_it_is: bool,
}

impl StoreSetup {
    pub(in crate::archive) const PACK_BYTES_MAX: u64 = PACK_BYTES_MAX;
}

/// An open store. Reading takes no lock; one commit at a time.
#[derive(Debug)]
pub(in crate::archive) struct Store {
    pub(in crate::archive) id: String,
    pub(in crate::archive) uid: StoreUid,
    pub(in crate::archive) dir: PathBuf,
    pub(in crate::archive) disk: Arc<dyn Disk>,
    pub(super) beside: Beside,
    pub(in crate::archive) packs: Packs,
    pub(in crate::archive) keys: KeyTable,
    catalog: RwLock<Arc<dyn Catalog>>,
    duplicates: SecretBytes,
    writing: Mutex<Writing>,
    recent: Mutex<HashMap<Digest, Part>>,
    damage: Mutex<Damages>,
}

/// What a commit changes.
#[derive(Debug)]
pub(in crate::archive) struct Writing {
    pub(super) tail: Tail,
    pub(super) leaves: Leaves,
}

impl Store {
    /// Opens a store and enters into the catalog what the packs hold behind its watermark. `writable`: what was never
    /// committed may be cut off.
    pub(in crate::archive) fn open(
        disk: &Arc<dyn Disk>,
        setup: StoreSetup,
        catalog: Arc<dyn Catalog>,
        ids: &MessageIds,
        writable: bool,
    ) -> Result<Self, ArchiveError> {
        let StoreSetup { id, uid, dir, beside, store_key, duplicates, pack_bytes_max, as_it_is } = setup;
        let store = Self {
            packs: Packs::open(Arc::clone(disk), dir.join("packs"), uid, pack_bytes_max)?,
            keys: KeyTable::open(Arc::clone(disk), dir.join("keys"), uid, store_key)?,
            writing: Mutex::new(Writing {
                tail: Tail::default(),
                leaves: Leaves::open(&**disk, &dir.join("log"))?,
            }),
            catalog: RwLock::new(catalog),
            recent: Mutex::default(),
            damage: Mutex::default(),
            disk: Arc::clone(disk),
            id,
            uid,
            dir,
            beside,
            duplicates,
        };
        let mut damage = Damages::default();
        if !as_it_is {
            store.replay(ids, writable, &mut damage)?;
        }
        for damage in damage.told() {
            tracing::error!(path = %damage.path.display(), offset = damage.offset, what = %damage.what, "the store is damaged");
        }
        *store.damage.lock().unwrap_or_else(PoisonError::into_inner) = damage;
        Ok(store)
    }

    /// The catalog as it is now; a rebuilt one takes its place.
    pub(in crate::archive) fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts what `make` gives in the place of the catalog. Nobody else has it when `make` is called.
    pub(super) fn replace_catalog(
        &self,
        make: impl FnOnce() -> Result<Arc<dyn Catalog>, ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        *catalog = make()?;
        Ok(())
    }

    pub(super) fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many leaves the log has.
    pub(in crate::archive) fn leaves(&self) -> u64 {
        self.writing().leaves.count()
    }

    /// The leaves, opened a second time.
    pub(super) fn separate_leaves(&self) -> Result<Leaves, ArchiveError> {
        Ok(Leaves::open(&*self.disk, &self.dir.join("log"))?)
    }

    /// A leaf.
    pub(in crate::archive) fn leaf(&self, number: u64) -> Result<Option<Digest>, ArchiveError> {
        Ok(self.writing().leaves.get(number)?)
    }

    /// What was found damaged when it was opened.
    pub(in crate::archive) fn damage(&self) -> Damages {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells duplicates without telling the octets' hash.
    pub(in crate::archive) fn hmac(&self, what: &[u8], sha256: Digest) -> Digest {
        hmac_sha256(&self.duplicates, &[what, &sha256.0].concat())
    }

    pub(super) fn recent(&self, hmac: &Digest) -> Option<Part> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).get(hmac).cloned()
    }

    pub(super) fn keep_recent(&self, parts: impl IntoIterator<Item = (Digest, Part)>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX {
            recent.clear();
        }
        recent.extend(parts.into_iter().map(|(hmac, part)| (hmac, Part { encoding: None, ..part })));
    }

    pub(super) fn forget_recent(&self) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
