//! SMTP on the wire: what only a real connection can show.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use anyhow::{Result, ensure};
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Security, Wire, messages};

/// Goal: commands sent in clear behind STARTTLS, in the same packet, are never carried out (nostarttls.secvuln.info).
#[test]
fn what_is_injected_behind_starttls_is_dropped() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
    let injected =
        format!("STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<{}>\r\n", mailbox.address);
    client.wire.send(injected.as_bytes())?;
    assert_eq!(client.reply()?.code, 220);
    client.wire.start_tls()?;
    assert_eq!(client.command("DATA")?.code, 503, "there is no transaction, and nobody said EHLO");
    let ehlo = client.command("EHLO client.example.org")?;
    assert!(!ehlo.lines.contains(&"STARTTLS".to_owned()), "it is not offered twice");
    assert_eq!(client.send("a@example.com", &[&mailbox.address], b"Subject: s\r\n\r\nx\r\n")?.code, 250);
    assert_eq!(gateway.json(&["mailbox", "show", &mailbox.id])?["messages"], 1);
    Ok(())
}

#[test]
fn sessions_beyond_the_limit_are_told_and_others_go_on() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "[limits]\nsessions = 2\n")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let address = gateway.address("smtp")?;
    let mut first = SmtpClient::connect(address, Security::StartTls)?;
    let second = SmtpClient::connect(address, Security::Clear)?;
    let mut third = Wire::connect(address, false)?;
    assert!(third.line()?.starts_with("421 4.7.0"));
    assert_eq!(first.send("a@example.com", &[&mailbox.address], b"Subject: s\r\n\r\nx\r\n")?.code, 250);
    second.quit()?;
    // The place is free once the server has seen the end; a client that is refused comes again, as this one does.
    let mut again = SmtpClient::connect(address, Security::Clear);
    while again.is_err() {
        again = SmtpClient::connect(address, Security::Clear);
    }
    assert_eq!(again?.command("NOOP")?.code, 250);
    Ok(())
}

/// Goal: one message to two mailboxes is one copy in each, and neither learns of the other.
#[test]
fn each_mailbox_gets_a_copy_that_names_its_own_recipients() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let (one, two) = (NewMailbox::create(&gateway, "one")?, NewMailbox::create(&gateway, "two")?);
    let sub = one.address.replace('@', "+anna=example.com@");
    // Below and above the size from which a message has a file of its own.
    for (n, bytes) in [(1, 10_000), (2, 3_000_000)] {
        let mut client = SmtpClient::connect(gateway.address("smtps")?, Security::Implicit)?;
        let message = messages::sized(n, bytes);
        ensure!(client.send("a@example.com", &[&one.address, &two.address, &sub], &message)?.code == 250);
    }
    for (mailbox, rcpts) in [(&one, vec![&one.address, &sub]), (&two, vec![&two.address])] {
        let mut client =
            Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password)?;
        let served = client.retrieve_all()?;
        assert_eq!(served.len(), 2);
        for (message, (n, bytes)) in served.iter().zip([(1, 10_000), (2, 3_000_000)]) {
            assert!(without_trace(message) == messages::sized(n, bytes));
            let head = String::from_utf8_lossy(&message[..message.len().min(2000)]).into_owned();
            let named: Vec<&str> =
                head.lines().filter_map(|line| line.strip_prefix("X-Postern-Rcpt: ")).collect();
            assert_eq!(named, rcpts);
        }
    }
    Ok(())
}

/// Goal: a client that goes away in the middle of a message leaves nothing behind, on disk neither.
#[test]
fn a_client_gone_in_mid_message_leaves_nothing() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
    client.command("MAIL FROM:<>")?;
    client.command(&format!("RCPT TO:<{}>", mailbox.address))?;
    client.command("DATA")?;
    client.wire.send(&messages::sized(1, 2_000_000))?;
    drop(client);
    let large = gateway.data_dir().join("spool/large");
    let left = || large.read_dir().map_or(0, Iterator::count);
    let start = std::time::Instant::now();
    while left() > 0 && start.elapsed().as_secs() < 30 {
        std::thread::yield_now();
    }
    assert_eq!(left(), 0);
    assert_eq!(gateway.json(&["mailbox", "show", &mailbox.id])?["messages"], 0);
    Ok(())
}
