//! Packs without what nobody needs: parts whose messages are gone, octets that are no object.
//!
//! While a message is missing or cannot be read, and was not shredded, nobody knows which parts it needs: then none is dropped, so that
//! all of it is there again once its record, its key or its pack is put back from a copy.
//!
//! A pack in which something is damaged stays: what was there may be read again one day, or be put right from a copy. One that ends with
//! what may have been torn, and never committed, is moved to `torn/`, not removed. The others go on, and such packs are an error behind the end.

use std::cell::{Cell, RefCell};

use super::Watch;
use super::store::Store;
use crate::archive::ArchiveError;
use crate::archive::store::{
    Damage, Found, Hole, Kind, Nature, ObjectHeader, Place, Scan, StoreError, Stored, is_unreadable,
};

/// Objects moved together.
const BATCH: usize = 200;
const FILE_HEADER_BYTES: u64 = 32;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct StoreCompacted {
    /// Packs removed, and the octets they had more than what was moved.
    pub(in crate::archive) packs: u64,
    pub(in crate::archive) bytes: u64,
    /// Messages are missing, so no part was dropped.
    pub(in crate::archive) keeps_parts: bool,
    /// It was not ended before its time.
    pub(in crate::archive) is_whole: bool,
}

impl Store {
    /// Moves what is needed out of packs of which at least `unused_percent` is not, and removes them. What was moved stays moved
    /// when it is ended before its time.
    pub(in crate::archive) fn compact(
        &self,
        unused_percent: u64,
        watch: Watch<'_>,
    ) -> Result<StoreCompacted, ArchiveError> {
        let what = format!("compacting store {}", self.id);
        let before = self.packs.total_bytes();
        let leaves = self.leaves();
        let keeps_parts = !self.lost(&*self.catalog(), leaves)?.is_nothing();
        if keeps_parts {
            tracing::warn!(
                store = self.id,
                "messages are missing or cannot be read, so no part is dropped; verify names them"
            );
        }
        let packs = self.sparse_packs(unused_percent, keeps_parts)?;
        let done = |packs, is_whole| StoreCompacted {
            packs,
            bytes: before.saturating_sub(self.packs.total_bytes()),
            keeps_parts,
            is_whole,
        };
        let total = packs.len() as u64;
        // What is moved goes into packs that are not looked at. The newest one is not, when nothing is in it: else works that are ended
        // again and again would make more packs than they remove.
        if total > 0 && self.packs.end()?.offset > FILE_HEADER_BYTES {
            let mut writing = self.writing();
            self.packs.close_newest(&mut writing.tail)?;
        }
        let (mut removed, mut failed) = (0, None);
        for (nth, pack) in packs.into_iter().enumerate() {
            let nth = nth as u64;
            if watch(&what, nth, Some(total)) {
                return Ok(done(removed, false));
            }
            match self.empty_pack(pack, keeps_parts, watch, &what, (nth, total)) {
                Ok(true) => removed += 1,
                Ok(false) => return Ok(done(removed, false)),
                Err(error) if is_damage(&error) => {
                    tracing::error!(store = self.id, pack, %error, "a pack stays as it is");
                    failed.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        watch(&what, total, Some(total));
        failed.map_or(Ok(done(removed, true)), Err)
    }

    /// Closed packs of which much is not needed.
    fn sparse_packs(&self, unused_percent: u64, keeps_parts: bool) -> Result<Vec<u64>, ArchiveError> {
        let uses = self.catalog().pack_use()?;
        let newest = self.packs.end()?.pack;
        let mut sparse = Vec::new();
        for number in self.packs.numbers() {
            let bytes = self.packs.pack_bytes(number).saturating_sub(FILE_HEADER_BYTES);
            let needed = uses.iter().find(|used| used.pack == number);
            let needed =
                needed.map_or(0, |used| used.bytes - if keeps_parts { 0 } else { used.unused_bytes });
            let unused = bytes.saturating_sub(needed);
            let is_empty = bytes == 0 && number != newest;
            if is_empty || (unused > 0 && unused * 100 >= bytes * unused_percent.min(100)) {
                sparse.push(number);
            }
        }
        Ok(sparse)
    }

    /// Moves all that is needed and removes the pack. A crash in between leaves some objects twice, which are then the same.
    fn empty_pack(
        &self,
        pack: u64,
        keeps_parts: bool,
        watch: Watch<'_>,
        what: &str,
        (done, total): (u64, u64),
    ) -> Result<bool, ArchiveError> {
        let is_torn = self.check_whole(pack)?;
        let mut from = 0;
        loop {
            let catalog = self.catalog();
            let needed = catalog.needed_in(pack, from, keeps_parts, BATCH)?;
            let Some((_, last)) = needed.last().copied() else { break };
            let mut objects = Vec::with_capacity(needed.len());
            for (number, place) in needed {
                let header: ObjectHeader = self.packs.header(place, number)?;
                objects.push(Stored { header, place });
            }
            let mut writing = self.writing();
            let (moved, end) = self.packs.move_objects(&mut writing.tail, &objects)?;
            catalog.moved(&moved, end)?;
            drop(writing);
            from = last.offset + 1;
            if watch(what, done, Some(total)) {
                return Ok(false);
            }
        }
        self.check_empty(pack, keeps_parts)?;
        let _writing = self.writing();
        // The new places are durable before the pack goes.
        self.catalog().forget_pack(pack)?;
        self.catalog().settle()?;
        if is_torn {
            self.packs.put_aside(pack)?;
        } else {
            self.packs.remove(pack)?;
        }
        self.forget_recent();
        Ok(true)
    }

    /// That nothing in a pack is damaged; whether it has what may have been torn.
    fn check_whole(&self, pack: u64) -> Result<bool, ArchiveError> {
        let (damaged, is_torn) = (RefCell::new(None), Cell::new(false));
        let tell = |hole: Hole| match hole.nature {
            Nature::Header => {}
            Nature::Torn => is_torn.set(true),
            Nature::Damage => {
                damaged.borrow_mut().get_or_insert(hole.damage);
            }
        };
        self.scan_pack(pack, &tell, &mut |_| Ok(()))?;
        match damaged.into_inner() {
            None => Ok(is_torn.get()),
            Some(damage) => {
                let what =
                    format!("{}; so its pack stays: put it back from a backup, and rebuild", damage.what);
                Err(StoreError::Damaged(Damage { what, ..damage }).into())
            }
        }
    }

    fn scan_pack(
        &self,
        pack: u64,
        tell: &dyn Fn(Hole),
        take: &mut dyn FnMut(Found) -> Result<(), StoreError>,
    ) -> Result<(), ArchiveError> {
        let until = Some(Place { pack, offset: u64::MAX });
        let mut scan = Scan { cut_torn_tail: false, until, tell, cancelled: &|| false };
        Ok(self.packs.scan(Place { pack, offset: 0 }, &mut scan, take).map(drop)?)
    }

    /// That a pack has nothing any more that is needed, as the pack has it: a catalog that lost rows must cost no mail.
    fn check_empty(&self, pack: u64, keeps_parts: bool) -> Result<(), ArchiveError> {
        let catalog = self.catalog();
        let mut needed = None;
        let mut failed = None;
        let scanned = self.scan_pack(pack, &|_| {}, &mut |Found { stored, .. }| {
            let number = stored.header.number;
            let is_needed = match (catalog.object(number), stored.header.kind) {
                // There, as it was, and not only said to be there.
                (Ok(Some(place)), _) if place.pack != pack => Ok(!self.packs.is_whole_at(place, number)?),
                (Ok(_), Kind::Part) if !keeps_parts => catalog.part_is_used(number),
                (Ok(_), _) => Ok(true),
                (Err(error), _) => Err(error),
            };
            match is_needed {
                Ok(false) => Ok(()),
                Ok(true) => {
                    needed.get_or_insert(stored.place);
                    Ok(())
                }
                Err(error) => {
                    failed = Some(error);
                    Err(StoreError::Cancelled)
                }
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        scanned?;
        match needed {
            None => Ok(()),
            Some(place) => {
                let what = "the catalog does not know where else this object is, so its pack stays; rebuild"
                    .to_owned();
                Err(self.damaged(place, what))
            }
        }
    }
}

/// Whether a pack is damaged, and not the machine in trouble.
fn is_damage(error: &ArchiveError) -> bool {
    match error {
        ArchiveError::Store(StoreError::Damaged(_)) => true,
        ArchiveError::Store(StoreError::Io { source, .. }) => is_unreadable(source),
        _ => false,
    }
}
