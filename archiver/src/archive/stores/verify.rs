//! Catalog against packs against hashes: names each message that is not what was archived.

use std::cell::RefCell;

use postern_shared::clock::UnixMillis;
use postern_shared::id::MessageId;
use serde::{Deserialize, Serialize};

use super::Watch;
use super::replay::message_leaf;
use super::store::Store;
use crate::archive::ArchiveError;
use crate::archive::catalog::{Change, Expected, RecordPlace};
use crate::archive::store::{Damage, Damages, Found, Hole, Kind, Place, Scan, StoreError};

const PAGE: usize = 200;
/// How far it has come is kept each time so many messages are read.
const SAVED_EACH: u64 = 2000;
/// One that was ended longer ago is begun anew: what it read then says nothing of now.
const GOES_ON_WITHIN_MS: u64 = 7 * 24 * 3600 * 1000;
/// Findings told one by one; the rest is counted.
const FINDINGS_MAX: usize = 10_000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The store.
    pub store: String,
    /// The message, when it is known which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// What is wrong, with file and offset where there is one.
    pub what: String,
}

/// How far a verification has come; kept so that it can go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::archive) struct Verification {
    /// The catalog's epoch: a rebuilt one numbers its messages anew.
    pub(in crate::archive) epoch: String,
    pub(in crate::archive) begun: UnixMillis,
    /// Messages up to this number are read.
    pub(in crate::archive) after: u64,
    pub(in crate::archive) messages: u64,
    /// Packs are walked up to here.
    pub(in crate::archive) pack: u64,
    pub(in crate::archive) offset: u64,
    pub(in crate::archive) packs_done: bool,
    /// Kept in a file of their own.
    #[serde(skip)]
    pub(in crate::archive) findings: Vec<Finding>,
    pub(in crate::archive) findings_left_out: u64,
}

impl Verification {
    /// Whether it can go on at `now` with a catalog of that epoch.
    pub(in crate::archive) fn goes_on(&self, epoch: &str, now: UnixMillis) -> bool {
        self.epoch == epoch && now.0.saturating_sub(self.begun.0) <= GOES_ON_WITHIN_MS
    }

    fn found(&mut self, store: &Store, message: Option<MessageId>, what: String) {
        tracing::error!(store = store.id, message = message.map(|id| id.to_string()), what, "verify");
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { store: store.id.clone(), message, what });
        } else {
            self.findings_left_out += 1;
        }
    }
}

impl Store {
    /// Goes on with a verification; `false` when it was ended before its time. `save` is given the state now and then.
    pub(in crate::archive) fn verify(
        &self,
        state: &mut Verification,
        watch: Watch<'_>,
        save: &mut dyn FnMut(&Verification) -> Result<(), ArchiveError>,
    ) -> Result<bool, ArchiveError> {
        if state.messages == 0
            && let Some(what) = self.catalog().check()?
        {
            state.found(self, None, format!("the catalog: {what}; rebuild makes it anew"));
        }
        Ok(self.verify_messages(state, watch, save)? && self.verify_packs(state, watch, save)?)
    }

    fn verify_messages(
        &self,
        state: &mut Verification,
        watch: Watch<'_>,
        save: &mut dyn FnMut(&Verification) -> Result<(), ArchiveError>,
    ) -> Result<bool, ArchiveError> {
        let what = format!("verifying messages of store {}", self.id);
        let mut expected = Expected::new()?;
        let mut unsaved = 0;
        loop {
            let catalog = self.catalog();
            let total = catalog.counts()?.messages;
            let page = catalog.records(state.after, PAGE)?;
            if page.is_empty() {
                return Ok(true);
            }
            for (seq, record) in page {
                if let Err(error) = self.verify_message(&record, &mut expected) {
                    state.found(self, Some(record.id), error.to_string());
                }
                (state.after, state.messages) = (seq, state.messages + 1);
                unsaved += 1;
                if watch(&what, state.messages, Some(total)) {
                    save(state)?;
                    return Ok(false);
                }
            }
            if unsaved >= SAVED_EACH {
                save(state)?;
                unsaved = 0;
            }
        }
    }

    /// Record, content, report, additions, leaf, and what the catalog says of a message.
    fn verify_message(&self, record: &RecordPlace, expected: &mut Expected) -> Result<(), ArchiveError> {
        let opened = self.opened_at(record)?;
        self.copy_content(&opened, &mut |_| Ok(()))?;
        self.copy_report(&opened, &mut |_| Ok(()))?;
        for addition in self.additions_of(record)? {
            for part in addition.arrival.parts() {
                if !self.part_is_whole(part) {
                    return Err(self.damaged(
                        record.place,
                        format!("part {} of a later report is damaged", part.object),
                    ));
                }
            }
        }
        let leaf = message_leaf(&opened.message);
        if self.leaf(opened.message.leaf)? != Some(leaf) {
            let (path, offset) = (self.dir.join("log/leaves"), opened.message.leaf * 32);
            let what = "the message's leaf is another one".into();
            return Err(StoreError::Damaged(Damage { path, offset, what }).into());
        }
        let Some(what) = self.difference(record, expected)? else { return Ok(()) };
        // More of it may have come between two looks at it.
        let _writing = self.writing();
        match self.difference(record, expected)?.map(|_| what) {
            Some(what) => Err(self.damaged(record.place, what)),
            None => Ok(()),
        }
    }

    /// In what the catalog says something else of a message than its record and its additions do.
    fn difference(
        &self,
        record: &RecordPlace,
        expected: &mut Expected,
    ) -> Result<Option<String>, ArchiveError> {
        let catalog = self.catalog();
        let message = self.opened_at(record)?.message;
        let id = message.message;
        let entered = self.entered_message(record.object, record.slot, &message);
        let content = entered.content;
        let mut parts: Vec<u64> = entered.parts.iter().map(|(_, object)| *object).collect();
        let mut filed = message.arrival.filed_in.clone();
        let mut changes = vec![Change::Archived(Box::new(message), entered)];
        for (object, addition) in self.numbered_additions_of(record)? {
            let entered = self.entered_arrival(object, record.slot, &addition.arrival);
            parts.extend(entered.parts.iter().map(|(_, object)| *object));
            filed.extend(addition.arrival.filed_in.iter().cloned());
            changes.push(Change::Added(Box::new(addition), entered));
        }
        let other =
            |what: &str| format!("the catalog has other {what} of it than its record; rebuild makes it anew");
        if let Some(table) = catalog.rows(id)?.difference(&expected.rows(id, &changes)?) {
            return Ok(Some(other(table)));
        }
        if catalog.has_other_uid(&filed)? {
            return Ok(Some(other("UIDs")));
        }
        if !catalog.parts_not_kept(id, &parts)?.is_empty() {
            return Ok(Some(other("parts")));
        }
        // Octets that were archived twice are found by the newer message.
        let is_found = content.map_or(Ok(None), |content| catalog.by_content(content))?.is_some();
        Ok((!is_found).then(|| "the catalog does not find it by its octets; rebuild makes it anew".into()))
    }

    /// What is known of and is not there, or is there and not known: by catalog, packs and log.
    fn verify_lost(&self, state: &mut Verification) -> Result<(), ArchiveError> {
        let catalog = self.catalog();
        let mut after = 0;
        loop {
            let page = catalog.without_record(after, PAGE)?;
            let Some((last, _)) = page.last().copied() else { break };
            for (_, id) in page {
                let what = "its record is in no pack; rebuild may find it".to_owned();
                state.found(self, Some(id), what);
            }
            after = last;
        }
        // No commit is under way.
        let leaves = self.leaves();
        let lost = self.lost(&*catalog, leaves)?;
        for (number, place) in &lost.records {
            let what = format!(
                "{} at byte {}: object {number} belongs to no message in the catalog: its key is damaged, or rebuild enters it",
                self.packs.path(*place).display(),
                place.offset
            );
            state.found(self, None, what);
        }
        for damage in self.told_leaves(&lost) {
            state.found(self, None, damage.to_string());
        }
        Ok(())
    }

    /// Every octet of every pack; and that the catalog has what is in them.
    fn verify_packs(
        &self,
        state: &mut Verification,
        watch: Watch<'_>,
        save: &mut dyn FnMut(&Verification) -> Result<(), ArchiveError>,
    ) -> Result<bool, ArchiveError> {
        if state.packs_done {
            return Ok(true);
        }
        let what = format!("verifying packs of store {}", self.id);
        let catalog = self.catalog();
        let (total, until) = (self.packs.total_bytes(), catalog.watermark()?);
        let ended = std::cell::Cell::new(false);
        let damage = RefCell::new(Damages::default());
        let tell = |hole: Hole| damage.borrow_mut().push(hole.damage);
        let mut failed = None;
        let mut at = Place { pack: state.pack, offset: state.offset };
        let mut done = 0;
        let cancelled = || ended.get();
        // What is being written while we look is not damaged.
        let mut scan = Scan { cut_torn_tail: false, until: Some(until), tell: &tell, cancelled: &cancelled };
        let scanned = self.packs.scan(at, &mut scan, &mut |Found { stored, behind, .. }| {
            let (number, place) = (stored.header.number, stored.place);
            match catalog.object(number) {
                // Twice, because it was moved.
                Ok(Some(_)) => {}
                // Left behind in a pack that a compaction was about to remove.
                Ok(None) if stored.header.kind == Kind::Part => {}
                Ok(None) => {
                    let what = format!(
                        "{} at byte {}: object {number} is not in the catalog; rebuild enters it",
                        self.packs.path(place).display(),
                        place.offset
                    );
                    state.found(self, None, what);
                }
                Err(error) => {
                    failed = Some(error);
                    return Err(StoreError::Cancelled);
                }
            }
            at = behind;
            done += stored.header.record_bytes();
            ended.set(watch(&what, done, Some(total)));
            Ok(())
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        scanned?;
        let damage = damage.into_inner();
        for damage in damage.told() {
            state.found(self, None, damage.to_string());
        }
        state.findings_left_out += damage.left_out();
        if !ended.get() {
            self.verify_lost(state)?;
        }
        (state.pack, state.offset, state.packs_done) = (at.pack, at.offset, !ended.get());
        save(state)?;
        Ok(state.packs_done)
    }
}
