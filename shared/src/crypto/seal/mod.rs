//! The sealed message: how mail lies in a spool.
//!
//! Written by [`Sealer`], which holds public keys only; read by [`Opener`], which needs the private key.
//!
//! # Format, version 1 (integers big-endian)
//!
//! ```text
//! sealed message = header, content chunk*, trailer chunk
//!
//! header
//!   0     4  magic "PSM1"
//!   4     1  recipients: 1 = the mailbox, 2 = the mailbox and a recovery key
//!   5     3  zero
//!   8     8  mailbox id
//!  16    16  message id
//!  32    32  key commitment
//!  64  1120  X-Wing encapsulation to the mailbox's public key; its shared secret is the message secret
//! 1184  1120  recipients = 2 only: X-Wing encapsulation to the recovery public key
//! 2304    48  recipients = 2 only: the message secret (32), AES-256-GCM, nonce zero, under
//!             HKDF-SHA256(recovery shared secret, "postern spool recovery v1" | mailbox id | message id)
//!
//! keys = HKDF-SHA256(message secret, "postern spool v1" | mailbox id | message id), 71 bytes:
//!        32 key, 7 nonce prefix, 32 key commitment
//!
//! chunk = AES-256-GCM(key, nonce = prefix | u32 counter | last, associated data = SHA-256(header)), tag behind it
//!   content chunks  counter 0, 1, …; last = 0; 65,536 bytes of content each, the final one 1 to 65,536
//!   trailer chunk   the counter that follows; last = 1
//!
//! trailer, plaintext
//!   0     8  content length
//!   8    32  SHA-256 of the content
//!  40     4  length of the trace header fields
//!  44     n  trace header fields, CRLF after each: what is served before the content
//!  44+n   …  the envelope, JSON, to the end
//! ```
//!
//! Why: the trace fields hold the content's hash, so they are known last, sealed last, and served first. Where the
//! trailer begins is told by its sealed length, which whoever stores the message keeps beside it; a wrong length
//! fails authentication. AES-GCM does not commit to its key, so the commitment is compared before anything is
//! decrypted. A message truncated, reordered, edited, or moved to another mailbox or id is refused.

/// Bytes of content in every chunk but the final one.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// The longest trailer that is written or read; bounds memory.
pub const TRAILER_BYTES_MAX: usize = 4 * 1024 * 1024;

const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + super::aead::TAG_BYTES;
const TRAILER_FIXED_BYTES: usize = 44;
