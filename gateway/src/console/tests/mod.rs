//! The console from its routes inwards, without a network: a clock moved by hand, and Argon2id at its smallest cost.

mod care;
mod hostile;
mod passkeys;
mod roles;
mod settings;
mod signing_in;
mod speed;
mod warnings;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt as _;
use postern_shared::clock::{Clock, ManualClock, UnixMillis};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::data_dir::Holder;
use postern_shared::disk::{Disk, RealDisk, write_atomic};
use postern_shared::shutdown::{Switch, switch};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tower::Service as _;

use super::accounts::{NewToken, Role, Scope};
use super::{Administrators, Console, Process, api};
use crate::acme::Renewer;
use crate::app::Core;
use crate::mailbox::Registry;
use crate::settings::Settings;
use postern_shared::http::Peer;

/// A console, and somebody who may do everything.
struct Stage {
    console: Arc<Console>,
    clock: Arc<ManualClock>,
    routes: Router,
    dir: tempfile::TempDir,
    _running: Switch,
}

/// An answer, read whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// The word of a problem.
    fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:postern:problem:").unwrap_or_default()
    }

    /// What a browser would send back.
    fn cookie(&self) -> String {
        let set = self.headers.get(SET_COOKIE).and_then(|set| set.to_str().ok()).unwrap_or_default();
        set.split(';').next().unwrap_or_default().to_owned()
    }
}

/// How a request is made.
#[derive(Clone, Copy, Default)]
struct By<'s> {
    cookie: &'s str,
    token: &'s str,
    headers: &'s [(&'s str, &'s str)],
    from: &'s str,
}

impl<'s> By<'s> {
    fn cookie(cookie: &'s str) -> Self {
        Self { cookie, ..Self::default() }
    }
}

impl Stage {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        Self::named("localhost", more)
    }

    fn named(host_name: &str, more: &str) -> Self {
        Self::of(host_name, more, |_| (), Arc::new(RealDisk), None)
    }

    /// With what `prepare` has put into the data directory before.
    fn found(more: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::of("localhost", more, prepare, Arc::new(RealDisk), None)
    }

    fn on(disk: Arc<dyn Disk>) -> Self {
        Self::of("localhost", "", |_| (), disk, None)
    }

    /// After a configuration that did not start.
    fn taken_back(reason: &str) -> Self {
        Self::of("localhost", "", |_| (), Arc::new(RealDisk), Some(reason.into()))
    }

    fn of(
        host_name: &str,
        more: &str,
        prepare: impl FnOnce(&Path),
        disk: Arc<dyn Disk>,
        taken_back: Option<String>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(&dir.path().join("data"));
        let file = dir.path().join("gateway.toml");
        let data = dir.path().join("data");
        let text = format!(
            "email_domain = 'gateway.example.com'\nhost_name = '{host_name}'\ndata_dir = {data:?}\n{more}"
        );
        write_atomic(&RealDisk, &file, text.as_bytes()).unwrap();
        let settings = Settings::load(&RealDisk, Some(&file), []).unwrap();
        let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let mut core = Core::open(Arc::clone(&disk), Arc::clone(&time), settings, Holder::Daemon).unwrap();
        let cost = Argon2Cost::TESTS_ONLY;
        let domain = "gateway.example.com";
        let mailboxes = data.join("mailboxes");
        core.registry =
            Arc::new(Registry::open(Arc::clone(&disk), Arc::clone(&time), &mailboxes, domain, cost).unwrap());
        core.administrators = Arc::new(Administrators::open(disk, time, &data.join("console"), cost));
        let process = Process { taken_back, ..Process::started(Some(file), &text) };
        let core = Arc::new(core);
        let renewer = Arc::new(Renewer::new(Arc::clone(&core)));
        let console = Arc::new(Console::new(core, Arc::new(process), renewer));
        let (running, stop) = switch();
        let routes = api::routes(&console, stop);
        Self { console, clock, routes, dir, _running: running }
    }

    fn config(&self) -> std::path::PathBuf {
        self.dir.path().join("gateway.toml")
    }

    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// What a stream says until it ends.
    async fn steps(&self, by: By<'_>, path: &str, body: Value) -> Vec<Value> {
        let response = self.respond(by, "POST", path, Some(body)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    async fn respond(&self, by: By<'_>, method: &str, path: &str, body: Option<Value>) -> Response {
        let from = if by.from.is_empty() { "192.0.2.1" } else { by.from };
        let mut request = Request::builder().method(method).uri(path).header("host", "console.example.com");
        if !by.cookie.is_empty() {
            request = request.header(COOKIE, by.cookie).header("x-postern-console", "1");
        }
        if !by.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", by.token));
        }
        for (name, value) in by.headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let mut request = request.body(body).unwrap();
        let from: IpAddr = from.parse().unwrap();
        request.extensions_mut().insert(Peer(SocketAddr::new(from, 50_000)));
        let Ok(response) = self.routes.clone().call(request).await;
        response
    }

    async fn send(&self, by: By<'_>, method: &str, path: &str, body: Option<Value>) -> Answer {
        let response = self.respond(by, method, path, body).await;
        let (parts, body) = response.into_parts();
        let is_stream = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let bytes = if is_stream { Vec::new() } else { body.collect().await.unwrap().to_bytes().to_vec() };
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// From our own page, by nobody yet.
    async fn page(&self, method: &str, path: &str, body: Value) -> Answer {
        let headers = [("x-postern-console", "1")];
        self.send(By { headers: &headers, ..By::default() }, method, path, Some(body)).await
    }

    /// From elsewhere.
    fn first_credentials(&self) -> Value {
        let code = self.console.core.administrators.setup_code().unwrap();
        json!({ "name": "admin", "password": "admin", "setup_code": code.expose_secret() })
    }

    /// The cookie of a full session of the first administrator.
    async fn first(&self) -> String {
        let shown = self.page("POST", "/api/v1/first-sign-in", self.first_credentials()).await;
        assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
        let confirm =
            self.send(By::cookie(&shown.cookie()), "POST", "/api/v1/session/password-stored", None).await;
        assert_eq!(confirm.status, StatusCode::OK, "{confirm:?}");
        confirm.cookie()
    }

    /// An administrator of a role, its password, and the cookie of a full session.
    async fn somebody(&self, name: &str, role: Role) -> (String, String) {
        let (_, password) = self.console.core.administrators.create(name, role).unwrap();
        let password = password.expose_secret().to_owned();
        let signed =
            self.page("POST", "/api/v1/session", json!({ "name": name, "password": password })).await;
        assert_eq!(signed.status, StatusCode::OK, "{signed:?}");
        (password, signed.cookie())
    }

    fn token(&self, owner: &str, scopes: &[Scope]) -> String {
        let new = NewToken { name: "t".into(), owner: owner.into(), scopes: scopes.to_vec(), expires: None };
        self.console.tokens.create(new).unwrap().1.expose_secret().to_owned()
    }

    fn audited(&self) -> u64 {
        self.console.core.audit.chain().lines
    }
}

fn read(path: &Path) -> String {
    String::from_utf8(RealDisk.read(path, 10_000_000).unwrap()).unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);

/// Goal: the document that the web pages' client is made from is what is served.
/// Method: `cargo run -p postern-gateway -- openapi > webui/openapi.json` writes it anew.
#[test]
fn the_document_in_the_tree_is_what_is_served() {
    let kept = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../webui/openapi.json")));
    assert!(
        kept == api::document_text(),
        "run: cargo run -p postern-gateway -- openapi > webui/openapi.json"
    );
}
