//! What an operator can ask of a gateway, with or without a running daemon.
//!
//! A [`Command`] travels as JSON over the control socket when a daemon runs, and is executed on the spot when none
//! does; [`execute`] is the same code either way.

mod certificate;
pub mod oauth;

use std::sync::Arc;

use postern_shared::crypto::keys::PublicKey;
use postern_shared::id::MailboxId;
use postern_shared::telemetry::{Level, explain, log_level, set_log_level};
use postern_shared::tls::server::{Bundle, IdentityError};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use certificate::execute_waiting;

use crate::app::Core;
use crate::certificate::{ChangeError, import, self_signed};
use crate::console::Action;
use crate::console::accounts::{Account, AccountError};
use crate::mailbox::{Edit, Mailbox, MailboxError, PolicyEdit};
use crate::proxy::BadRoute;
use crate::proxy::oauth::BrokerError;
use crate::reload::reload;
use crate::settings::Tls;

/// A command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// What the gateway is and holds.
    Status,
    /// Whether the running daemon is ready for mail; it alone knows.
    Health,
    /// Changes how much the running daemon logs, until it ends.
    LogLevel {
        /// How much from now on; `None` only asks.
        level: Option<Level>,
    },
    /// Reads the configuration again.
    Reload,
    /// Creates a mailbox.
    MailboxCreate {
        /// What to call it.
        name: String,
        /// What to say of it.
        description: String,
        /// A recovery public key, hexadecimal.
        recovery_key: Option<String>,
        /// What it takes, and from whom.
        #[serde(default)]
        policy: PolicyEdit,
    },
    /// All mailboxes.
    MailboxList,
    /// One mailbox.
    MailboxShow {
        /// Which.
        id: MailboxId,
    },
    /// Changes a mailbox.
    MailboxEdit {
        /// Which.
        id: MailboxId,
        /// What to change.
        edit: Edit,
    },
    /// Gives a suspended, empty mailbox a new password.
    MailboxResetPassword {
        /// Which.
        id: MailboxId,
    },
    /// Deletes a suspended, empty mailbox.
    MailboxDelete {
        /// Which.
        id: MailboxId,
    },
    /// All administrators of the console.
    AdminList,
    /// What the first sign-in from another machine takes.
    AdminSetupCode,
    /// Gives an administrator a new password.
    AdminResetPassword {
        /// Who.
        name: String,
        /// Takes away the second factors as well.
        clear_second_factors: bool,
    },
    /// The certificate that is served.
    CertificateShow,
    /// Makes a self-signed certificate.
    CertificateSelfSigned {
        /// Its names; the gateway's own when there are none.
        names: Vec<String>,
        /// Whether one that is there, and pinned perhaps, is replaced.
        force: bool,
    },
    /// Stores a certificate with its key.
    CertificateImport {
        /// Both.
        bundle: Bundle,
    },
    /// Asks the authority for a certificate now; see [`execute_waiting`].
    CertificateAcme {
        /// Whether a rehearsal is all.
        staging_only: bool,
    },
    /// OAuth bindings.
    Oauth(oauth::Command),
}

/// Does what `command` says. Blocks: for the disk, and for Argon2id when a password is made.
///
/// The answer is what `--json` prints. The error is for whoever asked.
pub fn execute(core: &Arc<Core>, command: Command) -> Result<Value, String> {
    let recorded = recorded(&command);
    let answer = run(core, command).map_err(|error| error.to_string())?;
    if let Some((action, target)) = recorded {
        let made = || {
            ["id", "account", "fingerprint"].iter().find_map(|key| answer[*key].as_str()).map(str::to_owned)
        };
        let target = target.or_else(made).unwrap_or_default();
        // Whoever is at the machine may do this whatever becomes of the audit log; a line that failed earlier may have
        // room by now.
        let _ = core.audit.check();
        core.audit.record(Action { how: "command line".into(), action, target, ..Action::default() });
    }
    Ok(answer)
}

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Oauth(#[from] BrokerError),
    #[error("{0}")]
    Route(#[from] BadRoute),
    #[error("no daemon is running")]
    NotRunning,
    #[error("no daemon is running; log_level in the configuration tells how much the next one logs")]
    NoDaemon,
    #[error("no daemon is running; the next one reads the configuration when it starts")]
    NothingToReload,
    #[error("{}", explain(.0.as_ref()))]
    Reload(anyhow::Error),
    #[error("the setup code is made when the daemon starts, and none is running; start it first")]
    NoSetupCode,
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{0}; bring one with: postern-gateway certificate import FILE")]
    NotImported(IdentityError),
    #[error(transparent)]
    Certificate(#[from] ChangeError),
    #[error("an authority can only be waited for")]
    MustWait,
    #[error("the recovery key is not a public key as `recovery-key generate` prints it")]
    BadRecoveryKey,
}

fn run(core: &Arc<Core>, command: Command) -> Result<Value, CommandError> {
    let registry = &core.registry;
    let waiting = |id| {
        move || {
            let usage = core.spool.usage(id);
            usage.messages + usage.undecided
        }
    };
    match command {
        Command::Status => Ok(core.status()),
        Command::Health => Err(CommandError::NotRunning),
        Command::LogLevel { .. } if core.listening.get().is_none() => Err(CommandError::NoDaemon),
        Command::LogLevel { level } => {
            if let Some(level) = level {
                set_log_level(level);
                tracing::warn!(?level, "the log level was changed");
            }
            Ok(json!({ "log_level": log_level() }))
        }
        Command::Reload => {
            let serving = core.serving.get().ok_or(CommandError::NothingToReload)?;
            let reloaded = reload(core, &serving.process).map_err(CommandError::Reload)?;
            Ok(json!(reloaded))
        }
        Command::MailboxCreate { name, description, recovery_key, policy } => {
            let recovery = recovery_key.map(|text| parse_public_key(&text)).transpose()?;
            let (mailbox, password) = registry.create_with(&name, &description, recovery, &policy)?;
            tracing::info!(mailbox = %mailbox.id, "mailbox created");
            Ok(with_password(core, &mailbox, password.expose_secret()))
        }
        Command::MailboxList => Ok(registry.list().iter().map(|mailbox| shown(core, mailbox)).collect()),
        Command::MailboxShow { id } => Ok(shown(core, &registry.show(id)?)),
        Command::MailboxEdit { id, edit } => {
            let mailbox = registry.edit(id, edit)?;
            tracing::info!(mailbox = %id, status = ?mailbox.status, "mailbox edited");
            Ok(shown(core, &mailbox))
        }
        Command::MailboxResetPassword { id } => {
            let (mailbox, password) = registry.reset_password(id, waiting(id))?;
            tracing::info!(mailbox = %id, "mailbox password reset");
            Ok(with_password(core, &mailbox, password.expose_secret()))
        }
        Command::CertificateShow => match certificate::show(core) {
            Err(error) if core.settings().tls == Tls::Imported => Err(CommandError::NotImported(error)),
            shown => Ok(shown?),
        },
        Command::CertificateSelfSigned { names, force } => Ok(self_signed(core, &names, force)?),
        Command::CertificateImport { bundle } => Ok(import(core, &bundle)?),
        Command::CertificateAcme { .. } => Err(CommandError::MustWait),
        Command::MailboxDelete { id } => {
            registry.delete(id, waiting(id))?;
            tracing::info!(mailbox = %id, "mailbox deleted");
            Ok(json!({ "id": id, "deleted": true }))
        }
        Command::AdminList => {
            let shown = |account: &Account| json!({ "name": account.name, "role": account.role, "totp": account.totp, "passkeys": account.passkeys });
            Ok(core.administrators.list()?.iter().map(shown).collect())
        }
        Command::AdminSetupCode if core.listening.get().is_none() => Err(CommandError::NoSetupCode),
        Command::AdminSetupCode => {
            Ok(json!({ "setup_code": core.administrators.setup_code()?.expose_secret() }))
        }
        Command::AdminResetPassword { name, clear_second_factors } => {
            let (account, password) = core.administrators.reset_password(&name, clear_second_factors)?;
            Ok(json!({ "name": account.name, "role": account.role, "password": password.expose_secret() }))
        }
        Command::Oauth(command) => oauth::run(core, command),
    }
}

/// What changes something is recorded, whoever does it: what it is, and to what it is done unless the answer tells.
fn recorded(command: &Command) -> Option<(&'static str, Option<String>)> {
    Some(match command {
        Command::MailboxCreate { .. } => ("mailbox.create", None),
        Command::MailboxEdit { id, .. } => ("mailbox.edit", Some(id.to_string())),
        Command::MailboxResetPassword { id } => ("mailbox.reset-password", Some(id.to_string())),
        Command::MailboxDelete { id } => ("mailbox.delete", Some(id.to_string())),
        Command::LogLevel { level: Some(level) } => ("log-level", Some(format!("{level:?}"))),
        Command::Reload => ("settings.reload", None),
        Command::AdminResetPassword { name, .. } => ("administrator.reset-password", Some(name.clone())),
        Command::AdminSetupCode => ("administrator.setup-code", Some("admin".into())),
        Command::CertificateSelfSigned { .. } => ("certificate.self-signed", None),
        Command::CertificateImport { .. } => ("certificate.import", None),
        Command::CertificateAcme { .. } => ("certificate.acme", None),
        Command::Oauth(oauth::Command::Bind { .. }) => ("oauth.bind", None),
        Command::Oauth(oauth::Command::Revoke { .. }) => ("oauth.revoke", None),
        Command::Oauth(oauth::Command::List | oauth::Command::IsBound { .. })
        | Command::Health
        | Command::Status
        | Command::LogLevel { level: None }
        | Command::MailboxList
        | Command::MailboxShow { .. }
        | Command::CertificateShow
        | Command::AdminList => return None,
    })
}

fn parse_public_key(text: &str) -> Result<PublicKey, CommandError> {
    let bytes = hex::decode(text.trim()).map_err(|_| CommandError::BadRecoveryKey)?;
    PublicKey::from_bytes(&bytes).map_err(|_| CommandError::BadRecoveryKey)
}

fn with_password(core: &Core, mailbox: &Mailbox, password: &str) -> Value {
    let mut value = shown(core, mailbox);
    value["password"] = password.into();
    value
}

fn shown(core: &Core, mailbox: &Mailbox) -> Value {
    let usage = core.spool.usage(mailbox.id);
    let policy = &mailbox.policy;
    json!({
        "id": mailbox.id,
        "address": mailbox.address,
        "name": mailbox.name,
        "description": mailbox.description,
        "status": mailbox.status,
        "keyed": mailbox.keyed.rfc3339(),
        "recovery": mailbox.recovery,
        "networks": policy.networks,
        "presets": policy.presets,
        "require_tls": policy.require_tls,
        "max_message_size": policy.message_bytes_max,
        "quota": policy.quota_bytes,
        "quota_messages": policy.quota_messages,
        "messages": usage.messages,
        "unconfirmed": usage.unconfirmed,
        "bytes": usage.served_bytes,
        "oldest": usage.oldest.map(postern_shared::clock::UnixMillis::rfc3339),
    })
}
