//! Octets to segments: parts compressed and sealed, or found, before any lock is taken.

use std::io;
use std::ops::Range;

use postern_shared::crypto::digest::{Digest, Sha256, sha256};
use postern_shared::crypto::{Wiped, random_secret};
use zeroize::Zeroizing;

use super::store::Store;
use crate::archive::ArchiveError;
use crate::archive::octets::{Octets, for_each_piece};
use crate::archive::store::parts::{Encoding, Piece, prove_base64, split};
use crate::archive::store::record::{Content, Part, PartKey, Segment};
use crate::archive::store::{Identity, Kind, LONG_BYTES_MIN, Sealed, StoreError};

/// Messages asked for a part's key before the part is stored anew.
const USERS_ASKED: usize = 3;
/// Sealed octets that a draft holds in memory; further parts wait in files.
const HELD_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What becomes of octets: segments, the octets for the record, and parts that are not stored yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) own: Zeroizing<Vec<u8>>,
    pub(super) new_parts: Vec<NewPart>,
}

/// A part to be stored.
#[derive(Debug)]
pub(super) struct NewPart {
    pub(super) hmac: Digest,
    pub(super) part: Part,
    pub(super) sealed: Sealed,
}

impl Draft {
    /// Cuts `octets` at their MIME parts.
    pub(super) fn message(
        &mut self,
        store: &Store,
        octets: &dyn Octets,
        sha256: Digest,
    ) -> Result<Content, ArchiveError> {
        let pieces = split(octets).map_err(StoreError::io(&store.dir))?;
        self.pieces(store, octets, sha256, pieces)
    }

    /// Keeps `octets` as they stand: the record's own when they are short, else a part.
    pub(super) fn verbatim(&mut self, store: &Store, octets: &dyn Octets) -> Result<Content, ArchiveError> {
        const OWN_BYTES_MAX: u64 = 16 * 1024;
        let whole = 0..octets.len();
        let piece = if octets.len() <= OWN_BYTES_MAX { Piece::Own(whole) } else { Piece::Part(whole, false) };
        let sha256 = sha256_of(store, octets, 0..octets.len())?;
        self.pieces(store, octets, sha256, vec![piece])
    }

    fn pieces(
        &mut self,
        store: &Store,
        octets: &dyn Octets,
        sha256: Digest,
        pieces: Vec<Piece>,
    ) -> Result<Content, ArchiveError> {
        let mut segments: Vec<Segment> = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Own(range) => {
                    let bytes = range.end - range.start;
                    for_each_piece(octets, range, |piece| {
                        self.own.extend_from_slice(piece);
                        Ok(())
                    })
                    .map_err(StoreError::io(&store.dir))?;
                    match segments.last_mut() {
                        Some(Segment::Own(before)) => *before += bytes,
                        _ => segments.push(Segment::Own(bytes)),
                    }
                }
                Piece::Part(range, is_base64) => {
                    segments.push(Segment::Part(self.part(store, octets, range, is_base64)?));
                }
            }
        }
        Ok(Content { bytes: octets.len(), sha256, segments })
    }

    fn part(
        &mut self,
        store: &Store,
        octets: &dyn Octets,
        range: Range<u64>,
        is_base64: bool,
    ) -> Result<Part, ArchiveError> {
        let bytes = range.end - range.start;
        if bytes > LONG_BYTES_MIN || self.held_bytes() + bytes > HELD_BYTES_MAX {
            return self.long_part(store, octets, range, is_base64);
        }
        let failed = || StoreError::io(&store.dir);
        let mut plain = Wiped::default();
        let mut encoding = None;
        if is_base64 {
            encoding = prove_base64(octets, range.clone(), |decoded| {
                plain.extend_from_slice(decoded);
                Ok(())
            })
            .map_err(failed())?;
        }
        let as_it_stands = || octets.in_memory()?.get(index(range.start)..index(range.end));
        let plain: &[u8] = match (encoding, as_it_stands()) {
            (Some(_), _) => &plain,
            (None, Some(octets)) => octets,
            (None, None) => {
                plain.clear();
                plain.resize(index(bytes), 0);
                octets.read_exact_at(&mut plain, range.start).map_err(failed())?;
                &plain
            }
        };
        self.enter(store, sha256(plain), plain.len() as u64, encoding, |identity, key| {
            Sealed::seal(identity, key, plain)
        })
    }

    fn held_bytes(&self) -> u64 {
        self.new_parts.iter().map(|new| new.sealed.held_bytes()).sum()
    }

    /// In two passes: the first one proves and hashes, the second one stores.
    fn long_part(
        &mut self,
        store: &Store,
        octets: &dyn Octets,
        range: Range<u64>,
        is_base64: bool,
    ) -> Result<Part, ArchiveError> {
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut encoding = None;
        if is_base64 {
            encoding = prove_base64(octets, range.clone(), |decoded| {
                hash.update(decoded);
                bytes += decoded.len() as u64;
                Ok(())
            })
            .map_err(StoreError::io(&store.dir))?;
        }
        let sha256 = match encoding {
            Some(_) => hash.finish(),
            None => sha256_of(store, octets, range.clone())?,
        };
        let bytes = if encoding.is_some() { bytes } else { range.end - range.start };
        self.enter(store, sha256, bytes, encoding, |identity, key| {
            Sealed::seal_long(identity, key, bytes, store.packs.waiting_place(), |out| match encoding {
                Some(_) => prove_base64(octets, range, |decoded| out.write_all(decoded)).map(|_| ()),
                None => for_each_piece(octets, range, |piece| out.write_all(piece)),
            })
        })
    }

    /// The part that is there already, or one to be stored.
    fn enter(
        &mut self,
        store: &Store,
        sha256: Digest,
        bytes: u64,
        encoding: Option<Encoding>,
        seal: impl FnOnce(Identity, &postern_shared::crypto::SecretBytes) -> io::Result<Sealed>,
    ) -> Result<Part, ArchiveError> {
        let hmac = store.hmac(b"part", sha256);
        let drafted = self.new_parts.iter().find(|new| new.hmac == hmac).map(|new| new.part.clone());
        if let Some(part) = drafted.map_or_else(|| store.known_part(&hmac), |part| Ok(Some(part)))? {
            return Ok(Part { encoding, ..part });
        }
        let key = random_secret();
        let identity = Identity { kind: Kind::Part, number: store.packs.next_number(), slot: 0 };
        let sealed = seal(identity, &key).map_err(StoreError::io(&store.dir.join("packs")))?;
        let part = Part { object: identity.number, key: PartKey(key), bytes, sha256, encoding };
        self.new_parts.push(NewPart { hmac, part: part.clone(), sealed });
        Ok(part)
    }
}

impl Store {
    /// A part that is stored, and was read and found whole: one that cannot be read is stored anew, so that what arrives is
    /// safe whatever became of what is here.
    fn known_part(&self, hmac: &Digest) -> Result<Option<Part>, ArchiveError> {
        if let Some(part) = self.recent(hmac) {
            return Ok(Some(part));
        }
        let catalog = self.catalog();
        let Some(object) = catalog.part(*hmac)? else { return Ok(None) };
        for user in catalog.part_users(object, USERS_ASKED)? {
            // Whatever keeps one of them from being read is told when it is asked for.
            let Ok(Some(part)) = self.part_by(&user, object) else { continue };
            if self.hmac(b"part", part.sha256) == *hmac && self.part_is_whole(&part) {
                self.keep_recent([(*hmac, part.clone())]);
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// A part as a message knows it, by its record or by one of its additions.
    fn part_by(
        &self,
        user: &crate::archive::catalog::RecordPlace,
        object: u64,
    ) -> Result<Option<Part>, ArchiveError> {
        let opened = self.opened_at(user)?;
        if let Some(part) = opened.message.parts().find(|part| part.object == object) {
            return Ok(Some(part.clone()));
        }
        for addition in self.additions_of(user)? {
            if let Some(part) = addition.arrival.parts().find(|part| part.object == object) {
                return Ok(Some(part.clone()));
            }
        }
        Ok(None)
    }
}

/// A place in octets that are in memory.
fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// The hash of a stretch of octets.
pub(super) fn sha256_of(
    store: &Store,
    octets: &dyn Octets,
    range: Range<u64>,
) -> Result<Digest, ArchiveError> {
    let mut hash = Sha256::new();
    for_each_piece::<io::Error>(octets, range, |piece| {
        hash.update(piece);
        Ok(())
    })
    .map_err(StoreError::io(&store.dir))?;
    Ok(hash.finish())
}
