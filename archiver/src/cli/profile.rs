//! `profile …`: arguments to commands, answers to text.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::random_secret;
use postern_shared::disk::RealDisk;
use serde_json::Value;

use super::args::InInstance;
use super::output::{lines, members, text};
use super::{Show, output};
use crate::command::{Command, Tested, Then, TransportKey};
use crate::profiles::state::Which;
use crate::profiles::{Profile, StoredProfile};

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileAction {
    /// Add or replace a profile. The secrets in it are stored sealed under the instance's key.
    Put {
        #[command(flatten)]
        instance: InInstance,
        /// A TOML file; config/profile-gateway.toml and docs/profiles.md show every key.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List all profiles.
    List {
        #[command(flatten)]
        instance: InInstance,
    },
    /// Show a profile, without its secrets, and how much is to be tried again or to be deleted.
    Show {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
    /// Delete a profile. What it archived stays.
    Delete {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
    /// Pull now. Ctrl-C ends it after the messages just archived; nothing is lost, the next run goes on.
    Run {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
    /// Go the way into each account (DNS, TCP, TLS, login, folders) and say which step fails and what to do. Reads no message.
    Test {
        #[command(flatten)]
        instance: InInstance,
        /// Its name; or use --file.
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        name: Option<String>,
        /// A TOML file that is not stored yet.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show messages that could not be fetched or archived. They are tried again in later runs, less and less often.
    Retries {
        #[command(flatten)]
        instance: InInstance,
        /// The profile's name.
        name: String,
        /// Try all of them in the next run, also those that were discarded.
        #[arg(long, conflicts_with_all = ["discard", "discard_all"])]
        now: bool,
        /// Never try this one again: its name as it is shown.
        #[arg(long, value_name = "MESSAGE", conflicts_with = "discard_all")]
        discard: Option<String>,
        /// The folder of the message to discard, where several have its name.
        #[arg(long, value_name = "FOLDER", requires = "discard")]
        folder: Option<String>,
        /// The account of the message to discard, where several have its name.
        #[arg(long, value_name = "ACCOUNT", requires = "discard")]
        account: Option<String>,
        /// Never try any of them again.
        #[arg(long)]
        discard_all: bool,
    },
    /// Let a profile run on its schedule.
    Enable {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
    /// Let a profile run only when it is told to.
    Disable {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
}

pub(super) fn command(action: ProfileAction) -> Result<(Command, Show)> {
    Ok(match action {
        ProfileAction::Put { instance, file } => {
            let (profile, key) = sealed(&file)?;
            (Command::ProfilePut { instance: instance.instance, profile, key }, output::profile_put)
        }
        ProfileAction::List { instance } => {
            (Command::ProfileList { instance: instance.instance }, output::profiles)
        }
        ProfileAction::Show { instance, name } => {
            (Command::ProfileShow { instance: instance.instance, name }, output::profile)
        }
        ProfileAction::Delete { instance, name } => {
            (Command::ProfileDelete { instance: instance.instance, name }, output::profile_deleted)
        }
        ProfileAction::Run { instance, name } => {
            (Command::ProfileRun { instance: instance.instance, name }, run)
        }
        ProfileAction::Test { instance, name, file } => {
            let profile = match (name, file) {
                (_, Some(file)) => {
                    let (profile, key) = sealed(&file)?;
                    Tested::File { profile, key }
                }
                (name, None) => Tested::Stored { name: name.unwrap_or_default() },
            };
            (Command::ProfileTest { instance: instance.instance, profile: Box::new(profile) }, tested)
        }
        ProfileAction::Retries { instance, name, now, discard, folder, account, discard_all } => {
            let then = match (now, discard, discard_all) {
                (true, ..) => Then::Now,
                (_, None, false) => Then::Nothing,
                (_, item, _) => Then::Discard(item.map(|item| Which { item, folder, account })),
            };
            (Command::ProfileRetries { instance: instance.instance, name, then }, retries)
        }
        ProfileAction::Enable { instance, name } => {
            (Command::ProfileEnable { instance: instance.instance, name, enabled: true }, enabled)
        }
        ProfileAction::Disable { instance, name } => {
            (Command::ProfileEnable { instance: instance.instance, name, enabled: false }, enabled)
        }
    })
}

/// A profile from a file, sealed for its way to whoever does the command.
fn sealed(file: &Path) -> Result<(Box<StoredProfile>, TransportKey)> {
    let profile = Profile::read(&RealDisk, file, |name| std::env::var(name).ok())?;
    let key = random_secret();
    let sealed = Box::new(profile.seal(&AeadKey::new(&key)));
    Ok((sealed, TransportKey::new(&key)))
}

fn run(value: &Value) -> String {
    let head = if value["cancelled"] == true { "cancelled; the next run goes on\n" } else { "" };
    let mut text =
        head.to_owned() + &members(value, &["archived", "duplicates", "failed", "deleted_at_source"]);
    for (key, what) in [
        ("retries", "messages are to be tried again: see profile retries"),
        ("pending_deletions", "messages wait for their deletion at the source"),
        ("accounts_failed", "accounts could not be pulled to the end"),
        ("folders_failed", "folders could not be opened"),
    ] {
        if value[key].as_u64().is_some_and(|count| count > 0) {
            text += &format!("\n{} {what}", value[key]);
        }
    }
    text
}

fn tested(value: &Value) -> String {
    lines(&value["accounts"], "no accounts", |account| {
        let steps = lines(&account["steps"], "", |step| {
            let verdict = if step["ok"] == true { "ok  " } else { "FAIL" };
            format!("  {verdict} {:8} {}", text(&step["step"]), text(&step["words"]))
        });
        let advice = account["advice"].as_str().map(|advice| format!("\n  -> {advice}")).unwrap_or_default();
        format!("{}\n{steps}{advice}", text(&account["account"]))
    })
}

fn retries(value: &Value) -> String {
    let head = match value["discarded"].as_u64() {
        Some(count) if count > 0 => format!("{count} messages are not tried any more\n"),
        _ => String::new(),
    };
    let rows = lines(&value["messages"], "nothing is to be tried again", |row| {
        format!(
            "{}  --folder '{}' --account '{}'\n    {}\n    tried {} times, last {}, next {}",
            text(&row["item"]),
            text(&row["folder"]),
            text(&row["account"]),
            text(&row["why"]),
            row["attempts"],
            text(&row["last"]),
            text(&row["next"]),
        )
    });
    head + &rows
}

fn enabled(value: &Value) -> String {
    match value["enabled"] == true {
        true => format!("profile {} runs on its schedule", text(&value["name"])),
        false => format!("profile {} runs only when it is told to", text(&value["name"])),
    }
}
