//! Several gateways in one profile.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use postern_archiver::profiles::Profile;
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Security, messages};
use serde_json::{Value, json};

use crate::{Archive, sorted};

struct Mx {
    program: Program,
    mailbox: NewMailbox,
}

impl Mx {
    fn start() -> Result<Self> {
        let program = Program::started(Kind::Gateway, "")?;
        let mailbox = NewMailbox::create(&program, "journal")?;
        Ok(Self { program, mailbox })
    }

    fn deliver(&self, message: &[u8]) -> Result<()> {
        let mut client = SmtpClient::connect(self.program.address("smtp")?, Security::StartTls)?;
        ensure!(client.send("anna@example.com", &[&self.mailbox.address], message)?.code == 250);
        Ok(())
    }

    fn settings(&self) -> Result<Value> {
        let address = self.program.address("pop3s")?;
        let certificate = self.program.json(&["certificate", "show"])?;
        let trust = certificate["fingerprint"].as_str().context("no fingerprint")?;
        Ok(json!({
            "host": address.ip().to_string(), "port": address.port(), "trust": trust,
            "username": self.mailbox.id, "password": self.mailbox.password,
        }))
    }
}

fn report(number: usize) -> (Vec<u8>, Vec<u8>) {
    let original = messages::plain(number, "anna@example.com", "bob@example.com", "two hosts", "x");
    (messages::journal_report("anna@example.com", &["To: bob@example.com"], "two hosts", &original), original)
}

fn profile(gateways: &[Value], more: &Value) -> Result<Profile> {
    let mut profile = json!({ "name": "journal", "source": { "type": "gateway", "gateway": gateways } });
    crate::merge(&mut profile, more);
    Ok(Profile::from_json(profile)?)
}

/// Goal: what two MX hosts got is one archive, and what both got is one message; each empties. One that is down does not stop
/// the other, and is told.
#[tokio::test]
async fn two_gateways_fold_into_one_archive() -> Result<()> {
    let (first, mut second) = (Mx::start()?, Mx::start()?);
    let both = profile(&[first.settings()?, second.settings()?], &json!({}))?;
    first.deliver(&report(1).0)?;
    second.deliver(&report(1).0)?;
    second.deliver(&report(2).0)?;
    let archive = Archive::new(&[("anna", "anna@example.com"), ("bob", "bob@example.com")])?;
    let ran = archive.run(&both).await?;
    assert_eq!((ran.archived, ran.duplicates, ran.deleted_at_source), (2, 1, 3), "{ran:?}");
    for (user, folder) in [("anna", "Journal/Outgoing"), ("bob", "Journal/Incoming")] {
        let expected = sorted(vec![report(1).1, report(2).1]);
        assert_eq!(sorted(archive.contents(user, folder)?), expected, "{user}");
    }
    first.deliver(&report(3).0)?;
    second.program.kill()?;
    let ran = archive.run(&both).await?;
    assert_eq!((ran.archived, ran.accounts_failed), (1, 1), "{ran:?}");
    assert!(ran.errors[0].contains("cannot connect"), "{:?}", ran.errors);
    Ok(())
}

/// Goal: a gateway's mail may stay for a while or for good, and is not pulled again meanwhile. What an archive does not give
/// back stays at the gateway.
#[tokio::test]
async fn a_gateways_mail_may_stay_for_a_while() -> Result<()> {
    let mx = Mx::start()?;
    let archive = Archive::new(&[("bob", "bob@example.com")])?;
    let later = profile(&[mx.settings()?], &json!({ "after": { "delete": true, "days": 1 } }))?;
    for number in 0..5 {
        mx.deliver(&report(number).0)?;
    }
    let ran = archive.run(&later).await?;
    assert_eq!((ran.archived, ran.deleted_at_source, ran.pending_deletions), (5, 0, 5), "{ran:?}");
    let ran = archive.run(&later).await?;
    assert_eq!((ran.archived, ran.duplicates, ran.deleted_at_source), (0, 0, 0), "{ran:?}");
    archive.clock.advance(Duration::from_secs(24 * 3600));
    archive.damage()?;
    let ran = archive.run(&later).await?;
    assert_eq!((ran.deleted_at_source, ran.errors.len()), (0, 5), "{ran:?}");
    Ok(())
}
