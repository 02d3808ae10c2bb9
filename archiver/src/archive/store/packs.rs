//! Packs: objects appended in groups, and read back.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postern_shared::crypto::SecretBytes;
use postern_shared::disk::Disk;
use zeroize::Zeroizing;

use super::files::{Pack, PackFiles};
use super::format::{FILE_HEADER_BYTES, OBJECT_HEADER_BYTES, ObjectHeader, StoreUid};
use super::scan::read_header;
use super::seal::{Body, NotOpened, Sealed, open};
use super::{Damage, StoreError, is_unreadable};

/// A full pack is closed; a long object may make one longer.
pub(in crate::archive) const PACK_BYTES_MAX: u64 = 256 * 1024 * 1024;
const WINDOW_BYTES: usize = 256 * 1024;

/// Where an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::archive) struct Place {
    pub(in crate::archive) pack: u64,
    pub(in crate::archive) offset: u64,
}

/// An object found, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct Stored {
    pub(in crate::archive) header: ObjectHeader,
    pub(in crate::archive) place: Place,
}

/// A store's packs. Reading needs no lock; one appends at a time.
#[derive(Debug)]
pub(in crate::archive) struct Packs {
    pub(super) files: PackFiles,
    next_object: AtomicU64,
    pack_bytes_max: u64,
}

/// Where the next object goes.
#[derive(Debug, Default)]
pub(in crate::archive) struct Tail {
    /// The pack that is appended to; none yet, or none that may be.
    pack: Option<Pack>,
    poisoned: bool,
}

/// How far the packs went before an append, so that it can be taken back.
#[derive(Debug)]
pub(in crate::archive) struct Undo {
    end: Place,
}

impl Packs {
    pub(in crate::archive) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        store: StoreUid,
        pack_bytes_max: u64,
    ) -> Result<Self, StoreError> {
        let files = PackFiles::open(disk, dir, store)?;
        Ok(Self { files, next_object: AtomicU64::new(1), pack_bytes_max })
    }

    /// A number that no object has had.
    pub(in crate::archive) fn next_number(&self) -> u64 {
        self.next_object.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes every later number greater than `number`.
    pub(in crate::archive) fn at_least(&self, number: u64) {
        self.next_object.fetch_max(number + 1, Ordering::Relaxed);
    }

    /// Where long objects wait.
    pub(in crate::archive) fn waiting_place(&self) -> (&Arc<dyn Disk>, &std::path::Path) {
        self.files.place()
    }

    /// Octets of all packs.
    pub(in crate::archive) fn total_bytes(&self) -> u64 {
        self.files.total_bytes()
    }

    /// The end of the newest pack.
    pub(in crate::archive) fn end(&self) -> Result<Place, StoreError> {
        let Some(number) = self.files.newest() else { return Ok(Place::default()) };
        let pack = self.files.get(number)?;
        Ok(pack.map_or(Place::default(), |pack| Place { pack: number, offset: pack.bytes }))
    }

    /// Appends and syncs objects. Where they lie, where the packs end now, and how to take it back.
    pub(in crate::archive) fn append(
        &self,
        tail: &mut Tail,
        objects: &[Sealed],
    ) -> Result<(Vec<Stored>, Place, Undo), StoreError> {
        if tail.poisoned {
            return Err(StoreError::Poisoned);
        }
        let mut pack = self.tail(tail)?;
        let undo = Undo { end: Place { pack: pack.number, offset: pack.bytes } };
        match write_objects(&pack, objects) {
            Ok((stored, end)) => {
                pack.bytes = end;
                self.files.set_bytes(pack.number, end);
                let end = Place { pack: pack.number, offset: end };
                tail.pack = Some(pack);
                Ok((stored, end, undo))
            }
            Err(error) => {
                self.undo(tail, &undo);
                Err(error)
            }
        }
    }

    /// The pack to append to: the newest, or a new one when that is full, has no whole header, or cannot be written.
    fn tail(&self, tail: &mut Tail) -> Result<Pack, StoreError> {
        let room = FILE_HEADER_BYTES as u64..self.pack_bytes_max;
        if let Some(pack) = tail.pack.take().filter(|pack| room.contains(&pack.bytes)) {
            return Ok(pack);
        }
        match self.files.newest() {
            Some(number) => {
                let pack = self.files.writable(number)?;
                if room.contains(&pack.bytes) && self.files.has_header(&pack) {
                    return Ok(pack);
                }
                self.files.create()
            }
            None => self.files.create(),
        }
    }

    /// Takes nothing any more until the store is opened anew.
    pub(in crate::archive) fn poison(&self, tail: &mut Tail) {
        (tail.pack, tail.poisoned) = (None, true);
    }

    /// Appends from now on to a new pack.
    pub(in crate::archive) fn close_newest(&self, tail: &mut Tail) -> Result<(), StoreError> {
        tail.pack = Some(self.files.create()?);
        Ok(())
    }

    /// Takes back what was appended last. When that fails the packs take nothing any more; opening them anew finds what
    /// was left over and folds it.
    pub(in crate::archive) fn undo(&self, tail: &mut Tail, undo: &Undo) {
        tail.pack = None;
        if let Err(error) = self.files.cut(undo.end.pack, undo.end.offset) {
            tracing::error!(%error, "cannot take back what was not committed; the store takes nothing any more");
            tail.poisoned = true;
        }
    }

    /// What an object is, when it is object `number`.
    pub(in crate::archive) fn header(&self, place: Place, number: u64) -> Result<ObjectHeader, StoreError> {
        self.find(place, number).map(|(header, _)| header)
    }

    fn find(&self, place: Place, number: u64) -> Result<(ObjectHeader, Pack), StoreError> {
        let Some(pack) = self.files.get(place.pack)? else {
            let path = self.files.path(place.pack);
            return Err(StoreError::Damaged(Damage { path, offset: 0, what: "the pack is missing".into() }));
        };
        match read_header(&pack, place.offset)?.filter(|header| header.number == number) {
            Some(header) => Ok((header, pack)),
            None => Err(damaged(&pack, place, "there is no such object")),
        }
    }

    /// Hands an object's octets on, piece by piece. What was handed on counts only when this returns `Ok`: a later piece
    /// may be altered.
    pub(in crate::archive) fn copy(
        &self,
        place: Place,
        number: u64,
        key: &SecretBytes,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let (header, pack) = self.find(place, number)?;
        let cut_short = std::cell::Cell::new(false);
        let read = |buffer: &mut [u8], offset: u64| {
            let read = pack.file.read_exact_at(buffer, place.offset + OBJECT_HEADER_BYTES as u64 + offset);
            cut_short.set(read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof));
            read
        };
        open(header, key, read, take).map_err(|error| match error {
            NotOpened::Damaged(what) => damaged(&pack, place, what),
            NotOpened::Io(_) if cut_short.get() => damaged(&pack, place, "the object is cut short"),
            NotOpened::Io(error) => StoreError::io(&pack.path)(error),
        })
    }

    /// An object's octets, all of them.
    pub(in crate::archive) fn read(
        &self,
        place: Place,
        number: u64,
        key: &SecretBytes,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let mut plain = Zeroizing::new(Vec::new());
        self.copy(place, number, key, &mut |piece| {
            plain.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(plain)
    }

    /// Whether there is such a pack.
    pub(in crate::archive) fn has(&self, number: u64) -> bool {
        self.files.has(number)
    }

    /// The pack's file.
    pub(in crate::archive) fn path(&self, place: Place) -> PathBuf {
        self.files.path(place.pack)
    }

    /// That an object has no key: where it lies.
    pub(in crate::archive) fn no_key(&self, place: Place, what: String) -> StoreError {
        StoreError::NoKey { object: what, path: self.files.path(place.pack), offset: place.offset }
    }

    /// Copies objects of another pack, sealed as they are, to the end of the newest one, and syncs.
    pub(in crate::archive) fn move_objects(
        &self,
        tail: &mut Tail,
        objects: &[Stored],
    ) -> Result<(Vec<Stored>, Place), StoreError> {
        if tail.poisoned {
            return Err(StoreError::Poisoned);
        }
        let mut to = self.tail(tail)?;
        let undo = Undo { end: Place { pack: to.number, offset: to.bytes } };
        let mut moved = Vec::with_capacity(objects.len());
        let mut copy = || {
            let mut offset = to.bytes;
            for (nth, object) in objects.iter().enumerate() {
                let (header, from) = self.find(object.place, object.header.number)?;
                let header = ObjectHeader { first: nth == 0, ..header };
                let written = to.file.write_all_at(&[&header.to_bytes()], offset);
                written.map_err(StoreError::io(&to.path))?;
                let body = object.place.offset + OBJECT_HEADER_BYTES as u64;
                let target = offset + OBJECT_HEADER_BYTES as u64;
                let crc = copy_range(&from, body..body + header.body_bytes, &to, target)?;
                if crc != header.body_crc {
                    return Err(damaged(&from, object.place, "the object is altered, so its pack stays"));
                }
                moved.push(Stored { header, place: Place { pack: to.number, offset } });
                offset += header.record_bytes();
            }
            to.file.sync_data().map_err(StoreError::io(&to.path))?;
            Ok(offset)
        };
        match copy() {
            Ok(end) => {
                to.bytes = end;
                self.files.set_bytes(to.number, end);
                let end = Place { pack: to.number, offset: end };
                tail.pack = Some(to);
                Ok((moved, end))
            }
            Err(error) => {
                self.undo(tail, &undo);
                Err(error)
            }
        }
    }

    /// Whether object `number` is there, as it was written.
    pub(in crate::archive) fn is_whole_at(&self, place: Place, number: u64) -> Result<bool, StoreError> {
        let found = match self.find(place, number) {
            Ok((header, pack)) => (header, pack),
            Err(StoreError::Damaged(_)) => return Ok(false),
            Err(StoreError::Io { source, .. }) if is_unreadable(&source) => return Ok(false),
            Err(error) => return Err(error),
        };
        let at = place.offset + OBJECT_HEADER_BYTES as u64;
        let crc = crc_of(&found.1, at..at + found.0.body_bytes);
        match crc {
            Ok(crc) => Ok(crc == found.0.body_crc),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || is_unreadable(&error) => Ok(false),
            Err(error) => Err(StoreError::io(&found.1.path)(error)),
        }
    }

    /// Moves a pack out of the way of which nothing is needed that can be read.
    pub(in crate::archive) fn put_aside(&self, number: u64) -> Result<(), StoreError> {
        self.files.put_aside(number)
    }

    /// Removes a pack of which nothing is needed any more.
    pub(in crate::archive) fn remove(&self, number: u64) -> Result<(), StoreError> {
        self.files.remove(number)
    }

    /// Octets of a pack.
    pub(in crate::archive) fn pack_bytes(&self, number: u64) -> u64 {
        self.files.bytes(number)
    }

    /// The numbers of all packs.
    pub(in crate::archive) fn numbers(&self) -> Vec<u64> {
        self.files.numbers()
    }
}

pub(super) fn damaged(pack: &Pack, place: Place, what: &str) -> StoreError {
    StoreError::Damaged(Damage { path: pack.path.clone(), offset: place.offset, what: what.into() })
}

fn write_objects(pack: &Pack, objects: &[Sealed]) -> Result<(Vec<Stored>, u64), StoreError> {
    let header = |(nth, object): (usize, &Sealed)| ObjectHeader { first: nth == 0, ..object.header };
    let headers: Vec<_> = objects.iter().enumerate().map(header).map(ObjectHeader::to_bytes).collect();
    let mut slices: Vec<&[u8]> = Vec::with_capacity(2 * objects.len());
    let mut stored = Vec::with_capacity(objects.len());
    let (mut offset, mut written) = (pack.bytes, pack.bytes);
    let failed = StoreError::io(&pack.path);
    for (header, object) in headers.iter().zip(objects) {
        slices.push(header);
        stored.push(Stored { header: object.header, place: Place { pack: pack.number, offset } });
        offset += object.header.record_bytes();
        match &object.body {
            Body::Memory(body) => slices.push(body),
            Body::File(waiting) => {
                pack.file.write_all_at(&slices, written).map_err(StoreError::io(&pack.path))?;
                slices.clear();
                let from =
                    Pack { number: 0, file: Arc::clone(&waiting.file), path: pack.path.clone(), bytes: 0 };
                copy_range(&from, 0..object.header.body_bytes, pack, offset - object.header.body_bytes)?;
                written = offset;
            }
        }
    }
    pack.file.write_all_at(&slices, written).and_then(|()| pack.file.sync_data()).map_err(failed)?;
    Ok((stored, offset))
}

fn crc_of(pack: &Pack, range: std::ops::Range<u64>) -> io::Result<u32> {
    let mut window = vec![0; WINDOW_BYTES];
    let (mut at, mut crc) = (range.start, 0);
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        pack.file.read_exact_at(&mut window[..len], at)?;
        crc = crc32c::crc32c_append(crc, &window[..len]);
        at += len as u64;
    }
    Ok(crc)
}

/// Copies octets; the CRC-32C of them.
pub(super) fn copy_range(
    from: &Pack,
    range: std::ops::Range<u64>,
    to: &Pack,
    offset: u64,
) -> Result<u32, StoreError> {
    let len = usize::try_from(range.end - range.start).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
    let mut window = vec![0; len];
    let (mut at, mut crc) = (range.start, 0);
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        from.file.read_exact_at(&mut window[..len], at).map_err(StoreError::io(&from.path))?;
        crc = crc32c::crc32c_append(crc, &window[..len]);
        let written = to.file.write_all_at(&[&window[..len]], offset + at - range.start);
        written.map_err(StoreError::io(&to.path))?;
        at += len as u64;
    }
    Ok(crc)
}
