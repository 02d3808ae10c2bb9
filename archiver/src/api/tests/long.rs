//! Long calls: begun, watched, cancelled, forgotten.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use postern_shared::telemetry::Progress;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{EVERYTHING, Served};
use crate::access::{Caller, Scope};
use crate::api::calls::{Call, FINISHED_OF_INSTANCE_MAX, KEPT, New, RUNNING_MAX, RUNNING_OF_INSTANCE_MAX};
use crate::command::CommandError;

const MAIN: &str = "/api/v1/instances/main";

fn new(instance: &str) -> New {
    New { command: "verify", instance: Some(instance.into()), created: None }
}

/// Watches a call until it has come to its end, as a client would.
pub(super) async fn end(served: &Served, begun: &Value) -> Value {
    let token = begun["token"].as_str().unwrap();
    let mut call = begun.clone();
    while call["statusCode"] == "running" {
        let path = format!("/api/v1/calls/{token}?statusVersion={}", call["statusVersion"]);
        let next = served.get(&path).await;
        assert_eq!(next.status, StatusCode::OK, "{next:?}");
        assert!(next.body["statusVersion"].as_u64() > call["statusVersion"].as_u64(), "{call} {}", next.body);
        call = next.body;
    }
    call
}

#[tokio::test]
async fn a_long_call_is_watched_to_its_end() {
    let served = Served::new();
    let begun = served.ask("POST", &format!("{MAIN}/verify"), json!({ "afresh": true })).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{begun:?}");
    let token = begun.body["token"].as_str().unwrap();
    assert_eq!(begun.headers["location"], format!("/api/v1/calls/{token}"));
    let call = end(&served, &begun.body).await;
    assert_eq!((&call["statusCode"], &call["percentProgress"]), (&json!("succeeded"), &json!(100)), "{call}");
    assert_eq!((&call["result"]["messages"], &call["error"]), (&json!(3), &Value::Null));
    assert!(call["logOutput"].as_array().unwrap().last().unwrap().as_str().unwrap().ends_with("succeeded"));
    // What cannot be done, and what is not allowed.
    let to = served.stage.dir.path().join("data/backup");
    let begun = served.ask("POST", &format!("{MAIN}/backup"), json!({ "to": to })).await;
    let call = end(&served, &begun.body).await;
    assert_eq!(call["statusCode"], "failed");
    assert!(call["error"].as_str().unwrap().contains("the archiver's own"), "{call}");
    let none = served.ask("POST", "/api/v1/instances/nothing/verify", Value::Null).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND, "no call is begun for that");
    let list = served.get("/api/v1/calls?limit=1").await.body;
    assert_eq!((list["total"].as_u64(), &list["next"]), (Some(2), &json!(1)), "{list}");
}

#[tokio::test]
async fn a_backup_comes_back_as_another_instance() {
    let served = Served::new();
    let to = served.stage.dir.path().join("backup");
    let begun = served.ask("POST", &format!("{MAIN}/backup"), json!({ "to": to })).await.body;
    assert_eq!(end(&served, &begun).await["statusCode"], "succeeded");
    let key = served.stage.core.instance_dir("main").unwrap().join("master.key");
    let restore = json!({ "from": to, "key_file": key });
    let begun = served.ask("POST", "/api/v1/instances/copy/restore", restore).await.body;
    let call = end(&served, &begun).await;
    assert_eq!(
        (&call["statusCode"], &call["result"]["messages"]),
        (&json!("succeeded"), &json!(3)),
        "{call}"
    );
    let shown = served.get("/api/v1/instances/copy").await.body;
    assert_eq!((&shown["messages"], &shown["state"]), (&json!(3), &json!("started")));
}

/// Goal: a run that cannot reach its source is a call that failed, with the words why; in safe mode it is not begun.
#[tokio::test]
async fn a_run_is_a_long_call() {
    let served = Served::new();
    let source =
        json!({ "type": "gateway", "host": "127.0.0.1", "port": 1, "username": "x", "password": "x" });
    let profile = json!({ "profile": { "name": "journal", "source": source } });
    let put = served.ask("PUT", &format!("{MAIN}/profiles"), profile).await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    let begun = served.ask("POST", &format!("{MAIN}/profiles/journal/run"), Value::Null).await.body;
    let call = end(&served, &begun).await;
    assert_eq!(call["statusCode"], "failed", "{call}");
    assert!(call["error"].as_str().unwrap().contains("journal"), "{call}");
    served.stage.core.start_instance("main", true).unwrap();
    let refused = served.ask("POST", &format!("{MAIN}/profiles/journal/run"), Value::Null).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "safe-mode"));
}

/// A call that tells what the test says, and ends when it says so or is cancelled.
fn begin(served: &Served, caller: &Caller) -> (Arc<Call>, oneshot::Sender<Value>) {
    let created = served.stage.core.instance_info("main").unwrap().created;
    begin_in(served, caller, New { created: Some(created), ..new("main") })
}

fn begin_in(served: &Served, caller: &Caller, new: New) -> (Arc<Call>, oneshot::Sender<Value>) {
    let (done, wanted) = oneshot::channel();
    let place = served.api.calls.place(new.instance.as_deref()).unwrap();
    let call = served.api.calls.begin(place, caller, new, |mut context| async move {
        for done in [0, 1, 2] {
            context.progress(Progress { what: "reading".into(), done, total: Some(4) });
        }
        tokio::select! {
            result = wanted => result.map_err(|_| CommandError::Inside("nobody wants it".into())),
            () = context.cancelled() => Ok(json!({ "cancelled": true })),
        }
    });
    (call, done)
}

#[tokio::test]
async fn progress_is_told_and_a_call_can_be_cancelled() {
    let served = Served::new();
    let operator = Caller::operator();
    let (call, _kept) = begin(&served, &operator);
    let path = format!("/api/v1/calls/{}", call.token());
    while call.shown()["percentProgress"] != 50 {
        call.newer_than(call.shown()["statusVersion"].as_u64().unwrap(), Duration::from_secs(60)).await;
    }
    let shown = served.get(&path).await.body;
    assert!(shown["logOutput"][0].as_str().unwrap().ends_with("reading"), "{shown}");
    // Nothing new: answered all the same, once the wait is over.
    let version = shown["statusVersion"].as_u64().unwrap();
    let same = served.get(&format!("{path}?statusVersion={version}&wait=0")).await.body;
    assert_eq!(same["statusVersion"], version);
    let cancelled = served.ask("DELETE", &path, Value::Null).await;
    assert_eq!(cancelled.status, StatusCode::ACCEPTED);
    let call = end(&served, &cancelled.body).await;
    assert_eq!((&call["statusCode"], &call["percentProgress"]), (&json!("cancelled"), &json!(50)));
}

/// Goal: a call is its own token's, and of those who manage its instance.
#[tokio::test]
async fn a_call_is_shown_to_whom_it_concerns() {
    let served = Served::new();
    let (owner, own) = served.stage.token(&[Scope::Mail], Some("main"), None);
    let (call, _kept) = begin(&served, &Caller::token(owner, "192.0.2.1".into()));
    let path = format!("/api/v1/calls/{}", call.token());
    let token = |scopes: &[Scope], instance, user| served.stage.token(scopes, instance, user).1;
    let sees = [
        (own, true),
        (token(&EVERYTHING, None, None), true),
        (token(&[Scope::Manage], Some("main"), None), true),
        (token(&[Scope::Manage], Some("other"), None), false),
        (token(&[Scope::Manage], Some("main"), Some("anna")), false),
        (token(&[Scope::Read], None, None), false),
    ];
    for (n, (token, sees)) in sees.into_iter().enumerate() {
        let expected = if sees { StatusCode::OK } else { StatusCode::NOT_FOUND };
        assert_eq!(served.with(&token, "GET", &path, "").await.status, expected, "{n}");
        let list = served.with(&token, "GET", "/api/v1/calls", "").await.body;
        assert_eq!(list["total"], u64::from(sees), "{n}");
        if !sees {
            assert_eq!(served.with(&token, "DELETE", &path, "").await.status, expected, "{n}");
        }
    }
}

/// Goal: what runs and what is kept is bounded, in number, in time, and each in size.
#[tokio::test]
async fn calls_are_bounded() {
    let served = Served::new();
    let operator = Caller::operator();
    let of = |instance: usize| begin_in(&served, &operator, new(&instance.to_string()));
    let running: Vec<_> = (0..RUNNING_MAX).map(|n| of(n / RUNNING_OF_INSTANCE_MAX)).collect();
    let refused = served.ask("POST", &format!("{MAIN}/verify"), Value::Null).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(served.api.calls_running(), RUNNING_MAX);
    served.api.end_calls().await;
    assert_eq!(served.api.calls_running(), 0);
    drop(running);
    let (call, done) = begin(&served, &operator);
    finish(&served, &call, done, json!("x".repeat(2 << 20))).await;
    assert!(call.shown()["result"]["left_out_bytes"].is_number());
    served.stage.clock.advance(KEPT);
    assert_eq!(served.api.calls.list(&operator).len(), 0);
}

/// Lets a call end, a second later than the one before.
async fn finish(served: &Served, call: &Call, done: oneshot::Sender<Value>, result: Value) {
    served.stage.clock.advance(Duration::from_secs(1));
    done.send(result).unwrap();
    while call.shown()["finishedAt"].is_null() {
        call.newer_than(call.shown()["statusVersion"].as_u64().unwrap(), Duration::from_secs(60)).await;
    }
}

/// Goal: what an instance finishes, however much and however long, throws away nothing of others, and is bounded.
#[tokio::test]
async fn results_are_kept_for_each_instance() {
    let served = Served::new();
    let operator = Caller::operator();
    let of = |instance: &str| {
        served.api.calls.list(&operator).iter().filter(|call| call.instance() == Some(instance)).count()
    };
    let (call, done) = begin_in(&served, &operator, new("other"));
    finish(&served, &call, done, json!("kept")).await;
    for n in 0..2 * FINISHED_OF_INSTANCE_MAX {
        let (call, done) = begin(&served, &operator);
        finish(&served, &call, done, json!(n)).await;
    }
    assert_eq!((of("main"), of("other")), (FINISHED_OF_INSTANCE_MAX, 1));
    let long = json!("x".repeat(1_000_000));
    for _ in 0..10 {
        let (call, done) = begin(&served, &operator);
        finish(&served, &call, done, long.clone()).await;
    }
    assert!((3..10).contains(&of("main")), "{}", of("main"));
    for n in 0..30 {
        let (call, done) = begin_in(&served, &operator, new(&(n / 4).to_string()));
        finish(&served, &call, done, long.clone()).await;
    }
    let all = served.api.calls.list(&operator).len();
    assert!((10..20).contains(&all) && of("other") == 1, "{all}");
}

/// Goal: what finds no place was not done, and no line says so.
#[tokio::test]
async fn a_call_without_a_place_leaves_no_line() {
    let served = Served::new();
    let operator = Caller::operator();
    let running: Vec<_> = (0..RUNNING_OF_INSTANCE_MAX).map(|_| begin(&served, &operator)).collect();
    let lines = served.stage.audited(Some("main")).len();
    let refused = served.ask("POST", &format!("{MAIN}/verify"), Value::Null).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(served.stage.audited(Some("main")).len(), lines);
    drop(running);
}

/// Goal: who keeps an instance's places for short requests busy keeps none of another one's.
#[tokio::test]
async fn an_instance_has_its_share_of_short_requests() {
    let served = Served::new();
    let held: Vec<_> = std::iter::from_fn(|| served.api.short.take(Some("main"))).take(1000).collect();
    assert!(held.len() < 64, "{}", held.len());
    // A token of that instance takes its places whatever it asks about.
    let (_, bound) = served.stage.token(&[Scope::Read], Some("main"), None);
    let mut waits = std::pin::pin!(served.with(&bound, "GET", "/api/v1/instances/other", ""));
    tokio::select! {
        biased;
        answer = &mut waits => panic!("it had no place: {answer:?}"),
        other = served.get("/api/v1/instances/other") => assert_eq!(other.status, StatusCode::OK),
    }
    drop(held);
    assert_eq!(waits.await.status, StatusCode::NOT_FOUND);
}
