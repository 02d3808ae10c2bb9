//! Requests that mean no good.

use postern_shared::disk::Disk as _;

use super::*;

const JSON: &str = "application/json";

#[tokio::test]
async fn every_answer_is_secured() {
    let stage = Stage::with("[console]\nhsts = true\n");
    for path in ["/", "/mailboxes/x", "/api/v1/sign-in", "/api/v1/mailboxes", "/api/nothing", "/nothing.js"] {
        let answer = stage.send(By::default(), "GET", path, None).await;
        let header = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("x-content-type-options").unwrap(), "nosniff", "{path}");
        assert_eq!(header("x-frame-options").unwrap(), "DENY", "{path}");
        assert_eq!(header("referrer-policy").unwrap(), "no-referrer", "{path}");
        assert_eq!(header("strict-transport-security").unwrap(), "max-age=31536000", "{path}");
        let policy = header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{path}");
        assert!(header("access-control-allow-origin").is_none(), "{path}");
        if path.starts_with("/api/") {
            assert_eq!(header("cache-control").unwrap(), "no-store", "{path}");
        }
    }
    let plain = Stage::with("[console]\nhsts = false\n");
    assert!(
        !plain.send(By::default(), "GET", "/", None).await.headers.contains_key("strict-transport-security")
    );
}

#[tokio::test]
async fn no_path_leads_out_of_the_pages() {
    let stage = Stage::new();
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
        "/.git/config",
        "//etc/passwd.txt",
        "/assets/%00.js",
        "/..\\..\\Cargo.toml",
    ] {
        let answer = stage.send(By::default(), "GET", path, None).await;
        let text = answer.body.to_string();
        assert!(!text.contains("[package]") && !text.contains("root:"), "{path}");
    }
    let answer = stage.send(By::default(), "GET", "/api/v1/../../etc/passwd", None).await;
    assert_eq!(answer.problem(), "not-found");
    assert_eq!(stage.send(By::default(), "POST", "/", None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let long = json!({ "name": "x".repeat(300_000) });
    let answer = stage.send(By::cookie(&admin), "POST", "/api/v1/mailboxes", Some(long)).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "too-large"));
    let form = [("content-type", "text/plain")];
    let by = By { headers: &form, ..By::cookie(&admin) };
    let answer = stage.send(by, "POST", "/api/v1/mailboxes", None).await;
    assert_eq!(answer.problem(), "not-json", "a form of a foreign page cannot send JSON");
    let by = By { headers: &[("content-type", JSON)], ..By::cookie(&admin) };
    assert_eq!(stage.send(by, "POST", "/api/v1/mailboxes", None).await.problem(), "invalid");
    let deep = [("content-type", JSON)];
    let nested: String = "[".repeat(100_000);
    let by = By { headers: &deep, ..By::cookie(&admin) };
    let answer = stage.send(by, "POST", "/api/v1/mailboxes", Some(Value::String(nested))).await;
    assert_eq!(answer.problem(), "invalid");
}

#[tokio::test]
async fn unknown_methods_and_ids_are_told_apart() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    assert_eq!(stage.send(by, "PUT", "/api/v1/mailboxes", None).await.problem(), "no-such-method");
    assert_eq!(stage.send(by, "TRACE", "/api/v1/mailboxes", None).await.problem(), "no-such-method");
    for id in
        ["x", "mbx-", "mbx-00000000000000zz", "..%2f..", "%00", "mbx-00000000000000aa%0d%0aSet-Cookie:a=b"]
    {
        let answer = stage.send(by, "GET", &format!("/api/v1/mailboxes/{id}"), None).await;
        assert_eq!(answer.problem(), "not-found", "{id}");
        assert!(!answer.headers.contains_key(SET_COOKIE));
    }
    for query in ["limit=-1", "before=x", "kind=nothing", "mailbox=x"] {
        let answer = stage.send(by, "GET", &format!("/api/v1/activity?{query}"), None).await;
        assert_eq!(answer.problem(), "invalid", "{query}");
    }
}

/// Goal: with an audit log that cannot be gone on with nothing is changed, and it is told what to do.
/// Method: a log with a line that has no end.
#[tokio::test]
async fn without_an_audit_log_nothing_changes() {
    let stage = Stage::found("", |data| {
        let dir = data.join("console");
        RealDisk.create_dir_all(&dir).unwrap();
        write_atomic(&RealDisk, &dir.join("audit.jsonl"), &[b'x'; 600_000]).unwrap();
    });
    let first = json!({ "name": "admin", "password": "admin" });
    let refused = stage.page("POST", "/api/v1/first-sign-in", first).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::SERVICE_UNAVAILABLE, "disk"));
    assert!(refused.body["detail"].as_str().unwrap().contains("restore it from a backup"), "{refused:?}");
    assert!(stage.console.core.administrators.is_first());
    stage.console.core.administrators.create("anna", Role::Administrator).unwrap();
    let (_, cookie) = stage.somebody("otto", Role::Administrator).await;
    let by = By::cookie(&cookie);
    let refused = stage.send(by, "POST", "/api/v1/mailboxes", Some(json!({ "name": "x" }))).await;
    assert_eq!(refused.problem(), "disk");
    assert!(stage.console.core.registry.list().is_empty());
    let overview = stage.send(by, "GET", "/api/v1/overview", None).await;
    assert_eq!(overview.status, StatusCode::OK, "somebody can come and look");
    let warnings = overview.body["overview"]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning["code"] == "audit"), "{warnings:?}");
}
