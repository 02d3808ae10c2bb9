//! Messages of which something is known and which are not there: leaves without a message, records that nobody can read.

use super::store::Store;
use crate::archive::ArchiveError;
use crate::archive::catalog::Catalog;
use crate::archive::store::{Damage, Damages, Kind, ObjectHeader, Place, StoreError};

const PAGE: usize = 10_000;
/// Stretches of leaves told one by one.
const STRETCHES_MAX: usize = 100;

/// What of a store's mail is not to be had, and may yet come back from a copy.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// First and last of each stretch of leaves that no message has.
    stretches: Vec<(u64, u64)>,
    /// Messages in the catalog whose record, or a part of them, is in no pack, or something of which nobody knows what it was.
    pub(super) unfound: bool,
    /// Such leaves.
    pub(super) leaves: u64,
    /// Records and additions that belong to no message in the catalog, and were not shredded.
    pub(super) records: Vec<(u64, Place)>,
    /// Messages whose key was destroyed on purpose.
    shredded: u64,
}

impl Lost {
    /// Whether nothing is missing.
    pub(super) fn is_nothing(&self) -> bool {
        self.records.is_empty() && !self.unfound && self.leaves <= self.shredded
    }
}

impl Store {
    /// Looks for messages that are in the log and not in `catalog`, and for records in packs that are not. `leaves`: how many the
    /// log has, from a moment at which no commit was under way.
    pub(super) fn lost(&self, catalog: &dyn Catalog, leaves: u64) -> Result<Lost, ArchiveError> {
        let unfound = !catalog.without_record(0, 1)?.is_empty() || catalog.lacks_octets()?;
        let mut lost = Lost { unfound, ..Lost::default() };
        self.find_unheld_records(catalog, &mut lost)?;
        // A bit for each leaf: 5,000,000 messages are 625 KB.
        let words = usize::try_from(leaves.div_ceil(64)).map_err(|_| self.log_damaged("it is too long"))?;
        let mut held = vec![0u64; words];
        let mut after = 0;
        loop {
            let page = catalog.leaves(after, PAGE)?;
            let Some((last, _)) = page.last().copied() else { break };
            for (_, leaf) in page {
                if let Some(word) = usize::try_from(leaf / 64).ok().and_then(|at| held.get_mut(at)) {
                    *word |= 1 << (leaf % 64);
                }
            }
            after = last;
        }
        for leaf in 0..leaves {
            let word = usize::try_from(leaf / 64).ok().and_then(|at| held.get(at)).copied().unwrap_or(0);
            if word & (1 << (leaf % 64)) != 0 {
                continue;
            }
            lost.leaves += 1;
            let is_full = lost.stretches.len() >= STRETCHES_MAX;
            match lost.stretches.last_mut() {
                Some((_, last)) if *last + 1 == leaf => *last = leaf,
                _ if is_full => {}
                _ => lost.stretches.push((leaf, leaf)),
            }
        }
        Ok(lost)
    }

    fn log_damaged(&self, what: &str) -> ArchiveError {
        StoreError::Damaged(Damage { path: self.dir.join("log/leaves"), offset: 0, what: what.into() }).into()
    }

    fn find_unheld_records(&self, catalog: &dyn Catalog, lost: &mut Lost) -> Result<(), ArchiveError> {
        const RECORDS_MAX: usize = 1000;
        let mut after = 0;
        loop {
            let page = catalog.without_message(after, PAGE)?;
            let Some((last, _)) = page.last().copied() else { return Ok(()) };
            for (number, place) in page {
                if let Some(kind) = self.shredded(number, place)? {
                    lost.shredded += u64::from(kind == Kind::Message);
                } else if lost.records.len() < RECORDS_MAX {
                    lost.records.push((number, place));
                }
            }
            after = last;
        }
    }

    /// What a record or an addition is whose key was destroyed on purpose. One that is damaged or missing was not.
    fn shredded(&self, number: u64, place: Place) -> Result<Option<Kind>, ArchiveError> {
        match self.packs.header(place, number) {
            Ok(ObjectHeader { slot, kind, .. }) => Ok(self.keys.is_destroyed(slot)?.then_some(kind)),
            Err(_) => Ok(None),
        }
    }

    /// Tells leaves whose message is in no pack.
    pub(super) fn lost_messages(
        &self,
        catalog: &dyn Catalog,
        leaves: u64,
        damage: &mut Damages,
    ) -> Result<(), ArchiveError> {
        let lost = self.lost(catalog, leaves)?;
        self.told_leaves(&lost).into_iter().for_each(|found| damage.push(found));
        Ok(())
    }

    /// The stretches of leaves without message, in words.
    pub(super) fn told_leaves(&self, lost: &Lost) -> Vec<Damage> {
        if lost.leaves <= lost.shredded {
            return Vec::new();
        }
        let told: u64 = lost.stretches.iter().map(|(first, last)| last - first + 1).sum();
        let path = self.dir.join("log/leaves");
        let mut all: Vec<Damage> = lost
            .stretches
            .iter()
            .map(|(first, last)| {
                let what = match last - first + 1 {
                    1 => format!("a message is in the log and in no pack: leaf {first}"),
                    count => {
                        format!("{count} messages are in the log and in no pack: leaves {first} to {last}")
                    }
                };
                let what = format!("{what}; put the pack back from a backup and rebuild");
                Damage { path: path.clone(), offset: first * 32, what }
            })
            .collect();
        if lost.leaves > told {
            let what = format!("{} more messages are in the log and in no pack", lost.leaves - told);
            all.push(Damage { path, offset: 0, what });
        }
        all
    }
}
