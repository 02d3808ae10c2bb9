//! AES-256-GCM (NIST SP 800-38D).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Bytes that sealing adds: the authentication tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;

/// The bytes are not what was sealed under this key, nonce and associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed: altered, truncated, or sealed under another key")]
pub struct NotAuthentic;

/// A key. The caller answers for never using a nonce twice under it.
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// The cipher under `key`. AWS-LC wipes its copy when the value is dropped.
    ///
    /// # Panics
    /// Never: 32 bytes are a valid key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are an AES-256 key")))
    }

    /// Encrypts `plaintext` where it lies and returns the tag.
    ///
    /// # Panics
    /// When `plaintext` is longer than GCM allows (64 GiB).
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], plaintext: &mut [u8]) -> [u8; TAG_BYTES] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), plaintext)
            .expect("below GCM's length limit");
        let mut out = [0; TAG_BYTES];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Decrypts `sealed` (ciphertext, then tag) where it lies and returns the plaintext's part of it.
    pub fn open<'b>(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        sealed: &'b mut [u8],
    ) -> Result<&'b mut [u8], NotAuthentic> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(aad), sealed).map_err(|_| NotAuthentic)
    }

    /// `plaintext` as one sealed piece: random nonce, ciphertext, tag. For small secrets under long-lived keys;
    /// at 2^32 pieces under one key the random nonces are used up.
    pub fn wrap(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let nonce = super::random::<NONCE_BYTES>();
        let mut out = Vec::with_capacity(NONCE_BYTES + plaintext.len() + TAG_BYTES);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plaintext);
        let tag = self.seal(nonce, aad, &mut out[NONCE_BYTES..]);
        out.extend_from_slice(&tag);
        out
    }

    /// Undoes [`AeadKey::wrap`].
    pub fn unwrap(&self, aad: &[u8], wrapped: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, NotAuthentic> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or(NotAuthentic)?;
        let mut buffer = zeroize::Zeroizing::new(sealed.to_vec());
        let len = self.open(*nonce, aad, &mut buffer)?.len();
        buffer.truncate(len);
        Ok(buffer)
    }
}

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_comes_back_and_nothing_else_does() {
        let key = AeadKey::new(&[7; 32]);
        let wrapped = key.wrap(b"about", b"secret");
        assert_eq!(key.unwrap(b"about", &wrapped).unwrap().as_slice(), b"secret");
        assert_eq!(key.unwrap(b"other", &wrapped).unwrap_err(), NotAuthentic);
        assert_eq!(AeadKey::new(&[8; 32]).unwrap(b"about", &wrapped).unwrap_err(), NotAuthentic);
        for at in 0..wrapped.len() {
            let mut bent = wrapped.clone();
            bent[at] ^= 1;
            assert_eq!(key.unwrap(b"about", &bent).unwrap_err(), NotAuthentic, "byte {at}");
            assert_eq!(key.unwrap(b"about", &wrapped[..at]).unwrap_err(), NotAuthentic, "cut at {at}");
        }
    }
}
