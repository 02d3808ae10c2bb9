//! Commands on instances as wholes.

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Command, CommandError, Secret};
use crate::access::Caller;
use crate::app::{Core, Created, Standing};
use crate::archive::{ArchiveError, Instance};

pub(super) fn execute(core: &Core, command: Command) -> Result<Value, CommandError> {
    match command {
        Command::InstanceCreate { id, passphrase } => {
            let Created { info, recovery_key, opened } =
                core.create_instance(&id, passphrase.map(Secret::into_inner))?;
            let recorded =
                opened.and_then(|()| core.instance(&id)?.audit().record("created", &json!({ "id": id })));
            let created = info.created.rfc3339();
            let mut value =
                json!({ "id": info.id, "created": created, "recovery_key": recovery_key.expose_secret() });
            // The instance is there, and nobody else has its recovery key: whatever else failed stands beside it.
            if let Err(error) = recorded {
                let error = format!("the instance is created, but: {error}");
                value["errors"] = json!([error]);
            }
            Ok(value)
        }
        Command::InstanceStart { id, safe } => match core.start_instance(&id, safe) {
            Ok(instance) => Ok(shown(&instance)?),
            // It is to be open from now on, and is once somebody unlocks it.
            Err(error @ ArchiveError::Locked { .. }) => Ok(closed(&id, "locked", &error.to_string())),
            Err(error) => Err(error.into()),
        },
        Command::InstanceStop { id } => {
            core.stop_instance(&id)?;
            Ok(json!({ "id": id, "state": "stopped" }))
        }
        Command::InstanceDelete { id } => {
            let (dir, tokens) = core.delete_instance(&id)?;
            Ok(json!({ "id": id, "dir": dir, "tokens_revoked": tokens }))
        }
        Command::InstanceUnlock { id, passphrase } => {
            core.unlock(&id, passphrase.into_inner())?;
            Ok(json!({ "id": id, "unlocked": true }))
        }
        Command::InstanceRecover { id, recovery_key, passphrase } => {
            let (dir, keys_dir) = (core.instance_dir(&id)?, core.settings.keys_dir.as_deref());
            let passphrase = passphrase.map(Secret::into_inner);
            let one = core.change(&id)?;
            Instance::recover(&*core.disk, &dir, keys_dir, &recovery_key.into_inner(), passphrase.as_ref())?;
            drop(one);
            let opened = match passphrase {
                Some(passphrase) => core.unlock(&id, passphrase).and_then(|()| core.instance(&id)),
                None => core.instance(&id),
            };
            let particulars = json!({ "id": id });
            match opened {
                Ok(instance) => instance.audit().record("recovered", &particulars)?,
                // It opens the next time that it is started.
                Err(ArchiveError::Stopped(_)) => core.audit()?.record("recovered", &particulars)?,
                Err(error) => return Err(error.into()),
            }
            Ok(json!({ "id": id, "recovered": true }))
        }
        Command::InstanceNewRecoveryKey { id } => {
            let _one = core.change(&id)?;
            let recovery_key = core.instance(&id)?.renew_recovery_key()?;
            Ok(json!({ "id": id, "recovery_key": recovery_key.expose_secret() }))
        }
        Command::InstanceList => Ok(json!(all_shown(core)?)),
        Command::InstanceShow { id } => match core.instance(&id) {
            Ok(instance) => Ok(shown(&instance)?),
            Err(ArchiveError::Stopped(_)) => Ok(json!({ "id": id, "state": "stopped" })),
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
fn closed(id: &str, state: &str, error: &str) -> Value {
    json!({ "id": id, "state": state, "error": error })
}

/// All instances; of one that does not open, why. Waits for none that is being opened.
pub(super) fn all_shown(core: &Core) -> Result<Vec<Value>, CommandError> {
    let all = core.instance_ids()?.into_iter().map(|id| match core.standing(&id) {
        Ok(Standing::Open(instance)) => {
            shown(&instance).unwrap_or_else(|error| closed(&id, "failed", &error.to_string()))
        }
        Ok(Standing::Opening) => json!({ "id": id, "state": "opening" }),
        Ok(Standing::Stopped) => json!({ "id": id, "state": "stopped" }),
        Ok(Standing::Failed { error, is_locked: true }) => closed(&id, "locked", &error),
        Ok(Standing::Failed { error, is_locked: false }) => closed(&id, "failed", &error),
        Err(error) => closed(&id, "failed", &error.to_string()),
    });
    Ok(all.collect())
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
