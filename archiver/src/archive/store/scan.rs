//! What lies in packs: whole objects, torn tails, damage.

use std::path::{Path, PathBuf};

use postern_shared::disk::Disk;

use super::StoreError;
use super::files::Pack;
use super::format::{FILE_HEADER_BYTES, OBJECT_HEADER_BYTES, OBJECT_MAGIC, ObjectHeader};
use super::packs::{Packs, Place, Stored};
use super::{Damage, Kind, is_unreadable, read_around};

const WINDOW_BYTES: u64 = 1024 * 1024;

/// What a scan does with what it finds.
pub(in crate::archive) struct Scan<'s> {
    /// What lies behind the last whole object of the newest pack was never committed, and is cut.
    pub(in crate::archive) cut_torn_tail: bool,
    /// Nothing from here on is looked at: it may be being written, and be taken back.
    pub(in crate::archive) until: Option<Place>,
    /// Told what is no object, and where.
    pub(in crate::archive) tell: &'s dyn Fn(Hole),
    /// Asked between objects; `true` ends the scan.
    pub(in crate::archive) cancelled: &'s dyn Fn() -> bool,
}

/// What is no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::archive) struct Hole {
    pub(in crate::archive) damage: Damage,
    pub(in crate::archive) nature: Nature,
    /// What lay there, when its header says so and it may have been there as a whole.
    pub(in crate::archive) object: Option<(Kind, u64)>,
}

/// What a hole may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) enum Nature {
    /// The file's own header: no object is in it.
    Header,
    /// Among the last objects of its pack that were written together: perhaps they were torn and never committed.
    Torn,
    /// Something was there.
    Damage,
}

/// An object that a scan found.
#[derive(Debug, Clone, Copy)]
pub(in crate::archive) struct Found {
    pub(in crate::archive) stored: Stored,
    /// Where the next one may begin. Of one that is uncertain: where what is no object begins.
    pub(in crate::archive) behind: Place,
    /// It was written together with something that is no whole object, and nothing was written later into this pack: perhaps all of that
    /// was never committed.
    pub(in crate::archive) is_uncertain: bool,
}

type Take<'t> = &'t mut dyn FnMut(Found) -> Result<(), StoreError>;

impl Packs {
    /// Walks all whole objects from `from` on. Returns how far it came.
    ///
    /// Objects that were written together were synced before any later ones were written. So what is no object among them is damage
    /// when later ones are there; in the last ones of a pack it may have been torn when the power went, for nothing is appended behind what
    /// was. Cut is only an end that is too short for the object that begins there. What the medium does not give back is damage, and
    /// never cut, nor is a pack read that belongs to another store.
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
            (scan.tell)(Hole::damage(path, 0, what));
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
            if self.files.is_foreign(&pack) {
                let what =
                    "the pack belongs to another store or another place: put the right one back and rebuild";
                (scan.tell)(Hole::damage(pack.path, 0, what.into()));
                continue;
            }
            let start = if number == from.pack { from.offset } else { 0 }.max(FILE_HEADER_BYTES as u64);
            self.look_at_header(&pack, start, number == from.pack, scan);
            let is_newest = Some(number) == newest;
            let cuts = scan.cut_torn_tail && is_newest;
            let may_cut = || cuts && may_cut();
            let Some(torn) = scan_pack(&pack, start, &may_cut, scan, take)? else {
                return Ok((end, false));
            };
            end = Place { pack: number, offset: pack.bytes.max(start) };
            match torn {
                Torn::No => {}
                Torn::Left(_) => is_torn = is_newest,
                Torn::Cut(at) => match self.files.keep_tail(&pack, at) {
                    Ok(()) => {
                        tracing::warn!(path = %pack.path.display(), offset = at, "cutting a torn tail, which was never committed");
                        self.files.cut(number, at)?;
                        end = Place { pack: number, offset: at };
                    }
                    Err(error) => {
                        tracing::warn!(%error, path = %pack.path.display(), offset = at, "a torn tail stays: no copy of it can be kept");
                        is_torn = true;
                    }
                },
            }
        }
        Ok((end, is_torn))
    }

    /// A pack; one that the medium does not open is damage.
    fn pack_to_scan(&self, number: u64, scan: &mut Scan<'_>) -> Result<Option<Pack>, StoreError> {
        match self.files.get(number) {
            Err(StoreError::Io { path, source }) if is_unreadable(&source) => {
                (scan.tell)(Hole::damage(path, 0, cannot_be_read(&source)));
                Ok(None)
            }
            pack => pack,
        }
    }

    fn look_at_header(&self, pack: &Pack, start: u64, is_first: bool, scan: &mut Scan<'_>) {
        if start > pack.bytes && is_first {
            let what = format!("{} bytes that were committed are missing", start - pack.bytes);
            let hole = Hole::damage(pack.path.clone(), pack.bytes, what);
            // Of a pack that was being made there is not even a header.
            let nature = if start > FILE_HEADER_BYTES as u64 { Nature::Damage } else { Nature::Header };
            (scan.tell)(Hole { nature, ..hole });
        }
        if start == FILE_HEADER_BYTES as u64 && !self.files.has_header(pack) && pack.bytes >= start {
            let damage =
                Damage { path: pack.path.clone(), offset: 0, what: "the pack's header is altered".into() };
            (scan.tell)(Hole { damage, nature: Nature::Header, object: None });
        }
    }
}

/// Hands on the whole objects of a pack's copy that lies elsewhere, of which the first `bytes` octets count.
pub(in crate::archive) fn scan_copy(
    disk: &dyn Disk,
    path: &Path,
    bytes: u64,
    take: &mut dyn FnMut(ObjectHeader, u64) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let file = disk.open_read(path).map_err(StoreError::io(path))?;
    let pack = Pack { number: 0, file, path: path.into(), bytes };
    let scan = Scan { cut_torn_tail: false, until: None, tell: &|_| {}, cancelled: &|| false };
    let mut take = |found: Found| take(found.stored.header, found.stored.place.offset);
    scan_pack(&pack, FILE_HEADER_BYTES as u64, &|| false, &scan, &mut take).map(drop)
}

impl Hole {
    /// Whether something may have been there that nothing else tells of: messages have leaves, and parts have messages.
    pub(in crate::archive) fn may_be_lost(&self) -> bool {
        match (self.nature, self.object) {
            (Nature::Header, _) | (_, Some((Kind::Part, _))) => false,
            (Nature::Torn, object) => matches!(object, Some((Kind::Addition, _))),
            (Nature::Damage, _) => true,
        }
    }

    fn damage(path: PathBuf, offset: u64, what: String) -> Self {
        Self { damage: Damage { path, offset, what }, nature: Nature::Damage, object: None }
    }
}

/// A hole, and what was found behind it and may belong to it.
struct Open {
    at: u64,
    hole: Hole,
    /// The medium does not give it back: that is no crash's doing.
    is_unreadable: bool,
    behind: Vec<Found>,
}

/// How a pack ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Torn {
    No,
    /// With what is no whole object, from there on: it stays.
    Left(u64),
    /// It is to be cut there.
    Cut(u64),
}

/// Hands whole objects on; returns how it ends; `None` when cancelled.
fn scan_pack(
    pack: &Pack,
    start: u64,
    may_cut: &dyn Fn() -> bool,
    scan: &Scan<'_>,
    take: Take<'_>,
) -> Result<Option<Torn>, StoreError> {
    let mut at = start.min(pack.bytes);
    let mut holes: Vec<Open> = Vec::new();
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
            if header.first {
                settle(pack, &mut holes, scan, take, false)?;
            }
            match holes.last_mut() {
                Some(open) => open.behind.push(found),
                None => take(found)?,
            }
            continue;
        }
        let mut why = unreadable.take();
        let next = next_object(pack, at + 1, &mut why)?;
        is_readable &= why.is_none();
        if at < pack.bytes {
            let is_unreadable = why.is_some();
            let what = match (why, next) {
                (Some(error), _) => cannot_be_read(&error),
                (None, Some(next)) => describe(pack, at, next)?,
                (None, None) => format!("{} bytes at the end are no object", pack.bytes - at),
            };
            let mut hole = Hole::damage(pack.path.clone(), at, what);
            let header = read_header(pack, at).ok().flatten();
            let header = header.filter(|header| at + header.record_bytes() <= pack.bytes);
            hole.object = header.map(|header| (header.kind, header.number));
            holes.push(Open { at, hole, is_unreadable, behind: Vec::new() });
        }
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    let torn = holes.first().map(|open| open.at);
    if let [Open { at, behind, .. }] = &holes[..]
        && behind.is_empty()
        && is_readable
        && may_cut()
        && is_cut_short(pack, *at)?
    {
        return Ok(Some(Torn::Cut(*at)));
    }
    settle(pack, &mut holes, scan, take, true)?;
    Ok(Some(torn.map_or(Torn::No, Torn::Left)))
}

/// Whether a pack ends before the object that begins there: it was never written as a whole.
fn is_cut_short(pack: &Pack, at: u64) -> Result<bool, StoreError> {
    if pack.bytes - at < OBJECT_HEADER_BYTES as u64 {
        return Ok(true);
    }
    Ok(read_header(pack, at)?.is_some_and(|header| at + header.record_bytes() > pack.bytes))
}

/// Tells holes, and hands on what lies behind them. `may_be_torn`: nothing was written later.
fn settle(
    pack: &Pack,
    holes: &mut Vec<Open>,
    scan: &Scan<'_>,
    take: Take<'_>,
    may_be_torn: bool,
) -> Result<(), StoreError> {
    // Whoever goes on later comes by it again.
    let first = holes.first().map(|open| Place { pack: pack.number, offset: open.at });
    for Open { hole, is_unreadable, behind, .. } in holes.drain(..) {
        let nature = if may_be_torn && !is_unreadable { Nature::Torn } else { Nature::Damage };
        (scan.tell)(Hole { nature, ..hole });
        for found in behind {
            let behind = first.filter(|_| may_be_torn).unwrap_or(found.behind);
            take(Found { is_uncertain: may_be_torn, behind, ..found })?;
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
