//! `user …`

use clap::Subcommand;
use serde_json::Value;

use super::Show;
use super::args::InInstance;
use super::output::{self, text};
use crate::archive::Privilege;
use crate::command::Command;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// Add a user.
    Add {
        #[command(flatten)]
        instance: InInstance,
        /// The user's id; also the name of their archive.
        id: String,
        /// E-mail addresses whose mail is theirs.
        #[arg(value_name = "ADDRESS", required_unless_present = "emails")]
        addresses: Vec<String>,
        /// The same as an option; repeat it, or divide addresses by commas.
        #[arg(long = "email", visible_alias = "address", value_name = "ADDRESS", value_delimiter = ',')]
        emails: Vec<String>,
        /// What they may do: read-own, search, export, auditor, admin [default: read-own,search].
        #[arg(long = "privilege", value_name = "PRIVILEGE", value_delimiter = ',')]
        privileges: Option<Vec<Privilege>>,
        /// Archives of others that they may read; also `unassigned` and `quarantine`.
        #[arg(long = "reads", value_name = "USER", value_delimiter = ',')]
        reads: Option<Vec<String>>,
    },
    /// List all users.
    List {
        #[command(flatten)]
        instance: InInstance,
    },
    /// Show one user.
    Show {
        #[command(flatten)]
        instance: InInstance,
        /// The user's id.
        id: String,
    },
    /// Change a user. What is not named stays.
    Edit {
        #[command(flatten)]
        instance: InInstance,
        /// The user's id.
        id: String,
        /// These addresses and no others are theirs; divide them by commas.
        #[arg(long = "email", value_name = "ADDRESS", value_delimiter = ',')]
        emails: Option<Vec<String>>,
        /// This address is theirs as well.
        #[arg(long = "add-email", value_name = "ADDRESS", value_delimiter = ',')]
        add_emails: Vec<String>,
        /// This address is no longer theirs.
        #[arg(long = "remove-email", value_name = "ADDRESS", value_delimiter = ',')]
        remove_emails: Vec<String>,
        /// They may do this and nothing else: read-own, search, export, auditor, admin; "none" for nothing.
        #[arg(long = "privilege", value_name = "PRIVILEGE", value_delimiter = ',')]
        privileges: Option<Vec<String>>,
        /// They may read these archives of others and no more; "none" for none.
        #[arg(long = "reads", value_name = "USER", value_delimiter = ',')]
        reads: Option<Vec<String>>,
    },
    /// Delete a user, and the tokens that stand for them. Their archive stays, and whoever is added under this id has it.
    Delete {
        #[command(flatten)]
        instance: InInstance,
        /// The user's id.
        id: String,
    },
}

impl UserAction {
    pub(super) fn command(self) -> anyhow::Result<(Command, Show)> {
        Ok(match self {
            Self::Add { instance, id, mut addresses, emails, privileges, reads } => {
                addresses.extend(emails);
                let privileges = privileges.map(|all| all.into_iter().collect());
                let reads = reads.map(|all| all.into_iter().collect());
                let instance = instance.instance;
                (Command::UserAdd { instance, id, emails: addresses, privileges, reads }, output::user)
            }
            Self::List { instance } => (Command::UserList { instance: instance.instance }, output::users),
            Self::Show { instance, id } => {
                (Command::UserShow { instance: instance.instance, id }, output::user)
            }
            Self::Edit { instance, id, emails, add_emails, remove_emails, privileges, reads } => {
                let privileges = privileges.map(|all| parsed(&all)).transpose()?;
                let reads = reads.map(|all| all.into_iter().filter(|name| name != "none").collect());
                let instance = instance.instance;
                let edit =
                    Command::UserEdit { instance, id, emails, add_emails, remove_emails, privileges, reads };
                (edit, output::user)
            }
            Self::Delete { instance, id } => {
                (Command::UserDelete { instance: instance.instance, id }, deleted)
            }
        })
    }
}

fn parsed(all: &[String]) -> anyhow::Result<std::collections::BTreeSet<Privilege>> {
    let named = all.iter().filter(|name| *name != "none");
    named.map(|name| name.parse().map_err(anyhow::Error::msg)).collect()
}

fn deleted(value: &Value) -> String {
    let (id, tokens) = (text(&value["id"]), text(&value["tokens_revoked"]));
    format!("user {id} is deleted, with {tokens} tokens; the archive of that name stays")
}
