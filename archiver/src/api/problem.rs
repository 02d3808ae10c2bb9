//! Answers that say what went wrong: `application/problem+json` (RFC 9457), with a sentence to act on.
//!
//! `type` is `urn:postern:problem:` and one of a few words, which a program may rely on; texts may change.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::access::{Denied, TokenError};
use crate::archive::{ArchiveError, UserError};
use crate::command::CommandError;

/// What went wrong.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) title: &'static str,
    pub(super) status: u16,
    /// What happened and what to do, as a sentence.
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_seconds: Option<u64>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        word: &str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind: format!("urn:postern:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            retry_after_seconds: None,
        }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request cannot be used", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "no-token", "No good token", detail)
    }

    pub(super) fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "must-wait", "Wait a moment", detail);
        Self { retry_after_seconds: Some(wait.as_secs().max(1)), ..problem }
    }

    fn forbidden(detail: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not-allowed", "Not allowed", detail)
    }

    fn conflict(word: &str, detail: String) -> Self {
        Self::new(StatusCode::CONFLICT, word, "Not possible now", detail)
    }

    /// Our own trouble; what it was stands in the log.
    pub(super) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "the API could not answer");
        let detail = "the archiver failed to do this; its log tells why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The archiver failed", detail)
    }

    fn disk(detail: String) -> Self {
        tracing::error!(error = detail, "the API could not read or write");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "disk", "The disk or a file failed", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotAllowed(why) => Self::forbidden(why),
            Denied::Archive(error) => error.into(),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let text = error.to_string();
        match error {
            CommandError::NotAllowed(why) => Self::forbidden(why),
            CommandError::Archive(error) => error.into(),
            CommandError::Token(TokenError::Unknown(_)) => Self::not_found(text),
            CommandError::Token(TokenError::Bad(_)) => Self::invalid(text),
            CommandError::Token(TokenError::TooMany(_)) => Self::conflict("too-many", text),
            CommandError::Token(_) => Self::disk(text),
            CommandError::Inside(_) => Self::internal(text),
            // Of profiles and their runs: what is not there, or cannot be done.
            _ if text.starts_with("there is no ") => Self::not_found(text),
            _ => Self::conflict("failed", text),
        }
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        let text = error.to_string();
        match error {
            ArchiveError::NoInstance(_)
            | ArchiveError::NoMessage(_)
            | ArchiveError::NoReport(_)
            | ArchiveError::NoStore(_)
            | ArchiveError::User(UserError::Unknown(_)) => Self::not_found(text),
            ArchiveError::BadId(_)
            | ArchiveError::Query(_)
            | ArchiveError::Cursor(_)
            | ArchiveError::OwnDirectory { .. }
            | ArchiveError::RollOver { .. }
            | ArchiveError::User(UserError::BadAddress(_) | UserError::Reserved(_)) => Self::invalid(text),
            ArchiveError::InstanceExists(_) | ArchiveError::StoreExists(_) | ArchiveError::User(_) => {
                Self::conflict("exists", text)
            }
            ArchiveError::Locked { .. } => Self::conflict("locked", text),
            ArchiveError::Stopped(_) => Self::conflict("stopped", text),
            ArchiveError::SafeMode(_) => Self::conflict("safe-mode", text),
            ArchiveError::Busy
            | ArchiveError::Stopping(_)
            | ArchiveError::StoreInUse { .. }
            | ArchiveError::Opening(_)
            | ArchiveError::Changing(_) => Self::conflict("busy", text),
            ArchiveError::NoCurrentStore
            | ArchiveError::CurrentStore(_)
            | ArchiveError::StoreClosed { .. }
            | ArchiveError::InstanceInUse(_)
            | ArchiveError::OtherInstance { .. }
            | ArchiveError::Incomplete { .. }
            | ArchiveError::Backup(_) => Self::conflict("failed", text),
            _ => Self::disk(text),
        }
    }
}
