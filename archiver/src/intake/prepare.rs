//! From octets to a message to be committed.

use postern_shared::crypto::digest::sha256;
use postern_shared::proto::mime::fold::fold_key;
use postern_shared::proto::mime::header::Header;
use postern_shared::proto::mime::journal::{Original, Report, Unwrapped, unwrap};
use postern_shared::proto::mime::participants::{Participant, Role, participants};
use postern_shared::proto::mime::trace::{self, Trace};

use super::extract::index_fields;
use crate::archive::{AddressEvidence, Evidence, NewMessage, Placement, QUARANTINE, Source, UNASSIGNED};
use crate::profiles::Assign;

const INCOMING: &str = "Journal/Incoming";
const OUTGOING: &str = "Journal/Outgoing";

/// The message is not the one that the gateway received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message was altered on its way: {what}; it stays at the source")]
pub struct Altered {
    what: &'static str,
}

/// How and where a message came.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The profile that pulled it.
    pub profile: &'a str,
    /// Its unique-id at the source.
    pub uidl: &'a str,
    /// Whose it becomes.
    pub assign: &'a Assign,
}

/// Makes what `raw` is into a message to be committed. `owner` tells which user an address belongs to.
pub fn prepare(
    raw: &[u8],
    arrival: &Arrival<'_>,
    owner: impl Fn(&str) -> Option<String>,
) -> Result<NewMessage, Altered> {
    let (trace, message) = trace::split(raw);
    if let Some(trace) = &trace {
        check(trace, message)?;
    }
    let block = &raw[..raw.len() - message.len()];
    let source = Source {
        profile: arrival.profile.to_owned(),
        uidl: arrival.uidl.to_owned(),
        received: trace.as_ref().map(|trace| trace.received_at),
        trace: trace.as_ref().map(|_| String::from_utf8_lossy(block).into_owned()),
    };
    let prepared = match unwrap(message) {
        _ if Header::parse(message).fields.is_empty() => {
            quarantined(message, trace.as_ref(), source, "it has no header field")
        }
        Unwrapped::Malformed { why } => quarantined(message, trace.as_ref(), source, why),
        Unwrapped::Plain => {
            let participants = participants(trace.as_ref(), None, message);
            let filed_in = place(&participants, arrival.assign, owner);
            plain(message, trace.as_ref(), source, &participants, filed_in)
        }
        Unwrapped::Report(report) => {
            let original = report.original.bytes(message);
            let participants = participants(trace.as_ref(), Some(&report.envelope), original);
            let filed_in = place(&participants, arrival.assign, owner);
            let content = original.to_vec();
            journaled(message, content, &report, source, &participants, filed_in)
        }
    };
    Ok(NewMessage { untrusted_fields: trace::untrusted_fields(message), ..prepared })
}

fn check(trace: &Trace, message: &[u8]) -> Result<(), Altered> {
    if trace.content_bytes != message.len() as u64 {
        return Err(Altered { what: "its length is another than the gateway's" });
    }
    if trace.content_sha256 != sha256(message) {
        return Err(Altered { what: "its hash is another than the gateway's" });
    }
    Ok(())
}

fn quarantined(message: &[u8], trace: Option<&Trace>, source: Source, why: &str) -> NewMessage {
    NewMessage {
        content: message.to_vec(),
        fold_key: None,
        evidence: None,
        mail_from: trace.map(|trace| trace.mail_from.clone()),
        participants: stored(&participants(trace, None, message)),
        filed_in: vec![Placement { archive: QUARANTINE.into(), folder: "Raw".into() }],
        internal_date: None,
        flags: Vec::new(),
        quarantined: Some(why.to_owned()),
        untrusted_fields: Vec::new(),
        index: index_fields(message, None),
        source,
    }
}

fn plain(
    message: &[u8],
    trace: Option<&Trace>,
    source: Source,
    participants: &[Participant],
    filed_in: Vec<Placement>,
) -> NewMessage {
    NewMessage {
        content: message.to_vec(),
        fold_key: None,
        evidence: None,
        mail_from: trace.map(|trace| trace.mail_from.clone()),
        participants: stored(participants),
        filed_in,
        internal_date: None,
        flags: Vec::new(),
        quarantined: None,
        untrusted_fields: Vec::new(),
        index: index_fields(message, None),
        source,
    }
}

fn journaled(
    message: &[u8],
    content: Vec<u8>,
    report: &Report,
    source: Source,
    participants: &[Participant],
    filed_in: Vec<Placement>,
) -> NewMessage {
    // A decrypted copy stands behind the original, in the suffix; a decoded original can only be had from the whole.
    let evidence = match &report.original {
        Original::Slice(range) => Evidence::Report {
            prefix: message[..range.start].to_vec(),
            suffix: message[range.end..].to_vec(),
        },
        Original::Decoded(_) => Evidence::Raw { report: message.to_vec() },
    };
    NewMessage {
        fold_key: fold_key(&content),
        evidence: Some(evidence),
        mail_from: report.envelope.sender.clone(),
        participants: stored(participants),
        filed_in,
        internal_date: None,
        flags: Vec::new(),
        quarantined: None,
        untrusted_fields: Vec::new(),
        index: index_fields(&content, Some(message)),
        source,
        content,
    }
}

fn stored(participants: &[Participant]) -> Vec<AddressEvidence> {
    participants
        .iter()
        .map(|who| AddressEvidence {
            address: who.address.clone(),
            role: who.role.as_str().into(),
            evidence: who.evidence.as_str().into(),
            expanded_from: who.expanded_from.clone(),
        })
        .collect()
}

fn place(
    participants: &[Participant],
    assign: &Assign,
    owner: impl Fn(&str) -> Option<String>,
) -> Vec<Placement> {
    let mut filed_in = Vec::new();
    match assign {
        Assign::User { user } => filed_in.push(Placement { archive: user.clone(), folder: INCOMING.into() }),
        Assign::Envelope {} => {
            for who in participants {
                let Some(archive) = owner(&who.address) else { continue };
                let folder = if who.role == Role::Sender { OUTGOING } else { INCOMING };
                filed_in.push(Placement { archive, folder: folder.into() });
            }
        }
    }
    filed_in.sort();
    filed_in.dedup();
    if filed_in.is_empty() {
        filed_in.push(Placement { archive: UNASSIGNED.into(), folder: "Journal".into() });
    }
    filed_in
}
