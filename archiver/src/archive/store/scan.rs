//! What lies in packs: whole objects, torn tails, damage.

use super::StoreError;
use super::files::Pack;
use super::format::{FILE_HEADER_BYTES, OBJECT_HEADER_BYTES, OBJECT_MAGIC, ObjectHeader};
use super::packs::{Packs, Place, Stored};
use super::{Damage, Damages, Kind, is_unreadable, read_around};

const WINDOW_BYTES: u64 = 1024 * 1024;

/// What a scan does with what it finds.
pub(in crate::archive) struct Scan<'s> {
    /// What lies behind the last whole object of the newest pack was never committed, and is cut.
    pub(in crate::archive) cut_torn_tail: bool,
    /// Nothing from here on is looked at: it may be being written, and be taken back.
    pub(in crate::archive) until: Option<Place>,
    /// What is no object, and where.
    pub(in crate::archive) damage: &'s mut Damages,
    /// Asked between objects; `true` ends the scan.
    pub(in crate::archive) cancelled: &'s dyn Fn() -> bool,
}

/// An object that a scan found.
#[derive(Debug, Clone, Copy)]
pub(in crate::archive) struct Found {
    pub(in crate::archive) stored: Stored,
    /// Where the next one may begin.
    pub(in crate::archive) behind: Place,
    /// It was written together with something that is no whole object, and nothing was written later: perhaps all of that was never
    /// committed.
    pub(in crate::archive) is_uncertain: bool,
}

type Take<'t> = &'t mut dyn FnMut(Found) -> Result<(), StoreError>;

impl Packs {
    /// Walks all whole objects from `from` on. Returns how far it came.
    ///
    /// Objects that were written together were synced before any later ones were written. So what is no object among them is damage
    /// when later ones are there; in the last ones it may have been torn when the power went. What the medium does not give back is
    /// damage, and never cut.
    pub(in crate::archive) fn scan(
        &self,
        from: Place,
        scan: &mut Scan<'_>,
        take: Take<'_>,
    ) -> Result<Place, StoreError> {
        self.scan_asking(from, scan, &|| true, take).map(|(end, _)| end)
    }

    /// The same; a torn tail is cut only when `may_cut` says so, which is asked when everything before it was handed on. Returns too
    /// whether the newest pack ends with what is no whole object, and was left so.
    pub(in crate::archive) fn scan_asking(
        &self,
        from: Place,
        scan: &mut Scan<'_>,
        may_cut: &dyn Fn() -> bool,
        take: Take<'_>,
    ) -> Result<(Place, bool), StoreError> {
        let until = scan.until.unwrap_or(Place { pack: u64::MAX, offset: u64::MAX });
        let newest = self.files.newest().map(|newest| newest.min(until.pack));
        self.files.above(from.pack);
        if from.pack > 0 && self.files.get(from.pack)?.is_none() {
            let (path, what) = (self.files.path(from.pack), "the pack is missing".to_owned());
            scan.damage.push(Damage { path, offset: 0, what });
        }
        let (mut end, mut is_torn) = (from, false);
        for number in self.files.numbers() {
            if !(from.pack..=until.pack).contains(&number) {
                continue;
            }
            let Some(mut pack) = self.pack_to_scan(number, scan)? else { continue };
            if number == until.pack {
                pack.bytes = pack.bytes.min(until.offset);
            }
            let start = if number == from.pack { from.offset } else { 0 }.max(FILE_HEADER_BYTES as u64);
            self.look_at_header(&pack, start, number == from.pack, scan);
            let is_newest = Some(number) == newest;
            let cuts = scan.cut_torn_tail && is_newest;
            let may_cut = || cuts && may_cut();
            let Some(torn) = scan_pack(&pack, start, is_newest, &may_cut, scan, take)? else {
                return Ok((end, false));
            };
            end = Place { pack: number, offset: pack.bytes.max(start) };
            match torn {
                Torn::No => {}
                Torn::Left => is_torn = true,
                Torn::Cut(at) => {
                    tracing::warn!(path = %pack.path.display(), offset = at, "cutting a torn tail, which was never committed");
                    if let Err(error) = self.files.keep_tail(&pack, at) {
                        tracing::warn!(%error, "no copy of the torn tail is kept");
                    }
                    self.files.cut(number, at)?;
                    end = Place { pack: number, offset: at };
                }
            }
        }
        Ok((end, is_torn))
    }

    /// A pack; one that the medium does not open is damage.
    fn pack_to_scan(&self, number: u64, scan: &mut Scan<'_>) -> Result<Option<Pack>, StoreError> {
        match self.files.get(number) {
            Err(StoreError::Io { path, source }) if is_unreadable(&source) => {
                scan.damage.push(Damage { path, offset: 0, what: cannot_be_read(&source) });
                Ok(None)
            }
            pack => pack,
        }
    }

    fn look_at_header(&self, pack: &Pack, start: u64, is_first: bool, scan: &mut Scan<'_>) {
        if start > pack.bytes && is_first {
            let what = format!("{} bytes that were committed are missing", start - pack.bytes);
            scan.damage.push(Damage { path: pack.path.clone(), offset: pack.bytes, what });
        }
        if start == FILE_HEADER_BYTES as u64 && !self.files.has_header(pack) && pack.bytes >= start {
            let what = "the pack's header is altered, or another store's".to_owned();
            scan.damage.push(Damage { path: pack.path.clone(), offset: 0, what });
        }
    }
}

/// A place where there is no whole object, and what was found behind it and may belong to it.
struct Hole {
    at: u64,
    damage: Damage,
    behind: Vec<Found>,
}

/// How the newest pack ends.
enum Torn {
    No,
    /// With what is no whole object: it stays.
    Left,
    /// It is to be cut there.
    Cut(u64),
}

/// Hands whole objects on; returns how it ends; `None` when cancelled.
fn scan_pack(
    pack: &Pack,
    start: u64,
    is_newest: bool,
    may_cut: &dyn Fn() -> bool,
    scan: &mut Scan<'_>,
    take: Take<'_>,
) -> Result<Option<Torn>, StoreError> {
    let mut at = start.min(pack.bytes);
    let mut holes: Vec<Hole> = Vec::new();
    let mut unreadable = None;
    let mut is_readable = true;
    loop {
        if (scan.cancelled)() {
            return Ok(None);
        }
        if let Some(header) = whole_object(pack, at, &mut unreadable)? {
            let stored = Stored { header, place: Place { pack: pack.number, offset: at } };
            at += header.record_bytes();
            let behind = Place { pack: pack.number, offset: at };
            let found = Found { stored, behind, is_uncertain: false };
            if header.first
                && holes.iter().any(|hole| !hole.behind.is_empty() || hole.at < stored.place.offset)
            {
                settle(&mut holes, scan, take, false)?;
            }
            match holes.last_mut().filter(|_| is_newest) {
                Some(hole) => hole.behind.push(found),
                None => take(found)?,
            }
            continue;
        }
        let mut why = unreadable.take();
        let next = next_object(pack, at + 1, &mut why)?;
        is_readable &= why.is_none();
        if at < pack.bytes {
            let what = match (why, next) {
                (Some(error), _) => cannot_be_read(&error),
                (None, Some(next)) => describe(pack, at, next)?,
                (None, None) => format!("{} bytes at the end are no object", pack.bytes - at),
            };
            let damage = Damage { path: pack.path.clone(), offset: at, what };
            holes.push(Hole { at, damage, behind: Vec::new() });
        }
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    match holes.first().map(|hole| hole.at) {
        Some(torn) if is_readable && may_cut() => Ok(Some(Torn::Cut(torn))),
        torn => {
            settle(&mut holes, scan, take, is_newest)?;
            Ok(Some(if torn.is_some() && is_newest { Torn::Left } else { Torn::No }))
        }
    }
}

/// What seemed torn is damage: something was written later, or it is not to be cut.
fn settle(
    holes: &mut Vec<Hole>,
    scan: &mut Scan<'_>,
    take: Take<'_>,
    is_uncertain: bool,
) -> Result<(), StoreError> {
    for hole in holes.drain(..) {
        scan.damage.push(hole.damage);
        for found in hole.behind {
            take(Found { is_uncertain, ..found })?;
        }
    }
    Ok(())
}

/// Says what seems to lie where no whole object does.
fn describe(pack: &Pack, at: u64, next: u64) -> Result<String, StoreError> {
    let lost = next - at;
    Ok(match read_header(pack, at)? {
        Some(ObjectHeader { kind: Kind::Part, number, .. }) => format!("part {number} is altered"),
        Some(ObjectHeader { number, slot, .. }) => {
            format!("object {number} of the message with key {slot} is altered")
        }
        None => format!("{lost} bytes are no object; what follows is read"),
    })
}

fn cannot_be_read(error: &std::io::Error) -> String {
    format!("it cannot be read: {error}; what follows is")
}

pub(super) fn read_header(pack: &Pack, offset: u64) -> Result<Option<ObjectHeader>, StoreError> {
    let mut bytes = [0; OBJECT_HEADER_BYTES];
    match pack.file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(ObjectHeader::from_bytes(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(StoreError::io(&pack.path)(error)),
    }
}

/// Reads what can be read; `why` not is kept, of the first place.
fn read(pack: &Pack, window: &mut [u8], at: u64, why: &mut Option<std::io::Error>) -> Result<(), StoreError> {
    let failed = read_around(&*pack.file, window, at).map_err(StoreError::io(&pack.path))?;
    *why = why.take().or(failed);
    Ok(())
}

fn whole_object(
    pack: &Pack,
    at: u64,
    why: &mut Option<std::io::Error>,
) -> Result<Option<ObjectHeader>, StoreError> {
    let mut header = [0; OBJECT_HEADER_BYTES];
    if at + OBJECT_HEADER_BYTES as u64 > pack.bytes {
        return Ok(None);
    }
    read(pack, &mut header, at, why)?;
    let header = ObjectHeader::from_bytes(&header).filter(|header| at + header.record_bytes() <= pack.bytes);
    let Some(header) = header else { return Ok(None) };
    let mut window = vec![0; usize::try_from(header.body_bytes.min(WINDOW_BYTES)).unwrap_or(0)];
    let (mut crc, mut done) = (0, 0);
    while done < header.body_bytes {
        let len = usize::try_from((header.body_bytes - done).min(WINDOW_BYTES)).unwrap_or(0);
        read(pack, &mut window[..len], at + OBJECT_HEADER_BYTES as u64 + done, why)?;
        crc = crc32c::crc32c_append(crc, &window[..len]);
        done += len as u64;
    }
    Ok((crc == header.body_crc).then_some(header))
}

/// The next place from `from` on where a whole object begins.
fn next_object(pack: &Pack, from: u64, why: &mut Option<std::io::Error>) -> Result<Option<u64>, StoreError> {
    let mut at = from;
    while at + OBJECT_HEADER_BYTES as u64 <= pack.bytes {
        let len = usize::try_from((pack.bytes - at).min(WINDOW_BYTES)).unwrap_or(0);
        let mut window = vec![0; len];
        read(pack, &mut window, at, why)?;
        for found in memchr::memmem::find_iter(&window, OBJECT_MAGIC) {
            if whole_object(pack, at + found as u64, why)?.is_some() {
                return Ok(Some(at + found as u64));
            }
        }
        // The magic may straddle two windows.
        at += (len as u64).saturating_sub(OBJECT_MAGIC.len() as u64 - 1).max(1);
    }
    Ok(None)
}
