//! What a job does, and how what it answers is told.

use std::sync::Arc;

use postern_shared::control::Context;
use postern_shared::telemetry::Progress;
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
    matches!(
        error,
        CommandError::Running(_) | CommandError::Archive(ArchiveError::Busy | ArchiveError::Opening(_))
    )
}

/// Makes anew what is broken of catalogs and indexes. Damaged packs are none of its business: no rebuild mends them, and `verify`
/// tells of them.
async fn rebuild_broken(
    commands: &Commands,
    instance: &str,
    context: Context,
) -> Result<Value, CommandError> {
    let mut all = json!({ "stores": 0, "rebuilt": 0, "cancelled": false });
    let (core, id, watched) = (Arc::clone(&commands.0), instance.to_owned(), context.clone());
    let checked = tokio::task::spawn_blocking(move || {
        let mut watch = |what: &str, done, total| {
            watched.progress(Progress { what: what.to_owned(), done, total });
            watched.is_cancelled()
        };
        core.instance(&id)?.broken_catalogs(&mut watch)
    });
    let checked = checked.await.map_err(|error| CommandError::Inside(error.to_string()))??;
    let Some((stores, broken)) = checked else {
        all["cancelled"] = true.into();
        return Ok(all);
    };
    all["stores"] = stores.into();
    for store in broken {
        let rebuild = Command::Rebuild { instance: instance.to_owned(), store: Some(store) };
        let done = commands.perform(instance, rebuild, context.clone()).await?;
        all["cancelled"] = done["cancelled"].clone();
        if all["cancelled"] == true {
            return Ok(all);
        }
        all["rebuilt"] = (all["rebuilt"].as_u64().unwrap_or(0) + 1).into();
    }
    let indexes =
        Command::IndexRebuild { instance: instance.to_owned(), store: None, damaged: true, afresh: false };
    all["cancelled"] = commands.perform(instance, indexes, context).await?["cancelled"].take();
    Ok(all)
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
