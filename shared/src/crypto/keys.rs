//! Key pairs of mailboxes: X-Wing (draft-connolly-cfrg-xwing-kem-06), which holds as long as either X25519 or
//! ML-KEM-768 does.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use x_wing::{
    CIPHERTEXT_SIZE, DECAPSULATION_KEY_SIZE, Decapsulate, DecapsulationKey, Decapsulator,
    ENCAPSULATION_KEY_SIZE, Encapsulate, EncapsulationKey, KeyExport,
};
use zeroize::Zeroizing;

use super::aead::{AeadKey, NotAuthentic};
use super::password::{Argon2Cost, BadCost, SALT_BYTES, derive_key};
use super::{SecretBytes, random, random_secret};

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = ENCAPSULATION_KEY_SIZE;
/// Bytes of an encapsulation.
pub const ENCAPSULATION_BYTES: usize = CIPHERTEXT_SIZE;

/// Whom a message is sealed to. Holding it, one can seal and never open.
#[derive(Clone)]
pub struct PublicKey(Box<EncapsulationKey>);

/// The bytes are no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X-Wing public key ({PUBLIC_KEY_BYTES} bytes)")]
pub struct BadPublicKey;

impl PublicKey {
    /// Checks length and, for the ML-KEM half, that every coefficient is reduced (FIPS 203 §7.2).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadPublicKey> {
        EncapsulationKey::try_from(bytes).map(|key| Self(Box::new(key))).map_err(|_| BadPublicKey)
    }

    /// The key as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }

    /// A fresh shared secret, and what the holder of the private key needs to find it.
    pub fn encapsulate(&self) -> ([u8; ENCAPSULATION_BYTES], SecretBytes) {
        let (ciphertext, mut secret) = self.0.encapsulate();
        let shared = Zeroizing::new(secret.0);
        zeroize::Zeroize::zeroize(&mut secret.0);
        (ciphertext.0, shared)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}…)", hex::encode(&self.to_bytes()[..8]))
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

/// What opens messages. Wiped when dropped.
pub struct PrivateKey {
    key: Box<DecapsulationKey>,
    /// The encapsulation opened last, and its secret: messages of a moment share it (`seal::Encapsulation`).
    last: Mutex<Option<Box<Opened>>>,
}

struct Opened {
    encapsulation: [u8; ENCAPSULATION_BYTES],
    secret: SecretBytes,
}

impl PrivateKey {
    /// A new key.
    pub fn generate() -> Self {
        Self::from_seed(&random_secret())
    }

    /// The key that `seed` stands for.
    pub fn from_seed(seed: &[u8; DECAPSULATION_KEY_SIZE]) -> Self {
        Self { key: Box::new(DecapsulationKey::from(*seed)), last: Mutex::default() }
    }

    /// The 32 bytes the key can be made from again.
    pub fn to_seed(&self) -> SecretBytes {
        Zeroizing::new(*self.key.as_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(Box::new(self.key.encapsulation_key().clone()))
    }

    /// The shared secret inside `encapsulation`. A wrong one gives a wrong secret, not an error: what is opened
    /// with it must be authenticated.
    pub fn decapsulate(&self, encapsulation: &[u8; ENCAPSULATION_BYTES]) -> SecretBytes {
        // What is remembered is complete before it is put there, so a poisoned lock is still right.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = last.as_ref().filter(|opened| opened.encapsulation == *encapsulation) {
            return opened.secret.clone();
        }
        let mut secret = self.key.decapsulate(&(*encapsulation).into());
        let shared = Zeroizing::new(secret.0);
        zeroize::Zeroize::zeroize(&mut secret.0);
        *last = Some(Box::new(Opened { encapsulation: *encapsulation, secret: shared.clone() }));
        shared
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A private key that only the password opens: AES-256-GCM under Argon2id(password, salt), the public key as
/// associated data, so that neither half can be exchanged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPrivateKey {
    cost: Argon2Cost,
    #[serde(with = "hex::serde")]
    salt: [u8; SALT_BYTES],
    #[serde(with = "hex::serde")]
    sealed_seed: Vec<u8>,
}

/// The password does not open the private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// Wrong password, or the stored key was altered: the two cannot be told apart.
    #[error("wrong password")]
    WrongPassword,
    /// The stored Argon2id cost is out of range.
    #[error(transparent)]
    BadCost(#[from] BadCost),
}

impl From<NotAuthentic> for UnlockError {
    fn from(_: NotAuthentic) -> Self {
        Self::WrongPassword
    }
}

impl LockedPrivateKey {
    /// Locks `private` under `password`.
    pub fn lock(private: &PrivateKey, password: &SecretString, cost: Argon2Cost) -> Result<Self, BadCost> {
        let salt = random::<SALT_BYTES>();
        let key = derive_key(password, &salt, cost)?;
        let sealed_seed = AeadKey::new(&key).wrap(&private.public().to_bytes(), &*private.to_seed());
        Ok(Self { cost, salt, sealed_seed })
    }

    /// The private key, when `password` is the right one and `public` its other half. Costs what
    /// [`derive_key`] costs.
    pub fn unlock(&self, password: &SecretString, public: &PublicKey) -> Result<PrivateKey, UnlockError> {
        let key = derive_key(password, &self.salt, self.cost)?;
        let seed = AeadKey::new(&key).unwrap(&public.to_bytes(), &self.sealed_seed)?;
        let seed: &[u8; DECAPSULATION_KEY_SIZE] = seed.as_slice().try_into().map_err(|_| NotAuthentic)?;
        Ok(PrivateKey::from_seed(seed))
    }

    /// Costs as much time as [`LockedPrivateKey::unlock`] and opens nothing: for users who do not exist, so that
    /// an answer's delay does not tell who does.
    pub fn unlock_nobody(password: &SecretString) {
        // The key is thrown away; only the time matters.
        let _ = derive_key(password, &[0; SALT_BYTES], Argon2Cost::DEFAULT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_find_the_same_secret() {
        let private = PrivateKey::generate();
        let public = PublicKey::from_bytes(&private.public().to_bytes()).unwrap();
        let (encapsulation, secret) = public.encapsulate();
        assert_eq!(private.decapsulate(&encapsulation), secret);
        let (other, other_secret) = public.encapsulate();
        assert_eq!(private.decapsulate(&other), other_secret);
        assert_eq!(private.decapsulate(&other), other_secret, "remembered");
        assert_eq!(private.decapsulate(&encapsulation), secret);
        assert_ne!(PrivateKey::generate().decapsulate(&encapsulation), secret);
        assert_eq!(PrivateKey::from_seed(&private.to_seed()).public(), public);
    }

    #[test]
    fn only_the_password_unlocks() {
        let private = PrivateKey::generate();
        let password = super::super::password::generate();
        let locked = LockedPrivateKey::lock(&private, &password, Argon2Cost::TESTS_ONLY).unwrap();
        let json = serde_json::to_string(&locked).unwrap();
        let locked: LockedPrivateKey = serde_json::from_str(&json).unwrap();
        assert_eq!(*locked.unlock(&password, &private.public()).unwrap().to_seed(), *private.to_seed());
        let wrong = SecretString::from("wrong".to_owned());
        assert_eq!(locked.unlock(&wrong, &private.public()).unwrap_err(), UnlockError::WrongPassword);
        let other = PrivateKey::generate().public();
        assert_eq!(locked.unlock(&password, &other).unwrap_err(), UnlockError::WrongPassword);
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        assert_eq!(PublicKey::from_bytes(&[0; 31]).unwrap_err(), BadPublicKey);
        assert_eq!(PublicKey::from_bytes(&[0xff; PUBLIC_KEY_BYTES]).unwrap_err(), BadPublicKey);
    }
}
