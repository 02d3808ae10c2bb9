//! Why a session with a server cannot go on.

use postern_shared::proto::imap::{BadResponse, Code, ReadError, Text};
use postern_shared::proto::sasl::ScramError;

/// What the server did wrong or refused. The texts hold only printable characters of what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImapError {
    /// The greeting was BYE.
    #[error("the server refuses service: {0}")]
    Greeting(Text),
    /// No response can be made of what it sends.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A response makes no sense.
    #[error(transparent)]
    Response(#[from] BadResponse),
    /// It sent what nothing was asked for.
    #[error("the server sent {0} that nobody asked for")]
    Unsolicited(&'static str),
    /// It ended the session.
    #[error("the server ended the session: {0}")]
    Bye(Text),
    /// It says it let us in before TLS, which somebody on the line may have said.
    #[error(
        "the server calls the connection logged in (PREAUTH) before TLS, so nothing would be encrypted; use \
         tls = \"implicit\""
    )]
    PreAuth,
    /// It will not begin TLS.
    #[error("the server refuses STARTTLS: {0}; use tls = \"implicit\" if it has a port for that")]
    StartTls(Text),
    /// A command without which the session makes no sense.
    #[error("the server refuses {command}: {text}")]
    Refused {
        /// The command.
        command: &'static str,
        /// Its words.
        text: Text,
    },
    /// It lets nobody in.
    #[error("login by {mechanism} refused: {text}")]
    Login {
        /// How it was tried.
        mechanism: &'static str,
        /// Its words.
        text: Text,
    },
    /// It takes no login in any way that goes with these credentials.
    #[error("the server offers no login that goes with these credentials; it offers {0}")]
    NoMechanism(String),
    /// It cheats in SCRAM.
    #[error("login by SCRAM-SHA-256: {0}")]
    Scram(#[from] ScramError),
    /// The own credentials hold a control character or nothing.
    #[error("user name and password must not be empty or hold control characters")]
    BadCredentials,
}

impl ImapError {
    /// The server's machine-readable reason, when it gave one.
    pub fn code(&self) -> Option<&Code> {
        match self {
            Self::Greeting(text)
            | Self::Bye(text)
            | Self::StartTls(text)
            | Self::Refused { text, .. }
            | Self::Login { text, .. } => text.code.as_ref(),
            _ => None,
        }
    }
}
