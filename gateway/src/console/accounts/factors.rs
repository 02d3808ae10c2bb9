//! Second factors of an administrator: one-time passwords, passkeys, and recovery codes for when the device is lost.

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::crypto::{equal_constant_time, random};
use secrecy::{ExposeSecret, SecretString};

use super::passkey::{Asserted, CHALLENGE_BYTES, PasskeyError, RelyingParty};
use super::passkeys;
use super::record::Record;
use super::totp::{Secret, base32};

const RECOVERY_CODES: usize = 10;
const RECOVERY_CODE_BYTES: usize = 10;

/// What somebody shows besides the password.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A one-time password.
    Totp(SecretString),
    /// A recovery code; it serves once.
    RecoveryCode(SecretString),
    /// A passkey's answer.
    Passkey {
        /// The answer.
        asserted: Asserted,
        /// To what.
        challenge: [u8; CHALLENGE_BYTES],
        /// For whom it should be.
        party: RelyingParty,
    },
}

/// Why a second factor is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactorError {
    /// Not the code, or one that has served already.
    #[error(
        "this code is wrong or has been used; wait for the next one, and check that the device's clock is right"
    )]
    WrongCode,
    /// The passkey, or what it answered.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    /// There is none.
    #[error("no second factor is set up")]
    None,
    /// The sealed secret does not open.
    #[error(
        "the second factor cannot be read (console/key is not the one it was sealed with); postern-gateway admin reset-password --clear-second-factors removes it"
    )]
    Unreadable,
}

pub(super) fn seal(key: &AeadKey, name: &str, secret: &Secret) -> String {
    hex::encode(key.wrap(&about(name), secret.bytes()))
}

fn about(name: &str) -> Vec<u8> {
    [b"postern console totp v1 ", name.as_bytes()].concat()
}

fn unseal(key: &AeadKey, name: &str, sealed: &str) -> Result<Secret, FactorError> {
    let sealed = hex::decode(sealed).map_err(|_| FactorError::Unreadable)?;
    let plain = key.unwrap(&about(name), &sealed).map_err(|_| FactorError::Unreadable)?;
    Secret::from_bytes(&plain).ok_or(FactorError::Unreadable)
}

/// What a proof that holds has used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Used {
    /// No code of this step or an earlier one serves again.
    Step(u64),
    /// The recovery code at this place.
    RecoveryCode(usize),
    /// The passkey at this place counts from here.
    Passkey(usize, u32),
}

/// Whether `proof` holds for `record`, whose last one-time password was of step `last_step`.
pub(super) fn check(
    record: &Record,
    key: &AeadKey,
    proof: &Proof,
    last_step: u64,
    now: UnixMillis,
) -> Result<Used, FactorError> {
    match proof {
        Proof::Totp(code) => {
            let sealed = record.totp.as_deref().ok_or(FactorError::None)?;
            let code: String = code.expose_secret().chars().filter(|c| !c.is_whitespace()).collect();
            let step = unseal(key, &record.name, sealed)?.step_of(&code, now, last_step);
            step.map(Used::Step).ok_or(FactorError::WrongCode)
        }
        Proof::RecoveryCode(code) => {
            let hash = hash(code.expose_secret());
            let equal = |kept: &Digest| equal_constant_time(&kept.0, &hash.0);
            let at = record.recovery_codes.iter().position(equal);
            at.map(Used::RecoveryCode).ok_or(FactorError::WrongCode)
        }
        Proof::Passkey { asserted, challenge, party } => {
            let (at, count) = passkeys::check(&record.passkeys, asserted, challenge, party)?;
            Ok(Used::Passkey(at, count))
        }
    }
}

/// Codes to write down, four groups of four letters and digits, and what is stored of them.
pub(super) fn recovery_codes() -> (Vec<SecretString>, Vec<Digest>) {
    let codes = (0..RECOVERY_CODES).map(|_| {
        let code = zeroize::Zeroizing::new(base32(&random::<RECOVERY_CODE_BYTES>()));
        let groups: Vec<&str> = (0..4).map(|group| &code[group * 4..group * 4 + 4]).collect();
        let hash = hash(&code);
        (SecretString::from(groups.join("-")), hash)
    });
    codes.unzip()
}

/// As typed: in any case, with or without hyphens.
fn hash(code: &str) -> Digest {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    sha256(plain.to_ascii_uppercase().as_bytes())
}
