//! Access tokens: XOAUTH2 and OAUTHBEARER (RFC 7628 §3.1).
//!
//! ```text
//! XOAUTH2      user=<user> ^A auth=Bearer <token> ^A ^A
//! OAUTHBEARER  n,a=<user>, ^A [host=<host> ^A] [port=<port> ^A] auth=Bearer <token> ^A ^A
//! ```

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

const SEPARATOR: char = '\u{1}';

/// A user and an access token.
#[derive(Debug, Clone)]
pub struct BearerCredentials {
    /// Who logs in.
    pub user: String,
    /// With which token.
    pub token: SecretString,
}

impl BearerCredentials {
    /// Reads the decoded message of XOAUTH2.
    pub(super) fn read_xoauth2(message: &str) -> Option<Self> {
        let user = pairs(message)?.find_map(|(key, value)| (key == "user").then_some(value))?;
        Self::new(user.to_owned(), message)
    }

    /// Reads the decoded message of OAUTHBEARER: a GS2 header (RFC 5801 §4) without channel binding, then the same pairs.
    pub(super) fn read_oauthbearer(message: &str) -> Option<Self> {
        let (header, rest) = message.split_once(SEPARATOR)?;
        let identity = header.strip_prefix("n,")?.strip_suffix(',')?.strip_prefix("a=")?;
        Self::new(unescape(identity)?, rest)
    }

    fn new(user: String, message: &str) -> Option<Self> {
        let auth = pairs(message)?.find_map(|(key, value)| (key == "auth").then_some(value))?;
        let (scheme, token) = auth.split_once(' ')?;
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let usable = scheme.eq_ignore_ascii_case("Bearer") && is_token(token) && !user.is_empty();
        (usable && !user.chars().any(char::is_control)).then(|| Self { user, token: token.into() })
    }

    pub(super) fn write_xoauth2(&self) -> Zeroizing<String> {
        let (user, token) = (&self.user, self.token.expose_secret());
        joined(&["user=", user, "\u{1}auth=Bearer ", token, "\u{1}\u{1}"])
    }

    pub(super) fn write_oauthbearer(&self) -> Zeroizing<String> {
        let user = self.user.replace('=', "=3D").replace(',', "=2C");
        joined(&["n,a=", &user, ",\u{1}auth=Bearer ", self.token.expose_secret(), "\u{1}\u{1}"])
    }
}

/// In one piece of memory, so that no copy of a token is left behind.
fn joined(parts: &[&str]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| text.push_str(part));
    text
}

fn pairs(message: &str) -> Option<impl Iterator<Item = (&str, &str)>> {
    let pairs = message.strip_suffix("\u{1}\u{1}")?.split(SEPARATOR);
    Some(pairs.filter_map(|pair| pair.split_once('=')))
}

/// RFC 5801 §4: `=2C` and `=3D` are the only escapes there are.
fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(2)?;
        out.push(match escape {
            "2C" | "2c" => ',',
            "3D" | "3d" => '=',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_standards_examples_are_read() {
        // RFC 7628 §4.1.
        let message = "n,a=user@example.com,\u{1}host=server.example.com\u{1}port=143\u{1}auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\u{1}\u{1}";
        let read = BearerCredentials::read_oauthbearer(message).unwrap();
        assert_eq!(read.user, "user@example.com");
        assert_eq!(read.token.expose_secret(), "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        assert!(!format!("{read:?}").contains("vF9"));
        // Google's "XOAUTH2 Protocol".
        let message = "user=someuser@example.com\u{1}auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\u{1}\u{1}";
        let read = BearerCredentials::read_xoauth2(message).unwrap();
        assert_eq!(read.user, "someuser@example.com");
        assert_eq!(read.write_xoauth2().as_str(), message);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for message in [
            "",
            "user=a",
            "user=a\u{1}auth=Bearer t\u{1}",
            "user=a\u{1}auth=Basic t\u{1}\u{1}",
            "user=a\u{1}auth=Bearer \u{1}\u{1}",
            "user=a\u{1}auth=Bearer a b\u{1}\u{1}",
            "user=\u{1}auth=Bearer t\u{1}\u{1}",
            "user=a\r\nb\u{1}auth=Bearer t\u{1}\u{1}",
        ] {
            assert!(BearerCredentials::read_xoauth2(message).is_none(), "{message:?}");
        }
        for header in ["y,a=u,", "p=tls,a=u,", "n,,", "n,a=u", "n,a==41,", "n,a==2"] {
            let message = format!("{header}\u{1}auth=Bearer t\u{1}\u{1}");
            assert!(BearerCredentials::read_oauthbearer(&message).is_none(), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(user in "[ -~é]{1,60}", token in "[!-~]{1,200}") {
            let written = BearerCredentials { user: user.clone(), token: token.clone().into() };
            let read = BearerCredentials::read_oauthbearer(&written.write_oauthbearer()).unwrap();
            prop_assert_eq!((read.user, read.token.expose_secret()), (user.clone(), token.as_str()));
            let read = BearerCredentials::read_xoauth2(&written.write_xoauth2()).unwrap();
            prop_assert_eq!((read.user, read.token.expose_secret()), (user, token.as_str()));
        }
    }
}
