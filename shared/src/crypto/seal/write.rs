//! Sealing a message while it streams in. Public keys only.

use super::encapsulation::Encapsulation;
use super::header::{Header, MessageKeys};
use super::{CHUNK_BYTES, TRAILER_BYTES_MAX, TRAILER_FIXED_BYTES, Trailer, nonce};
use crate::crypto::digest::{Digest, Sha256};
use crate::crypto::keys::PublicKey;
use crate::id::{MailboxId, MessageId};

/// Whom a mailbox's messages are sealed to.
#[derive(Debug, Clone)]
pub struct Recipients {
    /// The mailbox's public key.
    pub mailbox: PublicKey,
    /// The operator's offline recovery key, when the mailbox has one.
    pub recovery: Option<PublicKey>,
}

/// The message is beyond what the format can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Envelope and trace fields are over [`TRAILER_BYTES_MAX`].
    #[error("envelope and trace fields take {bytes} bytes, at most {TRAILER_BYTES_MAX} fit")]
    TrailerTooLong {
        /// What they take.
        bytes: usize,
    },
    /// More than 2^32 - 1 chunks (256 TiB).
    #[error("the message is longer than 256 TiB")]
    TooManyChunks,
}

/// Seals one message for one mailbox.
///
/// Call order: [`Sealer::new`], [`Sealer::write`] as often as content comes, [`Sealer::finish`] once. Each hands
/// out sealed bytes as they become ready; put one behind the other they are the sealed message.
pub struct Sealer {
    keys: MessageKeys,
    header_hash: Digest,
    pending: Vec<u8>,
    counter: u32,
    content_bytes: u64,
    hash: Sha256,
}

impl Sealer {
    /// Starts a message and writes its header to `out`.
    pub fn new(
        mailbox: MailboxId,
        message: MessageId,
        encapsulation: &Encapsulation,
        out: &mut Vec<u8>,
    ) -> Self {
        let (header, keys) = Header::create(mailbox, message, encapsulation);
        let bytes = header.to_bytes();
        out.extend_from_slice(&bytes);
        Self {
            keys,
            header_hash: crate::crypto::digest::sha256(&bytes),
            pending: Vec::new(),
            counter: 0,
            content_bytes: 0,
            hash: Sha256::new(),
        }
    }

    /// Takes the next piece of content; every full chunk goes sealed to `out`.
    pub fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.content_bytes += content.len() as u64;
        self.hash.update(content);
        while self.pending.len() + content.len() > CHUNK_BYTES {
            let (now, later) = content.split_at(CHUNK_BYTES - self.pending.len());
            self.pending.extend_from_slice(now);
            content = later;
            self.seal_pending(out)?;
        }
        self.pending.extend_from_slice(content);
        Ok(())
    }

    /// Octets of content taken so far.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// SHA-256 of the content taken so far; what [`Trailer`] and trace fields carry when all of it was.
    pub fn content_sha256(&self) -> Digest {
        self.hash.clone().finish()
    }

    /// Seals what is pending and then the trailer to `out`. Returns the octets served for this message and the
    /// octets of its sealed trailer: both are stored beside it.
    pub fn finish(
        mut self,
        trace_fields: Vec<u8>,
        envelope: Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Sealed, SealError> {
        let bytes = TRAILER_FIXED_BYTES + trace_fields.len() + envelope.len();
        if bytes > TRAILER_BYTES_MAX {
            return Err(SealError::TrailerTooLong { bytes });
        }
        if !self.pending.is_empty() {
            self.seal_pending(out)?;
        }
        let trailer = Trailer {
            content_bytes: self.content_bytes,
            content_sha256: self.hash.clone().finish(),
            trace_fields,
            envelope,
        };
        self.pending = trailer.to_bytes();
        let before = out.len();
        self.seal_chunk(true, out)?;
        Ok(Sealed { served_bytes: trailer.served_bytes(), trailer_bytes: out.len() - before })
    }

    fn seal_pending(&mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.seal_chunk(false, out)
    }

    fn seal_chunk(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), SealError> {
        let next = self.counter.checked_add(1).ok_or(SealError::TooManyChunks)?;
        let nonce = nonce(self.keys.nonce_prefix, self.counter, last);
        let at = out.len();
        out.extend_from_slice(&self.pending);
        let tag = self.keys.key.seal(nonce, &self.header_hash.0, &mut out[at..]);
        out.extend_from_slice(&tag);
        zeroize::Zeroize::zeroize(&mut self.pending[..]);
        self.pending.clear();
        self.counter = next;
        Ok(())
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("content_bytes", &self.content_bytes).finish_non_exhaustive()
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.pending);
    }
}

/// What is known of a message once it is sealed, and stored beside it in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Octets that serving the message takes: trace fields and content.
    pub served_bytes: u64,
    /// Octets of the sealed trailer chunk at the end.
    pub trailer_bytes: usize,
}
