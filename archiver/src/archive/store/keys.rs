//! The key table: each message's key, wrapped by the store key, apart from the packs so that it can be destroyed in its place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::disk::{Disk, DiskFile};
use zeroize::Zeroizing;

use super::format::{FILE_HEADER_BYTES, FileKind, KEY_RECORD_BYTES, KeyRecord, StoreUid, WRAPPED_KEY_BYTES};
use super::{Damage, StoreError, is_unreadable};

/// Slots of one file.
const FILE_SLOTS: u64 = 1 << 20;
/// More than any store needs: 4 thousand million messages.
const FILES_MAX: usize = 4096;
/// Slots start here: 0 in an object's header means none.
const FIRST_SLOT: u64 = 1;

/// Message keys by their slots.
#[derive(Debug)]
pub(in crate::archive) struct KeyTable {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: StoreUid,
    store_key: AeadKey,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    open: Vec<Option<(Arc<dyn DiskFile>, PathBuf)>>,
    next: u64,
}

impl KeyTable {
    pub(in crate::archive) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        store: StoreUid,
        store_key: AeadKey,
    ) -> Result<Self, StoreError> {
        disk.create_dir_all(&dir).map_err(StoreError::io(&dir))?;
        let mut files = Files { open: Vec::new(), next: FIRST_SLOT };
        for path in disk.files(&dir).map_err(StoreError::io(&dir))? {
            let Some(number) = FileKind::Keys.number_of(&path) else { continue };
            let file = disk.open(&path).or_else(|_| disk.open_read(&path)).map_err(StoreError::io(&path))?;
            let bytes = file.len().map_err(StoreError::io(&path))?;
            // A record cut short was never used: keys are synced before anything that needs them is written.
            let slots = bytes.saturating_sub(FILE_HEADER_BYTES as u64) / KEY_RECORD_BYTES as u64;
            if number >= FILES_MAX as u64 {
                continue;
            }
            files.next = files.next.max(number * FILE_SLOTS + slots.min(FILE_SLOTS));
            if slots == 0 {
                // Its creation was interrupted. A store that cannot be written needs no header in it either.
                let _ = file.write_all_at(&[&FileKind::Keys.header(number, store)], 0);
            }
            files.keep(number, file, path);
        }
        Ok(Self { disk, dir, store, store_key, files: Mutex::new(files) })
    }

    /// The highest slot of which the tables have a record, or that was given out.
    pub(in crate::archive) fn last(&self) -> u64 {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).next - 1
    }

    /// What of the tables is missing that has the keys up to `slot`.
    pub(in crate::archive) fn missing(&self, slot: u64) -> Result<Vec<Damage>, StoreError> {
        if slot < FIRST_SLOT {
            return Ok(Vec::new());
        }
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = Vec::new();
        for number in 0..=(slot / FILE_SLOTS).min(FILES_MAX as u64 - 1) {
            let last = if number == slot / FILE_SLOTS { slot % FILE_SLOTS } else { FILE_SLOTS - 1 };
            let wanted = offset(last) + KEY_RECORD_BYTES as u64;
            let (path, found) = match files.get(number) {
                Some((file, path)) => (path.clone(), file.len().map_err(StoreError::io(&path))?),
                None => (self.dir.join(FileKind::Keys.file_name(number)), 0),
            };
            if found < wanted {
                let what = format!(
                    "{} of {wanted} bytes with messages' keys are missing: put the key table back from a backup",
                    wanted - found
                );
                missing.push(Damage { path, offset: found, what });
            }
        }
        Ok(missing)
    }

    /// How long each table is, by its number, and the CRC-32C of its first octets, as many as `measured` says of it, or all.
    pub(in crate::archive) fn tables(&self, measured: &BTreeMap<u64, u64>) -> Vec<(u64, u64, u32)> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).open.clone();
        let tables =
            files.into_iter().enumerate().filter_map(|(number, open)| Some((number as u64, open?.0)));
        let tables = tables.map(|(number, file)| {
            let len = file.len().unwrap_or(0);
            let len = measured.get(&number).map_or(len, |measured| len.min(*measured));
            // What cannot be read now may be read later, and is another one then.
            (number, len, crc_of(&*file, len).unwrap_or(0))
        });
        tables.collect()
    }

    /// Makes every later slot greater than `slot`: a table may have lost its end.
    pub(in crate::archive) fn at_least(&self, slot: u64) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.next = files.next.max(slot + 1);
    }

    /// Appends and syncs keys; the first one's slot. Nothing else can be using slots that are not handed out, so after an
    /// error they are simply written over.
    pub(in crate::archive) fn append(&self, keys: &[SecretBytes]) -> Result<u64, StoreError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let first = files.next;
        let mut slot = first;
        let mut left = keys;
        while !left.is_empty() {
            let number = slot / FILE_SLOTS;
            let room = usize::try_from(FILE_SLOTS - slot % FILE_SLOTS).unwrap_or(usize::MAX);
            let (now, later) = left.split_at(left.len().min(room));
            let (file, path) = self.writable(&mut files, number)?;
            let mut bytes = Vec::with_capacity(now.len() * KEY_RECORD_BYTES);
            for (key, slot) in now.iter().zip(slot..) {
                bytes.extend_from_slice(&self.wrap(slot, key).to_bytes());
            }
            let written = fill_gap(&*file, offset(slot))
                .and_then(|()| file.write_all_at(&[&bytes], offset(slot)))
                .and_then(|()| file.sync_data());
            written.map_err(StoreError::io(&path))?;
            slot += now.len() as u64;
            left = later;
        }
        files.next = slot;
        Ok(first)
    }

    fn wrap(&self, slot: u64, key: &SecretBytes) -> KeyRecord {
        let wrapped = self.store_key.wrap(&slot.to_be_bytes(), &**key);
        let mut record = KeyRecord([0; WRAPPED_KEY_BYTES]);
        record.0.copy_from_slice(&wrapped);
        record
    }

    fn writable(&self, files: &mut Files, number: u64) -> Result<(Arc<dyn DiskFile>, PathBuf), StoreError> {
        if let Some(open) = files.get(number) {
            return Ok(open);
        }
        let path = self.dir.join(FileKind::Keys.file_name(number));
        if number >= FILES_MAX as u64 {
            let source =
                std::io::Error::other("a store has no key table of that number; rebuild its catalog");
            return Err(StoreError::Io { path, source });
        }
        let file = self.disk.create(&path).map_err(|error| {
            // What is there already is somebody else's.
            if error.kind() != std::io::ErrorKind::AlreadyExists {
                let _ = self.disk.remove(&path);
            }
            StoreError::io(&path)(error)
        })?;
        let header = FileKind::Keys.header(number, self.store);
        let begun = file.write_all_at(&[&header], 0).and_then(|()| file.sync_data());
        if let Err(error) = begun.and_then(|()| self.disk.sync_dir(&self.dir)) {
            // Else the next attempt could not create it.
            let _ = self.disk.remove(&path);
            return Err(StoreError::io(&path)(error));
        }
        files.keep(number, Arc::clone(&file), path.clone());
        Ok((file, path))
    }

    /// Whether the key in a slot was destroyed on purpose: its record is zeros, not missing or damaged.
    pub(in crate::archive) fn is_destroyed(&self, slot: u64) -> Result<bool, StoreError> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((file, path)) = files.get(slot / FILE_SLOTS) else { return Ok(false) };
        drop(files);
        let mut bytes = [1; KEY_RECORD_BYTES];
        match file.read_exact_at(&mut bytes, offset(slot)) {
            Ok(()) => Ok(bytes == [0; KEY_RECORD_BYTES]),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) if is_unreadable(&error) => Ok(false),
            Err(error) => Err(StoreError::io(&path)(error)),
        }
    }

    /// The key in a slot; `None` when it was destroyed, or is damaged.
    pub(in crate::archive) fn get(&self, slot: u64) -> Result<Option<SecretBytes>, StoreError> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((file, path)) = files.get(slot / FILE_SLOTS) else { return Ok(None) };
        drop(files);
        let mut bytes = [0; KEY_RECORD_BYTES];
        match file.read_exact_at(&mut bytes, offset(slot)) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(StoreError::io(&path))?,
        }
        let key = KeyRecord::from_bytes(&bytes)
            .and_then(|record| self.store_key.unwrap(&slot.to_be_bytes(), &record.0).ok())
            .and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok());
        Ok(key.map(Zeroizing::new))
    }
}

fn crc_of(file: &dyn DiskFile, len: u64) -> std::io::Result<u32> {
    let mut window = vec![0; 1 << 20];
    let (mut at, mut crc) = (0, 0);
    while at < len {
        let count = usize::try_from(len - at).unwrap_or(usize::MAX).min(window.len());
        file.read_exact_at(&mut window[..count], at)?;
        crc = crc32c::crc32c_append(crc, &window[..count]);
        at += count as u64;
    }
    Ok(crc)
}

/// A table that lost its end is not to look as if its keys had been destroyed: that would be zeros.
fn fill_gap(file: &dyn DiskFile, until: u64) -> std::io::Result<()> {
    let mut at = file.len()?;
    while at < until {
        let lost = vec![0xff; usize::try_from(until - at).unwrap_or(usize::MAX).min(1 << 20)];
        file.write_all_at(&[&lost], at)?;
        at += lost.len() as u64;
    }
    Ok(())
}

fn offset(slot: u64) -> u64 {
    FILE_HEADER_BYTES as u64 + slot % FILE_SLOTS * KEY_RECORD_BYTES as u64
}

impl Files {
    fn get(&self, number: u64) -> Option<(Arc<dyn DiskFile>, PathBuf)> {
        self.open.get(usize::try_from(number).ok()?)?.clone()
    }

    fn keep(&mut self, number: u64, file: Arc<dyn DiskFile>, path: PathBuf) {
        let Some(at) = usize::try_from(number).ok().filter(|at| *at < FILES_MAX) else { return };
        if self.open.len() <= at {
            self.open.resize(at + 1, None);
        }
        self.open[at] = Some((file, path));
    }
}
