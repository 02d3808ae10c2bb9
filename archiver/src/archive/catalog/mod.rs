//! The catalog: which messages there are, in whose folders, and where their octets lie.
//!
//! Behind the [`Catalog`] trait; [`SqliteCatalog`] is SQLite with its own files (WAL, `synchronous = NORMAL`), outside the door to
//! disk. One writes, any number read meanwhile, each with a connection of its own. It is a convenience: what a power cut takes of it is
//! entered again from the packs behind its watermark, and when it is missing or damaged it is rebuilt from them.
//!
//! Promises
//! - A watermark is never ahead of what is durable in the packs; all changes of one call are entered together with it.
//! - No call needs memory that grows with the store: lists come in pages.

mod enter;
mod failure;
mod inspect;
mod pool;
mod schema;
mod sqlite;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::Digest;
use postern_shared::id::MessageId;

pub(super) use inspect::{Expected, Inspect};
pub(super) use sqlite::SqliteCatalog;

use super::message::{AddressEvidence, Placement};
use super::store::record::{Addition, Message};
use super::store::{Damage, Place, Stored};

/// The catalog failed.
#[derive(Debug, thiserror::Error)]
#[error("the catalog {path}: {reason}", path = .path.display())]
pub struct CatalogError {
    path: std::path::PathBuf,
    reason: String,
    /// The file is no catalog of this version, or damaged; rebuilding helps.
    pub(super) rebuild: bool,
    /// It will fail again: it is damaged, or its medium is.
    pub(super) lasting: bool,
}

/// A change to be entered.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A message, and the object that is its record.
    Archived(Box<Message>, Entered),
    /// More of a message that is there.
    Added(Box<Addition>, Entered),
}

/// What a change is known by in the catalog.
#[derive(Debug, Clone)]
pub(super) struct Entered {
    pub(super) object: u64,
    pub(super) slot: u64,
    /// HMAC of the content; of an addition, nothing.
    pub(super) content: Option<Digest>,
    /// HMAC of the journal report.
    pub(super) evidence: Option<Digest>,
    /// HMACs of the parts and their objects.
    pub(super) parts: Vec<(Digest, u64)>,
}

/// A message's record: where it is and what opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordPlace {
    pub(super) id: MessageId,
    pub(super) object: u64,
    pub(super) slot: u64,
    pub(super) place: Place,
}

/// A message as listed.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: MessageId,
    pub(super) date: Option<i64>,
    pub(super) archived: UnixMillis,
    pub(super) received: Option<UnixMillis>,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) bytes: u64,
    pub(super) quarantined: Option<String>,
    pub(super) folders: Vec<Placement>,
}

/// What is known of a message, to see whether a further arrival brings anything new.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) slot: u64,
    pub(super) placements: Vec<Placement>,
    pub(super) participants: Vec<AddressEvidence>,
    pub(super) evidence: Vec<Digest>,
}

/// What was found damaged when packs were entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damaged {
    pub(super) damage: Damage,
    /// Nobody knows what was there.
    pub(super) is_hole: bool,
    /// The message or addition that its header names.
    pub(super) object: Option<u64>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) unassigned: u64,
    pub(super) quarantined: u64,
}

/// A folder of an archive.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[expect(missing_docs, reason = "the names say it, in IMAP's words")]
pub struct Folder {
    pub archive: String,
    pub path: String,
    pub uid_validity: u32,
    pub uid_next: u32,
    pub messages: u64,
}

/// A message in a folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[expect(missing_docs, reason = "the names say it, in IMAP's words")]
pub struct InFolder {
    pub uid: u32,
    pub id: MessageId,
    pub internal_date: UnixMillis,
    pub flags: Vec<String>,
    pub bytes: u64,
}

/// How much of a pack is still needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackUse {
    pub(super) pack: u64,
    pub(super) bytes: u64,
    pub(super) unused_bytes: u64,
}

/// What the archive wants of a catalog. All changes of one call become durable together, at the latest with the next sync of the
/// packs behind it.
pub(super) trait Catalog: Inspect + std::fmt::Debug + Send + Sync {
    /// Packs are entered up to here.
    fn watermark(&self) -> Result<Place, CatalogError>;
    /// Enters objects and changes, and moves the watermark.
    fn apply(&self, objects: &[Stored], changes: &[Change], watermark: Place) -> Result<(), CatalogError>;
    /// The newest message with these octets.
    fn by_content(&self, hmac: Digest) -> Result<Option<MessageId>, CatalogError>;
    /// The newest message with this fold key: an older one is there twice because it could not be read.
    fn by_fold(&self, hmac: Digest) -> Result<Option<MessageId>, CatalogError>;
    /// The object with the journal report of a message that has this HMAC, the newest of them.
    fn evidence(&self, id: MessageId, hmac: Digest) -> Result<Option<u64>, CatalogError>;
    /// What is known of a message.
    fn known(&self, id: MessageId) -> Result<Option<Known>, CatalogError>;
    /// A message's record.
    fn record(&self, id: MessageId) -> Result<Option<RecordPlace>, CatalogError>;
    /// The records of messages with numbers above `after`, with their numbers, at most `limit`.
    fn records(&self, after: u64, limit: usize) -> Result<Vec<(u64, RecordPlace)>, CatalogError>;
    /// The additions to a message: their objects.
    fn additions(&self, id: MessageId) -> Result<Vec<u64>, CatalogError>;
    /// Where an object lies.
    fn object(&self, number: u64) -> Result<Option<Place>, CatalogError>;
    /// Additions above `after` that were found before their message, at most `limit`.
    fn pending(&self, after: u64, limit: usize) -> Result<Vec<(u64, Place)>, CatalogError>;
    /// The object of the part with that HMAC.
    fn part(&self, hmac: Digest) -> Result<Option<u64>, CatalogError>;
    /// A few messages that use a part, newest first.
    fn part_users(&self, object: u64, limit: usize) -> Result<Vec<RecordPlace>, CatalogError>;
    /// Whether any message uses a part, whatever became of that message's record.
    fn part_is_used(&self, object: u64) -> Result<bool, CatalogError>;
    /// A message's row, with the folders in `archive`, or in all; `None` when it has none there.
    fn row(&self, seq: u64, archive: Option<&str>) -> Result<Option<Row>, CatalogError>;
    /// Who sent and received a message, by its number.
    fn participants(&self, seq: u64) -> Result<Vec<AddressEvidence>, CatalogError>;
    /// Messages changed after change number `after`, each with its latest number, oldest first, at most `limit`.
    fn changed(&self, after: u64, limit: usize) -> Result<Vec<(u64, u64, MessageId)>, CatalogError>;
    /// Which catalog this is: a rebuilt one numbers its changes anew, and says so by another epoch.
    fn epoch(&self) -> Result<String, CatalogError>;
    /// The number of the last change.
    fn last_change(&self) -> Result<u64, CatalogError>;
    /// The highest numbers of objects and key slots, and the next leaf's.
    fn highest(&self) -> Result<(u64, u64, u64), CatalogError>;
    /// While it is being made: the packs and key tables there were when that was begun, empty before they are told.
    fn begun(&self) -> Result<Option<String>, CatalogError>;
    /// Keeps that, or that all packs were entered.
    fn set_begun(&self, begun: Option<&str>) -> Result<(), CatalogError>;
    /// Forgets everything and begins anew, as another catalog.
    fn begin_anew(&self) -> Result<(), CatalogError>;
    /// Keeps what was found damaged, so that whoever goes on knows of it.
    fn keep_damage(&self, damaged: &[Damaged]) -> Result<(), CatalogError>;
    /// Makes the next leaf's number at least that: the log has leaves of messages that are not entered.
    fn leaves_at_least(&self, next: u64) -> Result<(), CatalogError>;
    /// The records of messages with leaves from `leaf` on and numbers above `after`, with their numbers, at most `limit`.
    fn records_from_leaf(
        &self,
        leaf: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, RecordPlace)>, CatalogError>;
    /// How much there is.
    fn counts(&self) -> Result<Counts, CatalogError>;
    /// A folder.
    fn folder(&self, archive: &str, path: &str) -> Result<Option<Folder>, CatalogError>;
    /// All folders, also those that only other stores have messages of.
    fn known_folders(&self) -> Result<Vec<Folder>, CatalogError>;
    /// Gives no UID in these folders that is not behind theirs, and new ones their UIDVALIDITY.
    fn keep_folders(&self, folders: &[Folder]) -> Result<(), CatalogError>;
    /// The folders of an archive, or of all.
    fn folders(&self, archive: Option<&str>) -> Result<Vec<Folder>, CatalogError>;
    /// The messages of a folder with UIDs above `after`, at most `limit`.
    fn in_folder(&self, folder: &Placement, after: u32, limit: usize) -> Result<Vec<InFolder>, CatalogError>;
    /// How much of each pack is still needed.
    fn pack_use(&self) -> Result<Vec<PackUse>, CatalogError>;
    /// Objects in a pack that are needed, or with `all_parts` all, from an offset on, at most `limit`: their numbers and places.
    fn needed_in(
        &self,
        pack: u64,
        from: u64,
        all_parts: bool,
        limit: usize,
    ) -> Result<Vec<(u64, Place)>, CatalogError>;
    /// Enters new places of objects and moves the watermark.
    fn moved(&self, objects: &[Stored], watermark: Place) -> Result<(), CatalogError>;
    /// Forgets all objects of a pack.
    fn forget_pack(&self, pack: u64) -> Result<(), CatalogError>;
    /// Whether SQLite finds its own structures whole; what is wrong otherwise.
    fn check(&self) -> Result<Option<String>, CatalogError>;
    /// Brings everything into the one file, and closes what can be closed.
    fn settle(&self) -> Result<(), CatalogError>;
}
