//! Archive instances: what was archived stays, unaltered and findable.
//!
//! # On disk
//!
//! ```text
//! instances/<id>/
//!   instance.json             id, format version, when it was created
//!   keys.json                 the master key, wrapped for each way to open it: see `master`
//!   master.key                a key file that opens keys.json, 32 bytes, hexadecimal, 0600; may lie elsewhere
//!   stores.json               which stores are attached, where, in which state
//!   users.json                users, their e-mail addresses and privileges
//!   profiles/<name>.json      see `profiles`
//!   jobs/<name>.json          what runs by itself: see `jobs::stored`
//!   results/                  what runs did: see `jobs::results`
//!   dictionary-1.txt          with which objects are compressed; a copy, for whoever reads the archive without this program
//!   audit.log                 who did what and when, a JSON object a line, append-only and chained: see `audit`
//!   mode.json                 whether it is to be stopped or in safe mode; missing: started
//!   lock                      held by the process that has it open
//!   work/                     where verify, compact and backup go on when they were ended before their time
//!   stores/0001/
//!     store.json              id, format version, the store key wrapped by the master key
//!     lock                    held by whoever has it open
//!     packs/<16 hex>.pack     objects: messages' records and parts; append-only
//!     keys/<16 hex>.keys      each message's key, wrapped by the store key, in place so it can be destroyed
//!     torn/                   what was cut off the end of a pack when the store was opened last
//!     log/leaves              an RFC 6962 leaf hash, 32 bytes, for each message, in order
//!     catalog.sqlite          what is where; rebuilt from packs and keys when it is missing
//!     index/                  full-text index (tantivy); rebuilt from the catalog and packs when it is missing
//! ```
//!
//! Formats, octet by octet: `store`, and docs/archive-format.md. Packs and keys alone hold everything; catalog and index are
//! conveniences.
//!
//! Catalogs and indexes are not encrypted: subjects, addresses and texts stand in them in clear, and whoever has the disk reads them. A store
//! that is detached has none.
//!
//! Promises
//! - [`Instance::commit`] returns `Ok` only when every message of the batch would survive a power cut.
//! - What was committed comes back byte for byte, or with an error that names file and offset; never altered.
//! - A message that is here already is folded into the one that is, once that was read and found whole: its new recipients
//!   and evidence are added. [`Kept`] says where all of it is, and [`Instance::check_arrival`] reads it back.
//! - The index follows; it never delays, undoes or fails a commit.
//!
//! Not here: parsing mail (`intake`), sources and schedules (`sources`, `profiles`). Later: retention, proofs over the
//! leaves.

mod audit;
mod catalog;
mod files;
mod follow;
mod index;
mod instance;
mod maintenance;
mod master;
mod message;
mod mode;
mod octets;
mod position;
mod read_only;
mod reader;
mod search;
mod side_by_side;
mod store;
mod stores;
#[cfg(test)]
mod tests;
mod users;
mod verifying;
mod ways_in;
mod whose;

use std::path::PathBuf;

pub use audit::{Audit, By, Chain};
pub use catalog::{CatalogError, Folder, InFolder};
pub use follow::{DocumentReader, Follower, IndexState, NotRead};
pub use index::{CursorError, Extract, Order, Query, QueryError, Snippet};
pub use instance::{Instance, InstanceInfo, Stats};
pub use maintenance::{Compacted, Verified};
pub use master::{KeepKey, Opener};
pub use message::{
    AddressEvidence, Attachment, AttachmentText, Evidence, Hit, HitPage, IndexFields, Kept, NewMessage,
    Outcome, Placement, Source, TextMissing,
};
pub use mode::Mode;
pub use octets::{FileOctets, Octets};
pub(crate) use side_by_side::side_by_side;
pub use store::{Damage, StoreError};
pub use stores::{Finding, Ready, RollOver, State, StoreShown, Watch};
pub use users::{Privilege, User, UserChange, UserError};

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
    /// Its `instance.json` is missing.
    #[error(
        "{path} is missing, but {found} of an instance is there. Put the file back from a copy, or write it: \
         {{\"id\":\"{id}\",\"format\":2,\"created\":0}}; when a restore was ended there, run it again. Nothing is made in its place", path = .dir.join("instance.json").display()
    )]
    Incomplete {
        /// Its directory.
        dir: PathBuf,
        /// Its id.
        id: String,
        /// What is there.
        found: String,
    },
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
    /// Another process has it open.
    #[error("another process has the instance {0:?} open; stop it first")]
    InstanceInUse(String),
    /// It was stopped.
    #[error("instance {0:?} is stopped; start it with: instance start {0}")]
    Stopped(String),
    /// It is being stopped.
    #[error(
        "instance {0:?} is stopping: what works on it has not come to a safe point yet; ask again in a while"
    )]
    Stopping(String),
    /// Somebody opens it.
    #[error(
        "instance {0:?} is being opened, which takes long when its catalog is made anew; ask again in a while"
    )]
    Opening(String),
    /// Somebody creates, starts, stops or deletes it.
    #[error(
        "instance {0:?} is being created, started, stopped, restored or deleted; ask again when that is done"
    )]
    Changing(String),
    /// It is open for reading only.
    #[error("instance {0:?} is in safe mode, for reading only; instance start {0} opens it whole")]
    SafeMode(String),
    /// The directory of that name has another instance in it.
    #[error("{path} holds the instance {found:?}: rename it to that, or restore a backup under another id", path = .path.display())]
    OtherInstance {
        /// The directory.
        path: PathBuf,
        /// The id in it.
        found: String,
    },
    /// The tokens that are bound to it could not be ended.
    #[error("its tokens cannot be ended, so it stays: {0}")]
    Tokens(String),
    /// A directory that is not for this.
    #[error("{path} lies in the data directory, which is the archiver's own; use another place", path = .path.display())]
    OwnDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The master key does not open.
    #[error("instance {id:?} stays closed: {reason}")]
    Locked {
        /// The instance.
        id: String,
        /// Why.
        reason: String,
    },
    /// No store takes new messages.
    #[error("no store takes new messages; make one current: store set-state")]
    NoCurrentStore,
    /// There is none of that id.
    #[error("there is no store {0:?}; `store list` shows all")]
    NoStore(String),
    /// It is attached already.
    #[error("store {0:?} is attached already")]
    StoreExists(String),
    /// New messages go there.
    #[error("store {0:?} is the current one; make another one current first")]
    CurrentStore(String),
    /// A store that is not open.
    #[error("store {id:?} is {state:?} or cannot be opened; `store list` tells")]
    StoreClosed {
        /// The store.
        id: String,
        /// Its state.
        state: State,
    },
    /// Somebody has the store open.
    #[error(
        "store {id:?} in {dir} is still in use, here or by another process; ask again in a while",
        dir = .dir.display()
    )]
    StoreInUse {
        /// The store.
        id: String,
        /// Where it is.
        dir: PathBuf,
    },
    /// Limits that would make a store for a few messages each.
    #[error("a store is for at least {messages} messages and {bytes} octets")]
    RollOver {
        /// The lowest.
        messages: u64,
        /// The lowest.
        bytes: u64,
    },
    /// Something else is at work.
    #[error("another verify, rebuild, compact or backup is running in this instance; wait for it, or end it")]
    Busy,
    /// A backup is not what it should be.
    #[error("the backup: {0}")]
    Backup(String),
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
    /// The cursor.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The index failed; archiving goes on.
    #[error("the index: {0}; nothing is lost: rebuild --index-only makes another one")]
    Index(String),
    /// The index cannot be read or written at present; that is no damage, and passes.
    #[error("the index waits: {0}; archiving goes on, and the index follows when that is over")]
    IndexWaits(String),
    /// Users.
    #[error(transparent)]
    User(#[from] UserError),
}

impl ArchiveError {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
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
