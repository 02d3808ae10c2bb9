//! Signing in and out.
//!
//! `POST /session` checks the password; who has a second factor goes on to `POST /session/second-factor`. The first of all
//! sign-ins is `POST /first-sign-in`: it answers with the new password, and `POST /session/password-stored` says that it
//! was written down. Each step gives another cookie.

use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::Body;
use super::passkeys::UsedCredential;
use crate::console::accounts::{Account, AccountError, FactorError, Place, Proof, Role};
use crate::console::gate::{Caller, clear_cookie, set_cookie};
use crate::console::sessions::{Key, Shown, Stage};
use crate::console::{Action, Console, Problem};

/// What the sign-in page has to know.
#[derive(Serialize, ToSchema)]
pub(super) struct SignInPage {
    /// Nobody has signed in yet: `admin` with the password `admin` does, once, at `/first-sign-in`.
    first: bool,
    /// The first sign-in comes from another machine: it takes the code that `postern-gateway admin setup-code` prints on
    /// the gateway's.
    setup_code_needed: bool,
}

/// Name and password of the first sign-in.
#[derive(Deserialize, ToSchema)]
pub(super) struct FirstCredentials {
    /// `admin`.
    name: String,
    /// `admin`.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// From another machine: what `postern-gateway admin setup-code` prints.
    #[schema(value_type = Option<String>)]
    setup_code: Option<SecretString>,
}

/// Name and password.
#[derive(Deserialize, ToSchema)]
pub(super) struct Credentials {
    /// The administrator's name.
    name: String,
    /// The password.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// A second factor: one of both.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SecondFactor {
    /// A one-time password from the device.
    #[schema(value_type = String)]
    Totp(SecretString),
    /// A recovery code.
    #[schema(value_type = String)]
    RecoveryCode(SecretString),
    /// A passkey's answer to what `/session/passkey` gave.
    Passkey(UsedCredential),
}

/// Who is signed in, and how far.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionInfo {
    /// The administrator's name.
    name: String,
    /// What it may do.
    role: Role,
    /// How far signing in has come. Only `full` can do more than go on.
    stage: Stage,
    /// Second factors that there are: `totp`, `passkey`, `recovery_code`.
    second_factors: Vec<&'static str>,
    /// Recovery codes that are left.
    recovery_codes: usize,
    /// The password was made by somebody else, who may have seen it; it should be changed.
    password_is_given: bool,
    /// Seconds until the session ends when nothing more comes.
    ends_in_seconds: u64,
}

/// The first sign-in's answer.
#[derive(Serialize, ToSchema)]
pub(super) struct FirstSignedIn {
    /// The session, which waits for `password-stored`.
    session: SessionInfo,
    /// The password from now on; shown this once.
    password: String,
}

impl SessionInfo {
    fn of(account: &Account, session: &Shown) -> Self {
        let mut second_factors = Vec::new();
        if account.totp {
            second_factors.push("totp");
        }
        if account.passkeys > 0 {
            second_factors.push("passkey");
        }
        if account.recovery_codes > 0 {
            second_factors.push("recovery_code");
        }
        Self {
            name: account.name.clone(),
            role: account.role,
            stage: session.stage,
            second_factors,
            recovery_codes: account.recovery_codes,
            password_is_given: account.password_is_given,
            ends_in_seconds: session.left.as_secs(),
        }
    }
}

/// What the sign-in page has to know.
#[utoipa::path(get, path = "/api/v1/sign-in", tag = "session", operation_id = "signInPage", security(()),
    responses((status = 200, body = SignInPage)))]
pub(super) async fn sign_in_page(
    State(console): State<Arc<Console>>,
    caller: Caller,
    headers: HeaderMap,
) -> Json<SignInPage> {
    let first = console.core.administrators.is_first();
    Json(SignInPage { first, setup_code_needed: first && !is_here(&caller, &headers) })
}

/// Whether a request comes from this machine, and not through something that stands there for others.
fn is_here(caller: &Caller, headers: &HeaderMap) -> bool {
    const PASSED_ON: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];
    caller.peer.is_loopback() && !PASSED_ON.iter().any(|name| headers.contains_key(*name))
}

/// Signs `admin` in for the first time, with the password `admin`; answers with the password from then on.
#[utoipa::path(post, path = "/api/v1/first-sign-in", tag = "session", operation_id = "firstSignIn", security(()),
    request_body = FirstCredentials,
    responses((status = 200, body = FirstSignedIn), (status = 403, body = Problem), (status = 409, body = Problem),
        (status = 429, body = Problem)))]
pub(super) async fn first_sign_in(
    State(console): State<Arc<Console>>,
    caller: Caller,
    headers: HeaderMap,
    Body(credentials): Body<FirstCredentials>,
) -> Result<Response, Problem> {
    console.core.audit.check().map_err(Problem::disk)?;
    let FirstCredentials { name, password, setup_code } = credentials;
    let here = is_here(&caller, &headers);
    let (signed, of) = (name.clone(), Arc::clone(&console));
    let check = move || {
        let place = if here { Place::Here } else { Place::Elsewhere(setup_code.as_ref()) };
        match of.core.administrators.first_sign_in(&name, &password, place) {
            Ok(signed) => Ok(signed.ok_or_else(wrong)),
            Err(error @ AccountError::SetupCode) => Ok(Err(Problem::from(error))),
            Err(error) => Err(Problem::from(error)),
        }
    };
    let (account, password) = guarded(&console, &caller, &signed, check).await?;
    record(
        &console,
        &caller,
        &account,
        "administrator.first-sign-in",
        match here {
            true => "a random password replaced the first one",
            false => "with the setup code; a random password replaced the first one",
        },
    )
    .await;
    let cookie =
        console.sessions.begin(&account, Stage::PasswordShown, caller.peer, &caller.agent, console.now());
    let session = info(&console, &cookie)?;
    let password = password.expose_secret().to_owned();
    Ok(([set_cookie(&cookie)], Json(FirstSignedIn { session, password })).into_response())
}

/// Signs in with name and password.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", operation_id = "signIn", security(()),
    request_body = Credentials,
    responses((status = 200, body = SessionInfo), (status = 403, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn sign_in(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(credentials): Body<Credentials>,
) -> Result<Response, Problem> {
    let Credentials { name, password } = credentials;
    let (signed, of) = (name.clone(), Arc::clone(&console));
    let check = move || Ok(of.core.administrators.check_password(&name, &password).ok_or_else(wrong));
    let account = guarded(&console, &caller, &signed, check).await?;
    let stage = if account.has_second_factor() { Stage::SecondFactor } else { Stage::Full };
    if stage == Stage::Full {
        record(&console, &caller, &account, "session.begin", "").await;
    }
    let cookie = console.sessions.begin(&account, stage, caller.peer, &caller.agent, console.now());
    let session = info(&console, &cookie)?;
    Ok(([set_cookie(&cookie)], Json(session)).into_response())
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", operation_id = "session",
    responses((status = 200, body = SessionInfo), (status = 401, body = Problem)))]
pub(super) async fn session(caller: Caller) -> Result<Json<SessionInfo>, Problem> {
    let (_, session, account) = caller.session()?;
    Ok(Json(SessionInfo::of(account, session)))
}

/// Signs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", operation_id = "signOut",
    responses((status = 204), (status = 401, body = Problem)))]
pub(super) async fn sign_out(
    State(console): State<Arc<Console>>,
    caller: Caller,
) -> Result<Response, Problem> {
    let (key, _, account) = caller.session()?;
    console.sessions.end(key);
    record(&console, &caller, account, "session.end", "").await;
    Ok((StatusCode::NO_CONTENT, [clear_cookie()]).into_response())
}

/// Goes on with a second factor.
#[utoipa::path(post, path = "/api/v1/session/second-factor", tag = "session", operation_id = "secondFactor",
    request_body = SecondFactor,
    responses((status = 200, body = SessionInfo), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 429, body = Problem)))]
pub(super) async fn second_factor(
    State(console): State<Arc<Console>>,
    caller: Caller,
    headers: HeaderMap,
    Body(factor): Body<SecondFactor>,
) -> Result<Response, Problem> {
    let (key, session, account) = caller.session()?;
    if session.stage != Stage::SecondFactor {
        return Err(Problem::conflict("no-second-factor-awaited", "no second factor is awaited"));
    }
    let (proof, used) = match factor {
        SecondFactor::Totp(code) => (Proof::Totp(code), "one-time password"),
        SecondFactor::RecoveryCode(code) => (Proof::RecoveryCode(code), "recovery code"),
        SecondFactor::Passkey(used) => (used.proof(&console, key, &headers)?, "passkey"),
    };
    let (name, of) = (account.name.clone(), Arc::clone(&console));
    let check = move || match of.core.administrators.check_factor(&name, &proof) {
        Err(error @ AccountError::Factor(FactorError::WrongCode | FactorError::Passkey(_))) => {
            of.sessions.failed(key);
            Ok(Err(Problem::from(error)))
        }
        other => other.map(Ok).map_err(Problem::from),
    };
    // Counted apart: guessing at the second factor is somebody who has the password.
    let account = guarded(&console, &caller, &format!("{} second factor", account.name), check).await?;
    record(&console, &caller, &account, "session.begin", used).await;
    advance(&console, key, &account)
}

/// Says that the password shown at the first sign-in is stored.
#[utoipa::path(post, path = "/api/v1/session/password-stored", tag = "session", operation_id = "passwordStored",
    responses((status = 200, body = SessionInfo), (status = 401, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn password_stored(
    State(console): State<Arc<Console>>,
    caller: Caller,
) -> Result<Response, Problem> {
    let (key, session, account) = caller.session()?;
    if session.stage != Stage::PasswordShown {
        return Err(Problem::conflict("no-password-shown", "no password waits to be stored"));
    }
    record(&console, &caller, account, "session.begin", "the new password is stored").await;
    advance(&console, key, account)
}

fn advance(console: &Console, key: Key, account: &Account) -> Result<Response, Problem> {
    let cookie = console.sessions.advance(key, Stage::Full, account, console.now());
    let cookie = cookie.ok_or_else(|| Problem::unauthorized("the session is over; sign in again"))?;
    let session = info(console, &cookie)?;
    Ok(([set_cookie(&cookie)], Json(session)).into_response())
}

fn info(console: &Console, cookie: &SecretString) -> Result<SessionInfo, Problem> {
    let found = crate::console::gate::signed_in(console, Key::of(cookie.expose_secret()), false);
    let (session, account) =
        found.ok_or_else(|| Problem::unauthorized("the session is over; sign in again"))?;
    Ok(SessionInfo::of(&account, &session))
}

fn wrong() -> Problem {
    Problem::forbidden("wrong-credentials", "the name or the password is wrong")
}

/// Sign-ins are recorded, and do not depend on it: somebody must be able to come and look.
async fn record(
    console: &Arc<Console>,
    caller: &Caller,
    account: &Account,
    action: &'static str,
    detail: &str,
) {
    let action = Action { who: account.name.clone(), ..caller.action(action, account.name.clone(), detail) };
    let audit = Arc::clone(&console.core.audit);
    let recorded = tokio::task::spawn_blocking(move || {
        // An earlier line that failed may have room by now.
        let _ = audit.check();
        audit.record(action);
    });
    let _ = recorded.await;
}

/// Checks a password or a code where that may cost what it costs, unless this address must wait. That is looked up again
/// when its turn comes: of many sent at once no more are checked than if they had come one by one.
///
/// `check` fails for our own trouble; what it finds wrong is counted.
pub(super) async fn guarded<R: Send + 'static>(
    console: &Arc<Console>,
    caller: &Caller,
    name: &str,
    check: impl FnOnce() -> Result<Result<R, Problem>, Problem> + Send + 'static,
) -> Result<R, Problem> {
    let name: String = name.chars().take(100).collect();
    let (attempt, known) = {
        let guard = console.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = guard.attempt(caller.peer, &name);
        (attempt, guard.knows(attempt))
    };
    must_not_wait(console, attempt)?;
    let of = Arc::clone(console);
    let checked = console.logins.run(known, move || {
        must_not_wait(&of, attempt)?;
        let found = check()?;
        let mut guard = of.guard.lock().unwrap_or_else(PoisonError::into_inner);
        match &found {
            Ok(_) => guard.succeeded(attempt),
            Err(_) => guard.failed(attempt, of.core.clock.moment()),
        }
        found
    });
    let result = checked.await?;
    if result.is_err() {
        // The name is the peer's text: escaped.
        tracing::warn!(peer = %caller.peer, ?name, "a sign-in at the console was refused");
    }
    result
}

fn must_not_wait(console: &Console, attempt: crate::login::Attempt) -> Result<(), Problem> {
    let guard = console.guard.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = guard.wait(attempt, console.core.clock.moment());
    if wait.is_zero() {
        return Ok(());
    }
    let seconds = wait.as_secs() + 1;
    let detail = format!("too many wrong passwords or codes came from here; try again in {seconds} s");
    Err(Problem::too_many(detail, wait + std::time::Duration::from_secs(1)))
}
