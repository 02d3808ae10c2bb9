//! `backup` and `restore` of the real program: under load, killed, cancelled, on a full disk.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use postern_tests::bench::load::Load as Stream;
use postern_tests::pop3::Pop3Client;
use postern_tests::program::{Kind, NewMailbox, Program, signal};
use postern_tests::{Security, messages, smtp::SmtpClient};

use crate::copy::check_copy;
use crate::load::{Doors, LIMITS, Load, Random, number};
use crate::small_disk::Mounted;

/// What the program said on standard error, with its exit code.
fn said(program: &Program, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = program.run(arguments)?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("text")
}

/// Goal: everything acknowledged before a backup began, and not deleted since, is in it and opened by the mailbox password over
/// POP3S; what was deleted before is not; nothing is there in half. One more at the same place copies what is new only.
/// Method: the load of `kill`, two backups amid it, one into an archive; each restored into an empty directory.
#[test]
fn a_backup_taken_under_load_holds_what_was_acknowledged_before() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, LIMITS)?;
    let load = Load::new(&gateway, number("POSTERN_SOAK_SEED", 1))?;
    let places = tempfile::tempdir()?;
    for place in ["backup", "backup.tar", "backup"] {
        let place = places.path().join(place);
        let (sender, accepted) = mpsc::channel();
        let doors = Doors::of(&gateway, sender)?;
        let (before, after) = load.amid(&doors, &accepted, || {
            let made = gateway.json(&["backup", text(&place)?])?;
            ensure!(made["damage"] == serde_json::json!([]), "nothing is there in half: {made}");
            Ok(())
        })?;
        let checked = gateway.json(&["backup", "--verify", text(&place)?])?;
        let home = tempfile::tempdir()?;
        let mut restored = Program::in_dir(Kind::Gateway, home.path(), LIMITS)?;
        let answer = restored.json(&["restore", text(&place)?])?;
        ensure!(answer["messages"] == checked["messages"] && answer["mailboxes"] == 2, "{answer}");
        restored.start()?;
        let status = restored.json(&["status"])?;
        ensure!(status["damage"] == serde_json::json!([]), "{status}");
        check_copy(&restored, &load, &before, &after)?;
        let (code, refused) = said(&gateway, &["restore", text(&place)?])?;
        ensure!(code == Some(1) && refused.contains("stop it first"), "a daemon runs there: {refused}");
    }
    Ok(())
}

/// A gateway with so much mail that a backup of it takes a moment.
fn filled() -> Result<(Program, NewMailbox)> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let stream = Stream::new(4, 200_000, Security::Clear);
    stream.repeat(gateway.address("smtp")?, &mailbox.address, 150)?;
    stream_large(&gateway, &mailbox)?;
    Ok((gateway, mailbox))
}

fn stream_large(gateway: &Program, mailbox: &NewMailbox) -> Result<()> {
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::Clear)?;
    for n in 0..20 {
        let reply = client.send("a@example.com", &[&mailbox.address], &messages::sized(n, 400_000))?;
        ensure!(reply.code == 250, "{reply:?}");
    }
    client.quit()
}

/// Goal: a backup that is killed leaves nothing that could be taken for one, and the earlier one whole; a restore that is killed
/// leaves nothing that a gateway starts on; both are simply done again.
/// Method: SIGKILL by the seed, while the daemon runs.
#[test]
fn killed_at_any_moment_the_earlier_backup_stands() -> Result<()> {
    let (gateway, mailbox) = filled()?;
    let place = tempfile::tempdir()?;
    let mut random = Random(number("POSTERN_SOAK_SEED", 1));
    let mut killed = |program: &Program, arguments: &[&str]| -> Result<bool> {
        let mut running = program.command(arguments)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Not to wait for something, but to be at no particular place.
        std::thread::sleep(Duration::from_micros(random.below(250_000) as u64));
        running.kill()?;
        Ok(!running.wait()?.success())
    };
    for to in [place.path().join("backup"), place.path().join("backup.tar")] {
        let (to, mut whole) = (text(&to)?, false);
        for _ in 0..8 {
            whole |= !killed(&gateway, &["backup", to])?;
            let (code, said) = said(&gateway, &["backup", "--verify", to])?;
            ensure!(code == Some(0) || (!whole && said.contains("holds no whole backup")), "{said}");
            whole |= code == Some(0);
        }
        let made = gateway.json(&["backup", to])?;
        ensure!(made["messages"] == 170, "{made}");
        gateway.json(&["backup", "--verify", to])?;
    }

    let backup = place.path().join("backup");
    let home = tempfile::tempdir()?;
    let mut restored = Program::in_dir(Kind::Gateway, home.path(), "")?;
    for _ in 0..8 {
        if !killed(&restored, &["restore", text(&backup)?])? {
            std::fs::remove_dir_all(restored.data_dir())?;
        }
        let mark = restored.data_dir().join("restore-is-not-finished");
        if mark.exists() {
            let (code, refused) = said(&restored, &["serve"])?;
            ensure!(code == Some(1) && refused.contains("was interrupted"), "{refused}");
        }
    }
    restored.json(&["restore", text(&backup)?])?;
    restored.start()?;
    let address = restored.address("pop3s")?;
    let mut client = Pop3Client::login(address, Security::Implicit, &mailbox.id, &mailbox.password)?;
    ensure!(client.retrieve_all()?.len() == 170);
    client.quit()
}

/// Goal: Ctrl-C ends a backup in an orderly way, and says so.
/// Method: interrupted as soon as there is something half; on a machine so fast that none is seen, it is simply done.
#[test]
fn an_interrupted_backup_clears_away() -> Result<()> {
    let (gateway, _) = filled()?;
    let home = tempfile::tempdir()?;
    let place = home.path().join("backup");
    let mut running = gateway.command(&["backup", text(&place)?])?.stderr(Stdio::piped()).spawn()?;
    while !place.join("incoming/data").exists() && running.try_wait()?.is_none() {
        std::thread::yield_now();
    }
    if running.try_wait()?.is_none() {
        signal(&running, "INT")?;
    }
    let output = running.wait_with_output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(!place.join("incoming").exists(), "{said}");
    match output.status.code() {
        Some(0) => ensure!(place.join("current/manifest.json").exists()),
        Some(1) => ensure!(said.contains("cancelled") && !place.join("current").exists(), "{said}"),
        other => bail!("{other:?}: {said}"),
    }
    Ok(())
}

/// Goal: without room the backup is refused in words, before or amid copying, and the earlier one stands.
/// Method: a small disk, filled by somebody else behind the first backup.
#[test]
fn a_full_disk_costs_no_earlier_backup() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    stream_large(&gateway, &mailbox)?;
    let home = tempfile::tempdir()?;
    let place = home.path().join("disk");
    let Some(_disk) = Mounted::on(&place, &["-t", "tmpfs", "-o", "size=24m", "postern"])? else {
        return Ok(());
    };
    let place = text(&place)?;
    ensure!(gateway.json(&["backup", place])?["messages"] == 20);
    stream_large(&gateway, &mailbox)?;
    let filler = Path::new(place).join("current/filler");
    let fill = |size: &str| Command::new("fallocate").args(["-l", size]).arg(&filler).output();
    ensure!(fill("12MiB")?.status.success());
    let (code, said) = said(&gateway, &["backup", place])?;
    ensure!(code == Some(1) && said.contains("make room there"), "{said}");
    let checked = gateway.json(&["backup", "--verify", place])?;
    ensure!(checked["messages"] == 20, "{checked}");
    std::fs::remove_file(&filler)?;
    ensure!(gateway.json(&["backup", place])?["messages"] == 40);
    Ok(())
}

/// Goal: an archive is one that `tar` reads, and a directory one that `cp` restores.
#[test]
fn backups_can_be_read_without_us() -> Result<()> {
    let mut gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    stream_large(&gateway, &mailbox)?;
    let home = tempfile::tempdir()?;
    let (archive, directory) = (home.path().join("b.tar"), home.path().join("b"));
    for place in [&archive, &directory] {
        gateway.json(&["backup", text(place)?])?;
    }
    gateway.stop()?;
    let unpacked = home.path().join("unpacked");
    std::fs::create_dir(&unpacked)?;
    postern_tests::foreign::run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&unpacked))?;
    for (name, data) in [("one", unpacked.join("data")), ("two", directory.join("current/data"))] {
        let mut restored = Program::in_dir(Kind::Gateway, &home.path().join(name), "")?;
        postern_tests::foreign::run(Command::new("cp").arg("-a").arg(data).arg(restored.data_dir()))?;
        restored.start()?;
        let address = restored.address("pop3s")?;
        let mut client = Pop3Client::login(address, Security::Implicit, &mailbox.id, &mailbox.password)?;
        ensure!(client.retrieve_all()?.len() == 20, "{name}");
        client.quit()?;
    }
    Ok(())
}
