//! Reading the configuration again while the daemon runs: SIGHUP and `postern-gateway reload`.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postern_tests::Security;
use postern_tests::messages::plain;
use postern_tests::pop3::Pop3Client;
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);

fn eventually(what: &str, mut test: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !test()? {
        ensure!(start.elapsed() < MINUTE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Puts `tables` behind what every configuration begins with.
fn configure(gateway: &Program, tables: &str) -> Result<()> {
    let text = std::fs::read_to_string(gateway.config_file())?;
    let start = text.find("\n# more\n").map_or(text.as_str(), |at| &text[..at]);
    std::fs::write(gateway.config_file(), format!("{start}\n# more\n{tables}"))?;
    Ok(())
}

fn lines_of(log: &str, what: &str) -> usize {
    log.lines().filter(|line| line.contains(what)).count()
}

/// The octets that a new session announces as its limit.
fn size(smtp: SocketAddr) -> Result<Option<u64>> {
    let mut client = SmtpClient::connect(smtp, Security::StartTls)?;
    let lines = client.command("EHLO test")?.lines;
    client.quit()?;
    Ok(lines.iter().find_map(|line| line.strip_prefix("SIZE ")?.trim().parse().ok()))
}

/// Goal: `reload` says what counts now and what waits, until there was a restart; sessions go on as they began.
/// Method: a session inside a transaction, and a maildrop held, over a change of limits, log level and a listener.
#[test]
fn a_reload_counts_for_the_next_sessions_and_ends_none() -> Result<()> {
    let mut gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut sender = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    assert_eq!(sender.command("MAIL FROM:<a@example.com>")?.code, 250);
    let login =
        || Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password);
    let mut holder = login()?;
    assert_eq!(gateway.json(&["reload"])?["changed"], json!([]));

    configure(
        &gateway,
        "metrics = \"127.0.0.1:0\"\n[limits]\nmax_message_size = \"1 MiB\"\nsessions_per_address = 7\n",
    )?;
    let text = gateway.run(&["reload"])?;
    let text = String::from_utf8(text.stdout)?;
    assert!(text.contains("changed: limits.max_message_size, limits.sessions_per_address"), "{text}");
    assert!(text.contains("after a restart: listen.metrics"), "{text}");
    let again = gateway.json(&["reload"])?;
    assert_eq!((&again["changed"], &again["needs_restart"]), (&json!([]), &json!(["listen.metrics"])));
    assert_eq!(size(gateway.address("smtp")?)?, Some(1 << 20));
    assert!(gateway.log().contains("these changes count after a restart only keys=\"listen.metrics\""));

    // The session before has the limit it began with, and its transaction.
    assert_eq!(sender.command(&format!("RCPT TO:<{}>", mailbox.address))?.code, 250);
    assert_eq!(sender.command("DATA")?.code, 354);
    assert_eq!(sender.command("Subject: s\r\n\r\nx\r\n.")?.code, 250);
    assert!(login().is_err_and(|error| error.to_string().contains("IN-USE")), "a lock holds over a reload");
    assert_eq!(holder.list()?.len(), 0, "its snapshot is from before");
    holder.quit()?;
    assert_eq!(login()?.list()?.len(), 1);

    gateway.stop()?;
    gateway.start()?;
    let after = gateway.json(&["reload"])?;
    assert_eq!((&after["changed"], &after["needs_restart"]), (&json!([]), &json!([])));
    gateway.stop()?;
    assert!(gateway.json(&["reload"]).is_err_and(|error| error.to_string().contains("no daemon is running")));
    Ok(())
}

/// Goal: with a mistake anywhere nothing changes, and file, line, key and mistake are told.
/// Method: files that cannot be read, in each way that is found at another step, each with a good change beside the mistake.
#[test]
fn a_bad_configuration_changes_nothing() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    // A command reads the configuration too, so the address is asked for while that is good.
    let smtp = gateway.address("smtp")?;
    let before = size(smtp)?;
    let good = "[limits]\nmax_message_size = \"1 MiB\"\n";
    for (bad, told) in [
        ("sessions = 0\n", "limits.sessions"),
        ("bogus = 1\n", "bogus"),
        ("sessions = \n", "line"),
        ("[proxy]\ntrust = \"file:/none/ca.pem\"\n", "/none/ca.pem"),
        ("[tls]\nmode = \"files\"\ncertificate = \"/none.pem\"\nkey = \"/none.key\"\n", "/none.pem"),
        ("[log]\nfile = \"/proc/none/gateway.log\"\n", "log.file"),
    ] {
        configure(&gateway, &format!("{good}{bad}"))?;
        let told_to = lines_of(&gateway.log(), "everything goes on as it was");
        gateway.signal("HUP")?;
        eventually(bad, || Ok(lines_of(&gateway.log(), "everything goes on as it was") > told_to))?;
        let log = gateway.log();
        let line =
            log.lines().rfind(|line| line.contains("everything goes on as it was")).context("no line")?;
        assert!(line.contains(told), "{bad}: {line}");
        let answer = gateway.run(&["reload"])?;
        let error = String::from_utf8(answer.stderr)?;
        assert!(!answer.status.success() && error.contains(told), "{bad}: {error}");
        assert_eq!(size(smtp)?, before, "{bad}");
    }
    configure(&gateway, good)?;
    gateway.json(&["reload"])?;
    assert_eq!(size(smtp)?, Some(1 << 20));
    Ok(())
}

/// Goal: a mistake in the file keeps nobody from a daemon that runs, health checks above all; and without one it is told.
#[test]
fn a_running_daemon_answers_beside_a_mistake() -> Result<()> {
    let mut gateway = Program::started(Kind::Gateway, "")?;
    configure(&gateway, "bogus = 1\n")?;
    let health = gateway.run(&["health"])?;
    let noted = String::from_utf8(health.stderr)?;
    assert!(health.status.success() && noted.contains("note: ") && noted.contains("bogus"), "{noted}");
    assert_eq!(gateway.json(&["status"])?["running"], true);
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    assert!(mailbox.address.ends_with("@gateway.example.com"));
    assert!(gateway.json(&["check-config"]).is_err());
    gateway.stop()?;
    for command in [&["health"][..], &["status"], &["mailbox", "create", "--name", "x"]] {
        let refused = gateway.json(command).map_err(|error| error.to_string());
        assert!(refused.as_ref().is_err_and(|error| error.contains("bogus")), "{refused:?}");
    }
    Ok(())
}

/// Goal: SIGHUP ends no gateway, also while it starts.
/// Method: the signal once it is caught, while a command's lock on the data directory still holds the start up.
#[test]
fn a_hangup_ends_no_gateway_that_starts() -> Result<()> {
    let mut gateway = Program::new(Kind::Gateway, "")?;
    // The start waits for this lock, so the signal comes amid it.
    let held = postern_shared::data_dir::lock(
        &postern_shared::disk::RealDisk,
        &gateway.data_dir(),
        "postern-gateway",
        postern_shared::data_dir::Holder::Command,
    )?;
    gateway.spawn()?;
    eventually("it listens to SIGHUP", || gateway.catches_hangup())?;
    gateway.signal("HUP")?;
    drop(held);
    eventually("it serves", || Ok(gateway.log().contains("serving fingerprint")))?;
    eventually("it reads again", || Ok(gateway.log().contains("the configuration was read again")))?;
    assert!(gateway.stop()?.success());
    Ok(())
}

/// Goal: certificate files that became unusable are told, fail the command, and keep nothing else from counting.
#[test]
fn an_unusable_certificate_keeps_no_other_change_waiting() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let (ours, other) = (pair()?, pair()?);
    std::fs::write(&certificate, ours.cert.pem())?;
    std::fs::write(&key, ours.signing_key.serialize_pem())?;
    let tls = format!("[tls]\nmode = \"files\"\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let gateway = Program::started(Kind::Gateway, &tls)?;
    let smtp = gateway.address("smtp")?;
    std::fs::write(&key, other.signing_key.serialize_pem())?;
    let text = std::fs::read_to_string(gateway.config_file())?;
    std::fs::write(gateway.config_file(), format!("{text}[limits]\nmax_message_size = \"1 MiB\"\n"))?;
    let reload = gateway.run(&["reload"])?;
    let (said, error) = (String::from_utf8(reload.stdout)?, String::from_utf8(reload.stderr)?);
    assert!(said.contains("changed: limits.max_message_size"), "{said}{error}");
    assert!(!reload.status.success() && error.contains("the old certificate is served on"), "{error}");
    assert_eq!(size(smtp)?, Some(1 << 20));
    // Other files than before are part of the configuration.
    let text = std::fs::read_to_string(gateway.config_file())?.replace("k.pem", "none.pem");
    std::fs::write(gateway.config_file(), text.replace("1 MiB", "2 MiB"))?;
    assert!(gateway.json(&["reload"]).is_err_and(|error| error.to_string().contains("none.pem")));
    assert_eq!(size(smtp)?, Some(1 << 20));
    Ok(())
}

/// Goal: reloads under load cost no message and no session.
/// Method: senders that go on without a pause while the daemon reloads between two configurations; every message that was
/// acknowledged is there, and no session was refused or cut.
#[test]
fn reloads_under_load_cost_nothing() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let address = gateway.address("smtp")?;
    let over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..3)
        .map(|number| {
            let (over, to) = (Arc::clone(&over), mailbox.address.clone());
            std::thread::spawn(move || -> Result<usize> {
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    let mut client = SmtpClient::connect(address, Security::StartTls)?;
                    for message in 0..5 {
                        let text =
                            plain(number * 1_000_000 + sent + message, "a@example.com", &to, "s", "x\r\n");
                        let reply = client.send("a@example.com", &[&to], &text)?;
                        ensure!(reply.code == 250, "{reply:?}");
                    }
                    client.quit()?;
                    sent += 5;
                }
                Ok(sent)
            })
        })
        .collect();
    for round in 0..20 {
        configure(
            &gateway,
            &format!(
                "[limits]\nsessions = {}\nlogins_at_once = {}\n[proxy]\nenabled = {}\n",
                100 + round,
                1 + round % 2,
                round % 2 == 0
            ),
        )?;
        let answer = gateway.json(&["reload"])?;
        assert!(
            answer["changed"].as_array().is_some_and(|keys| keys.contains(&"limits.sessions".into())),
            "{answer}"
        );
    }
    over.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for sender in senders {
        sent += sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
    }
    assert!(sent > 0);
    let waiting = &gateway.json(&["mailbox", "show", &mailbox.id])?["messages"];
    assert_eq!(waiting.as_u64(), Some(sent as u64));
    Ok(())
}

/// Goal: level and file of the log change with a reload, and a file that was moved away is begun anew.
#[test]
fn the_log_moves_and_is_opened_anew() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let file = gateway.data_dir().with_file_name("gateway.log");
    configure(&gateway, &format!("[log]\nfile = {file:?}\n"))?;
    let answer = gateway.json(&["reload"])?;
    assert_eq!(answer["changed"], json!(["log.file"]));
    eventually("the file is written", || Ok(read(&file).contains("read again")))?;
    let moved = file.with_extension("moved");
    std::fs::rename(&file, &moved)?;
    gateway.signal("HUP")?;
    eventually("it is begun anew", || Ok(read(&file).contains("read again")))?;

    let text = std::fs::read_to_string(gateway.config_file())?;
    std::fs::write(gateway.config_file(), format!("log_level = \"debug\"\n{text}"))?;
    assert_eq!(gateway.json(&["reload"])?["changed"], json!(["log_level"]));
    assert_eq!(gateway.json(&["log-level"])?["log_level"], "debug");
    Ok(())
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
