//! A gateway full of mail, and an archiver that pulls it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postern_tests::program::{Kind, NewMailbox, Program};
use postern_tests::smtp::SmtpClient;
use postern_tests::{Archive, Security, messages};
use serde_json::Value;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Stage {
    /// Kept running for the archiver.
    pub(crate) gateway: Program,
    pub(crate) mailbox: NewMailbox,
    pub(crate) archive: Archive,
    /// What was delivered, by number.
    pub(crate) sent: Vec<Vec<u8>>,
}

impl Stage {
    pub(crate) fn new() -> Result<Self> {
        Self::with(Program::new(Kind::Archiver, "")?)
    }

    pub(crate) fn with(archiver: Program) -> Result<Self> {
        let gateway = Program::started(Kind::Gateway, "")?;
        let mailbox = NewMailbox::create(&gateway, "journal")?;
        let archive = Archive::with(archiver, &gateway, &mailbox, &[])?;
        Ok(Self { gateway, mailbox, archive, sent: Vec::new() })
    }

    /// Delivers so many messages of that size.
    pub(crate) fn deliver(&mut self, count: usize, bytes: usize) -> Result<()> {
        let mut client = SmtpClient::connect(self.gateway.address("smtp")?, Security::Clear)?;
        for _ in 0..count {
            let message = messages::sized(self.sent.len(), bytes);
            ensure!(client.send("a@example.com", &[&self.mailbox.address], &message)?.code == 250);
            self.sent.push(message);
        }
        Ok(())
    }

    /// The archiver's answer about its instance.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<Value> {
        self.archive.program.json(&[arguments, &["--instance", "main"]].concat())
    }

    /// What it says to be wrong.
    pub(crate) fn fails(&self, arguments: &[&str]) -> Result<String> {
        let output = self.archive.program.run(&[arguments, &["--instance", "main"]].concat())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "{arguments:?} succeeded");
        Ok(said)
    }

    /// Every message, byte for byte, and none twice.
    pub(crate) fn has_everything(&self) -> Result<()> {
        // The index follows what was archived, and rests for a while after it failed.
        let start = Instant::now();
        while self.ask(&["search", "*", "--page-info"])?["behind"] != 0 {
            ensure!(start.elapsed() < PATIENCE, "the index does not follow");
        }
        let limit = (self.sent.len() + 10).to_string();
        let hits = self.ask(&["search", "*", "--limit", &limit])?;
        let hits = hits.as_array().context("no list")?;
        ensure!(hits.len() == self.sent.len(), "{} of {} messages", hits.len(), self.sent.len());
        let mut found = BTreeMap::new();
        // A few of many: `verify` reads them all.
        for hit in hits.iter().step_by(1 + hits.len() / 20) {
            let id = hit["id"].as_str().context("no id")?;
            found.insert(id, self.archive.message(id)?);
        }
        for (id, message) in found {
            ensure!(self.sent.contains(&message), "message {id} is none that was sent");
        }
        let verified = self.ask(&["verify"])?;
        ensure!(verified["failed"] == 0, "{verified}");
        Ok(())
    }

    /// Stores a job.
    pub(crate) fn put_job(&self, toml: &str) -> Result<Value> {
        let file = self.archive.program.config_file().with_file_name("job.toml");
        std::fs::write(&file, toml)?;
        self.ask(&["job", "put", "--file", file.to_str().context("no text")?])
    }

    /// Results, the newest first.
    pub(crate) fn results(&self) -> Result<Vec<Value>> {
        let page = self.ask(&["result", "list", "--limit", "1000"])?;
        Ok(page["results"].as_array().context("no list")?.clone())
    }

    pub(crate) fn instance_dir(&self) -> std::path::PathBuf {
        self.archive.program.data_dir().join("instances/main")
    }
}

/// Asks until it is so.
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if so()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("it never came to that: {what}")
}

/// All files below a directory whose names end so.
pub(crate) fn files(dir: &Path, end: &str) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, end)?);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
