//! A catalog that is being made: begun, gone on with only while what it has seen is still what lies there, finished.
//!
//! SQLite has no checksums, and what it says of the next leaf and the last key is sealed into what is archived next; so that is compared
//! with the log, the key tables and the messages first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::store::Store;
use crate::archive::ArchiveError;
use crate::archive::catalog::Catalog;
use crate::archive::store::{Damages, Place};

/// Packs with their lengths, and key tables with lengths and CRC-32C.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lies {
    packs: BTreeMap<u64, u64>,
    keys: BTreeMap<u64, (u64, u32)>,
}

impl Lies {
    fn to_text(&self) -> String {
        let mut text = String::new();
        for (number, bytes) in &self.packs {
            let _ = writeln!(text, "pack {number} {bytes}");
        }
        for (number, (bytes, crc)) in &self.keys {
            let _ = writeln!(text, "keys {number} {bytes} {crc}");
        }
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lies = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["pack", number, bytes] => {
                    lies.packs.insert(number.parse().ok()?, bytes.parse().ok()?);
                }
                ["keys", number, bytes, crc] => {
                    lies.keys.insert(number.parse().ok()?, (bytes.parse().ok()?, crc.parse().ok()?));
                }
                _ => return None,
            }
        }
        Some(lies)
    }
}

impl Store {
    /// A damaged catalog may give numbers to what is archived next that nothing in the store has come to: it is made anew.
    pub(super) fn check_numbers(&self, catalog: &dyn Catalog, logged: u64) -> Result<(), ArchiveError> {
        let (_, slot, next) = catalog.highest()?;
        if next <= logged && slot <= self.keys.last() {
            return Ok(());
        }
        let (slot_used, leaf_used) = catalog.highest_used()?;
        if slot > slot_used || next > logged.max(leaf_used.map_or(0, |leaf| leaf + 1)) {
            let what = "the catalog is damaged: it has numbers that nothing in the store has; it is made anew from the packs";
            tracing::error!(store = self.id, slot, next, logged, "{what}");
            catalog.begin_anew()?;
        }
        Ok(())
    }

    /// Goes on with a catalog that is being made, from its beginning when other packs or keys lie there by now. `false`: it is finished.
    pub(super) fn begin(&self, catalog: &dyn Catalog) -> Result<bool, ArchiveError> {
        let Some(begun) = catalog.begun()? else { return Ok(false) };
        self.go_on(catalog, &begun).map(|()| true)
    }

    /// The same with one that was meant to be finished.
    pub(super) fn begin_rebuilt(&self, catalog: &dyn Catalog) -> Result<(), ArchiveError> {
        let begun = catalog.begun()?.unwrap_or_default();
        self.go_on(catalog, &begun)
    }

    fn go_on(&self, catalog: &dyn Catalog, begun: &str) -> Result<(), ArchiveError> {
        if catalog.watermark()? != Place::default() && !self.has_seen(catalog, begun)? {
            let what = "packs or keys are others than when the catalog was begun, so it is begun anew";
            tracing::warn!(store = self.id, "{what}");
            catalog.begin_anew()?;
        }
        Ok(catalog.set_begun(Some(&self.lies(&BTreeMap::new()).to_text()))?)
    }

    /// All was entered: what is missing is told, and what was met before it was interrupted.
    pub(super) fn finish(
        &self,
        catalog: &dyn Catalog,
        leaves: u64,
        damage: &mut Damages,
    ) -> Result<(), ArchiveError> {
        for earlier in catalog.damaged()? {
            if !damage.told().contains(&earlier.damage) {
                damage.push(earlier.damage);
            }
        }
        self.lost_messages(catalog, leaves, damage)?;
        Ok(catalog.set_begun(None)?)
    }

    fn lies(&self, measured: &BTreeMap<u64, u64>) -> Lies {
        let packs = self.packs.numbers().into_iter().map(|number| (number, self.packs.pack_bytes(number)));
        let keys = self.keys.tables(measured).into_iter();
        Lies {
            packs: packs.collect(),
            keys: keys.map(|(number, bytes, crc)| (number, (bytes, crc))).collect(),
        }
    }

    /// Whether what lies below the catalog's watermark is what it has seen.
    fn has_seen(&self, catalog: &dyn Catalog, begun: &str) -> Result<bool, ArchiveError> {
        let Some(begun) = Lies::from_text(begun) else { return Ok(false) };
        let now = self.lies(&begun.keys.iter().map(|(number, (bytes, _))| (*number, *bytes)).collect());
        let watermark = catalog.watermark()?;
        // Packs that were made since are known by what was entered of them.
        let known = begun.packs.last_key_value().map_or(0, |(last, _)| last + 1).min(watermark.pack);
        let is_same = begun.packs.range(..known).eq(now.packs.range(..known)) && begun.keys == now.keys;
        let is_there = |pack: u64, end: u64| now.packs.get(&pack).is_some_and(|bytes| *bytes >= end);
        Ok(is_same
            && is_there(watermark.pack, watermark.offset)
            && catalog.pack_ends()?.iter().all(|pack| is_there(pack.pack, pack.end)))
    }
}
