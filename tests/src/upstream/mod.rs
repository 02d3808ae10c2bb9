//! Real mail servers for tests and benchmarks, each an instance of its own on loopback: what the recording proxy stands
//! before, and what its peers are measured with.
//!
//! | module | what |
//! |---|---|
//! | [`authority`] | a certificate authority, good certificates and bad ones |
//! | [`dovecot`] | POP3 (STLS) and POP3S; IMAP, a master user, XOAUTH2 and OAUTHBEARER when asked for; SASL for Postfix |
//! | [`cyrus`] | IMAP and POP3, STARTTLS or TLS, SCRAM, a proxy user |
//! | [`postfix`] | a relay for clients on loopback |
//! | [`submission`] | Postfix behind SASL: submission (STARTTLS) and smtps, mail kept to be looked at |
//! | [`exim`] | a second MTA with submission and smtps |
//! | [`tls_relay`] | HAProxy between two TLS connections |
//! | [`received`] | what a server took: envelope and content |
//!
//! Promises
//! - A server is started when `start` returns, on ports the system chose, and gone when its value is dropped, with its
//!   processes and its directory.
//! - What was received is read back octet for octet but for what the server put before it.
//! - Whoever is missing says so: [`foreign::has`](crate::foreign::has) and [`exim::installed`] before they are started.
//!
//! All need root: the servers give up their rights by themselves. Not here: clients (`clients`), hostile servers (`east`).

pub mod authority;
pub mod cyrus;
pub mod dovecot;
pub mod exim;
pub mod postfix;
mod process;
pub mod received;
pub mod submission;
pub mod tls_relay;

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

pub use authority::{Authority, Identity};
pub use cyrus::Cyrus;
pub use dovecot::{Dovecot, OAuth2};
pub use exim::Exim;
pub use postfix::Postfix;
pub use received::Received;
pub use submission::Submission;
pub use tls_relay::TlsRelay;

use crate::foreign::run;

/// A directory that processes of other users may enter.
fn directory(parent: &Path, name: &str) -> Result<TempDir> {
    let dir = tempfile::Builder::new().prefix(name).tempdir_in(parent)?;
    run(Command::new("chmod").arg("755").arg(dir.path()))?;
    Ok(dir)
}

fn chown(owner: &str, path: &Path) -> Result<()> {
    run(Command::new("chown").arg("-R").arg(owner).arg(path)).map(drop)
}
