//! What an operator sees of the proxy: metrics and the log name accounts, and never a secret.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_tests::prometheus::{Scrape, get};
use postern_tests::provider::{Gateway, PASSWORD, Provider, USER, plain};
use postern_tests::smtp::stuffed;

use crate::awkward;
use crate::scripted::{EXTENSIONS, Peer, Scripted, pop3_login, smtp_login};

fn submission(peer: &mut Peer) -> Result<()> {
    let mut line = smtp_login(peer, EXTENSIONS, EXTENSIONS)?;
    while line != "QUIT" {
        if line == "DATA" {
            peer.say("354 go on\r\n")?;
            peer.content()?;
        }
        peer.say("250 2.0.0 ok\r\n")?;
        line = peer.line()?;
    }
    peer.say("221 2.0.0 bye\r\n")
}

fn maildrop(peer: &mut Peer) -> Result<()> {
    let mut line = pop3_login(peer)?;
    loop {
        match line.split(' ').next().unwrap_or_default() {
            "UIDL" => peer.say("+OK 1 unique\r\n")?,
            "RETR" => peer.say([b"+OK\r\n", &stuffed(&awkward(2))[..]].concat())?,
            _ => peer.say("+OK\r\n")?,
        }
        line = peer.line()?;
    }
}

/// A server that takes nobody, and says back what it was told.
fn echo(peer: &mut Peer) -> Result<()> {
    peer.say("220 scripted.test\r\n")?;
    loop {
        let line = peer.line()?;
        match line.starts_with("EHLO") {
            true => peer.say(format!("250-scripted.test\r\n{EXTENSIONS}"))?,
            false => peer.say(format!("535 5.7.8 I do not like {line}\r\n"))?,
        }
    }
}

/// Goal: what passes is counted by account, protocol and outcome; neither metrics nor the log have the password in any
/// form, nor has the reply, not even when the server says it back.
#[test]
fn accounts_are_named_and_secrets_are_not() -> Result<()> {
    let provider = Provider::new()?;
    let gateway = Gateway::start(&format!("metrics = \"127.0.0.1:0\"\n{}", provider.settings()))?;
    let [sends, fetches, refuses] = [submission, maildrop, echo]
        .map(|serve: fn(&mut Peer) -> Result<()>| Scripted::start(&provider.identity, serve));
    let (sends, fetches, refuses) = (sends?, fetches?, refuses?);

    let mut client = gateway.sending("smtps", sends.port)?;
    ensure!(client.send("anna@mail.test", &["bob@mail.test"], &awkward(1))?.code == 250);
    client.quit()?;
    for _ in 0..2 {
        let mut client = gateway.fetching("pop3s", fetches.port)?;
        ensure!(client.content("RETR 1")? == awkward(2));
        client.quit()?;
    }
    let login = format!("AUTH PLAIN {}", plain(&gateway.user(refuses.port), PASSWORD));
    let refused = gateway.smtp("smtps")?.command(&login)?;
    ensure!(refused.code == 535, "{refused:?}");
    gateway.wait_for_log("message sent, copy on disk", 1)?;

    let (status, metrics) = get(gateway.program.address("metrics")?, "/metrics")?;
    ensure!(status == 200, "{status}");
    let scrape = Scrape::parse(&metrics)?;
    let account = format!("{USER}%localhost");
    for (sample, expected) in [
        (format!("proxy_account_messages_total{{account=\"{account}\"}}"), 2.0),
        ("proxy_messages_total{protocol=\"smtp\",result=\"recorded\"}".into(), 1.0),
        ("proxy_messages_total{protocol=\"pop3\",result=\"recorded\"}".into(), 1.0),
        ("proxy_messages_total{protocol=\"pop3\",result=\"known\"}".into(), 1.0),
        ("proxy_logins_total{protocol=\"smtp\",result=\"ok\"}".into(), 1.0),
        ("proxy_logins_total{protocol=\"smtp\",result=\"wrong_credentials\"}".into(), 1.0),
        ("proxy_logins_total{protocol=\"pop3\",result=\"ok\"}".into(), 2.0),
        ("proxy_upstream_failures_total{step=\"login\"}".into(), 1.0),
    ] {
        let found = scrape.value(&format!("postern_gateway_{sample}"))?;
        ensure!(found == expected, "{sample}: {found}, not {expected}");
    }
    let log = gateway.program.log();
    ensure!(log.matches(&account).count() >= 4, "{log}");
    let secrets = [
        PASSWORD.to_owned(),
        STANDARD.encode(PASSWORD),
        plain(USER, PASSWORD),
        plain(&gateway.user(sends.port), PASSWORD),
    ];
    for secret in secrets {
        let told = refused.lines.join(" ");
        for (place, text) in [("metrics", &metrics), ("log", &log), ("reply", &told)] {
            ensure!(!text.contains(&secret), "a secret in the {place}: {text}");
        }
    }
    Ok(())
}
