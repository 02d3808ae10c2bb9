//! Passwords: generated ones, and keys derived from them by Argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SecretBytes;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// What Argon2id costs; stored beside what it protects, so that it can grow later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argon2Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes, computed one after the other here.
    pub lanes: u32,
}

impl Argon2Cost {
    /// RFC 9106 §4, second recommended option (64 MiB, 3 passes), with one lane.
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// The smallest cost; only tests may use it.
    pub const TESTS_ONLY: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };
    /// More than this is refused when read from a file, so that a forged file cannot exhaust the memory.
    const MEMORY_KIB_MAX: u32 = 1024 * 1024;
    const PASSES_MAX: u32 = 16;
}

/// The stored cost cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Argon2id parameters out of range: {0:?}")]
pub struct BadCost(Argon2Cost);

/// The key that `password` and `salt` stand for. Takes about 0.1 s and 64 MiB at the default cost:
/// call it where blocking is allowed, and not for everybody at once.
pub fn derive_key(
    password: &SecretString,
    salt: &[u8; SALT_BYTES],
    cost: Argon2Cost,
) -> Result<SecretBytes, BadCost> {
    if cost.memory_kib > Argon2Cost::MEMORY_KIB_MAX || cost.passes > Argon2Cost::PASSES_MAX {
        return Err(BadCost(cost));
    }
    let params =
        Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(|_| BadCost(cost))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose_secret().as_bytes(), salt, &mut *key)
        .map_err(|_| BadCost(cost))?;
    Ok(key)
}

/// What generated passwords are made of.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789A";
const GROUPS: [usize; 4] = [7, 7, 6, 6];

/// A new password: 26 characters out of 32 in groups, 130 bits; no character is mistaken for another.
pub fn generate() -> SecretString {
    let random = Zeroizing::new(super::random::<26>());
    let mut characters = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    let mut password = String::with_capacity(29);
    for (i, len) in GROUPS.into_iter().enumerate() {
        if i > 0 {
            password.push('-');
        }
        password.extend(characters.by_ref().take(len));
    }
    SecretString::from(password)
}

/// Whether a text looks like [`generate`]'s work in every character, but for space around it. People do not come upon that: so
/// a server that is not ours never needs to be shown such a text.
pub fn is_generated(text: &str) -> bool {
    let is_group = |(group, len): (&str, usize)| {
        group.len() == len && group.bytes().all(|byte| ALPHABET.contains(&byte))
    };
    let text = text.trim();
    text.split('-').count() == GROUPS.len() && text.split('-').zip(GROUPS).all(is_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_password_and_salt_give_the_same_key() {
        let password = generate();
        let key = |salt| derive_key(&password, &[salt; SALT_BYTES], Argon2Cost::TESTS_ONLY).unwrap();
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
    }

    #[test]
    fn generated_passwords_differ_and_have_their_length() {
        let (a, b) = (generate(), generate());
        assert_ne!(a.expose_secret(), b.expose_secret());
        assert_eq!(a.expose_secret().len(), 29);
    }

    /// Goal: every generated password is known as one, and none of those that people and other programs make.
    #[test]
    fn generated_passwords_are_known_by_their_looks() {
        for _ in 0..5_000 {
            let password = generate();
            assert!(is_generated(password.expose_secret()), "{}", password.expose_secret());
        }
        let one = "bcdefgh-jkmnpqr-stuvwx-yz2345";
        assert!(is_generated(one) && is_generated("AAAAAAA-AAAAAAA-AAAAAA-AAAAAA"));
        assert!(is_generated(&format!(" {one}\n")), "pasted");
        for other in [
            "",
            "-",
            "---",
            "secret",
            "correct-horse-battery-staple",
            // An app password at Apple, and at Google as it is shown and as it is typed.
            "abcd-efgh-jkmn-pqrs",
            "abcd efgh jkmn pqrs",
            "abcdefghjkmnpqrs",
            "550e8400-e29b-41d4-a716-446655440000",
            "iloveyo-ulilili-iiiiii-llllll",
            "0000000-1111111-000000-111111",
            "BCDEFGH-JKMNPQR-STUVWX-YZ2345",
            &one.replace('-', ""),
            &one.replace('-', " "),
            &one[1..],
            &one[..one.len() - 1],
            &format!("{one}-"),
            &format!("-{one}"),
            &format!("{one}-abcdef"),
            "bcdefg-jkmnpqr-stuvwx-yz23456",
            "bcdefgh-jkmnpqr-stuvwx-yz234é",
        ] {
            assert!(!is_generated(other), "{other:?}");
        }
    }

    #[test]
    fn a_forged_cost_is_refused() {
        for cost in [
            Argon2Cost { memory_kib: u32::MAX, ..Argon2Cost::DEFAULT },
            Argon2Cost { passes: 0, ..Argon2Cost::DEFAULT },
            Argon2Cost { passes: 1000, ..Argon2Cost::DEFAULT },
        ] {
            assert!(derive_key(&generate(), &[0; SALT_BYTES], cost).is_err(), "{cost:?}");
        }
    }
}
