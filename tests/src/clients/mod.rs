//! Mail clients of others, each run once: it sends one message, or fetches all there are, and ends.
//!
//! | module | client | what |
//! |---|---|---|
//! | [`swaks`] | swaks | sends; any AUTH it knows, pipelining |
//! | [`msmtp`] | msmtp | sends |
//! | [`smtplib`] | Python's smtplib | sends; PLAIN, LOGIN, XOAUTH2 |
//! | [`mpop`] | mpop | fetches, pipelining |
//! | [`fetchmail`] | fetchmail | fetches |
//! | [`getmail`] | getmail6 | fetches |
//! | [`poplib`] | Python's poplib | fetches, one command after another |
//! | [`imaplib`] | Python's imaplib | fills and changes folders |
//! | [`thunderbird`] | a script that behaves as Thunderbird does, or sends all it has in one flight | both |
//!
//! Promises
//! - A client gets its settings as a user gives them: host, port, how TLS begins, whom to trust, user and password.
//! - What fails is an error that holds all the client said: `to_string` has the server's words in it.
//! - Messages come back with CRLF lines and without what the client itself puts before them.
//!
//! Not here: our own small clients ([`crate::smtp`], [`crate::pop3`]), which see every octet.

pub mod fetchmail;
pub mod getmail;
pub mod imaplib;
pub mod mpop;
pub mod msmtp;
pub mod poplib;
mod python;
pub mod smtplib;
pub mod swaks;
pub mod thunderbird;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::upstream::Authority;
use crate::{Security, crlf};

/// An account as a user sets it up.
#[derive(Debug, Clone)]
pub struct Account {
    /// By this name the certificate is checked.
    pub host: String,
    /// Of the host.
    pub port: u16,
    /// How TLS begins.
    pub security: Security,
    /// Which certificate is taken.
    pub trust: Trust,
    /// Login name.
    pub user: String,
    /// Password, or the token for mechanisms that have one.
    pub password: String,
}

/// Which certificates a client takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Any.
    Any,
    /// What the authority in this PEM file vouches for, by name.
    Authority(PathBuf),
    /// The one with this SHA-256 (DER), 64 hexadecimal digits.
    Pinned(String),
}

impl Account {
    /// An account at `localhost` that takes any certificate.
    pub fn new(address: SocketAddr, security: Security, user: &str, password: &str) -> Self {
        Self {
            host: "localhost".to_owned(),
            port: address.port(),
            security,
            trust: Trust::Any,
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// The same with another trust.
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }
}

impl From<&Authority> for Trust {
    fn from(authority: &Authority) -> Self {
        Self::Authority(authority.certificate())
    }
}

/// A message to send.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'m> {
    /// MAIL FROM, without brackets.
    pub from: &'m str,
    /// RCPTs, without brackets.
    pub to: &'m [&'m str],
    /// CRLF lines.
    pub content: &'m [u8],
}

/// What a fetching client does with a message it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Leaves it at the server.
    Keep,
    /// Deletes it there.
    Delete,
}

/// Where a client keeps its settings, with passwords in them, and what it fetched.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new(client: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(client).tempdir()?;
        for sub in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(dir.path().join("maildir").join(sub))?;
        }
        Ok(Self { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file that only its owner reads, for clients check that.
    fn private_file(&self, name: &str, text: &str) -> Result<PathBuf> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.path(name);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }

    /// The messages in the maildir, in the order in which they came as far as the client names files by it.
    fn messages(&self) -> Result<Vec<Vec<u8>>> {
        files(&self.path("maildir/new"))
    }
}

/// The files in a folder by name, with CRLF lines.
fn files(dir: &Path) -> Result<Vec<Vec<u8>>> {
    let mut paths = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(|path| Ok(crlf(&std::fs::read(path)?))).collect()
}

/// The lines as files have them.
fn lf(message: &[u8]) -> Vec<u8> {
    message.iter().copied().filter(|octet| *octet != b'\r').collect()
}
