//! The API from its routes inwards, without a network, with a clock moved by hand.

mod hostile;
mod long;
mod table;
mod whole;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::Service as _;

use super::{Api, handle};
use crate::access::Scope;
use crate::stage::Stage;
use postern_shared::http::Peer;

const EVERYTHING: [Scope; 5] = [Scope::Read, Scope::Mail, Scope::Manage, Scope::Audit, Scope::Admin];

/// An API, and a token that may do everything.
struct Served {
    stage: Stage,
    api: Arc<Api>,
    routes: Router,
    token: String,
}

/// An answer, read whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    octets: Vec<u8>,
    body: Value,
}

impl Answer {
    /// The word of a problem.
    fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:postern:problem:").unwrap_or_default()
    }
}

impl Served {
    fn new() -> Self {
        let stage = Stage::new();
        let api = Arc::new(Api::new(Arc::clone(&stage.core)));
        let routes = handle::routes(&api);
        let token = stage.token(&EVERYTHING, None, None).1;
        Self { stage, api, routes, token }
    }

    /// Sends a request as it stands.
    async fn send(&self, from: &str, mut request: Request<Body>) -> Answer {
        let peer = SocketAddr::new(from.parse().unwrap(), 50_000);
        request.extensions_mut().insert(Peer(peer));
        let Ok(response) = self.routes.clone().call(request).await;
        let (parts, body) = response.into_parts();
        let octets = body.collect().await.unwrap().to_bytes().to_vec();
        let text = || Value::String(String::from_utf8_lossy(&octets).into_owned());
        let body = serde_json::from_slice(&octets).unwrap_or_else(|_| text());
        Answer { status: parts.status, headers: parts.headers, octets, body }
    }

    async fn with(&self, token: &str, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8474");
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request = request.header(CONTENT_TYPE, "application/json");
        self.send("192.0.2.1", request.body(body.into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.with(&self.token, "GET", path, "").await
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.with(&self.token, method, path, body).await
    }
}
