//! The SASL mechanism PLAIN (RFC 4616): authorization id, NUL, user, NUL, password, in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// A user and a password.
#[derive(Debug, Clone)]
pub struct PlainCredentials {
    /// Who logs in.
    pub user: String,
    /// With which password.
    pub password: SecretString,
}

/// The response is no PLAIN response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlainError {
    /// Not base64 (RFC 4648 §4).
    #[error("the response is not base64")]
    NotBase64,
    /// Not three parts of UTF-8 separated by NUL, or an empty user or password.
    #[error("the response is not a PLAIN message")]
    Malformed,
    /// Acting for somebody else is not offered.
    #[error("the authorization identity differs from the user")]
    OtherIdentity,
}

impl PlainCredentials {
    /// Reads a client's response.
    pub fn decode(response: &str) -> Result<Self, PlainError> {
        let bytes = Zeroizing::new(STANDARD.decode(response).map_err(|_| PlainError::NotBase64)?);
        let text = std::str::from_utf8(&bytes).map_err(|_| PlainError::Malformed)?;
        let mut parts = text.split('\0');
        let (Some(identity), Some(user), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(PlainError::Malformed);
        };
        if user.is_empty() || password.is_empty() {
            return Err(PlainError::Malformed);
        }
        if !identity.is_empty() && !identity.eq_ignore_ascii_case(user) {
            return Err(PlainError::OtherIdentity);
        }
        Ok(Self { user: user.into(), password: SecretString::from(password) })
    }

    /// Writes a client's response, without an authorization identity.
    pub fn encode(&self) -> Zeroizing<String> {
        self.encode_for("")
    }

    /// Writes a client's response that acts for `identity`, which holds no NUL: a master user's.
    pub fn encode_for(&self, identity: &str) -> Zeroizing<String> {
        let password = self.password.expose_secret();
        let len = 2 + identity.len() + self.user.len() + password.len();
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        bytes.extend_from_slice(identity.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(self.user.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(password.as_bytes());
        Zeroizing::new(STANDARD.encode(&*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let written = PlainCredentials { user: "tim".into(), password: "tanstaaftanstaaf".to_owned().into() };
        assert_eq!(written.encode().as_str(), "AHRpbQB0YW5zdGFhZnRhbnN0YWFm", "RFC 4616 §4");
        let read = PlainCredentials::decode(&written.encode()).unwrap();
        assert_eq!((read.user.as_str(), read.password.expose_secret()), ("tim", "tanstaaftanstaaf"));
        assert!(!format!("{read:?}").contains("tanstaaf"));
    }

    #[test]
    fn what_is_no_plain_response_is_refused() {
        for (text, error) in [
            ("x", PlainError::NotBase64),
            ("", PlainError::Malformed),
            (&STANDARD.encode("user\0password"), PlainError::Malformed),
            (&STANDARD.encode("\0user\0pass\0word"), PlainError::Malformed),
            (&STANDARD.encode("\0user\0"), PlainError::Malformed),
            (&STANDARD.encode(b"\0user\0\xff"), PlainError::Malformed),
            (&STANDARD.encode("boss\0user\0password"), PlainError::OtherIdentity),
        ] {
            assert_eq!(PlainCredentials::decode(text).unwrap_err(), error, "{text}");
        }
        assert!(PlainCredentials::decode(&STANDARD.encode("User\0user\0password")).is_ok());
    }
}
