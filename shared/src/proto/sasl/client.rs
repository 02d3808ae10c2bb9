//! The client's side of a login: challenges in, responses out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{Credentials, Mechanism};

/// What a client has to say, in its order.
///
/// Call order: [`Answers::initial`] when the protocol lets the first response go with the command; then
/// [`Answers::answer`] for each challenge. What it gives is base64, never logged, and wiped when dropped.
#[derive(Debug, Clone)]
pub struct Answers {
    mechanism: Mechanism,
    credentials: Credentials,
    given: usize,
}

impl Answers {
    /// `None` when the mechanism has no use for these credentials.
    pub fn new(mechanism: Mechanism, credentials: &Credentials) -> Option<Self> {
        let fits = mechanism.takes_password() == matches!(credentials, Credentials::Password(_));
        fits.then(|| Self { mechanism, credentials: credentials.clone(), given: 0 })
    }

    /// The first response, for a client that goes first; LOGIN's server does.
    pub fn initial(&mut self) -> Option<Zeroizing<String>> {
        if self.mechanism == Mechanism::Login { None } else { self.answer("") }
    }

    /// Whether something that proves who it is was not given yet: until then a server has nothing to agree to.
    pub fn has_proof_left(&self) -> bool {
        self.given < if self.mechanism == Mechanism::Login { 2 } else { 1 }
    }

    /// The response to a challenge; `None` when nothing is left to be said.
    ///
    /// A second challenge of XOAUTH2 or OAUTHBEARER is an error report, which wants an empty response or `^A`
    /// (RFC 7628 §3.2.3) before the server says no.
    pub fn answer(&mut self, _challenge: &str) -> Option<Zeroizing<String>> {
        let response = match (self.mechanism, &self.credentials, self.given) {
            (Mechanism::Plain, Credentials::Password(credentials), 0) => credentials.encode(),
            (Mechanism::Login, Credentials::Password(credentials), 0) => base64(&credentials.user),
            (Mechanism::Login, Credentials::Password(credentials), 1) => {
                base64(credentials.password.expose_secret())
            }
            (Mechanism::XOAuth2, Credentials::Bearer(credentials), 0) => base64(&credentials.write_xoauth2()),
            (Mechanism::OAuthBearer, Credentials::Bearer(credentials), 0) => {
                base64(&credentials.write_oauthbearer())
            }
            (Mechanism::XOAuth2, _, 1) => Zeroizing::default(),
            (Mechanism::OAuthBearer, _, 1) => base64("\u{1}"),
            _ => return None,
        };
        self.given += 1;
        Some(response)
    }
}

fn base64(text: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use super::super::{BearerCredentials, PlainCredentials};
    use super::*;

    #[test]
    fn credentials_go_with_their_mechanisms_only() {
        let password = Credentials::Password(PlainCredentials { user: "a".into(), password: "b".into() });
        let bearer = Credentials::Bearer(BearerCredentials { user: "a".into(), token: "b".into() });
        for mechanism in Mechanism::ALL {
            assert_eq!(Answers::new(mechanism, &password).is_some(), mechanism.takes_password());
            assert_eq!(Answers::new(mechanism, &bearer).is_some(), !mechanism.takes_password());
        }
    }

    #[test]
    fn a_report_of_failure_is_answered_and_nothing_after_it() {
        let bearer = Credentials::Bearer(BearerCredentials { user: "a".into(), token: "b".into() });
        for (mechanism, expected) in [(Mechanism::XOAuth2, ""), (Mechanism::OAuthBearer, "AQ==")] {
            let mut answers = Answers::new(mechanism, &bearer).unwrap();
            assert!(answers.has_proof_left());
            assert!(answers.initial().is_some() && !answers.has_proof_left());
            assert_eq!(answers.answer("eyJzdGF0dXMiOiI0MDEifQ==").unwrap().as_str(), expected);
            assert!(answers.answer("").is_none());
        }
    }
}
