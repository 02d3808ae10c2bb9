//! Bad input and faults, seen from outside: one clear error that names what and where, nothing lost, others served.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Archive, Security, messages, profile};

/// What a command said on standard error, having failed with 1.
fn refusal(program: &Program, arguments: &[&str]) -> Result<String> {
    let output = program.run(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{arguments:?} ended with {}: {said}", output.status);
    Ok(said)
}

fn deliver(gateway: &Program, mailbox: &NewMailbox, message: &[u8]) -> Result<u16> {
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    let reply = client.send("sender@example.org", &[&mailbox.address], message)?;
    client.quit()?;
    Ok(reply.code)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::FileExt;
    Ok(std::fs::OpenOptions::new().write(true).open(path)?.write_all_at(bytes, offset)?)
}

#[test]
fn a_second_daemon_on_the_same_data_names_the_first() -> Result<()> {
    for kind in [Kind::Gateway, Kind::Archiver] {
        let first = Program::started(kind, "")?;
        let said = refusal(&first, &["serve"])?;
        assert!(
            said.contains("process") && said.contains(first.data_dir().to_str().context("text")?),
            "{said}"
        );
        assert_eq!(first.json(&["status"])?["running"], true, "the first goes on");
    }
    Ok(())
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_half_open() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.to_string();
    let gateway = Program::new(Kind::Gateway, "")?;
    let mut command = gateway.command(&["serve"])?;
    let output = command.env("POSTERN_GATEWAY__LISTEN__POP3S", &port).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&port) && said.contains("pop3s") && said.contains("another program"), "{said}");
    Ok(())
}

#[test]
fn a_bad_configuration_names_file_line_and_key() -> Result<()> {
    let gateway = Program::new(Kind::Gateway, "bogus = 1\n")?;
    let said = refusal(&gateway, &["check-config"])?;
    let line = std::fs::read_to_string(gateway.config_file())?.lines().count();
    assert!(said.contains(&format!("config.toml, line {line}, key \"listen.bogus\"")), "{said}");
    let archiver = Program::new(Kind::Archiver, "log_level = \"loud\"\n")?;
    let said = refusal(&archiver, &["status"])?;
    assert!(said.contains("config.toml, line 2, key \"log_level\""), "{said}");
    let usage = gateway.run(&["mailbox", "create"])?;
    assert_eq!(usage.status.code(), Some(2), "wrong usage");
    let gateway = Program::new(Kind::Gateway, "")?;
    let mut command = gateway.command(&["status"])?;
    let output = command.env("POSTERN_GATEWAY__LIMITS__SESSIONS", "many").output()?;
    assert!(String::from_utf8_lossy(&output.stderr).contains("POSTERN_GATEWAY__LIMITS__SESSIONS"));
    Ok(())
}

#[test]
fn an_unreadable_certificate_is_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    let more = format!("[tls]\nmode = \"files\"\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let gateway = Program::new(Kind::Gateway, &more)?;
    let path = certificate.to_str().context("text")?;
    for command in ["serve", "check-config"] {
        assert!(refusal(&gateway, &[command])?.contains(path));
    }
    std::fs::write(&certificate, "garbage")?;
    std::fs::write(&key, "garbage")?;
    assert!(refusal(&gateway, &["serve"])?.contains("no certificate in PEM format"));
    Ok(())
}

#[test]
fn malformed_commands_and_long_lines_cost_an_error_each_and_no_more() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
    assert_eq!(client.command("NONSENSE")?.code, 500);
    assert_eq!(client.command(&"x".repeat(100_000))?.code, 500);
    assert_eq!(client.command("MAIL FROM:<a@b>\0")?.code, 500);
    client.wire.send(b"NOOP\n")?;
    assert_eq!(client.reply()?.code, 500, "a line that ends in LF alone");
    assert_eq!(client.send("a@example.com", &[&mailbox.address], b"Subject: s\r\n\r\nx\r\n")?.code, 250);

    let mut pop3 = Pop3Client::connect(gateway.address("pop3s")?, Security::Implicit)?;
    assert!(pop3.command("NONSENSE").is_err());
    assert!(pop3.command(&"x".repeat(100_000)).is_err());
    pop3.command(&format!("USER {}", mailbox.id))?;
    pop3.command(&format!("PASS {}", mailbox.password))?;
    assert_eq!(pop3.list()?.len(), 1);
    Ok(())
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_next_one_taken() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "[limits]\nmax_message_size = \"100 KiB\"\n")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
    assert!(client.extensions.contains(&"SIZE 102400".to_owned()));
    assert_eq!(client.command("MAIL FROM:<a@b.example> SIZE=102401")?.code, 552);
    assert_eq!(client.send("a@example.com", &[&mailbox.address], &messages::sized(1, 102_401))?.code, 552);
    assert_eq!(client.send("a@example.com", &[&mailbox.address], &messages::sized(2, 102_400))?.code, 250);
    assert_eq!(gateway.json(&["mailbox", "show", &mailbox.id])?["messages"], 1);
    Ok(())
}

#[test]
fn a_broken_mime_tree_is_archived_as_it_is_and_no_header_goes_to_quarantine() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let broken = b"Subject: broken tree\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--a\r\n--b--\r\n\xff\xfe\r\n".as_slice();
    let headless = b"no header at all\r\n\r\njust text\r\n".as_slice();
    let no_original = b"Subject: report\r\nX-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nSender: a@x\r\n--a--\r\n".as_slice();
    for message in [broken, headless, no_original, b""] {
        assert_eq!(deliver(&gateway, &mailbox, message)?, 250);
    }
    let archive = Archive::new(&gateway, &mailbox, &[])?;
    let ran = archive.run()?;
    assert_eq!((&ran["archived"], &ran["failed"]), (&4.into(), &0.into()), "{ran}");
    let hits = archive.search(&["broken", "--user", "unassigned"])?;
    assert_eq!(archive.message(hits[0]["id"].as_str().context("id")?)?, broken);
    let quarantined = archive.search(&["*", "--user", "quarantine"])?;
    let mut raw = Vec::new();
    for hit in &quarantined {
        assert!(hit["quarantined"].is_string(), "it says why: {hit}");
        raw.push(archive.message(hit["id"].as_str().context("id")?)?);
    }
    raw.sort();
    assert_eq!(raw, [b"", no_original, headless]);
    Ok(())
}

#[test]
fn a_wrong_password_is_refused_in_words_and_nothing_is_deleted() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    deliver(&gateway, &mailbox, b"Subject: s\r\n\r\nx\r\n")?;
    let wrong = Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, "wrong");
    assert!(wrong.err().context("let in")?.to_string().contains("[AUTH]"));
    let clear = Pop3Client::login(gateway.address("pop3")?, Security::Clear, &mailbox.id, &mailbox.password);
    assert!(clear.is_err(), "no credential in clear");

    let archive = Archive::new(&gateway, &mailbox, &[])?;
    archive.put_profile(&profile(&gateway, &mailbox, "wrong")?)?;
    let said = refusal(&archive.program, &["profile", "run", "journal", "--instance", "main"])?;
    assert!(said.contains("journal") && said.to_lowercase().contains("password"), "{said}");
    let untrusted = profile(&gateway, &mailbox, &mailbox.password)?.replace("sha256:", "sha256:00");
    let untrusted = untrusted.replacen("sha256:00", "sha256:", 1);
    let pinned = untrusted.split("sha256:").nth(1).context("pin")?;
    let other = untrusted.replace(&pinned[..64], &"0".repeat(64));
    archive.put_profile(&other)?;
    let said = refusal(&archive.program, &["profile", "run", "journal", "--instance", "main"])?;
    assert!(said.contains(&pinned[..64]), "it names the certificate that is shown: {said}");
    assert_eq!(gateway.json(&["mailbox", "show", &mailbox.id])?["messages"], 1);
    Ok(())
}

/// Goal: a record cut short or altered is reported with file and offset; every other message is served.
#[test]
fn a_damaged_spool_record_is_named_and_the_others_are_served() -> Result<()> {
    let mut gateway = Program::started(Kind::Gateway, "")?;
    let (mailbox, other) = (NewMailbox::create(&gateway, "journal")?, NewMailbox::create(&gateway, "other")?);
    for n in 0..3 {
        assert_eq!(deliver(&gateway, &mailbox, &messages::sized(n, 2000))?, 250);
    }
    assert_eq!(deliver(&gateway, &other, &messages::sized(9, 2000))?, 250);
    gateway.stop()?;
    let segment = files(&gateway.data_dir().join("spool/segments"))?.remove(0);
    // In the middle of the first record's body.
    overwrite(&segment, 32 + 68 + 1500, &[0xee; 8])?;
    gateway.start()?;
    let status = gateway.json(&["status"])?;
    let damage = status["damage"][0].as_str().context("no damage told")?;
    assert!(damage.contains(segment.to_str().context("text")?) && damage.contains("at byte 32"), "{damage}");
    assert!(refusal(&gateway, &["doctor"])?.contains("found trouble"));

    let mut client =
        Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password)?;
    let left: Vec<Vec<u8>> =
        client.retrieve_all()?.iter().map(|served| without_trace(served).to_vec()).collect();
    assert_eq!(left, [messages::sized(1, 2000), messages::sized(2, 2000)]);
    client.quit()?;
    let mut client =
        Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &other.id, &other.password)?;
    assert_eq!(client.list()?.len(), 1);
    assert_eq!(deliver(&gateway, &mailbox, &messages::sized(4, 2000))?, 250);
    Ok(())
}

#[test]
fn a_corrupt_pack_is_named_and_the_others_are_read() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    for n in 0..2 {
        deliver(&gateway, &mailbox, &messages::sized(n, 2000))?;
    }
    let archive = Archive::new(&gateway, &mailbox, &[])?;
    archive.run()?;
    let pack = files(&archive.program.data_dir().join("instances/main/stores/0001/packs"))?.remove(0);
    overwrite(&pack, 32 + 48 + 20, &[0xee; 4])?;
    let hits = archive.search(&["*"])?;
    let results: Vec<Result<Vec<u8>>> =
        hits.iter().map(|hit| archive.message(hit["id"].as_str().unwrap_or_default())).collect();
    let (read, damaged): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((read.len(), damaged.len()), (1, 1));
    let said = format!("{:#}", damaged.into_iter().next().and_then(Result::err).context("no error")?);
    assert!(said.contains(pack.to_str().context("text")?) && said.contains("at byte 32"), "{said}");
    Ok(())
}

/// Goal: what got a 250 survives kill -9, and a message half sent does not appear.
#[test]
fn what_was_acknowledged_survives_kill_9() -> Result<()> {
    let mut gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut expected = Vec::new();
    for round in 0..5 {
        let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
        for (n, bytes) in [(0, 700), (1, 5000), (2, 600_000)] {
            let message = messages::sized(round * 10 + n, bytes);
            ensure!(client.send("a@example.com", &[&mailbox.address], &message)?.code == 250);
            expected.push(message);
        }
        client.command("MAIL FROM:<>")?;
        client.command(&format!("RCPT TO:<{}>", mailbox.address))?;
        client.command("DATA")?;
        client.wire.send(&messages::sized(99, 500_000))?;
        gateway.kill()?;
        gateway.start()?;
    }
    let mut client =
        Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password)?;
    let served: Vec<Vec<u8>> =
        client.retrieve_all()?.iter().map(|served| without_trace(served).to_vec()).collect();
    assert!(served == expected, "{} of {} messages", served.len(), expected.len());
    Ok(())
}

/// Goal: a run that dies anywhere loses nothing, and the next one archives each message once.
#[test]
fn a_run_that_is_killed_is_repeated_without_loss_or_doubles() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
    for n in 0..400 {
        ensure!(client.send("a@example.com", &[&mailbox.address], &messages::sized(n, 4000))?.code == 250);
    }
    let archive = Archive::new(&gateway, &mailbox, &[])?;
    let packs = archive.program.data_dir().join("instances/main/stores/0001/packs");
    for _ in 0..3 {
        let mut command = archive.program.command(&["profile", "run", "journal", "--instance", "main"])?;
        let mut child =
            command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn()?;
        let written = |dir: &Path| {
            files(dir).map(|all| all.iter().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum::<u64>())
        };
        let before = written(&packs).unwrap_or(0);
        // Somewhere behind the first batch, or at its end when it is quick.
        while child.try_wait()?.is_none() && written(&packs).unwrap_or(0) == before {
            std::thread::yield_now();
        }
        child.kill()?;
        child.wait()?;
    }
    archive.run()?;
    let hits = archive.search(&["*", "--limit", "1000"])?;
    assert_eq!(hits.len(), 400);
    assert_eq!(gateway.json(&["mailbox", "show", &mailbox.id])?["messages"], 0);
    Ok(())
}
