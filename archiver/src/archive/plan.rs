//! What a batch will write: new messages, and what further arrivals add to those that are here.

use std::collections::HashMap;

use postern_shared::crypto::digest::{Digest, hmac_sha256, sha256};
use postern_shared::id::{MessageId, MessageIds};
use serde::Serialize;
use zeroize::Zeroizing;

use super::ArchiveError;
use super::catalog::{Change, Known};
use super::instance::Instance;
use super::message::{Evidence, IndexFields, NewMessage, Outcome};
use super::store::manifest::{
    Addition, Arrival, Content, Encoding, EvidenceParts, Manifest, Segment, StoredEvidence, VERSION,
};
use super::store::{Kind, NewObject, ObjectId, Place, leaf};

/// What a batch will write.
pub(super) struct Plan<'i> {
    instance: &'i Instance,
    ids: &'i MessageIds,
    duplicates: Zeroizing<[u8; 32]>,
    pub(super) objects: Vec<NewObject>,
    /// The object a change is stored as, and the change.
    pub(super) changes: Vec<(usize, Change)>,
    pub(super) leaves: Vec<Digest>,
    pub(super) fresh: Vec<(MessageId, IndexFields)>,
    /// What earlier messages of the batch will have made known.
    by_content: HashMap<Digest, MessageId>,
    by_fold: HashMap<Digest, MessageId>,
    known: HashMap<MessageId, Known>,
}

impl<'i> Plan<'i> {
    pub(super) fn new(instance: &'i Instance, ids: &'i MessageIds) -> Self {
        Self {
            instance,
            ids,
            duplicates: instance.derived(b"postern duplicates v1"),
            objects: Vec::new(),
            changes: Vec::new(),
            leaves: Vec::new(),
            fresh: Vec::new(),
            by_content: HashMap::new(),
            by_fold: HashMap::new(),
            known: HashMap::new(),
        }
    }

    fn hmac(&self, what: &[u8], bytes: &[u8]) -> Digest {
        let hash = sha256(bytes);
        hmac_sha256(&self.duplicates, &[what, &hash.0].concat())
    }

    pub(super) fn add(&mut self, message: NewMessage) -> Result<Outcome, ArchiveError> {
        let content = self.hmac(b"content", &message.content);
        // Only journal reports fold by their fold key: each report is kept whole beside the message it folds into.
        let fold = message.fold_key.filter(|_| message.evidence.is_some());
        let fold = fold.map(|key| hmac_sha256(&self.duplicates, &[&b"fold"[..], &key.0].concat()));
        match self.find(content, fold)? {
            None => self.archive(message, content, fold),
            Some((id, same_content)) => self.fold(message, id, same_content),
        }
    }

    /// The message it is a duplicate of, and whether that has the same octets.
    fn find(&self, content: Digest, fold: Option<Digest>) -> Result<Option<(MessageId, bool)>, ArchiveError> {
        let catalog = &self.instance.catalog;
        let same = self.by_content.get(&content).copied();
        if let Some(id) = same.map_or_else(|| catalog.by_content(content), |id| Ok(Some(id)))? {
            return Ok(Some((id, true)));
        }
        let Some(fold) = fold else { return Ok(None) };
        let folds = self.by_fold.get(&fold).copied();
        let folds = folds.map_or_else(|| catalog.by_fold(fold), |id| Ok(Some(id)))?;
        Ok(folds.map(|id| (id, false)))
    }

    fn object(&mut self, kind: Kind, bytes: &[u8]) -> Result<ObjectId, ArchiveError> {
        let object = NewObject::seal(kind, bytes).map_err(|error| ArchiveError::File {
            path: self.instance.dir.clone(),
            reason: error.to_string(),
        })?;
        let id = object.id();
        self.objects.push(object);
        Ok(id)
    }

    fn change(&mut self, kind: Kind, json: &impl Serialize, change: Change) -> Result<(), ArchiveError> {
        let json = serde_json::to_vec(json).map_err(|error| ArchiveError::File {
            path: self.instance.dir.clone(),
            reason: error.to_string(),
        })?;
        self.object(kind, &json)?;
        self.changes.push((self.objects.len() - 1, change));
        Ok(())
    }

    fn evidence(&mut self, evidence: &Evidence, hmac: Digest) -> Result<StoredEvidence, ArchiveError> {
        let parts = match evidence {
            Evidence::Report { prefix, suffix } => EvidenceParts::Around {
                prefix: self.object(Kind::Evidence, prefix)?,
                suffix: self.object(Kind::Evidence, suffix)?,
            },
            Evidence::Raw { report } => EvidenceParts::Raw { report: self.object(Kind::Evidence, report)? },
        };
        Ok(StoredEvidence { hmac, parts })
    }

    fn archive(
        &mut self,
        message: NewMessage,
        hmac: Digest,
        fold: Option<Digest>,
    ) -> Result<Outcome, ArchiveError> {
        let archived = self.instance.clock.wall();
        let id = self.ids.next(archived);
        let object = self.object(Kind::Content, &message.content)?;
        let report = message.evidence.as_ref().map(|evidence| evidence.report(&message.content));
        let report_hmac = report.map(|report| self.hmac(b"evidence", &report));
        let evidence = match (&message.evidence, report_hmac) {
            (Some(evidence), Some(hmac)) => Some(self.evidence(evidence, hmac)?),
            _ => None,
        };
        let known = Known {
            placements: message.filed_in.clone(),
            participants: message.participants.clone(),
            evidence: report_hmac.into_iter().collect(),
        };
        let content_hash = sha256(&message.content);
        let arrival = Arrival {
            mail_from: message.mail_from,
            participants: message.participants,
            filed_in: message.filed_in,
            source: message.source,
            untrusted_fields: message.untrusted_fields,
            evidence,
        };
        let leaf = leaf(id, archived, content_hash, envelope_hash(&arrival), json_hash(&arrival.source));
        let manifest = Manifest {
            version: VERSION,
            message: id,
            archived,
            content: Content {
                bytes: message.content.len() as u64,
                hmac,
                segments: vec![Segment { object, encoding: Encoding::Verbatim }],
            },
            leaf,
            fold,
            date: message.index.date,
            from: message.index.from.clone(),
            to: message.index.to.clone(),
            subject: message.index.subject.clone(),
            quarantined: message.quarantined,
            arrival,
        };
        let nowhere = Place { pack: 0, offset: 0 };
        self.change(Kind::Manifest, &manifest, Change::Archived(Box::new(manifest.clone()), nowhere))?;
        self.leaves.push(leaf);
        self.by_content.insert(hmac, id);
        self.by_fold.extend(fold.map(|fold| (fold, id)));
        self.known.insert(id, known);
        self.fresh.push((id, message.index));
        Ok(Outcome::Archived(id))
    }

    /// Adds what this arrival knows and the message does not know yet.
    fn fold(
        &mut self,
        message: NewMessage,
        id: MessageId,
        same_content: bool,
    ) -> Result<Outcome, ArchiveError> {
        let mut known = match self.known.remove(&id) {
            Some(known) => known,
            None => self.instance.catalog.known(id)?.unwrap_or_default(),
        };
        let filed_in: Vec<_> =
            message.filed_in.into_iter().filter(|placement| !known.placements.contains(placement)).collect();
        let participants: Vec<_> =
            message.participants.into_iter().filter(|who| !known.participants.contains(who)).collect();
        let report = message.evidence.as_ref().map(|evidence| evidence.report(&message.content));
        let new_report = report.and_then(|report| {
            let hmac = self.hmac(b"evidence", &report);
            (!known.evidence.contains(&hmac)).then_some((hmac, report))
        });
        known.placements.extend(filed_in.iter().cloned());
        known.participants.extend(participants.iter().cloned());
        known.evidence.extend(new_report.as_ref().map(|(hmac, _)| *hmac));
        self.known.insert(id, known);
        if filed_in.is_empty() && participants.is_empty() && new_report.is_none() {
            return Ok(Outcome::Duplicate(id));
        }
        let evidence = match (message.evidence, new_report) {
            (Some(evidence), Some((hmac, _))) if same_content => Some(self.evidence(&evidence, hmac)?),
            // Its octets differ from those archived, so the report is kept whole.
            (Some(_), Some((hmac, report))) => Some(self.evidence(&Evidence::Raw { report }, hmac)?),
            _ => None,
        };
        let addition = Addition {
            version: VERSION,
            message: id,
            added: self.instance.clock.wall(),
            arrival: Arrival {
                mail_from: message.mail_from,
                participants,
                filed_in,
                source: message.source,
                untrusted_fields: message.untrusted_fields,
                evidence,
            },
        };
        self.change(Kind::Addition, &addition, Change::Added(Box::new(addition.clone())))?;
        Ok(Outcome::Duplicate(id))
    }
}

fn envelope_hash(arrival: &Arrival) -> Digest {
    json_hash(&(&arrival.mail_from, &arrival.participants))
}

fn json_hash(value: &impl Serialize) -> Digest {
    sha256(&serde_json::to_vec(value).unwrap_or_default())
}
