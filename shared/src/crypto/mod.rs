//! Cryptography: what Postern seals with, and nothing a caller could combine wrongly.
//!
//! | file | what |
//! |---|---|
//! | [`aead`] | AES-256-GCM under a key that is wiped after use |
//! | [`digest`] | SHA-256, HMAC-SHA-256, HKDF-SHA-256, PBKDF2 for SCRAM |
//! | [`keys`] | X-Wing key pairs (X25519 + ML-KEM-768) and private keys locked by a password |
//! | [`password`] | generated passwords, Argon2id |
//! | [`seal`] | the sealed message: the format in which mail lies in a spool |
//! | [`Wiped`] | what is long and in the clear, overwritten after use |
//!
//! AES-GCM, SHA-256, HMAC and HKDF come from AWS-LC, which TLS brings along anyway; X-Wing and Argon2id from
//! `RustCrypto`. No primitive is written here.

pub mod aead;
pub mod digest;
pub mod keys;
pub mod password;
pub mod seal;
mod wiped;

pub use wiped::Wiped;
use zeroize::Zeroizing;

/// 32 secret bytes, wiped when dropped.
pub type SecretBytes = Zeroizing<[u8; 32]>;

/// `N` bytes from the operating system's random number generator.
///
/// # Panics
/// When the system has no random numbers; going on without them would be worse.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random number generator works");
    bytes
}

/// 32 secret random bytes.
pub fn random_secret() -> SecretBytes {
    Zeroizing::new(random())
}

/// Compares without telling by its duration where the difference lies.
pub fn equal_constant_time(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}
