//! The code that the first sign-in asks for when it comes from another machine.
//!
//! `admin` with the password `admin` is known to everybody, scanners included. Who sits at the machine, or can run a command
//! there, is an operator; who merely reaches the port has to show a code that only such a one can have got. It is made when
//! the gateway starts, lies in memory alone, and is worth nothing once somebody has signed in.

use postern_shared::crypto::{equal_constant_time, random};
use secrecy::{ExposeSecret, SecretString};

use super::totp::base32;

const BYTES: usize = 10;

/// Where the first sign-in comes from.
#[derive(Debug, Clone, Copy)]
pub enum Place<'c> {
    /// This machine.
    Here,
    /// Another one, with the code it gave.
    Elsewhere(Option<&'c SecretString>),
}

/// Sixteen letters and digits in four groups.
#[derive(Debug)]
pub(super) struct SetupCode(SecretString);

impl SetupCode {
    pub(super) fn generate() -> Self {
        let code = zeroize::Zeroizing::new(base32(&random::<BYTES>()));
        let groups: Vec<&str> = (0..4).map(|group| &code[group * 4..group * 4 + 4]).collect();
        Self(SecretString::from(groups.join("-")))
    }

    pub(super) fn shown(&self) -> SecretString {
        self.0.clone()
    }

    /// Whether somebody may sign in first from there.
    pub(super) fn admits(&self, place: Place<'_>) -> bool {
        match place {
            Place::Here => true,
            Place::Elsewhere(None) => false,
            Place::Elsewhere(Some(given)) => {
                let (own, given) = (plain(&self.0), plain(given));
                equal_constant_time(own.as_bytes(), given.as_bytes())
            }
        }
    }
}

/// As typed: in any case, with or without hyphens.
fn plain(code: &SecretString) -> zeroize::Zeroizing<String> {
    let letters = code.expose_secret().chars().filter(char::is_ascii_alphanumeric);
    zeroize::Zeroizing::new(letters.map(|letter| letter.to_ascii_uppercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_admits_from_elsewhere() {
        let code = SetupCode::generate();
        let shown = code.shown();
        let typed = SecretString::from(shown.expose_secret().to_lowercase().replace('-', " "));
        let other = SetupCode::generate().shown();
        assert_eq!(shown.expose_secret().len(), 19);
        assert!(code.admits(Place::Here));
        assert!(code.admits(Place::Elsewhere(Some(&shown))) && code.admits(Place::Elsewhere(Some(&typed))));
        assert!(!code.admits(Place::Elsewhere(None)) && !code.admits(Place::Elsewhere(Some(&other))));
        assert!(!code.admits(Place::Elsewhere(Some(&SecretString::from("")))));
        assert!(!format!("{code:?}").contains(shown.expose_secret()));
    }
}
