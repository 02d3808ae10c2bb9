//! Why there is no connection that is logged in.

use std::io;

use postern_shared::proto::sasl::Mechanism;
use postern_shared::proto::smtp::answer::BadAnswer;
use postern_shared::tls::client::{NotTrusted, TrustError, not_trusted};

use crate::proxy::targets::Forbidden;

/// How far it got: what failures are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureStep {
    /// The rules forbid it.
    Policy,
    /// The name has no address.
    Resolve,
    /// Nobody takes the connection.
    Connect,
    /// No TLS, or none that can be trusted.
    Tls,
    /// The server does not greet, or not as a mail server.
    Greeting,
    /// Something behind that.
    Login,
}

/// What kind of no a server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The user name, password or token is wrong.
    Credentials,
    /// Not now: too many logins, trouble that will pass.
    Busy,
    /// Another session holds the maildrop.
    InUse,
    /// For good, whatever the password: the account may not log in this way.
    Permanent,
}

/// A server said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server refuses {to}: {words}")]
pub struct ServerRefusal {
    /// What kind of no.
    pub kind: RefusalKind,
    /// To what.
    pub to: &'static str,
    /// Its words, printable, at most 200 characters.
    pub words: String,
}

/// Why a dialogue with a server did not end in a login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// It said no.
    #[error(transparent)]
    Refused(#[from] ServerRefusal),
    /// It offers no TLS, and so gets no password.
    #[error("the server offers no {0}; nothing was sent to it that could be read on the way")]
    NoTls(&'static str),
    /// It answered in clear what was to be asked under TLS, or somebody on the way did.
    #[error("there was more in clear behind the server's consent to TLS: somebody may sit on the way")]
    Injected,
    /// It speaks before it is asked.
    #[error("the server answered before it was asked: it sent more behind its answer to {0}")]
    Unasked(&'static str),
    /// Not SMTP.
    #[error(transparent)]
    NotSmtp(#[from] BadAnswer),
    /// Not POP3.
    #[error("the server does not speak POP3: it answered {said:?} to {to}")]
    NotPop3 {
        /// To what.
        to: &'static str,
        /// What it said, printable.
        said: String,
    },
    /// An answer that makes no sense there.
    #[error("the server answered {said:?} to {to}, which makes no sense there")]
    Unexpected {
        /// To what.
        to: &'static str,
        /// What it said, printable.
        said: String,
    },
    /// Longer than any answer may be.
    #[error("the server's answer to {0} does not end")]
    Endless(&'static str),
    /// No common way to log in.
    #[error("the server takes no {}; it offers {}", wanted(*.token), listed(.offered))]
    NoMechanism {
        /// Whether a token was to be sent, else a password.
        token: bool,
        /// What it offers, of what we know.
        offered: Vec<Mechanism>,
    },
    /// What was to be sent would break the protocol's lines.
    #[error("user name, password and token must not be empty or hold control characters")]
    BadCredentials,
}

fn wanted(token: bool) -> &'static str {
    if token { "access tokens (XOAUTH2, OAUTHBEARER)" } else { "passwords (PLAIN, LOGIN)" }
}

fn listed(mechanisms: &[Mechanism]) -> String {
    let names: Vec<&str> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
    if names.is_empty() { "none that is known here".into() } else { names.join(", ") }
}

/// Why there is no connection that is logged in.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The rules forbid it.
    #[error("{server} is no target: {why}")]
    Forbidden {
        /// Which.
        server: String,
        /// Why.
        why: Forbidden,
    },
    /// Its name cannot be resolved.
    #[error("the name of {server} cannot be resolved: {source}")]
    Resolve {
        /// Which.
        server: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody takes the connection.
    #[error("cannot connect to {server}: {source}")]
    Connect {
        /// Which.
        server: String,
        /// What the system said, of the last address tried.
        source: io::Error,
    },
    /// Our own side cannot do TLS.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The handshake failed.
    #[error("TLS with {server} failed: {source}")]
    Tls {
        /// Which.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// The server said something else than it should.
    #[error("{server}: {source}")]
    Login {
        /// Which.
        server: String,
        /// What it answered to last.
        at: &'static str,
        /// What is wrong.
        source: LoginError,
    },
    /// The connection broke, or nothing came for too long.
    #[error("{server} broke off, or said nothing, when it was to answer {at}: {source}")]
    Broken {
        /// Which.
        server: String,
        /// What it was to answer.
        at: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What a server's first words are called among what it answers to.
pub(super) const GREETING: &str = "the connection";

impl UpstreamError {
    /// How far it got.
    pub fn step(&self) -> FailureStep {
        match self {
            Self::Forbidden { .. } => FailureStep::Policy,
            Self::Resolve { .. } => FailureStep::Resolve,
            Self::Connect { .. } => FailureStep::Connect,
            Self::Trust(_) | Self::Tls { .. } => FailureStep::Tls,
            Self::Login { source: LoginError::NoTls(_) | LoginError::Injected, .. } => FailureStep::Tls,
            Self::Login { at, .. } | Self::Broken { at, .. } if *at == GREETING => FailureStep::Greeting,
            Self::Login { .. } | Self::Broken { .. } => FailureStep::Login,
        }
    }

    /// What the server said no with.
    pub fn refusal(&self) -> Option<&ServerRefusal> {
        match self {
            Self::Login { source: LoginError::Refused(refusal), .. } => Some(refusal),
            _ => None,
        }
    }

    /// What is wrong with the server's certificate.
    pub fn not_trusted(&self) -> Option<&NotTrusted> {
        match self {
            Self::Tls { source, .. } => not_trusted(source),
            _ => None,
        }
    }
}

/// A server's words for people and logs: at most 200 characters, without what controls terminals.
pub(super) fn clean(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
