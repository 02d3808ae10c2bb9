//! In front of every route: the token; and what every answer says.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderValue};
use axum::http::{StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use postern_shared::http::Peer;

use super::{Api, Problem};
use crate::access::Caller;
use crate::monitoring::metrics;

/// One request until its answer begins.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);

/// Lets a request with a good token pass.
pub(super) async fn admit(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    match caller(&api, &request) {
        Ok(caller) => request.extensions_mut().insert(Arc::new(caller)),
        Err(problem) => return problem.into_response(),
    };
    match tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long; try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", "Too slow", detail).into_response()
        }
    }
}

fn caller(api: &Api, request: &Request) -> Result<Caller, Problem> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    let peer = peer.ok_or_else(|| Problem::internal("a request without a connection"))?;
    let sent = request.headers().get(AUTHORIZATION);
    let Some(sent) = sent else {
        let how = "send a bearer token: Authorization: Bearer …; postern-archiver token create makes one";
        return Err(Problem::unauthorized(how));
    };
    let sent = sent.to_str().ok().and_then(|sent| sent.split_once(' '));
    let text = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, text)| text.trim());
    if let Some(token) = text.and_then(|text| api.core.tokens.find(text)) {
        return Ok(Caller::token(token, peer.to_string()));
    }
    metrics().wrong_token();
    let mut throttle = api.throttle.lock().unwrap_or_else(PoisonError::into_inner);
    Err(match throttle.wrong(peer, api.core.clock.moment()) {
        Some(wait) => Problem::too_many("too many wrong tokens came from your address", wait),
        None => {
            tracing::warn!(%peer, "a wrong token was sent to the API");
            Problem::unauthorized("the token is wrong, has expired or was revoked")
        }
    })
}

/// What every answer says, and what no request may lack.
pub(super) async fn every(request: Request, next: Next) -> Response {
    // With two hosts, what stands before us might have looked at the other one (RFC 9112 §3.2).
    let hosts = request.headers().get_all(HOST).iter().count();
    let mut response = if hosts == 1 || hosts == 0 && request.version() < Version::HTTP_11 {
        next.run(request).await
    } else {
        let detail = "a request has one Host header";
        Problem::new(StatusCode::BAD_REQUEST, "bad-host", "No host, or several", detail).into_response()
    };
    metrics().answered(response.status().as_u16());
    let headers = response.headers_mut();
    let mut say = |name: &'static str, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    say("x-content-type-options", "nosniff");
    say("x-frame-options", "DENY");
    say("referrer-policy", "no-referrer");
    say("cross-origin-resource-policy", "same-origin");
    say("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    say("cache-control", "no-store");
    response
}
