//! Postfix behind Dovecot's SASL, and what sends mail.

use anyhow::{Context as _, Result};
use postern_tests::Security::{self, Clear, Implicit, StartTls};
use postern_tests::clients::thunderbird::{self, Flights};
use postern_tests::clients::{Account, Mail, Trust, msmtp, smtplib, swaks};
use postern_tests::smtp::SmtpClient;
use postern_tests::upstream::submission::reject_recipient;
use postern_tests::upstream::{Authority, Dovecot, Received, Submission};

use crate::{PASSWORD, USER, all, awkward};

struct Provider {
    authority: Authority,
    postfix: Submission,
    _users: Dovecot,
}

impl Provider {
    fn start(more: &str) -> Result<Self> {
        let authority = Authority::new()?;
        let identity = authority.identity()?;
        let users = Dovecot::with(&identity).user(USER, PASSWORD).start()?;
        let postfix = Submission::start(&identity, &users, more)?;
        Ok(Self { authority, postfix, _users: users })
    }

    fn account(&self, security: Security) -> Account {
        let address = if security == Implicit { self.postfix.smtps } else { self.postfix.submission };
        Account::new(address, security, USER, PASSWORD).trusting(Trust::from(&self.authority))
    }
}

const TO: [&str; 2] = ["bob@mail.test", "carol@elsewhere.test"];

fn mail(content: &[u8]) -> Mail<'_> {
    Mail { from: "anna@mail.test", to: &TO, content }
}

fn check(received: &Received, content: &[u8]) {
    assert_eq!(
        (received.from.as_str(), received.to.as_slice()),
        ("anna@mail.test", &TO.map(str::to_owned)[..])
    );
    let shown = String::from_utf8_lossy(&received.content);
    assert!(received.content == content, "{shown}");
}

/// Goal: every client that sends is let in, and what it sent is there with its envelope, octet for octet.
#[test]
fn every_client_sends_what_is_received() -> Result<()> {
    if !all(&["postconf", "dovecot", "swaks", "msmtp", "python3"]) {
        return Ok(());
    }
    let provider = Provider::start("")?;
    let mut sent = Vec::new();
    for security in [StartTls, Implicit] {
        let account = provider.account(security);
        let mut next = || {
            sent.push(awkward(sent.len()));
            sent.last().cloned().unwrap_or_default()
        };
        let context = |client: &str| format!("{client}, {security:?}\n{}", provider.postfix.log());
        let said = swaks::send(&account, mail(&next()), &[]).with_context(|| context("swaks"))?;
        assert!(said.contains("=== TLS started"), "{said}");
        swaks::send(&account, mail(&next()), &["--auth", "LOGIN", "--pipeline"])
            .with_context(|| context("swaks"))?;
        msmtp::send(&account, mail(&next())).with_context(|| context("msmtp"))?;
        for mechanism in ["PLAIN", "LOGIN"] {
            let refused =
                smtplib::send(&account, mechanism, mail(&next())).with_context(|| context("smtplib"))?;
            assert!(refused.is_empty(), "{refused:?}");
        }
        for flights in [Flights::Each, Flights::One] {
            let done = thunderbird::send(&account, "PLAIN", mail(&next()), flights);
            let done = done.with_context(|| context("thunderbird"))?;
            assert!(done.offered.iter().any(|line| line.ends_with("PIPELINING")), "{done:?}");
            assert!(done.last.starts_with("250 "), "{done:?}");
        }
    }
    let received = provider.postfix.received(sent.len())?;
    assert_eq!(received.len(), sent.len());
    for (received, content) in received.iter().zip(&sent) {
        check(received, content);
    }
    Ok(())
}

/// Goal: AUTH waits for TLS, a wrong password lets nobody in, and without AUTH nothing is taken.
#[test]
fn postfix_takes_nothing_without_a_login_under_tls() -> Result<()> {
    if !all(&["postconf", "dovecot", "swaks"]) {
        return Ok(());
    }
    let provider = Provider::start("")?;
    let mut client = SmtpClient::connect(provider.postfix.submission, Clear)?;
    assert!(!client.extensions.iter().any(|line| line.starts_with("AUTH")), "{:?}", client.extensions);
    assert_eq!(client.command("MAIL FROM:<a@mail.test>")?.code, 530);
    let mut client = SmtpClient::connect(provider.postfix.submission, StartTls)?;
    assert_eq!(client.send("a@mail.test", &TO, b"x\r\n")?.code, 554);
    let mut wrong = provider.account(StartTls);
    wrong.password.push('x');
    let refused = swaks::send(&wrong, mail(b"x\r\n"), &[]).unwrap_err().to_string();
    assert!(refused.contains("535 5.7.8"), "{refused}");
    assert_eq!(provider.postfix.received(0)?, []);
    Ok(())
}

/// Goal: what a test wants of its upstream is so: a refused recipient, a limit, an extension left out.
#[test]
fn lines_of_main_cf_shape_it() -> Result<()> {
    if !all(&["postconf", "dovecot", "swaks", "python3"]) {
        return Ok(());
    }
    let more = reject_recipient("bob@mail.test", "550 5.1.1 Nobody of that name")
        + "message_size_limit = 20000\nsmtpd_discard_ehlo_keywords = chunking, pipelining\n";
    let provider = Provider::start(&more)?;
    let account = provider.account(StartTls);
    let refused = smtplib::send(&account, "PLAIN", mail(&awkward(1)))?;
    let refused: Vec<_> = refused.iter().map(|(to, reply)| (to.as_str(), reply.as_str())).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].0 == "bob@mail.test" && refused[0].1.starts_with("550 5.1.1"), "{refused:?}");
    let received = provider.postfix.received(1)?;
    assert_eq!(received[0].to, ["carol@elsewhere.test"]);

    let client = SmtpClient::connect(provider.postfix.submission, StartTls)?;
    let offers = |word: &str| client.extensions.iter().any(|line| line.starts_with(word));
    assert!(offers("SIZE 20000") && !offers("CHUNKING") && !offers("PIPELINING"), "{:?}", client.extensions);
    let long = postern_tests::messages::sized(1, 30_000);
    let only = Mail { to: &["carol@elsewhere.test"], ..mail(&long) };
    let refused = swaks::send(&account, only, &[]).unwrap_err().to_string();
    assert!(refused.contains("552 5.3.4"), "{refused}");
    Ok(())
}
