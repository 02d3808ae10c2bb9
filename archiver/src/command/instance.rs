//! Commands on instances as wholes.

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Command, CommandError, Secret};
use crate::access::Caller;
use crate::app::Core;
use crate::archive::{ArchiveError, Instance, Mode};

pub(super) fn execute(core: &Core, command: Command) -> Result<Value, CommandError> {
    match command {
        Command::InstanceCreate { id, passphrase } => {
            let (info, recovery) = core.create_instance(&id, passphrase.map(Secret::into_inner))?;
            core.instance(&id)?.audit().record("created", &json!({ "id": id }))?;
            let recovery_key = recovery.expose_secret();
            Ok(json!({ "id": info.id, "created": info.created.rfc3339(), "recovery_key": recovery_key }))
        }
        Command::InstanceStart { id, safe } => match core.start_instance(&id, safe) {
            Ok(instance) => Ok(shown(&instance)?),
            // It is to be open from now on, and is once somebody unlocks it.
            Err(error @ ArchiveError::Locked { .. }) => Ok(closed(core, &id, &error)),
            Err(error) => Err(error.into()),
        },
        Command::InstanceStop { id } => {
            core.stop_instance(&id)?;
            Ok(json!({ "id": id, "state": "stopped" }))
        }
        Command::InstanceDelete { id } => {
            let dir = core.delete_instance(&id)?;
            let tokens = core.tokens.revoke_of(&id, None)?;
            Ok(json!({ "id": id, "dir": dir, "tokens_revoked": tokens }))
        }
        Command::InstanceUnlock { id, passphrase } => {
            core.unlock(&id, passphrase.into_inner())?;
            Ok(json!({ "id": id, "unlocked": true }))
        }
        Command::InstanceRecover { id, recovery_key, passphrase } => {
            let (dir, keys_dir) = (core.instance_dir(&id)?, core.settings.keys_dir.as_deref());
            let passphrase = passphrase.map(Secret::into_inner);
            Instance::recover(&*core.disk, &dir, keys_dir, &recovery_key.into_inner(), passphrase.as_ref())?;
            if let Some(passphrase) = passphrase {
                core.unlock(&id, passphrase)?;
            }
            core.instance(&id)?.audit().record("recovered", &json!({ "id": id }))?;
            Ok(json!({ "id": id, "recovered": true }))
        }
        Command::InstanceList => Ok(json!(all_shown(core)?)),
        Command::InstanceShow { id } => match core.instance(&id) {
            Ok(instance) => Ok(shown(&instance)?),
            Err(error @ ArchiveError::Stopped(_)) => Ok(closed(core, &id, &error)),
            Err(error) => Err(error.into()),
        },
        other => Err(CommandError::Inside(format!("{other:?} is no command for an instance"))),
    }
}

fn shown(instance: &Instance) -> Result<Value, ArchiveError> {
    let info = instance.info();
    let mut value = json!(instance.stats()?);
    value["id"] = info.id.clone().into();
    value["created"] = info.created.rfc3339().into();
    value["state"] = if instance.is_safe() { "safe" } else { "started" }.into();
    Ok(value)
}

/// One that is not open, and why.
fn closed(core: &Core, id: &str, error: &ArchiveError) -> Value {
    let mode = core.instance_dir(id).and_then(|dir| Mode::read(&*core.disk, &dir));
    match (error, mode) {
        (ArchiveError::Stopped(_), _) | (_, Ok(Mode::Stopped)) => json!({ "id": id, "state": "stopped" }),
        (ArchiveError::Locked { .. }, _) => {
            json!({ "id": id, "state": "locked", "error": error.to_string() })
        }
        _ => json!({ "id": id, "state": "failed", "error": error.to_string() }),
    }
}

/// All instances; of one that does not open, why.
pub(super) fn all_shown(core: &Core) -> Result<Vec<Value>, CommandError> {
    let shown = core.instance_ids()?.into_iter().map(|id| {
        let shown = core.instance(&id).and_then(|instance| shown(&instance));
        shown.unwrap_or_else(|error| closed(core, &id, &error))
    });
    Ok(shown.collect())
}

/// Leaves of an answer about all instances what a caller who is bound to one may know.
pub(super) fn only_own(mut answer: Value, caller: &Caller) -> Value {
    let Some(own) = caller.instance() else { return answer };
    let keep = |all: &mut Vec<Value>| all.retain(|instance| instance["id"] == own);
    match &mut answer {
        Value::Array(all) => keep(all),
        Value::Object(status) => {
            if let Some(Value::Array(all)) = status.get_mut("instances") {
                keep(all);
            }
            status.remove("data_dir");
            status.remove("listening");
        }
        _ => {}
    }
    answer
}
