//! The catalog: which messages there are, in whose folders, and where their octets lie.
//!
//! Behind the [`Catalog`] trait; [`SqliteCatalog`] is SQLite with its own files and syncs (WAL, `synchronous = FULL`),
//! outside the door to disk. It is a convenience: rebuilt from packs and keys when it is missing or damaged.

mod schema;
mod sqlite;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::Digest;
use postern_shared::id::MessageId;

pub(super) use sqlite::SqliteCatalog;

use super::message::{AddressEvidence, Placement};
use super::store::manifest::{Addition, Manifest};
use super::store::{ObjectId, Place, ReadOnlyFrom, Stored};

/// The catalog failed.
#[derive(Debug, thiserror::Error)]
#[error("the catalog {path}: {reason}", path = .path.display())]
pub struct CatalogError {
    path: std::path::PathBuf,
    reason: String,
    /// The file is no catalog of this version, or damaged; rebuilding helps.
    pub(super) rebuild: bool,
}

/// A change to be entered.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A message, and where its manifest lies.
    Archived(Box<Manifest>, Place),
    /// More of a message that is there.
    Added(Box<Addition>),
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
    pub(super) placements: Vec<Placement>,
    pub(super) participants: Vec<AddressEvidence>,
    pub(super) evidence: Vec<Digest>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) unassigned: u64,
    pub(super) quarantined: u64,
}

/// What the archive wants of a catalog. All changes of one call become durable together.
pub(super) trait Catalog: std::fmt::Debug + Send + Sync {
    /// Packs are entered up to here.
    fn watermark(&self) -> Result<ReadOnlyFrom, CatalogError>;
    /// Enters objects and changes, and moves the watermark.
    fn apply(
        &self,
        objects: &[Stored],
        changes: &[Change],
        watermark: ReadOnlyFrom,
    ) -> Result<(), CatalogError>;
    /// The message with these octets.
    fn by_content(&self, hmac: Digest) -> Result<Option<MessageId>, CatalogError>;
    /// The message with this fold key.
    fn by_fold(&self, hmac: Digest) -> Result<Option<MessageId>, CatalogError>;
    /// What is known of a message.
    fn known(&self, id: MessageId) -> Result<Option<Known>, CatalogError>;
    /// Where a message's manifest lies.
    fn manifest(&self, id: MessageId) -> Result<Option<Place>, CatalogError>;
    /// Where an object lies.
    fn object(&self, id: ObjectId) -> Result<Option<Place>, CatalogError>;
    /// A message's row, with the folders in `archive`, or in all; `None` when it has none there.
    fn row(&self, seq: u64, archive: Option<&str>) -> Result<Option<Row>, CatalogError>;
    /// Messages changed after change number `after`, each with its latest number, oldest first, at most `limit`.
    fn changed(&self, after: u64, limit: usize) -> Result<Vec<(u64, u64, MessageId)>, CatalogError>;
    /// Which catalog this is: a rebuilt one numbers its changes anew, and says so by another epoch.
    fn epoch(&self) -> Result<String, CatalogError>;
    /// The number of the last change.
    fn last_change(&self) -> Result<u64, CatalogError>;
    /// How much there is.
    fn counts(&self) -> Result<Counts, CatalogError>;
}
