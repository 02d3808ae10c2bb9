//! Why a session with an Exchange server cannot go on.

use std::time::Duration;

use super::auth::{NtlmError, TokenError};
use super::soap::{Answer, BadAnswer};
use crate::sources::SourceError;

/// What the server did wrong or refused, with its own words where it had any.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EwsError {
    /// It is Exchange Online.
    #[error(
        "this is Exchange Online, which blocks EWS since October 2026 and removes it in April 2027{0}; let Microsoft 365 \
         journal to a mailbox of a Postern gateway instead, see docs/ews.md"
    )]
    Online(String),
    /// It refuses a request.
    #[error("the server refuses {request}: {code}: {text}")]
    Refused {
        /// Its name.
        request: &'static str,
        /// The server's code.
        code: String,
        /// Its words.
        text: String,
    },
    /// The account may not act for the mailbox.
    #[error(
        "{user} may not act for {mailbox} ({code}: {text}); let an administrator of Exchange run: \
         New-ManagementRoleAssignment -Name Postern -Role ApplicationImpersonation -User {user}, see docs/ews.md"
    )]
    Impersonation {
        /// Who logs in.
        user: String,
        /// Whose mailbox is wanted.
        mailbox: String,
        /// The server's code.
        code: String,
        /// Its words.
        text: String,
    },
    /// It wants to be left alone for longer than a run waits.
    #[error(
        "the server is busy ({code}: {text}) and was waited for {waited:?}; it is tried again with the next run"
    )]
    Busy {
        /// Its code, or HTTP's status.
        code: String,
        /// Its words.
        text: String,
        /// How long was waited.
        waited: Duration,
    },
    /// HTTP went wrong.
    #[error("{what} answers with HTTP status {status}{hint}")]
    Status {
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
        /// What it may mean.
        hint: String,
    },
    /// It sends the client elsewhere.
    #[error(
        "the server redirects to {0}, where no password is sent unasked; if that is right, put it into the profile as url"
    )]
    Redirected(String),
    /// It wants another kind of login.
    #[error("the server takes no login by {asked} here; it offers {offered}")]
    NotOffered {
        /// What the profile says.
        asked: &'static str,
        /// What the server says.
        offered: String,
    },
    /// NTLM went wrong.
    #[error("login by NTLM: {0}")]
    Ntlm(#[from] NtlmError),
    /// No access token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nothing can be made of an answer.
    #[error("nothing can be made of the answer to {request}: {error}")]
    Answer {
        /// What was asked.
        request: &'static str,
        /// What is wrong with it.
        error: BadAnswer,
    },
    /// An answer lacks what it must have, or has what it must not.
    #[error("the answer to {request} {what}")]
    Nonsense {
        /// What was asked.
        request: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// HTTP itself was garbled.
    #[error("the server does not speak HTTP as it should: {0}")]
    Http(String),
    /// Nobody knows where the server is.
    #[error("Autodiscover does not find the server of {mailbox}: {tried}; put its url into the profile")]
    Autodiscover {
        /// For whom.
        mailbox: String,
        /// What was tried, and what came of it.
        tried: String,
    },
}

impl EwsError {
    /// Whether the same run may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Refused { code, .. } => is_busy(code),
            Self::Token(error) => error.is_temporary(),
            _ => false,
        }
    }
}

/// Whether it may be one item's own fault that no answer came, or none that makes sense.
pub(super) fn is_of_an_item(error: &SourceError) -> bool {
    match error {
        SourceError::TimedOut { .. } | SourceError::Closed { .. } | SourceError::Broken { .. } => true,
        SourceError::Ews { error, .. } => match &**error {
            EwsError::Status { status, .. } => (500..=599).contains(status),
            EwsError::Refused { code, .. } => code != "ErrorNonExistentMailbox",
            EwsError::Answer { .. } | EwsError::Nonsense { .. } | EwsError::Http(_) => true,
            _ => false,
        },
        _ => false,
    }
}

/// Whether it may be a folder's own fault that there is no list of what changed in it.
pub(super) fn is_of_a_folder(error: &SourceError) -> bool {
    is_of_an_item(error) && !matches!(error, SourceError::Closed { .. } | SourceError::Broken { .. })
}

/// Whether it will be the same for every other mailbox that is read by the same login.
pub fn is_of_the_login(error: &SourceError) -> bool {
    match error {
        SourceError::Login { .. } => true,
        SourceError::Ews { error, .. } => matches!(
            **error,
            EwsError::Busy { .. }
                | EwsError::NotOffered { .. }
                | EwsError::Ntlm(_)
                | EwsError::Token(_)
                | EwsError::Online(_)
        ),
        _ => false,
    }
}

/// Codes that go away by waiting.
pub(super) fn is_busy(code: &str) -> bool {
    matches!(
        code,
        "ErrorServerBusy"
            | "ErrorExceededConnectionCount"
            | "ErrorTimeoutExpired"
            | "ErrorInternalServerTransientError"
            | "ErrorMailboxStoreUnavailable"
            | "ErrorMailboxMoveInProgress"
            | "ErrorInsufficientResources"
            | "ErrorNotEnoughMemory"
            | "ErrorTooManyObjectsOpened"
            | "ErrorConnectionFailed"
            | "ErrorADUnavailable"
            | "ErrorServiceUnavailable"
            | "ErrorBatchProcessingStopped"
            | "ErrorRequestAborted"
    )
}

/// Codes of an item that is not there any more.
pub(super) fn is_gone(code: &str) -> bool {
    matches!(code, "ErrorItemNotFound" | "ErrorCannotAccessDeletedPublicFolder")
}

/// What a refused request means.
pub(super) fn refused(request: &'static str, answer: &Answer, user: &str, mailbox: &str) -> EwsError {
    let (code, text) = (answer.code.clone(), answer.text.clone());
    match code.as_str() {
        "ErrorImpersonateUserDenied" | "ErrorImpersonationDenied" | "ErrorImpersonationFailed" => {
            EwsError::Impersonation { user: user.to_owned(), mailbox: mailbox.to_owned(), code, text }
        }
        "ErrorNonExistentMailbox" | "ErrorNonPrimarySmtpAddress" => {
            let text = format!(
                "{text} (the profile must name a mailbox of this server by its primary SMTP address)"
            );
            EwsError::Refused { request, code, text }
        }
        _ => EwsError::Refused { request, code, text },
    }
}
