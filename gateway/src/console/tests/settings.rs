//! Reading, checking and changing the configuration.

use std::sync::atomic::Ordering;

use super::*;

const SETTINGS: &str = "/api/v1/settings";
const RELOAD: &str = "/api/v1/settings/reload";

#[tokio::test]
async fn a_change_is_checked_written_and_told() {
    let stage = Stage::with("# our limits\n[limits]\nsessions = 100\n");
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let shown = stage.send(by, "GET", SETTINGS, None).await;
    let before = read(&stage.config());
    assert_eq!(shown.body["text"], before);
    let sessions = |shown: &Value| {
        let keys = shown["keys"].as_array().unwrap();
        keys.iter().find(|key| key["key"] == "limits.sessions").unwrap().clone()
    };
    assert_eq!(
        (sessions(&shown.body)["value"].as_u64(), sessions(&shown.body)["source"].as_str()),
        (Some(100), Some("file"))
    );
    let revision = shown.body["revision"].clone();
    let change = json!({ "changes": { "limits.sessions": 200, "log_format": "json" }, "revision": revision });
    let tried = stage.send(by, "POST", "/api/v1/settings/validate", Some(change.clone())).await;
    assert_eq!(
        (tried.status, tried.body["needs_restart"].as_bool()),
        (StatusCode::OK, Some(true)),
        "{tried:?}"
    );
    assert_eq!(read(&stage.config()), before, "nothing is written");
    let applied = stage.send(by, "PUT", SETTINGS, Some(change.clone())).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    let counting = || stage.console.core.settings().limits.smtp.sessions;
    assert_eq!(counting(), 200, "what needs no restart counts at once");
    let after = read(&stage.config());
    assert!(
        after.contains("# our limits\n[limits]\nsessions = 200\n") && after.contains("log_format = \"json\""),
        "{after}"
    );
    assert_eq!(read(&stage.dir.path().join("gateway.toml.bak")), before);
    let again = stage.send(by, "PUT", SETTINGS, Some(change)).await;
    assert_eq!(again.problem(), "changed-meanwhile");
    let shown = stage.send(by, "GET", SETTINGS, None).await;
    assert_eq!(shown.body["restart_pending"], true);
    let second = json!({ "changes": { "limits.sessions": 300, "log_format": null } });
    assert_eq!(stage.send(by, "PUT", SETTINGS, Some(second)).await.status, StatusCode::OK);
    assert_eq!(
        read(&stage.dir.path().join("gateway.toml.bak")),
        before,
        "the last one that has proved itself"
    );
    assert_eq!(counting(), 300);
    let shown = stage.send(by, "GET", SETTINGS, None).await;
    assert_eq!(shown.body["restart_pending"], false, "all is as it was at start, or counts");
}

/// Goal: a file that was edited by hand counts when it is said to, with a mistake in it nothing does.
#[tokio::test]
async fn a_file_edited_by_hand_is_read_again() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let before = read(&stage.config());
    let sessions = stage.console.core.settings().limits.smtp.sessions;
    for bad in ["nonsense = 1\n", "[proxy]\ntrust = 'file:/none.pem'\n"] {
        let text = format!("{before}{bad}[limits]\nsessions = 7\n");
        write_atomic(&RealDisk, &stage.config(), text.as_bytes()).unwrap();
        let refused = stage.send(by, "POST", RELOAD, None).await;
        assert_eq!(refused.problem(), "bad-configuration", "{refused:?}");
        assert_eq!(stage.console.core.settings().limits.smtp.sessions, sessions);
    }
    let text = format!("{before}banner_version = true\nlog_format = 'json'\n[limits]\nsessions = 7\n");
    write_atomic(&RealDisk, &stage.config(), text.as_bytes()).unwrap();
    let reloaded = stage.send(by, "POST", RELOAD, None).await;
    assert_eq!(reloaded.body["changed"], json!(["banner_version", "limits.sessions"]), "{reloaded:?}");
    assert_eq!(reloaded.body["needs_restart"], json!(["log_format"]));
    assert_eq!(stage.console.core.settings().limits.smtp.sessions, 7);
}

#[tokio::test]
async fn what_cannot_be_loaded_is_not_written() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let before = read(&stage.config());
    for (change, told) in [
        (json!({ "text": "nonsense = 1" }), "nonsense"),
        (json!({ "text": "a = " }), "line 1"),
        (json!({ "changes": { "limits.sessions": 0 } }), "limits.sessions"),
        (json!({ "changes": { "limits.sessions": "many" } }), "sessions"),
        (json!({ "changes": { "bogus": 1 } }), "bogus"),
        (json!({ "changes": { "data_dir": "/tmp/elsewhere" } }), "data_dir"),
        (
            json!({ "changes": { "tls.mode": "files", "tls.certificate": "/none.pem", "tls.key": "/none.key" } }),
            "/none",
        ),
    ] {
        for (method, path) in [("POST", "/api/v1/settings/validate"), ("PUT", SETTINGS)] {
            let refused = stage.send(by, method, path, Some(change.clone())).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{change}: {refused:?}");
            assert!(refused.body["detail"].as_str().unwrap().contains(told), "{change}: {refused:?}");
        }
    }
    assert_eq!(read(&stage.config()), before);
    assert!(!stage.console.process.config_changed.load(Ordering::Relaxed));
}

#[tokio::test]
async fn secrets_are_not_shown_and_stay() {
    let provider = "[[proxy.provider]]\nname = \"m\"\npreset = \"microsoft365\"\nclient_id = \"x\"\nclient_secret = \"very-secret\"\n";
    let stage = Stage::with(provider);
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let shown = stage.send(by, "GET", SETTINGS, None).await;
    assert!(!shown.body.to_string().contains("very-secret"), "{shown:?}");
    let text = shown.body["text"].as_str().unwrap().replace("client_id = \"x\"", "client_id = \"y\"");
    let applied = stage.send(by, "PUT", SETTINGS, Some(json!({ "text": text }))).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    assert!(!applied.body.to_string().contains("very-secret"));
    let stored = read(&stage.config());
    assert!(stored.contains("very-secret") && stored.contains("client_id = \"y\""), "{stored}");
}

/// Goal: however the text comes back, no provider gets another one's secret.
#[tokio::test]
async fn a_secret_never_goes_to_another_provider() {
    let of = |name: &str, secret: &str| {
        format!(
            "[[proxy.provider]]\nname = \"{name}\"\npreset = \"microsoft365\"\nclient_id = \"x\"\nclient_secret = \"{secret}\"\n"
        )
    };
    let stage = Stage::with(&(of("m", "hush-one") + &of("g", "hush-two")));
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let before = read(&stage.config());
    let shown = stage.send(by, "GET", SETTINGS, None).await;
    let text = shown.body["text"].as_str().unwrap();
    let (head, _) = text.split_once("[[proxy.provider]]").unwrap();
    let renamed = text.replace("name = \"g\"", "name = \"h\"");
    let refused = stage.send(by, "PUT", SETTINGS, Some(json!({ "text": renamed }))).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
    assert!(refused.body["detail"].as_str().unwrap().contains("write the secret itself"), "{refused:?}");
    assert_eq!(read(&stage.config()), before);
    let second = format!("{head}{}", of("g", "(not shown)"));
    let applied = stage.send(by, "PUT", SETTINGS, Some(json!({ "text": second }))).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    let stored = read(&stage.config());
    assert!(stored.contains("hush-two") && !stored.contains("hush-one"), "{stored}");
}

/// Goal: a certificate that became worthless while it was served stops no other change; a restart it does.
#[tokio::test]
async fn with_a_certificate_that_cannot_be_read_all_else_can_be_changed() {
    let stage = Stage::with("[tls]\nmode = 'files'\ncertificate = '/none.pem'\nkey = '/none.key'\n");
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let change = json!({ "changes": { "limits.sessions": 7 } });
    let tried = stage.send(by, "POST", "/api/v1/settings/validate", Some(change.clone())).await;
    assert_eq!(tried.status, StatusCode::OK, "{tried:?}");
    let applied = stage.send(by, "PUT", SETTINGS, Some(change)).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    assert_eq!(stage.console.core.settings().limits.smtp.sessions, 7);
    let other = json!({ "changes": { "tls.key": "/neither.key" } });
    let refused = stage.send(by, "PUT", SETTINGS, Some(other)).await;
    assert_eq!(refused.problem(), "bad-configuration", "another source must be there");
    assert_eq!(stage.send(by, "POST", "/api/v1/restart", None).await.problem(), "bad-configuration");
}

/// Goal: what is put back when a start fails is what has started before, not what somebody wrote into the file since.
#[tokio::test]
async fn what_is_kept_is_what_has_started() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let started = read(&stage.config());
    let kept = || read(&stage.dir.path().join("gateway.toml.bak"));
    let by_hand = format!("{started}[listen]\nsmtp = ['192.0.2.99:25']\n");
    write_atomic(&RealDisk, &stage.config(), by_hand.as_bytes()).unwrap();
    let change = json!({ "changes": { "limits.sessions": 7 } });
    assert_eq!(stage.send(by, "PUT", SETTINGS, Some(change)).await.status, StatusCode::OK);
    assert_eq!(kept(), started);
    assert!(stage.console.process.config_changed.load(Ordering::Relaxed), "it is on trial at the next start");
    write_atomic(&RealDisk, &stage.dir.path().join("gateway.toml.bak"), b"x").unwrap();
    assert_eq!(stage.send(by, "POST", "/api/v1/restart", None).await.status, StatusCode::ACCEPTED);
    assert_eq!(kept(), started);
}

#[tokio::test]
async fn a_link_to_the_file_stays_one() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let (link, file) = (stage.config(), stage.dir.path().join("elsewhere/real.toml"));
    RealDisk.create_dir_all(file.parent().unwrap()).unwrap();
    RealDisk.rename(&link, &file).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let change = json!({ "changes": { "limits.sessions": 7 } });
    let applied = stage.send(By::cookie(&admin), "PUT", SETTINGS, Some(change)).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    assert!(link.is_symlink() && read(&file).contains("sessions = 7"));
    assert!(file.with_file_name("real.toml.bak").is_file(), "beside the file itself");
}

/// Goal: a restart is asked for only when the gateway could start again.
#[tokio::test]
async fn a_restart_wants_a_configuration_that_loads() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let by = By::cookie(&admin);
    let good = read(&stage.config());
    write_atomic(&RealDisk, &stage.config(), b"nonsense = 1").unwrap();
    assert_eq!(stage.send(by, "POST", "/api/v1/restart", None).await.problem(), "bad-configuration");
    write_atomic(&RealDisk, &stage.config(), good.as_bytes()).unwrap();
    assert_eq!(stage.send(by, "POST", "/api/v1/restart", None).await.status, StatusCode::ACCEPTED);
    tokio::time::timeout(MINUTE, stage.console.process.restart.notified()).await.unwrap();
}
