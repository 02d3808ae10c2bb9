//! The indexes follow the catalogs: in the background of a daemon, or before a search where there is none.
//!
//! Archiving only rings a bell. What is indexed is read again from the store, but for what was archived a moment ago; what cannot be
//! read is indexed by its place and date, and says so. Documents attached are read by a [`DocumentReader`], elsewhere.
//!
//! | file | what |
//! |---|---|
//! | `document` | what the index gets of one message, and how long that may take |
//! | `follower` | following in the background, and healing |
//!
//! Promises
//! - An index that follows stops at a safe point when it is told to, also within a message, and goes on from there.
//! - One store's trouble is no other store's; one message's is no other message's.
//! - What passes (no process to read documents, too many open files) makes the index wait; it is not written down as missing.
//! - Memory: a few messages at once, of long ones one, and the start of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use postern_shared::id::MessageId;
use serde::Serialize;

use super::ArchiveError;
use super::index::{Generation, guarded};
use super::instance::Instance;
use super::stores::{Attached, Watch};

mod document;
mod follower;

use document::Halt;
pub use document::{DocumentReader, NotRead};
pub use follower::Follower;

/// Changes taken from the catalog at once.
const STRETCH: usize = 256;
/// Messages indexed before the index commits, when there are more.
const COMMIT_MESSAGES: u64 = 5000;
/// More threads would not keep the one that writes busier.
const THREADS_MAX: usize = 4;
/// Fewer messages are not worth threads.
const SIDE_BY_SIDE_MIN: usize = 4;
/// What took so long is committed, however few messages it is.
const STRETCH_PATIENCE: Duration = Duration::from_secs(60);

/// What following needs beside the stores.
#[derive(Debug, Default)]
pub(super) struct Following {
    documents: OnceLock<Arc<dyn DocumentReader>>,
    bell: Mutex<Bell>,
    rung: Condvar,
    /// Somebody follows in the background.
    followed: AtomicBool,
    /// Whoever follows is to end, in whatever message it is.
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Bell {
    /// How often it was rung, and up to which ring all is indexed.
    rung: u64,
    done: u64,
    /// Somebody waits.
    urgent: bool,
    /// It failed, and is tried again in a while: nobody waits for it.
    failing: bool,
}

impl Following {
    fn bell(&self) -> MutexGuard<'_, Bell> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was archived.
    pub(super) fn ring(&self) {
        self.bell().rung += 1;
        self.rung.notify_all();
    }

    /// Waits for the follower to have indexed all that there is now, for at most `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        let mut bell = self.bell();
        bell.rung += 1;
        bell.urgent = true;
        let wanted = bell.rung;
        self.rung.notify_all();
        let behind =
            |bell: &mut Bell| bell.done < wanted && !bell.failing && self.followed.load(Ordering::Relaxed);
        drop(self.rung.wait_timeout_while(bell, patience, behind));
    }

    pub(super) fn is_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }
}

/// How an index stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct IndexState {
    pub store: String,
    /// Changes of the catalog that it has yet to follow.
    pub behind: u64,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

impl Instance {
    /// Lets `reader` make text of attached documents; without one only their names are indexed.
    pub fn read_documents_with(&self, reader: Arc<dyn DocumentReader>) {
        // The first one stays.
        let _ = self.following.documents.set(reader);
    }

    /// Indexes what was archived since; tells how many messages are done.
    pub fn catch_up(&self, mut progress: impl FnMut(u64)) -> Result<(), ArchiveError> {
        self.follow(&mut |_, done, _| {
            progress(done);
            false
        })
        .map(drop)
    }

    /// The same, ended when `watch` says so or after that time, whatever others archive meanwhile. Where somebody follows in the
    /// background, or right now, it leaves it to them.
    pub fn catch_up_for(&self, patience: Duration, watch: Watch<'_>) -> Result<(), ArchiveError> {
        let started = self.stores.moment();
        let is_busy = |attached: &Arc<Attached>| {
            matches!(attached.catching_up.try_lock(), Err(TryLockError::WouldBlock))
        };
        if self.following.is_followed() || self.stores.open_stores().iter().any(is_busy) {
            self.following.ring();
            return Ok(());
        }
        let late = || self.stores.moment().since(started) > patience;
        self.follow(&mut |what, done, total| watch(what, done, total) || late()).map(drop)
    }

    /// The same, ended when `watch` says so: `false` then. What fails in one store keeps no other from following.
    pub fn follow(&self, watch: Watch<'_>) -> Result<bool, ArchiveError> {
        let (mut before, mut failed) = (0, None);
        for attached in self.stores.open_stores() {
            let mut in_store = 0;
            let followed = self.follow_store(&attached, &mut |what, done, total| {
                in_store = done;
                watch(what, before + done, total.map(|total| before + total))
            });
            let followed = match followed {
                Err(ArchiveError::Catalog(error)) => {
                    self.stores.asked(&attached, Err(error)).map(|followed| followed.unwrap_or(true))
                }
                followed => followed,
            };
            before += in_store;
            match followed {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    tracing::error!(store = attached.store.id, %error, "an index cannot follow; archiving goes on");
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(true), Err)
    }

    fn follow_store(&self, attached: &Attached, watch: Watch<'_>) -> Result<bool, ArchiveError> {
        if self.is_of_another(attached, &*attached.index.current()?)? {
            // It followed another catalog: it serves what it has until one has followed this one.
            let _builder = attached.index.builder();
            if self.is_of_another(attached, &*attached.index.current()?)?
                && !self.build(attached, false, watch)?
            {
                return Ok(false);
            }
        }
        let _one = attached.catching_up.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = attached.index.current()?;
        let followed = self.followed(attached, &generation, "indexing", watch);
        match followed {
            Ok(true) => attached.index.settle(),
            Err(ArchiveError::Index(_)) => {
                // A thread that died is no damage; files that changed are.
                attached.index.check_for_failure(self.stores.moment())?;
            }
            _ => {}
        }
        followed
    }

    fn is_of_another(&self, attached: &Attached, generation: &Generation) -> Result<bool, ArchiveError> {
        let catalog = attached.store.catalog();
        Ok(generation.is_of_another(&catalog.epoch()?, catalog.last_change()?))
    }

    /// Lets `generation` follow, whatever falls over; what failed is rolled back.
    fn followed(
        &self,
        attached: &Attached,
        generation: &Generation,
        what: &str,
        watch: Watch<'_>,
    ) -> Result<bool, ArchiveError> {
        let followed = guarded(|| self.follow_with(attached, generation, what, watch));
        followed.and_then(|followed| followed).inspect_err(|_| generation.roll_back())
    }

    /// Lets `generation` follow the catalog to its end.
    fn follow_with(
        &self,
        attached: &Attached,
        generation: &Generation,
        what: &str,
        watch: Watch<'_>,
    ) -> Result<bool, ArchiveError> {
        let catalog = attached.store.catalog();
        let epoch = catalog.epoch()?;
        let last = catalog.last_change()?;
        if generation.is_of_another(&epoch, last) {
            generation.clear()?;
        }
        let mut reached = generation.watermark(&epoch);
        let total = last - reached;
        let (mut done, mut waiting) = (0, 0);
        loop {
            let changed = catalog.changed(reached, STRETCH)?;
            let ended = AtomicBool::new(watch(what, done, Some(total.max(done))));
            let messages: Vec<(u64, MessageId)> = changed.iter().map(|(_, seq, id)| (*seq, *id)).collect();
            let Stretch { added, whole, halted } =
                self.add(attached, generation, messages, &ended, &mut |more| {
                    watch(what, done + more, Some(total.max(done + more)))
                })?;
            waiting += added;
            if let Some((latest, ..)) = whole.checked_sub(1).and_then(|last| changed.get(last)) {
                reached = *latest;
                done += whole as u64;
            }
            let ended = ended.load(Ordering::Relaxed);
            let slow = whole < changed.len();
            if waiting > 0 && (waiting >= COMMIT_MESSAGES || slow || ended || changed.is_empty()) {
                // What was added of a stretch that was not ended is replaced by what is added for it again.
                generation.commit(&epoch, reached)?;
                waiting = 0;
            }
            if let Some(error) = halted {
                return Err(error);
            }
            if ended || changed.is_empty() {
                return Ok(!ended);
            }
        }
    }

    /// Adds messages, on several cores.
    fn add(
        &self,
        attached: &Attached,
        generation: &Generation,
        messages: Vec<(u64, MessageId)>,
        ended: &AtomicBool,
        watch: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Stretch, ArchiveError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let threads = if messages.len() < SIDE_BY_SIDE_MIN { 1 } else { cores };
        let count = messages.len();
        let (left, added) = (Mutex::new(messages.into_iter()), AtomicU64::new(0));
        let halted: Mutex<Option<Option<ArchiveError>>> = Mutex::default();
        let (known, started) = (generation.highest(), self.stores.moment());
        let stopped = || ended.load(Ordering::Relaxed) || self.following.stopping.load(Ordering::Relaxed);
        let one = || -> Result<bool, ArchiveError> {
            if stopped() || self.stores.moment().since(started) > STRETCH_PATIENCE {
                return Ok(false);
            }
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((seq, id)) = next else { return Ok(false) };
            match self.document(attached, seq, id, &stopped) {
                Ok(None) => {}
                Ok(Some(document)) => {
                    generation.add(document, known)?;
                    added.fetch_add(1, Ordering::Relaxed);
                }
                Err(halt) => {
                    let mut halted = halted.lock().unwrap_or_else(PoisonError::into_inner);
                    match halt {
                        Halt::Failed(error) => *halted = Some(Some(error)),
                        Halt::Ended if halted.is_none() => *halted = Some(None),
                        Halt::Ended => {}
                    }
                    ended.store(true, Ordering::Relaxed);
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let others = || {
            while one()? {}
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..threads).map(|_| scope.spawn(others)).collect();
            let mut first = Ok(());
            loop {
                match one() {
                    Ok(true) => {
                        if watch(added.load(Ordering::Relaxed)) {
                            ended.store(true, Ordering::Relaxed);
                        }
                    }
                    Ok(false) => break,
                    Err(error) => {
                        ended.store(true, Ordering::Relaxed);
                        first = Err(error);
                        break;
                    }
                }
            }
            for thread in threads {
                let joined: Result<(), ArchiveError> =
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                first = first.and(joined);
            }
            first
        })?;
        // They are taken in order, and those that were taken are there, unless one of them was given up.
        let taken = count - left.into_inner().unwrap_or_else(PoisonError::into_inner).len();
        let halted = halted.into_inner().unwrap_or_else(PoisonError::into_inner);
        let whole = if halted.is_some() { 0 } else { taken };
        ended.fetch_or(self.following.stopping.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(Stretch { added: added.into_inner(), whole, halted: halted.flatten() })
    }

    /// Changes of the catalogs that the indexes have yet to follow.
    pub(super) fn behind(&self) -> Result<u64, ArchiveError> {
        let mut behind = 0;
        for attached in self.stores.open_stores() {
            let catalog = attached.store.catalog();
            let stand = catalog.last_change().and_then(|last| catalog.epoch().map(|epoch| (last, epoch)));
            let Some((last, epoch)) = self.stores.asked(&attached, stand)? else { continue };
            let reached = match attached.index.current() {
                Ok(generation) => generation.watermark(&epoch),
                // All of it is.
                Err(_) => 0,
            };
            behind += last.saturating_sub(reached);
        }
        Ok(behind)
    }

    /// How the indexes stand.
    pub fn index_states(&self) -> Result<Vec<IndexState>, ArchiveError> {
        let state = |attached: Arc<Attached>| {
            let (catalog, generation) = (attached.store.catalog(), attached.index.current()?);
            let reached = generation.watermark(&catalog.epoch()?);
            Ok(IndexState {
                store: attached.store.id.clone(),
                behind: catalog.last_change()?.saturating_sub(reached),
                bytes: guarded(|| generation.bytes()).and_then(|bytes| bytes).unwrap_or(0),
                damage: attached.index.damage(),
            })
        };
        self.stores.open_stores().into_iter().map(state).collect()
    }

    /// Builds the indexes, of all stores or of one, anew beside those that serve, and lets them serve. `only_damaged`: those that
    /// are known to be damaged. `false` when it was ended before its time; the next one goes on, unless it is to begin `afresh`.
    pub fn rebuild_indexes(
        &self,
        store: Option<&str>,
        (only_damaged, afresh): (bool, bool),
        watch: Watch<'_>,
    ) -> Result<bool, ArchiveError> {
        for attached in self.wanted_stores(store)? {
            if only_damaged && attached.index.check()?.is_none() {
                continue;
            }
            if !self.rebuild_index(&attached, afresh, watch)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn rebuild_index(
        &self,
        attached: &Attached,
        afresh: bool,
        watch: Watch<'_>,
    ) -> Result<bool, ArchiveError> {
        let _builder = attached.index.builder();
        self.build(attached, afresh, watch)
    }

    /// The same by who holds the builder's place.
    fn build(&self, attached: &Attached, afresh: bool, watch: Watch<'_>) -> Result<bool, ArchiveError> {
        let (number, generation) = attached.index.building(afresh)?;
        let what = format!("building the index of store {}", attached.store.id);
        if !self.followed(attached, &generation, &what, watch)? {
            generation.rest()?;
            return Ok(false);
        }
        // What arrived meanwhile; then nobody writes to the old one any more.
        let _one = attached.catching_up.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.followed(attached, &generation, &what, watch)? {
            return Ok(false);
        }
        generation.rest()?;
        let old = attached.index.current()?;
        attached.index.swap(number, generation)?;
        old.roll_back();
        Ok(true)
    }
}

/// What became of a stretch of messages.
struct Stretch {
    /// Messages added.
    added: u64,
    /// How many of them, from the first on, are done.
    whole: usize,
    /// Why it stopped before its time.
    halted: Option<ArchiveError>,
}

#[cfg(test)]
mod tests;
