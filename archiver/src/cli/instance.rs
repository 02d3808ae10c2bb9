//! `instance …`

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use super::output::{self, members, text};
use super::{Show, secret_line};
use crate::command::Command;

/// What to do with instances.
#[derive(Debug, Subcommand)]
pub enum InstanceAction {
    /// Create an instance. Shows its recovery key once: keep it where the archive is not.
    ///
    /// A key file in its directory, or in keys_dir of the settings, opens it: back it up.
    Create {
        /// Its id: lower-case letters, digits and hyphens.
        id: String,
        /// Let a passphrase open it instead of a key file: the first line of this file; - reads standard input.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Open an instance that was stopped, and leave safe mode. It stays so over restarts.
    Start {
        /// Its id.
        id: String,
        /// Open it in safe mode: for reading and verifying only. Nothing is archived, repaired or written but its audit log; for
        /// one that is damaged.
        #[arg(long)]
        safe: bool,
    },
    /// Close an instance, once whoever works on it has come to a safe point. It stays closed until it is started.
    Stop {
        /// Its id.
        id: String,
    },
    /// Take an instance out of the archiver. Its data stays and is moved aside; the answer tells where it lies.
    #[command(visible_alias = "forget")]
    Delete {
        /// Its id.
        id: String,
    },
    /// Open an instance that a passphrase opens, until it is stopped or the daemon ends.
    Unlock {
        /// Its id.
        id: String,
        /// The passphrase is the first line of this file.
        #[arg(long, value_name = "FILE", default_value = "-")]
        passphrase_file: PathBuf,
    },
    /// Make a new key file with the recovery key, when the old one is lost; or set another passphrase.
    Recover {
        /// Its id.
        id: String,
        /// The recovery key is the first line of this file.
        #[arg(long, value_name = "FILE", default_value = "-")]
        recovery_key_file: PathBuf,
        /// For an instance that a passphrase opens: another one, the first line of this file.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// List all instances.
    List,
    /// Show one instance.
    Show {
        /// Its id.
        id: String,
    },
}

impl InstanceAction {
    pub(super) fn command(self) -> Result<(Command, Show)> {
        Ok(match self {
            Self::Create { id, passphrase_file } => {
                let passphrase = passphrase_file.map(|file| secret_line(&file)).transpose()?;
                (Command::InstanceCreate { id, passphrase }, created)
            }
            Self::Start { id, safe } => (Command::InstanceStart { id, safe }, output::instance),
            Self::Stop { id } => (Command::InstanceStop { id }, stopped),
            Self::Delete { id } => (Command::InstanceDelete { id }, deleted),
            Self::Unlock { id, passphrase_file } => {
                let passphrase = secret_line(&passphrase_file)?;
                (Command::InstanceUnlock { id, passphrase }, unlocked)
            }
            Self::Recover { id, recovery_key_file, passphrase_file } => {
                let recovery_key = secret_line(&recovery_key_file)?;
                let passphrase = passphrase_file.map(|file| secret_line(&file)).transpose()?;
                let show = if passphrase.is_some() { has_passphrase } else { recovered };
                (Command::InstanceRecover { id, recovery_key, passphrase }, show)
            }
            Self::List => (Command::InstanceList, output::instances),
            Self::Show { id } => (Command::InstanceShow { id }, output::instance),
        })
    }
}

fn created(value: &Value) -> String {
    eprintln!(
        "Write the recovery key down and keep it where the archive is not: it opens the archive when its key file or \
         passphrase is lost, and it is shown this once."
    );
    format!("instance {} is created\nrecovery key  {}", text(&value["id"]), text(&value["recovery_key"]))
}

fn unlocked(value: &Value) -> String {
    format!("instance {} is open until it is stopped or the daemon ends", text(&value["id"]))
}

fn has_passphrase(value: &Value) -> String {
    format!("instance {} has another passphrase, and is open", text(&value["id"]))
}

fn recovered(value: &Value) -> String {
    format!("instance {} has a new key file", text(&value["id"]))
}

fn stopped(value: &Value) -> String {
    format!("instance {} is stopped; instance start {0} opens it again", text(&value["id"]))
}

fn deleted(value: &Value) -> String {
    let keys = members(value, &["id", "dir", "tokens_revoked"]);
    format!("{keys}\nThe archive is no longer served. Its data lies in that directory until you remove it.")
}
