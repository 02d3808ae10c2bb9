//! Administrators: who may sign in at the console, with what, and what they may do there.
//!
//! `console/` in the data directory:
//!
//! | file | what |
//! |---|---|
//! | `administrators.json` | all administrators, version 1 (`record`); replaced atomically; made at the first sign-in |
//! | `key` | 32 random octets, 0600: second factors are sealed under it, so that a copy of the JSON file alone is worthless |
//! | `tokens.json` | bearer tokens, version 1 (`tokens`); replaced atomically |
//! | `audit.jsonl` | see `console::audit` |
//!
//! Promises
//! - No password and no token is stored: of a password a verifier behind Argon2id, of a token (256 random bits) its
//!   SHA-256, and of a recovery code (80 random bits) too.
//! - `admin` with the first password `admin` is somebody once: as long as `administrators.json` does not exist. The first
//!   sign-in makes that file, with a random password, before it answers.
//! - From another machine that takes a code as well, which whoever can run a command on the gateway is shown
//!   (`setup_code`): nobody else is first because he is faster.
//! - There always is an administrator of the role administrator: the last one can be neither removed nor demoted.
//! - Whatever changes what somebody may do (password, role, second factors, removal) ends that one's sessions: each
//!   carries the `generation` of the record it was opened under.
//! - A file that cannot be read lets nobody in, and stops nothing else: mail goes on.
//!
//! Standards: TOTP (RFC 6238) on HOTP (RFC 4226); passkeys (`passkey`); NIST SP 800-63B for what passwords may be.
//!
//! Not here: sessions (`console::sessions`), guessing (`login`), HTTP (`console::api`).

mod factors;
mod key;
pub mod passkey;
mod passkeys;
mod password;
mod record;
mod setup_code;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
pub mod totp;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use factors::{FactorError, Proof};
pub use passkey::PasskeyError;
pub use passkeys::{Credential, NewPasskey, ShownPasskey};
pub use password::BadPassword;
pub use setup_code::Place;
pub use store::{Administrators, Signed};
pub use tokens::{NewToken, Scope, ShownToken, Tokens};

use postern_shared::clock::UnixMillis;

impl Account {
    /// Whether signing in takes a second factor.
    pub fn has_second_factor(&self) -> bool {
        self.totp || self.passkeys > 0
    }
}

impl From<PasskeyError> for AccountError {
    fn from(error: PasskeyError) -> Self {
        FactorError::Passkey(error).into()
    }
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything but settings' secrets, changes nothing.
    Viewer,
    /// Also creates and changes mailboxes; deletes none, and has no say in administrators and settings.
    Operator,
    /// Everything.
    Administrator,
}

/// What is known of an administrator outside this room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name to sign in with.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created: UnixMillis,
    /// When the password was last changed.
    pub password_since: UnixMillis,
    /// The password was made by the gateway for somebody else to hand over.
    pub password_is_given: bool,
    /// Whether one-time passwords are asked for.
    pub totp: bool,
    /// Passkeys that serve as second factors.
    pub passkeys: usize,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
    /// Changes when sessions are to end.
    pub generation: u64,
}

/// Why something cannot be done with administrators.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// There is none of that name.
    #[error("there is no administrator {0:?}")]
    Unknown(String),
    /// The name is taken.
    #[error("there is an administrator {0:?} already")]
    Taken(String),
    /// Not a name.
    #[error(
        "{0:?} is no name for an administrator: 1 to 64 lower-case letters, digits and . _ - @, beginning with a letter or digit"
    )]
    BadName(String),
    /// Too many.
    #[error("there are {0} administrators, the most there may be")]
    TooMany(usize),
    /// Nobody would be left who may do everything.
    #[error("{0:?} is the last one with the role administrator; give that role to somebody else first")]
    LastAdministrator(String),
    /// The present password was not it.
    #[error("the current password is wrong")]
    WrongPassword,
    /// Not a password to take.
    #[error(transparent)]
    BadPassword(#[from] BadPassword),
    /// Second factors.
    #[error(transparent)]
    Factor(#[from] FactorError),
    /// No such passkey.
    #[error("there is no such passkey")]
    UnknownPasskey,
    /// Somebody has signed in for the first time already.
    #[error(
        "the first sign-in has been done; sign in with the password shown then, or run: postern-gateway admin reset-password"
    )]
    NotFirst,
    /// The first sign-in comes from elsewhere, and without the code.
    #[error(
        "the first sign-in from another machine takes the setup code, which on the gateway's machine this prints: postern-gateway admin setup-code"
    )]
    SetupCode,
    /// The file cannot be read.
    #[error(
        "administrators cannot be read: {path}: {reason}; restore it from a backup, or move it away and sign in as for the first time",
        path = .path.display()
    )]
    Damaged {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
