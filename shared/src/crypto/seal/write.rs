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
/// Call order: [`Sealer::new`], [`Sealer::write`] until all content is taken, [`Sealer::finish`] once. Sealed bytes
/// gather inside in pieces of about a chunk; [`Sealer::take_sealed`] hands out those there are.
pub struct Sealer {
    keys: MessageKeys,
    header_hash: Digest,
    sealed: Vec<Vec<u8>>,
    sealed_bytes: usize,
    /// What is sealed up to `open_at`, and from there the content of the open chunk. It never grows beyond
    /// [`PIECE_BYTES`], so that the buffers of long messages are all alike.
    piece: Vec<u8>,
    open_at: usize,
    counter: u32,
    content_bytes: u64,
    hash: Sha256,
    /// What the hash of all content is, when whoever brings it has computed it.
    hash_known: Option<Digest>,
}

/// A chunk, its tag, and what may stand before it: the longest header.
const PIECE_BYTES: usize = CHUNK_BYTES + TAG_BYTES + Header::BYTES_MAX;

impl Sealer {
    /// Starts a message; its header is the first that is sealed.
    pub fn new(mailbox: MailboxId, message: MessageId, encapsulation: &Encapsulation) -> Self {
        let (header, keys) = Header::create(mailbox, message, encapsulation);
        let piece = header.to_bytes();
        Self {
            keys,
            header_hash: sha256(&piece),
            sealed: Vec::new(),
            sealed_bytes: 0,
            open_at: piece.len(),
            piece,
            counter: 0,
            content_bytes: 0,
            hash: Sha256::new(),
            hash_known: None,
        }
    }

    /// Says what the hash of all content is, so that it is not computed twice; before any of it is taken. A message that was
    /// sealed with a wrong one is refused by whoever opens it.
    pub fn know_content_sha256(&mut self, sha256: Digest) {
        debug_assert_eq!(self.content_bytes, 0, "what was taken is hashed already");
        self.hash_known = Some(sha256);
    }

    /// Takes content, as much as the open chunk has room for; returns how many octets. A chunk that is full when more
    /// comes is sealed, and nothing is taken yet (0), so that the caller can first store what is sealed.
    pub fn write(&mut self, content: &[u8]) -> Result<usize, SealError> {
        let room = CHUNK_BYTES - (self.piece.len() - self.open_at);
        if room == 0 && !content.is_empty() {
            self.seal_chunk(false)?;
            self.put_aside();
            return Ok(0);
        }
        let taken = &content[..content.len().min(room)];
        self.make_room(taken.len());
        self.piece.extend_from_slice(taken);
        // What is known is proved wherever speed does not count.
        if self.hash_known.is_none() || cfg!(debug_assertions) {
            self.hash.update(taken);
        }
        self.content_bytes += taken.len() as u64;
        Ok(taken.len())
    }

    /// Octets that [`Sealer::take_sealed`] would hand out.
    pub fn sealed_bytes(&self) -> usize {
        self.sealed_bytes
    }

    /// Hands the whole pieces that are sealed to `store`, which may keep none of them: their memory is used again.
    pub fn take_sealed<E>(&mut self, store: impl FnOnce(&[Vec<u8>]) -> Result<(), E>) -> Result<(), E> {
        store(&self.sealed)?;
        self.sealed_bytes = 0;
        let mut buffers = std::mem::take(&mut self.sealed).into_iter();
        if self.piece.capacity() == 0 {
            self.piece = buffers.next().unwrap_or_default();
            self.piece.clear();
        }
        Ok(())
    }

    /// Octets of content taken so far.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// SHA-256 of the content taken so far; what [`Trailer`] and trace fields carry when all of it was.
    pub fn content_sha256(&self) -> Digest {
        self.hash_known.unwrap_or_else(|| self.hash.clone().finish())
    }

    /// Seals the rest and the trailer. Returns all sealed pieces that were not taken, and what is stored beside them.
    pub fn finish(
        mut self,
        trace_fields: Vec<u8>,
        envelope: Vec<u8>,
    ) -> Result<(Vec<Vec<u8>>, Sealed), SealError> {
        let bytes = TRAILER_FIXED_BYTES + trace_fields.len() + envelope.len();
        if bytes > TRAILER_BYTES_MAX {
            return Err(SealError::TrailerTooLong { bytes });
        }
        if self.piece.len() > self.open_at {
            self.seal_chunk(false)?;
        }
        debug_assert!(
            self.hash_known.is_none_or(|known| known == self.hash.clone().finish()),
            "the hash that was known is another content's"
        );
        let trailer = Trailer {
            content_bytes: self.content_bytes,
            content_sha256: self.content_sha256(),
            trace_fields,
            envelope,
        };
        let before = self.open_at;
        self.piece.reserve_exact(bytes + TAG_BYTES);
        trailer.write(&mut self.piece);
        self.seal_chunk(true)?;
        let trailer_bytes = self.piece.len() - before;
        self.put_aside();
        let sealed = Sealed { served_bytes: trailer.served_bytes(), trailer_bytes };
        Ok((std::mem::take(&mut self.sealed), sealed))
    }

    /// Small messages grow as they come; a longer one gets room for its whole chunk at once, and no more.
    fn make_room(&mut self, octets: usize) {
        const SMALL_BYTES_MAX: usize = 16 * 1024;
        let needed = self.piece.len() + octets + TAG_BYTES;
        if self.piece.capacity() < needed && needed > SMALL_BYTES_MAX {
            self.piece.reserve_exact(PIECE_BYTES - self.piece.len());
        }
    }

    fn seal_chunk(&mut self, last: bool) -> Result<(), SealError> {
        let next = self.counter.checked_add(1).ok_or(SealError::TooManyChunks)?;
        let nonce = nonce(self.keys.nonce_prefix, self.counter, last);
        let tag = self.keys.key.seal(nonce, &self.header_hash.0, &mut self.piece[self.open_at..]);
        self.piece.extend_from_slice(&tag);
        self.open_at = self.piece.len();
        self.counter = next;
        Ok(())
    }

    /// Begins a new piece; all of this one is sealed.
    fn put_aside(&mut self) {
        self.sealed_bytes += self.piece.len();
        self.sealed.push(std::mem::take(&mut self.piece));
        self.open_at = 0;
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
        if let Some(open) = self.piece.get_mut(self.open_at..) {
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
