//! Sealing a message while it streams in. Public keys only.

use super::encapsulation::Encapsulation;
use super::header::{Header, MessageKeys};
use super::{CHUNK_BYTES, TRAILER_BYTES_MAX, TRAILER_FIXED_BYTES, Trailer, nonce};
use crate::crypto::aead::TAG_BYTES;
use crate::crypto::digest::{Digest, Sha256, sha256};
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
/// Call order: [`Sealer::new`], [`Sealer::write`] as often as content comes, [`Sealer::finish`] once. Sealed bytes
/// gather inside; [`Sealer::sealed`] shows them and [`Sealer::drop_sealed`] makes room once they are stored elsewhere.
pub struct Sealer {
    keys: MessageKeys,
    header_hash: Digest,
    /// Sealed bytes, then the content of the chunk that is still open.
    bytes: Vec<u8>,
    /// Where the open chunk begins.
    open_at: usize,
    counter: u32,
    content_bytes: u64,
    hash: Sha256,
}

impl Sealer {
    /// Starts a message; its header is the first that is sealed.
    pub fn new(mailbox: MailboxId, message: MessageId, encapsulation: &Encapsulation) -> Self {
        let (header, keys) = Header::create(mailbox, message, encapsulation);
        let bytes = header.to_bytes();
        Self {
            keys,
            header_hash: sha256(&bytes),
            open_at: bytes.len(),
            bytes,
            counter: 0,
            content_bytes: 0,
            hash: Sha256::new(),
        }
    }

    /// Takes the next piece of content. A chunk is sealed when it is full and more comes.
    pub fn write(&mut self, mut content: &[u8]) -> Result<(), SealError> {
        self.content_bytes += content.len() as u64;
        self.hash.update(content);
        loop {
            let room = CHUNK_BYTES - (self.bytes.len() - self.open_at);
            let (now, later) = content.split_at(content.len().min(room));
            self.make_room(now.len());
            self.bytes.extend_from_slice(now);
            if later.is_empty() {
                return Ok(());
            }
            self.seal_chunk(false)?;
            content = later;
        }
    }

    /// What is sealed and was not dropped yet.
    pub fn sealed(&self) -> &[u8] {
        &self.bytes[..self.open_at]
    }

    /// Forgets what [`Sealer::sealed`] shows.
    pub fn drop_sealed(&mut self) {
        self.bytes.drain(..self.open_at);
        self.open_at = 0;
    }

    /// Octets of content taken so far.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// SHA-256 of the content taken so far; what [`Trailer`] and trace fields carry when all of it was.
    pub fn content_sha256(&self) -> Digest {
        self.hash.clone().finish()
    }

    /// Seals the rest and the trailer. Returns all sealed bytes that were not dropped, and what is stored beside them.
    pub fn finish(
        mut self,
        trace_fields: Vec<u8>,
        envelope: Vec<u8>,
    ) -> Result<(Vec<u8>, Sealed), SealError> {
        let bytes = TRAILER_FIXED_BYTES + trace_fields.len() + envelope.len();
        if bytes > TRAILER_BYTES_MAX {
            return Err(SealError::TrailerTooLong { bytes });
        }
        if self.bytes.len() > self.open_at {
            self.seal_chunk(false)?;
        }
        let trailer = Trailer {
            content_bytes: self.content_bytes,
            content_sha256: self.content_sha256(),
            trace_fields,
            envelope,
        };
        let before = self.open_at;
        self.bytes.reserve_exact(bytes + TAG_BYTES);
        trailer.write(&mut self.bytes);
        self.seal_chunk(true)?;
        let sealed =
            Sealed { served_bytes: trailer.served_bytes(), trailer_bytes: self.bytes.len() - before };
        Ok((std::mem::take(&mut self.bytes), sealed))
    }

    /// Small messages grow as they come; a longer one gets room for its whole chunk at once, and no more.
    fn make_room(&mut self, octets: usize) {
        const SMALL_BYTES_MAX: usize = 16 * 1024;
        let open = self.bytes.len() - self.open_at;
        if self.bytes.capacity() - self.bytes.len() < octets + TAG_BYTES && open + octets > SMALL_BYTES_MAX {
            self.bytes.reserve_exact(CHUNK_BYTES - open + TAG_BYTES);
        }
    }

    fn seal_chunk(&mut self, last: bool) -> Result<(), SealError> {
        let next = self.counter.checked_add(1).ok_or(SealError::TooManyChunks)?;
        let nonce = nonce(self.keys.nonce_prefix, self.counter, last);
        let tag = self.keys.key.seal(nonce, &self.header_hash.0, &mut self.bytes[self.open_at..]);
        self.bytes.extend_from_slice(&tag);
        self.open_at = self.bytes.len();
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
        // What is sealed already need not be wiped.
        if let Some(open) = self.bytes.get_mut(self.open_at..) {
            zeroize::Zeroize::zeroize(open);
        }
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
