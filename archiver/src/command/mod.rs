//! What an operator can ask of an archiver, with or without a running daemon.
//!
//! A [`Command`] travels as JSON over the control socket when a daemon runs, and is executed on the spot when none
//! does; [`Commands`] is the same code either way. Every reading of mail and every change leaves a line in the
//! instance's audit log, written before it is done.

mod jobs;
mod profile;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_shared::control::{Context, Handler};
use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::aead::AeadKey;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use self::jobs::JobError;
use crate::app::Core;
use crate::archive::{ArchiveError, Instance, Query, State};
use crate::jobs::Job;
use crate::profiles::job::RunError;
use crate::profiles::state::StateError;
use crate::profiles::{OpenError, StoreError, StoredProfile};

/// A command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the command line's help says it")]
pub enum Command {
    Status,
    InstanceCreate { id: String, passphrase: Option<Secret> },
    InstanceUnlock { id: String, passphrase: Secret },
    InstanceRecover { id: String, recovery_key: Secret },
    InstanceList,
    InstanceShow { id: String },
    UserAdd { instance: String, id: String, emails: Vec<String> },
    UserList { instance: String },
    UserShow { instance: String, id: String },
    ProfilePut { instance: String, profile: Box<StoredProfile>, key: TransportKey },
    ProfileList { instance: String },
    ProfileShow { instance: String, name: String },
    ProfileDelete { instance: String, name: String },
    ProfileRun { instance: String, name: String },
    ProfileEnable { instance: String, name: String, enabled: bool },
    ProfileTest { instance: String, profile: Box<Tested> },
    ProfileRetries { instance: String, name: String, then: Then },
    Search { instance: String, user: Option<String>, query: String, limit: usize, offset: usize },
    MessageGet { instance: String, id: String, report: bool },
    FolderList { instance: String, user: Option<String> },
    StoreList { instance: String },
    StoreCreate { instance: String },
    StoreState { instance: String, store: String, state: State },
    StoreAttach { instance: String, dir: PathBuf },
    StoreDetach { instance: String, store: String },
    StoreRollOver { instance: String, messages: Option<u64>, bytes: Option<u64> },
    Verify { instance: String, store: Option<String>, afresh: bool },
    Rebuild { instance: String, store: Option<String> },
    Compact { instance: String, unused_percent: u64 },
    Backup { instance: String, to: PathBuf },
    JobPut { instance: String, job: Box<Job> },
    JobList { instance: String },
    JobShow { instance: String, name: String },
    JobRun { instance: String, name: String },
    JobCancel { instance: String, name: String },
    JobEnable { instance: String, name: String, enabled: bool },
    JobDelete { instance: String, name: String },
    ResultList { instance: String, job: Option<String>, limit: usize, before: Option<String> },
    ResultShow { instance: String, id: String },
    NotificationsTest,
    Restore { id: String, from: PathBuf, key_file: Option<PathBuf>, recovery_key: Option<Secret> },
}

/// Which profile is tested: one that is stored, or one from a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Tested {
    Stored { name: String },
    File { profile: Box<StoredProfile>, key: TransportKey },
}

/// What becomes of messages that are to be tried again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// They are shown.
    Nothing,
    /// All are tried in the next run.
    Now,
    /// This one is not tried any more; or none of them.
    Discard(Option<String>),
}

/// The key that a profile's password is sealed under between command line and daemon; used once.
#[derive(Clone, Serialize, Deserialize)]
pub struct TransportKey(#[serde(with = "hex::serde")] [u8; 32]);

impl TransportKey {
    /// A new key.
    pub fn new(key: &SecretBytes) -> Self {
        Self(**key)
    }

    fn cipher(&self) -> AeadKey {
        AeadKey::new(&self.0)
    }
}

impl std::fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TransportKey(..)")
    }
}

impl Drop for TransportKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// A passphrase or a recovery key on its way to the daemon; not shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// That text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    fn into_inner(self) -> SecretString {
        SecretString::from(self.0.as_str())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Profile(#[from] StoreError),
    #[error("profile {name:?}: {source}")]
    Run { name: String, source: RunError },
    #[error("profile {0:?} is running already; wait for it, or end it")]
    Running(String),
    #[error("{0:?} is no profile name")]
    BadName(String),
    #[error("profile {name:?}: {source}")]
    Open { name: String, source: OpenError },
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("{0}")]
    Inside(String),
}

/// The archiver's commands.
#[derive(Debug, Clone)]
pub struct Commands(pub Arc<Core>);

impl Handler for Commands {
    type Command = Command;

    async fn handle(&self, command: Command, context: Context) -> Result<Value, String> {
        let reschedules = jobs::reschedules(&command);
        let done = match command {
            Command::JobRun { instance, name } => jobs::run(&self.0, instance, &name, context).await,
            Command::NotificationsTest => jobs::test_notifications(&self.0).await,
            other => self.perform(other, context).await,
        };
        if reschedules {
            self.0.jobs.nudge();
        }
        done.map_err(|error| error.to_string())
    }
}

impl Commands {
    /// What the command line and jobs can ask for.
    pub(crate) async fn perform(&self, command: Command, context: Context) -> Result<Value, CommandError> {
        match command {
            Command::ProfileRun { instance, name } => self.run(instance, name, context).await,
            Command::ProfileTest { instance, profile } => self.test(instance, *profile, context).await,
            other => {
                let core = Arc::clone(&self.0);
                let done = tokio::task::spawn_blocking(move || execute(&core, other, &context)).await;
                done.unwrap_or_else(|error| {
                    Err(CommandError::Inside(format!("the command failed inside: {error}")))
                })
            }
        }
    }
}

/// Everything that does not wait for a network. Blocks for the disk.
fn execute(core: &Core, command: Command, context: &Context) -> Result<Value, CommandError> {
    match command {
        Command::Status => status(core),
        Command::InstanceCreate { id, passphrase } => {
            let (info, recovery) = core.create_instance(&id, passphrase.map(Secret::into_inner))?;
            core.instance(&id)?.audit().record("instance create", &json!({ "id": id }))?;
            let recovery_key = recovery.expose_secret();
            Ok(json!({ "id": info.id, "created": info.created.rfc3339(), "recovery_key": recovery_key }))
        }
        Command::InstanceUnlock { id, passphrase } => {
            core.unlock(&id, passphrase.into_inner())?;
            core.instance(&id)?.audit().record("instance unlock", &json!({ "id": id }))?;
            Ok(json!({ "id": id, "unlocked": true }))
        }
        Command::InstanceRecover { id, recovery_key } => {
            let keys_dir = core.settings.keys_dir.as_deref();
            Instance::recover(&*core.disk, &core.instance_dir(&id)?, keys_dir, &recovery_key.into_inner())?;
            core.instance(&id)?.audit().record("instance recover", &json!({ "id": id }))?;
            Ok(json!({ "id": id, "recovered": true }))
        }
        Command::InstanceList => Ok(json!(all_shown(core)?)),
        Command::InstanceShow { id } => Ok(shown(&*core.instance(&id)?)?),
        Command::UserAdd { instance, id, emails } => {
            let instance = core.instance(&instance)?;
            instance.audit().record("user add", &json!({ "id": id, "emails": emails }))?;
            Ok(json!(instance.add_user(&id, &emails)?))
        }
        Command::UserList { instance } => Ok(json!(core.instance(&instance)?.users())),
        Command::UserShow { instance, id } => Ok(json!(core.instance(&instance)?.user(&id)?)),
        Command::ProfilePut { .. }
        | Command::ProfileList { .. }
        | Command::ProfileShow { .. }
        | Command::ProfileDelete { .. }
        | Command::ProfileEnable { .. }
        | Command::ProfileRetries { .. }
        | Command::ProfileTest { .. }
        | Command::ProfileRun { .. } => profile::execute(core, command),
        Command::Search { instance, user, query, limit, offset } => {
            let instance = core.instance(&instance)?;
            instance.audit().record("search", &json!({ "user": user, "query": query }))?;
            let hits =
                instance.search(&Query { text: query, archive: user, limit: limit.min(10_000), offset })?;
            Ok(json!(hits))
        }
        Command::MessageGet { instance, id, report } => {
            let instance = core.instance(&instance)?;
            instance.audit().record("message get", &json!({ "id": id, "report": report }))?;
            let bytes = Zeroizing::new(if report { instance.report(&id)? } else { instance.message(&id)? });
            Ok(json!({ "id": id, "base64": STANDARD.encode(&*bytes) }))
        }
        Command::JobPut { .. }
        | Command::JobList { .. }
        | Command::JobShow { .. }
        | Command::JobCancel { .. }
        | Command::JobEnable { .. }
        | Command::JobDelete { .. }
        | Command::ResultList { .. }
        | Command::ResultShow { .. } => jobs::execute(core, command),
        other => store::execute(core, other, context),
    }
}

fn shown(instance: &Instance) -> Result<Value, ArchiveError> {
    let info = instance.info();
    let mut value = json!(instance.stats()?);
    value["id"] = info.id.clone().into();
    value["created"] = info.created.rfc3339().into();
    Ok(value)
}

/// All instances; of one that does not open, why.
fn all_shown(core: &Core) -> Result<Vec<Value>, CommandError> {
    let shown = core.instance_ids()?.into_iter().map(|id| {
        let shown = core.instance(&id).and_then(|instance| shown(&instance));
        shown.unwrap_or_else(|error| json!({ "id": id, "error": error.to_string() }))
    });
    Ok(shown.collect())
}

fn status(core: &Core) -> Result<Value, CommandError> {
    let instances = all_shown(core)?;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "running": core.running,
        "data_dir": core.settings.data_dir,
        "free_bytes": core.disk.free_bytes(&core.settings.data_dir).ok(),
        "instances": instances,
    }))
}
