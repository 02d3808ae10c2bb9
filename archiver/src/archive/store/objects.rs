//! Objects: compressed, sealed, appended to packs, and read back.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use postern_shared::crypto::aead::{AeadKey, TAG_BYTES};
use postern_shared::crypto::{SecretBytes, random, random_secret};
use postern_shared::disk::Disk;
use serde::{Deserialize, Serialize};

use super::files::{OpenFile, ReadOnlyFrom, Series};
use super::format::{FILE_HEADER_BYTES, FileKind, Kind, OBJECT_HEADER_BYTES, OBJECT_MAGIC, ObjectHeader};
use super::keys::{Appended, KeyTable};
use super::{Damage, StoreError};

const PACK_BYTES_MAX: u64 = 256 * 1024 * 1024;
const ZSTD_LEVEL: i32 = 3;
/// Each object key seals one object only.
const NONCE: [u8; 12] = [0; 12];

/// An object's id: 16 random bytes, written as hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(in crate::archive) struct ObjectId(pub(in crate::archive) [u8; 16]);

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for ObjectId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ObjectId {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.to_string()
    }
}

/// An object to be stored, compressed and sealed already.
#[derive(Debug)]
pub(in crate::archive) struct NewObject {
    header: ObjectHeader,
    body: Vec<u8>,
    key: SecretBytes,
}

impl NewObject {
    /// Compresses and seals `plain`.
    pub(in crate::archive) fn seal(kind: Kind, plain: &[u8]) -> Result<Self, std::io::Error> {
        let mut body = zstd::bulk::compress(plain, ZSTD_LEVEL)?;
        let key = random_secret();
        let mut header = ObjectHeader {
            kind,
            object: random(),
            plain_bytes: plain.len() as u64,
            body_bytes: (body.len() + TAG_BYTES) as u64,
            body_crc: 0,
        };
        let tag = AeadKey::new(&key).seal(NONCE, &header.associated_data(), &mut body);
        body.extend_from_slice(&tag);
        header.body_crc = crc32c::crc32c(&body);
        Ok(Self { header, body, key })
    }

    pub(in crate::archive) fn id(&self) -> ObjectId {
        ObjectId(self.header.object)
    }
}

/// Where an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct Place {
    pub(in crate::archive) pack: u64,
    pub(in crate::archive) offset: u64,
}

/// An object found by scanning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct Stored {
    pub(in crate::archive) id: ObjectId,
    pub(in crate::archive) kind: Kind,
    pub(in crate::archive) place: Place,
}

/// Packs and their key table.
#[derive(Debug)]
pub(in crate::archive) struct ObjectStore {
    packs: Series,
    keys: KeyTable,
    poisoned: bool,
}

/// What the last append did, so that it can be taken back.
#[derive(Debug)]
pub(in crate::archive) struct Undo {
    pack: u64,
    pack_bytes: u64,
    keys: Appended,
}

impl ObjectStore {
    /// Opens packs and keys in a store's directory. Damage in the key table is added to `damage`.
    pub(in crate::archive) fn open(
        disk: &Arc<dyn Disk>,
        store_dir: &Path,
        store_key: AeadKey,
        damage: &mut Vec<Damage>,
    ) -> Result<Self, StoreError> {
        let packs = Series::open(Arc::clone(disk), store_dir.join("packs"), FileKind::Pack)?;
        let keys = KeyTable::open(Arc::clone(disk), store_dir.join("keys"), store_key, damage)?;
        Ok(Self { packs, keys, poisoned: false })
    }

    /// Appends and syncs objects and their keys. The objects' places, where the pack ends now, and how to undo it all.
    pub(in crate::archive) fn append(
        &mut self,
        objects: &[NewObject],
    ) -> Result<(Vec<Stored>, ReadOnlyFrom, Undo), StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        let keys: Vec<_> = objects.iter().map(|object| (object.header.object, object.key.clone())).collect();
        let (number, open) = self.packs.writable(PACK_BYTES_MAX)?;
        // Keys first: an object without key would be useless, a key without object is only unused.
        let keys = self.keys.append(&keys)?;
        let undo = Undo { pack: number, pack_bytes: open.bytes, keys };
        match write_objects(&open, number, objects) {
            Ok((stored, end)) => {
                self.packs.set_bytes(number, end);
                Ok((stored, ReadOnlyFrom { file: number, offset: end }, undo))
            }
            Err(error) => {
                self.undo(&undo);
                Err(error)
            }
        }
    }

    /// Takes back what was appended last. When that fails the store takes nothing any more; opening it anew finds
    /// what was left over and folds it.
    pub(in crate::archive) fn undo(&mut self, undo: &Undo) {
        let undone = self.packs.cut(undo.pack, undo.pack_bytes).and_then(|()| self.keys.undo(undo.keys));
        if let Err(error) = undone {
            tracing::error!(%error, "cannot take back what was not committed; the store takes nothing any more");
            self.poisoned = true;
        }
    }

    /// An object's octets.
    pub(in crate::archive) fn read(&self, id: ObjectId, place: Place) -> Result<Vec<u8>, StoreError> {
        self.read_at(place, Some(id))
    }

    /// The octets of whatever object lies there.
    pub(in crate::archive) fn read_any(&self, place: Place) -> Result<Vec<u8>, StoreError> {
        self.read_at(place, None)
    }

    fn read_at(&self, place: Place, id: Option<ObjectId>) -> Result<Vec<u8>, StoreError> {
        let Some(open) = self.packs.get(place.pack) else {
            let path = std::path::PathBuf::from(format!("packs/{:016x}.pack", place.pack));
            return Err(StoreError::Damaged(Damage { path, offset: 0, what: "the pack is missing".into() }));
        };
        let damaged = |what: &str| {
            StoreError::Damaged(Damage { path: open.path.clone(), offset: place.offset, what: what.into() })
        };
        let header = read_header(open, place.offset)?
            .filter(|header| id.is_none_or(|id| header.object == id.0))
            .ok_or_else(|| damaged("there is no such object"))?;
        let mut body = vec![0; usize::try_from(header.body_bytes).map_err(|_| damaged("impossible length"))?];
        open.file.read_exact_at(&mut body, place.offset + OBJECT_HEADER_BYTES as u64).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::UnexpectedEof => damaged("the object is cut short"),
                _ => StoreError::io(&open.path)(error),
            }
        })?;
        let key = self.keys.get(header.object)?.ok_or_else(|| StoreError::NoKey {
            object: ObjectId(header.object).to_string(),
            path: open.path.clone(),
            offset: place.offset,
        })?;
        let sealed = AeadKey::new(&key);
        let compressed = sealed
            .open(NONCE, &header.associated_data(), &mut body)
            .map_err(|_| damaged("the object is altered"))?;
        let plain_bytes = usize::try_from(header.plain_bytes).map_err(|_| damaged("impossible length"))?;
        let plain =
            zstd::bulk::decompress(compressed, plain_bytes).map_err(|_| damaged("it does not decompress"))?;
        if plain.len() == plain_bytes { Ok(plain) } else { Err(damaged("it has another length")) }
    }

    /// Walks all whole objects from `from` on; what is none goes to `damage` and is passed over. `tail_is_torn`: what
    /// lies behind the last whole object of the newest pack was never committed, and is cut.
    pub(in crate::archive) fn scan(
        &mut self,
        from: ReadOnlyFrom,
        tail_is_torn: bool,
        damage: &mut Vec<Damage>,
        mut found: impl FnMut(Stored),
    ) -> Result<ReadOnlyFrom, StoreError> {
        let newest = self.packs.newest().map(|(number, _)| number);
        let numbers: Vec<u64> =
            self.packs.iter().map(|(number, _)| number).filter(|n| *n >= from.file).collect();
        let mut end = from;
        for number in numbers {
            let Some(open) = self.packs.get(number).cloned() else { continue };
            let start = if number == from.file { from.offset } else { 0 }.max(FILE_HEADER_BYTES as u64);
            if start == FILE_HEADER_BYTES as u64 && !self.packs.has_header(number) && open.bytes >= start {
                let what = "the pack's header is altered".to_owned();
                damage.push(Damage { path: open.path.clone(), offset: 0, what });
            }
            let at = scan_pack(&open, number, start, damage, &mut found)?;
            if at < open.bytes && Some(number) == newest && tail_is_torn {
                tracing::warn!(path = %open.path.display(), offset = at, "cutting a torn tail, which was never committed");
                self.packs.cut(number, at)?;
                end = ReadOnlyFrom { file: number, offset: at };
                continue;
            }
            if at < open.bytes {
                let what = format!("{} bytes at the end are no object", open.bytes - at);
                damage.push(Damage { path: open.path.clone(), offset: at, what });
            }
            end = ReadOnlyFrom { file: number, offset: open.bytes };
        }
        Ok(end)
    }
}

fn write_objects(
    open: &OpenFile,
    pack: u64,
    objects: &[NewObject],
) -> Result<(Vec<Stored>, u64), StoreError> {
    let headers: Vec<_> = objects.iter().map(|object| object.header.to_bytes()).collect();
    let mut slices: Vec<&[u8]> = Vec::with_capacity(2 * objects.len());
    let mut stored = Vec::with_capacity(objects.len());
    let mut offset = open.bytes;
    for (header, object) in headers.iter().zip(objects) {
        slices.extend([&header[..], &object.body]);
        stored.push(Stored { id: object.id(), kind: object.header.kind, place: Place { pack, offset } });
        offset += object.header.record_bytes();
    }
    let written = open.file.write_all_at(&slices, open.bytes).and_then(|()| open.file.sync_data());
    written.map_err(StoreError::io(&open.path))?;
    Ok((stored, offset))
}

fn read_header(open: &OpenFile, offset: u64) -> Result<Option<ObjectHeader>, StoreError> {
    let mut bytes = [0; OBJECT_HEADER_BYTES];
    match open.file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(ObjectHeader::from_bytes(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(StoreError::io(&open.path)(error)),
    }
}

/// Reports whole objects; returns where the first octet lies behind the last of them.
fn scan_pack(
    open: &OpenFile,
    pack: u64,
    start: u64,
    damage: &mut Vec<Damage>,
    found: &mut impl FnMut(Stored),
) -> Result<u64, StoreError> {
    let mut at = start.min(open.bytes);
    loop {
        if let Some(header) = whole_object(open, at)? {
            found(Stored {
                id: ObjectId(header.object),
                kind: header.kind,
                place: Place { pack, offset: at },
            });
            at += header.record_bytes();
            continue;
        }
        let Some(next) = next_object(open, at + 1)? else { return Ok(at) };
        let what = format!("{} bytes are no object; what follows is read", next - at);
        damage.push(Damage { path: open.path.clone(), offset: at, what });
        at = next;
    }
}

fn whole_object(open: &OpenFile, at: u64) -> Result<Option<ObjectHeader>, StoreError> {
    let Some(header) = read_header(open, at)?.filter(|header| at + header.record_bytes() <= open.bytes)
    else {
        return Ok(None);
    };
    let mut body = vec![0; usize::try_from(header.body_bytes).unwrap_or(0)];
    let read = open.file.read_exact_at(&mut body, at + OBJECT_HEADER_BYTES as u64);
    read.map_err(StoreError::io(&open.path))?;
    Ok((crc32c::crc32c(&body) == header.body_crc).then_some(header))
}

/// The next place from `from` on where a whole object begins.
fn next_object(open: &OpenFile, from: u64) -> Result<Option<u64>, StoreError> {
    const WINDOW_BYTES: u64 = 1024 * 1024;
    let mut at = from;
    while at + OBJECT_HEADER_BYTES as u64 <= open.bytes {
        let len = usize::try_from((open.bytes - at).min(WINDOW_BYTES)).unwrap_or(0);
        let mut window = vec![0; len];
        open.file.read_exact_at(&mut window, at).map_err(StoreError::io(&open.path))?;
        for (i, candidate) in window.windows(OBJECT_MAGIC.len()).enumerate() {
            if candidate == OBJECT_MAGIC && whole_object(open, at + i as u64)?.is_some() {
                return Ok(Some(at + i as u64));
            }
        }
        // The magic may straddle two windows.
        at += (len as u64).saturating_sub(OBJECT_MAGIC.len() as u64 - 1).max(1);
    }
    Ok(None)
}
