//! A run that is killed is repeated without loss or doubles, whatever its source.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Security, messages, profile};
use serde_json::Value;

use crate::{PASSWORD, USER, archiver_of, dovecot, put};

const MESSAGES: usize = 1200;
/// Messages that are committed together.
const BATCH: u64 = 256;
const KILLS: usize = 3;

fn sent() -> Vec<Vec<u8>> {
    (0..MESSAGES).map(|number| messages::sized(number, 10_000)).collect()
}

/// An archiver whose profile `mail` is stored.
struct Killed {
    archiver: Program,
    packs: PathBuf,
}

impl Killed {
    fn new(archiver: Program) -> Self {
        let packs = archiver.data_dir().join("instances/main/stores/0001/packs");
        Self { archiver, packs }
    }

    fn stored(&self) -> u64 {
        let files = std::fs::read_dir(&self.packs).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Kills runs, each as soon as it has archived something, then lets one end; what that one did.
    fn run(&self, profile: &str) -> Result<Value> {
        for kill in 0..KILLS {
            let before = self.stored();
            let mut command = self.archiver.command(&["profile", "run", profile, "--instance", "main"])?;
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            let start = Instant::now();
            while self.stored() <= before && child.try_wait()?.is_none() {
                ensure!(start.elapsed() < Duration::from_secs(60), "nothing is archived");
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill()?;
            let ended = child.wait()?;
            if kill == 0 {
                let there = self.archiver.json(&["instance", "show", "main"])?["messages"].as_u64();
                let amid = there.is_some_and(|there| there < MESSAGES as u64);
                ensure!(ended.signal() == Some(9) && amid, "it was not amid a run: {ended}, {there:?}");
            }
        }
        self.archiver.json(&["profile", "run", profile, "--instance", "main"])
    }

    /// That every message is there once, octet for octet, and that no more was fetched again than was under way.
    fn check(&self, last: &Value, sent: &[Vec<u8>]) -> Result<()> {
        let held = self.archiver.json(&["instance", "show", "main"])?["messages"].clone();
        assert_eq!((&held, &last["failed"]), (&sent.len().into(), &0.into()), "{last}");
        // What was committed and not noted when the knife fell.
        let again = last["duplicates"].as_u64().context("no count")?;
        assert!(again <= BATCH, "{last}");
        let hits = self.archiver.json(&["search", "--instance", "main", "--limit", "1000", "*"])?;
        let hits = hits.as_array().context("no list of hits")?;
        assert_eq!(hits.len(), 1000.min(sent.len()));
        for hit in hits.iter().step_by(97) {
            let id = hit["id"].as_str().context("no id")?;
            let output = self.archiver.run(&["message", "get", id, "--instance", "main"])?;
            assert!(sent.contains(&output.stdout), "{id}");
        }
        Ok(())
    }
}

/// Goal: killed at three moments amid a run, the archive has every message once in the end, octet for octet, and no run
/// fetched again what an earlier one had archived but for what was under way. The same of an IMAP and a POP3 account.
#[test]
fn a_killed_run_goes_on_where_it_was() -> Result<()> {
    let Some((authority, mut server)) = dovecot(|setup| setup)? else { return Ok(()) };
    let sent = sent();
    server.deliver(USER, &sent)?;
    let more = "[assign]\nmode = \"user\"\nuser = \"anna\"\n";
    let (archiver, path) = archiver_of(Program::new(Kind::Archiver, "")?, (&authority, &server), more)?;
    let tested = archiver.json(&["profile", "test", "--file", &path, "--instance", "main"])?;
    assert_eq!(tested["failed"], 0, "{tested}");
    archiver.json(&["profile", "put", "--file", &path, "--instance", "main"])?;
    let killed = Killed::new(archiver);
    killed.check(&killed.run("mail")?, &sent)?;

    let archiver = Program::new(Kind::Archiver, "")?;
    archiver.json(&["instance", "create", "main"])?;
    archiver.json(&["user", "add", "anna", "--email", "anna@example.com", "--instance", "main"])?;
    let profile = format!(
        "name = \"mail\"\n[source]\ntype = \"pop3\"\nhost = \"localhost\"\nport = {}\ntrust = \"file:{}\"\n\
         username = \"{USER}\"\npassword = '{PASSWORD}'\n{more}[after]\ndelete = true\n",
        server.pop3s.port(),
        authority.certificate().display()
    );
    put(&archiver, &profile)?;
    let killed = Killed::new(archiver);
    let last = killed.run("mail")?;
    killed.check(&last, &sent)?;
    let again = killed.archiver.json(&["profile", "run", "mail", "--instance", "main"])?;
    assert_eq!(
        (&again["archived"], &again["duplicates"]),
        (&0.into(), &0.into()),
        "the maildrop is empty: {again}"
    );
    Ok(())
}

/// Goal: the same of a Maildir whose files are deleted when they are archived.
#[test]
fn a_killed_run_over_files_goes_on_where_it_was() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let maildir = dir.path().join("maildir");
    ["cur", "new", "tmp"].iter().try_for_each(|sub| std::fs::create_dir_all(maildir.join(sub)))?;
    let sent = sent();
    for (number, message) in sent.iter().enumerate() {
        std::fs::write(maildir.join(format!("cur/{number}.host:2,S")), message)?;
    }
    let archiver = Program::new(Kind::Archiver, &format!("[sources]\nfile_roots = [{:?}]\n", dir.path()))?;
    archiver.json(&["instance", "create", "main"])?;
    archiver.json(&["user", "add", "anna", "--email", "anna@example.com", "--instance", "main"])?;
    let profile = format!(
        "name = \"mail\"\n[source]\ntype = \"files\"\npath = {maildir:?}\naddress = \"anna@example.com\"\n\
         [after]\ndelete = true\n"
    );
    put(&archiver, &profile)?;
    let killed = Killed::new(archiver);
    let last = killed.run("mail")?;
    killed.check(&last, &sent)?;
    assert_eq!(left_in(&maildir)?, 0, "what is archived is deleted");
    Ok(())
}

fn left_in(maildir: &Path) -> Result<usize> {
    Ok(std::fs::read_dir(maildir.join("cur"))?.count())
}

/// Goal: the same of a gateway, whose mailbox is empty in the end.
#[test]
fn a_killed_run_of_a_gateway_goes_on_where_it_was() -> Result<()> {
    let gateway = Program::started(Kind::Gateway, "")?;
    let mailbox = NewMailbox::create(&gateway, "journal")?;
    let sent = sent();
    let mut client = SmtpClient::connect(gateway.address("smtp")?, Security::StartTls)?;
    for message in &sent {
        ensure!(client.send("anna@example.com", &[&mailbox.address], message)?.code == 250);
    }
    let archiver = Program::new(Kind::Archiver, "")?;
    archiver.json(&["instance", "create", "main"])?;
    put(&archiver, &profile(&gateway, &mailbox, &mailbox.password)?)?;
    let killed = Killed::new(archiver);
    let last = killed.run("journal")?;
    killed.check(&last, &sent)?;
    assert_eq!(gateway.json(&["mailbox", "show", &mailbox.id])?["messages"], 0);
    Ok(())
}
