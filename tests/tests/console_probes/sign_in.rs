use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postern_tests::console::{Browser, Page};
use serde_json::{Value, json};

use crate::{Probe, console};

const SESSION: &str = "/api/v1/session";
const NEW: &str = "wir gehen heute schwimmen";

fn credentials(name: &str, password: &str) -> Option<Value> {
    Some(json!({ "name": name, "password": password }))
}

/// The one cookie that an answer sets.
fn set(page: &Page) -> Result<&str> {
    let mut all = page.headers.iter().filter_map(|line| line.strip_prefix("set-cookie: "));
    let set = all.next().with_context(|| format!("no cookie: {page:?}"))?;
    ensure!(all.next().is_none(), "more than one cookie: {page:?}");
    Ok(set)
}

fn signed_in(browser: &Browser) -> Result<bool> {
    Ok(browser.clone().request("GET", SESSION, None)?.status == 200)
}

/// Goal: each cookie is for this host, over TLS, out of reach of scripts and foreign pages; each step brings another one, and
/// the one before it is worth nothing.
#[test]
fn each_step_brings_a_cookie_of_its_own() -> Result<()> {
    let (_gateway, mut admin) = console("")?;
    let mut seen = Vec::new();
    let first = admin.request("POST", "/api/v1/first-sign-in", credentials("admin", "admin").as_ref())?;
    let password = first.body["password"].as_str().context("no password")?.to_owned();
    let mut steps = vec![(first, admin.clone())];
    for (method, path, body) in [
        ("POST", "/api/v1/session/password-stored", None),
        ("PUT", "/api/v1/account/password", Some(json!({ "current": password, "new": NEW }))),
        ("POST", SESSION, credentials("admin", NEW)),
    ] {
        let page = admin.request(method, path, body.as_ref())?;
        ensure!(page.status < 300, "{method} {path}: {page:?}");
        let before = steps.last().map(|(_, browser)| browser.clone()).context("no step")?;
        // Signing in anew leaves the session before it alone: it is another one.
        ensure!(signed_in(&before)? == (path == SESSION), "the cookie before {path}");
        steps.push((page, admin.clone()));
    }
    for (page, browser) in &steps {
        let set = set(page)?;
        let (cookie, attributes) = set.split_once(';').context("no attributes")?;
        ensure!(attributes == " Path=/; Secure; HttpOnly; SameSite=Strict", "{set}");
        let id = cookie.strip_prefix("__Host-postern=").context("another name")?;
        ensure!(id.len() == 64 && !seen.contains(&id.to_owned()), "{set}");
        ensure!(!page.body.to_string().contains(id), "scripts see it");
        ensure!(browser.cookie == cookie, "{browser:?}");
        seen.push(id.to_owned());
    }
    let out = admin.request("DELETE", SESSION, None)?;
    ensure!(set(&out)? == "__Host-postern=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0", "{out:?}");
    let (_, last) = steps.last().context("no step")?;
    ensure!(!signed_in(last)?, "it was signed out");
    Ok(())
}

/// Goal: who plants a cookie in somebody's browser does not get that one's session.
/// Method: cookies that were never given, and one that the attacker got by signing in.
#[test]
fn a_planted_session_is_not_taken_over() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let password = admin.first_sign_in()?;
    let eve =
        admin.ok("POST", "/api/v1/administrators", Some(&json!({ "name": "eve", "role": "viewer" })))?;
    let mut attacker = Browser::new(gateway.address("console")?);
    attacker.ok(
        "POST",
        SESSION,
        credentials("eve", eve["password"].as_str().context("no password")?).as_ref(),
    )?;
    let planted = ["a".repeat(64), String::new(), "../../key".to_owned(), attacker.cookie[15..].to_owned()];
    for id in &planted {
        let cookie = format!("__Host-postern={id}");
        let mut victim = Browser { cookie: cookie.clone(), ..Browser::new(gateway.address("console")?) };
        let page = victim.request("POST", SESSION, credentials("admin", &password).as_ref())?;
        ensure!(page.status == 200 && victim.cookie != cookie, "{id}: {page:?}");
        let who = Browser { cookie, ..victim.clone() }.request("GET", SESSION, None)?;
        let expected = if *id == attacker.cookie[15..] { "eve" } else { "" };
        ensure!(who.body["name"].as_str().unwrap_or_default() == expected, "{id}: {who:?}");
    }
    // Two cookies of the name: what is before ours does not hide it as somebody else's.
    let both = format!("__Host-postern-x={}; {}", "b".repeat(64), admin.cookie);
    let mine = Browser { cookie: both, ..admin.clone() }.request("GET", SESSION, None)?;
    ensure!(mine.body["name"] == "admin", "{mine:?}");
    // What somebody may do has changed: sessions begin anew.
    admin.ok("PATCH", "/api/v1/administrators/eve", Some(&json!({ "role": "operator" })))?;
    ensure!(!signed_in(&attacker)?, "a session of the role before");
    Ok(())
}

/// Goal: a session is found by its cookie alone: not by an address, and not with a token's header.
#[test]
fn a_session_is_in_the_cookie_and_nowhere_else() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    let id = admin.cookie[15..].to_owned();
    let (query, bearer) =
        (format!("/api/v1/mailboxes?session={id}&__Host-postern={id}"), format!("Bearer {id}"));
    let basic = "Basic YWRtaW46YWRtaW4=";
    for probe in [
        Probe::new("GET", &query),
        Probe::new("GET", "/api/v1/mailboxes").with("Authorization", &bearer),
        Probe::new("GET", "/api/v1/mailboxes").with("Authorization", basic),
        Probe::new("GET", "/api/v1/mailboxes").with("Authorization", basic).with("Cookie", &admin.cookie),
        Probe::new("GET", "/api/v1/mailboxes")
            .with("X-Forwarded-User", "admin")
            .with("X-Remote-User", "admin"),
    ] {
        let page = probe.send(address)?;
        ensure!((page.status, page.problem()) == (401, "not-signed-in"), "{:?}: {page:?}", probe.headers);
    }
    Ok(())
}

/// Goal: what a guesser is told, and how long it takes, does not say whether a name exists.
/// Method: names that exist and names that do not, in turns; each costs a hash of its own, so the medians are of one size.
#[test]
fn a_guesser_does_not_learn_who_exists() -> Result<()> {
    const ROUNDS: usize = 5;
    let (_gateway, mut admin) = console("login_failures_free = 1000\n")?;
    admin.first_sign_in()?;
    admin.ok("POST", "/api/v1/administrators", Some(&json!({ "name": "anna", "role": "viewer" })))?;
    let mut guesser = Browser { cookie: String::new(), ..admin.clone() };
    let mut taken = [const { Vec::new() }; 2];
    let mut told = Vec::new();
    for round in 0..ROUNDS {
        for (which, names) in [["admin", "anna"], ["nobody", "root"]].into_iter().enumerate() {
            let name = names[round % 2];
            let begun = Instant::now();
            let page = guesser.request("POST", SESSION, credentials(name, "wrong").as_ref())?;
            taken[which].push(begun.elapsed());
            let headers: Vec<String> =
                page.headers.into_iter().filter(|line| !line.starts_with("date: ")).collect();
            told.push((page.status, headers, page.body));
        }
    }
    told.dedup();
    ensure!(told.len() == 1, "{told:?}");
    let [known, unknown] = taken.map(|mut taken| {
        taken.sort();
        taken[ROUNDS / 2]
    });
    ensure!(
        known < 3 * unknown && unknown < 3 * known,
        "{known:?} for who exists, {unknown:?} for who does not"
    );
    ensure!(known.min(unknown) > Duration::from_millis(5), "no hash was computed: {known:?}, {unknown:?}");
    Ok(())
}

/// Goal: a guesser waits, and does not come from elsewhere by saying so.
#[test]
fn a_guesser_cannot_claim_another_address() -> Result<()> {
    let (gateway, mut admin) = console("login_wait = \"5 min\"\nlogin_wait_max = \"10 min\"\n")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    let body = "{\"name\":\"nobody\",\"password\":\"wrong\"}";
    let mut refused = Vec::new();
    for n in 0..8 {
        let from = format!("198.51.100.{n}");
        let page = Probe::new("POST", SESSION)
            .own()
            .with("X-Forwarded-For", &from)
            .with("Forwarded", "for=203.0.113.1")
            .with("X-Real-IP", &from)
            .with("True-Client-IP", &from)
            .json(body)
            .send(address)?;
        refused.push((page.status, page.problem().to_owned()));
    }
    ensure!(refused.contains(&(429, "must-wait".to_owned())), "{refused:?}");
    let audit = admin.ok("GET", "/api/v1/audit", None)?;
    let from = audit["entries"].as_array().into_iter().flatten().filter_map(|entry| entry["from"].as_str());
    ensure!(from.clone().count() > 0 && from.clone().all(|from| from == "127.0.0.1"), "{audit}");
    Ok(())
}
