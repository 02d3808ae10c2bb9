//! The header of a sealed message: which message of which mailbox, and what the key is found with.

use zeroize::Zeroizing;

use super::encapsulation::{Encapsulation, ToRecovery};
use crate::crypto::aead::{AeadKey, NONCE_BYTES, NotAuthentic};
use crate::crypto::digest::{Digest, hkdf_sha256, sha256};
use crate::crypto::keys::{ENCAPSULATION_BYTES, PrivateKey};
use crate::crypto::{SecretBytes, equal_constant_time};
use crate::id::{MailboxId, MessageId};

const MAGIC: &[u8; 4] = b"PSM1";
const FIXED_BYTES: usize = 64;
const WRAPPED_SECRET_BYTES: usize = 48;
const MESSAGE_INFO: &[u8] = b"postern spool v1";
const RECOVERY_INFO: &[u8] = b"postern spool recovery v1";

/// A header, read or written; its hash is associated data of every chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The mailbox the message is sealed to.
    pub mailbox: MailboxId,
    /// The message.
    pub message: MessageId,
    commitment: [u8; 32],
    encapsulation: Box<[u8; ENCAPSULATION_BYTES]>,
    recovery: Option<Box<Recovery>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Recovery {
    encapsulation: [u8; ENCAPSULATION_BYTES],
    wrapped_secret: [u8; WRAPPED_SECRET_BYTES],
}

/// The bytes are no header of a version this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Fewer bytes than the header has.
    #[error("the sealed header is cut short")]
    Truncated,
    /// Another magic number, version or flag.
    #[error("not a sealed message of version 1")]
    Unknown,
}

/// What the chunks of one message are sealed with.
pub(super) struct MessageKeys {
    pub(super) key: AeadKey,
    pub(super) nonce_prefix: [u8; 7],
    commitment: [u8; 32],
}

impl Header {
    /// The header of a new message, and its keys.
    pub(super) fn create(
        mailbox: MailboxId,
        message: MessageId,
        encapsulation: &Encapsulation,
    ) -> (Self, MessageKeys) {
        let Encapsulation { secret, to_mailbox, to_recovery } = encapsulation;
        let keys = message_keys(secret, mailbox, message);
        let recovery = to_recovery.as_ref().map(|ToRecovery { shared, encapsulation }| {
            let mut wrapped_secret = [0; WRAPPED_SECRET_BYTES];
            wrapped_secret[..32].copy_from_slice(&**secret);
            let key = recovery_key(shared, mailbox, message);
            let tag = key.seal([0; NONCE_BYTES], &[], &mut wrapped_secret[..32]);
            wrapped_secret[32..].copy_from_slice(&tag);
            Box::new(Recovery { encapsulation: *encapsulation, wrapped_secret })
        });
        let header = Self {
            mailbox,
            message,
            commitment: keys.commitment,
            encapsulation: Box::new(*to_mailbox),
            recovery,
        };
        (header, keys)
    }

    /// The keys of the message for the mailbox's own private key.
    pub(super) fn keys(&self, private: &PrivateKey) -> Result<MessageKeys, NotAuthentic> {
        self.committed(&private.decapsulate(&self.encapsulation))
    }

    /// The keys of the message for the private half of the recovery key; `None` when it was sealed without one.
    pub(super) fn recovery_keys(&self, private: &PrivateKey) -> Option<Result<MessageKeys, NotAuthentic>> {
        let recovery = self.recovery.as_ref()?;
        let key = recovery_key(&private.decapsulate(&recovery.encapsulation), self.mailbox, self.message);
        let mut wrapped = Zeroizing::new(recovery.wrapped_secret);
        let secret = key
            .open([0; NONCE_BYTES], &[], &mut *wrapped)
            .and_then(|secret| <[u8; 32]>::try_from(&*secret).map_err(|_| NotAuthentic));
        Some(secret.and_then(|secret| self.committed(&Zeroizing::new(secret))))
    }

    fn committed(&self, secret: &SecretBytes) -> Result<MessageKeys, NotAuthentic> {
        let keys = message_keys(secret, self.mailbox, self.message);
        if equal_constant_time(&keys.commitment, &self.commitment) { Ok(keys) } else { Err(NotAuthentic) }
    }

    /// The header as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[1 + u8::from(self.recovery.is_some()), 0, 0, 0]);
        out.extend_from_slice(&self.mailbox.to_bytes());
        out.extend_from_slice(&self.message.to_bytes());
        out.extend_from_slice(&self.commitment);
        out.extend_from_slice(&*self.encapsulation);
        if let Some(recovery) = &self.recovery {
            out.extend_from_slice(&recovery.encapsulation);
            out.extend_from_slice(&recovery.wrapped_secret);
        }
        out
    }

    /// Reads the header at the start of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadHeader> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_BYTES>().ok_or(BadHeader::Truncated)?;
        if &fixed[..4] != MAGIC || !matches!(fixed[4], 1 | 2) || fixed[5..8] != [0; 3] {
            return Err(BadHeader::Unknown);
        }
        let (encapsulation, rest) = rest.split_first_chunk().ok_or(BadHeader::Truncated)?;
        let recovery = if fixed[4] == 2 {
            let (encapsulation, rest) = rest.split_first_chunk().ok_or(BadHeader::Truncated)?;
            let wrapped_secret = rest.first_chunk().ok_or(BadHeader::Truncated)?;
            Some(Box::new(Recovery { encapsulation: *encapsulation, wrapped_secret: *wrapped_secret }))
        } else {
            None
        };
        Ok(Self {
            mailbox: MailboxId::from_bytes(field(fixed, 8)),
            message: MessageId::from_bytes(field(fixed, 16)),
            commitment: field(fixed, 32),
            encapsulation: Box::new(*encapsulation),
            recovery,
        })
    }

    /// The most octets a header takes.
    pub const BYTES_MAX: usize = FIXED_BYTES + 2 * ENCAPSULATION_BYTES + WRAPPED_SECRET_BYTES;

    /// Octets this header takes.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub fn len(&self) -> usize {
        match self.recovery {
            None => FIXED_BYTES + ENCAPSULATION_BYTES,
            Some(_) => Self::BYTES_MAX,
        }
    }

    pub(super) fn hash(&self) -> Digest {
        sha256(&self.to_bytes())
    }
}

fn field<const N: usize>(bytes: &[u8; FIXED_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn message_keys(secret: &SecretBytes, mailbox: MailboxId, message: MessageId) -> MessageKeys {
    let derived = hkdf_sha256::<71>(&**secret, &[MESSAGE_INFO, &mailbox.to_bytes(), &message.to_bytes()]);
    let key = Zeroizing::new(std::array::from_fn(|i| derived[i]));
    MessageKeys {
        key: AeadKey::new(&key),
        nonce_prefix: std::array::from_fn(|i| derived[32 + i]),
        commitment: std::array::from_fn(|i| derived[39 + i]),
    }
}

fn recovery_key(shared: &SecretBytes, mailbox: MailboxId, message: MessageId) -> AeadKey {
    AeadKey::new(&hkdf_sha256::<32>(&**shared, &[RECOVERY_INFO, &mailbox.to_bytes(), &message.to_bytes()]))
}
