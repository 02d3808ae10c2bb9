use anyhow::{Context, Result, ensure};
use postern_tests::console::Browser;
use serde_json::json;

use crate::{console, operations, state};

const SCOPES: [&str; 4] = ["read", "mailboxes", "settings", "admin"];

/// The scope that an operation asks of a token; `None`: no token will do. Written from `docs/console.md`, not from the
/// gateway's own table.
fn scope(method: &str, path: &str) -> Option<&'static str> {
    let part = path.strip_prefix("/api/v1/").unwrap_or_default().split('/').next().unwrap_or_default();
    match part {
        "session" | "account" => None,
        "administrators" | "audit" | "tokens" => Some("admin"),
        "settings" | "log-level" | "restart" | "doctor" | "proxy" | "oauth" => Some("settings"),
        "certificate" if method != "GET" => Some("settings"),
        "mailboxes" if method != "GET" => Some("mailboxes"),
        _ => Some("read"),
    }
}

/// Goal: every operation of the document asks for its right: nobody and a wrong token get 401, a token of too little scope
/// and a role of too little 403, and nothing is changed by any of them.
/// Method: walks the document that the gateway serves, so a new operation is tried without anybody's doing.
#[test]
fn every_operation_asks_for_its_right() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    let made = admin.ok("POST", "/api/v1/mailboxes", Some(&json!({ "name": "journal" })))?;
    let id = made["mailbox"]["id"].as_str().context("no id")?.to_owned();
    let mut somebody = Vec::new();
    for role in ["viewer", "operator"] {
        let made =
            admin.ok("POST", "/api/v1/administrators", Some(&json!({ "name": role, "role": role })))?;
        let mut browser = Browser::new(address);
        let credentials = json!({ "name": role, "password": made["password"] });
        browser.ok("POST", "/api/v1/session", Some(&credentials))?;
        somebody.push((role, browser));
    }
    let mut tokens = Vec::new();
    for scope in SCOPES {
        let made = admin.ok("POST", "/api/v1/tokens", Some(&json!({ "name": scope, "scopes": [scope] })))?;
        let token = made["text"].as_str().context("no text")?.to_owned();
        tokens.push((scope, Browser { token, ..Browser::new(address) }));
    }
    let before = (state(&mut admin)?, admin.ok("GET", "/api/v1/tokens", None)?.as_array().map(Vec::len));
    let mut open = Vec::new();
    for (method, path, is_open) in operations(&mut admin)? {
        let target = path.replace("{id}", &id).replace("{name}", "viewer");
        let body = (method != "GET").then(|| json!({}));
        if is_open {
            open.push(format!("{method} {path}"));
            continue;
        }
        let wrong = Browser { token: format!("postern_{}", "A".repeat(43)), ..Browser::new(address) };
        for mut nobody in [Browser::new(address), wrong] {
            let page = nobody.request(&method, &target, body.as_ref())?;
            ensure!((page.status, page.problem()) == (401, "not-signed-in"), "{method} {path}: {page:?}");
        }
        let needed = scope(&method, &path);
        for (held, token) in &mut tokens {
            let enough = needed.is_some_and(|needed| needed == *held || needed == "read");
            if enough && (method != "GET" || path.ends_with("/events")) {
                continue;
            }
            let page = token.request(&method, &target, body.as_ref())?;
            let expected = if enough { 200 } else { 403 };
            ensure!(page.status == expected, "{method} {path} with {held}: {page:?}");
        }
        for (role, browser) in &mut somebody {
            // One's own session and account are everybody's, and so are tokens that may do no more than oneself.
            let own = needed.is_none() || path.starts_with("/api/v1/tokens");
            let may = own
                || needed == Some("read")
                || *role == "operator" && needed == Some("mailboxes") && method != "DELETE";
            if may {
                continue;
            }
            let page = browser.request(&method, &target, body.as_ref())?;
            ensure!(
                (page.status, page.problem()) == (403, "not-allowed"),
                "{method} {path} by {role}: {page:?}"
            );
        }
    }
    open.sort();
    ensure!(
        open == ["GET /api/v1/sign-in", "POST /api/v1/first-sign-in", "POST /api/v1/session"],
        "{open:?}"
    );
    let after = (state(&mut admin)?, admin.ok("GET", "/api/v1/tokens", None)?.as_array().map(Vec::len));
    ensure!(before == after, "something was changed");
    let log = gateway.log();
    ensure!(
        log.contains("a request at the console was refused") && log.contains("viewer"),
        "who tries is told of: {log}"
    );
    Ok(())
}

/// Goal: nobody reaches what is another's by naming it: one's own sessions and tokens are one's own.
#[test]
fn nobody_ends_what_is_anothers() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    admin.first_sign_in()?;
    let made =
        admin.ok("POST", "/api/v1/administrators", Some(&json!({ "name": "eve", "role": "viewer" })))?;
    let mut eve = Browser::new(gateway.address("console")?);
    eve.ok("POST", "/api/v1/session", Some(&json!({ "name": "eve", "password": made["password"] })))?;
    let sessions = admin.ok("GET", "/api/v1/account/sessions", None)?;
    let session = sessions[0]["id"].as_str().context("no session")?;
    let token = admin.ok("POST", "/api/v1/tokens", Some(&json!({ "name": "t", "scopes": ["read"] })))?;
    let token = token["token"]["id"].as_str().context("no token")?;
    for path in [format!("/api/v1/account/sessions/{session}"), format!("/api/v1/tokens/{token}")] {
        let page = eve.request("DELETE", &path, None)?;
        ensure!((page.status, page.problem()) == (404, "not-found"), "{path}: {page:?}");
    }
    let seen = eve.ok("GET", "/api/v1/tokens", None)?;
    ensure!(seen == json!([]), "another's token is seen: {seen}");
    for (body, word) in [
        (json!({ "name": "t", "scopes": ["admin"] }), "not-allowed"),
        (json!({ "name": "t", "scopes": ["read"], "owner": "admin" }), "invalid"),
    ] {
        let page = eve.request("POST", "/api/v1/tokens", Some(&body))?;
        ensure!(page.problem() == word, "{body}: {page:?}");
    }
    admin.ok("GET", "/api/v1/session", None)?;
    ensure!(
        admin.ok("GET", "/api/v1/tokens", None)?.as_array().map(Vec::len) == Some(1),
        "the token is gone"
    );
    Ok(())
}
