//! POP3 sessions octet by octet: deletion, doubles, capabilities, and the gateway's own mailboxes on the same ports.

use anyhow::{Context as _, Result, ensure};
use postern_tests::Security::Implicit;
use postern_tests::clients::{After, poplib};
use postern_tests::messages;
use postern_tests::pop3::Pop3Client;
use postern_tests::provider::{PASSWORD, Provider, USER};
use postern_tests::upstream::Dovecot;

use crate::{all, awkward};

/// Goal: a message that a client deletes and never fetched is recorded before it goes; one that was only looked into with
/// TOP is not recorded; and one that is deleted without QUIT stays, recorded once.
#[test]
fn what_is_deleted_unread_is_recorded_first() -> Result<()> {
    if !all(&["dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let mut dovecot = provider.dovecot()?;
    dovecot.deliver(USER, &[awkward(1), messages::sized(2, 400_000), awkward(3)])?;
    let gateway = provider.gateway("")?;
    let mut client = gateway.fetching("pop3s", dovecot.pop3s.port())?;
    let top = client.content("TOP 1 1")?;
    ensure!(top.starts_with(b"From: <anna@mail.test>\r\n") && top.len() < awkward(1).len());
    assert_eq!(gateway.copies()?.len(), 0, "TOP is no message");
    client.command("DELE 1")?;
    client.command("DELE 2")?;
    let recorded = gateway.take()?;
    assert_eq!(recorded.len(), 2, "before DELE was answered");
    assert!(recorded[0].content == awkward(1) && recorded[1].content == messages::sized(2, 400_000));
    drop(client);
    gateway.wait_for_log("proxied pop3 session ended", 1)?;
    assert_eq!(dovecot.messages(USER)?.len(), 3, "no QUIT, no deletion");

    let mut client = gateway.fetching("pop3", dovecot.pop3.port())?;
    client.command("DELE 1")?;
    client.command("DELE 2")?;
    client.command("RSET")?;
    client.command("DELE 2")?;
    client.quit()?;
    assert_eq!(dovecot.messages(USER)?, [awkward(1), awkward(3)]);
    assert_eq!(gateway.copies()?.len(), 0, "it was recorded already");
    Ok(())
}

/// Goal: two accounts may be recorded into one mailbox; the same message in both is there for each; and an account's message
/// in another mailbox is that mailbox's own.
#[test]
fn accounts_do_not_hide_each_others_mail() -> Result<()> {
    if !all(&["dovecot", "python3"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let mut dovecot =
        Dovecot::with(&provider.identity).user(USER, PASSWORD).user("carol", "carols own").start()?;
    for user in [USER, "carol"] {
        dovecot.deliver(user, &[awkward(1)])?;
    }
    let gateway = provider.gateway("")?;
    let anna = gateway.account("pop3s", dovecot.pop3s.port())?;
    let mut carol = anna.clone();
    carol.user = gateway.route("carol", &format!("localhost:{}", dovecot.pop3s.port()));
    carol.password = "carols own".into();
    for account in [&anna, &carol, &anna, &carol] {
        assert_eq!(poplib::fetch(account, After::Keep)?, [awkward(1)]);
    }
    let copies = gateway.take()?;
    let accounts: Vec<&str> = copies.iter().map(|copy| copy.account()).collect();
    assert_eq!(accounts, [&format!("{USER}%localhost"), "carol%localhost"]);
    let other = postern_tests::program::NewMailbox::create(&gateway.program, "other")?;
    let mut elsewhere = anna.clone();
    elsewhere.user = anna.user.replace(&gateway.mailbox.id, &other.id);
    poplib::fetch(&elsewhere, After::Keep)?;
    let mut archiver =
        Pop3Client::login(gateway.program.address("pop3s")?, Implicit, &other.id, &other.password)?;
    assert_eq!(archiver.list()?.len(), 1);
    assert_eq!(gateway.copies()?.len(), 0);
    Ok(())
}

/// Goal: a server that gives a unique-id again to another message gets that one recorded as well, and only it.
/// Method: the unique-id is the message's number in the folder, and the folder is emptied and its index removed.
#[test]
fn a_unique_id_used_again_hides_nothing() -> Result<()> {
    if !all(&["dovecot", "python3"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let start = |messages: &[Vec<u8>]| -> Result<Dovecot> {
        let setup = Dovecot::with(&provider.identity).user(USER, PASSWORD).with("pop3_uidl_format = uid-%u");
        let mut dovecot = setup.start()?;
        dovecot.deliver(USER, messages)?;
        Ok(dovecot)
    };
    let gateway = provider.gateway("")?;
    for (delivered, new) in [([awkward(1)], 1), ([awkward(2)], 1), ([awkward(1)], 0)] {
        let dovecot = start(&delivered)?;
        let fetched = poplib::fetch(&gateway.account("pop3s", dovecot.pop3s.port())?, After::Keep)?;
        assert_eq!(fetched, delivered);
        let copies = gateway.take()?;
        assert_eq!(copies.len(), new);
        for copy in copies {
            assert!(copy.content == delivered[0]);
            assert_eq!(copy.trace.proxied.and_then(|proxied| proxied.uidl).as_deref(), Some("uid-1"));
        }
    }
    Ok(())
}

/// Goal: before the login a client sees what the gateway can do, behind it what the server can, without what makes no sense
/// there; several commands at once get their answers in order.
#[test]
fn capabilities_are_the_gateways_and_then_the_servers() -> Result<()> {
    if !all(&["dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let mut dovecot = provider.dovecot()?;
    dovecot.deliver(USER, &[awkward(1)])?;
    let gateway = provider.gateway("")?;
    for listener in ["pop3", "pop3s"] {
        let address = gateway.program.address(listener)?;
        let mut client = Pop3Client::connect(address, postern_tests::provider::security(listener))?;
        let before = client.lines("CAPA")?;
        let sasl = before.iter().find(|line| line.starts_with("SASL ")).context("no SASL")?;
        for mechanism in ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"] {
            ensure!(sasl.split(' ').any(|word| word == mechanism), "{sasl}");
        }
        ensure!(before.iter().any(|line| line == "USER") && !before.iter().any(|line| line == "STLS"));
        let port = if listener == "pop3" { dovecot.pop3 } else { dovecot.pop3s }.port();
        client.command(&format!("USER {}", gateway.user(port)))?;
        client.command(&format!("PASS {PASSWORD}"))?;
        let behind = client.lines("CAPA")?;
        for name in ["UIDL", "TOP", "PIPELINING", "RESP-CODES"] {
            ensure!(behind.iter().any(|line| line == name), "{name}: {behind:?}");
        }
        for name in ["STLS", "SASL", "USER", "IMPLEMENTATION"] {
            ensure!(!behind.iter().any(|line| line.starts_with(name)), "{name}: {behind:?}");
        }
        client.wire.send(b"STAT\r\nNOOP\r\nXYZZY\r\nLIST 1\r\nRETR 9\r\n")?;
        let heads = (0..5).map(|_| client.wire.line()).collect::<Result<Vec<_>>>()?;
        let ok: Vec<bool> = heads.iter().map(|line| line.starts_with("+OK")).collect();
        assert_eq!(ok, [true, true, false, true, false], "{heads:?}");
        client.quit()?;
    }
    let clear = Pop3Client::connect(gateway.program.address("pop3")?, postern_tests::Security::Clear)?
        .lines("CAPA")?;
    ensure!(clear.iter().any(|line| line == "STLS"), "{clear:?}");
    ensure!(!clear.iter().any(|line| line.starts_with("SASL") || line == "USER"), "{clear:?}");
    Ok(())
}

/// Goal: a name without the divider is a mailbox of the gateway, by PASS and by AUTH PLAIN, as it was before there was a proxy.
#[test]
fn a_mailbox_of_the_gateway_is_still_one() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = provider.gateway("")?;
    for listener in ["pop3", "pop3s"] {
        let (address, security) =
            (gateway.program.address(listener)?, postern_tests::provider::security(listener));
        let (id, password) = (&gateway.mailbox.id, &gateway.mailbox.password);
        Pop3Client::login(address, security, id, password)?.quit()?;
        let mut client = Pop3Client::connect(address, security)?;
        let response = postern_tests::provider::plain(id, password);
        let said = client.command(&format!("AUTH PLAIN {response}"))?;
        ensure!(said.starts_with("Maildrop has 0 messages"), "{said}");
        client.quit()?;
        let refused = Pop3Client::login(address, security, id, "wrong").unwrap_err().to_string();
        ensure!(refused.contains("[AUTH]"), "{refused}");
    }
    Ok(())
}
