//! One-time passwords by the clock (RFC 6238): six digits, SHA-1, every 30 seconds, as every application knows them.

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::hmac_sha1;
use postern_shared::crypto::{equal_constant_time, random};
use zeroize::Zeroizing;

const STEP_SECONDS: u64 = 30;
const DIGITS: usize = 6;
/// RFC 4226 §4: 160 bits are recommended.
pub(super) const SECRET_BYTES: usize = 20;
/// RFC 6238 §5.2: one step either way, for clocks that differ.
const SLACK_STEPS: u64 = 1;

/// The secret that an application shares with us.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A new one.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random()))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &*self.0
    }

    /// As people type it into an application (RFC 4648 §6, without padding).
    pub fn base32(&self) -> Zeroizing<String> {
        Zeroizing::new(base32(&*self.0))
    }

    /// As applications read it from a picture.
    pub fn uri(&self, issuer: &str, name: &str) -> Zeroizing<String> {
        let (issuer, name) = (percent(issuer), percent(name));
        Zeroizing::new(format!("otpauth://totp/{issuer}:{name}?secret={}&issuer={issuer}", *self.base32()))
    }

    /// The step that `code` is for, when it is later than `after`: no code serves twice (RFC 6238 §5.2).
    pub fn step_of(&self, code: &str, now: UnixMillis, after: u64) -> Option<u64> {
        let step = now.0 / 1000 / STEP_SECONDS;
        let steps = step.saturating_sub(SLACK_STEPS)..=step + SLACK_STEPS;
        // All are computed, so that the time taken does not tell which it was.
        let mut found = None;
        for step in steps {
            let right = equal_constant_time(self.code(step).as_bytes(), code.as_bytes());
            if right && step > after {
                found = Some(step);
            }
        }
        found
    }

    /// RFC 4226 §5.3.
    pub(in crate::console) fn code(&self, step: u64) -> Zeroizing<String> {
        let hash = hmac_sha1(&*self.0, &step.to_be_bytes());
        let offset = usize::from(hash[19] & 15);
        let word = u32::from_be_bytes([hash[offset], hash[offset + 1], hash[offset + 2], hash[offset + 3]]);
        let code = (word & 0x7fff_ffff) % 1_000_000;
        Zeroizing::new(format!("{code:0DIGITS$}"))
    }
}

/// RFC 4648 §6, without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut out, mut held, mut bits) = (String::new(), 0u32, 0u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[((held >> bits) & 31) as usize]));
        }
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[((held << (5 - bits)) & 31) as usize]));
    }
    out
}

fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, the last six of its eight digits.
    #[test]
    fn codes_match_the_standard() {
        let secret = Secret::from_bytes(b"12345678901234567890").unwrap();
        let seconds = [59, 1_111_111_109, 1_111_111_111, 1_234_567_890, 2_000_000_000, 20_000_000_000];
        let codes = seconds.map(|seconds: u64| secret.code(seconds / 30).to_string());
        assert_eq!(codes, ["287082", "081804", "050471", "005924", "279037", "353130"]);
    }

    /// RFC 4648 §10.
    #[test]
    fn base32_matches_the_standard() {
        for (plain, coded) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_code_serves_once_and_a_step_either_way() {
        let secret = Secret::generate();
        let now = UnixMillis(1_800_000_000_000);
        let step = now.0 / 30_000;
        for near in [step - 1, step, step + 1] {
            assert_eq!(secret.step_of(&secret.code(near), now, 0), Some(near));
            assert_eq!(secret.step_of(&secret.code(near), now, near), None, "used");
        }
        assert_eq!(secret.step_of(&secret.code(step + 2), now, 0), None);
        assert_eq!(secret.step_of(&secret.code(step - 2), now, 0), None);
        assert_eq!(secret.step_of("", now, 0), None);
    }

    #[test]
    fn names_are_quoted_in_the_uri() {
        let secret = Secret::from_bytes(b"12345678901234567890").unwrap();
        let uri = secret.uri("Postern gate:1", "anna@example.com");
        assert!(
            uri.starts_with("otpauth://totp/Postern%20gate%3A1:anna%40example.com?secret=GEZDGNBV"),
            "{}",
            *uri
        );
    }
}
