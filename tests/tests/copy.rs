//! A plain copy of the data directory, taken while mail comes in, is a backup.

use std::collections::HashSet;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use postern_tests::foreign::run;
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Security, messages};

/// Goal: everything acknowledged before the copy began is in it, whole, and nothing else is half.
#[test]
fn a_copy_taken_under_load_holds_what_was_acknowledged_before() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let smtp = gateway.address("smtp")?;
    let acknowledged: Mutex<Vec<usize>> = Mutex::default();
    let message = |n: usize| messages::sized(n, if n.is_multiple_of(10) { 400_000 } else { 3_000 });
    let copy = tempfile::tempdir()?;
    let count = || acknowledged.lock().map_or(0, |numbers| numbers.len());

    let before = std::thread::scope(|scope| -> Result<Vec<usize>> {
        let sender = scope.spawn(|| -> Result<()> {
            let mut client = SmtpClient::connect(smtp, Security::Clear)?;
            for n in 0..600 {
                ensure!(client.send("a@example.com", &[&mailbox.address], &message(n))?.code == 250);
                acknowledged.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.push(n);
            }
            Ok(())
        });
        while count() < 150 && !sender.is_finished() {
            std::thread::yield_now();
        }
        let before = acknowledged.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.clone();
        run(Command::new("cp").arg("-a").arg(gateway.data_dir()).arg(copy.path()))?;
        sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        Ok(before)
    })?;
    assert!(before.len() >= 150);

    let mut restored = Program::in_dir(Kind::Gateway, copy.path(), "")?;
    restored.start()?;
    // A long message that arrived while `cp` was at work may be there in half, and is then told as damage: nothing else.
    let status = restored.json(&["status"])?;
    let damage = status["damage"].as_array().context("no list")?;
    assert!(damage.iter().all(|what| what.as_str().is_some_and(|what| what.contains("large"))), "{damage:?}");
    let mut client =
        Pop3Client::login(restored.address("pop3s")?, Security::Implicit, &mailbox.id, &mailbox.password)?;
    let mut served = HashSet::new();
    for (number, _) in client.list()? {
        if let Ok(message) = client.content(&format!("RETR {number}")) {
            served.insert(without_trace(&message).to_vec());
        }
    }
    for n in before {
        assert!(served.contains(&message(n)), "message {n} was acknowledged before the copy began");
    }
    let all: HashSet<Vec<u8>> = (0..600).map(message).collect();
    assert!(served.is_subset(&all), "what is there is whole");
    restored.stop().context("stopping")?;
    Ok(())
}
