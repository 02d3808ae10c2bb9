use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postern_tests::Wire;

use crate::{Probe, console, raw, state};

/// A second request that a server may take what follows a first one for.
const SMUGGLED: &str = "GET /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Header lines, and a body: each pair leaves in doubt, to some server, where the request ends (RFC 9112 §6.3, §11.2).
const IN_DOUBT: [(&str, &str); 26] = [
    ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
    ("Content-Length: 0\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    ("Content-Length: 0\r\nTransfer-Encoding: identity", ""),
    ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
    ("Transfer-Encoding : chunked", "0\r\n\r\n"),
    ("Transfer-Encoding:\u{b}chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"),
    ("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\n"),
    ("Content-Length: 0\r\nContent-Length: 5", ""),
    ("Content-Length: 0, 5", ""),
    ("Content-Length: +5", "0\r\n\r\n"),
    ("Content-Length: -1", ""),
    ("Content-Length: 0x5", "0\r\n\r\n"),
    ("Content-Length: 18446744073709551616", ""),
    ("Content-Length : 5", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "g\r\n\r\n"),
    ("Transfer-Encoding: chunked", "-1\r\n\r\n"),
    ("Transfer-Encoding: chunked", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "5\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "5\r\nhelloXX0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "5;x=\ny\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "0\r\nHost : a\r\n\r\n"),
];

/// Goal: where the end of a request is in doubt, nothing behind it is taken for another one.
/// Method: each such request, kept alive, with a second one behind it, at a route that reads its body and at one that does not.
#[test]
fn no_request_is_smuggled_in_another() -> Result<()> {
    let (gateway, _) = console("")?;
    let address = gateway.address("console")?;
    let start = "GET /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let last = SMUGGLED.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let said = raw(address, format!("{start}{last}").as_bytes())?;
    ensure!(
        said.matches("HTTP/1.1 200").count() == 2,
        "two requests without a doubt have two answers: {said}"
    );
    for (lines, body) in IN_DOUBT {
        for start in ["POST /api/v1/session", "GET /api/v1/sign-in", "POST /nothing"] {
            let first = format!(
                "{start} HTTP/1.1\r\nHost: localhost\r\nX-Postern-Console: 1\r\nContent-Type: application/json\r\n{lines}\r\n\r\n"
            );
            let said = raw(address, format!("{first}{body}{SMUGGLED}").as_bytes())?;
            let answers = said.matches("HTTP/1.1 ").count();
            ensure!(
                answers <= 1,
                "{start} with {lines:?} and {body:?} was answered {answers} times:\n{said}"
            );
        }
    }
    Ok(())
}

/// Goal: what is no HTTP/1.1 is told so or cut off, and ends nothing but itself.
#[test]
fn what_is_no_request_is_refused() -> Result<()> {
    let (gateway, mut nobody) = console("")?;
    let address = gateway.address("console")?;
    let (line, header) = ("a".repeat(200_000), "b".repeat(200_000));
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    for request in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "GET /\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "G\0T / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nX y: z\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: localhost\r\n: z\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n".to_owned(),
        "CONNECT localhost:25 HTTP/1.1\r\nHost: localhost:25\r\nConnection: close\r\n\r\n".to_owned(),
        format!("GET /{line} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {header}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
        "\u{1}".repeat(1000),
        "\r\n".repeat(1000),
    ] {
        let said = raw(address, request.as_bytes())?;
        let short: String = request.chars().take(60).collect();
        ensure!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{short:?}: {said}");
    }
    nobody.ok("GET", "/api/v1/sign-in", None)?;
    Ok(())
}

/// Goal: bodies that are too long, too deep, or no JSON are refused in the API's own words, and change nothing.
#[test]
fn bodies_that_are_bombs_are_refused() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    let cookie = admin.cookie.clone();
    let before = state(&mut admin)?;
    let deep = |open: &str, close: &str, depth: usize| {
        format!("{{\"name\":\"a\",\"policy\":{}1{}}}", open.repeat(depth), close.repeat(depth))
    };
    let keys: String = (0..15_000).map(|n| format!("\"k{n}\":0,")).collect();
    let long = "x".repeat(300_000);
    for (name, body) in [
        ("arrays", deep("[", "]", 100_000)),
        ("objects", deep("{\"policy\":", "}", 20_000)),
        ("open ends", "[".repeat(200_000)),
        ("many keys", format!("{{{keys}\"name\":\"a\"}}")),
        ("the same key twice", "{\"name\":\"a\",\"name\":\"b\"}".to_owned()),
        (
            "a key of objects' making",
            "{\"name\":\"a\",\"__proto__\":{\"role\":\"administrator\"}}".to_owned(),
        ),
        ("what is set by us", "{\"name\":\"a\",\"id\":\"mbx-00000000000000aa\",\"messages\":7}".to_owned()),
        ("a huge number", format!("{{\"name\":\"a\",\"policy\":{{\"quota\":{}}}}}", "9".repeat(100_000))),
        ("a number out of range", "{\"name\":\"a\",\"policy\":{\"quota\":1e999}}".to_owned()),
        ("a negative number", "{\"name\":\"a\",\"policy\":{\"quota\":-1}}".to_owned()),
        ("half a character", "{\"name\":\"\\ud800\"}".to_owned()),
        ("a NUL", "{\"name\":\"a\\u0000b\"}".to_owned()),
        ("line ends", "{\"name\":\"a\\r\\nb\"}".to_owned()),
        ("too long", format!("{{\"name\":\"{long}\"}}")),
        ("a long name", format!("{{\"name\":\"{}\"}}", "x".repeat(200_000))),
        ("not an object", "\"name\"".to_owned()),
        ("another type", "{\"name\":[\"a\"]}".to_owned()),
        ("text behind it", "{\"name\":\"a\"}{\"name\":\"b\"}".to_owned()),
        ("a script", "name='a'".to_owned()),
        ("nothing", String::new()),
    ] {
        let probe = Probe::new("POST", "/api/v1/mailboxes").own().with("Cookie", &cookie).json(&body);
        let page = probe.send(address)?;
        ensure!(
            [(422, "invalid"), (413, "too-large")].contains(&(page.status, page.problem())),
            "{name}: {page:?}"
        );
        ensure!(page.body.to_string().len() < 2000, "{name}: the answer is as long as what was sent");
    }
    // What says that it is compressed is not unpacked, so there is no bomb in it.
    let packed = Probe::new("POST", "/api/v1/mailboxes")
        .own()
        .with("Cookie", &cookie)
        .with("Content-Encoding", "gzip");
    let page = packed.json("\u{1f}\u{8b}\u{8}").send(address)?;
    ensure!(page.status == 422, "{page:?}");
    ensure!(state(&mut admin)? == before, "something was changed");
    Ok(())
}

/// Goal: only what says that it is JSON is read as JSON: a form of a foreign page cannot say so.
#[test]
fn other_content_types_are_refused() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    let cookie = admin.cookie.clone();
    let before = state(&mut admin)?;
    for kind in [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "text/plain; application/json",
        "application/jsonp",
        "application/xml",
        "*/*",
    ] {
        for (method, target) in [
            ("POST", "/api/v1/mailboxes"),
            ("POST", "/api/v1/session"),
            ("POST", "/api/v1/first-sign-in"),
            ("PUT", "/api/v1/settings"),
            ("PUT", "/api/v1/account/password"),
            ("POST", "/api/v1/administrators"),
            ("POST", "/api/v1/tokens"),
        ] {
            let probe = Probe { body: "{\"name\":\"a\"}", ..Probe::new(method, target) };
            let probe = probe.own().with("Cookie", &cookie).with("Content-Type", kind);
            let page = probe.send(address)?;
            ensure!(
                (page.status, page.problem()) == (415, "not-json"),
                "{method} {target} {kind:?}: {page:?}"
            );
        }
    }
    ensure!(state(&mut admin)? == before, "something was changed");
    Ok(())
}

/// Goal: a body that does not come is not waited for for ever, and others are served meanwhile.
/// Method: it takes the minute that a request may take.
#[test]
fn a_body_that_does_not_come_ends_the_request() -> Result<()> {
    let (gateway, mut nobody) = console("")?;
    let mut slow = Wire::connect(gateway.address("console")?, true)?;
    let head = "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nX-Postern-Console: 1\r\n\
        Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"name\":";
    slow.send(head.as_bytes())?;
    let begun = Instant::now();
    nobody.ok("GET", "/api/v1/sign-in", None)?;
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    while begun.elapsed() < Duration::from_secs(150) {
        match slow.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&piece[..count]),
            // The wire's own patience is no longer than the gateway's.
            Err(_) => {}
        }
    }
    ensure!(begun.elapsed() < Duration::from_secs(120), "it was waited for");
    let said = String::from_utf8_lossy(&said);
    ensure!(said.starts_with("HTTP/1.1 503") && said.contains("too-slow"), "{said}");
    Ok(())
}
