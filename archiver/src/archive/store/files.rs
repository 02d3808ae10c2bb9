//! The packs as files: which there are, how much of each counts, and a bounded number of them open.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use postern_shared::disk::{Disk, DiskFile};

use super::StoreError;
use super::format::{FILE_HEADER_BYTES, FileKind, StoreUid};
use super::packs::copy_range;
use super::seal::WAITING;

const OPEN_MAX: usize = 128;

#[derive(Debug)]
pub(super) struct PackFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: StoreUid,
    /// Octets that count, of each.
    lengths: RwLock<BTreeMap<u64, u64>>,
    open: Mutex<HashMap<u64, Arc<dyn DiskFile>>>,
    /// New packs get higher numbers than this.
    number_min: AtomicU64,
}

/// An open pack.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub(super) number: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
    /// Octets that count.
    pub(super) bytes: u64,
}

impl PackFiles {
    pub(super) fn open(disk: Arc<dyn Disk>, dir: PathBuf, store: StoreUid) -> Result<Self, StoreError> {
        disk.create_dir_all(&dir).map_err(StoreError::io(&dir))?;
        let mut lengths = BTreeMap::new();
        for path in disk.files(&dir).map_err(StoreError::io(&dir))? {
            if path.extension().is_some_and(|ending| ending == WAITING) {
                // A commit that never was. A store that cannot be written keeps it.
                let _ = disk.remove(&path);
            }
            let Some(number) = FileKind::Pack.number_of(&path) else { continue };
            let file = disk.open_read(&path).map_err(StoreError::io(&path))?;
            lengths.insert(number, file.len().map_err(StoreError::io(&path))?);
        }
        Ok(Self {
            disk,
            dir,
            store,
            lengths: RwLock::new(lengths),
            open: Mutex::default(),
            number_min: AtomicU64::new(0),
        })
    }

    pub(super) fn place(&self) -> (&Arc<dyn Disk>, &std::path::Path) {
        (&self.disk, &self.dir)
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(FileKind::Pack.file_name(number))
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.lengths.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.lengths.read().unwrap_or_else(PoisonError::into_inner).contains_key(&number)
    }

    pub(super) fn newest(&self) -> Option<u64> {
        self.lengths.read().unwrap_or_else(PoisonError::into_inner).keys().next_back().copied()
    }

    pub(super) fn bytes(&self, number: u64) -> u64 {
        self.lengths.read().unwrap_or_else(PoisonError::into_inner).get(&number).copied().unwrap_or(0)
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.lengths.read().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Gives no new pack this number or a lower one: such a pack is missing.
    pub(super) fn above(&self, number: u64) {
        self.number_min.fetch_max(number, Ordering::Relaxed);
    }

    /// A pack to be read.
    pub(super) fn get(&self, number: u64) -> Result<Option<Pack>, StoreError> {
        let lengths = self.lengths.read().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = lengths.get(&number).copied() else { return Ok(None) };
        drop(lengths);
        let path = self.path(number);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(Some(Pack { number, file: Arc::clone(file), path, bytes }));
        }
        let file = self.disk.open_read(&path).map_err(StoreError::io(&path))?;
        if open.len() >= OPEN_MAX {
            // Whoever reads one of them holds it open.
            open.clear();
        }
        open.insert(number, Arc::clone(&file));
        Ok(Some(Pack { number, file, path, bytes }))
    }

    /// The newest pack, to be written.
    pub(super) fn writable(&self, number: u64) -> Result<Pack, StoreError> {
        let path = self.path(number);
        let file = self.disk.open(&path).map_err(StoreError::io(&path))?;
        let bytes = self.lengths.read().unwrap_or_else(PoisonError::into_inner).get(&number).copied();
        Ok(Pack { number, file, path, bytes: bytes.unwrap_or(0) })
    }

    pub(super) fn create(&self) -> Result<Pack, StoreError> {
        let number = self.newest().unwrap_or(0).max(self.number_min.load(Ordering::Relaxed)) + 1;
        let path = self.path(number);
        let file = self.disk.create(&path).map_err(|error| {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                // Somebody else's: it stays, and the next attempt takes another number.
                self.above(number);
            } else {
                let _ = self.disk.remove(&path);
            }
            StoreError::io(&path)(error)
        })?;
        let header = FileKind::Pack.header(number, self.store);
        let begun = file.write_all_at(&[&header], 0).and_then(|()| file.sync_data());
        if let Err(error) = begun.and_then(|()| self.disk.sync_dir(&self.dir)) {
            // Else the next attempt could not create it.
            let _ = self.disk.remove(&path);
            return Err(StoreError::io(&path)(error));
        }
        let pack = Pack { number, file, path, bytes: FILE_HEADER_BYTES as u64 };
        self.set_bytes(number, pack.bytes);
        Ok(pack)
    }

    /// Tells how much of a pack counts now.
    pub(super) fn set_bytes(&self, number: u64, bytes: u64) {
        self.lengths.write().unwrap_or_else(PoisonError::into_inner).insert(number, bytes);
    }

    /// Cuts a pack to what counts.
    pub(super) fn cut(&self, number: u64, bytes: u64) -> Result<(), StoreError> {
        let pack = self.writable(number)?;
        let cut = pack.file.set_len(bytes).and_then(|()| pack.file.sync_data());
        cut.map_err(StoreError::io(&pack.path))?;
        self.set_bytes(number, bytes);
        Ok(())
    }

    /// Keeps a copy of what is going to be cut from a pack, in `torn` beside the packs. What is there stays.
    pub(super) fn keep_tail(&self, pack: &Pack, from: u64) -> Result<(), StoreError> {
        let path = self.torn_place(&format!("{:016x}-{from}", pack.number), "torn")?;
        let file = self.disk.create(&path).map_err(StoreError::io(&path))?;
        let copy = Pack { number: pack.number, file, path, bytes: 0 };
        let dir = self.dir.with_file_name("torn");
        copy_range(pack, from..pack.bytes, &copy, 0)?;
        copy.file.sync_data().and_then(|()| self.disk.sync_dir(&dir)).map_err(StoreError::io(&dir))
    }

    /// A name in `torn` that is free.
    fn torn_place(&self, name: &str, ending: &str) -> Result<PathBuf, StoreError> {
        let dir = self.dir.with_file_name("torn");
        let failed = || StoreError::io(&dir);
        self.disk.create_dir_all(&dir).map_err(failed())?;
        let mut path = dir.join(format!("{name}.{ending}"));
        let mut nth = 2;
        while self.disk.exists(&path).map_err(failed())? {
            path = dir.join(format!("{name}-{nth}.{ending}"));
            nth += 1;
        }
        Ok(path)
    }

    /// Moves a pack to `torn`: nothing that can be read is needed of it any more, and some of it cannot be read.
    pub(super) fn put_aside(&self, number: u64) -> Result<(), StoreError> {
        let (path, to) = (self.path(number), self.torn_place(&format!("{number:016x}"), "pack")?);
        let moved = self.disk.rename(&path, &to);
        let moved = moved.and_then(|()| self.disk.sync_dir(&self.dir.with_file_name("torn")));
        moved.and_then(|()| self.disk.sync_dir(&self.dir)).map_err(StoreError::io(&path))?;
        self.forget(number);
        Ok(())
    }

    fn forget(&self, number: u64) {
        self.lengths.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// Removes a pack of which nothing is needed any more. Who reads it still can.
    pub(super) fn remove(&self, number: u64) -> Result<(), StoreError> {
        let path = self.path(number);
        let removed = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.dir));
        removed.map_err(StoreError::io(&path))?;
        self.forget(number);
        Ok(())
    }

    /// Whether a pack's header is whole, and not this store's or of another number.
    pub(super) fn is_foreign(&self, pack: &Pack) -> bool {
        let mut bytes = [0; FILE_HEADER_BYTES];
        pack.file.read_exact_at(&mut bytes, 0).is_ok()
            && FileKind::Pack.is_any_header(&bytes)
            && !FileKind::Pack.is_header(&bytes, pack.number, self.store)
    }

    pub(super) fn has_header(&self, pack: &Pack) -> bool {
        let mut bytes = [0; FILE_HEADER_BYTES];
        pack.file.read_exact_at(&mut bytes, 0).is_ok()
            && FileKind::Pack.is_header(&bytes, pack.number, self.store)
    }
}
