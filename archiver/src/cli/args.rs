//! What may stand on the command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use super::audit::AuditAction;
use super::instance::InstanceAction;
use super::jobs::{JobAction, NotificationAction, ResultAction};
use super::profile::ProfileAction;
use super::search::SearchArgs;
use super::token::TokenAction;
use super::user::UserAction;
use crate::archive::State;

/// Pulls mail from gateways into archive instances, and finds it there.
///
/// Start with `postern-archiver instance create main`, `user add`, `profile put`, then `profile run` and `search`.
/// Every command works whether or not the daemon runs.
#[derive(Debug, Parser)]
#[command(name = "postern-archiver", version, propagate_version = true)]
pub struct Args {
    /// The configuration file [default: /etc/postern/archiver.toml, if it exists].
    ///
    /// Environment variables override it: POSTERN_ARCHIVER__DATA_DIR=/srv/archive.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print results as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run the daemon until SIGTERM or Ctrl-C.
    Serve,
    /// Prepare a machine: write the configuration file named by --config if it does not exist, create the data
    /// directory.
    Init,
    /// Check the configuration without starting anything.
    CheckConfig,
    /// Show what the archiver is and holds.
    Status,
    /// Look for trouble: disk space, damaged stores. Fails when it finds any.
    Doctor,
    /// Archive instances: one for each organisation; they share nothing.
    Instance {
        /// What to do.
        #[command(subcommand)]
        action: InstanceAction,
    },
    /// Users of an instance, the e-mail addresses whose mail is theirs, and what they may do.
    User {
        /// What to do.
        #[command(subcommand)]
        action: UserAction,
    },
    /// Profiles: what to pull, and whose archive it belongs to.
    Profile {
        /// What to do.
        #[command(subcommand)]
        action: ProfileAction,
    },
    /// Jobs: what runs by itself, and when.
    Job {
        /// What to do.
        #[command(subcommand)]
        action: JobAction,
    },
    /// Results: what jobs did.
    Result {
        /// What to do.
        #[command(subcommand)]
        action: ResultAction,
    },
    /// Mail about jobs that fail, set in [notifications] of the configuration.
    Notifications {
        /// What to do.
        #[command(subcommand)]
        action: NotificationAction,
    },
    /// Find messages.
    Search(Box<SearchArgs>),
    /// Stores of an instance: the parts it is kept in. New messages go to the current one.
    Store {
        /// What to do.
        #[command(subcommand)]
        action: StoreAction,
    },
    /// Folders of an instance, with how many messages they have.
    Folders {
        #[command(flatten)]
        instance: InInstance,
        /// Only this user's.
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// Read every message and compare it with what was archived. Fails when any is damaged, and names it.
    ///
    /// Ctrl-C ends it; the next one goes on from there.
    Verify {
        #[command(flatten)]
        instance: InInstance,
        /// Only this store.
        #[arg(long, value_name = "ID")]
        store: Option<String>,
        /// Begin from the beginning.
        #[arg(long)]
        afresh: bool,
    },
    /// Make catalog and index anew from the packs, while the old ones serve.
    ///
    /// Ctrl-C ends it; the next one goes on from there.
    Rebuild {
        #[command(flatten)]
        instance: InInstance,
        /// Only this store.
        #[arg(long, value_name = "ID")]
        store: Option<String>,
        /// Only the full-text index.
        #[arg(long)]
        index_only: bool,
        /// Only indexes that are damaged: all are read and checked first.
        #[arg(long, requires = "index_only")]
        damaged: bool,
        /// Begin from the beginning.
        #[arg(long, requires = "index_only")]
        afresh: bool,
    },
    /// Free what nobody needs any more.
    Compact {
        #[command(flatten)]
        instance: InInstance,
        /// Rewrite packs of which at least so much is not needed, in per cent.
        #[arg(long, default_value_t = 20, value_name = "N")]
        unused: u64,
    },
    /// Copy an instance to a directory, consistently while it runs. Only what is new is copied to an earlier backup.
    ///
    /// Its key file is not copied: keep that, or the recovery key, elsewhere.
    Backup {
        #[command(flatten)]
        instance: InInstance,
        /// The directory.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Make an instance from a backup, checking every file.
    Restore {
        /// The id of the instance to be made.
        id: String,
        /// The backup's directory.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// The key file that opens it.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// The recovery key that opens it is the first line of this file; - reads standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
        recovery_key_file: Option<PathBuf>,
        /// Restore what is whole of a backup with damaged packs, key tables or logs, and tell which they are.
        #[arg(long)]
        despite_damage: bool,
    },
    /// Audit logs: who read, changed or was refused what.
    Audit {
        /// What to do.
        #[command(subcommand)]
        action: AuditAction,
    },
    /// Bearer tokens for the management API.
    Token {
        /// What to do.
        #[command(subcommand)]
        action: TokenAction,
    },
    /// Print the OpenAPI document of the management API.
    Openapi,
    /// Reads documents that are handed to it; the archiver starts it itself.
    #[command(hide = true)]
    ExtractWorker,
    /// Single messages.
    Message {
        /// What to do.
        #[command(subcommand)]
        action: MessageAction,
    },
}

/// Which instance.
#[derive(Debug, Clone, ClapArgs)]
pub struct InInstance {
    /// The archive instance.
    #[arg(long, value_name = "ID")]
    pub instance: String,
}

/// What to do with stores.
#[derive(Debug, Subcommand)]
pub enum StoreAction {
    /// List all stores.
    List {
        #[command(flatten)]
        instance: InInstance,
    },
    /// Make another store and make it the current one.
    Create {
        #[command(flatten)]
        instance: InInstance,
    },
    /// Give a store another state.
    SetState {
        #[command(flatten)]
        instance: InInstance,
        /// Its id.
        id: String,
        /// current, normal, write-protected or disabled.
        state: State,
    },
    /// Add a store of this instance that lies in a directory, write-protected.
    Attach {
        #[command(flatten)]
        instance: InInstance,
        /// The store's directory.
        dir: PathBuf,
    },
    /// Take a store out of the instance. Its directory stays as it is and can be moved elsewhere.
    Detach {
        #[command(flatten)]
        instance: InInstance,
        /// Its id.
        id: String,
    },
    /// Set when another store becomes the current one.
    RollOver {
        #[command(flatten)]
        instance: InInstance,
        /// At so many messages.
        #[arg(long, value_name = "N")]
        messages: Option<u64>,
        /// At so many octets on disk.
        #[arg(long, value_name = "N")]
        bytes: Option<u64>,
    },
}

/// What to do with messages.
#[derive(Debug, Subcommand)]
pub enum MessageAction {
    /// Write a message to standard output, byte for byte as it was archived.
    Get {
        #[command(flatten)]
        instance: InInstance,
        /// Write the journal report it came in instead.
        #[arg(long)]
        report: bool,
        /// The message's id, as search shows it.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
