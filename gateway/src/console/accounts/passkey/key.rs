//! The keys of passkeys: from COSE (RFC 9053 §2, §7), and what they have signed.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use ciborium::Value;
use serde::{Deserialize, Serialize};

use super::PasskeyError;

/// As COSE numbers them.
pub(in crate::console) const ALGORITHMS: [i64; 2] = [ES256, EDDSA];
const ES256: i64 = -7;
const EDDSA: i64 = -8;
const COORDINATE_BYTES: usize = 32;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "algorithm", content = "key", rename_all = "lowercase")]
pub(in crate::console::accounts) enum PublicKey {
    /// A point of P-256, uncompressed (SEC 1 §2.3.3).
    Es256(#[serde(with = "hex")] Vec<u8>),
    /// A point of Ed25519 (RFC 8032 §5.1.2).
    EdDsa(#[serde(with = "hex")] Vec<u8>),
}

impl PublicKey {
    /// Of a COSE key; points that are not on the curve are refused.
    pub(super) fn of(cose: &Value) -> Result<Self, PasskeyError> {
        let Value::Map(fields) = cose else { return Err(PasskeyError::Malformed("the key")) };
        let field = |label: i64| {
            let mut found = fields
                .iter()
                .filter(|(key, _)| key.as_integer().and_then(|key| i64::try_from(key).ok()) == Some(label));
            // Twice the same label would let two readers see two keys.
            match (found.next(), found.next()) {
                (Some((_, value)), None) => Some(value),
                _ => None,
            }
        };
        let number = |label| i64::try_from(field(label)?.as_integer()?).ok();
        let octets =
            |label| field(label)?.as_bytes().filter(|octets| octets.len() == COORDINATE_BYTES).cloned();
        // Key type, algorithm, curve.
        let key = match (number(1), number(3), number(-1)) {
            (Some(2), Some(ES256), Some(1)) => octets(-2)
                .zip(octets(-3))
                .map(|(x, y)| Self::Es256([&[4][..], x.as_slice(), y.as_slice()].concat())),
            (Some(1), Some(EDDSA), Some(6)) => octets(-2).map(Self::EdDsa),
            (Some(_), Some(_), _) => return Err(PasskeyError::UnsupportedKey),
            _ => None,
        };
        let key = key.ok_or(PasskeyError::Malformed("the key"))?;
        let (algorithm, octets) = key.parts();
        let parsed = UnparsedPublicKey::new(algorithm, octets).parse();
        parsed.map_err(|_| PasskeyError::Malformed("the key"))?;
        Ok(key)
    }

    pub(super) fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), PasskeyError> {
        let (algorithm, octets) = self.parts();
        let verified = UnparsedPublicKey::new(algorithm, octets).verify(signed, signature);
        verified.map_err(|_| PasskeyError::BadSignature)
    }

    fn parts(&self) -> (&'static dyn VerificationAlgorithm, &[u8]) {
        match self {
            Self::Es256(octets) => (&ECDSA_P256_SHA256_ASN1, octets),
            Self::EdDsa(octets) => (&ED25519, octets),
        }
    }
}
