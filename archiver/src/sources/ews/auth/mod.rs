//! How the account proves who it is: Basic (RFC 7617), NTLM (MS-NLMP, MS-NTHT), or an OAuth access token (RFC 6750).
//!
//! | file | what |
//! |---|---|
//! | [`ntlm`] | NTLMv2: three messages, as values |
//! | [`token`] | access tokens by client credentials (RFC 6749 §4.4) |
//!
//! | mechanism | supported |
//! |---|---|
//! | Basic | yes |
//! | NTLM | NTLMv2 with message integrity code and channel binding (Extended Protection); NTLMv1 and LM: No |
//! | Bearer | yes |
//! | Negotiate (Kerberos), client certificates | No |
//!
//! Promises
//! - Nothing is sent but over TLS with a certificate that the profile trusts.
//! - Passwords, tokens and what is derived from them are in no log, and wiped where we hold them. What HTTP and TLS hold of them
//!   on their way is freed, and not wiped.
//!
//! Not here: the connection that NTLM belongs to (`http`), when to log in (`service`).

pub mod ntlm;
pub mod token;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use postern_shared::proto::sasl::PlainCredentials;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

pub use ntlm::NtlmError;
pub use token::{ClientCredentials, TokenError};

/// Who logs in, and how.
#[derive(Clone)]
pub enum Login {
    /// User and password in every request.
    Basic(PlainCredentials),
    /// User and password; only proofs of it are sent. The user may be written `DOMAIN\user` or `user@domain`.
    Ntlm(PlainCredentials),
    /// An access token that somebody else renews.
    Bearer(SecretString),
    /// Access tokens for an application.
    ClientCredentials(ClientCredentials),
}

impl Login {
    /// Who that is, for people.
    pub fn user(&self) -> &str {
        match self {
            Self::Basic(credentials) | Self::Ntlm(credentials) => &credentials.user,
            Self::Bearer(_) => "the access token",
            Self::ClientCredentials(client) => &client.client_id,
        }
    }

    /// As HTTP calls it.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Basic(_) => "Basic",
            Self::Ntlm(_) => "NTLM",
            Self::Bearer(_) | Self::ClientCredentials(_) => "Bearer",
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.scheme(), self.user())
    }
}

/// `Basic …`.
pub(super) fn basic(credentials: &PlainCredentials) -> Option<HeaderValue> {
    let pair = Zeroizing::new(format!("{}:{}", credentials.user, credentials.password.expose_secret()));
    field("Basic ", &Zeroizing::new(STANDARD.encode(pair.as_bytes())))
}

/// `Bearer …`.
pub(super) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    field("Bearer ", token.expose_secret())
}

/// `NTLM …`.
pub(super) fn ntlm_field(message: &[u8]) -> Option<HeaderValue> {
    field("NTLM ", &Zeroizing::new(STANDARD.encode(message)))
}

fn field(scheme: &str, rest: &str) -> Option<HeaderValue> {
    let text = Zeroizing::new([scheme, rest].concat());
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
