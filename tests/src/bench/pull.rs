//! Pulls into an archive, durable, beside what people use today: IMAP and mbsync, POP3 and mpop and getmail6, a gateway and a raw
//! POP3S reader; and a run over many folders in which nothing changed.
//!
//! Ours is `profile run` as a process of its own, into an instance without any message, but for the time in which its index catches up
//! at the end: what a run says to be archived is on disk before. Peers are timed as the commands they are, and are as durable as they
//! make themselves. The login is in all; the raw reader asks for no list.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::imap::{MESSAGE_BYTES, Mbsync, PASSWORD, USER, message};
use super::intake::Gateway;
use super::load::Load;
use super::reader::Maildrop;
use super::{Plan, Rates, progress, rate, settle};
use crate::foreign::{self, has};
use crate::program::{Kind, Program};
use crate::upstream::{Authority, Dovecot};
use crate::{Security, archive};

const FOLDERS: usize = 500;

/// Measures all rows that are asked for.
pub fn run(plan: &Plan) -> Result<()> {
    let rows = ["archive by IMAP", "archive by POP3", "archive from a gateway", "archive, nothing new"];
    if !rows.iter().any(|row| plan.wants(row)) {
        return Ok(());
    }
    let count = plan.download_messages * 5 / 2;
    println!("\nPull into an archive of {count} × 50 KB over TLS, durable; messages per second");
    println!("{:24} {:>22} {:>10} {:>20} {:>6}", "", "ours", "peer", "", "ratio");
    if rows.iter().any(|row| *row != "archive from a gateway" && plan.wants(row)) && has("dovecot") {
        from_dovecot(plan, count)?;
    }
    if plan.wants("archive from a gateway") {
        from_gateway(plan, count)?;
    }
    Ok(())
}

fn line(row: &str, ours: &Rates, peer: &str, theirs: &Rates) {
    let ratio = ours.median() / theirs.median();
    println!("{row:24} {ours:>22} {peer:>10} {theirs:>20} {ratio:>6.2}");
}

fn from_dovecot(plan: &Plan, count: usize) -> Result<()> {
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let mut dovecot = Dovecot::with(&identity).below(&plan.dir).user(USER, PASSWORD).imap().start()?;
    progress(&format!("archive: {count} messages into the mailbox"));
    for first in (0..count).step_by(500) {
        let messages: Vec<_> = (first..count.min(first + 500)).map(message).collect();
        dovecot.deliver(USER, &messages)?;
    }
    let (_, imaps) = dovecot.imap.context("no IMAP")?;
    let certificate = authority.certificate();
    let profile = |kind: &str, port: u16| {
        format!(
            "name = \"bench\"\n[source]\ntype = \"{kind}\"\nhost = \"localhost\"\nport = {port}\ntrust = \"file:{}\"\n\
             username = \"{USER}\"\npassword = \"{PASSWORD}\"\n[assign]\nmode = \"user\"\nuser = \"anna\"\n",
            certificate.display()
        )
    };
    // So that Dovecot's indexes exist.
    let (by_imap, by_pop3) = (profile("imap", imaps.port()), profile("pop3", dovecot.pop3s.port()));
    Ours::fresh(plan, &by_imap)?.run(count)?;
    if plan.wants("archive by IMAP") && has("mbsync") {
        let mbsync = Mbsync { port: imaps.port(), authority: &certificate, dir: &plan.dir.join("mbsync") };
        let (mut ours, mut theirs) = (Rates::default(), Rates::default());
        for round in 1..=plan.rounds {
            progress(&format!("archive by IMAP, round {round} of {}", plan.rounds));
            settle()?;
            ours.push(Ours::fresh(plan, &by_imap)?.run(count)?);
            settle()?;
            mbsync.prepare()?;
            theirs.push(mbsync.pull(count)?);
        }
        line("archive by IMAP", &ours, "mbsync", &theirs);
    }
    if plan.wants("archive by POP3") {
        pop3_row(plan, &by_pop3, count, (dovecot.pop3s.port(), &certificate))?;
    }
    if plan.wants("archive, nothing new") {
        dovecot.make_folders(USER, FOLDERS)?;
        let ours = Ours::fresh(plan, &by_imap)?;
        ours.run(count)?;
        let start = Instant::now();
        ours.pull(0)?;
        println!(
            "nothing new in {FOLDERS} folders: {:.2} s a run, process and login included",
            start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn pop3_row(plan: &Plan, profile: &str, count: usize, server: (u16, &Path)) -> Result<()> {
    let (mut ours, mut mpops, mut getmails) = (Rates::default(), Rates::default(), Rates::default());
    let (mpop, getmail) = (has("mpop"), has("getmail"));
    for round in 1..=plan.rounds {
        progress(&format!("archive by POP3, round {round} of {}", plan.rounds));
        settle()?;
        ours.push(Ours::fresh(plan, profile)?.run(count)?);
        settle()?;
        if mpop {
            mpops.push(peer(plan, count, |dir| mpop_command(dir, server))?);
        }
        settle()?;
        // Once: it takes a minute.
        if getmail && round == 1 {
            getmails.push(peer(plan, count, |dir| getmail_command(dir, server))?);
        }
    }
    line("archive by POP3", &ours, "mpop", &mpops);
    line("", &ours, "getmail6", &getmails);
    Ok(())
}

/// Fetches into an empty Maildir; messages per second.
fn peer(plan: &Plan, count: usize, command: impl FnOnce(&Path) -> Result<Command>) -> Result<f64> {
    let dir = plan.dir.join("peer");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    for sub in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(dir.join("maildir").join(sub))?;
    }
    let mut command = command(&dir)?;
    let start = Instant::now();
    foreign::run(&mut command)?;
    let taken = start.elapsed();
    let stored = std::fs::read_dir(dir.join("maildir/new"))?.count();
    ensure!(stored >= count, "{command:?} stored {stored} of {count}");
    Ok(rate(count, taken))
}

fn mpop_command(dir: &Path, (port, authority): (u16, &Path)) -> Result<Command> {
    let settings = dir.join("mpoprc");
    std::fs::write(
        &settings,
        format!(
            "account default\nhost localhost\nport {port}\nuser \"{USER}\"\npassword \"{PASSWORD}\"\ntls on\n\
             tls_starttls off\ntls_trust_file {}\nkeep on\nreceived_header off\ndelivery maildir {1}/maildir\n\
             uidls_file {1}/uidls\n",
            authority.display(),
            dir.display()
        ),
    )?;
    foreign::run(Command::new("chmod").arg("600").arg(&settings))?;
    let mut command = Command::new("mpop");
    command.arg(format!("--file={}", settings.display())).arg("--quiet");
    Ok(command)
}

fn getmail_command(dir: &Path, (port, authority): (u16, &Path)) -> Result<Command> {
    std::fs::write(
        dir.join("getmailrc"),
        format!(
            "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {port}\nusername = {USER}\n\
             password = {PASSWORD}\nca_certs = {}\n[destination]\ntype = Maildir\npath = {}/maildir/\nuser = games\n\
             [options]\ndelete = false\nread_all = true\nverbose = 0\nreceived = false\ndelivered_to = false\n",
            authority.display(),
            dir.display()
        ),
    )?;
    // As root it wants to deliver as somebody else, who must reach the maildir.
    foreign::run(Command::new("chmod").args(["-R", "a+rwX"]).arg(dir))?;
    let mut command = Command::new("getmail");
    command.arg(format!("--getmaildir={}", dir.display()));
    Ok(command)
}

/// Reads the mailbox raw, and pulls it into an archive, which empties it: so it is filled for each round.
fn from_gateway(plan: &Plan, count: usize) -> Result<()> {
    let (mut ours, mut raw) = (Rates::default(), Rates::default());
    let gateway = Gateway::start(&plan.dir)?;
    let profile = archive::profile(&gateway.program, &gateway.mailbox, &gateway.mailbox.password)?;
    let profile = profile.replace("name = \"journal\"", "name = \"bench\"");
    for round in 1..=plan.rounds {
        progress(&format!("archive from a gateway, round {round} of {}", plan.rounds));
        let load = Load::new(8, MESSAGE_BYTES, Security::Clear);
        load.fill(gateway.program.address("smtp")?, &gateway.mailbox.address, count)?;
        settle()?;
        let maildrop = Maildrop {
            address: gateway.program.address("pop3s")?,
            user: gateway.mailbox.id.clone(),
            password: gateway.mailbox.password.clone(),
        };
        raw.push(maildrop.whole(count, MESSAGE_BYTES)?);
        settle()?;
        ours.push(Ours::fresh(plan, &profile)?.run(count)?);
    }
    line("archive from a gateway", &ours, "raw POP3S", &raw);
    Ok(())
}

/// An archiver with an instance and a profile.
struct Ours(Program);

impl Ours {
    fn fresh(plan: &Plan, profile: &str) -> Result<Self> {
        let dir = plan.dir.join("archive");
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        let program = Program::in_dir(Kind::Archiver, &dir, "")?;
        program.json(&["instance", "create", "main"])?;
        program.json(&["user", "add", "anna", "--email", "anna@mail.test", "--instance", "main"])?;
        let file = dir.join("bench.toml");
        std::fs::write(&file, profile)?;
        program.json(&[
            "profile",
            "put",
            "--file",
            file.to_str().context("no text")?,
            "--instance",
            "main",
        ])?;
        Ok(Self(program))
    }

    /// Runs the profile; messages per second until all of them were durable.
    fn run(&self, count: usize) -> Result<f64> {
        let start = Instant::now();
        let ran = self.pull(count)?;
        let indexing = Duration::from_millis(ran["index_ms"].as_u64().context("no time")?);
        Ok(rate(count, start.elapsed().saturating_sub(indexing)))
    }

    fn pull(&self, count: usize) -> Result<Value> {
        let ran = self.0.json(&["profile", "run", "bench", "--instance", "main"])?;
        let archived =
            ran["archived"].as_u64().context("no count")? + ran["duplicates"].as_u64().unwrap_or(0);
        ensure!(archived == count as u64 && ran["failed"] == 0, "{ran}");
        Ok(ran)
    }
}
