//! Exim, and what sends mail.

use anyhow::{Context as _, Result};
use postern_tests::Security::{Clear, Implicit, StartTls};
use postern_tests::clients::thunderbird::{self, Flights};
use postern_tests::clients::{Account, Mail, Trust, msmtp, smtplib, swaks};
use postern_tests::smtp::SmtpClient;
use postern_tests::upstream::{Authority, Exim, exim};

use crate::{PASSWORD, USER, all, awkward};

/// Goal: every client that sends is let in, and what it sent is there with its envelope, octet for octet; one recipient
/// is refused.
#[test]
fn every_client_sends_what_exim_receives() -> Result<()> {
    if exim::installed().is_none() || !all(&["swaks", "msmtp", "python3"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let exim = Exim::start(&authority.identity()?, USER, PASSWORD, "")?;
    let to = ["bob@mail.test", "carol@elsewhere.test"];
    let mail = Mail { from: "anna@mail.test", to: &to, content: b"" };
    let mut sent = Vec::new();
    for security in [StartTls, Implicit] {
        let address = if security == Implicit { exim.smtps } else { exim.submission };
        let account = Account::new(address, security, USER, PASSWORD).trusting(Trust::from(&authority));
        for number in sent.len()..sent.len() + 5 {
            sent.push(awkward(number));
            let content = Mail { content: &sent[number], ..mail };
            let said = match number % 5 {
                0 => swaks::send(&account, content, &["--auth", "LOGIN"]).map(drop),
                1 => msmtp::send(&account, content).map(drop),
                2 => smtplib::send(&account, "PLAIN", content).map(drop),
                3 => thunderbird::send(&account, "PLAIN", content, Flights::Each).map(drop),
                _ => thunderbird::send(&account, "PLAIN", content, Flights::One).map(drop),
            };
            said.with_context(|| format!("{number}, {security:?}\n{}", exim.log()))?;
        }
        let nobody = Mail { to: &["nobody@mail.test"], content: b"x\r\n", ..mail };
        let refused = swaks::send(&account, nobody, &[]).unwrap_err().to_string();
        assert!(refused.contains("550 5.1.1 Unknown user"), "{refused}");
    }
    let received = exim.received(sent.len())?;
    assert_eq!(received.len(), sent.len());
    for (received, content) in received.iter().zip(&sent) {
        assert_eq!(
            (received.from.as_str(), received.to.as_slice()),
            ("anna@mail.test", &to.map(str::to_owned)[..])
        );
        assert!(received.content == *content, "{}", String::from_utf8_lossy(&received.content));
    }
    Ok(())
}

/// Goal: AUTH waits for TLS, a wrong password lets nobody in, and without AUTH nothing is taken.
#[test]
fn exim_takes_nothing_without_a_login_under_tls() -> Result<()> {
    if exim::installed().is_none() || !all(&["swaks"]) {
        return Ok(());
    }
    let authority = Authority::new()?;
    let exim = Exim::start(&authority.identity()?, USER, PASSWORD, "")?;
    let client = SmtpClient::connect(exim.submission, Clear)?;
    assert!(!client.extensions.iter().any(|line| line.starts_with("AUTH")), "{:?}", client.extensions);
    let mut client = SmtpClient::connect(exim.submission, StartTls)?;
    let reply = client.send("a@mail.test", &["b@mail.test"], b"x\r\n")?;
    assert_eq!((reply.code, reply.lines[0].as_str()), (550, "5.7.0 Authentication required"));
    let account = Account::new(exim.submission, StartTls, USER, "wrong");
    let mail = Mail { from: "a@mail.test", to: &["b@mail.test"], content: b"x\r\n" };
    let refused = swaks::send(&account, mail, &[]).unwrap_err().to_string();
    assert!(refused.contains("535"), "{refused}");
    assert_eq!(exim.received(0)?, []);
    Ok(())
}
