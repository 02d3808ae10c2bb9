//! A file system that fills up, and one that can no longer be written. Both are mounted for the test, which needs root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postern_tests::foreign::run;
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Security, messages};

/// A file system on a program's data directory; unmounted at the end.
#[derive(Debug)]
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// `None`, said aloud, when this machine does not let us.
    pub(crate) fn on(dir: &Path, arguments: &[&str]) -> Result<Option<Self>> {
        std::fs::create_dir_all(dir)?;
        let output = Command::new("mount").args(arguments).arg(dir).output()?;
        if output.status.success() {
            return Ok(Some(Self(dir.to_path_buf())));
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        eprintln!("SKIPPED: only root may mount a small disk: {}", said.trim());
        Ok(None)
    }

    fn remount(&self, options: &str) -> Result<()> {
        run(Command::new("mount").arg("-o").arg(format!("remount,{options}")).arg(&self.0)).map(drop)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // At once for new users, later for a daemon that a failed test leaves to its own end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// A gateway, its mailbox, and what it acknowledged.
struct Stage {
    gateway: Program,
    mailbox: NewMailbox,
    accepted: Vec<Vec<u8>>,
    sent: usize,
}

impl Stage {
    fn new(mut gateway: Program) -> Result<Self> {
        gateway.start()?;
        let mailbox = NewMailbox::create(&gateway, "journal")?;
        Ok(Self { gateway, mailbox, accepted: Vec::new(), sent: 0 })
    }

    /// The reply to a message of that many octets.
    fn send(&mut self, bytes: usize) -> Result<u16> {
        let mut client = SmtpClient::connect(self.gateway.address("smtp")?, Security::Clear)?;
        self.send_by(&mut client, bytes)
    }

    fn send_by(&mut self, client: &mut SmtpClient, bytes: usize) -> Result<u16> {
        self.sent += 1;
        let message = messages::sized(self.sent, bytes);
        let code = client.send("a@example.com", &[&self.mailbox.address], &message)?.code;
        if code == 250 {
            self.accepted.push(message);
        }
        Ok(code)
    }

    fn login(&self) -> Result<Pop3Client> {
        let NewMailbox { id, password, .. } = &self.mailbox;
        Pop3Client::login(self.gateway.address("pop3s")?, Security::Implicit, id, password)
    }

    /// The maildrop holds what was acknowledged, in order, and nothing else.
    fn check(&self, what: &str) -> Result<()> {
        let mut client = self.login()?;
        let served = client.retrieve_all()?;
        let held: Vec<&[u8]> = served.iter().map(|served| without_trace(served)).collect();
        let whole = held.len() == self.accepted.len()
            && held.iter().zip(&self.accepted).all(|(held, accepted)| *held == accepted.as_slice());
        ensure!(whole, "{what}: {} messages where {} were acknowledged", held.len(), self.accepted.len());
        client.quit()
    }

    fn delete(&mut self, count: usize) -> Result<()> {
        let mut client = self.login()?;
        for number in 1..=count {
            client.command(&format!("DELE {number}"))?;
        }
        client.quit()?;
        self.accepted.drain(..count);
        Ok(())
    }

    /// Sends until it is taken, as a sender that was told to come again.
    fn send_until_taken(&mut self, bytes: usize) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.send(bytes)? {
                250 => return Ok(()),
                451 | 452 => ensure!(begun.elapsed() < Duration::from_secs(60), "it is not taken again"),
                other => anyhow::bail!("{other} for a fault of ours"),
            }
        }
    }

    fn is_ready(&self) -> Result<bool> {
        Ok(postern_tests::prometheus::get(self.gateway.address("metrics")?, "/readyz")?.0 == 200)
    }
}

const MONITORED: &str = "metrics = \"127.0.0.1:0\"\n";

/// Goal: when the disk is full senders are told to come again, archivers go on, what they delete makes room, and mail is
/// taken again, all without a restart; when somebody else has used up even the reserve, nothing is lost either.
/// Method: a tmpfs a little larger than the reserve, filled by mail, then by a foreign file.
#[test]
fn a_full_disk_costs_a_4xx_and_deleting_makes_room() -> Result<()> {
    let gateway = Program::new(Kind::Gateway, MONITORED)?;
    let Some(_disk) = Mounted::on(&gateway.data_dir(), &["-t", "tmpfs", "-o", "size=72m", "postern"])? else {
        return Ok(());
    };
    let mut stage = Stage::new(gateway)?;
    let mut client = SmtpClient::connect(stage.gateway.address("smtp")?, Security::Clear)?;
    // Sizes that are sealed in memory, and such that stream to files of their own and run full on the way.
    let mut refused = Vec::new();
    for turn in 0.. {
        ensure!(turn < 500, "it is never full");
        let bytes = [900_000, 2_000, 60_000][turn % 3];
        match stage.send_by(&mut client, bytes)? {
            250 => {}
            code @ (451 | 452) => refused.push((bytes, code)),
            code => anyhow::bail!("{code} for a full disk"),
        }
        if refused.iter().any(|(bytes, _)| *bytes == 2_000) {
            break;
        }
    }
    assert!(refused.iter().all(|(_, code)| *code == 452), "full is 452: {refused:?}");
    stage.check("full")?;

    stage.delete(3)?;
    stage.send_until_taken(500_000)?;
    stage.send_until_taken(2_000)?;
    stage.check("emptied a little")?;

    let filler = stage.gateway.data_dir().join("filler");
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=64k"])
        .arg(format!("of={}", filler.display()))
        .output()?;
    ensure!(!filled.status.success(), "there is no end of it");
    for bytes in [2_000, 500_000] {
        let code = stage.send(bytes)?;
        assert!(matches!(code, 451 | 452), "{code}");
    }
    assert!(!stage.is_ready()?, "/readyz says so");
    stage.check("without one octet left")?;
    // A deletion that cannot be written is refused, or else it stays.
    let before = stage.accepted.len();
    let refused = stage.delete(1).is_err();
    assert_eq!(stage.accepted.len(), if refused { before } else { before - 1 });
    stage.check("after a deletion without room")?;
    std::fs::remove_file(&filler)?;
    if refused {
        // The file's end alone makes no room beyond the reserve: mail filled that up before.
        stage.delete(1)?;
    }
    stage.send_until_taken(500_000)?;
    stage.check("with room again")?;

    stage.gateway.kill()?;
    stage.gateway.start()?;
    stage.check("restarted")?;
    let status = stage.gateway.json(&["status"])?;
    assert_eq!(status["damage"], serde_json::json!([]), "a full disk damages nothing");
    Ok(())
}

/// Goal: while nothing can be written senders are told to come again and archivers read on; when it can, mail is taken
/// again without a restart; when the kernel has given the file system up, all is there once it is mounted anew.
/// Method: ext4 on a loop device. Linux lets nobody remount it read-only while a file is open for writing, so for the
/// first half files and directories are made immutable, for the second its journal is aborted, as after an I/O error.
#[test]
fn a_read_only_disk_costs_a_4xx_and_is_read_on() -> Result<()> {
    let gateway = Program::new(Kind::Gateway, MONITORED)?;
    let image = gateway.config_file().with_file_name("disk.ext4");
    std::fs::File::create(&image)?.set_len(160 * 1024 * 1024)?;
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("SKIPPED: there is no mkfs.ext4 to make a small disk with");
        return Ok(());
    }
    let image = image.to_str().context("text")?;
    let Some(disk) = Mounted::on(&gateway.data_dir(), &["-t", "ext4", "-o", "loop", image])? else {
        return Ok(());
    };
    let mut stage = Stage::new(gateway)?;
    for bytes in [2_000, 400_000, 60_000] {
        assert_eq!(stage.send(bytes)?, 250);
    }
    let data_dir = stage.gateway.data_dir();
    let chattr = |how: &str| -> Result<()> {
        run(Command::new("chattr").arg("-R").arg(how).arg(data_dir.join("spool")))?;
        run(Command::new("chattr").arg(how).arg(&data_dir)).map(drop)
    };
    chattr("+i")?;
    let refused = [stage.send(2_000)?, stage.send(400_000)?];
    let read = stage.check("immutable");
    let deleted = stage.delete(1);
    let ready = stage.is_ready();
    // Whatever went wrong, it must be possible to remove it.
    chattr("-i")?;
    assert!(refused.iter().all(|code| matches!(code, 451 | 452)), "{refused:?}");
    read?;
    assert!(deleted.is_err(), "a deletion that is not on disk is not confirmed");
    assert!(!ready?, "/readyz says so");
    stage.check("nothing was deleted")?;
    for bytes in [2_000, 400_000] {
        stage.send_until_taken(bytes)?;
    }
    stage.delete(1)?;
    stage.check("writable again")?;

    disk.remount("abort")?;
    for bytes in [2_000, 400_000] {
        let code = stage.send(bytes)?;
        assert!(matches!(code, 451 | 452), "{code}");
    }
    stage.check("given up by the kernel")?;
    stage.gateway.kill()?;
    run(Command::new("umount").arg(&disk.0))?;
    run(Command::new("mount").args(["-t", "ext4", "-o", "loop", image]).arg(&disk.0))?;
    stage.gateway.start()?;
    stage.check("mounted anew")?;
    assert_eq!(stage.send(2_000)?, 250);
    stage.check("and mail is taken")
}
