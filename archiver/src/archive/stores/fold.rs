//! Folding: what arrives again is found, compared with what is here, and what is new about it is added.

use std::sync::Arc;

use postern_shared::crypto::digest::{Digest, Sha256, sha256};
use postern_shared::id::MessageId;

use super::arrive::{Arrived, Group, draft_evidence};
use super::commit::What;
use super::draft::Draft;
use super::file::State;
use super::set::{Attached, Stores};
use crate::archive::ArchiveError;
use crate::archive::message::{Evidence, Kept, Outcome};
use crate::archive::store::record::{self, Addition, Arrival, VERSION};

/// A message that is here already.
pub(super) struct Found {
    state: State,
    attached: Arc<Attached>,
    id: MessageId,
    same_content: bool,
    /// The journal report that this one arrived in is here too, as far as is known, and cannot be read.
    report_is_broken: bool,
}

impl Stores {
    /// The message it is a duplicate of, which was read and is what arrived: whoever hands it over will delete it where it came from.
    pub(super) fn find_whole(&self, arrived: &mut Arrived) -> Result<Option<Found>, ArchiveError> {
        while let Some(mut found) = self.find(arrived)? {
            let checked = match arrived.whole.filter(|(id, _)| *id == found.id) {
                Some((_, report)) => Ok(report),
                None => check(arrived, &found),
            };
            match checked {
                Ok(report_is_broken) => {
                    arrived.whole = Some((found.id, report_is_broken));
                    found.report_is_broken = report_is_broken;
                    return Ok(Some(found));
                }
                Err(why) => {
                    tracing::error!(id = %found.id, why, "a message that arrived again cannot be relied on; it is archived anew");
                    found.attached.store.forget_recent();
                    arrived.broken.push(found.id);
                }
            }
        }
        Ok(None)
    }

    fn find(&self, arrived: &Arrived) -> Result<Option<Found>, ArchiveError> {
        let stores = self.with_states();
        let is_good = |id: &MessageId| !arrived.broken.contains(id);
        for (state, attached) in &stores {
            let id = self.asked(attached, attached.store.catalog().by_content(arrived.content))?;
            if let Some(id) = id.flatten().filter(is_good) {
                return Ok(Some(Found::new(*state, attached, id, true)));
            }
        }
        let Some(fold) = arrived.fold else { return Ok(None) };
        for (state, attached) in &stores {
            let id = self.asked(attached, attached.store.catalog().by_fold(fold))?;
            if let Some(id) = id.flatten().filter(is_good) {
                return Ok(Some(Found::new(*state, attached, id, false)));
            }
        }
        Ok(None)
    }

    pub(super) fn find_in(
        &self,
        group: &Group,
        arrived: &mut Arrived,
    ) -> Result<Option<Found>, ArchiveError> {
        let found = |(attached, id): &(Arc<Attached>, MessageId), same_content| {
            Found::new(State::Current, attached, *id, same_content)
        };
        if let Some(same) = group.by_content.get(&arrived.content) {
            return Ok(Some(found(same, true)));
        }
        if let Some(known) = self.find_whole(arrived)? {
            return Ok(Some(known));
        }
        let folds = arrived.fold.and_then(|fold| group.by_fold.get(&fold));
        Ok(folds.map(|same| found(same, false)))
    }

    /// Adds what this arrival knows and the message does not know yet. `None` when its store takes nothing, or its key is not there any
    /// more.
    pub(super) fn fold(
        &self,
        group: &mut Group,
        arrived: &Arrived,
        found: &Found,
    ) -> Result<Option<Outcome>, ArchiveError> {
        let (from, to, id) = (&arrived.message, &found.attached, found.id);
        let mut known = match group.known.remove(&id) {
            Some(known) => known,
            None => {
                let known = to.store.catalog().known(id)?.unwrap_or_default();
                if to.store.keys.get(known.slot)?.is_none() {
                    return Ok(None);
                }
                known
            }
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
        let report = evidence.as_ref().map(|(hmac, _)| *hmac);
        let is_here = |hmac: &Digest| known.evidence.contains(hmac) && !found.report_is_broken;
        let evidence = evidence.filter(|(hmac, _)| !is_here(hmac));
        let is_new = !filed_in.is_empty() || !participants.is_empty() || evidence.is_some();
        if is_new && found.state == State::WriteProtected {
            group.known.insert(id, known);
            return Ok(None);
        }
        known.placements.extend(filed_in.iter().cloned());
        known.participants.extend(participants.iter().cloned());
        known.evidence.extend(evidence.as_ref().map(|(hmac, _)| *hmac));
        group.known.insert(id, known);
        let kept = Kept { id, content: found.same_content.then_some(arrived.content), report };
        if !is_new {
            return Ok(Some(Outcome::Duplicate(kept)));
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
        Ok(Some(Outcome::Duplicate(kept)))
    }
}

impl Found {
    fn new(state: State, attached: &Arc<Attached>, id: MessageId, same_content: bool) -> Self {
        Self { state, attached: Arc::clone(attached), id, same_content, report_is_broken: false }
    }
}

/// Reads a message that was found. Whether its journal report must be stored anew; why it cannot be relied on.
fn check(arrived: &Arrived, found: &Found) -> Result<bool, String> {
    let store = &found.attached.store;
    let opened = store.opened(found.id).map_err(|error| error.to_string())?;
    let opened = opened.ok_or_else(|| "there is no such message".to_owned())?;
    let is_it = match found.same_content {
        true => opened.message.content.sha256 == arrived.sha256,
        false => opened.message.fold == arrived.fold,
    };
    if !is_it {
        return Err("it is another message than the catalog says".into());
    }
    store.copy_content(&opened, &mut |_| Ok(())).map_err(|error| error.to_string())?;
    let Some(evidence) = &arrived.message.evidence else { return Ok(false) };
    let report = store.hmac(b"evidence", report_sha256(evidence, &arrived.message.content));
    let is_here = store.catalog().evidence(found.id, report).map_err(|error| error.to_string())?.is_some();
    if !is_here {
        return Ok(false);
    }
    let read = store.check_report(&opened, report);
    read.as_ref().err().into_iter().for_each(|error| {
        tracing::error!(id = %found.id, %error, "a journal report that arrived again cannot be read; it is kept anew");
        store.forget_recent();
    });
    Ok(read.is_err())
}

/// The hash of a journal report that is not put together: it may be long.
pub(super) fn report_sha256(evidence: &Evidence, content: &[u8]) -> Digest {
    match evidence {
        Evidence::Report { prefix, suffix } => {
            let mut hash = Sha256::new();
            [&**prefix, content, &**suffix].into_iter().for_each(|piece| hash.update(piece));
            hash.finish()
        }
        Evidence::Raw { report } => sha256(report),
    }
}
