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
//!  64  1120  X-Wing encapsulation to the mailbox's public key; its shared secret is the message secret, which the
//!            mailbox's messages of a moment may share
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
//! trailer, plaintext (at most 4 MiB)
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

const TRAILER_FIXED_BYTES: usize = 44;

mod encapsulation;
mod header;
mod open;
mod write;

pub use encapsulation::Encapsulation;
pub use header::{BadHeader, Header};
pub use open::{Expected, OpenError, Opener, Part, ReadSealed};
pub use write::{Recipients, SealError, Sealed, Sealer};

/// What is sealed behind the content; see the format above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// Octets of content.
    pub content_bytes: u64,
    /// SHA-256 of the content.
    pub content_sha256: super::digest::Digest,
    /// Trace header fields, CRLF after each; served before the content.
    pub trace_fields: Vec<u8>,
    /// The SMTP envelope, JSON; never served.
    pub envelope: Vec<u8>,
}

impl Trailer {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.content_bytes.to_be_bytes());
        out.extend_from_slice(&self.content_sha256.0);
        out.extend_from_slice(&u32::try_from(self.trace_fields.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&self.trace_fields);
        out.extend_from_slice(&self.envelope);
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content_bytes, rest) = bytes.split_first_chunk()?;
        let (content_sha256, rest) = rest.split_first_chunk()?;
        let (trace_len, rest) = rest.split_first_chunk()?;
        let (trace_fields, envelope) = rest.split_at_checked(u32::from_be_bytes(*trace_len) as usize)?;
        Some(Self {
            content_bytes: u64::from_be_bytes(*content_bytes),
            content_sha256: super::digest::Digest(*content_sha256),
            trace_fields: trace_fields.to_vec(),
            envelope: envelope.to_vec(),
        })
    }

    /// Octets that are served: the trace fields and the content.
    pub fn served_bytes(&self) -> u64 {
        self.trace_fields.len() as u64 + self.content_bytes
    }
}

/// Content chunks that `content_bytes` of content take.
fn content_chunks(content_bytes: u64) -> u64 {
    content_bytes.div_ceil(CHUNK_BYTES as u64)
}

/// Octets that `content_bytes` of content take when sealed, trailer apart; `None` when no file has so many.
fn sealed_content_bytes(content_bytes: u64) -> Option<u64> {
    let tags = content_chunks(content_bytes).checked_mul(super::aead::TAG_BYTES as u64)?;
    content_bytes.checked_add(tags)
}

fn nonce(prefix: [u8; 7], counter: u32, last: bool) -> [u8; super::aead::NONCE_BYTES] {
    let mut nonce = [0; super::aead::NONCE_BYTES];
    nonce[..7].copy_from_slice(&prefix);
    nonce[7..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

#[cfg(test)]
mod tests;
