//! Commands on stores, and the long works on them.

use std::path::Path;

use postern_shared::control::Context;
use postern_shared::telemetry::Progress;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Command, CommandError, Secret};
use crate::app::Core;
use crate::archive::{Instance, RollOver};

/// Tells progress, and whether to end.
pub(super) fn watch(context: &Context) -> impl FnMut(&str, u64, Option<u64>) -> bool + '_ {
    |what, done, total| {
        context.progress(Progress { what: what.to_owned(), done, total });
        context.is_cancelled()
    }
}

pub(super) fn execute(core: &Core, command: Command, context: &Context) -> Result<Value, CommandError> {
    match command {
        Command::StoreList { instance } => {
            let instance = core.instance(&instance)?;
            Ok(json!({ "stores": instance.stores()?, "roll_over": instance.roll_over() }))
        }
        Command::StoreCreate { instance } => {
            let instance = core.instance(&instance)?;
            Ok(json!({ "id": instance.create_store()?, "state": "current" }))
        }
        Command::StoreState { instance, store, state } => {
            let instance = core.instance(&instance)?;
            instance.set_store_state(&store, state)?;
            Ok(json!({ "id": store, "state": state }))
        }
        Command::StoreAttach { instance, dir } => {
            let instance = core.instance(&instance)?;
            core.check_outside(&dir, Some(&core.instance_dir(&instance.info().id)?.join("stores")))?;
            Ok(json!({ "id": instance.attach_store(&dir)?, "state": "write-protected" }))
        }
        Command::StoreDetach { instance, store } => {
            let instance = core.instance(&instance)?;
            Ok(json!({ "id": store, "dir": instance.detach_store(&store)? }))
        }
        Command::StoreRollOver { instance, messages, bytes } => {
            let instance = core.instance(&instance)?;
            let now = instance.roll_over();
            let next =
                RollOver { messages: messages.unwrap_or(now.messages), bytes: bytes.unwrap_or(now.bytes) };
            instance.set_roll_over(next)?;
            Ok(json!(next))
        }
        long => execute_long(core, long, context),
    }
}

fn execute_long(core: &Core, command: Command, context: &Context) -> Result<Value, CommandError> {
    let mut watch = watch(context);
    match command {
        Command::Verify { instance, store, afresh } => {
            let instance = core.instance(&instance)?;
            let verified = instance.verify(store.as_deref(), afresh, &mut watch)?;
            let mut value = json!(verified);
            value["failed"] = (verified.findings.len() as u64 + verified.findings_left_out).into();
            Ok(value)
        }
        Command::Rebuild { instance, store } => {
            let instance = core.instance(&instance)?;
            let damage = instance.rebuild(store.as_deref(), &mut watch)?;
            let failed = damage.as_ref().map_or(0, Vec::len);
            Ok(
                json!({ "cancelled": damage.is_none(), "damage": damage.unwrap_or_default(), "failed": failed }),
            )
        }
        Command::IndexRebuild { instance, store, damaged, afresh } => {
            let instance = core.instance(&instance)?;
            let whole = instance.rebuild_indexes(store.as_deref(), (damaged, afresh), &mut watch)?;
            Ok(json!({ "cancelled": !whole, "damage": [], "failed": 0 }))
        }
        Command::Compact { instance, unused_percent } => {
            let instance = core.instance(&instance)?;
            Ok(json!(instance.compact(unused_percent, &mut watch)?))
        }
        Command::Backup { instance, to } => {
            let instance = core.instance(&instance)?;
            core.check_outside(&to, None)?;
            let (files, bytes) = instance.backup(&to, &mut watch)?.unzip();
            Ok(json!({ "cancelled": files.is_none(), "files": files, "bytes": bytes }))
        }
        Command::Restore { id, from, key_file, recovery_key, despite_damage } => {
            let recovery = recovery_key.map(Secret::into_inner);
            restore(core, &id, (&from, despite_damage), key_file.as_deref(), recovery, &mut watch)
        }
        other => Err(CommandError::Inside(format!("{other:?} is no command for a store"))),
    }
}

fn restore(
    core: &Core,
    id: &str,
    (from, despite_damage): (&Path, bool),
    key_file: Option<&Path>,
    recovery: Option<SecretString>,
    watch: &mut dyn FnMut(&str, u64, Option<u64>) -> bool,
) -> Result<Value, CommandError> {
    let (disk, dir) = (&*core.disk, core.instance_dir(id)?);
    let Some(damaged) = Instance::restore(disk, from, &dir, id, despite_damage, watch)? else {
        return Ok(json!({ "id": id, "cancelled": true }));
    };
    let failed = damaged.len();
    let restored = |messages: Option<u64>| json!({ "id": id, "cancelled": false, "messages": messages, "damaged": damaged, "failed": failed });
    let needs_passphrase = Instance::needs_passphrase(disk, &dir)?;
    let keys_dir = core.settings.keys_dir.as_deref();
    if let Some(key_file) = key_file {
        Instance::install_key_file(disk, &dir, keys_dir, key_file)?;
    } else if let Some(recovery) = recovery {
        match needs_passphrase {
            // Its passphrase goes on opening it, and nothing else.
            true => Instance::check_recovery_key(disk, &dir, &recovery)?,
            false => Instance::recover(disk, &dir, keys_dir, &recovery, None)?,
        }
    }
    if needs_passphrase {
        return Ok(restored(None));
    }
    let instance = core.instance(id)?;
    instance.audit().record("restore", &json!({ "from": from }))?;
    Ok(restored(Some(instance.stats()?.messages)))
}
