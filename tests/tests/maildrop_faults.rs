//! A maildrop that two want, that is left in the middle, or that changes under somebody's hands.

use anyhow::{Context, Result, ensure};
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::{SmtpClient, stuffed};
use postern_tests::{Security, messages};

fn login(gateway: &Program, mailbox: &NewMailbox) -> Result<Pop3Client> {
    Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password)
}

/// Logs in as an archiver does that finds the maildrop held: again, until it is free.
fn login_when_free(gateway: &Program, mailbox: &NewMailbox) -> Result<Pop3Client> {
    loop {
        match login(gateway, mailbox) {
            Err(error) if error.to_string().contains("[IN-USE]") => {}
            other => return other,
        }
    }
}

fn deliver(gateway: &Program, mailbox: &NewMailbox, message: &[u8]) -> Result<()> {
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    let reply = client.send("sender@example.org", &[&mailbox.address], message)?;
    ensure!(reply.code == 250, "{reply:?}");
    client.quit()
}

fn contents(client: &mut Pop3Client) -> Result<Vec<Vec<u8>>> {
    Ok(client.retrieve_all()?.iter().map(|served| without_trace(served).to_vec()).collect())
}

fn refused(gateway: &Program, arguments: &[&str]) -> Result<String> {
    Ok(gateway.json(arguments).err().context("it was not refused")?.to_string())
}

/// Goal: one client at a time; the other is told so, and gets everything once the first has gone, however it went:
/// amid a message, or with messages marked and no QUIT.
#[test]
fn a_client_that_vanishes_leaves_all_to_the_next_one() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "[limits]\nlogin_failure_pause = \"1 ms\"\n")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let sent = [messages::sized(1, 9_000_000), messages::sized(2, 2_000)];
    for message in &sent {
        deliver(&gateway, &mailbox, message)?;
    }
    let mut first = login(&gateway, &mailbox)?;
    let other = login(&gateway, &mailbox).err().context("two in one maildrop")?;
    assert!(other.to_string().contains("[IN-USE]"), "{other}");
    first.command("DELE 2")?;
    first.wire.send(b"RETR 1\r\n")?;
    assert!(first.wire.line()?.starts_with("+OK"), "and now amid the message");
    drop(first);

    let mut second = login_when_free(&gateway, &mailbox)?;
    assert!(contents(&mut second)? == sent, "nothing was deleted, and everything is whole");
    second.command("DELE 1")?;
    second.command("DELE 2")?;
    drop(second);

    let mut third = login_when_free(&gateway, &mailbox)?;
    assert_eq!(third.list()?.len(), 2, "without QUIT nothing is deleted");
    Ok(())
}

/// Goal: what was announced before a mailbox was suspended is taken and kept; nothing removes the mailbox under it.
#[test]
fn a_mailbox_suspended_amid_a_message_keeps_it() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let id = mailbox.id.as_str();
    // One that is sealed in memory, and one that streams to a file of its own.
    let sent = [messages::sized(1, 5_000), messages::sized(2, 3_000_000)];
    for (n, message) in sent.iter().enumerate() {
        gateway.json(&["mailbox", "edit", id, "--status", "active"])?;
        let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
        client.command("MAIL FROM:<sender@example.org>")?;
        assert_eq!(client.command(&format!("RCPT TO:<{}>", mailbox.address))?.code, 250);
        assert_eq!(client.command("DATA")?.code, 354);
        let stuffed = stuffed(message);
        let (half, rest) = stuffed.split_at(stuffed.len() / 2);
        client.wire.send(half)?;
        gateway.json(&["mailbox", "edit", id, "--status", "suspended"])?;
        for command in ["delete", "reset-password"] {
            let said = refused(&gateway, &["mailbox", command, id])?;
            assert!(said.contains("just arriving"), "message {n}: {said}");
        }
        client.wire.send(rest)?;
        assert_eq!(client.reply()?.code, 250);
        client.command("MAIL FROM:<sender@example.org>")?;
        assert_eq!(
            client.command(&format!("RCPT TO:<{}>", mailbox.address))?.code,
            450,
            "the next one waits"
        );
        assert!(refused(&gateway, &["mailbox", "delete", id])?.contains("holds"));
    }
    assert!(contents(&mut login(&gateway, &mailbox)?)? == sent, "what got 250 can be pulled while suspended");
    Ok(())
}

/// Goal: a mailbox cannot be deleted, nor its key replaced, while a message in it could still be wanted; and when it is
/// deleted under a session that has nothing left to pull, that session ends in good order.
#[test]
fn a_mailbox_deleted_while_it_is_pulled_loses_nothing() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "[limits]\nlogin_failure_pause = \"1 ms\"\n")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let id = mailbox.id.as_str();
    let sent = messages::sized(1, 400_000);
    deliver(&gateway, &mailbox, &sent)?;
    gateway.json(&["mailbox", "edit", id, "--status", "suspended"])?;
    let mut client = login(&gateway, &mailbox)?;
    client.wire.send(b"RETR 1\r\n")?;
    assert!(client.wire.line()?.starts_with("+OK"));
    assert!(refused(&gateway, &["mailbox", "delete", id])?.contains("holds 1 messages"));
    let mut served = Vec::new();
    loop {
        match client.wire.raw_line()? {
            end if end == b".\r\n" => break,
            line => served.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line)),
        }
    }
    assert!(without_trace(&served) == sent);
    client.command("DELE 1")?;
    let said = refused(&gateway, &["mailbox", "reset-password", id])?;
    assert!(said.contains("holds 1 messages"), "marked is not deleted: {said}");
    client.quit()?;

    let mut client = login_when_free(&gateway, &mailbox)?;
    gateway.json(&["mailbox", "delete", id])?;
    assert_eq!(client.command("STAT")?, "0 0");
    assert_eq!(client.list()?.len(), 0);
    client.quit()?;
    let said = login(&gateway, &mailbox).err().context("let in")?.to_string();
    assert!(said.contains("[AUTH]"), "as if it had never been: {said}");
    Ok(())
}
