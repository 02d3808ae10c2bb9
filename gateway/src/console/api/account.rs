//! One's own password, second factors and sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Body, Of};
use super::session::guarded;
use crate::console::accounts::{Account, AccountError, totp};
use crate::console::gate::{Caller, set_cookie};
use crate::console::sessions::{Key, Shown, Stage};
use crate::console::{Console, Problem};

/// A new password, and the present one.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewPassword {
    /// The present one.
    #[schema(value_type = String, format = Password)]
    current: SecretString,
    /// The one to have: at least 12 characters.
    #[schema(value_type = String, format = Password)]
    new: SecretString,
}

/// The present password, once more.
#[derive(Deserialize, ToSchema)]
pub(super) struct CurrentPassword {
    /// The present password.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// What a device needs to make one-time passwords.
#[derive(Serialize, ToSchema)]
pub(super) struct TotpSecret {
    /// To be typed.
    secret: String,
    /// To be shown as a QR code.
    uri: String,
}

/// A one-time password.
#[derive(Deserialize, ToSchema)]
pub(super) struct TotpCode {
    /// Six digits.
    #[schema(value_type = String)]
    code: SecretString,
}

/// Recovery codes, shown once; each serves once.
#[derive(Serialize, ToSchema)]
pub(super) struct RecoveryCodes {
    /// The codes.
    codes: Vec<String>,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionRow {
    /// Tells it from others.
    id: String,
    /// It is the one this request came in.
    current: bool,
    /// How far it has come.
    stage: Stage,
    /// When it began.
    begun_at: u64,
    /// When it was last used.
    seen_at: u64,
    /// Where it began.
    peer: String,
    /// What the browser calls itself.
    agent: String,
}

/// How many sessions were ended.
#[derive(Serialize, ToSchema)]
pub(super) struct Ended {
    /// How many.
    pub(super) ended: usize,
}

/// Changes one's own password; all other sessions end.
#[utoipa::path(put, path = "/api/v1/account/password", tag = "account", operation_id = "changePassword",
    request_body = NewPassword,
    responses((status = 204), (status = 403, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn change_password(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(passwords): Body<NewPassword>,
) -> Result<Response, Problem> {
    let (key, _, account) = caller.session()?;
    console.core.audit.check().map_err(Problem::disk)?;
    let (of, name) = (Arc::clone(&console), account.name.clone());
    let change = move || {
        let changed = of.core.administrators.change_password(&name, &passwords.current, &passwords.new);
        match changed {
            Err(error @ AccountError::WrongPassword) => Ok(Err(Problem::from(error))),
            other => other.map(Ok).map_err(Problem::from),
        }
    };
    let changed = guarded(&console, &caller, &account.name, change).await?;
    let action = caller.action("account.password", account.name.clone(), "");
    console
        .blocking(move |console| {
            console.core.audit.record(action);
            Ok(())
        })
        .await?;
    Ok((StatusCode::NO_CONTENT, [renewed(&console, key, &changed)?]).into_response())
}

/// Begins to set up one-time passwords.
#[utoipa::path(post, path = "/api/v1/account/totp", tag = "account", operation_id = "beginTotp",
    request_body = CurrentPassword,
    responses((status = 200, body = TotpSecret), (status = 403, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn begin_totp(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(current): Body<CurrentPassword>,
) -> Result<Json<TotpSecret>, Problem> {
    let (key, _, account) = caller.session()?;
    confirm_password(&console, &caller, current).await?;
    let secret = totp::Secret::generate();
    let issuer = format!("Postern {}", console.core.settings.host_name);
    let shown = TotpSecret {
        secret: secret.base32().to_string(),
        uri: secret.uri(&issuer, &account.name).to_string(),
    };
    console.sessions.keep_totp(key, secret);
    Ok(Json(shown))
}

/// Sets up one-time passwords, once a code shows that the device has the secret; answers with recovery codes. All other
/// sessions end.
#[utoipa::path(put, path = "/api/v1/account/totp", tag = "account", operation_id = "confirmTotp",
    request_body = TotpCode,
    responses((status = 200, body = RecoveryCodes), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn confirm_totp(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(TotpCode { code }): Body<TotpCode>,
) -> Result<Response, Problem> {
    let (key, _, account) = caller.session()?;
    let Some(secret) = console.sessions.kept_totp(key) else {
        return Err(Problem::conflict("not-begun", "begin to set up one-time passwords first"));
    };
    let (name, action) =
        (account.name.clone(), caller.action("account.totp", account.name.clone(), "set up"));
    let set = console.changing(move |console| {
        let set = console.core.administrators.set_totp(&name, &secret, code.expose_secret())?;
        Ok((set, action))
    });
    let (changed, codes) = set.await?;
    Ok(([renewed(&console, key, &changed)?], Json(RecoveryCodes::of(&codes))).into_response())
}

/// Takes away one-time passwords; recovery codes go with the last second factor. All other sessions end.
#[utoipa::path(post, path = "/api/v1/account/totp/remove", tag = "account", operation_id = "removeTotp",
    request_body = CurrentPassword,
    responses((status = 204), (status = 403, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn remove_totp(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(current): Body<CurrentPassword>,
) -> Result<Response, Problem> {
    let (key, _, account) = caller.session()?;
    confirm_password(&console, &caller, current).await?;
    let (name, action) =
        (account.name.clone(), caller.action("account.totp", account.name.clone(), "removed"));
    let removed =
        console.changing(move |console| Ok((console.core.administrators.remove_totp(&name)?, action)));
    let changed = removed.await?;
    Ok((StatusCode::NO_CONTENT, [renewed(&console, key, &changed)?]).into_response())
}

/// New recovery codes in place of the old ones.
#[utoipa::path(post, path = "/api/v1/account/recovery-codes", tag = "account", operation_id = "renewRecoveryCodes",
    request_body = CurrentPassword,
    responses((status = 200, body = RecoveryCodes), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn renew_recovery_codes(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(current): Body<CurrentPassword>,
) -> Result<Json<RecoveryCodes>, Problem> {
    let (_, _, account) = caller.session()?;
    confirm_password(&console, &caller, current).await?;
    let (name, action) =
        (account.name.clone(), caller.action("account.recovery-codes", account.name.clone(), ""));
    let codes = console
        .changing(move |console| Ok((console.core.administrators.renew_recovery_codes(&name)?, action)));
    Ok(Json(RecoveryCodes::of(&codes.await?)))
}

/// One's own sessions, the newest first.
#[utoipa::path(get, path = "/api/v1/account/sessions", tag = "account", operation_id = "ownSessions",
    responses((status = 200, body = Vec<SessionRow>)))]
pub(super) async fn sessions(
    State(console): State<Arc<Console>>,
    caller: Caller,
) -> Result<Json<Vec<SessionRow>>, Problem> {
    let (own, _, account) = caller.session()?;
    let sessions = console.sessions.of(&account.name, console.now());
    Ok(Json(sessions.into_iter().map(|(key, shown)| SessionRow::of(shown, key == own)).collect()))
}

/// Ends all of one's own sessions, this one too.
#[utoipa::path(delete, path = "/api/v1/account/sessions", tag = "account", operation_id = "signOutEverywhere",
    responses((status = 200, body = Ended)))]
pub(super) async fn end_sessions(
    State(console): State<Arc<Console>>,
    caller: Caller,
) -> Result<Response, Problem> {
    let (_, _, account) = caller.session()?;
    let (name, action) = (account.name.clone(), caller.action("session.end-all", account.name.clone(), ""));
    let ended =
        console.changing(move |console| Ok((console.sessions.end_of(&name, |_, _| true), action))).await?;
    Ok(([crate::console::gate::clear_cookie()], Json(Ended { ended })).into_response())
}

/// Ends one of one's own sessions.
#[utoipa::path(delete, path = "/api/v1/account/sessions/{id}", tag = "account", operation_id = "endOwnSession",
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn end_session(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(id): Of<String>,
) -> Result<StatusCode, Problem> {
    let (_, _, account) = caller.session()?;
    let (name, action) = (account.name.clone(), caller.action("session.end", id.clone(), ""));
    console
        .changing(move |console| match console.sessions.end_of(&name, |other, _| other == id) {
            0 => Err(Problem::not_found("there is no such session, or it is over")),
            _ => Ok(((), action)),
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What this session goes on with when all others of a changed account end.
pub(super) fn renewed(
    console: &Console,
    key: Key,
    changed: &Account,
) -> Result<(HeaderName, String), Problem> {
    let cookie = console.sessions.advance(key, Stage::Full, changed, console.now());
    let cookie = cookie.ok_or_else(|| Problem::unauthorized("the session is over; sign in again"))?;
    console.sessions.end_of(&changed.name, |_, other| other != Key::of(cookie.expose_secret()));
    Ok(set_cookie(&cookie))
}

/// That it is still the same one who signed in.
pub(super) async fn confirm_password(
    console: &Arc<Console>,
    caller: &Caller,
    current: CurrentPassword,
) -> Result<(), Problem> {
    let name = caller.account()?.name.clone();
    let (of, own) = (Arc::clone(console), name.clone());
    let check = move || {
        let found = of.core.administrators.check_password(&own, &current.password);
        Ok(found.map(drop).ok_or_else(|| AccountError::WrongPassword.into()))
    };
    guarded(console, caller, &name, check).await
}

impl RecoveryCodes {
    fn of(codes: &[SecretString]) -> Self {
        Self { codes: texts(codes) }
    }
}

/// To be shown once.
pub(super) fn texts(codes: &[SecretString]) -> Vec<String> {
    codes.iter().map(|code| code.expose_secret().to_owned()).collect()
}

impl SessionRow {
    fn of(shown: Shown, current: bool) -> Self {
        Self {
            id: shown.id,
            current,
            stage: shown.stage,
            begun_at: shown.begun.0,
            seen_at: shown.seen.0,
            peer: shown.peer.to_string(),
            agent: shown.agent,
        }
    }
}
