//! Who has no right, and what no client means: each answered by a problem, never by a failure of ours.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{Request, StatusCode};
use serde_json::json;

use super::{EVERYTHING, Served};
use crate::access::{Need, Scope};
use crate::api::routes::{Field, Kind, ROUTES, Route};

/// The path with names put in, and a body or query that a route takes.
fn sample(route: &Route, instance: &str) -> (String, String) {
    let mut path = route.path.replace("{instance}", instance).replace("{name}", "journal");
    path = path
        .replace("{store}", "0001")
        .replace("{id}", if path.contains("instances/{id}") { instance } else { "x" });
    let value = |field: &Field| match field.kind {
        _ if field.name == "state" => json!("normal"),
        _ if field.name == "job" => json!({ "name": "x", "template": { "type": "verify" } }),
        _ if field.name == "scopes" => json!(["read"]),
        _ if field.name == "then" => json!("now"),
        Kind::Text | Kind::Secret => json!("x"),
        Kind::Texts => json!(["x"]),
        Kind::Number => json!(1),
        Kind::Flag => json!(true),
        Kind::Path => json!("/nowhere/x"),
        Kind::Json => json!({ "name": "x" }),
    };
    // What only looks asks for less.
    let must = route.fields.iter().filter(|field| field.default.is_none() || field.name == "then");
    if route.has_query() {
        let pairs: Vec<String> = must.map(|field| format!("{}=x", field.name)).collect();
        return (format!("{path}?{}", pairs.join("&")), String::new());
    }
    let body: serde_json::Map<_, _> = must.map(|field| (field.name.to_owned(), value(field))).collect();
    (path, json!(body).to_string())
}

const CALLS: [(&str, &str); 3] =
    [("GET", "/api/v1/calls"), ("GET", "/api/v1/calls/x"), ("DELETE", "/api/v1/calls/x")];

#[tokio::test]
async fn without_a_token_nothing_is_to_be_had() {
    let served = Served::new();
    for route in ROUTES {
        let (path, body) = sample(route, "main");
        let answer = served.with("", route.method, &path, body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{} {path}", route.method);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    for (method, path) in CALLS.into_iter().chain([("GET", "/api/v1/nothing"), ("POST", "/api/v2")]) {
        assert_eq!(served.with("", method, path, "").await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for header in ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer postern_", "Bearer é"] {
        let request =
            Request::builder().uri("/api/v1/status").header("host", "x").header(AUTHORIZATION, header);
        // Each from elsewhere, so that none has to wait.
        let from = format!("198.51.100.{}", header.len());
        let answer = served.send(&from, request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{header}");
    }
    assert_eq!(served.stage.audited(None).len(), 0, "strangers fill no log");
}

/// Goal: a token gets no further than its scopes say, route by route.
#[tokio::test]
async fn another_scope_is_refused() {
    let served = Served::new();
    for route in ROUTES {
        let needed = Need::of(route.command).scope();
        for scope in EVERYTHING.into_iter().filter(|scope| !scope.includes(needed)) {
            let (_, token) = served.stage.token(&[scope], None, None);
            let (path, body) = sample(route, "main");
            let answer = served.with(&token, route.method, &path, body).await;
            if route.command == "profile-put" {
                // What cannot be a profile is refused before.
                assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
                continue;
            }
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{scope:?} {} {path}: {answer:?}", route.method);
        }
    }
}

/// Goal: no route reads mail, changes anything or is refused without a line in an audit log.
#[tokio::test]
async fn no_route_leaves_no_line() {
    let served = Served::new();
    let (_, nothing) = served.stage.token(&[Scope::Read], None, None);
    let lines = |served: &Served| {
        // Of a route that ends or stops it, the archiver's own log tells.
        let main = served
            .stage
            .core
            .instance("main")
            .map_or(0, |main| main.audit().lines(None, 1000).unwrap().len());
        main + served.stage.audited(None).len()
    };
    for route in ROUTES.iter().filter(|route| route.command != "profile-put") {
        let is_seen = Need::of(route.command) == Need::See;
        for token in [&served.token, &nothing] {
            if token == &nothing && is_seen {
                continue;
            }
            served.stage.core.start_instance("main", false).unwrap();
            let before = lines(&served);
            // Deleting is refused here by who may not; who may is looked at elsewhere.
            let instance = if route.command == "instance-delete" { "other" } else { "main" };
            let (path, body) = sample(route, instance);
            let answer = served.with(token, route.method, &path, body).await;
            // Long calls have so many places, and what finds none leaves no line.
            served.api.end_calls().await;
            served.stage.core.start_instance("main", false).unwrap();
            let more = lines(&served) - before;
            assert_eq!(more == 0, is_seen, "{} {path}: {more} lines, {answer:?}", route.method);
        }
    }
}

/// Goal: of an instance that is not its own, a token learns as much as of one that is not there.
#[tokio::test]
async fn another_instance_is_not_there() {
    let served = Served::new();
    let scopes = [Scope::Read, Scope::Mail, Scope::Manage, Scope::Audit];
    let (_, token) = served.stage.token(&scopes, Some("main"), None);
    for route in ROUTES.iter().filter(|route| route.path.contains("/instances/{")) {
        let mut answers = Vec::new();
        for instance in ["other", "nothing"] {
            let (path, body) = sample(route, instance);
            let answer = served.with(&token, route.method, &path, body).await;
            let detail = answer.body["detail"].as_str().unwrap_or_default().replace(instance, "…");
            answers.push((answer.status, detail));
        }
        assert_eq!(answers[0], answers[1], "{} {}", route.method, route.path);
        if route.command != "profile-put" {
            assert_eq!(answers[0].0, StatusCode::NOT_FOUND, "{} {}", route.method, route.path);
        }
    }
}

/// Goal: no name in a path leads out of its place.
#[tokio::test]
async fn names_that_lead_elsewhere_are_not_there() {
    let served = Served::new();
    let names = [
        "..",
        "%2e%2e",
        "..%2fother",
        "%2e%2e%2fother",
        "%2fetc%2fpasswd",
        "main%2f..%2fother",
        "..%5cother",
        "%00",
        "main%00",
        ".hidden",
        "a%20b",
        "caf%C3%A9",
        "%ff",
        "-%0d%0aX-Header:%201",
    ];
    for route in ROUTES.iter().filter(|route| route.path.contains('{')) {
        for name in names {
            let (_, body) = sample(route, "main");
            let path = route.path.split('/').map(|part| if part.starts_with('{') { name } else { part });
            let path = path.collect::<Vec<_>>().join("/");
            let answer = served.with(&served.token, route.method, &path, body.clone()).await;
            assert!(
                matches!(
                    answer.status,
                    StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNPROCESSABLE_ENTITY
                ),
                "{} {path}: {answer:?}",
                route.method
            );
        }
        let long = route
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { "x".repeat(5000) } else { part.into() });
        let path = long.collect::<Vec<_>>().join("/");
        let (_, body) = sample(route, "main");
        let answer = served.with(&served.token, route.method, &path, body).await;
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
}

/// Goal: whatever a body is, it is refused with a word on why, and never by a failure of ours.
#[tokio::test]
async fn bodies_that_nobody_means_are_refused() {
    let served = Served::new();
    let deep = "[".repeat(100_000);
    let bodies = [
        "{",
        "nonsense",
        "[]",
        "null",
        "\"x\"",
        "{\"id\": 1}",
        "{\"id\": null}",
        "{\"id\": [\"x\"]}",
        "{\"nothing\": 1}",
        "{\"safe\": \"yes\"}",
        "{\"limit\": -1}",
        "{\"emails\": \"x\"}",
        "{\"emails\": [1]}",
        "\u{0}",
        &deep,
    ];
    for route in ROUTES.iter().filter(|route| !route.has_query()) {
        // Of an instance that is not there, so that what takes nothing does nothing.
        let (path, _) = sample(route, "nothing");
        for body in bodies {
            let answer = served.with(&served.token, route.method, &path, body.to_owned()).await;
            assert!(answer.status.is_client_error(), "{} {path} {body:.40}: {answer:?}", route.method);
            assert!(!answer.problem().is_empty() && answer.body["detail"].is_string());
        }
        let answer = served.with(&served.token, route.method, &path, vec![b' '; 2 << 20]).await;
        assert_eq!(answer.problem(), "too-large", "{path}");
        let answer = served.with(&served.token, route.method, &format!("{path}?x=1"), "").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
    }
    for query in
        ["limit=x", "limit=0", "limit=-1", "offset=99999999999999999999", "limit=1&limit=2", "nothing=1"]
    {
        let answer = served.get(&format!("/api/v1/instances?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {answer:?}");
    }
    let answer = served.get("/api/v1/instances/main/search?query=%22unclosed&query=x").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let answer = served.with(&served.token, "PATCH", "/api/v1/status", "").await;
    assert_eq!(answer.problem(), "no-such-method");
    let answer = served.get("/api/v1/nothing").await;
    assert_eq!(answer.problem(), "not-found");
}

/// Goal: a profile brings its password along; no file or variable of this machine is read for it.
#[tokio::test]
async fn a_profile_reads_nothing_of_this_machine() {
    let served = Served::new();
    let path = "/api/v1/instances/main/profiles";
    let profile = |secret: serde_json::Value| {
        let mut source =
            json!({ "type": "gateway", "host": "gateway.example.com", "username": "mbx-dead1234beef5678" });
        for (key, value) in secret.as_object().unwrap() {
            source[key] = value.clone();
        }
        json!({ "profile": { "name": "journal", "source": source } })
    };
    for secret in [json!({ "password_file": "/etc/passwd" }), json!({ "password_env": "PATH" }), json!({})] {
        let answer = served.ask("PUT", path, profile(secret)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:?}");
        assert!(!answer.body.to_string().contains("root:"));
    }
    let answer = served.ask("PUT", path, profile(json!({ "password": "geheim" }))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let shown = served.get("/api/v1/instances/main/profiles/journal").await;
    assert!(shown.status == StatusCode::OK && !shown.body.to_string().contains("geheim"), "{shown:?}");
    let log = served.stage.audited(Some("main"));
    assert!(log[0]["what"] == "profile-put" && !log[0].to_string().contains("geheim"), "{}", log[0]);
}

/// Goal: guessing slows down who guesses, and locks out no one who has a good token.
#[tokio::test]
async fn guessing_waits_and_a_good_token_does_not() {
    let served = Served::new();
    let wrong = format!("postern_{}", "0".repeat(64));
    for _ in 0..5 {
        assert_eq!(served.with(&wrong, "GET", "/api/v1/status", "").await.status, StatusCode::UNAUTHORIZED);
    }
    let answer = served.with(&wrong, "GET", "/api/v1/status", "").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(served.get("/api/v1/status").await.status, StatusCode::OK, "from the same address");
    served.stage.clock.advance(Duration::from_secs(1));
    assert_eq!(served.with(&wrong, "GET", "/api/v1/status", "").await.status, StatusCode::UNAUTHORIZED);
    // Revoked, and over: at once.
    let (shown, short) = served.stage.token(&[Scope::Read], None, None);
    served.stage.core.tokens.revoke(&shown.id).unwrap();
    let answer = served.with(&short, "GET", "/api/v1/status", "").await;
    assert!(matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS));
}

#[tokio::test]
async fn answers_say_what_browsers_must_know() {
    let served = Served::new();
    let answer = served.get("/api/v1/status").await;
    for (name, value) in
        [("x-content-type-options", "nosniff"), ("cache-control", "no-store"), ("x-frame-options", "DENY")]
    {
        assert_eq!(answer.headers[name], value);
    }
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let request = Request::builder().uri("/api/v1/status").header("host", "a").header("host", "b");
    let answer = served.send("192.0.2.1", request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.problem(), "bad-host");
}
