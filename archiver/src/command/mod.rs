//! What an operator can ask of an archiver, with or without a running daemon.
//!
//! A [`Command`] travels as JSON over the control socket when a daemon runs, and is executed on the spot when none
//! does; [`Commands`] is the same code either way. Every reading of mail and every change leaves a line in the
//! instance's audit log, written before it is done.

mod search;
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

use crate::app::Core;
use crate::archive::{ArchiveError, Instance, Order, State};
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
    },
    UserList {
        instance: String,
    },
    UserShow {
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
        #[serde(default)]
        order: Order,
        #[serde(default)]
        cursor: Option<String>,
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
    IndexRebuild {
        instance: String,
        store: Option<String>,
        damaged: bool,
        afresh: bool,
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
enum CommandError {
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
    #[error("the password of profile {0:?} cannot be opened with this instance's key; put the profile again")]
    Sealed(String),
    #[error("{0}")]
    Inside(String),
}

/// The archiver's commands.
#[derive(Debug, Clone)]
pub struct Commands(pub Arc<Core>);

impl Handler for Commands {
    type Command = Command;

    async fn handle(&self, command: Command, context: Context) -> Result<Value, String> {
        let done = match command {
            Command::ProfileRun { instance, name } => self.run(instance, name, context).await,
            other => {
                let core = Arc::clone(&self.0);
                let done = tokio::task::spawn_blocking(move || execute(&core, other, &context)).await;
                done.unwrap_or_else(|error| {
                    Err(CommandError::Inside(format!("the command failed inside: {error}")))
                })
            }
        };
        done.map_err(|error| error.to_string())
    }
}

impl Commands {
    async fn run(&self, instance: String, name: String, context: Context) -> Result<Value, CommandError> {
        let core = Arc::clone(&self.0);
        let _running = core.begin_run(&instance, &name).ok_or_else(|| CommandError::Running(name.clone()))?;
        let (opener, wanted) = (Arc::clone(&core), name.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let instance = opener.instance(&instance)?;
            let (profiles, key) = profiles(&instance);
            let stored = profiles.show(&parse_name(&wanted)?)?;
            let profile = stored.open(&key).map_err(|_| CommandError::Sealed(wanted.clone()))?;
            instance.audit().record("profile run", &json!({ "profile": wanted }))?;
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
        | Command::ProfileRun { .. } => profile_command(core, command),
        Command::Search { .. } => search::execute(core, command, context),
        Command::MessageGet { instance, id, report } => {
            let instance = core.instance(&instance)?;
            instance.audit().record("message get", &json!({ "id": id, "report": report }))?;
            let bytes = Zeroizing::new(if report { instance.report(&id)? } else { instance.message(&id)? });
            Ok(json!({ "id": id, "base64": STANDARD.encode(&*bytes) }))
        }
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
            instance.audit().record("profile put", &json!({ "name": name }))?;
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
            instance.audit().record("profile delete", &json!({ "name": name }))?;
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
