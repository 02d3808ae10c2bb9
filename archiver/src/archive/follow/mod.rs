//! The indexes follow the catalogs: in the background of a daemon, or before a search where there is none.
//!
//! Archiving only rings a bell. What is indexed is read again from the store, but for what was archived a moment ago; what cannot be
//! read is indexed by its place and date. Documents attached are read by a [`DocumentReader`], elsewhere.
//!
//! Promises
//! - An index that follows stops at a safe point when it is told to, and goes on from there.
//! - Memory: a few messages at once, of long ones one, and the start of it.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use postern_shared::id::MessageId;
use serde::Serialize;

use super::ArchiveError;
use super::catalog::Row;
use super::index::{Document, Generation, Hidden, guarded};
use super::instance::Instance;
use super::message::{AddressEvidence, AttachmentText, IndexFields};
use super::reader::copy_content;
use super::search::seconds;
use super::stores::{Attached, Store, Watch};

mod follower;

pub use follower::Follower;

/// Changes taken from the catalog at once.
const STRETCH: usize = 256;
/// Messages indexed before the index commits, when there are more.
const COMMIT_MESSAGES: u64 = 5000;
/// More threads would not keep the one that writes busier.
const THREADS_MAX: usize = 4;
/// Fewer messages are not worth threads.
const SIDE_BY_SIDE_MIN: usize = 4;
/// A longer message is indexed by its beginning.
const READ_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Of messages longer than this, one is read at a time.
const LONG_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Text of all attachments of a message.
const ATTACHED_TEXT_MAX: usize = 4 * 1024 * 1024;

/// Makes text of documents.
pub trait DocumentReader: std::fmt::Debug + Send + Sync {
    /// The text of the document `name`, or as much as can be had of it.
    fn read(&self, name: &str, octets: &[u8]) -> AttachmentText;
}

/// What following needs beside the stores.
#[derive(Debug, Default)]
pub(super) struct Following {
    documents: OnceLock<Arc<dyn DocumentReader>>,
    bell: Mutex<Bell>,
    rung: Condvar,
    /// Somebody follows in the background.
    followed: AtomicBool,
}

#[derive(Debug, Default)]
struct Bell {
    /// How often it was rung, and up to which ring all is indexed.
    rung: u64,
    done: u64,
    /// Somebody waits.
    urgent: bool,
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
        let behind = |bell: &mut Bell| bell.done < wanted && self.followed.load(Ordering::Relaxed);
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

    /// The same, ended when `watch` says so: `false` then.
    pub fn follow(&self, watch: Watch<'_>) -> Result<bool, ArchiveError> {
        let mut before = 0;
        for attached in self.stores.open_stores() {
            let mut in_store = 0;
            let followed = self.follow_store(&attached, &mut |what, done, total| {
                in_store = done;
                watch(what, before + done, total.map(|total| before + total))
            });
            let whole = match followed {
                Err(ArchiveError::Catalog(error)) => {
                    self.stores.asked(&attached, Err(error))?.unwrap_or(true)
                }
                followed => followed?,
            };
            before += in_store;
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn follow_store(&self, attached: &Attached, watch: Watch<'_>) -> Result<bool, ArchiveError> {
        let _one = attached.catching_up.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = attached.index.current()?;
        let followed = guarded(|| self.follow_with(attached, &generation, "indexing", watch));
        match followed.and_then(|followed| followed) {
            Err(error @ ArchiveError::Index(_)) => {
                generation.roll_back();
                // A full disk is no damage, nor is a thread that died; files that changed are.
                attached.index.check()?;
                Err(error)
            }
            followed => followed,
        }
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
        let (mut reached, last) = (generation.watermark(&epoch), catalog.last_change()?);
        if (reached == 0 && last > 0) || reached > last {
            // It followed another catalog, or this one before it was put back to an earlier day.
            generation.clear()?;
            reached = 0;
        }
        let total = last - reached;
        let (mut done, mut waiting) = (0, 0);
        loop {
            let changed = catalog.changed(reached, STRETCH)?;
            let ended = AtomicBool::new(watch(what, done, Some(total.max(done))));
            let messages: Vec<(u64, MessageId)> = changed.iter().map(|(_, seq, id)| (*seq, *id)).collect();
            let count = messages.len() as u64;
            if let Some((latest, ..)) = changed.last() {
                let added = self.add(attached, generation, messages, &ended, &mut |more| {
                    watch(what, done + more, Some(total.max(done + more)))
                })?;
                waiting += added;
                if !ended.load(Ordering::Relaxed) {
                    reached = *latest;
                    done += count;
                }
            }
            let ended = ended.load(Ordering::Relaxed);
            if waiting > 0 && (waiting >= COMMIT_MESSAGES || ended || changed.is_empty()) {
                // What was added of a stretch that was not ended is replaced by what is added for it again.
                generation.commit(&epoch, reached)?;
                waiting = 0;
            }
            if ended || changed.is_empty() {
                return Ok(!ended);
            }
        }
    }

    /// Adds messages, on several cores; how many.
    fn add(
        &self,
        attached: &Attached,
        generation: &Generation,
        messages: Vec<(u64, MessageId)>,
        ended: &AtomicBool,
        watch: &mut dyn FnMut(u64) -> bool,
    ) -> Result<u64, ArchiveError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let threads = if messages.len() < SIDE_BY_SIDE_MIN { 1 } else { cores };
        let (left, added) = (Mutex::new(messages.into_iter()), AtomicU64::new(0));
        let known = generation.highest();
        let one = || -> Result<bool, ArchiveError> {
            if ended.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((seq, id)) = next else { return Ok(false) };
            if let Some(document) = self.document(attached, seq, id)? {
                generation.add(document, known)?;
                added.fetch_add(1, Ordering::Relaxed);
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
        Ok(added.into_inner())
    }

    /// What the index gets of a message; one that cannot be read is still found by its place and date.
    fn document(
        &self,
        attached: &Attached,
        seq: u64,
        id: MessageId,
    ) -> Result<Option<Document>, ArchiveError> {
        let catalog = attached.store.catalog();
        let Some(row) = catalog.row(seq, None)? else { return Ok(None) };
        let participants = catalog.participants(seq)?;
        let fields = match attached.take_fresh(id) {
            Some(fields) => fields,
            None => self.extracted(attached, id, &row).unwrap_or_else(|error| {
                tracing::error!(id = %id, %error, "a message cannot be indexed");
                IndexFields { subject: row.subject.clone(), from: row.from.clone(), ..IndexFields::default() }
            }),
        };
        let bcc = self.hidden(&participants, &fields);
        let date = seconds(&row);
        Ok(Some(Document { seq, id, date, size: row.bytes, filed_in: row.folders, bcc, fields }))
    }

    fn extracted(&self, attached: &Attached, id: MessageId, row: &Row) -> Result<IndexFields, ArchiveError> {
        let _one = (row.bytes > LONG_BYTES_MIN)
            .then(|| attached.reading_long.lock().unwrap_or_else(PoisonError::into_inner));
        let mut content = Vec::new();
        copy_content(&attached.store, id, &mut |piece| {
            // More is not looked at; see `intake::extract`.
            let room = READ_BYTES_MAX.saturating_sub(content.len());
            content.extend_from_slice(&piece[..piece.len().min(room)]);
            Ok(())
        })?;
        let report = bounded_report(&attached.store, id)?;
        let mut fields = (self.extract)(&content, report.as_deref());
        drop((content, report));
        self.read_documents(&mut fields);
        Ok(fields)
    }

    /// Has the text of attached documents read.
    fn read_documents(&self, fields: &mut IndexFields) {
        let mut room = ATTACHED_TEXT_MAX;
        for attachment in &mut fields.attachments {
            if let AttachmentText::Document(octets) = &mut attachment.text {
                let octets = octets.take();
                attachment.text = match (self.following.documents.get(), octets) {
                    (Some(reader), Some(octets)) => reader.read(&attachment.name, &octets),
                    _ => AttachmentText::Missing("nothing here reads documents".into()),
                };
            }
            if let AttachmentText::Text(text) | AttachmentText::Part(text, _) = &mut attachment.text {
                text.truncate(text.floor_char_boundary(room));
                room -= text.len();
            }
        }
    }

    /// Who received it without being named in it, and who may know.
    fn hidden(&self, participants: &[AddressEvidence], fields: &IndexFields) -> Vec<Hidden> {
        let header = [&fields.from, &fields.to, &fields.cc].map(|text| text.to_lowercase());
        let named: HashSet<&str> =
            header.iter().flat_map(|text| text.split([' ', ',', '<', '>', '"', '\'', ';'])).collect();
        let senders: BTreeSet<String> = participants
            .iter()
            .filter(|who| who.role == "sender")
            .filter_map(|who| self.owner(&who.address))
            .collect();
        let mut seen = HashSet::new();
        let unnamed = participants.iter().filter(|who| {
            who.role != "sender" && !named.contains(who.address.as_str()) && seen.insert(who.address.as_str())
        });
        let hidden = unnamed.map(|who| {
            let known_to = senders.iter().cloned().chain(self.owner(&who.address)).collect();
            Hidden { address: who.address.clone(), known_to }
        });
        hidden.collect()
    }

    /// Changes of the catalogs that the indexes have yet to follow.
    pub(super) fn behind(&self) -> Result<u64, ArchiveError> {
        let mut behind = 0;
        for attached in self.stores.open_stores() {
            let (catalog, generation) = (attached.store.catalog(), attached.index.current()?);
            let stand = catalog.last_change().and_then(|last| catalog.epoch().map(|epoch| (last, epoch)));
            if let Some((last, epoch)) = self.stores.asked(&attached, stand)? {
                behind += last.saturating_sub(generation.watermark(&epoch));
            }
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

    /// Reads every index whole and compares it with its checksums. What is damaged, store by store.
    pub fn check_indexes(&self, store: Option<&str>) -> Result<Vec<(String, String)>, ArchiveError> {
        let mut damaged = Vec::new();
        for attached in self.wanted_stores(store)? {
            let damage = attached.index.check()?;
            damaged.extend(damage.map(|damage| (attached.store.id.clone(), damage)));
        }
        Ok(damaged)
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
        let (number, generation) = attached.index.building(afresh)?;
        let what = format!("building the index of store {}", attached.store.id);
        if !self.follow_with(attached, &generation, &what, watch)? {
            generation.rest()?;
            return Ok(false);
        }
        // What arrived meanwhile; then nobody writes to the old one any more.
        let _one = attached.catching_up.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.follow_with(attached, &generation, &what, watch)? {
            return Ok(false);
        }
        generation.rest()?;
        let old = attached.index.current()?;
        attached.index.swap(number, generation)?;
        old.roll_back();
        Ok(true)
    }
}

/// The journal report, unless it is long: then a decrypted copy in it is not looked for.
fn bounded_report(store: &Store, id: MessageId) -> Result<Option<Vec<u8>>, ArchiveError> {
    let opened = store.opened(id)?.ok_or_else(|| ArchiveError::NoMessage(id.to_string()))?;
    let mut report = Vec::new();
    let mut whole = true;
    let found = store.copy_report(&opened, &mut |piece| {
        whole &= report.len() + piece.len() <= READ_BYTES_MAX;
        if whole {
            report.extend_from_slice(piece);
        }
        Ok(())
    })?;
    Ok((found && whole).then_some(report))
}

#[cfg(test)]
mod tests;
