//! A plain copy of the data directory, taken while mail comes in and goes out, is a backup.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use anyhow::{Context, Result, ensure};
use postern_tests::program::{Kind, Program};

use crate::ledger::Ledger;
use crate::load::{Doors, LIMITS, Load, number};

/// Goal: everything acknowledged before the copy began, and not deleted since, is in it, whole; what was deleted before
/// is not; and nothing is served in half.
/// Method: the load of `kill`, a copy amid it, a gateway started on the copy.
#[test]
fn a_copy_taken_under_load_holds_what_was_acknowledged_before() -> Result<()> {
    let seed = number("POSTERN_SOAK_SEED", 1);
    let gateway = Program::started(Kind::Gateway, LIMITS)?;
    let load = Load::new(&gateway, seed)?;
    let copy = tempfile::tempdir()?;
    let (sender, accepted) = mpsc::channel();
    let doors = Doors::of(&gateway, sender)?;

    let (before, after) =
        load.amid(&doors, &accepted, || copy_all(&gateway.data_dir(), copy.path()).map(drop))?;

    let mut restored = Program::in_dir(Kind::Gateway, copy.path(), LIMITS)?;
    restored.start()?;
    check_copy(&restored, &load, &before, &after)?;
    restored.stop().context("stopping")?;
    Ok(())
}

/// A gateway on a copy holds what was promised before the copy began and still was when it ended, and nothing that was
/// deleted before.
pub(crate) fn check_copy(restored: &Program, load: &Load, before: &Ledger, after: &Ledger) -> Result<()> {
    let seed = load.seed;
    for mailbox in 0..load.mailboxes.len() {
        let held = held(restored, load, mailbox)?;
        let promised: Vec<usize> =
            before.promised(mailbox).filter(|number| after.copies((mailbox, *number)).least > 0).collect();
        ensure!(!promised.is_empty(), "seed {seed}: something was promised");
        for number in promised {
            let count = held.iter().filter(|held| **held == number).count();
            ensure!(
                count == 1,
                "seed {seed}: message {number} is {count} times in the copy's mailbox {mailbox}"
            );
        }
        let now = load.ledger();
        for number in held {
            let key = (mailbox, number);
            let deleted = before.knows(key) && before.copies(key).most < 1;
            ensure!(
                now.knows(key) && !deleted,
                "seed {seed}: message {number} is in the copy's mailbox {mailbox}"
            );
        }
    }
    Ok(())
}

/// `cp -a`, which goes on past a file that vanished since it listed the directory and then exits with 1. Only what nobody
/// was promised may vanish: a long message that its sender gave up, a prepared segment that got its number.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let output = Command::new("cp").env("LC_ALL", "C").arg("-a").arg(from).arg(to).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let vanished = |line: &str| {
        line.ends_with(": No such file or directory")
            && (line.contains("/spool/large/") || line.contains("/spool/segments/prepared."))
    };
    ensure!(said.lines().all(vanished) && (output.status.success() || !said.is_empty()), "cp: {said}");
    Ok(())
}

/// What can be read of a mailbox. A message that came while `cp` was at work may be listed and be there in half only; it
/// is not served then.
fn held(gateway: &Program, load: &Load, mailbox: usize) -> Result<Vec<usize>> {
    let doors = Doors::of(gateway, mpsc::channel().0)?;
    let mut client = load.login(&doors, mailbox)?;
    let mut held = Vec::new();
    for (number, _) in client.list()? {
        match client.content(&format!("RETR {number}")) {
            Ok(served) => held.push(load.recognise(&served)?),
            // Found out amid the message, which ends the connection; or before it, which is an answer.
            Err(_) if client.command("NOOP").is_err() => client = load.login_when_free(&doors, mailbox)?,
            Err(_) => {}
        }
    }
    client.quit()?;
    Ok(held)
}
