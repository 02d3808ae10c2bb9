//! What a job does, and how what it answers is told.

use std::sync::Arc;

use postern_shared::control::Context;
use serde_json::{Value, json};

use super::job::Template;
use super::results::JobResult;
use crate::app::Core;
use crate::archive::ArchiveError;
use crate::command::{Command, CommandError, Commands};

/// Does what `template` says, as the command line would.
pub(super) async fn perform(
    core: &Arc<Core>,
    instance: &str,
    template: &Template,
    context: Context,
) -> Result<Value, CommandError> {
    let commands = Commands(Arc::clone(core));
    let id = instance;
    let instance = id.to_owned();
    let command = match template.clone() {
        Template::Profile { profile } => Command::ProfileRun { instance, name: profile.as_str().to_owned() },
        Template::Verify { store } => Command::Verify { instance, store, afresh: false },
        Template::Backup { to } => Command::Backup { instance, to },
        Template::Compact { unused_percent } => Command::Compact { instance, unused_percent },
        Template::Rebuild {} => return rebuild_broken(&commands, id, context).await,
    };
    commands.perform(id, command, context).await
}

/// Whether something else works on the same, so that another time is better.
pub(super) fn is_busy(error: &CommandError) -> bool {
    matches!(error, CommandError::Running(_) | CommandError::Archive(ArchiveError::Busy))
}

/// Rebuilds those stores that say something of them is broken.
async fn rebuild_broken(
    commands: &Commands,
    instance: &str,
    context: Context,
) -> Result<Value, CommandError> {
    let list = Command::StoreList { instance: instance.to_owned() };
    let listed = commands.perform(instance, list, context.clone()).await?;
    let mut all = json!({ "stores": 0, "rebuilt": 0, "failed": 0, "cancelled": false, "errors": [] });
    for store in listed["stores"].as_array().into_iter().flatten() {
        all["stores"] = (all["stores"].as_u64().unwrap_or(0) + 1).into();
        let (Some(id), true) = (store["id"].as_str(), is_broken(store)) else { continue };
        if context.is_cancelled() {
            all["cancelled"] = true.into();
            break;
        }
        let rebuild = Command::Rebuild { instance: instance.to_owned(), store: Some(id.to_owned()) };
        let done = commands.perform(instance, rebuild, context.clone()).await?;
        all["rebuilt"] = (all["rebuilt"].as_u64().unwrap_or(0) + 1).into();
        all["failed"] = (all["failed"].as_u64().unwrap_or(0) + done["failed"].as_u64().unwrap_or(0)).into();
        all["cancelled"] = done["cancelled"].clone();
        if let (Some(errors), Some(damage)) = (all["errors"].as_array_mut(), done["damage"].as_array()) {
            errors.extend(damage.iter().cloned());
        }
    }
    if all["cancelled"] != true {
        let indexes = Command::IndexRebuild {
            instance: instance.to_owned(),
            store: None,
            damaged: true,
            afresh: false,
        };
        all["cancelled"] = commands.perform(instance, indexes, context).await?["cancelled"].take();
    }
    Ok(all)
}

/// A store that does not open is no rebuild's business: its packs or keys are gone, or its disk.
fn is_broken(store: &Value) -> bool {
    let open = store.get("error").is_none_or(Value::is_null);
    open && store["damage"].as_array().is_some_and(|damage| !damage.is_empty())
}

/// Puts what a command answered into its result; whether it failed, and whether it was ended before its time.
pub(super) fn tell(result: &mut JobResult, answer: &Value) -> (bool, bool) {
    for (name, value) in answer.as_object().into_iter().flatten() {
        if let Some(count) = value.as_u64() {
            result.counts.insert(name.clone(), count);
        }
    }
    for list in ["errors", "findings", "damage"] {
        for error in answer[list].as_array().into_iter().flatten() {
            result.error(&text(error));
        }
    }
    result.errors_left_out += answer["errors_left_out"].as_u64().unwrap_or(0);
    for line in answer["log"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        result.log_line(line);
    }
    let failed = ["failed", "accounts_failed", "folders_failed"];
    let failed = failed.iter().any(|name| answer[name].as_u64().unwrap_or(0) > 0);
    (failed, answer["cancelled"] == true)
}

/// An error, or what a verification found.
fn text(error: &Value) -> String {
    match (error.as_str(), error["what"].as_str()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(what)) => {
            let store = error["store"].as_str().unwrap_or_default();
            let message = error["message"].as_str().map(|id| format!("message {id}: ")).unwrap_or_default();
            format!("store {store}: {message}{what}")
        }
        (None, None) => error.to_string(),
    }
}
