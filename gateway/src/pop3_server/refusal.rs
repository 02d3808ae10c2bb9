//! Why a login is refused: what the client is told, and what is counted.

use postern_shared::proto::pop3::{Reply, ResponseCode};

use super::maildrop::LoginError;
use crate::monitoring::Login;

/// Why a login opened no maildrop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// It was not let in.
    #[error(transparent)]
    Denied(#[from] LoginError),
    /// An access token came for a mailbox of the gateway.
    #[error("a token opens no mailbox of the gateway")]
    NoPassword,
    /// Another session holds the maildrop.
    #[error("another session holds the maildrop")]
    InUse,
    /// Too many logins from there failed; the password was not looked at.
    #[error("too many logins from this address failed; it must wait")]
    MustWait,
    /// Too many wait to be checked; the password was not looked at.
    #[error("too many logins wait to be checked")]
    Busy,
}

impl LoginRefusal {
    /// For the metrics.
    pub(super) fn counted_as(self) -> Login {
        match self {
            Self::Denied(LoginError::WrongPassword) | Self::NoPassword => Login::WrongPassword,
            Self::Denied(LoginError::Temporary) | Self::Busy => Login::Unavailable,
            Self::InUse => Login::InUse,
            Self::MustWait => Login::MustWait,
        }
    }

    pub(super) fn reply(self) -> Reply {
        match self {
            Self::Denied(LoginError::WrongPassword) => {
                Reply::err("Wrong user name or password").with(ResponseCode::Auth)
            }
            Self::Denied(LoginError::Temporary) => {
                Reply::err("Login is not possible now").with(ResponseCode::SysTemp)
            }
            Self::NoPassword => {
                Reply::err("A mailbox of the gateway is opened by its password, not by a token")
                    .with(ResponseCode::Auth)
            }
            Self::MustWait => {
                Reply::err("Too many failed logins, try again later").with(ResponseCode::SysTemp)
            }
            Self::Busy => Reply::err("Too many logins at once, try again later").with(ResponseCode::SysTemp),
            Self::InUse => Reply::err("Another session holds this maildrop").with(ResponseCode::InUse),
        }
    }
}
