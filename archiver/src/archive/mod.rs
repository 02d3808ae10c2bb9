//! Archive instances: what was archived stays, unaltered and findable.
//!
//! # On disk
//!
//! ```text
//! instances/<id>/
//!   instance.json             id, format version, when it was created
//!   master.key                the instance master key, 32 bytes, hexadecimal, 0600: lose it and all is lost
//!   users.json                users and their e-mail addresses
//!   profiles/<name>.json      see `profiles`
//!   audit.log                 who did what and when, a JSON object a line, append-only
//!   stores/0001/
//!     store.json              id, format version, the store key wrapped by the master key
//!     packs/<16 hex>.pack     objects: content, evidence, manifests, additions; append-only
//!     keys/<16 hex>.keys      the key of each object, wrapped by the store key, in place so it can be destroyed
//!     log/leaves              an RFC 6962 leaf hash, 32 bytes, for each message, in order
//!     catalog.sqlite          what is where; rebuilt from packs and keys when it is missing
//!     index/                  full-text index (tantivy); rebuilt from the catalog and packs when it is missing
//! ```
//!
//! Formats, octet by octet: `store`. Packs and keys alone hold everything; catalog and index are conveniences.
//!
//! Promises
//! - [`Instance::commit`] returns `Ok` only when every message of the batch would survive a power cut.
//! - What was committed comes back byte for byte, or with an error that names file and offset; never altered.
//! - A message that is here already is folded into the one that is: its new recipients and evidence are added.
//! - The index follows; it never delays, undoes or fails a commit.
//!
//! Not here: parsing mail (`intake`), sources and schedules (`sources`, `profiles`). Later: retention, proofs over the
//! leaves, several stores.

mod audit;
mod catalog;
mod index;
mod instance;
mod message;
mod plan;
mod reader;
mod store;
#[cfg(test)]
mod tests;
mod users;

use std::path::PathBuf;

pub use audit::Audit;
pub use catalog::CatalogError;
pub use index::{Extract, Query, QueryError};
pub use instance::{Instance, InstanceInfo, Stats};
pub use message::{AddressEvidence, Evidence, Hit, IndexFields, NewMessage, Outcome, Placement, Source};
pub use store::{Damage, StoreError};
pub use users::{User, UserError};

/// Archives that belong to no user; no user may have such an id.
pub const UNASSIGNED: &str = "unassigned";
/// For what could not be parsed.
pub const QUARANTINE: &str = "quarantine";

/// Why an instance cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is none of that id.
    #[error("there is no instance {0:?}; `instance list` shows all")]
    NoInstance(String),
    /// There is one of that id.
    #[error("there is an instance {0:?} already")]
    InstanceExists(String),
    /// Not an id.
    #[error(
        "{0:?} is no id: use 1 to 64 lower-case letters, digits, hyphens and dots, a letter or digit first"
    )]
    BadId(String),
    /// There is no such message.
    #[error("there is no message {0:?} in this instance")]
    NoMessage(String),
    /// The message did not come in a journal report.
    #[error("message {0} did not come in a journal report")]
    NoReport(String),
    /// A file of the instance cannot be used.
    #[error("{path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Packs, keys or leaves.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The query.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The index failed; archiving goes on.
    #[error("the index: {0}")]
    Index(String),
    /// Users.
    #[error(transparent)]
    User(#[from] UserError),
}

impl ArchiveError {
    fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::File { path, reason: source.to_string() }
    }
}

/// Ids of instances, users and profiles: also names of files and archives.
pub fn check_id(id: &str) -> Result<(), ArchiveError> {
    let good = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte))
        && id.as_bytes()[0].is_ascii_alphanumeric();
    if good { Ok(()) } else { Err(ArchiveError::BadId(id.chars().take(64).collect())) }
}
