//! Who may send what to a mailbox, and what is kept of where a message came from.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use anyhow::{Context, Result, ensure};
use postern_tests::Security;
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::{SmtpClient, SmtpReply};

const MESSAGE: &[u8] = b"From: anna@example.com\r\nSubject: s\r\n\r\nx\r\n";

fn send(gateway: &Program, security: Security, mailbox: &NewMailbox, message: &[u8]) -> Result<SmtpReply> {
    let mut client = SmtpClient::connect(gateway.address("smtp")?, security)?;
    client.send("anna@example.com", &[&mailbox.address], message)
}

/// Goal: an operator closes and opens a mailbox on a running gateway, and its senders are told why.
/// Method: each rule is set on the command line and tried over the wire, one after the other.
#[test]
fn a_mailbox_takes_what_its_policy_allows() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let edit =
        |arguments: &[&str]| gateway.json(&[&["mailbox", "edit", mailbox.id.as_str()], arguments].concat());
    let told = |security, message: &[u8]| -> Result<(u16, String)> {
        let reply = send(&gateway, security, &mailbox, message)?;
        Ok((reply.code, reply.lines[0].clone()))
    };
    assert_eq!(told(Security::Clear, MESSAGE)?.0, 250, "a new mailbox is open");

    let shown = edit(&["--allow-network", "192.0.2.0/24", "--allow-network", "2001:db8::1"])?;
    assert_eq!(shown["networks"], serde_json::json!(["192.0.2.0/24", "2001:db8::1/128"]));
    let (code, text) = told(Security::StartTls, MESSAGE)?;
    assert_eq!((code, text.as_str()), (550, "5.7.1 Client address not allowed for this mailbox"));

    let networks = gateway.config_file().with_file_name("goog.json");
    std::fs::write(&networks, br#"{ "prefixes": [ { "ipv4Prefix": "127.0.0.0/8" } ] }"#)?;
    let networks = networks.to_str().context("text")?;
    let shown = edit(&["--allow-preset", "google", "--networks-from", networks, "--require-tls", "yes"])?;
    assert_eq!(shown["presets"]["google"], serde_json::json!(["127.0.0.0/8"]));
    let (code, text) = told(Security::Clear, MESSAGE)?;
    assert_eq!((code, text.as_str()), (530, "5.7.0 Must issue a STARTTLS command first"));
    assert_eq!(told(Security::StartTls, MESSAGE)?.0, 250);

    edit(&["--any-network", "--require-tls", "no", "--max-message-size", "1 KiB"])?;
    let long = [MESSAGE, &b"0123456789abcdef0123456789abcdef\r\n".repeat(40)].concat();
    assert_eq!(told(Security::Clear, MESSAGE)?.0, 250);
    let (code, text) = told(Security::Clear, &long)?;
    assert_eq!((code, text.as_str()), (552, "5.3.4 Message is longer than this mailbox takes"));

    edit(&["--max-message-size", "none", "--quota-messages", "3"])?;
    let (code, text) = told(Security::Clear, MESSAGE)?;
    assert_eq!((code, &text[..5]), (452, "4.2.2"), "three wait already");
    edit(&["--quota-messages", "none", "--quota", "64 KiB"])?;
    assert_eq!(told(Security::Clear, &long)?.0, 250);
    let too_much = b"0123456789abcdef0123456789abcdef\r\n".repeat(1900);
    let (code, text) = told(Security::Clear, &too_much)?;
    assert_eq!((code, &text[..5]), (452, "4.2.2"), "it fits an empty mailbox, not this one");

    let shown = gateway.run(&["mailbox", "show", &mailbox.id])?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(shown.contains("quota             65536") && shown.contains("networks          any"), "{shown}");
    Ok(())
}

/// Goal: a policy can be given at once, and what is wrong with one is told before anything is made.
#[test]
fn a_mailbox_is_created_with_its_policy() -> Result<()> {
    let gateway = Program::new(Kind::Gateway, "")?;
    let create =
        |arguments: &[&str]| gateway.json(&[&["mailbox", "create", "--name", "journal"], arguments].concat());
    let made = create(&["--allow-network", "192.0.2.0/24", "--require-tls", "yes", "--quota", "1 GiB"])?;
    assert_eq!((made["require_tls"].as_bool(), made["quota"].as_u64()), (Some(true), Some(1 << 30)));
    for wrong in [
        &["--allow-network", "192.0.2.0/33"][..],
        &["--allow-preset", "google"],
        &["--allow-preset", "google", "--networks-from", "/nowhere"],
        &["--quota", "0"],
        &["--max-message-size", "much"],
    ] {
        ensure!(create(wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(gateway.json(&["mailbox", "list"])?.as_array().context("a list")?.len(), 1);
    Ok(())
}
