//! Mailboxes as an operator handles them, with and without a running daemon.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use anyhow::{Context, Result, ensure};
use postern_tests::Security;
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;

const MESSAGE: &[u8] = b"Subject: s\r\n\r\nx\r\n";

fn refused(gateway: &Program, arguments: &[&str]) -> Result<String> {
    Ok(gateway.json(arguments).err().context("it was not refused")?.to_string())
}

fn drain(gateway: &Program, mailbox: &NewMailbox) -> Result<usize> {
    let mut client =
        Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password)?;
    let count = client.list()?.len();
    for number in 1..=count {
        client.command(&format!("DELE {number}"))?;
    }
    client.quit()?;
    Ok(count)
}

#[test]
fn a_mailbox_lives_from_create_to_delete() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let id = mailbox.id.as_str();
    assert_eq!(mailbox.address, format!("{id}@gateway.example.com"));
    assert!(
        refused(&gateway, &["mailbox", "delete", id])?.contains("--status suspended"),
        "it says what to do"
    );
    assert!(refused(&gateway, &["mailbox", "reset-password", id])?.contains("suspend it first"));

    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    ensure!(client.send("", &[&mailbox.address], MESSAGE)?.code == 250);
    let edited =
        gateway.json(&["mailbox", "edit", id, "--status", "suspended", "--name", "Journal of all"])?;
    assert_eq!(
        (edited["status"].as_str(), edited["name"].as_str()),
        (Some("suspended"), Some("Journal of all"))
    );
    let reply = client.send("", &[&mailbox.address], MESSAGE)?;
    assert_eq!((reply.code, &reply.lines[0][..5]), (450, "4.2.1"));
    assert!(refused(&gateway, &["mailbox", "delete", id])?.contains("holds 1 messages"));

    assert_eq!(drain(&gateway, &mailbox)?, 1, "what waits in a suspended mailbox can be pulled");
    let reset = gateway.json(&["mailbox", "reset-password", id])?;
    let renewed =
        NewMailbox { password: reset["password"].as_str().context("none")?.to_owned(), ..mailbox.clone() };
    assert_ne!(renewed.password, mailbox.password);
    assert!(drain(&gateway, &mailbox).is_err(), "the old password is void");
    gateway.json(&["mailbox", "edit", id, "--status", "active"])?;
    ensure!(client.send("", &[&mailbox.address], MESSAGE)?.code == 250);
    assert_eq!(drain(&gateway, &renewed)?, 1);

    gateway.json(&["mailbox", "edit", id, "--status", "suspended"])?;
    gateway.json(&["mailbox", "delete", id])?;
    let reply = client.send("", &[&mailbox.address], MESSAGE)?;
    assert_eq!((reply.code, &reply.lines[0][..5]), (550, "5.1.1"));
    assert_eq!(gateway.json(&["mailbox", "list"])?, serde_json::json!([]));
    assert!(refused(&gateway, &["mailbox", "show", id])?.contains("there is no mailbox"));
    Ok(())
}

#[test]
fn only_our_own_mailboxes_receive() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let id = &mailbox.id;
    let mut client = SmtpClient::connect(gateway.address("submission")?, Security::StartTls)?;
    let cases = [
        (format!("{id}@GATEWAY.example.com"), 250, "2.1.5"),
        (format!("{}@gateway.example.com", id.to_uppercase()), 250, "2.1.5"),
        (format!("{id}+anna=example.com@gateway.example.com"), 250, "2.1.5"),
        ("mbx-0000000000000000@gateway.example.com".into(), 550, "5.1.1"),
        ("postmaster".into(), 550, "5.1.1"),
        ("anna@example.com".into(), 550, "5.7.1"),
        (format!("{id}@example.com"), 550, "5.7.1"),
        ("anna%example.com@gateway.example.com".into(), 550, "5.1.1"),
        ("@gateway.example.com:anna@example.com".into(), 550, "5.7.1"),
        (format!("{id}@[127.0.0.1]"), 550, "5.7.1"),
    ];
    client.command("MAIL FROM:<a@example.com>")?;
    for (address, code, enhanced) in cases {
        let reply = client.command(&format!("RCPT TO:<{address}>"))?;
        assert_eq!((reply.code, &reply.lines[0][..5]), (code, enhanced), "{address}");
    }
    Ok(())
}

#[test]
fn commands_work_without_a_daemon() -> Result<()> {
    let mut gateway = Program::new(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    assert_eq!(gateway.json(&["status"])?["running"], false);
    assert_eq!(gateway.json(&["mailbox", "list"])?[0]["id"], mailbox.id.as_str());
    gateway.start()?;
    assert_eq!(gateway.json(&["status"])?["running"], true);
    assert_eq!(gateway.json(&["mailbox", "show", &mailbox.id])?["name"], "journal");
    assert!(gateway.stop()?.success(), "SIGTERM ends it with 0");
    Ok(())
}

/// Goal: with a recovery key, a lost password loses no mail; without one, nothing but the password opens it.
#[test]
fn a_recovery_key_opens_what_a_lost_password_cannot() -> Result<()> {
    let mut gateway = Program::new(Kind::Gateway, "")?;
    let key = gateway.config_file().with_file_name("recovery");
    let key = key.to_str().context("text")?;
    gateway.json(&["recovery-key", "generate", key])?;
    let public = format!("{key}.pub");
    let with = gateway.json(&["mailbox", "create", "--name", "with", "--recovery-key", &public])?;
    let without = NewMailbox::create(&gateway, "without")?;
    let id = with["id"].as_str().context("no id")?;
    gateway.start()?;
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    let address = with["address"].as_str().context("no address")?;
    ensure!(client.send("", &[address, &without.address], MESSAGE)?.code == 250);
    gateway.stop()?;

    let out = gateway.config_file().with_file_name("recovered");
    let out_text = out.to_str().context("text")?;
    let recovered = gateway.json(&["mailbox", "recover", id, "--key", key, "--out", out_text])?;
    assert_eq!(recovered["recovered"], 1);
    let file = out.read_dir()?.next().context("no file")??.path();
    assert_eq!(without_trace(&std::fs::read(file)?), MESSAGE);
    let said = refused(&gateway, &["mailbox", "recover", &without.id, "--key", key, "--out", out_text])?;
    assert!(said.contains("sealed without a recovery key"), "{said}");
    Ok(())
}
