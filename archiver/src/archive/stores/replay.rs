//! Packs to catalog: behind its watermark when a store is opened, from the beginning when it is rebuilt.

use std::cell::RefCell;

use postern_shared::id::MessageIds;

use super::store::Store;
use crate::archive::ArchiveError;
use crate::archive::catalog::{Catalog, Change, Damaged, Entered, RecordPlace};
use crate::archive::store::record::{Addition, Arrival, Message, Part, decode};
use crate::archive::store::{
    Damage, Damages, Found, Hole, Kind, LEAF_BYTES, Leaves, Place, Scan, StoreError, Stored, is_unreadable,
    leaf,
};

/// Objects entered together.
const BATCH: usize = 500;
/// Octets of packs between two lines in the log.
const LOGGED_EACH_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// So many numbers behind the highest one found may have been given out: of what was cut off, of what a power cut took without a trace, or
/// of what cannot be read.
const NUMBERS_UNSEEN: u64 = 1 << 20;

/// What a replay leaves to whoever asked for it.
pub(super) struct Replay<'r> {
    pub(super) cut_torn_tail: bool,
    /// Leaves are put right; else one that is not is told.
    pub(super) restore_leaves: bool,
    /// Nothing from here on is entered.
    pub(super) until: Option<Place>,
    /// Set when the newest pack ends with what is no whole object, and was left so.
    pub(super) is_torn: bool,
    pub(super) damage: &'r mut Damages,
    /// Told how many octets of packs are done; `true` ends it.
    pub(super) progress: &'r mut dyn FnMut(u64) -> bool,
}

#[derive(Default)]
struct Batch {
    objects: Vec<Stored>,
    changes: Vec<Change>,
}

/// Holes that were met.
#[derive(Default)]
struct Met {
    damages: Damages,
    holes: Vec<Damaged>,
    kept: u64,
}

impl Met {
    fn push(&mut self, hole: Hole) {
        const HOLES_MAX: usize = 10_000;
        let is_hole = hole.may_be_lost();
        self.damages.push(hole.damage.clone());
        if self.holes.len() < HOLES_MAX {
            let object = hole.object.map(|(_, number)| number);
            self.holes.push(Damaged { damage: hole.damage, is_hole, object });
        }
    }

    /// Keeps them, and records that cannot be read, before the watermark passes them.
    fn keep(&mut self, catalog: &dyn Catalog, records: &Damages) -> Result<(), ArchiveError> {
        let count = self.damages.count() + records.count();
        if count > std::mem::replace(&mut self.kept, count) {
            let records = records.told().iter();
            let records =
                records.map(|damage| Damaged { damage: damage.clone(), is_hole: false, object: None });
            catalog.keep_damage(&self.holes.iter().cloned().chain(records).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl Store {
    /// Finishes what a crash interrupted.
    pub(super) fn replay(
        &self,
        ids: &MessageIds,
        writable: bool,
        damage: &mut Damages,
    ) -> Result<(), ArchiveError> {
        let catalog = self.catalog();
        let mut writing = self.writing();
        self.check_numbers(&*catalog, writing.leaves.count())?;
        let rebuilding = self.begin(&*catalog)?;
        let cut_torn_tail = writable && !rebuilding;
        let total = self.packs.total_bytes();
        if rebuilding {
            // Leaves of messages that are not found may be among these; no other message gets their numbers.
            catalog.leaves_at_least(writing.leaves.count())?;
            if total > 0 {
                let what = "the catalog is missing and is rebuilt from the packs";
                let from = catalog.watermark()?.pack;
                tracing::warn!(store = self.id, bytes = total, from, "{what}");
            }
        }
        let mut logged = 0;
        let mut progress = |done: u64| {
            if done >= logged + LOGGED_EACH_BYTES {
                logged = done;
                tracing::info!(store = self.id, done, total, "the catalog is being rebuilt");
            }
            false
        };
        let mut replay = Replay {
            cut_torn_tail,
            restore_leaves: writable,
            until: None,
            is_torn: false,
            damage,
            progress: &mut progress,
        };
        self.enter_from_packs(&*catalog, &mut writing.leaves, ids, &mut replay)?;
        let Replay { is_torn, damage, .. } = replay;
        let (object, slot, _) = catalog.highest()?;
        self.keys.missing(slot)?.into_iter().for_each(|missing| damage.push(missing));
        self.check_leaves(&*catalog, &mut writing.leaves, writable, damage)?;
        // Else another text would be sealed under a key that was used.
        self.packs.at_least(object.saturating_add(NUMBERS_UNSEEN));
        if rebuilding {
            self.finish(&*catalog, writing.leaves.count(), damage)?;
        }
        if rebuilding && total > 0 {
            tracing::info!(store = self.id, messages = catalog.counts()?.messages, "the catalog is rebuilt");
        }
        // What is no object at the end of the newest pack stays for whoever looks at it; nothing is appended to it.
        let end = self.packs.end()?;
        if writable && (is_torn || end != catalog.watermark()?) && end != Place::default() {
            self.packs.close_newest(&mut writing.tail)?;
        }
        Ok(())
    }

    /// The log has a leaf for each message that is entered. More of them are of messages that are lost: leaves are written behind packs.
    fn check_leaves(
        &self,
        catalog: &dyn Catalog,
        leaves: &mut Leaves,
        writable: bool,
        damage: &mut Damages,
    ) -> Result<(), ArchiveError> {
        let (_, _, next) = catalog.highest()?;
        let found = leaves.count();
        if found > next {
            let (count, last) = (found - next, found - 1);
            let what = format!(
                "{count} messages are in the log and in no pack: leaves {next} to {last}; put the pack back from a backup and rebuild"
            );
            damage.push(Damage { path: leaves.path().into(), offset: next * LEAF_BYTES, what });
            catalog.leaves_at_least(found)?;
        }
        if found >= next {
            return Ok(());
        }
        let what = format!("{} leaves of {next} are missing", next - found);
        damage.push(Damage { path: leaves.path().into(), offset: found * LEAF_BYTES, what });
        leaves.at_least(next);
        if !writable {
            return Ok(());
        }
        tracing::warn!(
            store = self.id,
            found,
            next,
            "the log lost leaves; they are made again from the messages"
        );
        let mut after = 0;
        loop {
            let records = catalog.records_from_leaf(found, after, BATCH)?;
            let Some((last, _)) = records.last() else { break };
            after = *last;
            for (_, record) in records {
                match self.opened_at(&record) {
                    Ok(opened) => {
                        let message = &opened.message;
                        leaves.restore(message.leaf, message_leaf(message)).map(drop)?;
                    }
                    Err(error) => tracing::error!(id = %record.id, %error, "its leaf cannot be made again"),
                }
            }
        }
        Ok(leaves.sync()?)
    }

    /// Enters what lies behind the catalog's watermark; `false` when it was ended before its time.
    pub(super) fn enter_from_packs(
        &self,
        catalog: &dyn Catalog,
        leaves: &mut Leaves,
        ids: &MessageIds,
        replay: &mut Replay<'_>,
    ) -> Result<bool, ArchiveError> {
        let from = catalog.watermark()?;
        let mut batch = Batch::default();
        let mut records_damaged = Damages::default();
        let met = RefCell::new(Met::default());
        let tell = |hole| met.borrow_mut().push(hole);
        let mut failed = None;
        let (mut entered, mut reached) = (from, from);
        let mut done = 0;
        let ended = std::cell::Cell::new(false);
        let cancelled = || ended.get();
        // Leaves are written behind what they are of, and before anybody was told of it: when there are more than messages were found, what
        // seems torn was committed, and is damaged.
        let logged = leaves.count();
        let next_leaf = std::cell::Cell::new(catalog.highest()?.2);
        let may_cut = || logged <= next_leaf.get();
        let found_damage = replay.damage.count();
        let (restore_leaves, until) = (replay.restore_leaves, replay.until);
        let mut scan =
            Scan { cut_torn_tail: replay.cut_torn_tail, until, tell: &tell, cancelled: &cancelled };
        let mut take = |Found { stored, behind, is_uncertain }| {
            reached = behind;
            match self.change_of(stored, ids, &mut records_damaged) {
                // What was acknowledged has its leaf in the log, and what was not never gets it: its number is another message's.
                Ok(Some(Change::Archived(message, of)))
                    if is_uncertain
                        && !leaves.is(message.leaf, message_leaf(&message))?
                        && !self.has_parts(catalog, &batch, &of)? =>
                {
                    let what =
                        "a message lacks octets that were written with it: perhaps it was never committed";
                    let (path, offset) = (self.packs.path(stored.place), stored.place.offset);
                    records_damaged.push(Damage { path, offset, what: what.into() });
                }
                Ok(change) => {
                    if let Some(Change::Archived(message, _)) = &change {
                        next_leaf.set(next_leaf.get().max(message.leaf + 1));
                    }
                    batch.changes.extend(change);
                }
                Err(error) => {
                    failed = Some(error);
                    return Err(StoreError::Cancelled);
                }
            }
            batch.objects.push(stored);
            done += stored.header.record_bytes();
            if batch.objects.len() >= BATCH {
                let full = std::mem::take(&mut batch);
                let flushed = met.borrow_mut().keep(catalog, &records_damaged);
                let flushed = flushed.and_then(|()| {
                    self.flush(catalog, leaves, restore_leaves, &full, behind, &mut records_damaged)
                });
                if let Err(error) = flushed {
                    failed = Some(error);
                    return Err(StoreError::Cancelled);
                }
                entered = behind;
                ended.set((replay.progress)(done));
            }
            Ok(())
        };
        let end = self.packs.scan_asking(from, &mut scan, &may_cut, &mut take);
        if let Some(error) = failed {
            return Err(error);
        }
        let (end, is_torn) = end?;
        replay.is_torn = is_torn;
        // Whoever opens the store next meets what is torn again, and appends nothing behind it.
        let end = if is_torn { reached } else { end };
        met.borrow_mut().keep(catalog, &records_damaged)?;
        replay.damage.append(met.into_inner().damages);
        replay.damage.append(records_damaged);
        if ended.get() {
            return Ok(false);
        }
        if replay.damage.count() > found_damage {
            // Of what is damaged the leaves stay, and no other message gets their numbers.
            catalog.leaves_at_least(leaves.count())?;
        }
        if !batch.objects.is_empty() || end != entered {
            self.flush(catalog, leaves, restore_leaves, &batch, end, replay.damage)?;
        }
        self.enter_pending(catalog, replay.damage)?;
        let (object, slot, _) = catalog.highest()?;
        self.packs.at_least(if replay.damage.is_empty() {
            object
        } else {
            object.saturating_add(NUMBERS_UNSEEN)
        });
        self.keys.at_least(slot);
        Ok(true)
    }

    /// Whether all parts of a message have been found.
    fn has_parts(&self, catalog: &dyn Catalog, batch: &Batch, entered: &Entered) -> Result<bool, StoreError> {
        for (_, object) in &entered.parts {
            let is_in_batch = batch.objects.iter().any(|stored| stored.header.number == *object);
            // A catalog that fails here fails again when the batch is entered, and is told then.
            if !is_in_batch && !catalog.object(*object).is_ok_and(|place| place.is_some()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Additions that lie before their message, because that was moved.
    fn enter_pending(&self, catalog: &dyn Catalog, damage: &mut Damages) -> Result<(), ArchiveError> {
        let mut after = 0;
        loop {
            let pending = catalog.pending(after, BATCH)?;
            let Some((last, _)) = pending.last().copied() else { return Ok(()) };
            let mut changes = Vec::new();
            for (number, place) in pending {
                match self.packs.header(place, number) {
                    Ok(header) => {
                        let stored = Stored { header, place };
                        changes.extend(self.change_of(stored, &MessageIds::default(), damage)?);
                    }
                    Err(error) => damage.push(self.told(place, error)?),
                }
            }
            catalog.apply(&[], &changes, catalog.watermark()?)?;
            after = last;
        }
    }

    /// What an object changes in the catalog; damage is reported and changes nothing.
    fn change_of(
        &self,
        stored: Stored,
        ids: &MessageIds,
        damage: &mut Damages,
    ) -> Result<Option<Change>, ArchiveError> {
        let Stored { header, place } = stored;
        if header.kind == Kind::Part {
            return Ok(None);
        }
        let read = self.record_bytes(header.number, header.slot, place);
        let plain = match read {
            Ok(plain) => plain,
            Err(ArchiveError::Store(error)) => {
                damage.push(self.told(place, error)?);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let change = if header.kind == Kind::Message {
            decode(&plain).map(|(message, _)| {
                let message: Message = message;
                ids.at_least(message.message);
                Change::Archived(
                    Box::new(message.clone()),
                    self.entered_message(header.number, header.slot, &message),
                )
            })
        } else {
            decode(&plain).map(|(addition, _)| {
                let addition: Addition = addition;
                let entered = self.entered_arrival(header.number, header.slot, &addition.arrival);
                Change::Added(Box::new(addition), entered)
            })
        };
        match change {
            Ok(change) => Ok(Some(change)),
            Err(what) => {
                damage.push(Damage { path: self.packs.path(place), offset: place.offset, what });
                Ok(None)
            }
        }
    }

    /// What keeps an object from being read, when that is its own trouble and not the machine's.
    fn told(&self, place: Place, error: StoreError) -> Result<Damage, ArchiveError> {
        match error {
            StoreError::Damaged(damage) => Ok(damage),
            StoreError::NoKey { path, offset, object } => {
                let what = format!("{object} has no key: it was shredded, or the key table is damaged");
                Ok(Damage { path, offset, what })
            }
            StoreError::Io { path, source } if is_unreadable(&source) => {
                let what = format!("{} cannot be read: {source}", path.display());
                Ok(Damage { path: self.packs.path(place), offset: place.offset, what })
            }
            error => Err(error.into()),
        }
    }

    fn flush(
        &self,
        catalog: &dyn Catalog,
        leaves: &mut Leaves,
        restore_leaves: bool,
        batch: &Batch,
        watermark: Place,
        damage: &mut Damages,
    ) -> Result<(), ArchiveError> {
        let mut restored = false;
        for change in &batch.changes {
            let Change::Archived(message, _) = change else { continue };
            let leaf = message_leaf(message);
            if restore_leaves {
                restored |= leaves.restore(message.leaf, leaf)?;
            } else if !leaves.is(message.leaf, leaf)? {
                let (path, what) =
                    (self.dir.join("log/leaves"), "a message's leaf is missing or another one");
                damage.push(Damage { path, offset: message.leaf * 32, what: what.into() });
            }
        }
        if restored {
            leaves.sync()?;
        }
        Ok(catalog.apply(&batch.objects, &batch.changes, watermark)?)
    }

    /// What the catalog knows a message by.
    pub(super) fn entered_message(&self, object: u64, slot: u64, message: &Message) -> Entered {
        let content = Some(self.hmac(b"content", message.content.sha256));
        let mut entered = self.entered_arrival(object, slot, &message.arrival);
        entered.parts.extend(self.part_hmacs(message.content.parts()));
        Entered { content, ..entered }
    }

    /// What the catalog knows an addition by.
    pub(super) fn entered_arrival(&self, object: u64, slot: u64, arrival: &Arrival) -> Entered {
        let evidence = arrival.evidence.as_ref().map(|evidence| self.hmac(b"evidence", evidence.sha256()));
        Entered { object, slot, content: None, evidence, parts: self.part_hmacs(arrival.parts()) }
    }

    fn part_hmacs<'p>(
        &self,
        parts: impl Iterator<Item = &'p Part>,
    ) -> Vec<(postern_shared::crypto::digest::Digest, u64)> {
        parts.map(|part| (self.hmac(b"part", part.sha256), part.object)).collect()
    }

    /// A message's record as it lies in the packs, by the catalog.
    pub(super) fn record_place(
        &self,
        record: &RecordPlace,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, ArchiveError> {
        self.record_bytes(record.object, record.slot, record.place)
    }
}

/// The leaf of a message.
pub(super) fn message_leaf(message: &Message) -> postern_shared::crypto::digest::Digest {
    let (envelope, source) = (message.arrival.envelope_sha256(), message.arrival.source_sha256());
    leaf(message.message, message.archived, message.content.sha256, envelope, source)
}
