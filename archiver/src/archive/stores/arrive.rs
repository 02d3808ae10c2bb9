//! Batches of messages to groups that are written: prepared side by side, folded and written one group after the other.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::id::MessageId;

use super::commit::{Item, What};
use super::draft::{Draft, sha256_of};
use super::file::State;
use super::fold::report_sha256;
use super::set::{Attached, Stores};
use crate::archive::ArchiveError;
use crate::archive::catalog::Known;
use crate::archive::message::{Evidence, Kept, NewMessage, Outcome, Placement};
use crate::archive::octets::Octets;
use crate::archive::store::StoreError;
use crate::archive::store::record::{self, Arrival, Content, Message, VERSION};

/// Batches waiting for their group.
#[derive(Debug, Default)]
pub(in crate::archive) struct Commits {
    next: AtomicU64,
    pub(super) waiting: Mutex<Vec<(u64, Vec<Arrived>)>>,
    pub(super) done: Mutex<HashMap<u64, Result<Vec<Outcome>, ArchiveError>>>,
    leading: Mutex<()>,
}

/// A message on its way.
pub(super) struct Arrived {
    pub(super) message: NewMessage,
    /// Its octets, when they are not in the message.
    long: Option<Arc<dyn Octets>>,
    pub(super) sha256: Digest,
    pub(super) content: Digest,
    pub(super) fold: Option<Digest>,
    /// Messages that it cannot be folded into: they cannot be read, or are not what they are listed as.
    pub(super) broken: Vec<MessageId>,
    /// One that it can be folded into, which was read, and whether the journal report in which this one arrived was read with it.
    pub(super) whole: Option<(MessageId, bool)>,
    prepared: Option<Prepared>,
}

impl std::fmt::Debug for Arrived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arrived({})", self.content)
    }
}

/// A message cut, compressed and sealed, which is written when it is its turn.
#[derive(Debug)]
pub struct Ready(Arrived);

/// What can be done before it is its turn.
struct Prepared {
    to: Arc<Attached>,
    draft: Draft,
    content: Content,
    evidence: Option<record::Evidence>,
}

impl Arrived {
    fn octets(&self) -> &dyn Octets {
        match &self.long {
            Some(long) => &**long,
            None => &self.message.content,
        }
    }
}

/// What a group will write, store by store.
#[derive(Default)]
pub(super) struct Group {
    items: Vec<(Arc<Attached>, Vec<Item>)>,
    pub(super) by_content: HashMap<Digest, (Arc<Attached>, MessageId)>,
    pub(super) by_fold: HashMap<Digest, (Arc<Attached>, MessageId)>,
    pub(super) known: HashMap<MessageId, Known>,
}

impl Group {
    pub(super) fn push(&mut self, to: &Arc<Attached>, item: Item) {
        match self.items.iter_mut().find(|(attached, _)| Arc::ptr_eq(attached, to)) {
            Some((_, items)) => items.push(item),
            None => self.items.push((Arc::clone(to), vec![item])),
        }
    }
}

impl Stores {
    /// Does for a message what can be done before it is its turn. Its octets are given when they are not in the message.
    pub(in crate::archive) fn ready(
        &self,
        message: NewMessage,
        long: Option<Arc<dyn Octets>>,
    ) -> Result<Ready, ArchiveError> {
        self.arrived(message, long).map(Ready)
    }

    /// Archives a batch: all of it is durable when this returns `Ok`. Batches that come meanwhile are written together.
    pub(in crate::archive) fn commit(
        &self,
        commits: &Commits,
        batch: Vec<Ready>,
    ) -> Result<Vec<Outcome>, ArchiveError> {
        let arrived = batch.into_iter().map(|Ready(arrived)| arrived).collect();
        let ticket = commits.next.fetch_add(1, Ordering::Relaxed);
        commits.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, arrived));
        let _leading = commits.leading.lock().unwrap_or_else(PoisonError::into_inner);
        let done = commits.done.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
        if let Some(result) = done {
            return result;
        }
        self.lead(commits, ticket)
    }

    /// Writes what waits, and tells everybody what became of theirs; what became of `ticket`'s.
    pub(super) fn lead(&self, commits: &Commits, ticket: u64) -> Result<Vec<Outcome>, ArchiveError> {
        let group = std::mem::take(&mut *commits.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut group: Vec<(u64, Vec<Arrived>)> = group;
        let together = self.write(group.iter_mut().flat_map(|(_, batch)| batch));
        let is_mine_alone = matches!(&group[..], [(number, _)] if *number == ticket);
        let mut outcomes = match together {
            Err(error) if is_mine_alone => return Err(error),
            together => together.map(Vec::into_iter),
        };
        // Whoever led before may have fallen over with this batch in its hands: then nothing may be taken for archived.
        let mut mine = Err(StoreError::Poisoned.into());
        for (number, mut batch) in group {
            let result = match &mut outcomes {
                Ok(outcomes) => Ok(outcomes.by_ref().take(batch.len()).collect()),
                // What is wrong with one of them must not fail the others.
                Err(_) => self.write(&mut batch),
            };
            if number == ticket {
                mine = result;
            } else {
                commits.done.lock().unwrap_or_else(PoisonError::into_inner).insert(number, result);
            }
        }
        mine
    }

    pub(super) fn arrived(
        &self,
        message: NewMessage,
        long: Option<Arc<dyn Octets>>,
    ) -> Result<Arrived, ArchiveError> {
        let current = self.current()?;
        let store = &current.store;
        let sha256 = match &long {
            Some(long) => sha256_of(store, &**long, 0..long.len())?,
            None => message.sha256.unwrap_or_else(|| sha256(&message.content)),
        };
        let content = store.hmac(b"content", sha256);
        // Only journal reports fold by their fold key: each report is kept whole beside the message it folds into.
        let fold = message.fold_key.filter(|_| message.evidence.is_some() && long.is_none());
        let fold = fold.map(|key| store.hmac(b"fold", key));
        let mut arrived =
            Arrived { message, long, sha256, content, fold, broken: Vec::new(), whole: None, prepared: None };
        if self.find_whole(&mut arrived)?.is_none() {
            self.prepare(&mut arrived)?;
        }
        Ok(arrived)
    }

    fn prepare(&self, arrived: &mut Arrived) -> Result<(), ArchiveError> {
        let to = self.current()?;
        let mut draft = Draft::default();
        let content = draft.message(&to.store, arrived.octets(), arrived.sha256)?;
        let evidence = match &arrived.message.evidence {
            Some(evidence) => Some(draft_evidence(&mut draft, &to, evidence, &arrived.message.content)?),
            None => None,
        };
        arrived.prepared = Some(Prepared { to, draft, content, evidence });
        Ok(())
    }

    /// Writes a group. One at a time.
    pub(super) fn write<'a>(
        &self,
        arrived: impl IntoIterator<Item = &'a mut Arrived>,
    ) -> Result<Vec<Outcome>, ArchiveError> {
        // No store is closed meanwhile.
        let _grouping = self.grouping();
        let mut group = Group::default();
        let mut outcomes = Vec::new();
        let mut fresh: Vec<(Arc<Attached>, MessageId, crate::archive::IndexFields)> = Vec::new();
        for arrived in arrived {
            let found = self.find_in(&group, arrived)?;
            let outcome = match found {
                Some(found) => self.fold(&mut group, arrived, &found)?,
                None => None,
            };
            let outcome = match outcome {
                Some(outcome) => outcome,
                None => self.archive(&mut group, arrived, &mut fresh)?,
            };
            outcomes.push(outcome);
        }
        for (to, items) in group.items {
            let placements: HashSet<_> = items.iter().flat_map(|item| item.filed_in.clone()).collect();
            let mut writing = to.store.writing();
            to.store.write_group(&mut writing, items, &|placement| self.next_uid(placement))?;
            drop(writing);
            self.tell_current(&to, placements)?;
        }
        for (to, id, fields) in fresh {
            to.keep_fresh(vec![(id, fields)]);
        }
        if let Err(error) = self.roll_over_when_full() {
            // What was to be written is written; the next group tries again.
            tracing::error!(%error, "another store cannot be made; the current one goes on growing");
        }
        Ok(outcomes)
    }

    /// Lets the current store's catalog know UIDs that were given in another store.
    fn tell_current(&self, to: &Attached, placements: HashSet<Placement>) -> Result<(), ArchiveError> {
        let current = self.current()?;
        if std::ptr::eq(&*current, to) {
            return Ok(());
        }
        let mut folders = Vec::new();
        for Placement { archive, folder } in placements {
            folders.extend(to.store.catalog().folder(&archive, &folder)?);
        }
        Ok(current.store.catalog().keep_folders(&folders)?)
    }

    /// Whether a store still takes what was prepared for it.
    fn takes(&self, to: &Arc<Attached>) -> bool {
        let takes = |state| matches!(state, State::Current | State::Normal);
        self.with_states().into_iter().any(|(state, open)| takes(state) && Arc::ptr_eq(&open, to))
    }

    fn archive(
        &self,
        group: &mut Group,
        arrived: &mut Arrived,
        fresh: &mut Vec<(Arc<Attached>, MessageId, crate::archive::IndexFields)>,
    ) -> Result<Outcome, ArchiveError> {
        if !arrived.prepared.as_ref().is_some_and(|prepared| self.takes(&prepared.to)) {
            self.prepare(arrived)?;
        }
        let Some(Prepared { to, draft, content, evidence }) = arrived.prepared.take() else {
            return Err(ArchiveError::NoCurrentStore);
        };
        let archived = self.clock.wall();
        let id = self.ids.next(archived);
        let from = &arrived.message;
        let report = evidence.as_ref().map(|evidence| to.store.hmac(b"evidence", evidence.sha256()));
        let known = Known {
            slot: 0,
            placements: from.filed_in.clone(),
            participants: from.participants.clone(),
            evidence: report.into_iter().collect(),
        };
        let arrival = Arrival {
            mail_from: from.mail_from.clone(),
            participants: from.participants.clone(),
            filed_in: Vec::new(),
            source: from.source.clone(),
            untrusted_fields: from.untrusted_fields.clone(),
            evidence,
        };
        let message = Message {
            version: VERSION,
            message: id,
            archived,
            leaf: 0,
            content,
            fold: arrived.fold,
            date: from.index.date,
            from: from.index.from.clone(),
            to: from.index.to.clone(),
            subject: from.index.subject.clone(),
            quarantined: from.quarantined.clone(),
            arrival,
        };
        group.by_content.insert(arrived.content, (Arc::clone(&to), id));
        group.by_fold.extend(arrived.fold.map(|fold| (fold, (Arc::clone(&to), id))));
        group.known.insert(id, known);
        fresh.push((Arc::clone(&to), id, from.index.clone()));
        let item = self.item(from, draft, What::New(Box::new(message)), from.filed_in.clone());
        group.push(&to, item);
        Ok(Outcome::Archived(Kept { id, content: Some(arrived.content), report }))
    }

    pub(super) fn item(&self, from: &NewMessage, draft: Draft, what: What, filed_in: Vec<Placement>) -> Item {
        let internal_date = from.internal_date.or(from.source.received).unwrap_or_else(|| self.clock.wall());
        Item { draft, what, filed_in, internal_date, flags: from.flags.clone() }
    }
}

/// A journal report's octets around the content, or as a whole.
pub(super) fn draft_evidence(
    draft: &mut Draft,
    to: &Attached,
    evidence: &Evidence,
    content: &[u8],
) -> Result<record::Evidence, ArchiveError> {
    let sha256 = report_sha256(evidence, content);
    Ok(match evidence {
        Evidence::Report { prefix, suffix } => record::Evidence::Around {
            sha256,
            prefix: draft.verbatim(&to.store, prefix)?,
            suffix: draft.verbatim(&to.store, suffix)?,
        },
        Evidence::Raw { report } => record::Evidence::Report(draft.message(&to.store, report, sha256)?),
    })
}
