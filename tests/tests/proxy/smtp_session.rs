//! SMTP sessions octet by octet: extensions, refusals, several messages, and what becomes of copies.

use anyhow::{Context as _, Result, ensure};
use postern_tests::clients::{Mail, smtplib, swaks};
use postern_tests::messages;
use postern_tests::provider::Provider;
use postern_tests::smtp::{FALSE_ENDS, SmtpClient, SmtpReply, stuffed};
use postern_tests::upstream::submission::reject_recipient;

use crate::{all, awkward};

fn text(reply: &SmtpReply) -> String {
    format!("{} {}", reply.code, reply.lines.join(" "))
}

/// Goal: a recipient that the server refuses is refused to the client in the same words, and is not in the copy's envelope;
/// when all are refused nothing is sent and nothing kept.
#[test]
fn refused_recipients_are_mirrored() -> Result<()> {
    if !all(&["postconf", "dovecot", "python3", "swaks"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = provider.dovecot()?;
    let postfix =
        provider.postfix(&dovecot, &reject_recipient("gone@mail.test", "550 5.1.1 Nobody of that name"))?;
    let gateway = provider.gateway("")?;
    let account = gateway.account("submission", postfix.submission.port())?;
    let to = ["bob@mail.test", "gone@mail.test", "carol@elsewhere.test"];
    let content = awkward(1);
    let refused =
        smtplib::send(&account, "PLAIN", Mail { from: "anna@mail.test", to: &to, content: &content })?;
    let refused: Vec<_> = refused.iter().collect();
    ensure!(refused.len() == 1 && refused[0].0 == "gone@mail.test", "{refused:?}");
    let mut direct = SmtpClient::connect(postfix.smtps, postern_tests::Security::Implicit)?;
    let response =
        postern_tests::provider::plain(postern_tests::provider::USER, postern_tests::provider::PASSWORD);
    ensure!(direct.command(&format!("AUTH PLAIN {response}"))?.code == 235);
    direct.command("MAIL FROM:<anna@mail.test>")?;
    let words = direct.command("RCPT TO:<gone@mail.test>")?;
    assert_eq!(*refused[0].1, text(&words), "the server's own words");

    let only = Mail { from: "anna@mail.test", to: &["gone@mail.test"], content: &content };
    let said = swaks::send(&account, only, &["--pipeline"]).unwrap_err().to_string();
    ensure!(said.contains("Nobody of that name"), "{said}");
    let received = postfix.received(1)?;
    assert_eq!(
        (received.len(), received[0].to.as_slice()),
        (1, &["bob@mail.test".to_owned(), "carol@elsewhere.test".to_owned()][..])
    );
    let copies = gateway.take()?;
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0].trace.recipients, ["bob@mail.test", "carol@elsewhere.test"]);
    Ok(())
}

/// Goal: a message that the server refuses at its end, or for its size, leaves no copy, and the client gets the server's
/// words; the session goes on. While the mailbox is suspended, nothing is sent.
#[test]
fn a_refused_message_leaves_no_copy() -> Result<()> {
    if !all(&["postconf", "dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = provider.dovecot()?;
    let more = "message_size_limit = 20000\n\
        header_checks = regexp:{ {/^Subject: forbidden/ REJECT not in this house} }\n";
    let postfix = provider.postfix(&dovecot, more)?;
    let gateway = provider.gateway("")?;
    let mut client = gateway.sending("submission", postfix.submission.port())?;
    ensure!(client.extensions.iter().any(|line| line == "SIZE 20000"), "{:?}", client.extensions);
    let to = ["bob@mail.test"];
    let refused = client.command("MAIL FROM:<anna@mail.test> SIZE=30000")?;
    ensure!(text(&refused).starts_with("552 5.3.4 "), "{refused:?}");
    // Postfix keeps the size in mind until then.
    ensure!(client.command("RSET")?.code == 250);
    let refused = client.send("anna@mail.test", &to, &messages::sized(1, 30_000))?;
    ensure!(
        text(&refused).starts_with("552 5.3.4 ") && text(&refused).contains("file too big"),
        "{refused:?}"
    );
    let forbidden = messages::plain(2, "anna@mail.test", to[0], "forbidden", "x");
    let refused = client.send("anna@mail.test", &to, &forbidden)?;
    ensure!(refused.code == 550 && text(&refused).contains("not in this house"), "{refused:?}");
    assert_eq!(gateway.copies()?.len(), 0);
    // What could not be recorded is not sent.
    gateway.set_status("suspended")?;
    let refused = client.send("anna@mail.test", &to, &awkward(4))?;
    ensure!(text(&refused).starts_with("450 4.2.1 "), "{refused:?}");
    gateway.set_status("active")?;
    assert_eq!(client.send("anna@mail.test", &to, &awkward(3))?.code, 250);
    client.quit()?;
    let copies = gateway.take()?;
    assert!(copies.len() == 1 && copies[0].content == awkward(3));
    assert!(postfix.received(1)?.iter().map(|one| &one.content).eq([&awkward(3)]));
    Ok(())
}

/// Goal: several messages and RSETs in one session, in one flight too, keep apart; content goes as it is, whatever it looks
/// like, and nothing but the end ends it.
#[test]
fn messages_of_one_session_keep_apart() -> Result<()> {
    if !all(&["postconf", "dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = provider.dovecot()?;
    let postfix = provider.postfix(&dovecot, "")?;
    let gateway = provider.gateway("")?;
    let mut client = gateway.sending("smtps", postfix.smtps.port())?;
    let to = ["bob@mail.test"];
    assert_eq!(client.command("MAIL FROM:<anna@mail.test>")?.code, 250);
    assert_eq!(client.command("RCPT TO:<dropped@mail.test>")?.code, 250);
    assert_eq!(client.command("RSET")?.code, 250);
    assert_eq!(client.send("", &to, &awkward(1))?.code, 250);
    assert_eq!(client.send("anna@mail.test", &["carol@mail.test"], &awkward(2))?.code, 250);
    // Two transactions at once, as far as RFC 2920 allows, the first of them forgotten.
    client.wire.send(
        b"MAIL FROM:<x@mail.test>\r\nRCPT TO:<x@mail.test>\r\nRSET\r\nMAIL FROM:<anna@mail.test>\r\n\
          RCPT TO:<bob@mail.test>\r\nRCPT TO:<carol@mail.test>\r\nDATA\r\n",
    )?;
    let codes = (0..7).map(|_| Ok(client.reply()?.code)).collect::<Result<Vec<_>>>()?;
    assert_eq!(codes, [250, 250, 250, 250, 250, 250, 354]);
    client.wire.send(&stuffed(&awkward(3)))?;
    assert_eq!(client.reply()?.code, 250);
    client.quit()?;
    let received = postfix.received(3)?;
    let envelopes: Vec<_> = received.iter().map(|one| (one.from.as_str(), one.to.join(" "))).collect();
    let expected = [
        ("", "bob@mail.test".to_owned()),
        ("anna@mail.test", "carol@mail.test".to_owned()),
        ("anna@mail.test", "bob@mail.test carol@mail.test".to_owned()),
    ];
    // Postfix writes its own name where there is none.
    assert!(envelopes[0].0.is_empty() || envelopes[0].0.starts_with("MAILER-DAEMON"), "{envelopes:?}");
    assert!(envelopes[0].1 == expected[0].1 && envelopes[1..] == expected[1..], "{envelopes:?}");
    let copies = gateway.take()?;
    for (number, (copy, expected)) in copies.iter().zip(&expected).enumerate() {
        assert!(copy.content == awkward(number + 1));
        assert_eq!((copy.trace.mail_from.as_str(), copy.trace.recipients.join(" ")), *expected);
    }
    assert_eq!(copies.len(), 3);
    Ok(())
}

/// Goal: nothing but `<CRLF>.<CRLF>` ends a message, so that none is smuggled in behind another: the server has one
/// message and so has the mailbox, for each false end.
#[test]
fn nothing_is_smuggled_through() -> Result<()> {
    if !all(&["postconf", "dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = provider.dovecot()?;
    let postfix = provider.postfix(&dovecot, "")?;
    let gateway = provider.gateway("")?;
    let mut client = gateway.sending("smtps", postfix.smtps.port())?;
    for (number, end) in FALSE_ENDS.iter().enumerate() {
        for (command, code) in
            [("MAIL FROM:<anna@mail.test>", 250), ("RCPT TO:<bob@mail.test>", 250), ("DATA", 354)]
        {
            assert_eq!(client.command(command)?.code, code);
        }
        let smuggled = format!(
            "Subject: {number}\r\n\r\nfirst{end}MAIL FROM:<evil@mail.test>\r\nRCPT TO:<bob@mail.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
        );
        client.wire.send(smuggled.as_bytes())?;
        assert_eq!(client.reply()?.code, 250, "{end:?}");
        assert_eq!(client.command("NOOP")?.code, 250, "{end:?}: one answer for one message");
    }
    let received = postfix.received(FALSE_ENDS.len())?;
    let copies = gateway.take()?;
    assert_eq!((received.len(), copies.len()), (FALSE_ENDS.len(), FALSE_ENDS.len()));
    for (received, copy) in received.iter().zip(&copies) {
        assert_eq!(received.from, "anna@mail.test");
        let shown = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert_eq!(shown(&received.content), shown(&copy.content));
    }
    Ok(())
}

/// Goal: what the server can do is what is offered behind the login, as far as it depends on the server; chunks go to a
/// server that knows none as well.
/// Method: Postfix that leaves out each extension once.
#[test]
fn extensions_are_the_servers() -> Result<()> {
    if !all(&["postconf", "dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = provider.dovecot()?;
    let gateway = provider.gateway("")?;
    for left_out in ["", "8bitmime, dsn, pipelining", "smtputf8, enhancedstatuscodes, chunking, size"] {
        let without = |name: &str| left_out.split(", ").any(|one| one.eq_ignore_ascii_case(name));
        let postfix = provider.postfix(&dovecot, &format!("smtpd_discard_ehlo_keywords = {left_out}\n"))?;
        let mut client = gateway.sending("submission", postfix.submission.port())?;
        let offers = |name: &str| client.extensions.iter().any(|line| line.split(' ').next() == Some(name));
        for name in ["8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"] {
            assert_eq!(offers(name), !without(name), "{name}: {:?}", client.extensions);
        }
        for name in ["PIPELINING", "CHUNKING", "SIZE"] {
            ensure!(offers(name), "ours whatever the server has: {:?}", client.extensions);
        }
        ensure!(!offers("AUTH") && !offers("STARTTLS"), "{:?}", client.extensions);
        let refused = |client: &mut SmtpClient, command: &str| -> Result<bool> {
            let refused = client.command(command)?.code == 555;
            client.command("RSET")?;
            Ok(refused)
        };
        let mail = "MAIL FROM:<anna@mail.test> ";
        assert_eq!(refused(&mut client, &format!("{mail}BODY=8BITMIME"))?, without("8bitmime"));
        assert_eq!(refused(&mut client, &format!("{mail}SMTPUTF8"))?, without("smtputf8"));
        assert_eq!(refused(&mut client, &format!("{mail}RET=HDRS ENVID=x"))?, without("dsn"));
        by_chunks(&mut client, &awkward(1)).with_context(|| format!("without {left_out:?}"))?;
        assert_eq!(client.send("anna@mail.test", &["bob@mail.test"], &awkward(2))?.code, 250);
        let received: Vec<_> = postfix.received(2)?.into_iter().map(|one| one.content).collect();
        assert_eq!(received, [awkward(1), awkward(2)], "without {left_out:?}");
        let copies: Vec<_> = gateway.take()?.into_iter().map(|copy| copy.content).collect();
        assert_eq!(copies, received, "without {left_out:?}");
    }
    Ok(())
}

/// Sends in three chunks and an empty one (RFC 3030).
fn by_chunks(client: &mut SmtpClient, content: &[u8]) -> Result<()> {
    ensure!(client.command("MAIL FROM:<anna@mail.test> BODY=7BIT")?.code == 250);
    ensure!(client.command("RCPT TO:<bob@mail.test>")?.code == 250);
    for chunk in content.chunks(content.len() / 3 + 1) {
        client.wire.send(format!("BDAT {}\r\n", chunk.len()).as_bytes())?;
        client.wire.send(chunk)?;
        let reply = client.reply()?;
        ensure!(reply.code == 250, "{reply:?}");
    }
    let reply = client.command("BDAT 0 LAST")?;
    ensure!(reply.code == 250, "{reply:?}");
    Ok(())
}

/// Goal: international addresses and requests for delivery reports reach the server as the client wrote them, and the copy
/// has the same addresses.
#[test]
fn international_addresses_and_report_requests_go_through() -> Result<()> {
    if !all(&["postconf", "dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = provider.dovecot()?;
    let postfix = provider.postfix(&dovecot, "")?;
    let gateway = provider.gateway("")?;
    let mut client = gateway.sending("smtps", postfix.smtps.port())?;
    let content =
        "From: <änna@mail.test>\r\nTo: <bøb@mail.test>\r\nSubject: Grüße\r\n\r\nGrüße\r\n".as_bytes();
    for (command, code) in [
        ("MAIL FROM:<änna@mail.test> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=QQ314159", 250),
        ("RCPT TO:<bøb@mail.test> NOTIFY=NEVER", 250),
        ("DATA", 354),
    ] {
        let reply = client.command(command)?;
        ensure!(reply.code == code, "{command}: {reply:?}");
    }
    client.wire.send(&stuffed(content))?;
    ensure!(client.reply()?.code == 250);
    let received = postfix.received(1)?;
    assert_eq!((received[0].from.as_str(), received[0].to[0].as_str()), ("änna@mail.test", "bøb@mail.test"));
    assert!(received[0].content == content);
    let copies = gateway.take()?;
    assert_eq!(
        (copies[0].trace.mail_from.as_str(), copies[0].trace.recipients[0].as_str()),
        ("änna@mail.test", "bøb@mail.test")
    );
    assert_eq!(copies[0].trace.protocol, "UTF8SMTPSA");
    assert!(copies[0].content == content);
    Ok(())
}
