//! Packs without what nobody needs: parts whose messages are gone, octets that are no object.

use super::Watch;
use super::store::Store;
use crate::archive::ArchiveError;
use crate::archive::store::{ObjectHeader, Stored};

/// Objects moved together.
const BATCH: usize = 200;
const FILE_HEADER_BYTES: u64 = 32;

impl Store {
    /// Moves what is needed out of packs of which at least `unused_percent` is not, and removes them. Returns packs and octets
    /// removed, and `false` when it was ended before its time; what was moved stays moved.
    pub(in crate::archive) fn compact(
        &self,
        unused_percent: u64,
        watch: Watch<'_>,
    ) -> Result<(u64, u64, bool), ArchiveError> {
        let what = format!("compacting store {}", self.id);
        let before = self.packs.total_bytes();
        let packs = self.sparse_packs(unused_percent)?;
        let total = packs.len() as u64;
        if total > 0 {
            // What is moved goes into packs that are not looked at.
            let mut writing = self.writing();
            self.packs.close_newest(&mut writing.tail)?;
        }
        for (done, pack) in packs.into_iter().enumerate() {
            if watch(&what, done as u64, Some(total))
                || !self.empty_pack(pack, watch, &what, (done as u64, total))?
            {
                return Ok((done as u64, before.saturating_sub(self.packs.total_bytes()), false));
            }
        }
        watch(&what, total, Some(total));
        Ok((total, before.saturating_sub(self.packs.total_bytes()), true))
    }

    /// Closed packs of which much is not needed.
    fn sparse_packs(&self, unused_percent: u64) -> Result<Vec<u64>, ArchiveError> {
        let uses = self.catalog().pack_use()?;
        let newest = self.packs.end()?.pack;
        let mut sparse = Vec::new();
        for number in self.packs.numbers() {
            let bytes = self.packs.pack_bytes(number).saturating_sub(FILE_HEADER_BYTES);
            let needed = uses.iter().find(|used| used.pack == number);
            let needed = needed.map_or(0, |used| used.bytes - used.unused_bytes);
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
        watch: Watch<'_>,
        what: &str,
        (done, total): (u64, u64),
    ) -> Result<bool, ArchiveError> {
        let mut from = 0;
        loop {
            let catalog = self.catalog();
            let needed = catalog.needed_in(pack, from, BATCH)?;
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
        let _writing = self.writing();
        // The new places are durable before the pack goes.
        self.catalog().forget_pack(pack)?;
        self.catalog().settle()?;
        self.packs.remove(pack)?;
        self.forget_recent();
        Ok(true)
    }
}
