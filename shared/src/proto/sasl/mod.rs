//! SASL (RFC 4422): how a client proves who it is, inside SMTP and POP3 alike. Values only: lines in, lines out.
//!
//! | mechanism | source | server's side | client's side |
//! |---|---|---|---|
//! | PLAIN | RFC 4616 | yes | yes |
//! | LOGIN | draft-murchison-sasl-login | yes | yes |
//! | XOAUTH2 | Google's and Microsoft's documents | yes | yes |
//! | OAUTHBEARER | RFC 7628 | yes | yes |
//! | SCRAM-SHA-256 | RFC 5802, RFC 7677 | no: what it sends cannot be passed on to another server | yes ([`Scram`]) |
//! | CRAM-MD5, DIGEST-MD5, NTLM, SCRAM-SHA-1 | | no, for the same reason | no |
//!
//! [`Exchange`] is the server's side of one login, [`Answers`] the client's.
//!
//! Promises
//! - Passwords and tokens are `SecretString` or wiped from the moment a line is decoded.
//! - Whoever logs in acts for himself: another authorization identity is refused.
//!
//! Not here: line lengths and continuation signs, which are the protocols' (`smtp`, `pop3`); who may log in.

mod bearer;
mod client;
mod plain;
mod scram;
mod server;

use std::fmt;
use std::str::FromStr;

pub use bearer::BearerCredentials;
pub use client::Answers;
pub use plain::{PlainCredentials, PlainError};
pub use scram::{Scram, ScramError};
pub use server::{Exchange, SaslError, Step};

/// The longest line of an exchange, CRLF included (RFC 4954 §4: "12288 octets"). Tokens take a few thousand.
pub const LINE_OCTETS_MAX: usize = 12 * 1024;

/// A mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// User and password in one message.
    Plain,
    /// User and password, asked for one by one.
    Login,
    /// User and access token, as Google and Microsoft write them.
    XOAuth2,
    /// User and access token, as RFC 7628 writes them.
    OAuthBearer,
}

impl Mechanism {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Login, Self::XOAuth2, Self::OAuthBearer];

    /// Its name (RFC 4422 §3.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// Whether it sends a password; else it sends a token.
    pub fn takes_password(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no mechanism of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown mechanism; PLAIN, LOGIN, XOAUTH2 and OAUTHBEARER are offered")]
pub struct UnknownMechanism;

impl FromStr for Mechanism {
    type Err = UnknownMechanism;

    fn from_str(text: &str) -> Result<Self, UnknownMechanism> {
        Self::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(text)).ok_or(UnknownMechanism)
    }
}

/// What a client proves itself with.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A user and a password.
    Password(PlainCredentials),
    /// A user and an OAuth access token.
    Bearer(BearerCredentials),
}

impl From<PlainCredentials> for Credentials {
    fn from(credentials: PlainCredentials) -> Self {
        Self::Password(credentials)
    }
}

impl Credentials {
    /// Who logs in.
    pub fn user(&self) -> &str {
        match self {
            Self::Password(credentials) => &credentials.user,
            Self::Bearer(credentials) => &credentials.user,
        }
    }

    /// The same for another name: what a proxy makes of them.
    #[must_use]
    pub fn renamed(self, user: String) -> Self {
        match self {
            Self::Password(credentials) => Self::Password(PlainCredentials { user, ..credentials }),
            Self::Bearer(credentials) => Self::Bearer(BearerCredentials { user, ..credentials }),
        }
    }
}
