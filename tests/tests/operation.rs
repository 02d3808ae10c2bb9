//! What operators see: metrics, health, logs, `status` and `doctor`.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postern_tests::pop3::Pop3Client;
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::prometheus::{Scrape, get, request};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Security, Wire, messages};
use serde_json::Value;

/// The first line goes on in the table `[listen]`.
const MONITORED: &str = "metrics = \"127.0.0.1:0\"\n";

fn scrape(gateway: &Program) -> Result<Scrape> {
    let (status, body) = get(gateway.address("metrics")?, "/metrics")?;
    ensure!(status == 200, "{status}");
    Scrape::parse(&body)
}

/// Asks until the answer is right: what is awaited happens after the client has its answer.
fn eventually(right: impl Fn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !right()? {
        ensure!(start.elapsed() < Duration::from_secs(30), "it never became so");
        std::thread::yield_now();
    }
    Ok(())
}

/// Goal: what happened between two scrapes is what the second tells more than the first.
/// Method: mail by three listeners, each refusal once, logins good and bad; then the differences.
#[test]
fn metrics_tell_what_happened() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, MONITORED)?;
    let (one, two) = (NewMailbox::create(&gateway, "one")?, NewMailbox::create(&gateway, "two")?);
    gateway.json(&["mailbox", "edit", &two.id, "--status", "suspended"])?;
    let before = scrape(&gateway)?;

    let message = messages::sized(1, 5_000);
    let mut tls = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    assert_eq!(tls.send("a@example.com", &[&one.address], &message)?.code, 250);
    let mut clear = SmtpClient::connect(gateway.address("submission")?, Security::Clear)?;
    // Above the size from which a message has a file of its own.
    assert_eq!(clear.send("a@example.com", &[&one.address], &messages::sized(2, 400_000))?.code, 250);
    assert_eq!(clear.send("a@example.com", &[&two.address], &message)?.code, 450);
    assert_eq!(
        clear.send("a@example.com", &["mbx-0000000000000000@gateway.example.com"], &message)?.code,
        550
    );
    assert_eq!(clear.send("a@example.com", &["anna@example.com"], &message)?.code, 550);
    assert_eq!(clear.command("MAIL FROM:<a@example.com> SIZE=999999999999")?.code, 552);
    assert_eq!(clear.command("NONSENSE")?.code, 500);
    clear.quit()?;
    // Not a TLS handshake.
    Wire::connect(gateway.address("smtps")?, false)?.send(b"EHLO client.example.org\r\n")?;

    let pop3s = gateway.address("pop3s")?;
    assert!(Pop3Client::login(pop3s, Security::Implicit, &one.id, "wrong").is_err());
    let mut archiver = Pop3Client::login(pop3s, Security::Implicit, &one.id, &one.password)?;
    assert_eq!(archiver.retrieve_all()?.len(), 2);
    archiver.command("DELE 1")?;
    archiver.quit()?;

    eventually(|| {
        let closed = |name: &str| format!("postern_gateway_sessions_open{{listener=\"{name}\"}}");
        let after = scrape(&gateway)?;
        let failed = after.value("postern_gateway_tls_handshake_failures_total")?;
        Ok(failed == 1.0
            && after.value(&closed("submission"))? == 0.0
            && after.value(&closed("pop3s"))? == 0.0)
    })?;
    let after = scrape(&gateway)?;
    let expected = [
        ("messages_accepted_total", 2.0),
        ("message_copies_total", 2.0),
        ("content_bytes_accepted_total", (message.len() + messages::sized(2, 400_000).len()) as f64),
        ("commit_seconds_count", 2.0),
        ("smtp_refusals_total{reason=\"suspended\"}", 1.0),
        ("smtp_refusals_total{reason=\"unknown_mailbox\"}", 1.0),
        ("smtp_refusals_total{reason=\"relay\"}", 1.0),
        ("smtp_refusals_total{reason=\"too_large\"}", 1.0),
        ("smtp_refusals_total{reason=\"protocol\"}", 1.0),
        ("smtp_refusals_total{reason=\"local_error\"}", 0.0),
        ("spool_group_records_sum", 3.0),
        ("spool_group_failures_total", 0.0),
        ("sessions_total{listener=\"smtp\"}", 1.0),
        ("sessions_total{listener=\"pop3s\"}", 2.0),
        ("sessions_open{listener=\"smtp\"}", 1.0),
        ("tls_handshakes_total{version=\"1.3\"}", 3.0),
        ("pop3_logins_total{result=\"ok\"}", 1.0),
        ("pop3_logins_total{result=\"wrong_password\"}", 1.0),
        ("pop3_messages_served_total", 2.0),
        ("pop3_messages_deleted_total", 1.0),
    ];
    for (series, grown) in expected {
        assert_eq!(after.growth(&before, &format!("postern_gateway_{series}"))?, grown, "{series}");
    }
    let waiting = |mailbox: &NewMailbox, what: &str| {
        after.value(&format!("postern_gateway_spool_{what}{{mailbox=\"{}\"}}", mailbox.id))
    };
    assert_eq!((waiting(&one, "messages")?, waiting(&two, "messages")?), (1.0, 0.0));
    assert!(waiting(&one, "bytes")? > 400_000.0 && waiting(&one, "oldest_message_age_seconds")? < 600.0);
    assert_eq!(after.value("postern_gateway_ready")?, 1.0);
    assert!(after.growth(&before, "postern_gateway_spool_group_bytes_total")? > 5_000.0);
    Ok(())
}

/// Goal: whoever builds an alert finds each metric in the manual, and the manual names none that is not there.
#[test]
fn every_metric_is_documented() -> Result<()> {
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/monitoring.md"))?;
    let gateway = Program::started(Kind::Gateway, MONITORED)?;
    NewMailbox::create(&gateway, "journal")?;
    let scrape = scrape(&gateway)?;
    for name in scrape.families.keys() {
        let short = name.strip_prefix("postern_gateway_").context("the prefix")?;
        assert!(manual.contains(&format!("| `{short}")), "{short} is not in docs/monitoring.md");
    }
    let rows = manual.lines().skip_while(|line| *line != "| metric (`postern_gateway_…`) | what | unit |");
    for row in rows.skip(2).take_while(|row| row.starts_with('|')) {
        let name = row.trim_start_matches("| `").split(['`', '{']).next().unwrap_or_default();
        assert!(scrape.families.contains_key(&format!("postern_gateway_{name}")), "{name} is not there");
    }
    Ok(())
}

#[test]
fn health_is_told_and_everything_else_refused() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, MONITORED)?;
    let address = gateway.address("metrics")?;
    assert_eq!(get(address, "/healthz")?, (200, "alive\n".into()));
    assert_eq!(get(address, "/readyz")?, (200, "ready\n".into()));
    assert_eq!(get(address, "/")?.0, 404);
    assert_eq!(request(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")?.0, 405);
    assert_eq!(request(address, "HEAD /readyz HTTP/1.0\r\n\r\n")?, (200, String::new()));
    assert_eq!(request(address, "EHLO client.example.org\r\n\r\n")?.0, 400);
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(!request(address, &long).is_ok_and(|(status, _)| status == 200), "a header beyond the limit");
    Ok(())
}

/// Goal: clients that connect and say nothing, as many as are let in, keep others out for a few seconds only.
#[test]
fn idle_connections_do_not_block_monitoring() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, MONITORED)?;
    let address = gateway.address("metrics")?;
    let idle: Vec<Wire> = (0..16).map(|_| Wire::connect(address, false)).collect::<Result<_>>()?;
    assert_eq!(get(address, "/healthz")?.0, 200);
    drop(idle);
    Ok(())
}

#[test]
fn metrics_are_off_unless_asked_for() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    assert!(gateway.json(&["status"])?["listening"]["metrics"].is_null());
    Ok(())
}

/// Goal: all lines of one session, and only they, carry its id; the level changes while the daemon runs, and a restart
/// forgets that.
#[test]
fn a_session_can_be_found_in_the_log() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("logs/gateway.log");
    let mut gateway = Program::new(Kind::Gateway, &format!("[log]\nfile = {file:?}\n"))?;
    let config = std::fs::read_to_string(gateway.config_file())?;
    std::fs::write(gateway.config_file(), format!("log_format = \"json\"\n{config}"))?;
    gateway.start()?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let lines = || -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&file)?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    };
    let debug = |lines: &[Value]| lines.iter().filter(|line| line["level"] == "DEBUG").count();
    let deliver = || -> Result<()> {
        let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
        for n in 0..2 {
            let reply = client.send("a@example.com", &[&mailbox.address], &messages::sized(n, 900))?;
            ensure!(reply.code == 250);
        }
        Ok(())
    };
    deliver()?;
    deliver()?;
    let logged = lines()?;
    let stored: Vec<&Value> = logged.iter().filter(|line| line["message"] == "message on disk").collect();
    let id = |at: usize| stored[at]["span"]["id"].as_str().context("no session id");
    assert_eq!(stored.len(), 4);
    assert!(id(0)? == id(1)? && id(2)? == id(3)? && id(0)? != id(2)?, "{stored:?}");
    assert_eq!(stored[0]["span"]["listener"], "smtp");
    assert_eq!(debug(&logged), 0);

    assert_eq!(gateway.json(&["log-level"])?["log_level"], "info");
    assert_eq!(gateway.json(&["log-level", "debug"])?["log_level"], "debug");
    assert_eq!(gateway.json(&["status"])?["log_level"], "debug");
    deliver()?;
    assert!(debug(&lines()?) > 0);
    assert_eq!(gateway.run(&["log-level", "loud"])?.status.code(), Some(2), "wrong usage");
    ensure!(gateway.stop()?.success());
    let said = gateway.run(&["log-level", "debug"])?;
    assert!(String::from_utf8_lossy(&said.stderr).contains("no daemon is running"));
    gateway.start()?;
    assert_eq!(gateway.json(&["log-level"])?["log_level"], "info");
    assert_eq!(gateway.log(), "", "nothing is left for standard error");
    Ok(())
}

#[test]
fn status_shows_what_waits_and_who_is_there() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
    assert_eq!(client.send("a@example.com", &[&mailbox.address], &messages::sized(1, 900))?.code, 250);
    let status = gateway.json(&["status"])?;
    assert_eq!(status["waiting"][0]["id"], mailbox.id.as_str());
    assert_eq!(status["waiting"][0]["messages"], 1);
    assert_eq!(status["sessions"]["smtp"], 1);
    assert!(status["uptime_seconds"].as_u64().is_some_and(|seconds| seconds < 600), "{status}");
    let text = String::from_utf8(gateway.run(&["status"])?.stdout)?;
    for expected in [env!("CARGO_PKG_VERSION"), "127.0.0.1:", "1 sessions", &mailbox.id, "uptime"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    Ok(())
}

fn verdicts(gateway: &Program) -> Result<(bool, std::collections::BTreeMap<String, Value>)> {
    let output = gateway.run(&["--json", "doctor"])?;
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let by_check = findings.into_iter().map(|finding| (finding["check"].to_string(), finding));
    Ok((
        output.status.success(),
        by_check.map(|(check, finding)| (check.replace('"', ""), finding)).collect(),
    ))
}

/// Goal: `doctor` is content with a fresh gateway, running or not, and names each trouble with what to do.
/// Method: healthy first; then an open key, a lost certificate, a taken port. The DNS is the machine's, so it may
/// warn, but never fail.
#[test]
fn the_doctor_names_trouble_and_what_to_do() -> Result<()> {
    let mut gateway = Program::new(Kind::Gateway, "")?;
    let (ok, found) = verdicts(&gateway)?;
    assert!(!ok && found["data directory"]["advice"].as_str().is_some_and(|advice| advice.contains("init")));
    gateway.json(&["init"])?;
    assert!(verdicts(&gateway)?.0, "{:?}", verdicts(&gateway)?.1);
    gateway.start()?;
    let (ok, found) = verdicts(&gateway)?;
    assert!(ok, "{found:?}");
    for check in [
        "permissions",
        "disk writes",
        "certificate",
        "stored data",
        "ports",
        "certificate at the ports",
        "clock",
    ] {
        assert_eq!(found[check]["verdict"], "ok", "{}", found[check]);
    }
    assert_ne!(found["DNS of the e-mail domain"]["verdict"], "fail");
    assert!(found["ports"]["found"].as_str().is_some_and(|text| text.contains("pop3s 127.0.0.1:")));

    let key = gateway.data_dir().join("tls/self-signed.key.pem");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let text = gateway.run(&["doctor"])?;
    assert_eq!(text.status.code(), Some(1));
    let text = String::from_utf8(text.stdout)?;
    assert!(text.contains("FAIL  permissions") && text.contains("-> chmod -R go= "), "{text}");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;

    for file in ["tls/self-signed.key.pem", "tls/self-signed.crt.pem"] {
        std::fs::remove_file(gateway.data_dir().join(file))?;
    }
    gateway.signal("HUP")?;
    eventually(|| Ok(verdicts(&gateway)?.1["certificate"]["verdict"] == "warn"))?;
    let (ok, found) = verdicts(&gateway)?;
    assert!(ok && found["certificate"]["found"].as_str().is_some_and(|text| text.contains("served on")));
    let shown = &found["certificate at the ports"];
    assert_eq!(shown["verdict"], "ok", "{found:?}");
    assert!(shown["found"].as_str().is_some_and(|shown| shown.contains(" console, ")), "{shown}");
    gateway.stop()?;

    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut command = gateway.command(&["doctor"])?;
    let output = command.env("POSTERN_GATEWAY__LISTEN__POP3", taken.local_addr()?.to_string()).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(!output.status.success() && text.contains("another program listens there"), "{text}");
    Ok(())
}

/// Goal: whoever restores under another e-mail domain is told before mail for the old addresses is refused for good.
#[test]
fn a_restore_under_another_domain_says_what_to_set() -> Result<()> {
    let gateway = Program::new(Kind::Gateway, "")?;
    NewMailbox::create(&gateway, "journal")?;
    let dir = tempfile::tempdir()?;
    let place = dir.path().join("backup").display().to_string();
    gateway.json(&["backup", &place])?;
    let next = |domain: &str| -> Result<String> {
        let other = Program::new(Kind::Gateway, "")?;
        let text = std::fs::read_to_string(other.config_file())?;
        std::fs::write(other.config_file(), text.replace("gateway.example.com", domain))?;
        Ok(other.json(&["restore", &place])?["next"][0].to_string())
    };
    let told = next("other.example.com")?;
    assert!(told.contains("Set email_domain") && told.contains("gateway.example.com"), "{told}");
    let told = next("gateway.example.com")?;
    assert!(!told.contains("email_domain"), "{told}");
    Ok(())
}
