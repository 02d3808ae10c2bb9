//! Answers that say what went wrong: `application/problem+json` (RFC 9457), with a sentence to act on.
//!
//! `type` is `urn:postern:problem:` and one of a few words, which a program may rely on; texts may change.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::accounts::{AccountError, FactorError, PasskeyError};
use crate::login::NotDone;
use crate::mailbox::MailboxError;

/// What went wrong (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:postern:problem:` and a word that does not change.
    #[serde(rename = "type")]
    #[schema(example = "urn:postern:problem:not-empty")]
    pub kind: String,
    /// In short.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do, as a sentence.
    pub detail: String,
    /// When it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl Problem {
    /// A problem of the kind `word`.
    pub fn new(status: StatusCode, word: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:postern:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            retry_after_seconds: None,
        }
    }

    /// The request is not what it should be.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request cannot be used", detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// Something is in the way.
    pub fn conflict(word: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, word, "Not possible now", detail)
    }

    /// Nobody is signed in.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not-signed-in", "Not signed in", detail)
    }

    /// Who is signed in may not.
    pub fn forbidden(word: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, word, "Not allowed", detail)
    }

    /// Too much; try again later.
    pub fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        let seconds = wait.as_secs().max(1);
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "must-wait", "Wait a moment", detail);
        Self { retry_after_seconds: Some(seconds), ..problem }
    }

    /// Our own trouble; what it was stands in the log.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "the console could not answer");
        let detail = "the gateway failed to do this; its log tells why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The gateway failed", detail)
    }

    /// The disk failed.
    pub fn disk(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "the console could not write");
        let detail = format!("{error}; see that the disk works and has room, then try again");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "disk", "The disk failed", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<MailboxError> for Problem {
    fn from(error: MailboxError) -> Self {
        let text = error.to_string();
        match error {
            MailboxError::Unknown(id) => Self::not_found(format!("there is no mailbox {id}")),
            MailboxError::NotSuspended(_) => {
                Self::conflict("not-suspended", "the mailbox is active; suspend it first")
            }
            MailboxError::NotEmpty { messages, .. } => Self::conflict(
                "not-empty",
                format!("the mailbox holds {messages} messages; let the archiver pull them first"),
            ),
            MailboxError::Receiving(_) => Self::conflict("receiving", text),
            MailboxError::Changing(_) => Self::conflict("changing", text),
            MailboxError::BadText { .. } | MailboxError::BadPolicy(_) => Self::invalid(text),
            MailboxError::Damaged { .. } => Self::conflict("damaged", text),
            MailboxError::Io { .. } => Self::disk(text),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let text = error.to_string();
        match error {
            AccountError::Unknown(_) | AccountError::UnknownPasskey => Self::not_found(text),
            AccountError::SetupCode => Self::forbidden("setup-code", text),
            AccountError::Taken(_) => Self::conflict("taken", text),
            AccountError::TooMany(_) => Self::conflict("too-many", text),
            AccountError::LastAdministrator(_) => Self::conflict("last-administrator", text),
            AccountError::NotFirst => Self::conflict("not-first", text),
            AccountError::BadName(_) => Self::invalid(text),
            AccountError::BadPassword(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-password", "Choose another password", text)
            }
            AccountError::WrongPassword => Self::forbidden("wrong-password", text),
            AccountError::Factor(FactorError::WrongCode) => Self::forbidden("wrong-code", text),
            AccountError::Factor(FactorError::Passkey(PasskeyError::BadName)) => Self::invalid(text),
            AccountError::Factor(FactorError::Passkey(PasskeyError::Known)) => Self::conflict("known", text),
            AccountError::Factor(FactorError::Passkey(PasskeyError::TooMany(_))) => {
                Self::conflict("too-many", text)
            }
            AccountError::Factor(FactorError::Passkey(_)) => Self::forbidden("wrong-passkey", text),
            AccountError::Factor(_) => Self::conflict("second-factor", text),
            AccountError::Damaged { .. } | AccountError::Io { .. } => Self::disk(text),
        }
    }
}

impl From<NotDone> for Problem {
    fn from(error: NotDone) -> Self {
        match error {
            NotDone::Full => {
                Self::too_many("too many passwords are being checked; try again", Duration::from_secs(2))
            }
            NotDone::Failed => Self::internal(error),
        }
    }
}
