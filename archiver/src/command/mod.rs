//! What an operator can ask of an archiver, with or without a running daemon.
//!
//! A [`Command`] travels as JSON over the control socket when a daemon runs, and is executed on the spot when none
//! does; [`Commands`] is the same code either way, and behind the API too. `access` judges each before it is done, and writes
//! a line to the audit log of every reading of mail and every change.

mod audit;
mod instance;
#[cfg(test)]
mod names;
mod read;
mod secret;
mod store;
mod token;
mod until;
mod user;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(test)]
pub(crate) use names::{fields, names};
use postern_shared::control::{Context, Handler};
use postern_shared::crypto::aead::AeadKey;
use postern_shared::shutdown::Shutdown;
#[cfg(test)]
pub(crate) use read::execute as read_for_tests;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use secret::{Secret, TransportKey};

use crate::access::{Asked, Caller, Denied, Scope, TokenError, admit};
use crate::app::Core;
use crate::archive::{ArchiveError, Instance, Privilege, State};
use crate::profiles::job::{self, RunError};
use crate::profiles::{ProfileName, Profiles, StoreError, StoredProfile};

/// A command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the command line's help says it")]
pub enum Command {
    Status,
    InstanceCreate {
        id: String,
        passphrase: Option<Secret>,
    },
    InstanceStart {
        id: String,
        safe: bool,
    },
    InstanceStop {
        id: String,
    },
    InstanceDelete {
        id: String,
    },
    InstanceUnlock {
        id: String,
        passphrase: Secret,
    },
    InstanceRecover {
        id: String,
        recovery_key: Secret,
    },
    InstanceList,
    InstanceShow {
        id: String,
    },
    UserAdd {
        instance: String,
        id: String,
        emails: Vec<String>,
        privileges: Option<BTreeSet<Privilege>>,
        reads: Option<BTreeSet<String>>,
    },
    UserList {
        instance: String,
    },
    UserShow {
        instance: String,
        id: String,
    },
    UserEdit {
        instance: String,
        id: String,
        emails: Option<Vec<String>>,
        add_emails: Vec<String>,
        remove_emails: Vec<String>,
        privileges: Option<BTreeSet<Privilege>>,
        reads: Option<BTreeSet<String>>,
    },
    UserDelete {
        instance: String,
        id: String,
    },
    ProfilePut {
        instance: String,
        profile: Box<StoredProfile>,
        key: TransportKey,
    },
    ProfileList {
        instance: String,
    },
    ProfileShow {
        instance: String,
        name: String,
    },
    ProfileDelete {
        instance: String,
        name: String,
    },
    ProfileRun {
        instance: String,
        name: String,
    },
    Search {
        instance: String,
        user: Option<String>,
        query: String,
        limit: usize,
        offset: usize,
    },
    MessageGet {
        instance: String,
        id: String,
        report: bool,
    },
    FolderList {
        instance: String,
        user: Option<String>,
    },
    StoreList {
        instance: String,
    },
    StoreCreate {
        instance: String,
    },
    StoreState {
        instance: String,
        store: String,
        state: State,
    },
    StoreAttach {
        instance: String,
        dir: PathBuf,
    },
    StoreDetach {
        instance: String,
        store: String,
    },
    StoreRollOver {
        instance: String,
        messages: Option<u64>,
        bytes: Option<u64>,
    },
    Verify {
        instance: String,
        store: Option<String>,
        afresh: bool,
    },
    Rebuild {
        instance: String,
        store: Option<String>,
    },
    Compact {
        instance: String,
        unused_percent: u64,
    },
    Backup {
        instance: String,
        to: PathBuf,
    },
    Restore {
        id: String,
        from: PathBuf,
        key_file: Option<PathBuf>,
        recovery_key: Option<Secret>,
    },
    AuditList {
        instance: Option<String>,
        before: Option<u64>,
        limit: usize,
    },
    AuditVerify {
        instance: Option<String>,
    },
    TokenCreate {
        name: String,
        scopes: Vec<Scope>,
        bound_to: Option<String>,
        user: Option<String>,
        expires_in_days: Option<u32>,
    },
    TokenList,
    TokenRevoke {
        id: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    NotAllowed(String),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Profile(#[from] StoreError),
    #[error("profile {name:?}: {source}")]
    Run { name: String, source: RunError },
    #[error("profile {0:?} is running already; wait for it, or end it")]
    Running(String),
    #[error("{0:?} is no profile name")]
    BadName(String),
    #[error("the password of profile {0:?} cannot be opened with this instance's key; put the profile again")]
    Sealed(String),
    #[error("{0}")]
    Inside(String),
}

/// A command that may be done and stands in the audit log.
#[derive(Debug)]
pub(crate) struct Admitted {
    command: Command,
    asked: Asked,
    stopping: Option<Shutdown>,
}

impl Admitted {
    /// The instance it is about.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.asked.instance.as_deref()
    }
}

/// The archiver's commands.
#[derive(Debug, Clone)]
pub struct Commands(pub Arc<Core>);

impl Handler for Commands {
    type Command = Command;

    async fn handle(&self, command: Command, context: Context) -> Result<Value, String> {
        let operator = Arc::new(Caller::operator());
        self.handle_as(operator, command, context).await.map_err(|error| error.to_string())
    }
}

impl From<Denied> for CommandError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotAllowed(why) => Self::NotAllowed(why),
            Denied::Archive(error) => Self::Archive(error),
        }
    }
}

impl Commands {
    /// Does what somebody asks for, if they may.
    pub(crate) async fn handle_as(
        &self,
        caller: Arc<Caller>,
        command: Command,
        context: Context,
    ) -> Result<Value, CommandError> {
        let admitted = self.admit(&caller, command).await?;
        self.carry_out(caller, admitted, context).await
    }

    /// Judges and records a command.
    pub(crate) async fn admit(
        &self,
        caller: &Arc<Caller>,
        command: Command,
    ) -> Result<Admitted, CommandError> {
        let (core, caller) = (Arc::clone(&self.0), Arc::clone(caller));
        blocking(move || {
            let asked = Asked::of(&command);
            admit(&core, &caller, &asked)?;
            // Whoever stops an instance is not stopped by that.
            let works = asked.instance.as_ref().filter(|_| !asked.name.starts_with("instance-"));
            let stopping = works.and_then(|id| core.stopping(id));
            Ok(Admitted { command, asked, stopping })
        })
        .await
    }

    /// Does what was admitted.
    pub(crate) async fn carry_out(
        &self,
        caller: Arc<Caller>,
        admitted: Admitted,
        context: Context,
    ) -> Result<Value, CommandError> {
        let Admitted { command, asked, stopping } = admitted;
        let done =
            until::stopped(stopping, context, |context| self.execute(&caller, command, context)).await?;
        Ok(if asked.instance.is_none() { instance::only_own(done, &caller) } else { done })
    }

    async fn execute(
        &self,
        caller: &Arc<Caller>,
        command: Command,
        context: Context,
    ) -> Result<Value, CommandError> {
        let (core, caller) = (Arc::clone(&self.0), Arc::clone(caller));
        match command {
            Command::ProfileRun { instance, name } => self.run(instance, name, context).await,
            Command::TokenCreate { scopes, .. } if !scopes.iter().all(|scope| caller.has(*scope)) => {
                let why = "a token makes none that may do more than itself; use the command line";
                Err(CommandError::NotAllowed(why.into()))
            }
            mail @ (Command::Search { .. } | Command::MessageGet { .. } | Command::FolderList { .. }) => {
                blocking(move || read::execute(&core, &caller, mail)).await
            }
            other => blocking(move || execute(&core, other, &context)).await,
        }
    }

    async fn run(&self, instance: String, name: String, context: Context) -> Result<Value, CommandError> {
        let core = Arc::clone(&self.0);
        let _running = core.begin_run(&instance, &name).ok_or_else(|| CommandError::Running(name.clone()))?;
        let (opener, wanted) = (Arc::clone(&core), name.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let instance = opener.instance(&instance)?;
            let (profiles, key) = profiles(&instance);
            let stored = profiles.show(&parse_name(&wanted)?)?;
            let profile = stored.open(&key).map_err(|_| CommandError::Sealed(wanted.clone()))?;
            Ok::<_, CommandError>((instance, profile))
        });
        let (instance, profile) = opened.await.map_err(|error| CommandError::Inside(error.to_string()))??;
        let ran = job::run(&instance, &profile, core.settings.message_bytes_max, &context).await;
        let result = ran.map_err(|source| CommandError::Run { name: name.clone(), source })?;
        let mut value =
            serde_json::to_value(&result).map_err(|error| CommandError::Inside(error.to_string()))?;
        instance.audit().record("profile ran", &json!({ "profile": name, "result": value }))?;
        value["profile"] = name.into();
        Ok(value)
    }
}

/// Does what waits for the disk where nobody else waits with it.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, CommandError> + Send + 'static,
) -> Result<R, CommandError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(CommandError::Inside(format!("the command failed inside: {error}"))))
}

fn parse_name(name: &str) -> Result<ProfileName, CommandError> {
    name.parse().map_err(|_| CommandError::BadName(name.chars().take(64).collect()))
}

fn profiles(instance: &Instance) -> (Profiles, AeadKey) {
    let (dir, key) = instance.profiles();
    (Profiles::new(Arc::clone(instance.disk()), dir), key)
}

/// Everything that does not wait for a network. Blocks for the disk.
fn execute(core: &Core, command: Command, context: &Context) -> Result<Value, CommandError> {
    match command {
        Command::Status => status(core),
        Command::InstanceCreate { .. }
        | Command::InstanceStart { .. }
        | Command::InstanceStop { .. }
        | Command::InstanceDelete { .. }
        | Command::InstanceUnlock { .. }
        | Command::InstanceRecover { .. }
        | Command::InstanceList
        | Command::InstanceShow { .. } => instance::execute(core, command),
        Command::UserAdd { .. }
        | Command::UserList { .. }
        | Command::UserShow { .. }
        | Command::UserEdit { .. }
        | Command::UserDelete { .. } => user::execute(core, command),
        Command::AuditList { .. } | Command::AuditVerify { .. } => audit::execute(core, command),
        Command::TokenCreate { .. } | Command::TokenList | Command::TokenRevoke { .. } => {
            token::execute(core, command)
        }
        Command::ProfilePut { .. }
        | Command::ProfileList { .. }
        | Command::ProfileShow { .. }
        | Command::ProfileDelete { .. }
        | Command::ProfileRun { .. } => profile_command(core, command),
        other => store::execute(core, other, context),
    }
}

fn profile_command(core: &Core, command: Command) -> Result<Value, CommandError> {
    match command {
        Command::ProfilePut { instance, profile, key } => {
            let instance = core.instance(&instance)?;
            let name = profile.name().as_str().to_owned();
            let open = profile.open(&key.cipher()).map_err(|_| CommandError::Sealed(name.clone()))?;
            let (profiles, instance_key) = profiles(&instance);
            profiles.put(&open.seal(&instance_key))?;
            Ok(json!({ "name": name }))
        }
        Command::ProfileList { instance } => {
            let (profiles, _) = profiles(&*core.instance(&instance)?);
            let all = profiles.list()?;
            Ok(all
                .into_iter()
                .map(|profile| {
                    profile.map_or_else(|error| json!({ "error": error.to_string() }), |p| profile_shown(&p))
                })
                .collect())
        }
        Command::ProfileShow { instance, name } => {
            let (profiles, _) = profiles(&*core.instance(&instance)?);
            Ok(profile_shown(&profiles.show(&parse_name(&name)?)?))
        }
        Command::ProfileDelete { instance, name } => {
            let instance = core.instance(&instance)?;
            profiles(&instance).0.delete(&parse_name(&name)?)?;
            Ok(json!({ "name": name, "deleted": true }))
        }
        other => Err(CommandError::Inside(format!("{other:?} is no command for a profile"))),
    }
}

/// What is stored, without the sealed password.
fn profile_shown(profile: &StoredProfile) -> Value {
    let mut value = serde_json::to_value(profile).unwrap_or_default();
    let mut shown = value["profile"].take();
    shown["enabled"] = profile.enabled.into();
    shown
}

fn status(core: &Core) -> Result<Value, CommandError> {
    let instances = instance::all_shown(core)?;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "running": core.running,
        "data_dir": core.settings.data_dir,
        "free_bytes": core.disk.free_bytes(&core.settings.data_dir).ok(),
        "uptime_seconds": core.uptime().as_secs(),
        "listening": core.listening.get(),
        "instances": instances,
    }))
}
