//! Messages out of a store, byte for byte, in stretches.

use std::io;

use postern_shared::crypto::digest::{Digest, Sha256};
use postern_shared::id::MessageId;
use zeroize::Zeroizing;

use super::store::Store;
use crate::archive::ArchiveError;
use crate::archive::catalog::RecordPlace;
use crate::archive::message::Kept;
use crate::archive::store::parts::Base64Encoder;
use crate::archive::store::record::{Addition, Content, Evidence, Message, Part, Segment, decode};
use crate::archive::store::{Damage, Place, StoreError, own_key};

/// Whoever takes octets, stretch by stretch. What it was given counts only when the whole came without error.
pub(in crate::archive) type Take<'t> = &'t mut dyn FnMut(&[u8]) -> io::Result<()>;

/// A message's record, opened.
pub(in crate::archive) struct Opened {
    pub(in crate::archive) message: Message,
    place: Place,
    own: Zeroizing<Vec<u8>>,
}

impl Store {
    /// A record's or an addition's octets.
    pub(super) fn record_bytes(
        &self,
        object: u64,
        slot: u64,
        place: Place,
    ) -> Result<Zeroizing<Vec<u8>>, ArchiveError> {
        let key = self.keys.get(slot)?;
        let key = key.ok_or_else(|| {
            self.packs.no_key(place, format!("object {object} of the message with key {slot}"))
        })?;
        let key = own_key(&key, object);
        self.at(object, place, |place| self.packs.read(place, object, &key))
    }

    /// Reads an object where it lies; once more when its pack is gone, for compaction moves objects and removes packs meanwhile.
    fn at<R>(
        &self,
        object: u64,
        place: Place,
        mut read: impl FnMut(Place) -> Result<R, StoreError>,
    ) -> Result<R, ArchiveError> {
        match read(place) {
            Err(error) if !self.packs.has(place.pack) => match self.catalog().object(object)? {
                Some(moved) if moved != place => Ok(read(moved)?),
                _ => Err(error.into()),
            },
            read => Ok(read?),
        }
    }

    /// A message's record; `None` when there is no such message.
    pub(in crate::archive) fn opened(&self, id: MessageId) -> Result<Option<Opened>, ArchiveError> {
        let record = self.catalog().record(id)?;
        record.map(|record| self.opened_at(&record)).transpose()
    }

    pub(super) fn opened_at(&self, record: &RecordPlace) -> Result<Opened, ArchiveError> {
        let plain = self.record_place(record)?;
        let (message, own): (Message, _) = decode(&plain).map_err(|what| self.damaged(record.place, what))?;
        if message.message != record.id {
            return Err(self.damaged(record.place, "it is another message's record".into()));
        }
        Ok(Opened { own: Zeroizing::new(own.to_vec()), message, place: record.place })
    }

    pub(super) fn damaged(&self, place: Place, what: String) -> ArchiveError {
        StoreError::Damaged(Damage { path: self.packs.path(place), offset: place.offset, what }).into()
    }

    /// A message's content.
    pub(in crate::archive) fn copy_content(
        &self,
        opened: &Opened,
        take: Take<'_>,
    ) -> Result<(), ArchiveError> {
        self.assemble(opened.place, &opened.message.content, &opened.own, take)
    }

    /// The journal report a message came in first; `false` when it came in none.
    pub(in crate::archive) fn copy_report(
        &self,
        opened: &Opened,
        take: Take<'_>,
    ) -> Result<bool, ArchiveError> {
        let Opened { message, place, own } = opened;
        let content_own = usize::try_from(message.content.own_bytes()).unwrap_or(usize::MAX);
        let own_of_evidence = own.get(content_own..).unwrap_or_default();
        match &message.arrival.evidence {
            None => return Ok(false),
            Some(evidence) => self.copy_evidence(*place, evidence, own_of_evidence, opened, take)?,
        }
        Ok(true)
    }

    /// A journal report, by the record or addition that has it and that one's own octets.
    fn copy_evidence(
        &self,
        place: Place,
        evidence: &Evidence,
        own: &[u8],
        message: &Opened,
        take: Take<'_>,
    ) -> Result<(), ArchiveError> {
        match evidence {
            Evidence::Report(report) => self.assemble(place, report, own, take),
            Evidence::Around { prefix, suffix, .. } => {
                let prefix_own = usize::try_from(prefix.own_bytes()).unwrap_or(usize::MAX);
                self.assemble(place, prefix, own, take)?;
                self.copy_content(message, take)?;
                self.assemble(place, suffix, own.get(prefix_own..).unwrap_or_default(), take)
            }
        }
    }

    /// Puts octets together from their segments, and checks them against their hash.
    fn assemble(
        &self,
        record: Place,
        content: &Content,
        own: &[u8],
        take: Take<'_>,
    ) -> Result<(), ArchiveError> {
        let mut hash = Sha256::new();
        let mut hashed = |piece: &[u8]| {
            hash.update(piece);
            take(piece)
        };
        let mut own = own;
        for segment in &content.segments {
            match segment {
                Segment::Own(bytes) => {
                    let bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
                    let cut = own.split_at_checked(bytes);
                    let (now, later) =
                        cut.ok_or_else(|| self.damaged(record, "the record is cut short".into()))?;
                    hashed(now).map_err(StoreError::io(&self.dir))?;
                    own = later;
                }
                Segment::Part(part) => self.copy_part(part, &mut hashed)?,
            }
        }
        if hash.finish() == content.sha256 {
            return Ok(());
        }
        Err(self.damaged(record, "its octets have another hash than when they were archived".into()))
    }

    fn copy_part(&self, part: &Part, take: Take<'_>) -> Result<(), ArchiveError> {
        let place = self.part_place(part.object)?;
        let Some(encoding) = part.encoding else {
            return self
                .at(part.object, place, |place| self.packs.copy(place, part.object, &part.key.0, take));
        };
        let mut encoder = Base64Encoder::new(encoding);
        let mut encoded = Vec::new();
        self.at(part.object, place, |place| {
            self.packs.copy(place, part.object, &part.key.0, &mut |decoded| {
                encoded.clear();
                encoder.push(decoded, &mut encoded);
                take(&encoded)
            })
        })?;
        encoded.clear();
        encoder.finish(&mut encoded);
        Ok(take(&encoded).map_err(StoreError::io(&self.dir))?)
    }

    fn part_place(&self, object: u64) -> Result<Place, ArchiveError> {
        self.catalog().object(object)?.ok_or_else(|| {
            let what = format!("part {object} is in no pack");
            StoreError::Damaged(Damage { path: self.dir.join("packs"), offset: 0, what }).into()
        })
    }

    /// That a part can be read and is what it was.
    pub(super) fn part_is_whole(&self, part: &Part) -> bool {
        let mut hash = Sha256::new();
        let decoded = Part { encoding: None, ..part.clone() };
        let read = self.copy_part(&decoded, &mut |piece| {
            hash.update(piece);
            Ok(())
        });
        read.is_ok() && hash.finish() == part.sha256
    }

    /// That what arrived can be read back and is what arrived; `false` when there is no such message.
    pub(in crate::archive) fn check_arrival(&self, kept: &Kept) -> Result<bool, ArchiveError> {
        let Some(opened) = self.opened(kept.id)? else { return Ok(false) };
        let content = self.hmac(b"content", opened.message.content.sha256);
        if kept.content.is_some_and(|arrived| arrived != content) {
            return Err(self.damaged(opened.place, "its octets are others than those that arrived".into()));
        }
        let has_content = match kept.report {
            Some(report) => self.check_report(&opened, report)?,
            None => false,
        };
        if !has_content {
            self.copy_content(&opened, &mut |_| Ok(()))?;
        }
        Ok(true)
    }

    /// That the journal report with this keyed hash can be read. Whether the message's content was read with it.
    pub(super) fn check_report(&self, message: &Opened, report: Digest) -> Result<bool, ArchiveError> {
        let (catalog, id) = (self.catalog(), message.message.message);
        let failed = |place, what: &str| self.damaged(place, format!("a journal report of {id} {what}"));
        let object = catalog.evidence(id, report)?;
        let object = object.ok_or_else(|| failed(message.place, "is not there"))?;
        let mut hash = Sha256::new();
        let mut hashed = |piece: &[u8]| {
            hash.update(piece);
            Ok(())
        };
        let record = catalog.record(id)?.ok_or_else(|| failed(message.place, "has no message"))?;
        let (place, is_around) = if object == record.object {
            self.copy_report(message, &mut hashed)?;
            (message.place, matches!(message.message.arrival.evidence, Some(Evidence::Around { .. })))
        } else {
            let place = self.part_place(object)?;
            let plain = self.record_bytes(object, record.slot, place)?;
            let (addition, own): (Addition, _) = decode(&plain).map_err(|what| self.damaged(place, what))?;
            let evidence = addition.arrival.evidence.filter(|_| addition.message == id);
            let evidence = evidence.ok_or_else(|| failed(place, "is not in its addition"))?;
            self.copy_evidence(place, &evidence, own, message, &mut hashed)?;
            (place, matches!(evidence, Evidence::Around { .. }))
        };
        if self.hmac(b"evidence", hash.finish()) == report {
            return Ok(is_around);
        }
        Err(failed(place, "has another hash than when it was archived"))
    }
}
