//! The key table: each object's key, wrapped by the store key, apart from the packs so that it can be destroyed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::disk::Disk;
use zeroize::Zeroizing;

use super::files::Series;
use super::format::{FILE_HEADER_BYTES, FileKind, KEY_RECORD_BYTES, KeyRecord, WRAPPED_KEY_BYTES};
use super::{Damage, StoreError};

const TABLE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const READ_BYTES: usize = 1024 * KEY_RECORD_BYTES;

/// Where each object's key is; the keys themselves are read when needed.
#[derive(Debug)]
pub(super) struct KeyTable {
    series: Series,
    store_key: AeadKey,
    places: HashMap<[u8; 16], (u64, u64)>,
}

/// How much was appended and where, so that it can be undone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Appended {
    number: u64,
    before: u64,
}

impl KeyTable {
    /// Reads all tables; records that are not whole are reported, a torn tail of the newest table is cut.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        store_key: AeadKey,
        damage: &mut Vec<Damage>,
    ) -> Result<Self, StoreError> {
        let series = Series::open(disk, dir, FileKind::Keys)?;
        let mut table = Self { series, store_key, places: HashMap::new() };
        let newest = table.series.newest().map(|(number, _)| number);
        let numbers: Vec<u64> = table.series.iter().map(|(number, _)| number).collect();
        for number in numbers {
            let end = table.scan(number, Some(number) == newest, damage)?;
            if Some(number) == newest && table.series.get(number).is_some_and(|open| open.bytes > end) {
                table.series.cut(number, end)?;
            }
        }
        Ok(table)
    }

    /// Enters one table's records; returns where the last whole one ends.
    fn scan(&mut self, number: u64, is_newest: bool, damage: &mut Vec<Damage>) -> Result<u64, StoreError> {
        let Some(open) = self.series.get(number).cloned() else { return Ok(0) };
        let mut at = FILE_HEADER_BYTES as u64;
        let mut end = at.min(open.bytes);
        let mut bad = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        while at + KEY_RECORD_BYTES as u64 <= open.bytes {
            let whole = (open.bytes - at) / KEY_RECORD_BYTES as u64 * KEY_RECORD_BYTES as u64;
            let len = usize::try_from(whole).unwrap_or(READ_BYTES).min(READ_BYTES);
            open.file.read_exact_at(&mut buffer[..len], at).map_err(StoreError::io(&open.path))?;
            let (records, _) = buffer[..len].as_chunks::<KEY_RECORD_BYTES>();
            for record in records {
                match KeyRecord::from_bytes(record) {
                    Some(record) => {
                        self.places.insert(record.object, (number, at));
                        end = at + KEY_RECORD_BYTES as u64;
                    }
                    None => bad.push(at),
                }
                at += KEY_RECORD_BYTES as u64;
            }
        }
        // Behind the last whole record of the newest table is what a crash tore; anything else is damage.
        let torn = |offset: u64| is_newest && offset >= end;
        let what = || "a key record is altered".to_owned();
        let found = bad.into_iter().filter(|offset| !torn(*offset));
        damage.extend(found.map(|offset| Damage { path: open.path.clone(), offset, what: what() }));
        Ok(end)
    }

    /// Appends and syncs the keys of new objects.
    pub(super) fn append(&mut self, keys: &[([u8; 16], SecretBytes)]) -> Result<Appended, StoreError> {
        let (number, open) = self.series.writable(TABLE_BYTES_MAX)?;
        let mut bytes = Vec::with_capacity(keys.len() * KEY_RECORD_BYTES);
        for (object, key) in keys {
            let wrapped = self.store_key.wrap(object, &**key);
            let mut record = KeyRecord { object: *object, wrapped: [0; WRAPPED_KEY_BYTES] };
            record.wrapped.copy_from_slice(&wrapped);
            bytes.extend_from_slice(&record.to_bytes());
        }
        let written = open.file.write_all_at(&[&bytes], open.bytes).and_then(|()| open.file.sync_data());
        let appended = Appended { number, before: open.bytes };
        if let Err(error) = written {
            self.undo(appended)?;
            return Err(StoreError::io(&open.path)(error));
        }
        self.series.set_bytes(number, open.bytes + bytes.len() as u64);
        for (i, (object, _)) in keys.iter().enumerate() {
            self.places.insert(*object, (number, open.bytes + (i * KEY_RECORD_BYTES) as u64));
        }
        Ok(appended)
    }

    /// Takes back what was appended last.
    pub(super) fn undo(&mut self, appended: Appended) -> Result<(), StoreError> {
        self.places.retain(|_, (number, offset)| *number != appended.number || *offset < appended.before);
        self.series.cut(appended.number, appended.before)
    }

    /// An object's key; `None` when it is not there or does not open.
    pub(super) fn get(&self, object: [u8; 16]) -> Result<Option<SecretBytes>, StoreError> {
        let Some((number, offset)) = self.places.get(&object) else { return Ok(None) };
        let Some(open) = self.series.get(*number) else { return Ok(None) };
        let mut bytes = [0; KEY_RECORD_BYTES];
        open.file.read_exact_at(&mut bytes, *offset).map_err(StoreError::io(&open.path))?;
        let key = KeyRecord::from_bytes(&bytes)
            .filter(|record| record.object == object)
            .and_then(|record| self.store_key.unwrap(&object, &record.wrapped).ok())
            .and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok());
        Ok(key.map(Zeroizing::new))
    }
}
