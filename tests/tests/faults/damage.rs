//! Files of the spool cut short or altered, while the gateway stands still and while it runs.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use postern_tests::pop3::{Pop3Client, without_trace};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::prometheus::{Scrape, get};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Security, messages};

const MONITORED: &str = "metrics = \"127.0.0.1:0\"\n";

/// Two mailboxes: the first three messages and the one in a file of its own are the first's, the last is the other's.
struct Stage {
    gateway: Program,
    ours: NewMailbox,
    others: NewMailbox,
}

const OURS: [(usize, usize); 4] = [(0, 2_000), (1, 100_000), (2, 2_000), (3, 400_000)];
const OTHERS: (usize, usize) = (9, 2_000);

impl Stage {
    fn new() -> Result<Self> {
        let gateway = Program::started(Kind::Gateway, MONITORED)?;
        let ours = NewMailbox::create(&gateway, "ours")?;
        let others = NewMailbox::create(&gateway, "others")?;
        let stage = Self { gateway, ours, others };
        for (number, bytes) in OURS {
            stage.deliver(&stage.ours, number, bytes)?;
        }
        stage.deliver(&stage.others, OTHERS.0, OTHERS.1)?;
        Ok(stage)
    }

    fn deliver(&self, mailbox: &NewMailbox, number: usize, bytes: usize) -> Result<()> {
        let mut client = SmtpClient::connect(self.gateway.address("smtp")?, Security::Clear)?;
        let reply = client.send("a@example.com", &[&mailbox.address], &messages::sized(number, bytes))?;
        ensure!(reply.code == 250, "{reply:?}");
        client.quit()
    }

    fn login(&self, mailbox: &NewMailbox) -> Result<Pop3Client> {
        loop {
            match Pop3Client::login(
                self.gateway.address("pop3s")?,
                Security::Implicit,
                &mailbox.id,
                &mailbox.password,
            ) {
                Err(error) if error.to_string().contains("[IN-USE]") => {}
                other => return other,
            }
        }
    }

    /// The messages that can be read, as they were sent; the others cost an answer or the connection, and no more.
    fn readable(&self, mailbox: &NewMailbox) -> Result<Vec<Vec<u8>>> {
        let mut client = self.login(mailbox)?;
        let mut whole = Vec::new();
        for (number, _) in client.list()? {
            match client.content(&format!("RETR {number}")) {
                Ok(served) => whole.push(without_trace(&served).to_vec()),
                Err(_) if client.command("NOOP").is_err() => client = self.login(mailbox)?,
                Err(_) => {}
            }
        }
        client.quit()?;
        Ok(whole)
    }

    /// What is left is served, the other mailbox does not notice, both take mail.
    fn check(&self, left: &[usize]) -> Result<()> {
        let expected: Vec<Vec<u8>> =
            left.iter().map(|at| messages::sized(OURS[*at].0, OURS[*at].1)).collect();
        ensure!(self.readable(&self.ours)? == expected, "what is not damaged is served");
        ensure!(self.readable(&self.others)? == [messages::sized(OTHERS.0, OTHERS.1)], "others are served");
        Ok(())
    }

    /// `status`, the log and the metrics tell of damage in that file, at that octet.
    fn told(&self, file: &Path, offset: u64) -> Result<()> {
        let place = format!("{} at byte {offset}", file.display());
        let status = self.gateway.json(&["status"])?;
        let damage = status["damage"].as_array().context("no list")?;
        let told = damage.iter().any(|what| what.as_str().is_some_and(|what| what.contains(&place)));
        ensure!(told, "status: no {place} in {damage:?}");
        let (name, log) = (file.to_str().context("text")?, self.gateway.log());
        let offset = format!("offset={offset}");
        let logged = log.lines().any(|line| line.contains(name) && line.contains(&offset));
        ensure!(logged, "log: no {name} with {offset} in:\n{log}");
        let scrape = Scrape::parse(&get(self.gateway.address("metrics")?, "/metrics")?.1)?;
        ensure!(scrape.value("postern_gateway_damage")? >= 1.0, "metrics");
        Ok(())
    }

    fn take_mail(&self) -> Result<()> {
        self.deliver(&self.ours, 10, 2_000)?;
        self.deliver(&self.others, 11, 400_000)
    }

    /// The newest file in a folder of the spool.
    fn file(&self, folder: &str) -> Result<PathBuf> {
        let entries = std::fs::read_dir(self.gateway.data_dir().join("spool").join(folder))?;
        let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.retain(|path| {
            path.extension().is_some_and(|extension| extension == "seg" || extension == "msg")
        });
        paths.sort();
        paths.pop().with_context(|| format!("nothing in {folder}"))
    }
}

/// Where each record of a segment begins: they say how long they are, see the room `spool` in the gateway.
fn records(segment: &Path) -> Result<Vec<u64>> {
    let octets = std::fs::read(segment)?;
    let mut at = 32;
    let mut found = Vec::new();
    while octets.get(at..at + 4) == Some(b"PSR1") {
        found.push(at as u64);
        let body =
            if octets[at + 4] == 1 { u64::from_be_bytes(octets[at + 48..at + 56].try_into()?) } else { 0 };
        at += 68 + usize::try_from(body)?;
    }
    Ok(found)
}

fn flip(file: &Path, offset: u64) -> Result<()> {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file)?;
    let mut octet = [0];
    file.read_exact_at(&mut octet, offset)?;
    Ok(file.write_all_at(&[octet[0] ^ 0x10], offset)?)
}

fn cut(file: &Path, bytes: u64) -> Result<()> {
    Ok(std::fs::OpenOptions::new().write(true).open(file)?.set_len(bytes)?)
}

/// Goal: a flipped bit found at start, in a header or a body, costs that message only and is told with its place.
#[test]
fn a_bit_flipped_while_stopped_costs_one_message() -> Result<()> {
    for into_record in [20, 68 + 70_000] {
        let mut stage = Stage::new()?;
        let segment = stage.file("segments")?;
        stage.gateway.stop()?;
        let record = records(&segment)?[1];
        flip(&segment, record + into_record)?;
        stage.gateway.start()?;
        stage.told(&segment, record)?;
        stage.check(&[0, 2, 3])?;
        stage.take_mail()?;
    }
    Ok(())
}

/// Goal: a segment that was cut short while others followed it says so, and what is before the cut is served.
#[test]
fn a_segment_cut_short_while_stopped_serves_what_is_left() -> Result<()> {
    let mut stage = Stage::new()?;
    let segment = stage.file("segments")?;
    // A second segment: the first is settled then, and its end is known.
    stage.gateway.stop()?;
    stage.gateway.start()?;
    stage.deliver(&stage.others, 12, 2_000)?;
    stage.gateway.stop()?;
    let record = records(&segment)?[1];
    cut(&segment, record + 1000)?;
    stage.gateway.start()?;
    stage.told(&segment, record + 1000)?;
    // The third message is lost with the segment's end; the one in a file of its own is found by that file.
    ensure!(
        stage.readable(&stage.ours)? == [messages::sized(0, 2_000), messages::sized(3, 400_000)],
        "what is left is served"
    );
    ensure!(stage.readable(&stage.others)? == [messages::sized(12, 2_000)], "and the next segment");
    stage.take_mail()
}

/// Goal: the same for files of their own: cut short, altered in their midst, or gone, they cost their message only.
#[test]
fn a_large_file_damaged_while_stopped_costs_one_message() -> Result<()> {
    type Harm = fn(&Path) -> Result<()>;
    let harms: [Harm; 3] =
        [|file| cut(file, 1000), |file| flip(file, 200_000), |file| Ok(std::fs::remove_file(file)?)];
    for harm in harms {
        let mut stage = Stage::new()?;
        let large = stage.file("large")?;
        stage.gateway.stop()?;
        harm(&large)?;
        stage.gateway.start()?;
        stage.check(&[0, 1, 2])?;
        stage.told(&large, 0)?;
        stage.take_mail()?;
    }
    Ok(())
}

/// Goal: damage that comes while the gateway runs is noticed when the message is read, told with its place, and costs
/// that message only.
#[test]
fn a_bit_flipped_while_running_costs_one_message() -> Result<()> {
    let stage = Stage::new()?;
    let (segment, large) = (stage.file("segments")?, stage.file("large")?);
    let record = records(&segment)?[1];
    flip(&segment, record + 68 + 70_000)?;
    stage.check(&[0, 2, 3])?;
    stage.told(&segment, record + 68)?;
    flip(&large, 200_000)?;
    stage.check(&[0, 2])?;
    stage.told(&large, 0)?;
    stage.take_mail()
}

/// Goal: the same for a segment that is cut short under the gateway: what it acknowledges from then on is not lost, also
/// when it starts anew.
#[test]
fn a_segment_cut_short_while_running_does_not_harm_what_follows() -> Result<()> {
    let mut stage = Stage::new()?;
    let segment = stage.file("segments")?;
    let all = records(&segment)?;
    cut(&segment, all[1] + 1000)?;
    ensure!(
        stage.readable(&stage.ours)? == [messages::sized(0, 2_000), messages::sized(3, 400_000)],
        "what is left is served"
    );
    stage.told(&segment, all[1] + 68)?;
    stage.told(&segment, all[2] + 68)?;
    stage.take_mail()?;
    let later = [messages::sized(0, 2_000), messages::sized(3, 400_000), messages::sized(10, 2_000)];
    for restarted in [false, true] {
        if restarted {
            stage.gateway.stop()?;
            stage.gateway.start()?;
        }
        ensure!(stage.readable(&stage.ours)? == later, "restarted: {restarted}");
        ensure!(stage.readable(&stage.others)? == [messages::sized(11, 400_000)], "restarted: {restarted}");
    }
    Ok(())
}
