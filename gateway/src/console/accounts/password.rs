//! What is stored of a password, and what a chosen one must be.

use std::fmt;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::{Digest, hmac_sha256};
use postern_shared::crypto::password::{Argon2Cost, BadCost, SALT_BYTES, derive_key};
use postern_shared::crypto::{equal_constant_time, random};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// NIST SP 800-63B-4 §3.1.1.2 asks for 8, and for 15 where it is the only factor.
pub(super) const CHARS_MIN: usize = 12;
const BYTES_MAX: usize = 256;
const VERIFIER: &[u8] = b"postern console password v1";

/// What is stored of a password.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredPassword {
    #[serde(with = "hex::serde")]
    salt: [u8; SALT_BYTES],
    cost: Argon2Cost,
    /// HMAC-SHA-256 under what Argon2id makes of it.
    verifier: Digest,
    pub(super) since: UnixMillis,
    /// Made by us for somebody else to hand over.
    pub(super) given: bool,
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredPassword").field("since", &self.since).finish_non_exhaustive()
    }
}

impl StoredPassword {
    /// Blocks for Argon2id.
    pub(super) fn of(
        password: &SecretString,
        cost: Argon2Cost,
        since: UnixMillis,
        given: bool,
    ) -> Result<Self, BadCost> {
        let salt = random();
        Ok(Self { salt, cost, verifier: verifier(password, &salt, cost)?, since, given })
    }

    /// Blocks for Argon2id.
    pub(super) fn is(&self, password: &SecretString) -> bool {
        verifier(password, &self.salt, self.cost)
            .is_ok_and(|found| equal_constant_time(&found.0, &self.verifier.0))
    }

    /// Costs what [`StoredPassword::is`] costs.
    pub(super) fn is_nobodys(password: &SecretString, cost: Argon2Cost) {
        // Only the time it takes is wanted.
        let _ = verifier(password, &[0; SALT_BYTES], cost);
    }
}

fn verifier(password: &SecretString, salt: &[u8; SALT_BYTES], cost: Argon2Cost) -> Result<Digest, BadCost> {
    derive_key(password, salt, cost).map(|key| hmac_sha256(&key, VERIFIER))
}

/// Why a chosen password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Too short.
    #[error("a password has at least {CHARS_MIN} characters; a sentence is easy to remember")]
    Short,
    /// Too long.
    #[error("a password has at most {BYTES_MAX} octets")]
    Long,
    /// Anybody would try it.
    #[error(
        "this password is easily guessed: it is made of a name, of one repeated piece, or of characters in a row"
    )]
    Guessed,
    /// It is the present one.
    #[error("this is the password you have; choose another")]
    Same,
}

/// Words that passwords of this program and its operators begin with.
const OBVIOUS: [&str; 8] =
    ["postern", "password", "passwort", "administrator", "admin", "gateway", "archive", "qwertz"];

/// Whether somebody may choose this password.
pub(super) fn acceptable(name: &str, password: &SecretString) -> Result<(), BadPassword> {
    let text = password.expose_secret();
    if text.len() > BYTES_MAX {
        return Err(BadPassword::Long);
    }
    if text.chars().count() < CHARS_MIN {
        return Err(BadPassword::Short);
    }
    // What is left without names and obvious words must be worth guessing at.
    let mut rest = text.to_lowercase().replace("qwerty", "");
    for word in OBVIOUS.into_iter().chain((name.len() > 2).then_some(name)) {
        rest = rest.replace(word, "");
    }
    let characters: Vec<char> = rest.chars().collect();
    let distinct = characters.iter().collect::<std::collections::BTreeSet<_>>().len();
    let steps = characters.windows(2).filter(|pair| is_next(pair[0], pair[1])).count();
    if characters.len() < 6 || distinct < 5 || steps * 3 > characters.len() * 2 {
        return Err(BadPassword::Guessed);
    }
    Ok(())
}

fn is_next(a: char, b: char) -> bool {
    a == b || u32::from(a).abs_diff(u32::from(b)) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_would_try_is_refused() {
        let judged = |text: &str| acceptable("anna", &SecretString::from(text));
        assert_eq!(judged("short"), Err(BadPassword::Short));
        assert_eq!(judged(&"x1y2z3".repeat(50)), Err(BadPassword::Long));
        for guessed in [
            "aaaaaaaaaaaaaa",
            "123456789012345",
            "abcdefghijklmnop",
            "Passwort1234",
            "annaannaanna",
            "adminadmin1!",
        ] {
            assert_eq!(judged(guessed), Err(BadPassword::Guessed), "{guessed}");
        }
        for good in ["wir gehen heute schwimmen", "Tr0mbone-Lantern-9", "Käse über Brücken"] {
            assert_eq!(judged(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn a_password_is_known_again_and_shown_nowhere() {
        let password = SecretString::from("Tr0mbone-Lantern-9");
        let stored = StoredPassword::of(&password, Argon2Cost::TESTS_ONLY, UnixMillis(0), false).unwrap();
        assert!(stored.is(&password) && !stored.is(&SecretString::from("tr0mbone-Lantern-9")));
        assert!(!serde_json::to_string(&stored).unwrap().contains("Tr0mbone"));
        assert!(!format!("{stored:?}").contains(&stored.verifier.to_string()));
    }
}
