//! Secrets on their way from the command line to the daemon. They travel as objects, and no object is recorded (`access`).

use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::aead::AeadKey;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// The key that a profile's password is sealed under between command line and daemon; used once. An object when it travels, as
/// [`Secret`] is.
#[derive(Clone, Serialize, Deserialize)]
pub struct TransportKey {
    #[serde(with = "hex::serde")]
    secret: [u8; 32],
}

impl TransportKey {
    /// A new key.
    pub fn new(key: &SecretBytes) -> Self {
        Self { secret: **key }
    }

    pub(super) fn cipher(&self) -> AeadKey {
        AeadKey::new(&self.secret)
    }
}

impl std::fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TransportKey(..)")
    }
}

impl Drop for TransportKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// A passphrase or a recovery key on its way to the daemon; not shown. It travels as an object, which no audit log records.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    secret: String,
}

impl Secret {
    /// That text.
    pub fn new(text: String) -> Self {
        Self { secret: text }
    }

    pub(super) fn into_inner(self) -> SecretString {
        SecretString::from(self.secret.as_str())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
