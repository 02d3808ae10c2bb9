//! From octets to a message to be committed.

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::sha256;
use postern_shared::proto::mime::fold::fold_key;
use postern_shared::proto::mime::header::Header;
use postern_shared::proto::mime::journal::{Original, Report, Unwrapped, unwrap};
use postern_shared::proto::mime::participants::{Participant, Role, participants};
use postern_shared::proto::mime::trace::{self, Trace};

use super::extract::index_fields;
use crate::archive::{
    AddressEvidence, Evidence, IndexFields, NewMessage, Placement, QUARANTINE, Source, UNASSIGNED,
};
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
    /// What tells whose it is.
    pub via: Via<'a>,
    /// Its flags at the source.
    pub flags: &'a [String],
    /// When it came to the source.
    pub internal_date: Option<UnixMillis>,
}

/// What tells whose a message is.
#[derive(Debug, Clone, Copy)]
pub enum Via<'a> {
    /// A gateway: its trace fields are believed and taken off, journal reports unwrapped.
    Gateway(&'a Assign),
    /// An account that gets everybody's mail: journal reports are unwrapped, and the message tells whose it is.
    Multidrop,
    /// A folder of somebody's: it is filed as it lies there.
    Folder(&'a Placement),
}

/// Makes what `raw` is into a message to be committed. `owner` tells which user an address belongs to.
pub fn prepare(
    mut raw: Vec<u8>,
    arrival: &Arrival<'_>,
    owner: impl Fn(&str) -> Option<String>,
) -> Result<NewMessage, Altered> {
    let mut trace = None;
    let mut block = None;
    // Whoever writes a message can write such fields: from anybody but a gateway they mean nothing.
    if let Via::Gateway(_) = arrival.via {
        let (found, message) = trace::split(&raw);
        if let Some(trace) = &found {
            check(trace, message)?;
        }
        let before = raw.len() - message.len();
        block = found.as_ref().map(|_| String::from_utf8_lossy(&raw[..before]).into_owned());
        trace = found;
        raw.drain(..before);
    }
    let message = raw;
    let source = Source {
        profile: arrival.profile.to_owned(),
        uidl: arrival.uidl.to_owned(),
        received: trace.as_ref().map(|trace| trace.received_at),
        trace: block,
    };
    let untrusted_fields = trace::untrusted_fields(&message);
    let folder = match arrival.via {
        Via::Folder(placement) => Some(placement),
        _ => None,
    };
    let unwrapped = if folder.is_some() { Unwrapped::Plain } else { unwrap(&message) };
    let prepared = match unwrapped {
        _ if Header::parse(&message).fields.is_empty() => {
            quarantined(message, trace.as_ref(), source, folder, "it has no header field")
        }
        Unwrapped::Malformed { why } => quarantined(message, trace.as_ref(), source, folder, why),
        Unwrapped::Plain => {
            let participants = participants(trace.as_ref(), None, &message);
            let filed_in = place(&participants, arrival.via, owner);
            let index = index_fields(&message, None);
            plain(message, trace.as_ref(), source, &participants, filed_in, index)
        }
        Unwrapped::Report(report) => {
            let original = report.original.bytes(&message);
            let participants = participants(trace.as_ref(), Some(&report.envelope), original);
            let filed_in = place(&participants, arrival.via, owner);
            journaled(message, *report, source, &participants, filed_in)
        }
    };
    let (flags, internal_date) = (arrival.flags.to_vec(), arrival.internal_date);
    Ok(NewMessage { untrusted_fields, flags, internal_date, ..prepared })
}

/// The same of a message that is too long to be held, from its beginning; the content is left to whoever commits it.
pub fn prepare_long(
    head: &[u8],
    arrival: &Arrival<'_>,
    owner: impl Fn(&str) -> Option<String>,
) -> NewMessage {
    let source = Source {
        profile: arrival.profile.to_owned(),
        uidl: arrival.uidl.to_owned(),
        received: None,
        trace: None,
    };
    let folder = match arrival.via {
        Via::Folder(placement) => Some(placement),
        _ => None,
    };
    let prepared = if Header::parse(head).fields.is_empty() {
        let quarantined = quarantined(head.to_vec(), None, source, folder, "it has no header field");
        NewMessage { content: Vec::new(), ..quarantined }
    } else {
        let participants = participants(None, None, head);
        let filed_in = place(&participants, arrival.via, owner);
        plain(Vec::new(), None, source, &participants, filed_in, index_fields(head, None))
    };
    NewMessage {
        untrusted_fields: trace::untrusted_fields(head),
        flags: arrival.flags.to_vec(),
        internal_date: arrival.internal_date,
        ..prepared
    }
}

/// Whether a message whose beginning is `head` is, or wants to be, a journal report: then it must be looked at as a whole.
pub fn may_be_report(head: &[u8]) -> bool {
    !matches!(unwrap(head), Unwrapped::Plain)
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

/// What a folder holds lies there too.
fn quarantined(
    message: Vec<u8>,
    trace: Option<&Trace>,
    source: Source,
    folder: Option<&Placement>,
    why: &str,
) -> NewMessage {
    let mut filed_in = vec![Placement { archive: QUARANTINE.into(), folder: "Raw".into() }];
    filed_in.extend(folder.cloned());
    let (participants, index) = (participants(trace, None, &message), index_fields(&message, None));
    let quarantined = Some(why.to_owned());
    NewMessage { quarantined, ..plain(message, trace, source, &participants, filed_in, index) }
}

fn plain(
    content: Vec<u8>,
    trace: Option<&Trace>,
    source: Source,
    participants: &[Participant],
    filed_in: Vec<Placement>,
    index: IndexFields,
) -> NewMessage {
    NewMessage {
        content,
        fold_key: None,
        evidence: None,
        mail_from: trace.map(|trace| trace.mail_from.clone()),
        participants: stored(participants),
        filed_in,
        internal_date: None,
        flags: Vec::new(),
        quarantined: None,
        untrusted_fields: Vec::new(),
        index,
        source,
    }
}

fn journaled(
    mut message: Vec<u8>,
    report: Report,
    source: Source,
    participants: &[Participant],
    filed_in: Vec<Placement>,
) -> NewMessage {
    let index = {
        let whole = report.clear_copy.is_some().then_some(&message[..]);
        index_fields(report.original.bytes(&message), whole)
    };
    // A decrypted copy stands behind the original, in the suffix; a decoded original can only be had from the whole.
    let (content, evidence) = match report.original {
        Original::Slice(range) => {
            let suffix = message.split_off(range.end);
            // The original stays where it is: it may be long.
            let prefix = message.drain(..range.start).collect();
            message.shrink_to_fit();
            (message, Evidence::Report { prefix, suffix })
        }
        Original::Decoded(content) => (content, Evidence::Raw { report: message }),
    };
    NewMessage {
        fold_key: fold_key(&content),
        evidence: Some(evidence),
        mail_from: report.envelope.sender,
        ..plain(content, None, source, participants, filed_in, index)
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
    via: Via<'_>,
    owner: impl Fn(&str) -> Option<String>,
) -> Vec<Placement> {
    let mut filed_in = Vec::new();
    match via {
        Via::Folder(placement) => filed_in.push(placement.clone()),
        Via::Gateway(Assign::User { user }) => {
            filed_in.push(Placement { archive: user.clone(), folder: INCOMING.into() });
        }
        Via::Gateway(Assign::Envelope {} | Assign::Account {}) | Via::Multidrop => {
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
