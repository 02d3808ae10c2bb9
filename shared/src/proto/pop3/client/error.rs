//! Why a session with a server cannot go on.

use crate::proto::pop3::{Reply, ResponseCode};

/// What the server did wrong or refused. The texts hold only printable characters of what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The greeting was `-ERR`.
    #[error("the server refuses service: {0}")]
    Greeting(Reply),
    /// A line that no POP3 server sends here.
    #[error("the server does not speak POP3: it answered {said:?} to {command}")]
    NotPop3 {
        /// What it answered to.
        command: &'static str,
        /// What it said.
        said: String,
    },
    /// A response line longer than RFC 2449 §4 allows.
    #[error("the server's answer to {command} is longer than a line may be")]
    LineTooLong {
        /// What it answered to.
        command: &'static str,
    },
    /// The server sent something that nothing was asked for.
    #[error("the server sent what nobody asked for: {0:?}")]
    Unsolicited(String),
    /// `-ERR` to a command without which the session makes no sense.
    #[error("the server refuses {command}: {reply}")]
    Refused {
        /// The command.
        command: &'static str,
        /// Its answer.
        reply: Reply,
    },
    /// The server takes no password in any way this client knows.
    #[error("the server offers neither AUTH PLAIN nor USER")]
    NoLogin,
    /// The server does not take these credentials by the mechanism that is wanted, or by any.
    #[error("the server does not offer {0}")]
    NoMechanism(&'static str),
    /// UIDL and LIST make no sense.
    #[error("the server's list of messages is wrong: {0}")]
    Listing(String),
    /// The CAPA list does not end.
    #[error("the server's list of capabilities does not end")]
    EndlessCapabilities,
    /// The own credentials hold a control character or nothing.
    #[error("user name and password must not be empty or hold control characters")]
    BadCredentials,
}

impl ClientError {
    /// The server's machine-readable reason, when it gave one.
    pub fn code(&self) -> Option<ResponseCode> {
        match self {
            Self::Greeting(reply) | Self::Refused { reply, .. } => reply.code,
            _ => None,
        }
    }
}
