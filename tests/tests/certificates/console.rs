//! Certificates at the console, as its pages ask for them: import, and an authority (Pebble).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use postern_tests::console::Browser;
use postern_tests::foreign::{free_port, has};
use postern_tests::pebble::Pebble;
use postern_tests::program::{Kind, Program};
use serde_json::{Value, json};

use super::authority::{QUARTER, config};
use super::doors::{DOORS, Session, client};
use super::fingerprint;

const CERTIFICATE: &str = "/api/v1/certificate";

fn administrator(gateway: &Program) -> Result<Browser> {
    let mut admin = Browser::new(gateway.address("console")?);
    admin.first_sign_in()?;
    Ok(admin)
}

/// Asks the authority once nobody else does; each step's state and words.
fn ask(admin: &mut Browser, staging_only: bool) -> Result<Vec<(String, String)>> {
    let order = json!({ "staging_only": staging_only });
    let mut events = Vec::new();
    super::eventually("the turn", || {
        let page = admin.request("POST", "/api/v1/certificate/acme", Some(&order))?;
        ensure!(page.status == 200 || page.problem() == "busy", "{page:?}");
        events = page.events();
        Ok(page.status == 200)
    })?;
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    Ok(events.iter().map(|step| (text(step, "state"), text(step, "text"))).collect())
}

/// Goal: a rehearsal and an order, each step told; the new certificate is served at every listener at once, that of the console
/// too, and is what the console shows.
#[test]
fn an_order_is_told_step_by_step_and_served_at_once() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let http01 = free_port()?;
    let (production, staging) = (Pebble::start(http01, QUARTER, &[])?, Pebble::start(http01, QUARTER, &[])?);
    let mut gateway = Program::new(Kind::Gateway, &config("acme", http01, &production, Some(&staging)))?;
    gateway.start()?;
    let mut admin = administrator(&gateway)?;
    let rehearsed = ask(&mut admin, true)?;
    let last = rehearsed.last().context("no step")?;
    assert_eq!(last.0, "done", "{rehearsed:?}");
    assert!(last.1.contains("rehearsal"), "{rehearsed:?}");

    let steps = ask(&mut admin, false)?;
    let (last, before) = steps.split_last().context("no step")?;
    assert_eq!(
        last,
        &("done".to_owned(), "issued for mail.example.test, mx.example.test".to_owned()),
        "{steps:?}"
    );
    assert!(before.len() > 3 && before.iter().all(|(state, _)| state == "running"), "{steps:?}");
    let told: String = before.iter().map(|(_, text)| format!("{text}\n")).collect();
    for words in ["order: https://", "mail.example.test: http://mail.example.test/.well-known", "finalise"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let shown = admin.ok("GET", CERTIFICATE, None)?;
    assert_eq!(shown["source"], "acme");
    assert!(
        shown["authority"]["last_issued_at"].is_u64() && shown["authority"]["last_error"].is_null(),
        "{shown}"
    );
    for door in DOORS {
        assert_eq!(Session::open(&gateway, door, &client()?)?.fingerprint, fingerprint(&shown), "{}", door.0);
    }
    let ports = admin.ok("GET", "/api/v1/certificate/ports", None)?;
    let ports = ports.as_array().context("ports")?;
    assert!(
        ports.iter().any(|port| port["listener"] == "console" && port["is_current"] == true),
        "{ports:?}"
    );
    Ok(())
}

/// Goal: what fails is told in the authority's words, at once and later; the old certificate is served on.
/// Method: the authority looks for challenges where nothing listens.
#[test]
fn an_order_that_fails_says_what_the_authority_says() -> Result<()> {
    if !has("pebble") {
        return Ok(());
    }
    let pebble = Pebble::start(free_port()?, QUARTER, &[])?;
    let mut gateway =
        Program::new(Kind::Gateway, &config("self-signed", free_port()?, &pebble, Some(&pebble)))?;
    gateway.start()?;
    let mut admin = administrator(&gateway)?;
    let before = fingerprint(&admin.ok("GET", CERTIFICATE, None)?);
    let steps = ask(&mut admin, false)?;
    let (state, words) = steps.last().context("no step")?;
    assert_eq!(state, "failed", "{steps:?}");
    assert!(words.contains("the authority says: ") && words.contains("-> port 80 of this name"), "{words}");
    let shown = admin.ok("GET", CERTIFICATE, None)?;
    assert_eq!(shown["authority"]["last_error"].as_str(), Some(words.as_str()));
    assert!(shown["authority"]["failures"] == 1 && shown["authority"]["not_before_at"].is_u64(), "{shown}");
    assert_eq!(fingerprint(&shown), before);
    Ok(())
}

/// Goal: a PKCS#12 file as old programs write it is imported, the configuration changed as the answer says, and after the
/// restart that the console is asked for every listener serves it; a wrong password changes nothing.
#[test]
fn an_import_is_served_after_the_restart_that_it_asks_for() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mut admin = administrator(&gateway)?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/certificates/3des.pfx");
    let file = BASE64_STANDARD.encode(std::fs::read(file)?);
    let before = fingerprint(&admin.ok("GET", CERTIFICATE, None)?);
    let import = |admin: &mut Browser, password: &str| {
        let body = json!({ "pkcs12": file, "password": password });
        admin.request("POST", "/api/v1/certificate/import", Some(&body))
    };
    let refused = import(&mut admin, "wrong")?;
    assert_eq!((refused.status, refused.problem()), (422, "certificate-password"));
    let stored = import(&mut admin, "secret")?;
    assert_eq!((stored.status, stored.body["served"].as_bool()), (200, Some(false)), "{stored:?}");
    assert_eq!(fingerprint(&admin.ok("GET", CERTIFICATE, None)?), before);
    admin.ok("PUT", "/api/v1/settings", Some(&json!({ "changes": stored.body["changes"] })))?;
    admin.ok("POST", "/api/v1/restart", None)?;
    super::eventually("the restart", || {
        let served = Session::open(&gateway, DOORS[5], &client()?);
        Ok(served.is_ok_and(|served| served.fingerprint == fingerprint(&stored.body)))
    })?;
    for door in DOORS {
        assert_eq!(
            Session::open(&gateway, door, &client()?)?.fingerprint,
            fingerprint(&stored.body),
            "{}",
            door.0
        );
    }
    Ok(())
}
