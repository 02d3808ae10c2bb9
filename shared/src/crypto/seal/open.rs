//! Opening a sealed message: trailer first, then chunk after chunk.

use super::header::{BadHeader, Header, MessageKeys};
use super::{CHUNK_BYTES, TRAILER_BYTES_MAX, Trailer, content_chunks, nonce, sealed_content_bytes};
use crate::crypto::aead::{NotAuthentic, TAG_BYTES};
use crate::crypto::digest::{Digest, Sha256};
use crate::crypto::keys::PrivateKey;
use crate::id::{MailboxId, MessageId};

/// Where sealed bytes are read from; offset 0 is the header's first byte.
pub trait ReadSealed {
    /// Fills `buffer` from `offset`, or fails.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()>;
}

impl ReadSealed for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|at| self.get(at..at.checked_add(buffer.len())?))
            .ok_or(std::io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

impl ReadSealed for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }
}

/// Why a sealed message does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It begins with no header.
    #[error(transparent)]
    Header(#[from] BadHeader),
    /// It is another message than the one asked for.
    #[error("found message {found} of {found_mailbox} in the place of {wanted}")]
    Exchanged {
        /// What was asked for.
        wanted: MessageId,
        /// What is there.
        found: MessageId,
        /// And whose it is.
        found_mailbox: MailboxId,
    },
    /// Not sealed under this key, or altered.
    #[error("{part} of the sealed message: {source}")]
    NotAuthentic {
        /// Which part.
        part: Part,
        /// The cipher's verdict.
        source: NotAuthentic,
    },
    /// Its lengths contradict each other.
    #[error("the sealed message's lengths contradict each other: {what}")]
    Lengths {
        /// Which ones.
        what: &'static str,
    },
    /// It was sealed without a recovery key.
    #[error("the message was sealed without a recovery key")]
    NoRecovery,
    /// The disk failed.
    #[error("reading the sealed message")]
    Io(#[from] std::io::Error),
}

/// A part of a sealed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key commitment in the header: a wrong private key, or a header altered.
    Commitment,
    /// The content chunk of that number, from 0.
    Chunk(u64),
    /// The trailer chunk.
    Trailer,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Commitment => f.write_str("the key commitment"),
            Self::Chunk(number) => write!(f, "chunk {number}"),
            Self::Trailer => f.write_str("the trailer"),
        }
    }
}

/// Opens one message.
///
/// [`Opener::new`] authenticates header and trailer; [`Opener::next_chunk`] then gives the content in order and
/// nothing that was not authenticated. The last call compares the content's hash as well.
pub struct Opener<R> {
    source: R,
    keys: MessageKeys,
    header_bytes: u64,
    header_hash: Digest,
    trailer: Trailer,
    chunk: u64,
    hash: Sha256,
    buffer: Vec<u8>,
}

/// Where a sealed message lies in its source and what is known of it from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Whose it must be.
    pub mailbox: MailboxId,
    /// Which it must be.
    pub message: MessageId,
    /// All its sealed octets.
    pub sealed_bytes: u64,
    /// The octets of its sealed trailer.
    pub trailer_bytes: usize,
}

impl<R: ReadSealed> Opener<R> {
    /// Opens for the mailbox's own private key.
    pub fn new(source: R, expected: Expected, private: &PrivateKey) -> Result<Self, OpenError> {
        Self::open(source, expected, |header| header.keys(private).map_err(wrong(Part::Commitment)))
    }

    /// Opens for the private half of the recovery key.
    pub fn recover(source: R, expected: Expected, private: &PrivateKey) -> Result<Self, OpenError> {
        Self::open(source, expected, |header| {
            header.recovery_keys(private).ok_or(OpenError::NoRecovery)?.map_err(wrong(Part::Commitment))
        })
    }

    fn open(
        source: R,
        expected: Expected,
        find_keys: impl FnOnce(&Header) -> Result<MessageKeys, OpenError>,
    ) -> Result<Self, OpenError> {
        let header = read_header(&source, expected.sealed_bytes)?;
        if (header.mailbox, header.message) != (expected.mailbox, expected.message) {
            return Err(OpenError::Exchanged {
                wanted: expected.message,
                found: header.message,
                found_mailbox: header.mailbox,
            });
        }
        let keys = find_keys(&header)?;
        let header_bytes = header.len() as u64;
        let header_hash = header.hash();
        let trailer = read_trailer(&source, expected, header_bytes, header_hash, &keys)?;
        Ok(Self {
            source,
            keys,
            header_bytes,
            header_hash,
            trailer,
            chunk: 0,
            hash: Sha256::new(),
            buffer: Vec::new(),
        })
    }

    /// Trace fields, envelope, and the content's length and hash.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// The next chunk of content; `None` at the end, once length and hash were right.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, OpenError> {
        let chunks = content_chunks(self.trailer.content_bytes);
        if self.chunk == chunks {
            if self.hash.clone().finish() != self.trailer.content_sha256 {
                return Err(wrong(Part::Chunk(self.chunk))(NotAuthentic));
            }
            return Ok(None);
        }
        let at = self.chunk * CHUNK_BYTES as u64;
        // At most CHUNK_BYTES, so it fits any usize.
        let plain =
            usize::try_from((self.trailer.content_bytes - at).min(CHUNK_BYTES as u64)).unwrap_or(CHUNK_BYTES);
        self.buffer.resize(plain + TAG_BYTES, 0);
        let offset = sealed_content_bytes(at)
            .and_then(|before| before.checked_add(self.header_bytes))
            .ok_or(OpenError::Lengths { what: "content and chunks" })?;
        self.source.read_exact_at(&mut self.buffer, offset)?;
        let counter =
            u32::try_from(self.chunk).map_err(|_| OpenError::Lengths { what: "too many chunks" })?;
        let nonce = nonce(self.keys.nonce_prefix, counter, false);
        let part = Part::Chunk(self.chunk);
        self.chunk += 1;
        let content =
            self.keys.key.open(nonce, &self.header_hash.0, &mut self.buffer).map_err(wrong(part))?;
        self.hash.update(content);
        Ok(Some(content))
    }
}

impl<R> std::fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("chunk", &self.chunk).finish_non_exhaustive()
    }
}

impl<R> Drop for Opener<R> {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.buffer);
    }
}

fn read_header(source: &impl ReadSealed, sealed_bytes: u64) -> Result<Header, OpenError> {
    let mut bytes = vec![0; usize::try_from(sealed_bytes).unwrap_or(usize::MAX).min(Header::BYTES_MAX)];
    source.read_exact_at(&mut bytes, 0)?;
    Ok(Header::from_bytes(&bytes)?)
}

fn read_trailer(
    source: &impl ReadSealed,
    expected: Expected,
    header_bytes: u64,
    header_hash: Digest,
    keys: &MessageKeys,
) -> Result<Trailer, OpenError> {
    let sealed_len = expected.trailer_bytes;
    if sealed_len > TRAILER_BYTES_MAX + TAG_BYTES {
        return Err(OpenError::Lengths { what: "the trailer is too long" });
    }
    let sealed_content = expected
        .sealed_bytes
        .checked_sub(header_bytes + sealed_len as u64)
        .ok_or(OpenError::Lengths { what: "header and trailer overlap" })?;
    let chunks = sealed_content.div_ceil((CHUNK_BYTES + TAG_BYTES) as u64);
    let counter = u32::try_from(chunks).map_err(|_| OpenError::Lengths { what: "too many chunks" })?;

    let mut buffer = zeroize::Zeroizing::new(vec![0; sealed_len]);
    source.read_exact_at(&mut buffer, header_bytes + sealed_content)?;
    let nonce = nonce(keys.nonce_prefix, counter, true);
    let plain = keys.key.open(nonce, &header_hash.0, &mut buffer).map_err(wrong(Part::Trailer))?;
    let trailer = Trailer::from_bytes(plain).ok_or(OpenError::Lengths { what: "inside the trailer" })?;
    // Authentic need not mean sound: whoever has the public key can seal any number here.
    if sealed_content_bytes(trailer.content_bytes) != Some(sealed_content) {
        return Err(OpenError::Lengths { what: "content and chunks" });
    }
    Ok(trailer)
}

fn wrong(part: Part) -> impl Fn(NotAuthentic) -> OpenError {
    move |source| OpenError::NotAuthentic { part, source }
}
