//! Manifests and additions: what a message is made of, JSON, one object each. With them the catalog is rebuilt.

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::Digest;
use postern_shared::id::MessageId;
use serde::{Deserialize, Serialize};

use super::objects::ObjectId;
use crate::archive::message::{AddressEvidence, Placement, Source};

pub(in crate::archive) const VERSION: u32 = 1;

/// A message, when it was archived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct Manifest {
    pub(in crate::archive) version: u32,
    pub(in crate::archive) message: MessageId,
    pub(in crate::archive) archived: UnixMillis,
    pub(in crate::archive) content: Content,
    pub(in crate::archive) leaf: Digest,
    /// HMAC of the fold key under the instance's key.
    pub(in crate::archive) fold: Option<Digest>,
    /// Seconds since 1970, from the header.
    pub(in crate::archive) date: Option<i64>,
    pub(in crate::archive) from: String,
    pub(in crate::archive) to: String,
    pub(in crate::archive) subject: String,
    pub(in crate::archive) quarantined: Option<String>,
    #[serde(flatten)]
    pub(in crate::archive) arrival: Arrival,
}

/// What a message's octets are put together from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct Content {
    pub(in crate::archive) bytes: u64,
    /// HMAC of the octets under the instance's key: tells duplicates without telling the octets' hash.
    pub(in crate::archive) hmac: Digest,
    /// One behind the other they are the message. One segment now; an object for each MIME part later.
    pub(in crate::archive) segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct Segment {
    pub(in crate::archive) object: ObjectId,
    pub(in crate::archive) encoding: Encoding,
}

/// How an object becomes octets of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::archive) enum Encoding {
    Verbatim,
}

/// A further arrival of a message that is here already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct Addition {
    pub(in crate::archive) version: u32,
    pub(in crate::archive) message: MessageId,
    pub(in crate::archive) added: UnixMillis,
    #[serde(flatten)]
    pub(in crate::archive) arrival: Arrival,
}

/// What one arrival brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct Arrival {
    pub(in crate::archive) mail_from: Option<String>,
    pub(in crate::archive) participants: Vec<AddressEvidence>,
    pub(in crate::archive) filed_in: Vec<Placement>,
    pub(in crate::archive) source: Source,
    /// Names of the gateway's fields that the sender wrote into the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::archive) untrusted_fields: Vec<String>,
    pub(in crate::archive) evidence: Option<StoredEvidence>,
}

/// The journal report of an arrival.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct StoredEvidence {
    /// HMAC of the report under the instance's key.
    pub(in crate::archive) hmac: Digest,
    #[serde(flatten)]
    pub(in crate::archive) parts: EvidenceParts,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::archive) enum EvidenceParts {
    /// What stood before and behind the content.
    Around { prefix: ObjectId, suffix: ObjectId },
    /// The whole report.
    Raw { report: ObjectId },
}
