//! From octets to a message to be committed.

use std::io;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::{Sha256, sha256};
use postern_shared::proto::mime::fold::fold_key;
use postern_shared::proto::mime::header::Header;
use postern_shared::proto::mime::journal::{Original, Report, Unwrapped, unwrap};
use postern_shared::proto::mime::participants::{Participant, Role, participants};
use postern_shared::proto::mime::trace::{self, Trace};

use super::extract::index_fields;
use crate::archive::{
    AddressEvidence, Evidence, IndexFields, NewMessage, Octets, Placement, QUARANTINE, Source, UNASSIGNED,
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
    // What is no journal report is archived as the gateway hashed it, which was checked.
    let sha256 = trace.filter(|_| prepared.evidence.is_none()).map(|trace| trace.content_sha256);
    Ok(NewMessage { sha256, untrusted_fields, flags, internal_date, ..prepared })
}

/// Why a long message cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum LongError {
    /// It is not the one that the gateway received.
    #[error(transparent)]
    Altered(#[from] Altered),
    /// Its octets cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

/// The same of a message that is too long to be held, from its beginning; the content is left to whoever commits it, from where
/// it begins in `octets`.
pub fn prepare_long(
    head: &[u8],
    octets: &dyn Octets,
    arrival: &Arrival<'_>,
    owner: impl Fn(&str) -> Option<String>,
) -> Result<(NewMessage, u64), LongError> {
    let (trace, message) = match arrival.via {
        Via::Gateway(_) => trace::split(head),
        _ => (None, head),
    };
    let before = head.len() - message.len();
    let block = trace.as_ref().map(|_| String::from_utf8_lossy(&head[..before]).into_owned());
    let (head, before) = (message, before as u64);
    if let Some(trace) = &trace {
        check_long(trace, octets, before)?;
    }
    let source = Source {
        profile: arrival.profile.to_owned(),
        uidl: arrival.uidl.to_owned(),
        received: trace.as_ref().map(|trace| trace.received_at),
        trace: block,
    };
    let folder = match arrival.via {
        Via::Folder(placement) => Some(placement),
        _ => None,
    };
    let prepared = if Header::parse(head).fields.is_empty() {
        let quarantined =
            quarantined(head.to_vec(), trace.as_ref(), source, folder, "it has no header field");
        NewMessage { content: Vec::new(), ..quarantined }
    } else {
        let participants = participants(trace.as_ref(), None, head);
        let filed_in = place(&participants, arrival.via, owner);
        plain(Vec::new(), trace.as_ref(), source, &participants, filed_in, index_fields(head, None))
    };
    let prepared = NewMessage {
        untrusted_fields: trace::untrusted_fields(head),
        flags: arrival.flags.to_vec(),
        internal_date: arrival.internal_date,
        ..prepared
    };
    Ok((prepared, before))
}

/// Whether a message whose beginning is `head` is, or wants to be, a journal report: then it must be looked at as a whole.
pub fn may_be_report(head: &[u8], via: Via<'_>) -> bool {
    let message = match via {
        Via::Folder(_) => return false,
        Via::Gateway(_) => trace::split(head).1,
        Via::Multidrop => head,
    };
    !matches!(unwrap(message), Unwrapped::Plain)
}

/// A message of which nothing is looked at, not even its header: as it came, and for people to see to.
pub fn quarantine_unparsed(content: Vec<u8>, arrival: &Arrival<'_>, why: &str) -> NewMessage {
    let (profile, uidl) = (arrival.profile.to_owned(), arrival.uidl.to_owned());
    let source = Source { profile, uidl, received: None, trace: None };
    let mut filed_in = vec![Placement { archive: QUARANTINE.into(), folder: "Raw".into() }];
    if let Via::Folder(placement) = arrival.via {
        filed_in.push(placement.clone());
    }
    NewMessage {
        quarantined: Some(why.to_owned()),
        flags: arrival.flags.to_vec(),
        internal_date: arrival.internal_date,
        ..plain(content, None, source, &[], filed_in, IndexFields::default())
    }
}

/// [`check`] of a message behind so many octets, in pieces.
fn check_long(trace: &Trace, octets: &dyn Octets, before: u64) -> Result<(), LongError> {
    const PIECE: usize = 1024 * 1024;
    let mut left = octets.len() - before;
    if trace.content_bytes != left {
        return Err(Altered { what: "its length is another than the gateway's" }.into());
    }
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        octets.read_exact_at(&mut piece[..now], octets.len() - left)?;
        hash.update(&piece[..now]);
        left -= now as u64;
    }
    if trace.content_sha256 != hash.finish() {
        return Err(Altered { what: "its hash is another than the gateway's" }.into());
    }
    Ok(())
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
        sha256: None,
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
