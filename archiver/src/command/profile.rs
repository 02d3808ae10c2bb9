//! Commands on profiles.

use std::sync::Arc;

use postern_shared::control::Context;
use postern_shared::crypto::aead::AeadKey;
use serde_json::{Value, json};

use super::{Command, CommandError, Commands, Tested, Then};
use crate::app::Core;
use crate::archive::Instance;
use crate::profiles::job::{self, state_dir};
use crate::profiles::probe::probe;
use crate::profiles::state::State;
use crate::profiles::{Profile, ProfileName, Profiles, SourceProfile, StoredProfile};
use crate::sources::files::check_within;

/// Messages on the list of what is to be tried again that are shown.
const RETRIES_SHOWN: usize = 1000;

impl Commands {
    /// Runs a profile until everything is pulled or `context` is cancelled.
    pub(super) async fn run(
        &self,
        instance: String,
        name: String,
        context: Context,
    ) -> Result<Value, CommandError> {
        let core = Arc::clone(&self.0);
        let _running = core.begin_run(&instance, &name).ok_or_else(|| CommandError::Running(name.clone()))?;
        let wanted = name.clone();
        let (instance, profile) = self
            .blocking(move |core| {
                let instance = core.instance(&instance)?;
                let profile = opened(&instance, &wanted)?;
                check_directory(core, &profile)?;
                Ok((instance, profile))
            })
            .await?;
        let ran = job::run(&instance, &profile, core.settings.message_bytes_max, &context).await;
        let result = ran.map_err(|source| CommandError::Run { name: name.clone(), source })?;
        let mut value =
            serde_json::to_value(&result).map_err(|error| CommandError::Inside(error.to_string()))?;
        let mut noted = value.clone();
        // What went on is for whoever asked; the audit log keeps what came of it.
        noted.as_object_mut().and_then(|result| result.remove("log"));
        instance.audit().record("profile ran", &json!({ "profile": name, "result": noted }))?;
        value["profile"] = name.into();
        Ok(value)
    }

    /// Goes the way into each account of a profile.
    pub(super) async fn test(
        &self,
        instance: String,
        tested: Tested,
        context: Context,
    ) -> Result<Value, CommandError> {
        let (instance, profile) = self
            .blocking(move |core| {
                let instance = core.instance(&instance)?;
                let profile = match tested {
                    Tested::Stored { name } => opened(&instance, &name)?,
                    Tested::File { profile, key } => open(&profile, &key.cipher())?,
                };
                check_directory(core, &profile)?;
                Ok((instance, profile))
            })
            .await?;
        let name = profile.name.to_string();
        let probed = probe(&instance, &profile, &context).await;
        let probed = probed.map_err(|source| CommandError::Run { name: name.clone(), source })?;
        let failed = probed.iter().filter(|account| account.steps.iter().any(|step| !step.ok)).count();
        Ok(json!({ "profile": name, "accounts": probed, "failed": failed }))
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<R, CommandError> + Send + 'static,
    ) -> Result<R, CommandError> {
        let core = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&core)).await;
        done.map_err(|error| CommandError::Inside(error.to_string()))?
    }
}

pub(super) fn execute(core: &Core, command: Command) -> Result<Value, CommandError> {
    match command {
        Command::ProfilePut { instance, profile, key } => {
            let instance = core.instance(&instance)?;
            let open = open(&profile, &key.cipher())?;
            let name = open.name.to_string();
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
                    profile.map_or_else(|error| json!({ "error": error.to_string() }), |p| shown(&p))
                })
                .collect())
        }
        Command::ProfileShow { instance, name } => {
            let instance = core.instance(&instance)?;
            let mut value = shown(&profiles(&instance).0.show(&parse_name(&name)?)?);
            let state = state(&instance, &name)?;
            value["retries"] = state.retries(0)?.1.into();
            value["pending_deletions"] = state.pending_count()?.into();
            Ok(value)
        }
        Command::ProfileDelete { instance, name } => {
            let instance = core.instance(&instance)?;
            let parsed = parse_name(&name)?;
            profiles(&instance).0.delete(&parsed)?;
            let dir = state_dir(&instance);
            // Another profile of that name begins anew; when this fails it lists less, and what it passes over is archived.
            if let Err(error) = State::remove(&**instance.disk(), &dir, &parsed) {
                tracing::warn!(profile = name, %error, "what was known of its source is left behind");
            }
            Ok(json!({ "name": name, "deleted": true }))
        }
        Command::ProfileEnable { instance, name, enabled } => {
            let instance = core.instance(&instance)?;
            let (profiles, _) = profiles(&instance);
            let mut stored = profiles.show(&parse_name(&name)?)?;
            stored.enabled = enabled;
            profiles.put(&stored)?;
            Ok(json!({ "name": name, "enabled": enabled }))
        }
        Command::ProfileRetries { instance, name, then } => retries(core, &instance, &name, &then),
        other => Err(CommandError::Inside(format!("{other:?} is no command for a profile"))),
    }
}

fn retries(core: &Core, instance: &str, name: &str, then: &Then) -> Result<Value, CommandError> {
    let instance = core.instance(instance)?;
    profiles(&instance).0.show(&parse_name(name)?)?;
    let state = state(&instance, name)?;
    let mut discarded = 0;
    match then {
        Then::Nothing => {}
        Then::Now => {
            state.retry_now()?;
        }
        Then::Discard(which) => {
            if let Some(which) = which
                && state.meant(which)? > 1
            {
                return Err(CommandError::Several(which.item.chars().take(200).collect()));
            }
            discarded = state.discard(which.as_ref())?;
        }
    }
    let (all, count) = state.retries(RETRIES_SHOWN)?;
    let all: Vec<Value> = all
        .into_iter()
        .map(|retry| {
            let times = [("first", retry.first), ("last", retry.last), ("next", retry.next)];
            let mut value = json!(retry);
            for (key, at) in times {
                value[key] = at.rfc3339().into();
            }
            value
        })
        .collect();
    Ok(json!({ "profile": name, "count": count, "discarded": discarded, "messages": all }))
}

fn parse_name(name: &str) -> Result<ProfileName, CommandError> {
    name.parse().map_err(|_| CommandError::BadName(name.chars().take(64).collect()))
}

fn profiles(instance: &Instance) -> (Profiles, AeadKey) {
    let (dir, key) = instance.profiles();
    (Profiles::new(Arc::clone(instance.disk()), dir), key)
}

fn state(instance: &Instance, name: &str) -> Result<State, CommandError> {
    Ok(State::open(&**instance.disk(), &state_dir(instance), &parse_name(name)?)?)
}

fn opened(instance: &Instance, name: &str) -> Result<Profile, CommandError> {
    let (profiles, key) = profiles(instance);
    open(&profiles.show(&parse_name(name)?)?, &key)
}

fn open(stored: &StoredProfile, key: &AeadKey) -> Result<Profile, CommandError> {
    stored.open(key).map_err(|source| CommandError::Open { name: stored.name().to_string(), source })
}

/// Files are read where the configuration lets them be read, whoever wrote the profile.
fn check_directory(core: &Core, profile: &Profile) -> Result<(), CommandError> {
    let SourceProfile::Files(settings, _) = &profile.source else { return Ok(()) };
    check_within(&settings.path, &core.settings.file_roots)
        .map_err(|error| CommandError::Run { name: profile.name.to_string(), source: error.into() })
}

/// What is stored, without the sealed secrets.
fn shown(profile: &StoredProfile) -> Value {
    let mut shown = profile.shown().clone();
    shown["enabled"] = profile.enabled.into();
    shown
}
