use anyhow::{Context, Result, ensure};
use postern_tests::console::Page;
use postern_tests::smtp::SmtpClient;
use postern_tests::{Security, Wire};
use serde_json::{Value, json};

use crate::{Probe, console};

/// Text that would like to be a script, a template, a formula or a query.
const SCRIPTS: [&str; 9] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>",
    "javascript:alert(1)//",
    "{{constructor.constructor('alert(1)')()}}",
    "</script><script>alert(1)</script>",
    "${7*7}#{7*7}<%= 7*7 %>",
    "=cmd|' /C calc'!A0",
    "' OR '1'='1'; --",
];

/// Everything that an administrator's browser asks for.
const SHOWN: [&str; 10] = [
    "/api/v1/mailboxes",
    "/api/v1/overview",
    "/api/v1/activity?limit=1000",
    "/api/v1/audit?limit=1000",
    "/api/v1/tokens",
    "/api/v1/administrators",
    "/api/v1/settings",
    "/api/v1/account/sessions",
    "/api/v1/session",
    "/api/openapi.json",
];

/// JSON that no browser takes for anything else.
fn ensure_data(what: &str, page: &Page) -> Result<()> {
    let kind = page.header("content-type").unwrap_or_default();
    ensure!(["application/json", "application/problem+json"].contains(&kind), "{what}: {kind}");
    ensure!(page.header("x-content-type-options") == Some("nosniff"), "{what}");
    ensure!(!page.body.is_string(), "{what} is no JSON: {page:?}");
    Ok(())
}

fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(all) => all.iter().any(|one| holds(one, text)),
        Value::Object(all) => all.iter().any(|(key, one)| key == text || holds(one, text)),
        _ => false,
    }
}

/// Goal: whatever is put into a field that takes text comes back as it was, in JSON and as nothing else.
#[test]
fn scripts_in_text_fields_come_back_as_text() -> Result<()> {
    let (gateway, mut admin) = console("login_failures_free = 1000\n")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    for script in SCRIPTS {
        let made = admin.request(
            "POST",
            "/api/v1/mailboxes",
            Some(&json!({ "name": script, "description": script, "policy": { "presets": { "a-list": ["192.0.2.0/24"] } } })),
        )?;
        ensure!(made.status == 201 && made.body["mailbox"]["name"] == script, "{made:?}");
        ensure_data("a new mailbox", &made)?;
        let one = format!("/api/v1/mailboxes/{}", made.body["mailbox"]["id"].as_str().context("no id")?);
        let edited = admin.request("PATCH", &one, Some(&json!({ "name": script, "description": script })))?;
        ensure!(edited.body["description"] == script, "{edited:?}");
        ensure_data("an edited mailbox", &edited)?;
        for path in [one.clone(), format!("{one}/connect")] {
            ensure_data(&path, &admin.request("GET", &path, None)?)?;
        }
        let token =
            admin.request("POST", "/api/v1/tokens", Some(&json!({ "name": script, "scopes": ["read"] })))?;
        ensure!(token.status == 201 && token.body["token"]["name"] == script, "{token:?}");
        ensure_data("a new token", &token)?;
        // These are refused, in words that may hold what was sent.
        for (method, path, body) in [
            ("POST", "/api/v1/administrators", json!({ "name": script, "role": "viewer" })),
            ("POST", "/api/v1/administrators", json!({ "name": "anna", "role": script })),
            ("POST", "/api/v1/mailboxes", json!({ "name": "a", "recovery_key": script })),
            ("POST", "/api/v1/mailboxes", json!({ "name": "a", "policy": { "networks": [script] } })),
            ("POST", "/api/v1/mailboxes", json!({ "name": "a", script: 1 })),
            ("POST", "/api/v1/session", json!({ "name": script, "password": script })),
            ("POST", "/api/v1/settings/validate", json!({ "text": script })),
            ("PUT", "/api/v1/settings", json!({ "changes": { "host_name": script } })),
            ("PUT", "/api/v1/settings", json!({ "changes": { script: script } })),
            ("PUT", "/api/v1/log-level", json!({ "level": script })),
            ("PUT", "/api/v1/account/totp", json!({ "code": script })),
        ] {
            let page = admin.request(method, path, Some(&body))?;
            ensure!(page.status < 500, "{method} {path} {script}: {page:?}");
            ensure_data(path, &page)?;
        }
        let quoted: String = script.bytes().map(|octet| format!("%{octet:02x}")).collect();
        for target in [
            format!("/api/{quoted}"),
            format!("/api/v1/mailboxes/{quoted}"),
            format!("/api/v1/activity?kind={quoted}"),
            format!("/api/v1/activity?mailbox={quoted}"),
            format!("/api/v1/activity?text={quoted}"),
            format!("/api/v1/audit?who={quoted}&text={quoted}"),
            format!("/api/v1/overview?span={quoted}"),
        ] {
            ensure_data(&target, &admin.request("GET", &target, None)?)?;
        }
        // A page is HTML, and holds nothing of what was asked for.
        for target in
            [format!("/{quoted}"), format!("/mailboxes/{quoted}?x={quoted}"), format!("/?x={script}")]
        {
            let target = target.replace(' ', "+");
            let Ok(page) = Probe::new("GET", &target).send(address) else { continue };
            let text = page.body.to_string();
            ensure!(!text.contains("alert(1)") && !text.contains(&quoted), "{target}: {page:?}");
        }
    }
    for path in SHOWN {
        ensure_data(path, &admin.request("GET", path, None)?)?;
    }
    for (path, times) in [("/api/v1/mailboxes", 1), ("/api/v1/tokens", 1)] {
        let all = admin.ok("GET", path, None)?;
        let whole = SCRIPTS.iter().filter(|script| holds(&all, script)).count();
        ensure!(whole == SCRIPTS.len() * times, "{path}: {all}");
    }
    Ok(())
}

/// Goal: what senders, mail and guessers say of themselves is text where it is shown, and what is inside the seal is not
/// shown at all.
#[test]
fn mail_brings_no_script_and_shows_nothing_of_itself() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    let made = admin.ok("POST", "/api/v1/mailboxes", Some(&json!({ "name": "journal" })))?;
    let to = made["mailbox"]["address"].as_str().context("no address")?.to_owned();
    for (n, script) in SCRIPTS.into_iter().enumerate() {
        let mut sender = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
        sender.command(&format!("EHLO {script}"))?;
        sender.ehlo()?;
        let subject = format!("Subject: canary-{n} {script}\r\nX-{n}: {script}\r\n");
        let local = script.replace(['"', '\\'], "");
        let from = format!("\"canary-{n} {local}\"@example.org");
        let message =
            format!("From: {script} <{from}>\r\nTo: {script} <{to}>\r\n{subject}\r\ncanary-{n} {script}\r\n");
        for from in [from.as_str(), "sender@example.org"] {
            sender.send(from, &[&to], message.as_bytes())?;
        }
        sender.command(&format!("VRFY {script}"))?;
        sender.command(script)?;
        sender.quit()?;
        let mut archiver = Wire::connect(gateway.address("pop3s")?, true)?;
        archiver.line()?;
        archiver.send(format!("USER {script}\r\nPASS {script}\r\n").as_bytes())?;
        archiver.line()?;
        let page = Probe::new("GET", "/api/v1/session").with("User-Agent", script).send(address)?;
        ensure_data("a browser's name", &page)?;
    }
    let row = admin.ok(
        "GET",
        &format!("/api/v1/mailboxes/{}", made["mailbox"]["id"].as_str().unwrap_or_default()),
        None,
    )?;
    ensure!(row["messages"].as_u64() >= Some(SCRIPTS.len() as u64), "too little was stored: {row}");
    let mut captures = 0;
    for path in SHOWN {
        let page = admin.request("GET", path, None)?;
        ensure_data(path, &page)?;
        let text = page.body.to_string();
        ensure!(!text.contains("canary-") && !text.contains("example.org"), "{path} shows mail: {text}");
        let events = page.body["events"].as_array().into_iter().flatten();
        captures += events.filter(|event| event["kind"] == "capture").count();
    }
    ensure!(captures >= SCRIPTS.len(), "{captures} captures are shown");
    Ok(())
}

/// Goal: how a browser calls itself is shown in the list of sessions as text, bounded, without control characters.
#[test]
fn a_browsers_name_is_shown_as_text() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    let password = admin.first_sign_in()?;
    let body = json!({ "name": "admin", "password": password }).to_string();
    let long = "x".repeat(5000);
    for name in SCRIPTS.into_iter().chain([long.as_str(), "a\tb"]) {
        let page =
            Probe::new("POST", "/api/v1/session").own().with("User-Agent", name).json(&body).send(address)?;
        ensure!(page.status == 200, "{name}: {page:?}");
    }
    let page = admin.request("GET", "/api/v1/account/sessions", None)?;
    ensure_data("sessions", &page)?;
    ensure!(SCRIPTS.iter().all(|script| holds(&page.body, script)), "{page:?}");
    let agents = page.body.as_array().into_iter().flatten().filter_map(|row| row["agent"].as_str());
    let mut all: Vec<&str> = agents.collect();
    all.sort_by_key(|agent| agent.len());
    ensure!(all.last().is_some_and(|longest| longest.len() <= 300), "{all:?}");
    ensure!(!all.iter().any(|agent| agent.contains(char::is_control)), "{all:?}");
    Ok(())
}
