//! Packs, keys and leaves: the part of an archive that everything else can be rebuilt from.
//!
//! # Formats, version 1 (integers big-endian)
//!
//! ```text
//! pack = file header, object*
//!
//! file header, 32 bytes (packs and key tables)
//!   0   8  magic "PSTNPAK1" or "PSTNKEY1"
//!   8   8  number (as in its name)
//!  16  12  zero
//!  28   4  CRC-32C of bytes 0..28
//!
//! object header, 48 bytes
//!   0   4  magic "PAO1"
//!   4   1  kind: 1 content, 2 evidence, 3 manifest, 4 addition
//!   5   3  zero
//!   8  16  object id, random
//!  24   8  octets of the plain object
//!  32   8  octets of the body
//!  40   4  CRC-32C of the body
//!  44   4  CRC-32C of bytes 0..44
//! body = AES-256-GCM(object key, nonce zero, associated data = bytes 0..32 of the header) over zstd(plain object), tag
//!
//! key table = file header, key record*
//! key record, 80 bytes
//!   0  16  object id
//!  16  60  the object key: nonce, AES-256-GCM under the store key, associated data = object id; tag
//!  76   4  CRC-32C of bytes 0..76
//!
//! leaves = leaf hash (32 bytes)*, one for each manifest, in the order of the packs
//! leaf hash = SHA-256(0x00 | entry)                                                   (RFC 6962 §2.1)
//! entry = "postern leaf v1" | message id (16) | archived, ms (8) | SHA-256(content)
//!         | SHA-256(envelope, JSON) | SHA-256(source, JSON)
//! ```
//!
//! Every object has a key of its own, used once, so the nonce may be zero. A message is shredded by overwriting the keys
//! of what only it used. Manifests and additions are JSON; see `manifest`.
//!
//! Promises
//! - [`ObjectStore::append`] returns only when objects and keys would survive a power cut; after an error what was
//!   written is cut off again, and when that fails nothing more is written until the store is opened anew.
//! - An object that is not what was stored is an error with file and offset.

mod files;
mod format;
mod keys;
mod leaves;
pub(super) mod manifest;
mod objects;

use std::path::PathBuf;

pub use postern_shared::disk::Damage;

pub(super) use files::ReadOnlyFrom;
pub(super) use format::Kind;
pub(super) use leaves::{Leaves, leaf};
pub(super) use objects::{NewObject, ObjectId, ObjectStore, Place, Stored};

/// Why the store cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What lies there is not what was stored.
    #[error("damaged: {0}")]
    Damaged(Damage),
    /// The key of an object is not there: destroyed on purpose, or the key table is damaged.
    #[error("object {object} in {path} at byte {offset} has no key", path = .path.display())]
    NoKey {
        /// The object.
        object: String,
        /// Its pack.
        path: PathBuf,
        /// Where it begins.
        offset: u64,
    },
    /// An earlier failure could not be undone.
    #[error("the store failed before and takes nothing until it is opened again")]
    Poisoned,
}

impl StoreError {
    fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}
