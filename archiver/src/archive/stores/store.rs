//! One open store: packs, keys, leaves and the catalog over them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use postern_shared::clock::{Clock, Moment};
use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::digest::{Digest, hmac_sha256};
use postern_shared::disk::{Disk, DiskLock, write_atomic};
use postern_shared::id::MessageIds;

use super::catalog_file::mark_of;
use crate::archive::ArchiveError;
use crate::archive::catalog::{Catalog, CatalogError};
use crate::archive::store::record::Part;
use crate::archive::store::{Damages, KeyTable, Leaves, PACK_BYTES_MAX, Packs, StoreUid, Tail};

/// Parts that were stored or read a moment ago: what comes in several messages comes close together.
const RECENT_MAX: usize = 4096;
/// And no longer than this: what lies longer may have been damaged since.
const RECENT_FOR: Duration = Duration::from_secs(60);

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
    pub(in crate::archive) clock: Arc<dyn Clock>,
    /// Held as long as the store is open. None where nothing can be written.
    pub(in crate::archive) lock: Option<DiskLock>,
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
    clock: Arc<dyn Clock>,
    recent: Mutex<HashMap<Digest, (Moment, Part)>>,
    damage: Mutex<Damages>,
    /// What is wrong with the catalog, when it failed.
    catalog_failure: Mutex<Option<String>>,
    /// Torn ends are cut, and leaves put right.
    pub(super) is_writable: bool,
    _lock: Option<DiskLock>,
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
        let StoreSetup { id, uid, dir, beside, store_key, duplicates, pack_bytes_max, clock, lock, as_it_is } =
            setup;
        let store = Self {
            packs: Packs::open(Arc::clone(disk), dir.join("packs"), uid, pack_bytes_max)?,
            keys: KeyTable::open(Arc::clone(disk), dir.join("keys"), uid, store_key)?,
            writing: Mutex::new(Writing {
                tail: Tail::default(),
                leaves: Leaves::open(&**disk, &dir.join("log"))?,
            }),
            catalog: RwLock::new(catalog),
            clock,
            recent: Mutex::default(),
            damage: Mutex::default(),
            catalog_failure: Mutex::default(),
            is_writable: writable,
            _lock: lock,
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
        *self.catalog_failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Tells that the catalog failed. A damaged one is marked, so that it is rebuilt when the store is opened the next time.
    pub(in crate::archive) fn catalog_failed(&self, error: &CatalogError) {
        let mut failure = self.catalog_failure.lock().unwrap_or_else(PoisonError::into_inner);
        if !error.lasting || failure.is_some() {
            return;
        }
        tracing::error!(store = self.id, %error, "the catalog fails; the other stores go on without this one");
        if error.rebuild {
            let mark = mark_of(&self.beside.dir.join("catalog.sqlite"));
            // Without it somebody must order the rebuild.
            let _ = write_atomic(&*self.beside.disk, &mark, b"damaged\n");
        }
        *failure = Some(error.to_string());
    }

    /// What is wrong with the catalog, when it failed.
    pub(in crate::archive) fn catalog_failure(&self) -> Option<String> {
        self.catalog_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, part) = recent.get(hmac)?;
        (self.clock.moment().since(*since) <= RECENT_FOR).then(|| part.clone())
    }

    /// Keeps parts that were read or written just now.
    pub(super) fn keep_recent(&self, parts: impl IntoIterator<Item = (Digest, Part)>) {
        let now = self.clock.moment();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX {
            recent.clear();
        }
        for (hmac, part) in parts {
            // Whoever relied on one without reading it makes it no younger.
            let is_kept = recent
                .get(&hmac)
                .is_some_and(|(since, kept)| kept.object == part.object && now.since(*since) <= RECENT_FOR);
            if !is_kept {
                recent.insert(hmac, (now, Part { encoding: None, ..part }));
            }
        }
    }

    pub(super) fn forget_recent(&self) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
