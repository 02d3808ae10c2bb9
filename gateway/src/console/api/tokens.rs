//! Bearer tokens for scripts.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Body, Of};
use crate::console::access::{Need, may_give};
use crate::console::accounts::{NewToken, Scope, ShownToken};
use crate::console::gate::{Caller, Who};
use crate::console::{Console, Problem};

const NAME_CHARS_MAX: usize = 100;
const DAYS_MAX: u32 = 3650;

/// A token.
#[derive(Serialize, ToSchema)]
pub(super) struct Token {
    /// Tells it from others.
    id: String,
    /// What its owner calls it.
    name: String,
    /// Whose it is; it may do no more than that one.
    owner: String,
    /// What it is for.
    scopes: Vec<Scope>,
    /// When it was made.
    created_at: u64,
    /// When it ends.
    expires_at: Option<u64>,
    /// When it was last used since the gateway started.
    last_used_at: Option<u64>,
}

/// A token and its text, shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenWithText {
    /// The token.
    token: Token,
    /// What `Authorization: Bearer` takes.
    text: String,
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// What to call it.
    name: String,
    /// What it is for.
    scopes: Vec<Scope>,
    /// Days until it ends; without them it does not end by itself.
    expires_in_days: Option<u32>,
}

/// One's own tokens; for administrators those of all.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", operation_id = "tokens",
    responses((status = 200, body = Vec<Token>)))]
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    caller: Caller,
) -> Result<Json<Vec<Token>>, Problem> {
    let visible = console.tokens.list()?.into_iter().filter(|token| may_see(&caller, token));
    Ok(Json(visible.map(Token::of).collect()))
}

/// Makes a token; its text is shown this once.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", operation_id = "createToken", request_body = TokenRequest,
    responses((status = 201, body = TokenWithText), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(TokenRequest { name, mut scopes, expires_in_days }): Body<TokenRequest>,
) -> Result<Response, Problem> {
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("a token's name has 1 to {NAME_CHARS_MAX} characters")));
    }
    scopes.sort_by_key(|scope| *scope as u8);
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Problem::invalid("a token has at least one scope: read, mailboxes, settings or admin"));
    }
    if expires_in_days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
        return Err(Problem::invalid(format!("a token ends after 1 to {DAYS_MAX} days, or not by itself")));
    }
    let owner = caller.account()?;
    let held = |scope: Scope| match &caller.who {
        // A token makes none that may do more than itself.
        Who::Token { token, .. } => token.scopes.contains(&scope) || scope == Scope::Read,
        _ => true,
    };
    if let Some(scope) = scopes.iter().find(|scope| !may_give(owner.role, **scope) || !held(**scope)) {
        let detail = format!("you may not do what the scope {scope:?} is for, so no token of yours may");
        return Err(Problem::forbidden("not-allowed", detail));
    }
    let lasting = expires_in_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
    let expires = lasting.map(|lasting| console.now().1.plus(lasting));
    let new = NewToken { name, owner: owner.name.clone(), scopes, expires };
    let made = console.changing(move |console| {
        let (token, text) = console.tokens.create(new)?;
        let action = caller.action(
            "token.create",
            token.id.clone(),
            format!("{:?}, scopes {:?}", token.name, token.scopes),
        );
        Ok(((token, text), action))
    });
    let (token, text) = made.await?;
    let text = text.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(TokenWithText { token: Token::of(token), text })).into_response())
}

/// Removes a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", operation_id = "removeToken",
    params(("id" = String, Path, description = "The token's id")),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn remove(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(id): Of<String>,
) -> Result<StatusCode, Problem> {
    console
        .changing(move |console| {
            let removed = console.tokens.remove(|token| token.id == id && may_see(&caller, token))?;
            let Some(token) = removed.into_iter().next() else {
                return Err(Problem::not_found("there is no such token"));
            };
            Ok(((), caller.action("token.remove", token.id, format!("{:?} of {}", token.name, token.owner))))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everybody sees his own, and who manages administrators those of all.
fn may_see(caller: &Caller, token: &ShownToken) -> bool {
    caller
        .account()
        .is_ok_and(|account| account.name == token.owner || Need::Administration.allows_role(account.role))
}

impl Token {
    fn of(token: ShownToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            owner: token.owner,
            scopes: token.scopes,
            created_at: token.created.0,
            expires_at: token.expires.map(|at| at.0),
            last_used_at: token.last_used.map(|at| at.0),
        }
    }
}
