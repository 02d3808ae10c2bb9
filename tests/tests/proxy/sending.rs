//! Every client that sends, through the proxy, to both servers and by both ways into TLS.

use anyhow::{Context as _, Result, ensure};
use postern_shared::proto::mime::trace::Capture;
use postern_tests::clients::thunderbird::{self, Flights};
use postern_tests::clients::{Account, Mail, msmtp, smtplib, swaks};
use postern_tests::provider::{Copy, Gateway, Provider, USER};
use postern_tests::upstream::{Received, exim};

use crate::{all, awkward};

/// The second is in no header field.
const TO: [&str; 2] = ["bob@mail.test", "carol@elsewhere.test"];

/// A client that sends one message.
type Send = fn(&Account, Mail<'_>) -> Result<()>;

const CLIENTS: [(&str, Send); 7] = [
    ("swaks", |account, mail| swaks::send(account, mail, &[]).map(drop)),
    ("swaks, LOGIN, pipelining", |account, mail| {
        swaks::send(account, mail, &["--auth", "LOGIN", "--pipeline"]).map(drop)
    }),
    ("msmtp", |account, mail| msmtp::send(account, mail).map(drop)),
    ("smtplib, PLAIN", |account, mail| smtplib_send(account, "PLAIN", mail)),
    ("smtplib, LOGIN", |account, mail| smtplib_send(account, "LOGIN", mail)),
    ("thunderbird", |account, mail| thunderbird_send(account, mail, Flights::Each)),
    ("thunderbird, one flight", |account, mail| thunderbird_send(account, mail, Flights::One)),
];

fn smtplib_send(account: &Account, mechanism: &str, mail: Mail<'_>) -> Result<()> {
    let refused = smtplib::send(account, mechanism, mail)?;
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(())
}

fn thunderbird_send(account: &Account, mail: Mail<'_>, flights: Flights) -> Result<()> {
    let done = thunderbird::send(account, "PLAIN", mail, flights)?;
    ensure!(done.last.starts_with("250 "), "{done:?}");
    Ok(())
}

/// Sends a message by each client and listener; what was sent.
fn send_all(gateway: &Gateway, starttls: u16, implicit: u16) -> Result<Vec<Vec<u8>>> {
    let mut sent = Vec::new();
    for (listener, port) in [("smtp", starttls), ("submission", starttls), ("smtps", implicit)] {
        let account = gateway.account(listener, port)?;
        for (name, send) in CLIENTS {
            // On port 25 the first clients are enough: it differs in nothing but its name.
            if listener == "smtp" && sent.len() >= 2 {
                continue;
            }
            let content = awkward(sent.len());
            let mail = Mail { from: "anna@mail.test", to: &TO, content: &content };
            send(&account, mail)
                .with_context(|| format!("{name} by {listener}\n{}", gateway.program.log()))?;
            sent.push(content);
        }
    }
    Ok(sent)
}

/// The server has, and the mailbox has, each message once and as it was sent; and the mailbox says whose it was.
fn check(sent: &[Vec<u8>], received: &[Received], copies: &[Copy]) {
    assert_eq!((received.len(), copies.len()), (sent.len(), sent.len()));
    for (content, received) in sent.iter().zip(received) {
        assert_eq!(
            (received.from.as_str(), received.to.as_slice()),
            ("anna@mail.test", &TO.map(str::to_owned)[..])
        );
        assert!(received.content == *content, "{}", String::from_utf8_lossy(&received.content));
    }
    for (content, copy) in sent.iter().zip(copies) {
        let trace = &copy.trace;
        assert!(copy.content == *content, "{}", String::from_utf8_lossy(&copy.content));
        assert_eq!((trace.capture, trace.unconfirmed), (Capture::SmtpProxy, false));
        assert_eq!(
            (trace.mail_from.as_str(), trace.recipients.as_slice()),
            ("anna@mail.test", &TO.map(str::to_owned)[..])
        );
        assert!(trace.tls.is_some() && trace.protocol == "ESMTPSA", "{trace:?}");
        let proxied = trace.proxied.as_ref().expect("proxied");
        assert_eq!(proxied.account, format!("{USER}%localhost"));
        assert!(proxied.server.starts_with("localhost:") && proxied.server_tls.is_some(), "{proxied:?}");
        assert_eq!(proxied.bcc, ["carol@elsewhere.test"], "who is in no field is named");
    }
}

/// Goal: what a client sends, the server gets octet for octet with its envelope, and the mailbox has the same once.
/// Method: each client by AUTH as it does it, by port 25, 587 and 465, to Postfix.
#[test]
fn every_client_sends_through_to_postfix() -> Result<()> {
    if !all(&["postconf", "dovecot", "swaks", "msmtp", "python3"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = provider.dovecot()?;
    let postfix = provider.postfix(&dovecot, "")?;
    let gateway = provider.gateway("")?;
    let sent = send_all(&gateway, postfix.submission.port(), postfix.smtps.port())?;
    check(&sent, &postfix.received(sent.len())?, &gateway.take()?);
    let log = gateway.program.log();
    ensure!(!log.contains(postern_tests::provider::PASSWORD), "a password in the log");
    Ok(())
}

/// Goal: the same with another server.
#[test]
fn every_client_sends_through_to_exim() -> Result<()> {
    if !all(&["swaks", "msmtp", "python3"]) || exim::installed().is_none() {
        return Ok(());
    }
    let provider = Provider::new()?;
    let exim = provider.exim("")?;
    let gateway = provider.gateway("")?;
    let sent = send_all(&gateway, exim.submission.port(), exim.smtps.port())?;
    check(&sent, &exim.received(sent.len())?, &gateway.take()?);
    Ok(())
}
