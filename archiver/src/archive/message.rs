//! What is committed to an archive and what comes out of it.

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::Digest;
use postern_shared::id::MessageId;
use serde::{Deserialize, Serialize};

/// A message to be archived.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The message itself; comes out byte for byte.
    pub content: Vec<u8>,
    /// Equal for copies of one message that differ in trace fields only; used for journal reports.
    pub fold_key: Option<Digest>,
    /// What it came in.
    pub evidence: Option<Evidence>,
    /// The reverse-path; empty for `<>`.
    pub mail_from: Option<String>,
    /// Whose mail it is, and how that is known.
    pub participants: Vec<AddressEvidence>,
    /// In whose archives it belongs.
    pub filed_in: Vec<Placement>,
    /// IMAP's INTERNALDATE; else when it was captured.
    pub internal_date: Option<UnixMillis>,
    /// IMAP flags and keywords at the source: `\\Seen`.
    pub flags: Vec<String>,
    /// Why it could not be parsed.
    pub quarantined: Option<String>,
    /// Where it came from.
    pub source: Source,
    /// Fields of the gateway's names that its sender wrote: recorded, believed in nothing.
    pub untrusted_fields: Vec<String>,
    /// What it is found by.
    pub index: IndexFields,
}

/// The journal report that a message came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// What stood around the content, which is a slice of the report.
    Report {
        /// Before it.
        prefix: Vec<u8>,
        /// Behind it.
        suffix: Vec<u8>,
    },
    /// The whole report.
    Raw {
        /// Its octets.
        report: Vec<u8>,
    },
}

impl Evidence {
    /// The report, byte for byte, around the content it came with.
    pub fn report(&self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::Report { prefix, suffix } => [prefix, content, suffix].concat(),
            Self::Raw { report } => report.clone(),
        }
    }
}

/// An address and how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddressEvidence {
    /// Lower case.
    pub address: String,
    /// sender, to, cc, bcc or recipient.
    pub role: String,
    /// Where it stood: journal-envelope, rcpt-subaddress, delivered-to, header …
    pub evidence: String,
    /// The list that was expanded into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expanded_from: Option<String>,
}

/// A folder in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placement {
    /// A user's id, `unassigned` or `quarantine`.
    pub archive: String,
    /// `Journal/Incoming`.
    pub folder: String,
}

/// Where a message came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The profile that pulled it.
    pub profile: String,
    /// Its unique-id there.
    pub uidl: String,
    /// When it was captured.
    pub received: Option<UnixMillis>,
    /// The gateway's trace fields as they stood before it: client, TLS, envelope, hash, authentication results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// What a message is found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "header fields under their own names")]
pub struct IndexFields {
    /// Seconds since 1970.
    pub date: Option<i64>,
    pub from: String,
    pub to: String,
    pub cc: String,
    pub subject: String,
    pub message_id: String,
    /// Text, bounded by whoever extracted it.
    pub body: String,
    /// Names of attached files.
    pub attachments: Vec<String>,
    pub has_attachment: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is archived under that id.
    Archived(MessageId),
    /// It was here already under that id.
    Duplicate(MessageId),
}

/// A message found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "header fields under their own names")]
pub struct Hit {
    pub id: MessageId,
    /// RFC 3339; the time of capture when the message has no date.
    pub date: String,
    pub from: String,
    pub to: String,
    pub subject: String,
    /// Archive and folder: `anna/Journal/Incoming`; the first of `folders`.
    pub folder: String,
    /// All of them that the searcher may see.
    pub folders: Vec<String>,
    /// Octets of content.
    pub size: u64,
    /// Why it could not be parsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
}
