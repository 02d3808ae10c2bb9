//! What may stand on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use postern_shared::id::MailboxId;
use postern_shared::telemetry::Level;

use super::init::InitArgs;
use super::oauth::OauthAction;
use super::policy::PolicyArgs;
use crate::mailbox::Status;

/// Receives journal mail over SMTP, seals it to its mailbox, and serves it to archivers over POP3.
///
/// Start with `postern-gateway init`, then `postern-gateway mailbox create --name journal`, then `postern-gateway
/// serve`. Every command works whether or not the daemon runs.
#[derive(Debug, Parser)]
#[command(name = "postern-gateway", version, propagate_version = true)]
pub struct Args {
    /// The configuration file [default: /etc/postern/gateway.toml, if it exists].
    ///
    /// Environment variables override it: POSTERN_GATEWAY__LISTEN__SMTP=127.0.0.1:2525.
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
    /// Prepare a machine: ask a few questions, write a commented configuration file (/etc/postern/gateway.toml, or the one
    /// named by --config), create the data directory and a certificate, say what to do next.
    ///
    /// On a terminal it asks for what no flag says, and checks each answer at once: does the name lead here, can the
    /// certificate be served, is port 80 free for Let's Encrypt. With --yes, and where there is no terminal, it asks nothing.
    /// A configuration file that is there stays as it is, unless --force is given.
    ///
    /// Examples:
    ///   postern-gateway init
    ///   postern-gateway init --yes --domain gateway.example.com
    ///   postern-gateway init --yes --domain gateway.example.com --certificate lets-encrypt --accept-terms --contact me@example.com
    #[command(verbatim_doc_comment)]
    Init(InitArgs),
    /// Check the configuration and the certificate without starting anything.
    CheckConfig,
    /// Show what the gateway is and holds.
    Status,
    /// Ask the running daemon whether it is ready for mail: succeeds when it is, else fails and says why. For health checks;
    /// it looks at nothing itself.
    Health,
    /// Look for trouble: data directory, disk, certificate, ports, DNS of the e-mail domain, clock, damaged files. Says
    /// of each check whether it is ok and else what to do; fails when any check does.
    Doctor,
    /// Copy the data directory and the configuration file to a safe place, with the SHA-256 of each file, and read the copy
    /// back; whether or not the daemon runs. Made again at the same place, only what is new is copied.
    Backup {
        /// Where to: an empty directory, one with an earlier backup of this gateway, or a file whose name ends with .tar.
        #[arg(value_name = "DIR|FILE.tar")]
        place: PathBuf,
        /// Only check the backup that is there: every file against its SHA-256, the whole as a gateway would read it.
        #[arg(long)]
        verify: bool,
    },
    /// Restore a backup into the data directory, which must be empty or not there; no daemon may run on it. Every file is
    /// compared before and after.
    Restore {
        /// What `backup` was told.
        #[arg(value_name = "FROM")]
        place: PathBuf,
    },
    /// Show how much the running daemon logs, or change it until the daemon ends.
    LogLevel {
        /// error, warn, info, debug or trace.
        level: Option<Level>,
    },
    /// Have the running daemon read its configuration again. It is checked first: with a mistake nothing changes. Prints what
    /// changed and what waits for a restart; no session ends by it.
    Reload,
    /// Create, show, change and delete mailboxes.
    Mailbox {
        /// What to do.
        #[command(subcommand)]
        action: MailboxAction,
    },
    /// Bind accounts at providers that take no passwords any more to proxy passwords, for mail clients that can do nothing
    /// else.
    Oauth {
        /// What to do.
        #[command(subcommand)]
        action: OauthAction,
    },
    /// The certificate that all listeners show.
    Certificate {
        /// What to do.
        #[command(subcommand)]
        action: CertificateAction,
    },
    /// Administrators of the console.
    Admin {
        /// What to do.
        #[command(subcommand)]
        action: AdminAction,
    },
    /// Print the OpenAPI document of the console's API.
    Openapi,
    /// Print the reference of all configuration keys (Markdown).
    ConfigReference,
    /// Mail clients that reach their servers through the gateway.
    Proxy {
        /// What to do.
        #[command(subcommand)]
        action: ProxyAction,
    },
    /// Recovery keys: kept offline, they open the mail of mailboxes created with them when a password is lost.
    RecoveryKey {
        /// What to do.
        #[command(subcommand)]
        action: RecoveryKeyAction,
    },
}

/// What to do with mailboxes.
#[derive(Debug, Subcommand)]
pub enum MailboxAction {
    /// Create a mailbox. Its password is shown once and stored nowhere.
    Create {
        /// What to call it.
        #[arg(long)]
        name: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
        /// A file with a recovery public key, as `recovery-key generate` writes it.
        #[arg(long, value_name = "FILE")]
        recovery_key: Option<PathBuf>,
        /// What it takes, and from whom; everything from everybody without these.
        #[command(flatten)]
        policy: Box<PolicyArgs>,
    },
    /// List all mailboxes.
    List,
    /// Show one mailbox.
    Show {
        /// The mailbox's id (mbx-…).
        id: MailboxId,
    },
    /// Change name, description, status or what the mailbox takes from whom.
    Edit {
        /// The mailbox's id (mbx-…).
        id: MailboxId,
        /// The new name.
        #[arg(long)]
        name: Option<String>,
        /// The new description.
        #[arg(long)]
        description: Option<String>,
        /// active: takes mail; suspended: refuses it for now, what waits can still be pulled.
        #[arg(long)]
        status: Option<StatusArg>,
        /// What it takes, and from whom.
        #[command(flatten)]
        policy: Box<PolicyArgs>,
    },
    /// Give a suspended, empty mailbox a new key pair and password.
    ResetPassword {
        /// The mailbox's id (mbx-…).
        id: MailboxId,
    },
    /// Delete a suspended, empty mailbox for good.
    Delete {
        /// The mailbox's id (mbx-…).
        id: MailboxId,
    },
    /// Write the mail of a mailbox whose password is lost to files, with the private recovery key. The daemon must
    /// not run.
    Recover {
        /// The mailbox's id (mbx-…).
        id: MailboxId,
        /// The file with the private recovery key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// A directory for the messages, one .eml file each.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// What to do with administrators.
#[derive(Debug, Subcommand)]
pub enum AdminAction {
    /// List all administrators.
    List,
    /// Show the code that the first sign-in from another machine takes; there is one until somebody has signed in.
    SetupCode,
    /// Give an administrator a new random password, shown once, for who is locked out. All sessions of that one end.
    ResetPassword {
        /// The administrator's name.
        #[arg(long, default_value = "admin")]
        name: String,
        /// Take away the second factors as well.
        #[arg(long)]
        clear_second_factors: bool,
    },
}

/// What to do with the certificate.
#[derive(Debug, Subcommand)]
pub enum CertificateAction {
    /// Show what is served: from which source, for which names, until when, its fingerprint, which archivers can pin, and
    /// whether its chain is complete.
    Show,
    /// Make a self-signed certificate with a key of its own.
    SelfSigned {
        /// A name or address it is for; may be given several times [default: host_name and email_domain].
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// Replace one that is there; archivers that pinned it must be told the new fingerprint.
        #[arg(long)]
        force: bool,
    },
    /// Take a certificate with its key and chain from a PKCS#12 file (.p12, .pfx) or a PEM file, and store it.
    Import {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A file with the password of the PKCS#12 file in its first line [default: asks on the terminal, or reads
        /// standard input].
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// A PEM file with the private key, when FILE holds the certificates only.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Get a certificate from the authority in [acme] now, telling each step.
    Acme {
        /// Only rehearse at the staging directory.
        #[arg(long)]
        staging_only: bool,
    },
}

/// What to do about the proxy.
#[derive(Debug, Subcommand)]
pub enum ProxyAction {
    /// Try the way of a mail client to its server, step by step: user name, mailbox, policy, DNS, TCP, TLS, capabilities,
    /// login. Says which step fails and what to do. The password is asked for, or read from standard input; without one
    /// there is no login.
    Test(ProxyTest),
}

/// What to try.
#[derive(Debug, clap::Args)]
pub struct ProxyTest {
    /// The user name as the mail client has it: remote_user%server%mailbox-id.
    pub user: String,
    /// As if the client sent mail (port 587); the default, unless the user name has a POP3 port.
    #[arg(long, conflicts_with = "pop3")]
    pub smtp: bool,
    /// As if the client fetched mail (port 995).
    #[arg(long)]
    pub pop3: bool,
    /// Another port of the server.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// A file whose first line is the password.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// What to do with recovery keys.
#[derive(Debug, Subcommand)]
pub enum RecoveryKeyAction {
    /// Make a key pair: FILE gets the private key, FILE.pub the public one. Keep FILE offline.
    Generate {
        /// Where to write.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// A status on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StatusArg {
    /// Takes mail.
    Active,
    /// Refuses mail for now.
    Suspended,
}

impl From<StatusArg> for Status {
    fn from(arg: StatusArg) -> Self {
        match arg {
            StatusArg::Active => Self::Active,
            StatusArg::Suspended => Self::Suspended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
