//! An authenticator and its browser, in software, for tests: honest unless it is told otherwise.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ciborium::Value;
use ciborium::value::Integer;
use postern_shared::crypto::digest::sha256;
use postern_shared::crypto::random;

use super::{Asserted, Registered};

enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// One passkey, and what its next answer says.
pub(in crate::console) struct Device {
    key: Key,
    pub(in crate::console) credential: Vec<u8>,
    pub(in crate::console) party: String,
    pub(in crate::console) origin: String,
    pub(in crate::console) kind: Option<&'static str>,
    pub(in crate::console) count: u32,
    pub(in crate::console) flags: u8,
    pub(in crate::console) format: &'static str,
    pub(in crate::console) more_client_data: &'static str,
    pub(in crate::console) extensions: bool,
}

impl Device {
    pub(in crate::console) fn p256(party: &str, origin: &str) -> Self {
        Self::new(Key::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()), party, origin)
    }

    pub(in crate::console) fn ed25519(party: &str, origin: &str) -> Self {
        Self::new(Key::Ed25519(Ed25519KeyPair::generate().unwrap()), party, origin)
    }

    fn new(key: Key, party: &str, origin: &str) -> Self {
        Self {
            key,
            credential: random::<24>().to_vec(),
            party: party.into(),
            origin: origin.into(),
            kind: None,
            count: 1,
            flags: 1,
            format: "none",
            more_client_data: "",
            extensions: false,
        }
    }

    fn client_data(&self, kind: &str, challenge: &[u8]) -> Vec<u8> {
        let (kind, challenge) = (self.kind.unwrap_or(kind), BASE64_URL_SAFE_NO_PAD.encode(challenge));
        let (origin, more) = (&self.origin, self.more_client_data);
        format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"{more}}}"#).into_bytes()
    }

    fn head(&self, flags: u8) -> Vec<u8> {
        let flags = self.flags | flags | if self.extensions { 0x80 } else { 0 };
        [&sha256(self.party.as_bytes()).0[..], &[flags], &self.count.to_be_bytes()].concat()
    }

    fn extensions(&self) -> Vec<u8> {
        match self.extensions {
            true => cbor(&Value::Map(vec![("credProtect".into(), 2.into())])),
            false => Vec::new(),
        }
    }

    pub(in crate::console) fn sign(&self, octets: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::P256(key) => key.sign(&SystemRandom::new(), octets).unwrap().as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(octets).as_ref().to_vec(),
        }
    }

    /// The key as COSE has it.
    pub(in crate::console) fn cose(&self) -> Value {
        let number = |value: i64| Value::Integer(Integer::from(value));
        let pairs = match &self.key {
            Key::P256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (point[1..33].to_vec(), point[33..].to_vec());
                vec![
                    (number(1), number(2)),
                    (number(3), number(-7)),
                    (number(-1), number(1)),
                    (number(-2), Value::Bytes(x)),
                    (number(-3), Value::Bytes(y)),
                ]
            }
            Key::Ed25519(key) => vec![
                (number(1), number(1)),
                (number(3), number(-8)),
                (number(-1), number(6)),
                (number(-2), Value::Bytes(key.public_key().as_ref().to_vec())),
            ],
        };
        Value::Map(pairs)
    }

    /// Makes the passkey.
    pub(in crate::console) fn register(&self, challenge: &[u8]) -> Registered {
        self.register_as(challenge, &self.cose())
    }

    /// The same with another key in it.
    pub(in crate::console) fn register_as(&self, challenge: &[u8], key: &Value) -> Registered {
        let length = u16::try_from(self.credential.len()).unwrap().to_be_bytes();
        let key = cbor(key);
        let head = self.head(0x40);
        let data = [&head[..], &[0; 16], &length, &self.credential, &key, &self.extensions()].concat();
        let client_data = self.client_data("webauthn.create", challenge);
        let statement = match self.format {
            "packed" => {
                let signature = self.sign(&[&data[..], &sha256(&client_data).0].concat());
                vec![("alg".into(), (-7).into()), ("sig".into(), Value::Bytes(signature))]
            }
            _ => Vec::new(),
        };
        let attestation = cbor(&Value::Map(vec![
            ("fmt".into(), self.format.into()),
            ("attStmt".into(), Value::Map(statement)),
            ("authData".into(), Value::Bytes(data)),
        ]));
        Registered { client_data, attestation }
    }

    /// Uses it.
    pub(in crate::console) fn answer(&self, challenge: &[u8]) -> Asserted {
        let client_data = self.client_data("webauthn.get", challenge);
        let authenticator_data = [self.head(0), self.extensions()].concat();
        let signature = self.sign(&[&authenticator_data[..], &sha256(&client_data).0].concat());
        Asserted { credential: self.credential.clone(), client_data, authenticator_data, signature }
    }
}

pub(in crate::console) fn cbor(value: &Value) -> Vec<u8> {
    let mut octets = Vec::new();
    ciborium::ser::into_writer(value, &mut octets).unwrap();
    octets
}
