//! An archiver with one instance that pulls one mailbox.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::program::{Kind, NewMailbox, Program};

/// An archiver whose instance `main` has a profile `journal`.
#[derive(Debug)]
pub struct Archive {
    /// The archiver.
    pub program: Program,
}

impl Archive {
    /// An archive that pulls `mailbox` over POP3S, trusting this gateway's certificate alone.
    pub fn new(gateway: &Program, mailbox: &NewMailbox, users: &[(&str, &str)]) -> Result<Self> {
        Self::with(Program::new(Kind::Archiver, "")?, gateway, mailbox, users)
    }

    /// The same in an archiver that is there already, its daemon running or not.
    pub fn with(
        program: Program,
        gateway: &Program,
        mailbox: &NewMailbox,
        users: &[(&str, &str)],
    ) -> Result<Self> {
        program.json(&["instance", "create", "main"])?;
        for (user, email) in users {
            program.json(&["user", "add", user, "--email", email, "--instance", "main"])?;
        }
        let archive = Self { program };
        archive.put_profile(&profile(gateway, mailbox, &mailbox.password)?)?;
        Ok(archive)
    }

    /// Stores a profile.
    pub fn put_profile(&self, text: &str) -> Result<Value> {
        let file = self.program.config_file().with_file_name("journal.toml");
        std::fs::write(&file, text)?;
        self.program.json(&[
            "profile",
            "put",
            "--file",
            file.to_str().context("no text")?,
            "--instance",
            "main",
        ])
    }

    /// Runs the profile.
    pub fn run(&self) -> Result<Value> {
        self.program.json(&["profile", "run", "journal", "--instance", "main"])
    }

    /// Hits of a search.
    pub fn search(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let hits = self.program.json(&[&["search", "--instance", "main"], arguments].concat())?;
        Ok(hits.as_array().context("no list of hits")?.clone())
    }

    /// A message's octets.
    pub fn message(&self, id: &str) -> Result<Vec<u8>> {
        let output = self.program.run(&["message", "get", id, "--instance", "main"])?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }
}

/// A profile that pulls `mailbox` over POP3S and trusts this gateway's certificate alone.
pub fn profile(gateway: &Program, mailbox: &NewMailbox, password: &str) -> Result<String> {
    let address = gateway.address("pop3s")?;
    let certificate = gateway.json(&["certificate", "show"])?;
    let fingerprint = certificate["fingerprint"].as_str().context("no fingerprint")?;
    Ok(format!(
        "name = \"journal\"\n[source]\ntype = \"gateway\"\nhost = \"{}\"\nport = {}\ntls = \"implicit\"\n\
         trust = \"{fingerprint}\"\nusername = \"{}\"\npassword = \"{password}\"\n[assign]\nmode = \"envelope\"\n",
        address.ip(),
        address.port(),
        mailbox.id,
    ))
}

/// The message with CRLF line ends, and one at its end: what a mail server makes of a file.
pub fn crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 32);
    let mut previous = 0;
    for &byte in message {
        if byte == b'\n' && previous != b'\r' {
            out.push(b'\r');
        }
        if previous == b'\r' && byte != b'\n' {
            out.push(b'\n');
        }
        out.push(byte);
        previous = byte;
    }
    if previous == b'\r' {
        out.push(b'\n');
    } else if !out.is_empty() && previous != b'\n' {
        out.extend_from_slice(b"\r\n");
    }
    out
}
