use anyhow::Result;
use postern_tests::console::Page;
use serde_json::json;

use crate::{Probe, console, raw};

/// Line ends as different layers have read them; the last becomes one where a code point is cut to an octet.
const LINE_ENDS: [&str; 7] =
    ["\r\n", "\r", "\n", "%0d%0a", "%250d%250a", "%E5%98%8D%E5%98%8A", "\u{560d}\u{560a}"];
const SENT: [&str; 14] = [
    "User-Agent",
    "Referer",
    "Origin",
    "Cookie",
    "Authorization",
    "If-None-Match",
    "If-Modified-Since",
    "Accept-Encoding",
    "Accept-Language",
    "Range",
    "X-Forwarded-Host",
    "X-Forwarded-For",
    "X-Postern-Background",
    "X-Request-Id",
];

/// The header lines of what came back, all of them where there is more than one answer.
fn header_lines(said: &str) -> String {
    said.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase()
}

/// Goal: no header, cookie or line end of a request comes back in the headers of its answer.
#[test]
fn nothing_of_a_request_gets_into_the_headers_of_its_answer() -> Result<()> {
    let (gateway, mut nobody) = console("")?;
    let address = gateway.address("console")?;
    let targets = ["/", "/nothing.js", "/api/v1/sign-in", "/api/v1/mailboxes", "/api/nothing"];
    for end in LINE_ENDS {
        let payload = format!("probe{end}X-Injected: probe{end}Set-Cookie: probe=1");
        for (name, target) in SENT.into_iter().zip(targets.into_iter().cycle()) {
            let said = raw(address, &Probe::new("GET", target).with(name, &payload).octets())?;
            let lines = header_lines(&said);
            assert!(!lines.contains("probe") && !lines.contains("x-injected"), "{name} {end:?}: {said}");
            assert!(said.is_empty() || !said.contains(" 5"), "{name} {end:?}: {said}");
        }
        for target in targets {
            let target = format!("{target}{end}X-Injected:probe?text={end}Set-Cookie:probe=1");
            let said = raw(address, &Probe::new("GET", &target).octets())?;
            let lines = header_lines(&said);
            assert!(!lines.contains("probe") && !lines.contains("x-injected"), "{target}: {said}");
        }
    }
    let name = json!({ "name": "probe\r\nX-Injected: probe", "password": "probe\r\nX-Injected: probe" });
    let refused = nobody.request("POST", "/api/v1/session", Some(&name))?;
    assert_eq!(refused.problem(), "wrong-credentials");
    assert!(!refused.headers.iter().any(|line| line.contains("probe")), "{refused:?}");
    Ok(())
}

/// Goal: a request says its host once, and what it says decides nothing: no link, redirect or address is made of it.
#[test]
fn a_host_is_named_once_and_believed_in_nothing() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    for head in [
        "GET /api/v1/sign-in HTTP/1.1\r\n",
        "GET /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
        "GET / HTTP/1.1\r\nHost: evil.example\r\nHost: evil.example\r\n",
    ] {
        let said = raw(address, format!("{head}Connection: close\r\n\r\n").as_bytes())?;
        assert!(said.starts_with("HTTP/1.1 400"), "{head}: {said}");
    }
    let made = admin.ok("POST", "/api/v1/mailboxes", Some(&json!({ "name": "journal" })))?;
    let connect = format!("/api/v1/mailboxes/{}/connect", made["mailbox"]["id"].as_str().unwrap_or_default());
    let cookie = admin.cookie.clone();
    for target in ["/", "/mailboxes", "/assets", "/api/v1/mailboxes", connect.as_str(), "/api/openapi.json"] {
        let forged = Probe {
            headers: vec![
                ("Host", "evil.example"),
                ("Cookie", &cookie),
                ("X-Forwarded-Host", "evil.example"),
                ("X-Forwarded-Proto", "http"),
                ("Forwarded", "host=evil.example;proto=http"),
                ("X-Original-URL", "/api/v1/settings"),
                ("X-Rewrite-URL", "/api/v1/settings"),
            ],
            ..Probe::new("GET", target)
        };
        let said = raw(address, &forged.octets())?;
        assert!(said.starts_with("HTTP/1.1 200"), "{target}: {said}");
        assert!(!said.contains("evil.example") && !said.contains("data_dir"), "{target}: {said}");
        assert!(!header_lines(&said).contains("location:"), "{target}: {said}");
    }
    // In its absolute form a request's own host goes before the header; it is no more believed.
    let absolute = raw(address, &Probe::new("GET", "https://evil.example/api/v1/sign-in").octets())?;
    assert!(absolute.starts_with("HTTP/1.1 200") && !absolute.contains("evil.example"), "{absolute}");
    Ok(())
}

fn assert_secured(what: &str, page: &Page) {
    let header = |name: &str| page.header(name).unwrap_or_default();
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}: {page:?}");
    assert_eq!(header("x-frame-options"), "DENY", "{what}");
    assert_eq!(header("referrer-policy"), "no-referrer", "{what}");
    assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{what}");
    assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{what}");
    let policy = header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'"), "{what}: {policy}");
    assert!(
        policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"),
        "{what}: {policy}"
    );
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{what}: {policy}");
    assert!(!header("cache-control").contains("public"), "{what}");
    for told in ["server", "x-powered-by", "via", "access-control-allow-origin", "location"] {
        assert!(page.header(told).is_none(), "{what}: {told}");
    }
    let kind = header("content-type");
    let has_body = page.body.as_str() != Some("");
    assert!(!has_body || !kind.is_empty(), "{what} has no type");
    assert!(!kind.starts_with("text/") || kind.ends_with("charset=utf-8"), "{what}: {kind}");
}

/// Goal: whatever is answered, no page can frame it, no browser guesses at its type, and no cache keeps it.
#[test]
fn every_answer_is_framed_cached_and_guessed_at_by_nobody() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    let cookie = admin.cookie.clone();
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(300_000));
    let signed = |method, target| Probe::new(method, target).own().with("Cookie", &cookie);
    let probes = [
        (200, Probe::new("GET", "/")),
        (200, Probe::new("GET", "/mailboxes/mbx-1")),
        (200, Probe::new("GET", "/api/v1/sign-in")),
        (200, signed("GET", "/api/v1/overview")),
        (201, signed("POST", "/api/v1/mailboxes").json("{\"name\":\"a\"}")),
        (400, Probe { headers: Vec::new(), ..Probe::new("GET", "/") }),
        (401, Probe::new("GET", "/api/v1/mailboxes")),
        (401, Probe::new("GET", "/api/v1/mailboxes").with("Authorization", "Bearer postern_0")),
        (403, Probe::new("POST", "/api/v1/session").json("{}")),
        (404, signed("GET", "/api/v1/mailboxes/x")),
        (404, Probe::new("GET", "/nothing.js")),
        (404, Probe::new("GET", "/api/nothing")),
        (405, Probe::new("POST", "/")),
        (405, Probe::new("OPTIONS", "/api/v1/mailboxes")),
        (405, Probe::new("TRACE", "/api/v1/mailboxes")),
        (413, signed("POST", "/api/v1/mailboxes").json(&long)),
        (415, Probe { body: "a=b", ..signed("POST", "/api/v1/mailboxes") }),
        (422, signed("POST", "/api/v1/mailboxes").json("{")),
    ];
    for (status, probe) in probes {
        let (method, target) = (probe.method, probe.target);
        let page = probe.send(address)?;
        let what = format!("{method} {target}");
        assert_eq!(page.status, status, "{what}: {page:?}");
        assert_secured(&what, &page);
        let cached = page.header("cache-control").unwrap_or_default();
        let may_be_kept = status == 404 && !target.starts_with("/api/") || matches!(status, 400 | 405);
        assert!(cached == "no-store" || may_be_kept, "{what}: {cached:?}");
    }
    Ok(())
}

/// Goal: a secret that is shown once is in no cache, no address and no log.
#[test]
fn what_is_shown_once_is_kept_nowhere() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let first = admin.first_sign_in()?;
    let mut secrets = vec![first.clone(), admin.cookie.split('=').nth(1).unwrap_or_default().to_owned()];
    for (path, body, shown) in [
        ("/api/v1/mailboxes", json!({ "name": "journal" }), "password"),
        ("/api/v1/administrators", json!({ "name": "anna", "role": "viewer" }), "password"),
        ("/api/v1/administrators/anna/reset-password", json!({}), "password"),
        ("/api/v1/tokens", json!({ "name": "t", "scopes": ["read"] }), "text"),
        ("/api/v1/account/totp", json!({ "password": first }), "secret"),
    ] {
        let page = admin.request("POST", path, Some(&body))?;
        assert!(page.status < 300, "{path}: {page:?}");
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
        assert_secured(path, &page);
        secrets.push(page.body[shown].as_str().unwrap_or_default().to_owned());
    }
    assert!(secrets.iter().all(|secret| secret.len() > 15), "{secrets:?}");
    let log = gateway.log();
    assert!(secrets.iter().all(|secret| !log.contains(secret.as_str())), "{log}");
    let everything = ["/api/v1/mailboxes", "/api/v1/administrators", "/api/v1/tokens", "/api/v1/audit"];
    for path in everything {
        let told = admin.ok("GET", path, None)?.to_string();
        assert!(secrets.iter().all(|secret| !told.contains(secret.as_str())), "{path}");
    }
    Ok(())
}
