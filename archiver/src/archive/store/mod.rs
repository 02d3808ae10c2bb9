//! Packs, keys and leaves: the part of a store that everything else can be rebuilt from.
//!
//! # Formats, version 2 (integers big-endian); docs/archive-format.md has the whole, with what each field means
//!
//! ```text
//! pack = file header, object*                        packs/<number, 16 hex>.pack
//!
//! file header, 32 bytes (packs and key tables)
//!   0   8  magic "PSTNPAK2" or "PSTNKEY2"
//!   8   8  number (as in its name)
//!  16   8  the store's uid
//!  24   4  zero
//!  28   4  CRC-32C of bytes 0..28
//!
//! object header, 48 bytes
//!   0   4  magic "PAO2"
//!   4   1  kind: 1 part, 2 message, 3 addition
//!   5   1  compression: 1 zstd, 2 zstd with dictionary 1 (raw content, dictionary-1.txt)
//!   6   1  1 in the first object of those that were written and synced together, else 0; not in the associated data
//!   7   1  zero
//!   8   8  object number
//!  16   8  key slot of the message it belongs to; 0 for a part
//!  24   8  octets of the plain object
//!  32   8  octets of the body
//!  40   4  CRC-32C of the body
//!  44   4  CRC-32C of bytes 0..44
//! body = chunk*: the compressed object in stretches of 256 KiB, each sealed by AES-256-GCM: ciphertext, tag (16)
//!   nonce = zero (7) | number of the chunk from 0 (4) | 1 in the last chunk, else 0 (1)
//!   associated data = bytes 0..32 of the object header, with byte 6 zero
//!
//! key table = file header, key record*               keys/<number, 16 hex>.keys
//! key record, 64 bytes; slot s is record s mod 2^20 of file s / 2^20; slot 0 is not used
//!   0  60  the message key: nonce (12), AES-256-GCM under the store key, associated data = slot (8); tag
//!  60   4  CRC-32C of bytes 0..60
//!
//! leaves = leaf hash (32 bytes)*, one for each message, by its leaf number     log/leaves
//! leaf hash = SHA-256(0x00 | entry)                                                   (RFC 6962 §2.1)
//! entry = "postern leaf v2" | message id (16) | archived, ms (8) | SHA-256(content) | SHA-256(envelope) | SHA-256(source)
//! ```
//!
//! # Keys
//!
//! Each message has a key of its own in the key table. Its record and its additions are sealed under keys derived from it
//! (HKDF-SHA-256, `"postern object v2" | object number`), used once. Each part has a random key of its own, which stands in the records
//! of the messages that use it and nowhere else. So a message is shredded by overwriting one key record: nobody comes to
//! its record any more, nor to parts that only it used, while parts that others use are opened through theirs. Nothing has to be
//! counted, so no count can be wrong; a count that was too low would destroy another's mail, one too high would keep what must go. A key
//! per part in the table, wrapped once for each message, would do the same with more records to overwrite.
//!
//! Promises
//! - [`Packs::append`] returns only when the objects would survive a power cut; after an error what was written is cut off
//!   again, and when that fails nothing more is written until the store is opened anew.
//! - Keys are synced before the objects that need them, so an object without key was shredded, or its key is damaged.
//! - An object that is not what was stored is an error with file and offset.
//! - No object needs to be in memory as a whole.

mod damages;
mod files;
mod format;
mod keys;
mod leaves;
mod packs;
pub(super) mod parts;
mod pool;
pub(super) mod record;
mod scan;
mod seal;
mod unreadable;

use std::path::PathBuf;

pub use postern_shared::disk::Damage;

pub(super) use damages::Damages;
pub(super) use format::{Kind, ObjectHeader, StoreUid, is_key_record};
pub(super) use keys::KeyTable;
pub(super) use leaves::{LEAF_BYTES, Leaves, leaf};
pub(super) use packs::{PACK_BYTES_MAX, Packs, Place, Stored, Tail};
pub(super) use scan::{Found, Hole, Nature, Scan, scan_copy};
pub(super) use seal::{DICTIONARY, Identity, LONG_BYTES_MIN, Sealed, own_key};
pub(super) use unreadable::{is_unreadable, read_around};

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
    #[error("{object} in {path} at byte {offset} has no key", path = .path.display())]
    NoKey {
        /// The object.
        object: String,
        /// Its pack.
        path: PathBuf,
        /// Where it begins.
        offset: u64,
    },
    /// An earlier failure could not be undone.
    #[error("the store failed before and takes nothing until it is opened again: restart the archiver")]
    Poisoned,
    /// What was asked for was ended before its time.
    #[error("cancelled")]
    Cancelled,
}

impl StoreError {
    pub(super) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}
