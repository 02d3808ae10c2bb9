//! Hostile peers on real connections: what only the drivers, TLS and a process under load can show. The sessions' own
//! answers to hostile input are tested cut at every octet in the gateway's `smtp_receiver`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::{FALSE_ENDS, SmtpClient};
use postern_tests::{Security, Wire};

/// What a session, or a few hundred kilobytes of its replies, may cost at most.
const SLACK_BYTES: u64 = 32 * 1024 * 1024;

/// Goal: no stand-in for the end of data ends it, all the way into the mailbox.
/// Method: over TLS, in one record and octet by octet; what POP3 serves is compared.
#[test]
fn smuggled_transactions_end_in_the_message_that_carried_them() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let smuggled =
        format!("MAIL FROM:<evil@example.org>\r\nRCPT TO:<{}>\r\nDATA\r\nevil\r\n", mailbox.address);
    let mut sent = 0;
    for (variant, step) in FALSE_ENDS.iter().flat_map(|variant| [(variant, usize::MAX), (variant, 1)]) {
        let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
        client.command("MAIL FROM:<a@example.com>")?;
        client.command(&format!("RCPT TO:<{}>", mailbox.address))?;
        client.command("DATA")?;
        let input = format!("Subject: {sent}\r\n\r\nfirst{variant}{smuggled}.\r\nNOOP\r\n");
        for piece in input.as_bytes().chunks(step.min(input.len())) {
            client.wire.send(piece)?;
        }
        let (stored, noop) = (client.reply()?, client.reply()?);
        ensure!(stored.code == 250 && noop.code == 250, "{variant:?}: {stored:?} {noop:?}");
        ensure!(stored.lines[0].contains("on disk") && !noop.lines[0].contains("on disk"), "{variant:?}");
        client.quit()?;
        sent += 1;
    }
    let mut client =
        Pop3Client::login(gateway.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password)?;
    let served = client.retrieve_all()?;
    assert_eq!(served.len(), sent, "one message for each, no more");
    for message in served {
        let text = String::from_utf8_lossy(&message).into_owned();
        assert!(text.contains("first\r\n") && text.contains("\r\nevil\r\n"), "{text}");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "whole line ends only: {text:?}");
        let content = without_trace(&message);
        assert!(content.starts_with(b"Subject: ") && content.ends_with(b"\r\nevil\r\n"), "{text}");
    }
    client.quit()
}

/// Goal: commands in clear behind STARTTLS, in the same packet or the next, are neither answered nor carried out nor
/// remembered (nostarttls.secvuln.info).
#[test]
fn injection_behind_starttls_has_no_effect() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let to = &mailbox.address;
    let injections = [
        format!("EHLO evil\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<{to}>\r\nDATA\r\nevil\r\n.\r\n"),
        "EHLO evil\r\nMAIL FROM:<evil@example.org>\r\nRCP".to_owned(),
        "QUIT\r\n".to_owned(),
        "BDAT 100000\r\n".to_owned(),
        "STARTTLS\r\n".to_owned(),
        "no end".repeat(1000),
    ];
    for (injection, listener) in
        injections.iter().flat_map(|injection| [(injection, "smtp"), (injection, "submission")])
    {
        let mut client = SmtpClient::connect(gateway.address(listener)?, Security::Clear)?;
        client.command("MAIL FROM:<evil@example.org>")?;
        client.command(&format!("RCPT TO:<{to}>"))?;
        client.wire.send(format!("STARTTLS\r\n{injection}").as_bytes())?;
        assert_eq!(client.reply()?.code, 220);
        // An error when anything injected was answered.
        client.wire.start_tls()?;
        let shown = &injection[..injection.len().min(60)];
        assert_eq!(client.command("RCPT TO:<x@example.com>")?.code, 503, "no transaction: {shown}");
        assert_eq!(client.command("MAIL FROM:<>")?.code, 503, "nobody said EHLO: {shown}");
        assert_eq!(client.command("STARTTLS")?.code, 503);
        assert_eq!(client.command("EHLO client.example.org")?.code, 250);
        assert_eq!(client.send("a@example.com", &[to], b"Subject: s\r\n\r\nx\r\n")?.code, 250);
    }
    assert_eq!(gateway.json(&["mailbox", "show", &mailbox.id])?["messages"], 2 * injections.len());
    Ok(())
}

/// Goal: the same for STLS: neither a login nor anything else injected in clear takes effect (RFC 2595 §4).
#[test]
fn injection_behind_stls_has_no_effect() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut sender = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    ensure!(sender.send("a@example.com", &[&mailbox.address], b"Subject: s\r\n\r\nx\r\n")?.code == 250);
    let login = format!("USER {}\r\nPASS {}\r\n", mailbox.id, mailbox.password);
    let injections = [
        format!("{login}DELE 1\r\nQUIT\r\n"),
        format!("USER {}\r\n", mailbox.id),
        "AUTH PLAIN\r\n".to_owned(),
        "CAPA\r\nQUIT\r\n".to_owned(),
        "STLS\r\n".to_owned(),
        "no end".repeat(1000),
    ];
    for injection in &injections {
        let mut client = Pop3Client::connect(gateway.address("pop3")?, Security::Clear)?;
        client.wire.send(format!("STLS\r\n{injection}").as_bytes())?;
        assert!(client.wire.line()?.starts_with("+OK Begin TLS"));
        client.wire.start_tls()?;
        let shown = &injection[..injection.len().min(60)];
        let refused =
            client.command(&format!("PASS {}", mailbox.password)).map_err(|error| error.to_string());
        assert_eq!(refused, Err("-ERR Send USER first".into()), "{shown}");
        assert!(client.command("STAT").is_err(), "{shown}");
        assert!(client.command("STLS").is_err(), "{shown}");
        client.command(&format!("USER {}", mailbox.id))?;
        client.command(&format!("PASS {}", mailbox.password))?;
        assert!(client.command("STAT")?.starts_with("1 "), "nothing was deleted: {shown}");
        client.quit()?;
    }
    Ok(())
}

/// Goal: 10 MB without a line end, 1 MB of EHLO and 100,000 recipients cost an error or a refusal each, and no memory.
#[test]
fn endless_input_is_bounded() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    let before = gateway.resident_bytes()?;
    for line in ["x".repeat(10_000_000), format!("EHLO {}", "a".repeat(1_000_000))] {
        client.wire.send(line.as_bytes())?;
        assert!(gateway.resident_bytes()? < before + SLACK_BYTES);
        assert_eq!(client.command("")?.code, 500);
    }
    client.command("MAIL FROM:<>")?;
    let batch = format!("RCPT TO:<{}>\r\n", mailbox.address).repeat(1000);
    let mut accepted = 0;
    for _ in 0..100 {
        client.wire.send(batch.as_bytes())?;
        for _ in 0..1000 {
            accepted += u32::from(client.reply()?.code == 250);
        }
    }
    assert_eq!(accepted, 1000);
    assert!(gateway.resident_bytes()? < before + SLACK_BYTES);
    assert_eq!(client.command("RSET")?.code, 250);
    assert_eq!(client.send("a@example.com", &[&mailbox.address], b"Subject: s\r\n\r\nx\r\n")?.code, 250);

    let mut pop3 = Pop3Client::connect(gateway.address("pop3s")?, Security::Implicit)?;
    pop3.wire.send("x".repeat(10_000_000).as_bytes())?;
    assert!(pop3.command("").is_err_and(|error| error.to_string() == "-ERR line too long"));
    assert!(pop3.command("CAPA").is_ok());
    assert!(gateway.resident_bytes()? < before + SLACK_BYTES);
    Ok(())
}

/// Goal: peers that pipeline commands with long replies, and never read one, cost no memory worth speaking of, and
/// others are served.
/// Method: each writes until the connection takes no more.
#[test]
fn who_never_reads_is_bounded() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let before = gateway.resident_bytes()?;
    let mut deaf = Vec::new();
    for (listener, flood) in [("smtp", "EHLO x\r\n"), ("pop3", "CAPA\r\n"), ("smtp", "HELP\r\n")].repeat(3) {
        let mut stream = TcpStream::connect(gateway.address(listener)?)?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        let flood = flood.repeat(8192);
        while stream.write_all(flood.as_bytes()).is_ok() {}
        deaf.push(stream);
    }
    let grown = gateway.resident_bytes()?.saturating_sub(before);
    assert!(grown < 3 * 1024 * 1024 / 2, "9 sessions hold {grown} octets");
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    assert_eq!(client.send("a@example.com", &[&mailbox.address], b"Subject: s\r\n\r\nx\r\n")?.code, 250);
    Ok(())
}

/// Goal: a peer that makes nothing but errors is told so and sent away, on either protocol.
#[test]
fn too_many_errors_end_the_connection() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    for (listener, last) in [("smtp", "421 4.7.0 Too many errors"), ("pop3", "-ERR unknown command")] {
        let mut stream = TcpStream::connect(gateway.address(listener)?)?;
        stream.write_all("XYZZY\r\n".repeat(30).as_bytes())?;
        let mut said = Vec::new();
        // What was sent and not read makes a reset of the end.
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(said.lines().last(), Some(last), "{said}");
        assert!(said.lines().count() <= 22, "{said}");
    }
    let mut browser = Wire::connect(gateway.address("smtp")?, false)?;
    browser.line()?;
    browser.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n")?;
    assert!(browser.line()?.starts_with("500 "));
    assert!(browser.line()?.starts_with("421 "));
    assert!(browser.line().is_err(), "closed");
    Ok(())
}
