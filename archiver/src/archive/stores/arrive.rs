//! Batches of messages to groups that are written: prepared side by side, folded and written one group after the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::crypto::digest::{Digest, Sha256, sha256};
use postern_shared::id::MessageId;

use super::commit::{Item, What};
use super::draft::{Draft, sha256_of};
use super::file::State;
use super::set::{Attached, Stores};
use crate::archive::ArchiveError;
use crate::archive::catalog::Known;
use crate::archive::message::{Evidence, NewMessage, Outcome};
use crate::archive::octets::Octets;
use crate::archive::store::StoreError;
use crate::archive::store::record::{self, Addition, Arrival, Content, Message, VERSION};

/// Batches waiting for their group.
#[derive(Debug, Default)]
pub(in crate::archive) struct Commits {
    next: AtomicU64,
    waiting: Mutex<Vec<(u64, Vec<Arrived>)>>,
    done: Mutex<HashMap<u64, Result<Vec<Outcome>, ArchiveError>>>,
    leading: Mutex<()>,
}

/// A message on its way.
struct Arrived {
    message: NewMessage,
    /// Its octets, when they are not in the message.
    long: Option<Arc<dyn Octets>>,
    sha256: Digest,
    content: Digest,
    fold: Option<Digest>,
    /// A message with the same octets that cannot be read.
    broken: Option<MessageId>,
    prepared: Option<Prepared>,
}

impl std::fmt::Debug for Arrived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arrived({})", self.content)
    }
}

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
struct Group {
    items: Vec<(Arc<Attached>, Vec<Item>)>,
    by_content: HashMap<Digest, (Arc<Attached>, MessageId)>,
    by_fold: HashMap<Digest, (Arc<Attached>, MessageId)>,
    known: HashMap<MessageId, Known>,
}

impl Group {
    fn push(&mut self, to: &Arc<Attached>, item: Item) {
        match self.items.iter_mut().find(|(attached, _)| Arc::ptr_eq(attached, to)) {
            Some((_, items)) => items.push(item),
            None => self.items.push((Arc::clone(to), vec![item])),
        }
    }
}

/// A message that is here already.
struct Found {
    state: State,
    attached: Arc<Attached>,
    id: MessageId,
    same_content: bool,
}

impl Stores {
    /// Archives a batch: all of it is durable when this returns `Ok`. Batches that come meanwhile are written together.
    pub(in crate::archive) fn commit(
        &self,
        commits: &Commits,
        batch: Vec<(NewMessage, Option<Arc<dyn Octets>>)>,
    ) -> Result<Vec<Outcome>, ArchiveError> {
        let arrived = self.prepare_all(batch)?;
        let ticket = commits.next.fetch_add(1, Ordering::Relaxed);
        commits.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, arrived));
        let _leading = commits.leading.lock().unwrap_or_else(PoisonError::into_inner);
        let done = || commits.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = done().remove(&ticket) {
            return result;
        }
        let mut group = std::mem::take(&mut *commits.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let together = self.write(group.iter_mut().flat_map(|(_, batch)| batch));
        let alone = group.len() == 1;
        let mut outcomes = together.map(Vec::into_iter);
        for (number, mut batch) in group {
            let result = match &mut outcomes {
                Ok(outcomes) => Ok(outcomes.by_ref().take(batch.len()).collect()),
                // What is wrong with one of them must not fail the others.
                Err(_) if !alone => self.write(&mut batch),
                Err(_) => Ok(Vec::new()),
            };
            done().insert(number, result);
        }
        let mine = done().remove(&ticket);
        match (outcomes, mine) {
            (Err(error), _) if alone => Err(error),
            (_, Some(result)) => result,
            // Whoever led before fell over with this batch in its hands: nothing may be taken for archived.
            (Err(error), None) => Err(error),
            (Ok(_), None) => Err(StoreError::Poisoned.into()),
        }
    }

    /// Prepares messages on all cores.
    fn prepare_all(
        &self,
        batch: Vec<(NewMessage, Option<Arc<dyn Octets>>)>,
    ) -> Result<Vec<Arrived>, ArchiveError> {
        const SIDE_BY_SIDE_MIN: usize = 8;
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        if batch.len() < SIDE_BY_SIDE_MIN || cores == 1 {
            return batch.into_iter().map(|(message, long)| self.arrived(message, long)).collect();
        }
        let length = batch.len().div_ceil(cores);
        let mut stretches = Vec::new();
        let mut left = batch;
        while !left.is_empty() {
            let later = left.split_off(left.len().min(length));
            stretches.push(std::mem::replace(&mut left, later));
        }
        let prepared: Vec<Result<Vec<Arrived>, ArchiveError>> = std::thread::scope(|scope| {
            let prepare = |stretch: Vec<(NewMessage, Option<Arc<dyn Octets>>)>| {
                stretch.into_iter().map(|(message, long)| self.arrived(message, long)).collect()
            };
            let threads: Vec<_> =
                stretches.into_iter().map(|stretch| scope.spawn(move || prepare(stretch))).collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(prepared) => prepared,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect()
        });
        let mut all = Vec::new();
        for stretch in prepared {
            all.extend(stretch?);
        }
        Ok(all)
    }

    fn arrived(&self, message: NewMessage, long: Option<Arc<dyn Octets>>) -> Result<Arrived, ArchiveError> {
        let current = self.current()?;
        let store = &current.store;
        let sha256 = match &long {
            Some(long) => sha256_of(store, &**long, 0..long.len())?,
            None => sha256(&message.content),
        };
        let content = store.hmac(b"content", sha256);
        // Only journal reports fold by their fold key: each report is kept whole beside the message it folds into.
        let fold = message.fold_key.filter(|_| message.evidence.is_some() && long.is_none());
        let fold = fold.map(|key| store.hmac(b"fold", key));
        let mut arrived = Arrived { message, long, sha256, content, fold, broken: None, prepared: None };
        match self.find(&arrived)? {
            Some(found) if found.same_content => {
                // Whoever hands it over will delete it where it came from, so what is here must be what arrived.
                if !matches!(found.attached.store.check_message(found.id), Ok(true)) {
                    tracing::error!(id = %found.id, "a message that arrived again cannot be read here; it is archived anew");
                    arrived.broken = Some(found.id);
                    self.prepare(&mut arrived)?;
                }
            }
            Some(_) => {}
            None => self.prepare(&mut arrived)?,
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

    /// The message it is a duplicate of.
    fn find(&self, arrived: &Arrived) -> Result<Option<Found>, ArchiveError> {
        let stores = self.with_states();
        for (state, attached) in &stores {
            let id = attached.store.catalog().by_content(arrived.content)?;
            if let Some(id) = id.filter(|id| Some(*id) != arrived.broken) {
                return Ok(Some(Found {
                    state: *state,
                    attached: Arc::clone(attached),
                    id,
                    same_content: true,
                }));
            }
        }
        let Some(fold) = arrived.fold else { return Ok(None) };
        for (state, attached) in &stores {
            if let Some(id) = attached.store.catalog().by_fold(fold)?.filter(|id| Some(*id) != arrived.broken)
            {
                return Ok(Some(Found {
                    state: *state,
                    attached: Arc::clone(attached),
                    id,
                    same_content: false,
                }));
            }
        }
        Ok(None)
    }

    fn find_in(&self, group: &Group, arrived: &Arrived) -> Result<Option<Found>, ArchiveError> {
        let found = |(attached, id): &(Arc<Attached>, MessageId), same_content| Found {
            state: State::Current,
            attached: Arc::clone(attached),
            id: *id,
            same_content,
        };
        if let Some(same) = group.by_content.get(&arrived.content) {
            return Ok(Some(found(same, true)));
        }
        if let Some(known) = self.find(arrived)? {
            return Ok(Some(known));
        }
        let folds = arrived.fold.and_then(|fold| group.by_fold.get(&fold));
        Ok(folds.map(|same| found(same, false)))
    }

    /// Writes a group. One at a time.
    fn write<'a>(
        &self,
        arrived: impl IntoIterator<Item = &'a mut Arrived>,
    ) -> Result<Vec<Outcome>, ArchiveError> {
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
            let mut writing = to.store.writing();
            to.store.write_group(&mut writing, items, &|placement| self.next_uid(placement))?;
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

    fn archive(
        &self,
        group: &mut Group,
        arrived: &mut Arrived,
        fresh: &mut Vec<(Arc<Attached>, MessageId, crate::archive::IndexFields)>,
    ) -> Result<Outcome, ArchiveError> {
        if arrived.prepared.is_none() {
            self.prepare(arrived)?;
        }
        let Some(Prepared { to, draft, content, evidence }) = arrived.prepared.take() else {
            return Err(ArchiveError::NoCurrentStore);
        };
        let archived = self.clock.wall();
        let id = self.ids.next(archived);
        let from = &arrived.message;
        let known = Known {
            slot: 0,
            placements: from.filed_in.clone(),
            participants: from.participants.clone(),
            evidence: evidence.iter().map(|evidence| to.store.hmac(b"evidence", evidence.sha256())).collect(),
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
        Ok(Outcome::Archived(id))
    }

    fn item(
        &self,
        from: &NewMessage,
        draft: Draft,
        what: What,
        filed_in: Vec<crate::archive::Placement>,
    ) -> Item {
        let internal_date = from.internal_date.or(from.source.received).unwrap_or_else(|| self.clock.wall());
        Item { draft, what, filed_in, internal_date, flags: from.flags.clone() }
    }

    /// Adds what this arrival knows and the message does not know yet. `None` when its store takes nothing.
    fn fold(
        &self,
        group: &mut Group,
        arrived: &Arrived,
        found: &Found,
    ) -> Result<Option<Outcome>, ArchiveError> {
        let (from, to, id) = (&arrived.message, &found.attached, found.id);
        let mut known = match group.known.remove(&id) {
            Some(known) => known,
            None => to.store.catalog().known(id)?.unwrap_or_default(),
        };
        let filed_in: Vec<_> =
            from.filed_in.iter().filter(|placement| !known.placements.contains(placement)).cloned().collect();
        let participants: Vec<_> =
            from.participants.iter().filter(|who| !known.participants.contains(who)).cloned().collect();
        let mut draft = Draft::default();
        let evidence = match &from.evidence {
            Some(evidence) if found.same_content => {
                Some(draft_evidence(&mut draft, to, evidence, &from.content)?)
            }
            // Its octets differ from those archived, so the report is kept whole.
            Some(evidence) => {
                let report = evidence.report(&from.content);
                let content = draft.message(&to.store, &report, sha256(&report))?;
                Some(record::Evidence::Report(content))
            }
            None => None,
        };
        let evidence = evidence.map(|evidence| (to.store.hmac(b"evidence", evidence.sha256()), evidence));
        let evidence = evidence.filter(|(hmac, _)| !known.evidence.contains(hmac));
        let is_new = !filed_in.is_empty() || !participants.is_empty() || evidence.is_some();
        if is_new && found.state == State::WriteProtected {
            group.known.insert(id, known);
            return Ok(None);
        }
        known.placements.extend(filed_in.iter().cloned());
        known.participants.extend(participants.iter().cloned());
        known.evidence.extend(evidence.as_ref().map(|(hmac, _)| *hmac));
        group.known.insert(id, known);
        if !is_new {
            return Ok(Some(Outcome::Duplicate(id)));
        }
        let addition = Addition {
            version: VERSION,
            message: id,
            added: self.clock.wall(),
            arrival: Arrival {
                mail_from: from.mail_from.clone(),
                participants,
                filed_in: Vec::new(),
                source: from.source.clone(),
                untrusted_fields: from.untrusted_fields.clone(),
                evidence: evidence.map(|(_, evidence)| evidence),
            },
        };
        let draft = if addition.arrival.evidence.is_some() { draft } else { Draft::default() };
        let item = self.item(from, draft, What::More(Box::new(addition)), filed_in);
        group.push(to, item);
        Ok(Some(Outcome::Duplicate(id)))
    }
}

/// A journal report's octets around the content, or as a whole.
fn draft_evidence(
    draft: &mut Draft,
    to: &Attached,
    evidence: &Evidence,
    content: &[u8],
) -> Result<record::Evidence, ArchiveError> {
    Ok(match evidence {
        Evidence::Report { prefix, suffix } => {
            // Not put together: it may be long.
            let mut hash = Sha256::new();
            [&**prefix, content, &**suffix].into_iter().for_each(|piece| hash.update(piece));
            record::Evidence::Around {
                sha256: hash.finish(),
                prefix: draft.verbatim(&to.store, prefix)?,
                suffix: draft.verbatim(&to.store, suffix)?,
            }
        }
        Evidence::Raw { report } => {
            record::Evidence::Report(draft.message(&to.store, report, sha256(report))?)
        }
    })
}
