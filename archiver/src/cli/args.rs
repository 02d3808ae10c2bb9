//! What may stand on the command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

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
    /// Users of an instance, and the e-mail addresses whose mail is theirs.
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
    /// Find messages.
    ///
    /// All words must be there: invoice 2026. "annual report" finds the phrase, inv* what begins so,
    /// from:anna subject:budget only in those fields (also to: cc: bcc: attachment: body:), after:2026-01-01
    /// before:2026-02-01 by date, has:attachment; * finds everything.
    Search {
        #[command(flatten)]
        instance: InInstance,
        /// Only this user's archive; also `unassigned` and `quarantine`.
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// The most hits shown.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
        /// Hits passed over, for the next page.
        #[arg(long, default_value_t = 0, value_name = "N")]
        offset: usize,
        /// What to find.
        #[arg(required = true)]
        query: Vec<String>,
    },
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

/// What to do with instances.
#[derive(Debug, Subcommand)]
pub enum InstanceAction {
    /// Create an instance. Its master key is made here and kept in its directory: back it up.
    Create {
        /// Its id: lower-case letters, digits and hyphens.
        id: String,
    },
    /// List all instances.
    List,
    /// Show one instance.
    Show {
        /// Its id.
        id: String,
    },
}

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
}

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileAction {
    /// Add or replace a profile. The password in it is stored sealed under the instance's key.
    Put {
        #[command(flatten)]
        instance: InInstance,
        /// A TOML file; config/profile-gateway.toml shows every key.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List all profiles.
    List {
        #[command(flatten)]
        instance: InInstance,
    },
    /// Show a profile, without its password.
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
