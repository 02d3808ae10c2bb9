//! Catalog against packs against hashes: names each message that is not what was archived.

use postern_shared::crypto::digest::Digest;
use postern_shared::id::MessageId;
use serde::{Deserialize, Serialize};

use super::Watch;
use super::replay::message_leaf;
use super::store::Store;
use crate::archive::ArchiveError;
use crate::archive::catalog::RecordPlace;
use crate::archive::store::{Damage, Found, Kind, Place, Scan, StoreError};

const PAGE: usize = 200;
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
    /// Messages up to this number are read.
    pub(in crate::archive) after: u64,
    pub(in crate::archive) messages: u64,
    /// Packs are walked up to here.
    pub(in crate::archive) pack: u64,
    pub(in crate::archive) offset: u64,
    pub(in crate::archive) packs_done: bool,
    pub(in crate::archive) findings: Vec<Finding>,
    pub(in crate::archive) findings_left_out: u64,
}

impl Verification {
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
        loop {
            let catalog = self.catalog();
            let total = catalog.counts()?.messages;
            let page = catalog.records(state.after, PAGE)?;
            if page.is_empty() {
                if state.messages < total {
                    let missing = total - state.messages;
                    state.found(
                        self,
                        None,
                        format!("{missing} messages have no record in any pack; rebuild may find them"),
                    );
                    state.messages = total;
                }
                return Ok(true);
            }
            for (seq, record) in page {
                if let Err(error) = self.verify_message(&record) {
                    state.found(self, Some(record.id), error.to_string());
                }
                (state.after, state.messages) = (seq, state.messages + 1);
                if watch(&what, state.messages, Some(total)) {
                    save(state)?;
                    return Ok(false);
                }
            }
            save(state)?;
        }
    }

    /// Record, content, report, additions and leaf of a message.
    fn verify_message(&self, record: &RecordPlace) -> Result<(), ArchiveError> {
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
        let content = self.hmac(b"content", opened.message.content.sha256);
        self.verify_entered(record, content)?;
        let leaf = message_leaf(&opened.message);
        if self.leaf(opened.message.leaf)? == Some(leaf) {
            return Ok(());
        }
        let (path, offset) = (self.dir.join("log/leaves"), opened.message.leaf * 32);
        Err(StoreError::Damaged(Damage { path, offset, what: "the message's leaf is another one".into() })
            .into())
    }

    fn verify_entered(&self, record: &RecordPlace, content: Digest) -> Result<(), ArchiveError> {
        let catalog = self.catalog();
        // Octets that were archived twice are found by the newer message.
        if catalog.by_content(content)?.is_some() && catalog.known(record.id)?.is_some() {
            return Ok(());
        }
        Err(self.damaged(record.place, "the catalog knows it by other octets; rebuild makes it anew".into()))
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
        let mut damage = Vec::new();
        let mut missing = Vec::new();
        let mut failed = None;
        let mut at = Place { pack: state.pack, offset: state.offset };
        let mut done = 0;
        let cancelled = || ended.get();
        let mut scan = Scan { cut_torn_tail: false, damage: &mut damage, cancelled: &cancelled };
        let scanned = self.packs.scan(at, &mut scan, &mut |Found { stored, behind, .. }| {
            match catalog.object(stored.header.number) {
                // Twice, because it was moved.
                Ok(Some(_)) => {}
                Ok(None) if stored.place >= until => {}
                Ok(None) => missing.push((stored.header.kind, stored.header.number, stored.place)),
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
        for damage in damage.into_iter().filter(|damage| self.is_below(damage, until)) {
            state.found(self, None, damage.to_string());
        }
        for (_, number, place) in missing.into_iter().filter(|(kind, ..)| *kind != Kind::Part) {
            let what = format!(
                "{} at byte {}: object {number} is not in the catalog; rebuild enters it",
                self.packs.path(place).display(),
                place.offset
            );
            state.found(self, None, what);
        }
        (state.pack, state.offset, state.packs_done) = (at.pack, at.offset, !ended.get());
        save(state)?;
        Ok(state.packs_done)
    }

    /// What is being written while we look is not damaged.
    fn is_below(&self, damage: &Damage, until: Place) -> bool {
        damage.path != self.packs.path(until) || damage.offset < until.offset
    }
}
