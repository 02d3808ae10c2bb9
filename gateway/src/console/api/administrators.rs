//! Who else may sign in, and what they may do.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::account::Ended;
use super::extract::{Body, Of};
use crate::console::accounts::{Account, Role, Signed};
use crate::console::gate::Caller;
use crate::console::{Console, Problem};

/// An administrator.
#[derive(Serialize, ToSchema)]
pub(super) struct Administrator {
    /// The name to sign in with.
    name: String,
    /// What it may do.
    role: Role,
    /// When it was made.
    created_at: u64,
    /// When the password was last changed.
    password_at: u64,
    /// The password was made by the gateway for somebody else to hand over.
    password_is_given: bool,
    /// One-time passwords are asked for.
    totp: bool,
    /// Passkeys that serve as second factors.
    passkeys: usize,
    /// Recovery codes that are left.
    recovery_codes: usize,
    /// Sessions that are open.
    sessions: usize,
}

/// An administrator and the password, shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct AdministratorWithPassword {
    /// The administrator.
    administrator: Administrator,
    /// To be handed over.
    password: String,
}

/// An administrator to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAdministrator {
    /// 1 to 64 lower-case letters, digits and `. _ - @`.
    name: String,
    /// What it may do.
    role: Role,
}

/// What changes of an administrator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AdministratorEdit {
    /// What it may do.
    role: Role,
}

/// How a password is reset.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetPassword {
    /// Takes away the second factors as well.
    #[serde(default)]
    clear_second_factors: bool,
}

/// All administrators.
#[utoipa::path(get, path = "/api/v1/administrators", tag = "administrators", operation_id = "administrators",
    responses((status = 200, body = Vec<Administrator>), (status = 403, body = Problem)))]
pub(super) async fn list(State(console): State<Arc<Console>>) -> Result<Json<Vec<Administrator>>, Problem> {
    let accounts = console.core.administrators.list()?;
    Ok(Json(accounts.iter().map(|account| shown(&console, account)).collect()))
}

/// Makes an administrator with a random password.
#[utoipa::path(post, path = "/api/v1/administrators", tag = "administrators", operation_id = "createAdministrator",
    request_body = NewAdministrator,
    responses((status = 201, body = AdministratorWithPassword), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(NewAdministrator { name, role }): Body<NewAdministrator>,
) -> Result<Response, Problem> {
    let signed = console.changing(move |console| {
        let signed = console.core.administrators.create(&name, role)?;
        let action = caller.action("administrator.create", signed.0.name.clone(), format!("role {role:?}"));
        Ok((signed, action))
    });
    let signed = signed.await?;
    Ok((StatusCode::CREATED, Json(with_password(&console, &signed))).into_response())
}

/// Gives another role; sessions of that one end.
#[utoipa::path(patch, path = "/api/v1/administrators/{name}", tag = "administrators", operation_id = "editAdministrator",
    params(("name" = String, Path, description = "The administrator's name")), request_body = AdministratorEdit,
    responses((status = 200, body = Administrator), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn edit(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(name): Of<String>,
    Body(AdministratorEdit { role }): Body<AdministratorEdit>,
) -> Result<Json<Administrator>, Problem> {
    let account = console.changing(move |console| {
        let account = console.core.administrators.set_role(&name, role)?;
        let action = caller.action("administrator.edit", account.name.clone(), format!("role {role:?}"));
        Ok((account, action))
    });
    Ok(Json(shown(&console, &account.await?)))
}

/// Removes an administrator, with all sessions and tokens.
#[utoipa::path(delete, path = "/api/v1/administrators/{name}", tag = "administrators", operation_id = "removeAdministrator",
    params(("name" = String, Path, description = "The administrator's name")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn remove(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(name): Of<String>,
) -> Result<StatusCode, Problem> {
    console
        .changing(move |console| {
            let removed = console.core.administrators.remove(&name)?;
            // Both are worthless without their owner already; this only tidies up.
            console.sessions.end_of(&removed.name, |_, _| true);
            let tokens =
                console.tokens.remove(|token| token.owner == removed.name).map_or(0, |gone| gone.len());
            let action = caller.action("administrator.remove", removed.name, format!("with {tokens} tokens"));
            Ok(((), action))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives an administrator a new random password; sessions of that one end.
#[utoipa::path(post, path = "/api/v1/administrators/{name}/reset-password", tag = "administrators",
    operation_id = "resetAdministratorPassword",
    params(("name" = String, Path, description = "The administrator's name")), request_body = ResetPassword,
    responses((status = 200, body = AdministratorWithPassword), (status = 404, body = Problem)))]
pub(super) async fn reset_password(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(name): Of<String>,
    Body(ResetPassword { clear_second_factors: clear }): Body<ResetPassword>,
) -> Result<Json<AdministratorWithPassword>, Problem> {
    let signed = console.changing(move |console| {
        let signed = console.core.administrators.reset_password(&name, clear)?;
        let detail = if clear { "second factors cleared" } else { "" };
        let action = caller.action("administrator.reset-password", signed.0.name.clone(), detail);
        Ok((signed, action))
    });
    Ok(Json(with_password(&console, &signed.await?)))
}

/// Ends all sessions of an administrator.
#[utoipa::path(delete, path = "/api/v1/administrators/{name}/sessions", tag = "administrators",
    operation_id = "endAdministratorSessions",
    params(("name" = String, Path, description = "The administrator's name")),
    responses((status = 200, body = Ended), (status = 404, body = Problem)))]
pub(super) async fn end_sessions(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(name): Of<String>,
) -> Result<Json<Ended>, Problem> {
    let ended = console.changing(move |console| {
        let account = console.core.administrators.account(&name);
        let account =
            account.ok_or_else(|| Problem::not_found(format!("there is no administrator {name:?}")))?;
        let ended = console.sessions.end_of(&account.name, |_, _| true);
        Ok((ended, caller.action("session.end-all", account.name, format!("{ended} sessions"))))
    });
    Ok(Json(Ended { ended: ended.await? }))
}

fn shown(console: &Console, account: &Account) -> Administrator {
    Administrator {
        name: account.name.clone(),
        role: account.role,
        created_at: account.created.0,
        password_at: account.password_since.0,
        password_is_given: account.password_is_given,
        totp: account.totp,
        passkeys: account.passkeys,
        recovery_codes: account.recovery_codes,
        sessions: console.sessions.of(&account.name, console.now()).len(),
    }
}

fn with_password(console: &Console, (account, password): &Signed) -> AdministratorWithPassword {
    let password = password.expose_secret().to_owned();
    AdministratorWithPassword { administrator: shown(console, account), password }
}
