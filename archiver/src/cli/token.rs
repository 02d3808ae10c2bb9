//! `token …`

use clap::Subcommand;
use serde_json::Value;

use super::Show;
use super::output::{lines, text};
use crate::access::Scope;
use crate::command::Command;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Make a token. Its text is shown this once; the archiver keeps only a hash of it.
    Create {
        /// What to call it.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it is for: read (how things stand), mail (search and read), manage (users, profiles, stores), audit, admin
        /// (instances, directories, tokens; all but mail). Repeat it, or divide them by commas.
        #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,
        /// It reaches this instance only.
        #[arg(long, value_name = "ID")]
        instance: Option<String>,
        /// It stands for this user of the instance, and may do no more than they.
        #[arg(long, value_name = "USER", requires = "instance")]
        user: Option<String>,
        /// It ends after so many days; without this, not by itself.
        #[arg(long = "expires", value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// List all tokens.
    List,
    /// End a token at once.
    Revoke {
        /// Its id, as the list shows it.
        id: String,
    },
}

impl TokenAction {
    pub(super) fn command(self) -> (Command, Show) {
        match self {
            Self::Create { name, scopes, instance, user, expires_in_days } => {
                (Command::TokenCreate { name, scopes, bound_to: instance, user, expires_in_days }, created)
            }
            Self::List => (Command::TokenList, list),
            Self::Revoke { id } => (Command::TokenRevoke { id }, revoked),
        }
    }
}

fn created(value: &Value) -> String {
    eprintln!("Keep it like a password; it is shown this once. {} ends it.", text(&value["id"]));
    text(&value["token"])
}

fn list(value: &Value) -> String {
    lines(value, "no tokens; make one with: postern-archiver token create --name … --scope read", |row| {
        let whose = match (row["instance"].as_str(), row["user"].as_str()) {
            (Some(instance), Some(user)) => format!("  for {user} in {instance}"),
            (Some(instance), None) => format!("  in {instance}"),
            _ => String::new(),
        };
        let (id, name, scopes) = (text(&row["id"]), text(&row["name"]), text(&row["scopes"]));
        format!("{id}  {name}  {scopes}{whose}")
    })
}

fn revoked(value: &Value) -> String {
    format!("token {} is no longer good", text(&value["id"]))
}
