//! What the command line does, done over the API.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::Service as _;

use super::{Peer, Served};
use crate::access::Scope;
use crate::stage::message;

const MAIN: &str = "/api/v1/instances/main";

#[tokio::test]
async fn instances_users_and_tokens_come_and_go() {
    let served = Served::new();
    let made = served.ask("POST", "/api/v1/instances", json!({ "id": "new" })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert!(made.body["recovery_key"].is_string());
    let again = served.ask("POST", "/api/v1/instances", json!({ "id": "new" })).await;
    assert_eq!((again.status, again.problem()), (StatusCode::CONFLICT, "exists"));
    let user = json!({ "id": "anna", "emails": ["anna@new.example"], "reads": ["unassigned"] });
    let added = served.ask("POST", "/api/v1/instances/new/users", user).await;
    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    let edit = json!({ "add_emails": ["a@new.example"], "privileges": ["auditor"] });
    let edited = served.ask("PATCH", "/api/v1/instances/new/users/anna", edit).await;
    assert_eq!(edited.body["emails"], json!(["anna@new.example", "a@new.example"]));
    assert_eq!(
        (&edited.body["privileges"], &edited.body["reads"]),
        (&json!(["auditor"]), &json!(["unassigned"]))
    );

    let token = json!({ "name": "script", "scopes": ["mail", "audit"], "bound_to": "new", "user": "anna" });
    let token = served.ask("POST", "/api/v1/tokens", token).await.body;
    let text = token["token"].as_str().unwrap();
    let log = served.with(text, "GET", "/api/v1/instances/new/audit", "").await;
    assert_eq!(log.status, StatusCode::OK, "{log:?}");
    assert_eq!(log.body["items"][0]["what"], "audit-list");
    let listed = served.get("/api/v1/tokens").await;
    assert!(!listed.body.to_string().contains(text));
    let deleted = served.ask("DELETE", "/api/v1/instances/new/users/anna", Value::Null).await;
    assert_eq!((deleted.status, &deleted.body["tokens_revoked"]), (StatusCode::OK, &json!(1)));
    assert_eq!(served.with(text, "GET", "/api/v1/status", "").await.status, StatusCode::UNAUTHORIZED);

    let stopped = served.ask("POST", "/api/v1/instances/new/stop", Value::Null).await;
    assert_eq!(stopped.body["state"], "stopped");
    let users = served.get("/api/v1/instances/new/users").await;
    assert_eq!((users.status, users.problem()), (StatusCode::CONFLICT, "stopped"));
    let safe = served.ask("POST", "/api/v1/instances/new/start", json!({ "safe": true })).await;
    assert_eq!(safe.body["state"], "safe");
    let store = served.ask("POST", "/api/v1/instances/new/stores", Value::Null).await;
    assert_eq!((store.status, store.problem()), (StatusCode::CONFLICT, "safe-mode"));
    let deleted = served.ask("DELETE", "/api/v1/instances/new", Value::Null).await;
    assert!(deleted.body["dir"].as_str().unwrap().contains("/deleted/new-"), "{deleted:?}");
    assert_eq!(served.get("/api/v1/instances/new").await.status, StatusCode::NOT_FOUND);
    let log = served.get("/api/v1/audit?limit=100").await.body;
    let whats: Vec<&str> =
        log["items"].as_array().unwrap().iter().rev().filter_map(|line| line["what"].as_str()).collect();
    for what in ["instance-create", "token-create", "instance-stop", "instance-start", "instance-delete"] {
        assert!(whats.contains(&what), "{what}: {whats:?}");
    }
    let begun = served.ask("POST", "/api/v1/audit/verify", Value::Null).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED);
    let chain = super::long::end(&served, &begun.body).await["result"].take();
    assert_eq!((&chain["broken"], chain["lines"].as_u64()), (&Value::Null, Some(whats.len() as u64 + 1)));
}

#[tokio::test]
async fn mail_is_found_and_comes_byte_for_byte() {
    let served = Served::new();
    let found = served.get(&format!("{MAIN}/search?query=report&user=anna&limit=1")).await;
    assert_eq!(found.status, StatusCode::OK, "{found:?}");
    let first = found.body["items"][0]["id"].as_str().unwrap();
    let next = found.body["next"].as_str().unwrap();
    let rest = served.get(&format!("{MAIN}/search?query=report&user=anna&limit=5&cursor={next}")).await;
    let others = rest.body["items"].as_array().unwrap();
    assert!(!others.is_empty() && others.iter().all(|hit| hit["id"] != first), "{rest:?}");
    assert_eq!((&rest.body["next"], &rest.body["total"]), (&Value::Null, &found.body["total"]));
    let id = &served.stage.messages[0];
    let octets = served.get(&format!("{MAIN}/messages/{id}")).await;
    assert_eq!(octets.octets, message(1, &["anna"]).content);
    assert_eq!(octets.headers["content-type"], "message/rfc822");
    assert_eq!(octets.headers["content-disposition"], format!("attachment; filename=\"{id}.eml\""));
    let report = served.get(&format!("{MAIN}/messages/{id}?report=true")).await;
    assert_eq!(report.octets, b"report of 1");
    let none = served.get(&format!("{MAIN}/messages/00000000000000000000000000")).await;
    assert_eq!((none.status, none.problem()), (StatusCode::NOT_FOUND, "not-found"));
    // A user's token: another one's message is not there.
    let (_, anna) = served.stage.token(&[Scope::Mail], Some("main"), Some("anna"));
    let bobs = format!("{MAIN}/messages/{}", served.stage.messages[1]);
    assert_eq!(served.with(&anna, "GET", &bobs, "").await.status, StatusCode::NOT_FOUND);
    let own = format!("{MAIN}/messages/{id}");
    assert_eq!(served.with(&anna, "GET", &own, "").await.octets, octets.octets);
    let refused = served.with(&anna, "GET", &format!("{MAIN}/search?query=x&user=bob"), "").await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::FORBIDDEN, "not-allowed"));
}

/// Goal: a message that is longer than any buffer comes whole, stretch by stretch; a damaged one never looks whole.
#[tokio::test]
async fn a_long_message_is_sent_while_it_is_read() {
    let served = Served::new();
    let instance = served.stage.core.instance("main").unwrap();
    let mut long = message(5, &["anna"]);
    long.content.extend(std::iter::repeat_with(|| *b"0123456789abcdef\r\n").take(300_000).flatten());
    let content = long.content.clone();
    let id = instance.commit(vec![long]).unwrap()[0].id();
    drop(instance);
    let got = served.get(&format!("{MAIN}/messages/{id}")).await;
    assert!(got.octets == content, "{} of {} octets", got.octets.len(), content.len());
}

/// Goal: who takes a message slowly keeps no instance from being stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_keep_an_instance_open() {
    let served = Served::new();
    let instance = served.stage.core.instance("main").unwrap();
    let mut long = message(5, &["anna"]);
    long.content.extend(std::iter::repeat_with(|| *b"0123456789abcdef\r\n").take(600_000).flatten());
    let id = instance.commit(vec![long]).unwrap()[0].id();
    drop(instance);
    let request = Request::builder().uri(format!("{MAIN}/messages/{id}")).header("host", "localhost");
    let mut request =
        request.header("authorization", format!("Bearer {}", served.token)).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer(SocketAddr::from(([192, 0, 2, 1], 50_000))));
    let Ok(mut response) = served.routes.clone().call(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.body_mut().frame().await.unwrap().unwrap();
    let core = std::sync::Arc::clone(&served.stage.core);
    let stopped = tokio::task::spawn_blocking(move || core.stop_instance("main"));
    stopped.await.unwrap().unwrap();
    // What comes then never looks whole.
    assert!(response.into_body().collect().await.is_err());
}

/// Goal: an export of the log has all of it, however long its client asks pages to be.
#[tokio::test]
async fn pages_of_the_log_go_on_to_its_end() {
    let served = Served::new();
    let audit = served.stage.core.audit().unwrap();
    for n in 0..1100 {
        audit.record("filling", &json!({ "n": n })).unwrap();
    }
    let page = served.get("/api/v1/audit?limit=5000").await.body;
    assert_eq!(page["items"].as_array().unwrap().len(), 1000);
    let rest = served.get(&format!("/api/v1/audit?limit=5000&before={}", page["next"])).await.body;
    assert_eq!(
        (rest["items"].as_array().unwrap().last().unwrap()["sequence"].as_u64(), &rest["next"]),
        (Some(1), &Value::Null)
    );
}

#[tokio::test]
async fn lists_come_in_pages() {
    let served = Served::new();
    let instance = served.stage.core.instance("main").unwrap();
    for n in 0..25 {
        instance.add_user(&format!("user{n:02}"), &[]).unwrap();
    }
    let (mut seen, mut offset) = (Vec::new(), json!(0));
    while let Some(from) = offset.as_u64() {
        let page = served.get(&format!("{MAIN}/users?limit=10&offset={from}")).await.body;
        assert_eq!(page["total"], 27);
        seen.extend(page["items"].as_array().unwrap().iter().map(|user| user["id"].clone()));
        offset = page["next"].clone();
    }
    seen.dedup();
    assert_eq!(seen.len(), 27);
    let stores = served.get(&format!("{MAIN}/stores")).await.body;
    assert_eq!((&stores["total"], &stores["items"][0]["state"]), (&json!(1), &json!("current")));
    assert!(stores["roll_over"]["messages"].is_number());
    let (mut lines, mut before) = (0, String::new());
    for _ in 0..5 {
        served.get(&format!("{MAIN}/search?query=x")).await;
    }
    loop {
        let page = served.get(&format!("{MAIN}/audit?limit=3{before}")).await.body;
        lines += page["items"].as_array().unwrap().len();
        let Some(next) = page["next"].as_u64() else { break };
        before = format!("&before={next}");
    }
    assert!(lines >= 6, "{lines}");
}
