//! What a session is made of.

use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::Credentials;
use secrecy::ExposeSecret;

use super::ImapError;

/// What a session is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// How TLS begins.
    pub tls: TlsStart,
    /// Who logs in.
    pub login: Login,
    /// Whether the server's certificate was checked; else a password is sent only when nothing better is offered.
    pub verified: bool,
    /// Commands under way at once; at least 1.
    pub window: usize,
    /// Whether to compress when the server offers it (RFC 4978).
    pub compress: bool,
}

/// Who logs in, and how.
///
/// A master user of Dovecot is a user `anna*master` with the master's password, or a user `master` with that password who
/// acts for `anna`; of Cyrus only the latter (`proxyservers`, `admins`).
#[derive(Debug, Clone)]
pub struct Login {
    /// Who proves to be who.
    pub credentials: Credentials,
    /// Whose mail is wanted, if not their own (the authorization identity of SASL).
    pub act_as: Option<String>,
    /// By which mechanism; else the best that is offered.
    pub mechanism: Option<Mechanism>,
}

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// AUTHENTICATE PLAIN (RFC 4616).
    Plain,
    /// The command LOGIN (RFC 3501 §6.2.3).
    Login,
    /// AUTHENTICATE SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// AUTHENTICATE XOAUTH2.
    XOAuth2,
    /// AUTHENTICATE OAUTHBEARER (RFC 7628).
    OAuthBearer,
}

impl Mechanism {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

impl Login {
    pub(super) fn check(&self) -> Result<(), ImapError> {
        let secret = match &self.credentials {
            Credentials::Password(credentials) => credentials.password.expose_secret(),
            Credentials::Bearer(credentials) => credentials.token.expose_secret(),
        };
        let act_as = self.act_as.as_deref().unwrap_or("nobody");
        for text in [self.credentials.user(), secret, act_as] {
            if text.is_empty() || text.chars().any(char::is_control) {
                return Err(ImapError::BadCredentials);
            }
        }
        Ok(())
    }
}
