//! The operators' console from outside: HTTPS to the real binary.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postern_tests::console::Browser;
use postern_tests::program::{Kind, Program};
use postern_tests::{Security, Wire};
use serde_json::{Value, json};

fn console(more: &str) -> Result<(Program, Browser)> {
    let gateway = Program::started(Kind::Gateway, more)?;
    let browser = Browser::new(gateway.address("console")?);
    Ok((gateway, browser))
}

/// Goal: from the first sign-in to a message in a new mailbox, and to its end.
#[test]
fn an_operator_gets_to_a_working_mailbox() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let password = admin.first_sign_in()?;
    assert!(!gateway.log().contains(&password), "no password in the log");
    let made = admin.ok("POST", "/api/v1/mailboxes", Some(&json!({ "name": "journal" })))?;
    let id = made["mailbox"]["id"].as_str().context("no id")?.to_owned();
    let one = format!("/api/v1/mailboxes/{id}");

    let told = admin.request("POST", &format!("{one}/test-message"), None)?;
    let steps: Vec<Value> = told.events();
    let names: Vec<&str> = steps.iter().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(names, ["connect", "ehlo", "tls", "mail", "rcpt", "data", "stored"], "{steps:?}");
    assert!(steps.iter().all(|step| step["ok"] == true), "{steps:?}");
    let row = admin.ok("GET", &one, None)?;
    assert_eq!((row["messages"].as_u64(), row["hours"][23].as_u64()), (Some(1), Some(1)), "{row}");
    assert!(row["last_delivery_at"].is_u64());
    let events = admin.ok("GET", &format!("/api/v1/activity?kind=capture&mailbox={id}"), None)?;
    assert_eq!(events["events"][0]["result"], "stored", "{events}");
    let overview = admin.ok("GET", "/api/v1/overview", None)?;
    assert_eq!(overview["overview"]["messages"], 1);

    admin.ok("PATCH", &one, Some(&json!({ "status": "suspended" })))?;
    let refused = admin.request("POST", &format!("{one}/test-message"), None)?.events();
    let last = refused.last().context("no step")?;
    assert_eq!((last["step"].as_str(), last["ok"].as_bool()), (Some("rcpt"), Some(false)), "{last}");
    let full = admin.request("DELETE", &one, None)?;
    assert_eq!((full.status, full.body["type"].as_str()), (409, Some("urn:postern:problem:not-empty")));
    let pop3 = gateway.address("pop3s")?;
    let mailbox_password = made["password"].as_str().context("no password")?;
    let mut archiver =
        postern_tests::pop3::Pop3Client::login(pop3, Security::Implicit, &id, mailbox_password)?;
    archiver.command("DELE 1")?;
    archiver.quit()?;
    let row = admin.ok("GET", &one, None)?;
    assert!(row["last_pull_at"].is_u64() && row["in_the_way"].is_null(), "{row}");
    assert_eq!(admin.request("DELETE", &one, None)?.status, 204);
    Ok(())
}

/// Goal: the overview comes live, and ends with the session.
#[test]
fn the_live_overview_ends_with_the_session() -> Result<()> {
    let (_gateway, mut admin) = console("")?;
    admin.first_sign_in()?;
    let mut live = admin.open("/api/v1/overview/events")?;
    let data = std::iter::from_fn(|| live.line().ok()).find(|line| line.starts_with("data: "));
    let data: Value = serde_json::from_str(data.context("no event")?.trim_start_matches("data: "))?;
    assert!(data["overview"]["listeners"].as_array().is_some_and(|all| all.len() > 4), "{data}");
    admin.ok("DELETE", "/api/v1/session", None)?;
    let signed_out = Instant::now();
    until_closed(&mut live);
    ensure!(signed_out.elapsed() < Duration::from_secs(30), "the stream went on");
    Ok(())
}

/// Goal: who is locked out gets in again from the machine itself, and whoever else was in is out.
#[test]
fn the_command_line_helps_who_is_locked_out() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let old = admin.first_sign_in()?;
    let listed = gateway.json(&["admin", "list"])?;
    assert_eq!(
        (listed[0]["name"].as_str(), listed[0]["role"].as_str()),
        (Some("admin"), Some("administrator"))
    );
    let reset = gateway.json(&["admin", "reset-password", "--clear-second-factors"])?;
    let password = reset["password"].as_str().context("no password")?;
    assert_ne!(password, old);
    assert_eq!(admin.request("GET", "/api/v1/session", None)?.status, 401, "its sessions have ended");
    let sign_in = |password: &str| Some(json!({ "name": "admin", "password": password }));
    assert_eq!(admin.request("POST", "/api/v1/session", sign_in(&old).as_ref())?.status, 403);
    admin.ok("POST", "/api/v1/session", sign_in(password).as_ref())?;
    let audit = admin.ok("GET", "/api/v1/audit?text=reset-password", None)?;
    assert_eq!(audit["entries"][0]["how"], "command line", "{audit}");
    assert!(audit["chain"]["broken"].is_null());
    let unknown = gateway.run(&["admin", "reset-password", "--name", "nobody"])?;
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no administrator"));
    Ok(())
}

/// Waits until the console answers under `address`-less circumstances: ports change with each start.
fn again(gateway: &Program, before: std::net::SocketAddr) -> Result<Browser> {
    let begun = Instant::now();
    loop {
        // Between two runs nobody answers; then commands work on the files themselves.
        if let Ok(address) = gateway.address("console")
            && address != before
        {
            return Ok(Browser::new(address));
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "the gateway did not come back:\n{}",
            gateway.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Goal: a changed configuration is taken at a restart, in the same process; one that does not start is taken back.
/// Method: a port that somebody else has cannot be seen before the restart.
#[test]
fn a_restart_takes_the_new_configuration_or_puts_the_old_one_back() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let password = admin.first_sign_in()?;
    let address = gateway.address("console")?;
    let change = json!({ "changes": { "limits.sessions": 77, "listen.metrics": "127.0.0.1:0" } });
    let changed = admin.ok("PUT", "/api/v1/settings", Some(&change))?;
    assert_eq!(changed["needs_restart"], true);
    let token = admin.ok("POST", "/api/v1/tokens", Some(&json!({ "name": "t", "scopes": ["settings"] })))?;
    assert_eq!(admin.request("POST", "/api/v1/restart", None)?.status, 202);
    let mut script = again(&gateway, address)?;
    script.token = token["text"].as_str().context("no token")?.to_owned();
    let settings = script.ok("GET", "/api/v1/settings", None)?;
    let sessions =
        settings["keys"].as_array().into_iter().flatten().find(|key| key["key"] == "limits.sessions");
    assert_eq!(sessions.context("no key")?["value"], 77);
    assert!(settings["taken_back"].is_null(), "{settings}");

    let taken = TcpListener::bind("127.0.0.1:0")?;
    let good = std::fs::read_to_string(gateway.config_file())?;
    let change = json!({ "changes": { "listen.smtp": taken.local_addr()?.to_string() } });
    script.ok("PUT", "/api/v1/settings", Some(&change))?;
    let address = gateway.address("console")?;
    assert_eq!(script.request("POST", "/api/v1/restart", None)?.status, 202);
    let token = script.token;
    script = again(&gateway, address)?;
    script.token = token;
    let settings = script.ok("GET", "/api/v1/settings", None)?;
    let why = settings["taken_back"].as_str().context("it was not taken back")?;
    assert!(why.contains("cannot listen"), "{why}");
    assert_eq!(std::fs::read_to_string(gateway.config_file())?, good);
    let failed = gateway.config_file().with_extension("toml.failed");
    assert!(std::fs::read_to_string(failed)?.contains(&taken.local_addr()?.to_string()));
    let mut admin = Browser::new(gateway.address("console")?);
    admin.ok("POST", "/api/v1/session", Some(&json!({ "name": "admin", "password": password })))?;
    let overview = admin.ok("GET", "/api/v1/overview", None)?;
    let warnings = overview["overview"]["warnings"].as_array().context("no warnings")?;
    assert!(warnings.iter().any(|warning| warning["code"] == "configuration"), "{warnings:?}");
    Ok(())
}

/// Reads until the peer has closed; an answer before that is given back.
fn until_closed(wire: &mut Wire) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = wire.read(&mut piece) {
        all.extend_from_slice(&piece[..count]);
    }
    all
}

/// Tries until it works: places are given back after a while.
fn insist<R>(mut step: impl FnMut() -> Result<R>) -> Result<R> {
    let begun = Instant::now();
    loop {
        match step() {
            Err(_) if begun.elapsed() < Duration::from_secs(30) => {}
            done => return done,
        }
    }
}

/// Where this request ends two servers may see differently: a second one must not be smuggled in it (RFC 9112 §6.3).
const AMBIGUOUS: &[u8] = b"GET /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\
    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nGET /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Goal: huge headers, headers that never end, silence and too many connections cost the console little.
#[test]
fn hostile_http_is_bounded() -> Result<()> {
    let more = "[limits]\nhandshake_deadline = \"700 ms\"\n[console]\nconnections_per_address = 3\n";
    let (gateway, mut nobody) = console(more)?;
    let address = gateway.address("console")?;

    let mut wire = Wire::connect(address, true)?;
    wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")?;
    // It may close while we still send.
    let _ = wire.send(&vec![b'a'; 1 << 20]);
    let said = String::from_utf8_lossy(&until_closed(&mut wire)).into_owned();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");

    let begun = Instant::now();
    let mut slow = Wire::connect(address, true)?;
    slow.send(b"GET / HTTP/1.1\r\nHost: lo")?;
    until_closed(&mut slow);
    let mut silent = TcpStream::connect(address)?;
    silent.set_read_timeout(Some(Duration::from_secs(60)))?;
    let _ = std::io::Read::read(&mut silent, &mut [0; 16]);
    assert!(begun.elapsed() < Duration::from_secs(30), "neither waits for long");

    let held: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    // The places are given back when those connections have said nothing for too long.
    insist(|| nobody.request("GET", "/api/v1/sign-in", None))?;
    drop(held);
    let ambiguous = insist(|| {
        let mut two = Wire::connect(address, true)?;
        two.send(AMBIGUOUS)?;
        Ok(String::from_utf8_lossy(&until_closed(&mut two)).into_owned())
    })?;
    assert!(!ambiguous.contains("200 OK\r\n") || ambiguous.matches("HTTP/1.1 ").count() == 1, "{ambiguous}");
    let mut clear = TcpStream::connect(address)?;
    std::io::Write::write_all(&mut clear, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut said = Vec::new();
    let _ = std::io::Read::read_to_end(&mut clear, &mut said);
    assert!(!said.starts_with(b"HTTP"), "nothing is served in clear");
    Ok(())
}
