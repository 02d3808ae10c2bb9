//! What is committed to an archive and what comes out of it.

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::Digest;
use postern_shared::id::MessageId;
use serde::{Deserialize, Serialize};

use super::index::Snippet;

/// A message to be archived.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The message itself; comes out byte for byte.
    pub content: Vec<u8>,
    /// SHA-256 of the content, when it was computed already.
    pub sha256: Option<Digest>,
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
    /// What of the message itself is not among these fields; `None`: nothing is missing.
    pub missing: Option<String>,
    /// Attached files, in their order.
    pub attachments: Vec<Attachment>,
}

/// An attached file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name; may be empty.
    pub name: String,
    /// Its text.
    pub text: AttachmentText,
}

/// The text of an attached file.
#[derive(Clone, PartialEq, Eq)]
pub enum AttachmentText {
    /// It has none that anybody could search: a picture.
    None,
    /// Here it is.
    Text(String),
    /// Some of it; why not all.
    Part(String, String),
    /// A document: whoever reads documents must be asked. Its octets, when they were asked for.
    Document(Option<Vec<u8>>),
    /// It cannot be had; why.
    Missing(String),
}

impl std::fmt::Debug for AttachmentText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(text) => write!(f, "Text({text:?})"),
            Self::Part(text, why) => write!(f, "Part({text:?}, {why:?})"),
            Self::Document(octets) => write!(f, "Document({:?})", octets.as_ref().map(Vec::len)),
            Self::Missing(why) => write!(f, "Missing({why:?})"),
        }
    }
}

impl IndexFields {
    /// Whether there are documents whose text is still to be had.
    pub fn has_documents(&self) -> bool {
        self.attachments.iter().any(|attachment| matches!(attachment.text, AttachmentText::Document(_)))
    }

    /// Octets of text in it.
    pub fn bytes(&self) -> usize {
        let attachments = self.attachments.iter().map(|attachment| {
            let text = match &attachment.text {
                AttachmentText::Text(text) | AttachmentText::Missing(text) => text.len(),
                AttachmentText::Part(text, why) => text.len() + why.len(),
                AttachmentText::Document(octets) => octets.as_ref().map_or(0, Vec::len),
                AttachmentText::None => 0,
            };
            text + attachment.name.len()
        });
        let fields = [&self.from, &self.to, &self.cc, &self.subject, &self.message_id, &self.body];
        fields.iter().map(|field| field.len()).sum::<usize>() + attachments.sum::<usize>()
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is archived.
    Archived(Kept),
    /// It was here already.
    Duplicate(Kept),
}

impl Outcome {
    /// Where it is, and what it is read back by.
    pub fn kept(&self) -> &Kept {
        match self {
            Self::Archived(kept) | Self::Duplicate(kept) => kept,
        }
    }

    /// The message that it is, or that it was folded into.
    pub fn id(&self) -> MessageId {
        self.kept().id
    }
}

/// Where the archive has what arrived: enough to read it back and compare it. Its text can be kept; it tells no hash of the octets,
/// only one with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The message that it is, or that it was folded into.
    pub id: MessageId,
    /// Keyed hash of its octets. `None`: it was folded into a message with others, and its own stand in its journal report.
    pub(super) content: Option<Digest>,
    /// Keyed hash of the journal report that it came in.
    pub(super) report: Option<Digest>,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.id)?;
        for hash in [self.content, self.report] {
            match hash {
                Some(hash) => write!(f, ":{hash}")?,
                None => f.write_str(":")?,
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Kept {
    type Err = String;

    /// An id alone asks for no more than that the message is whole.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(':');
        let id =
            words.next().unwrap_or_default().parse().map_err(|_| format!("{text:?} names no message"))?;
        let mut hash = || match words.next() {
            None | Some("") => Ok(None),
            Some(word) => word.parse().map(Some).map_err(|_| format!("{text:?} has a hash that is none")),
        };
        Ok(Self { id, content: hash()?, report: hash()? })
    }
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
    /// Where in it the hit is.
    pub snippets: Vec<Snippet>,
    /// What of its text cannot be searched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text_missing: Vec<TextMissing>,
}

/// Text that cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextMissing {
    /// The attachment's name; empty: the message's own.
    pub attachment: String,
    /// Why.
    pub why: String,
}

/// A page of hits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HitPage {
    /// The hits.
    pub hits: Vec<Hit>,
    /// How many there are on all pages.
    pub total: u64,
    /// Asks for the next page; `None` on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Changes of the archive that the index has yet to follow: hits may be missing.
    pub behind: u64,
    /// Indexes that are damaged: hits may be missing until they are built anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
}
