//! What a POP3 client gets of a message that cannot be recorded.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use postern_tests::messages;
use postern_tests::pop3::Pop3Client;
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::provider::{Gateway, Provider, USER};
use postern_tests::upstream::Dovecot;

use crate::{all, awkward};

/// Message 1 is held until it is recorded, message 2 is streamed while it comes.
fn delivered(provider: &Provider) -> Result<Dovecot> {
    let mut dovecot = provider.dovecot()?;
    dovecot.deliver(USER, &[awkward(1), messages::sized(2, 400_000)])?;
    Ok(dovecot)
}

/// The client gets errors and not an octet of a message, can delete none, and the session goes on.
fn refuses(client: &mut Pop3Client, dovecot: &Dovecot, gateway: &Gateway) -> Result<()> {
    for command in ["RETR 1", "RETR 2", "DELE 1", "DELE 2"] {
        let refused = client.command(command).err().with_context(|| format!("{command} was answered +OK"))?;
        ensure!(refused.to_string().starts_with("-ERR [SYS/TEMP] "), "{command}: {refused}");
    }
    client.command("NOOP")?;
    assert_eq!(dovecot.messages(USER)?.len(), 2);
    ensure!(gateway.program.log().contains("a fetched message could not be recorded"));
    Ok(())
}

/// Goal: a mailbox that was suspended, or is full, lets nothing pass unrecorded; once it is open again all goes on in the
/// same session.
#[test]
fn a_mailbox_that_takes_nothing_gives_nothing() -> Result<()> {
    if !all(&["dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = delivered(&provider)?;
    let gateway = provider.gateway("")?;
    let mut client = gateway.fetching("pop3s", dovecot.pop3s.port())?;
    gateway.set_status("suspended")?;
    refuses(&mut client, &dovecot, &gateway)?;
    gateway.set_status("active")?;
    let edit = |quota| gateway.program.json(&["mailbox", "edit", &gateway.mailbox.id, "--quota", quota]);
    edit("100")?;
    refuses(&mut client, &dovecot, &gateway)?;
    edit("none")?;
    assert_eq!(client.content("RETR 1")?, awkward(1));
    assert!(client.content("RETR 2")? == messages::sized(2, 400_000));
    client.command("DELE 1")?;
    client.quit()?;
    assert_eq!(dovecot.messages(USER)?.len(), 1);
    assert_eq!(gateway.take()?.len(), 2);
    Ok(())
}

/// Goal: an operator who chose so has messages pass unrecorded, and the log says which.
#[test]
fn an_operator_may_let_mail_pass_unrecorded() -> Result<()> {
    if !all(&["dovecot"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = delivered(&provider)?;
    let gateway = provider.gateway("on_recording_failure = \"pass\"\n")?;
    let mut client = gateway.fetching("pop3s", dovecot.pop3s.port())?;
    gateway.set_status("suspended")?;
    assert_eq!(client.content("RETR 1")?, awkward(1));
    assert!(client.content("RETR 2")? == messages::sized(2, 400_000));
    client.command("DELE 2")?;
    client.quit()?;
    assert_eq!(dovecot.messages(USER)?, [awkward(1)]);
    let log = gateway.program.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("could not be recorded")).collect();
    ensure!(lines.len() >= 2, "{log}");
    ensure!(lines.iter().all(|line| line.contains(USER) && line.contains("suspended")), "{lines:?}");
    assert_eq!(gateway.take()?.len(), 0);
    Ok(())
}

/// Goal: when the disk is full nothing passes either way unrecorded, and everything once there is room again.
/// Method: a tmpfs a little larger than what must stay free, and a foreign file on it.
#[test]
fn a_full_disk_stops_mail_both_ways() -> Result<()> {
    if !all(&["dovecot", "postconf"]) {
        return Ok(());
    }
    let provider = Provider::new()?;
    let dovecot = delivered(&provider)?;
    let postfix = provider.postfix(&dovecot, "")?;
    let mut program = Program::new(Kind::Gateway, &provider.settings())?;
    let Some(_disk) = SmallDisk::on(&program.data_dir())? else { return Ok(()) };
    program.start()?;
    let mailbox = NewMailbox::create(&program, "recorded")?;
    let gateway = Gateway { program, mailbox };
    let mut fetching = gateway.fetching("pop3s", dovecot.pop3s.port())?;
    let mut sending = gateway.sending("smtps", postfix.smtps.port())?;
    let foreign = gateway.program.data_dir().join("foreign");
    std::fs::write(&foreign, vec![0; 60 << 20])?;
    refuses(&mut fetching, &dovecot, &gateway)?;
    let refused = sending.send("anna@mail.test", &["bob@mail.test"], &awkward(3))?;
    ensure!(refused.code == 452, "{refused:?}");
    std::fs::remove_file(&foreign)?;
    assert_eq!(fetching.content("RETR 1")?, awkward(1));
    let mut sending = gateway.sending("smtps", postfix.smtps.port())?;
    assert_eq!(sending.send("anna@mail.test", &["bob@mail.test"], &awkward(4))?.code, 250);
    let received = postfix.received(1)?;
    assert!(received.len() == 1 && received[0].content == awkward(4), "{received:?}");
    let copies: Vec<_> = gateway.take()?.into_iter().map(|copy| copy.content).collect();
    assert_eq!(copies, [awkward(1), awkward(4)]);
    Ok(())
}

/// A file system on a program's data directory; unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said aloud, when this machine does not let us.
    fn on(dir: &Path) -> Result<Option<Self>> {
        std::fs::create_dir_all(dir)?;
        let small = ["-t", "tmpfs", "-o", "size=80m", "postern"];
        let output = Command::new("mount").args(small).arg(dir).output()?;
        if output.status.success() {
            return Ok(Some(Self(dir.to_path_buf())));
        }
        eprintln!("SKIPPED: only root may mount: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(None)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // At once for new users, later for a daemon that a failed test leaves to its own end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}
