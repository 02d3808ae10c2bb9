//! The server's side of a login: challenges out, responses in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{BearerCredentials, Credentials, Mechanism, PlainCredentials, PlainError};

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Send this challenge, in base64 (empty for an empty one); the client's line goes to [`Exchange::respond`].
    Challenge(&'static str),
    /// The client has said all there is to say.
    Done(Credentials),
}

/// Why a login came to nothing before anything was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The client sent `*` (RFC 4422 §3.5).
    #[error("the login was cancelled")]
    Cancelled,
    /// Not base64 (RFC 4648 §4).
    #[error("the response is not base64")]
    NotBase64,
    /// Not what this mechanism sends.
    #[error("the response is no {0} message")]
    Malformed(Mechanism),
    /// Acting for somebody else is not offered.
    #[error("the authorization identity differs from the user")]
    OtherIdentity,
}

/// One login.
///
/// Call order: [`Exchange::begin`], then [`Exchange::respond`] with each line the client sends, until a step is
/// [`Step::Done`] or an error; both end it.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    /// LOGIN: who has named himself already.
    user: Option<String>,
}

impl Exchange {
    /// Begins, perhaps with an initial response: base64, or `=` for an empty one (RFC 4954 §4, RFC 5034 §4).
    pub fn begin(mechanism: Mechanism, initial: Option<&str>) -> Result<(Self, Step), SaslError> {
        let mut exchange = Self { mechanism, user: None };
        let step = match (initial, mechanism) {
            (Some(response), _) => exchange.respond(if response == "=" { "" } else { response })?,
            (None, Mechanism::Login) => Step::Challenge(USERNAME),
            (None, _) => Step::Challenge(""),
        };
        Ok((exchange, step))
    }

    /// Takes the client's line, without its CRLF.
    pub fn respond(&mut self, response: &str) -> Result<Step, SaslError> {
        if response == "*" {
            return Err(SaslError::Cancelled);
        }
        let malformed = SaslError::Malformed(self.mechanism);
        if self.mechanism == Mechanism::Plain {
            return match PlainCredentials::decode(response) {
                Ok(credentials) => Ok(Step::Done(Credentials::Password(credentials))),
                Err(PlainError::NotBase64) => Err(SaslError::NotBase64),
                Err(PlainError::Malformed) => Err(malformed),
                Err(PlainError::OtherIdentity) => Err(SaslError::OtherIdentity),
            };
        }
        let bytes = Zeroizing::new(STANDARD.decode(response).map_err(|_| SaslError::NotBase64)?);
        let message = std::str::from_utf8(&bytes).map_err(|_| malformed)?;
        match self.mechanism {
            Mechanism::Login => self.login(message).ok_or(malformed),
            Mechanism::XOAuth2 => BearerCredentials::read_xoauth2(message).map(bearer).ok_or(malformed),
            _ => BearerCredentials::read_oauthbearer(message).map(bearer).ok_or(malformed),
        }
    }

    fn login(&mut self, message: &str) -> Option<Step> {
        if message.is_empty() || message.contains('\0') {
            return None;
        }
        Some(match self.user.take() {
            None => {
                self.user = Some(message.to_owned());
                Step::Challenge(PASSWORD)
            }
            Some(user) => {
                let password = SecretString::from(message);
                Step::Done(Credentials::Password(PlainCredentials { user, password }))
            }
        })
    }
}

fn bearer(credentials: BearerCredentials) -> Step {
    Step::Done(Credentials::Bearer(credentials))
}

/// `Username:`, which clients look for.
const USERNAME: &str = "VXNlcm5hbWU6";
/// `Password:`.
const PASSWORD: &str = "UGFzc3dvcmQ6";

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::Answers;
    use super::*;

    fn password() -> Credentials {
        Credentials::Password(PlainCredentials { user: "änna,=x".into(), password: "geheim".into() })
    }

    fn token() -> Credentials {
        Credentials::Bearer(BearerCredentials { user: "anna@example.com".into(), token: "t0ken.".into() })
    }

    fn same(one: &Credentials, other: &Credentials) -> bool {
        let secret = |credentials: &Credentials| match credentials {
            Credentials::Password(credentials) => credentials.password.expose_secret().to_owned(),
            Credentials::Bearer(credentials) => credentials.token.expose_secret().to_owned(),
        };
        one.user() == other.user() && secret(one) == secret(other)
    }

    /// Goal: both sides of every mechanism understand each other, with an initial response and without.
    #[test]
    fn what_one_side_says_the_other_understands() {
        for mechanism in Mechanism::ALL {
            let credentials = if mechanism.takes_password() { password() } else { token() };
            for with_initial in [true, false] {
                let mut answers = Answers::new(mechanism, &credentials).unwrap();
                let initial = with_initial.then(|| answers.initial()).flatten();
                let (mut exchange, mut step) =
                    Exchange::begin(mechanism, initial.as_ref().map(|text| text.as_str())).unwrap();
                let found = loop {
                    match step {
                        Step::Done(found) => break found,
                        Step::Challenge(challenge) => {
                            let answer = answers.answer(challenge).expect("an answer");
                            step = exchange.respond(&answer).unwrap();
                        }
                    }
                };
                assert!(same(&found, &credentials), "{mechanism} {with_initial}");
                assert!(!format!("{found:?}").contains("geheim") && !format!("{found:?}").contains("t0ken"));
            }
        }
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for mechanism in Mechanism::ALL {
            let begin = |initial| Exchange::begin(mechanism, Some(initial)).map(drop).unwrap_err();
            assert_eq!(begin("*"), SaslError::Cancelled);
            assert_eq!(begin("%"), SaslError::NotBase64);
            assert_eq!(begin("="), SaslError::Malformed(mechanism));
            assert_eq!(begin("/w=="), SaslError::Malformed(mechanism));
        }
    }

    #[test]
    fn mechanisms_are_found_in_any_case() {
        assert_eq!("xoauth2".parse(), Ok(Mechanism::XOAuth2));
        assert!("CRAM-MD5".parse::<Mechanism>().is_err());
    }
}
