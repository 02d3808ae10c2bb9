//! A catalog from packs alone, while the old one serves.

use std::sync::Arc;

use super::Watch;
use super::catalog_file::{open_catalog, put_aside, remove_mark, with_suffix};
use super::replay::Replay;
use super::store::{Beside, Store};
use crate::archive::ArchiveError;
use crate::archive::catalog::Catalog;
use crate::archive::store::Damages;
use postern_shared::id::MessageIds;

impl Store {
    /// Rebuilds the catalog; `false` when it was ended before its time, and goes on from there the next time. The index follows by
    /// itself: a rebuilt catalog has another epoch. Returns what is damaged.
    pub(in crate::archive) fn rebuild(
        &self,
        ids: &MessageIds,
        watch: Watch<'_>,
        damage: &mut Damages,
    ) -> Result<bool, ArchiveError> {
        let path = self.beside.dir.join("catalog.sqlite");
        let beside = self.beside.dir.join("catalog.rebuilt.sqlite");
        let rebuilt = open_catalog(&*self.beside.disk, &beside)?;
        let what = format!("rebuilding the catalog of store {}", self.id);
        let total = self.packs.total_bytes();
        let mut progress = |done: u64| watch(&what, done, Some(total));
        // Most of it beside everything else; leaves are put right at the end only, under the lock.
        self.begin_rebuilt(&rebuilt)?;
        let mut until = rebuilt.watermark()?;
        loop {
            let mut writing = self.writing();
            let end = self.packs.end()?;
            // What is written meanwhile may be taken back.
            let mut replay = Replay {
                cut_torn_tail: false,
                restore_leaves: self.is_writable,
                until: Some(end),
                is_torn: false,
                damage,
                progress: &mut progress,
            };
            if end.pack == until.pack && end.offset.saturating_sub(until.offset) < CLOSE_BYTES {
                if !self.enter_from_packs(&rebuilt, &mut writing.leaves, ids, &mut replay)? {
                    return Ok(false);
                }
                // Leaves of messages that were not found may be among these.
                rebuilt.leaves_at_least(writing.leaves.count())?;
                // What it knows of other stores' folders; one that is damaged may know nothing.
                if let Ok(folders) = self.catalog().known_folders() {
                    rebuilt.keep_folders(&folders)?;
                }
                self.finish(&rebuilt, writing.leaves.count(), damage)?;
                rebuilt.settle()?;
                drop(rebuilt);
                self.take_rebuilt(&path, &beside)?;
                return Ok(true);
            }
            drop(writing);
            let mut leaves = self.separate_leaves()?;
            if !self.enter_from_packs(&rebuilt, &mut leaves, ids, &mut replay)? {
                return Ok(false);
            }
            let reached = rebuilt.watermark()?;
            if reached == until {
                // Behind the last object lies what is none.
                until = end;
            } else {
                until = reached;
            }
        }
    }

    /// Puts the rebuilt catalog's file in the place of the old one.
    fn take_rebuilt(&self, path: &std::path::Path, beside: &std::path::Path) -> Result<(), ArchiveError> {
        self.forget_recent();
        let Beside { disk, dir } = &self.beside;
        let disk = &**disk;
        self.replace_catalog(|| {
            put_aside(disk, path, "old")?;
            remove_mark(disk, path)?;
            for suffix in ["-wal", "-shm"] {
                let left = with_suffix(beside, suffix);
                if disk.exists(&left).map_err(ArchiveError::file(&left))? {
                    disk.remove(&left).map_err(ArchiveError::file(&left))?;
                }
            }
            disk.rename(beside, path).map_err(ArchiveError::file(path))?;
            disk.sync_dir(dir).map_err(ArchiveError::file(dir))?;
            // The old one goes with that.
            Ok(Arc::new(open_catalog(disk, path)?))
        })
    }
}

/// When no more than this is left, the rest is done with the store locked.
const CLOSE_BYTES: u64 = 1024 * 1024;
