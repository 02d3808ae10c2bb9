//! A private key and its chain in one PEM text, so that one file, replaced at once, never holds halves of two.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// PEM: the private key, then the certificates, leaf first.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Bundle(String);

impl Bundle {
    /// Of DER: the key's section name (`PRIVATE KEY`, …), the key, the certificates.
    pub(super) fn new<'c>(key_kind: &str, key: &[u8], chain: impl IntoIterator<Item = &'c [u8]>) -> Self {
        let mut bundle = Self(String::new());
        section(&mut bundle.0, key_kind, key);
        for certificate in chain {
            section(&mut bundle.0, "CERTIFICATE", certificate);
        }
        bundle
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bundle(…)")
    }
}

/// RFC 7468 §2: 64 characters a line.
fn section(text: &mut String, kind: &str, der: &[u8]) {
    // Room for all of it at once: a String that grows by itself leaves copies of the key behind.
    let mut grown = String::with_capacity(text.len() + der.len() * 2 + 2 * kind.len() + 64);
    grown.push_str(text);
    std::mem::replace(text, grown).zeroize();
    text.push_str(&format!("-----BEGIN {kind}-----\n"));
    let mut line = Zeroizing::new(String::with_capacity(64));
    for octets in der.chunks(48) {
        line.clear();
        STANDARD.encode_string(octets, &mut line);
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(&format!("-----END {kind}-----\n"));
}
