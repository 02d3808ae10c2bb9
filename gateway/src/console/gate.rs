//! In front of every route: who comes, may he, does the request come from our own pages; and what every answer says to
//! browsers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use postern_shared::http::Peer;
use secrecy::{ExposeSecret, SecretString};

use super::accounts::{Account, ShownToken};
use super::sessions::{Key, Shown, Stage};
use super::{Action, Console, Problem, access};
use crate::console::access::Need;

/// `__Host-`: only this host may set it, over HTTPS only, for all paths.
pub(super) const COOKIE: &str = "__Host-postern";
/// No foreign page can send it without asking first, and asking is refused (there is no CORS here).
const OWN_PAGE: &str = "x-postern-console";
/// Sent with requests that a page makes by itself: they do not keep a session alive.
const BACKGROUND: &str = "x-postern-background";
const AGENT_BYTES_MAX: usize = 300;
/// One request until its answer begins.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);

/// Who makes a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) peer: IpAddr,
    pub(super) agent: String,
    pub(super) who: Who,
}

/// By what right.
#[derive(Debug, Clone)]
pub(super) enum Who {
    Nobody,
    Session { key: Key, session: Box<Shown>, account: Box<Account> },
    Token { token: Box<ShownToken>, owner: Box<Account> },
}

impl Caller {
    /// Whoever it is, when it is somebody.
    pub(super) fn account(&self) -> Result<&Account, Problem> {
        match &self.who {
            Who::Nobody => Err(nobody()),
            Who::Session { account, .. } => Ok(account),
            Who::Token { owner, .. } => Ok(owner),
        }
    }

    /// The session, when it is one.
    pub(super) fn session(&self) -> Result<(Key, &Shown, &Account), Problem> {
        match &self.who {
            Who::Session { key, session, account } => Ok((*key, session, account)),
            Who::Nobody => Err(nobody()),
            Who::Token { .. } => {
                Err(Problem::forbidden("session-only", "this is done in a session, not with a token"))
            }
        }
    }

    /// Somebody who tries what he may not is told of. Nobody is not: anyone could fill the log so.
    fn log_refusal(&self, method: &Method, path: &str, problem: &Problem) {
        let Ok(account) = self.account() else { return };
        let (who, why) = (&account.name, &problem.kind);
        tracing::warn!(peer = %self.peer, ?who, %method, path, why, "a request at the console was refused");
    }

    /// What is recorded of what it does.
    pub(super) fn action(
        &self,
        action: &'static str,
        target: impl Into<String>,
        detail: impl Into<String>,
    ) -> Action {
        let (who, how) = match &self.who {
            Who::Nobody => (String::new(), "sign-in".to_owned()),
            Who::Session { account, .. } => (account.name.clone(), "session".to_owned()),
            Who::Token { token, owner } => (owner.name.clone(), format!("token {}", token.id)),
        };
        let (from, target, detail) = (self.peer.to_string(), target.into(), detail.into());
        Action { who, how, from, action, target, detail }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // Put there by `admit`, without which no route is reached.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("a route without a gate"))
    }
}

fn nobody() -> Problem {
    Problem::unauthorized("sign in first, or send a bearer token")
}

/// Lets a request pass to its route, or tells why not.
pub(super) async fn admit(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let caller = match judge(&console, &request) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(caller);
    let only_asks = is_safe(request.method());
    within(REQUEST_DEADLINE, only_asks, next.run(request)).await
}

/// The answer, when it comes in time. What waits for the disk cannot be called back: a change that was begun may still be made.
async fn within(deadline: Duration, only_asks: bool, answer: impl Future<Output = Response>) -> Response {
    if let Ok(answer) = tokio::time::timeout(deadline, answer).await {
        return answer;
    }
    let detail = match only_asks {
        true => "the request took too long; try again",
        false => {
            "the request took too long and may still be carried out; before you repeat it, look whether it was done \
             (the audit log tells)"
        }
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", "Too slow", detail).into_response()
}

fn judge(console: &Console, request: &Request) -> Result<Caller, Problem> {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(need) = access::need(request.method().as_str(), path) else {
        let detail = format!("{path} does not take {}", request.method());
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "No such method", detail));
    };
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    let peer = peer.ok_or_else(|| Problem::internal("a request without a connection"))?;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
    let agent = agent.chars().take(AGENT_BYTES_MAX).collect();
    let who = who(console, headers)?;
    let caller = Caller { peer, agent, who };
    check(need, &caller, request)
        .inspect_err(|problem| caller.log_refusal(request.method(), path, problem))?;
    Ok(caller)
}

fn check(need: Need, caller: &Caller, request: &Request) -> Result<(), Problem> {
    if !matches!(caller.who, Who::Token { .. }) && !is_safe(request.method()) {
        check_origin(request.headers())?;
    }
    check_need(need, &caller.who)
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// A token when one is sent, and then only that: a cookie beside it counts for nothing.
fn who(console: &Console, headers: &HeaderMap) -> Result<Who, Problem> {
    if let Some(sent) = headers.get(header::AUTHORIZATION) {
        let sent = sent.to_str().ok().and_then(|sent| sent.split_once(' '));
        let text =
            sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, text)| text.trim());
        let token = text.and_then(|text| console.tokens.find(text));
        let owned = token.and_then(|token| Some((owner(console, &token)?, token)));
        let Some((owner, token)) = owned else {
            return Err(Problem::unauthorized("the token is wrong, has expired or was removed"));
        };
        return Ok(Who::Token { token: Box::new(token), owner: Box::new(owner) });
    }
    let Some(cookie) = cookie(headers) else { return Ok(Who::Nobody) };
    let key = Key::of(cookie);
    let renew = !headers.contains_key(BACKGROUND);
    Ok(match signed_in(console, key, renew) {
        Some((session, account)) => {
            Who::Session { key, session: Box::new(session), account: Box::new(account) }
        }
        None => Who::Nobody,
    })
}

/// Whose a token is. Somebody who was removed left it behind, though another one has the name by now.
pub(super) fn owner(console: &Console, token: &ShownToken) -> Option<Account> {
    let owner = console.core.administrators.account(&token.owner);
    owner.filter(|owner| owner.created <= token.created)
}

/// The session and whose it is, when it is not over.
pub(super) fn signed_in(console: &Console, key: Key, renew: bool) -> Option<(Shown, Account)> {
    let session = console.sessions.find(key, renew, console.now())?;
    let account = console.core.administrators.account(&session.name);
    match account.filter(|account| account.generation == session.generation) {
        Some(account) => Some((session, account)),
        None => {
            console.sessions.end(key);
            None
        }
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    pairs.find_map(|pairs| {
        pairs.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
    })
}

/// What changes something must come from our own pages.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let own = headers.get(OWN_PAGE).is_some_and(|value| value == "1");
    let site = text(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| site == "same-origin");
    let host = text(header::HOST);
    let origin = headers.get(header::ORIGIN).is_none_or(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("https://"));
        origin.is_some() && origin == host
    });
    if own && site && origin {
        return Ok(());
    }
    let detail = "the request does not come from the console's own pages (X-Postern-Console: 1 is missing, or the origin is another)";
    Err(Problem::forbidden("foreign-origin", detail))
}

fn check_need(need: Need, who: &Who) -> Result<(), Problem> {
    if need == Need::Anyone {
        return Ok(());
    }
    let not_allowed = || {
        let detail = "your role, or the token's scopes, do not allow this; an administrator can do it";
        Problem::forbidden("not-allowed", detail)
    };
    match who {
        Who::Nobody => Err(nobody()),
        Who::Session { .. } if need == Need::AnySession => Ok(()),
        Who::Session { session, account, .. } => match session.stage {
            Stage::SecondFactor => {
                Err(Problem::forbidden("second-factor-awaited", "give the second factor first"))
            }
            Stage::PasswordShown => {
                Err(Problem::forbidden("password-shown", "confirm first that the new password is stored"))
            }
            Stage::Full if need.allows_role(account.role) => Ok(()),
            Stage::Full => Err(not_allowed()),
        },
        Who::Token { token, owner } if need.allows_token(&token.scopes, owner.role) => Ok(()),
        Who::Token { .. } => Err(not_allowed()),
    }
}

/// The header that gives a browser its session.
pub(super) fn set_cookie(cookie: &SecretString) -> (HeaderName, String) {
    let cookie = cookie.expose_secret();
    (header::SET_COOKIE, format!("{COOKIE}={cookie}; Path=/; Secure; HttpOnly; SameSite=Strict"))
}

/// The header that takes it away.
pub(super) fn clear_cookie() -> (HeaderName, String) {
    (header::SET_COOKIE, format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"))
}

/// A request names its host once (RFC 9112 §3.2); with two, what stands before us might have looked at the other one.
fn check_host(request: &Request) -> Result<(), Problem> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let may_be_missing = request.version() < Version::HTTP_11;
    if hosts == 1 || hosts == 0 && may_be_missing {
        return Ok(());
    }
    let detail = "a request has one Host header";
    Err(Problem::new(StatusCode::BAD_REQUEST, "bad-host", "No host, or several", detail))
}

/// What every answer says to browsers.
pub(super) async fn secure(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = match check_host(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    let mut say = |name: &'static str, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    say("x-content-type-options", "nosniff");
    say("x-frame-options", "DENY");
    say("referrer-policy", "no-referrer");
    say("cross-origin-opener-policy", "same-origin");
    say("cross-origin-resource-policy", "same-origin");
    say("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
    // The pages have their own, given with them.
    say(
        "content-security-policy",
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    if is_api {
        say("cache-control", "no-store");
    }
    if console.has_hsts() {
        say("strict-transport-security", "max-age=31536000");
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Goal: who changes something and hears nothing for too long learns that it may still be done.
    #[tokio::test]
    async fn a_change_that_takes_too_long_is_not_said_to_be_undone() {
        for (only_asks, told) in [(true, "try again"), (false, "may still be carried out")] {
            let answer = within(Duration::ZERO, only_asks, std::future::pending()).await;
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(body["detail"].as_str().unwrap().contains(told), "{body}");
        }
    }
}
