//! Passkeys and security keys as second factors: what a browser brings is taken apart and verified here. Pure.
//!
//! Standards: Web Authentication Level 3 (W3C) §7.1 registration, §7.2 assertion, §6.1 authenticator data; COSE keys
//! (RFC 9052 §7, RFC 9053); CBOR (RFC 8949).
//!
//! | what | supported |
//! |---|---|
//! | ES256 (P-256), EdDSA (Ed25519) | yes |
//! | RS256 and others | No: every authenticator on sale has ES256 |
//! | attestation `none`, and `packed` by the key itself | yes; it says nothing about the maker, and nothing is concluded from it |
//! | attestation by a maker's certificate | No: it is not asked for |
//! | sign-in without a password | No: a passkey stands beside the password |
//! | extensions | none asked for; what comes unasked is passed over |
//!
//! Promises
//! - An answer holds for one challenge, of one session, once; for the name that the console is opened under (RP id and origin);
//!   and only with the user's touch (UP). User verification is not asked for: the password is what the user knows.
//! - An authenticator that counts must count upwards; one whose count stands or falls may have been copied, and is refused.
//!
//! Why no crate: `webauthn-rs` needs OpenSSL, `webauthn_rp` brings P-256, P-384, RSA and Ed25519 a second time beside AWS-LC.
//! CBOR is `ciborium`'s, signatures are AWS-LC's; what is left is comparing fields.
//!
//! Not here: challenges and their sessions (`console::sessions`), what is stored (`accounts::passkeys`).

mod authenticator_data;
mod client_data;
#[cfg(test)]
pub(in crate::console) mod device;
mod key;
#[cfg(test)]
mod tests;

use ciborium::Value;
use postern_shared::crypto::digest::sha256;

use authenticator_data::AuthenticatorData;
use client_data::ClientData;
pub(in crate::console) use key::ALGORITHMS;
pub(super) use key::PublicKey;

/// Octets of a challenge: §13.4.3 asks for at least 16.
pub const CHALLENGE_BYTES: usize = 32;

/// Whom answers are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    id: String,
    origin: String,
}

impl RelyingParty {
    /// The console named `host_name`, opened under `host` (name, and port perhaps, as the request says); nothing when it was
    /// opened under another name: browsers bind passkeys to it.
    pub fn of(host_name: &str, host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let (name, port) = host.split_once(':').unwrap_or((&host, "443"));
        let is_ours = name == host_name && port.parse::<u16>().is_ok();
        is_ours.then(|| Self { id: name.to_owned(), origin: format!("https://{host}") })
    }

    /// The name that passkeys are bound to.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// What an authenticator answers when a passkey is made.
#[derive(Debug, Clone)]
pub struct Registered {
    /// `clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `attestationObject`.
    pub attestation: Vec<u8>,
}

/// What it answers when one is used.
#[derive(Debug, Clone)]
pub struct Asserted {
    /// Which passkey.
    pub credential: Vec<u8>,
    /// `clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `authenticatorData`.
    pub authenticator_data: Vec<u8>,
    /// Over both.
    pub signature: Vec<u8>,
}

/// Why a passkey is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasskeyError {
    /// Not what authenticators answer.
    #[error("the passkey's answer cannot be read ({0}); try again, or use another browser")]
    Malformed(&'static str),
    /// For something else.
    #[error("the passkey's answer is for {0}; try again from the beginning")]
    For(&'static str),
    /// Nobody touched it.
    #[error("the passkey was not touched; try again")]
    Untouched,
    /// Neither ES256 nor EdDSA.
    #[error("keys of this kind are not supported; use a passkey of ES256 or Ed25519")]
    UnsupportedKey,
    /// Attestation that was not asked for.
    #[error("the passkey sends a maker's certificate that was not asked for; allow it to be anonymous")]
    Attestation,
    /// The signature does not hold.
    #[error("the passkey's signature is wrong")]
    BadSignature,
    /// Not one of this administrator's.
    #[error("this passkey is not one of yours; use one that is set up")]
    NotYours,
    /// Set up already.
    #[error("this passkey is set up already")]
    Known,
    /// The count stands or falls.
    #[error(
        "the passkey's count went back, so it may have been copied; use another second factor and remove this one"
    )]
    Copied,
    /// As many as there may be.
    #[error("there are {0} passkeys, the most there may be; remove one first")]
    TooMany(usize),
    /// Not a name.
    #[error("a passkey's name has 1 to 64 characters, none of them a control character")]
    BadName,
}

/// What is known of a passkey that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) credential: Vec<u8>,
    pub(super) key: PublicKey,
    pub(super) count: u32,
}

/// Verifies what came when a passkey was made (§7.1).
pub(super) fn made(
    registered: &Registered,
    challenge: &[u8; CHALLENGE_BYTES],
    party: &RelyingParty,
) -> Result<Made, PasskeyError> {
    ClientData::read(&registered.client_data)?.check("webauthn.create", challenge, &party.origin)?;
    let (format, statement, octets) = attestation(&registered.attestation)?;
    let data = AuthenticatorData::read(&octets)?;
    data.check(&party.id)?;
    let Some(attested) = data.attested else { return Err(PasskeyError::Malformed("there is no key in it")) };
    match (format.as_str(), &statement[..]) {
        ("none", []) => {}
        // §8.2: by the key itself, which proves that it is there.
        ("packed", statement) => {
            let field = |name: &str| {
                statement.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
            };
            let signature = field("sig").and_then(Value::as_bytes);
            let (Some(signature), None) = (signature, field("x5c")) else {
                return Err(PasskeyError::Attestation);
            };
            attested.key.verify(&signed(&octets, &registered.client_data), signature)?;
        }
        _ => return Err(PasskeyError::Attestation),
    }
    Ok(Made { credential: attested.credential, key: attested.key, count: data.count })
}

/// Verifies what came when a passkey with this key and count was used (§7.2); its count from then on.
pub(super) fn used(
    asserted: &Asserted,
    (key, count): (&PublicKey, u32),
    challenge: &[u8; CHALLENGE_BYTES],
    party: &RelyingParty,
) -> Result<u32, PasskeyError> {
    ClientData::read(&asserted.client_data)?.check("webauthn.get", challenge, &party.origin)?;
    let data = AuthenticatorData::read(&asserted.authenticator_data)?;
    data.check(&party.id)?;
    key.verify(&signed(&asserted.authenticator_data, &asserted.client_data), &asserted.signature)?;
    if (data.count, count) != (0, 0) && data.count <= count {
        return Err(PasskeyError::Copied);
    }
    Ok(data.count)
}

/// What an authenticator signs.
fn signed(authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
    [authenticator_data, &sha256(client_data).0].concat()
}

/// A map of CBOR.
type Fields = Vec<(Value, Value)>;

/// An attestation object: `{"fmt": text, "attStmt": map, "authData": octets}`.
fn attestation(octets: &[u8]) -> Result<(String, Fields, Vec<u8>), PasskeyError> {
    const WRONG: PasskeyError = PasskeyError::Malformed("the attestation object");
    let mut rest = octets;
    let Value::Map(fields) = read(&mut rest)? else { return Err(WRONG) };
    let (mut format, mut statement, mut data) = (None, None, None);
    for (name, value) in fields {
        match (name.as_text(), value) {
            (Some("fmt"), Value::Text(text)) if format.is_none() => format = Some(text),
            (Some("attStmt"), Value::Map(map)) if statement.is_none() => statement = Some(map),
            (Some("authData"), Value::Bytes(octets)) if data.is_none() => data = Some(octets),
            _ => return Err(WRONG),
        }
    }
    match (format, statement, data) {
        (Some(format), Some(statement), Some(data)) if rest.is_empty() => Ok((format, statement, data)),
        _ => Err(WRONG),
    }
}

/// One item of CBOR, of few levels; `rest` goes on behind it.
fn read(rest: &mut &[u8]) -> Result<Value, PasskeyError> {
    const LEVELS_MAX: usize = 8;
    let item = ciborium::de::from_reader_with_recursion_limit(&mut *rest, LEVELS_MAX);
    item.map_err(|_| PasskeyError::Malformed("CBOR"))
}
