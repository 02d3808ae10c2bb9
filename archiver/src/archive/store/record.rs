//! Message records and additions: what a message is made of. With them the catalog is rebuilt.
//!
//! A record is `length of the JSON (4) | JSON | the message's own octets`: what its segments and its evidence take from it, in
//! this order. Part keys are in it, so who destroys the key of a message destroys its ways to its parts; parts that other messages
//! use live on, through theirs.

use std::io;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::digest::{Digest, Sha256};
use postern_shared::id::MessageId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::parts::Encoding;
use crate::archive::message::{AddressEvidence, Source};

pub(in crate::archive) const VERSION: u32 = 2;

/// A message, when it was archived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct Message {
    pub(in crate::archive) version: u32,
    pub(in crate::archive) message: MessageId,
    pub(in crate::archive) archived: UnixMillis,
    /// Its leaf's number in the log, from 0.
    pub(in crate::archive) leaf: u64,
    pub(in crate::archive) content: Content,
    /// Equal for copies of one message that differ in trace fields only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::archive) fold: Option<Digest>,
    /// Seconds since 1970, from the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::archive) date: Option<i64>,
    pub(in crate::archive) from: String,
    pub(in crate::archive) to: String,
    pub(in crate::archive) subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::archive) quarantined: Option<String>,
    #[serde(flatten)]
    pub(in crate::archive) arrival: Arrival,
}

/// Octets put together from segments, one behind the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct Content {
    pub(in crate::archive) bytes: u64,
    pub(in crate::archive) sha256: Digest,
    pub(in crate::archive) segments: Vec<Segment>,
}

/// A stretch of octets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::archive) enum Segment {
    /// So many of the record's own.
    Own(u64),
    /// A part.
    Part(Part),
}

/// A part as a message uses it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct Part {
    /// The object's number.
    pub(in crate::archive) object: u64,
    /// What opens it.
    pub(in crate::archive) key: PartKey,
    /// The object's octets, and their hash.
    pub(in crate::archive) bytes: u64,
    pub(in crate::archive) sha256: Digest,
    /// How its octets become the message's; as they stand when it says nothing.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub(in crate::archive) encoding: Option<Encoding>,
}

/// A part's key; not shown.
#[derive(Clone, PartialEq)]
pub(in crate::archive) struct PartKey(pub(in crate::archive) SecretBytes);

impl std::fmt::Debug for PartKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartKey(..)")
    }
}

impl Serialize for PartKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Zeroizing::new(hex::encode(*self.0)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PartKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.as_bytes(), &mut *key).map_err(serde::de::Error::custom)?;
        Ok(Self(key))
    }
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
    pub(in crate::archive) filed_in: Vec<Filed>,
    pub(in crate::archive) source: Source,
    /// Names of the gateway's fields that the sender wrote into the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::archive) untrusted_fields: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::archive) evidence: Option<Evidence>,
}

/// Its place in a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::archive) struct Filed {
    pub(in crate::archive) archive: String,
    pub(in crate::archive) folder: String,
    /// RFC 9051 §2.3.1.1; the folder's, and the message's in it.
    pub(in crate::archive) uid_validity: u32,
    pub(in crate::archive) uid: u32,
    /// Milliseconds since 1970: IMAP's INTERNALDATE.
    pub(in crate::archive) internal_date: UnixMillis,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::archive) flags: Vec<String>,
}

/// The journal report of an arrival.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::archive) enum Evidence {
    /// What stood before and behind the content.
    Around {
        /// SHA-256 of the whole report.
        sha256: Digest,
        prefix: Content,
        suffix: Content,
    },
    /// The whole report.
    Report(Content),
}

impl Evidence {
    /// SHA-256 of the whole report.
    pub(in crate::archive) fn sha256(&self) -> Digest {
        match self {
            Self::Around { sha256, .. } => *sha256,
            Self::Report(content) => content.sha256,
        }
    }

    pub(in crate::archive) fn contents(&self) -> Vec<&Content> {
        match self {
            Self::Around { prefix, suffix, .. } => vec![prefix, suffix],
            Self::Report(content) => vec![content],
        }
    }
}

impl Content {
    pub(in crate::archive) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Part(part) => Some(part),
            Segment::Own(_) => None,
        })
    }

    /// How many of the record's own octets it takes.
    pub(in crate::archive) fn own_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| if let Segment::Own(bytes) = segment { *bytes } else { 0 }).sum()
    }
}

impl Message {
    pub(in crate::archive) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.content.parts().chain(self.arrival.parts())
    }
}

impl Arrival {
    pub(in crate::archive) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.evidence.iter().flat_map(Evidence::contents).flat_map(Content::parts)
    }

    /// What the leaf says of the envelope: a line for the sender, one for each address.
    pub(in crate::archive) fn envelope_sha256(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(self.mail_from.as_deref().unwrap_or("-").as_bytes());
        hash.update(b"\n");
        for who in &self.participants {
            let expanded = who.expanded_from.as_deref().unwrap_or("");
            hash.update(format!("{}\t{}\t{}\t{expanded}\n", who.address, who.role, who.evidence).as_bytes());
        }
        hash.finish()
    }

    /// What the leaf says of the source.
    pub(in crate::archive) fn source_sha256(&self) -> Digest {
        let Source { profile, uidl, received, trace } = &self.source;
        let received = received.map(|received| received.0.to_string()).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(format!("{profile}\n{uidl}\n{received}\n").as_bytes());
        hash.update(trace.as_deref().unwrap_or("").as_bytes());
        hash.finish()
    }
}

/// A record's octets.
pub(in crate::archive) fn encode(json: &impl Serialize, own: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let json = Zeroizing::new(serde_json::to_vec(json)?);
    let len = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut out = Zeroizing::new(Vec::with_capacity(4 + json.len() + own.len()));
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&json);
    out.extend_from_slice(own);
    Ok(out)
}

/// A record's JSON and its own octets.
pub(in crate::archive) fn decode<'r, R: Deserialize<'r>>(record: &'r [u8]) -> Result<(R, &'r [u8]), String> {
    let cut_short = || "the record is cut short".to_owned();
    let (len, rest) = record.split_first_chunk::<4>().ok_or_else(cut_short)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| cut_short())?;
    let (json, own) = rest.split_at_checked(len).ok_or_else(cut_short)?;
    let value =
        serde_json::from_slice(json).map_err(|error| format!("the record is not understood: {error}"))?;
    Ok((value, own))
}
