//! The configuration, the log level, and starting anew.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use postern_shared::crypto::digest::sha256;
use postern_shared::disk::{resolved, write_atomic};
use postern_shared::telemetry::{Level, explain, log_level, set_log_level};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::Body;
use crate::cli::backup;
use crate::console::configuration::{EditError, Key, edited, keys, masked, unmasked};
use crate::console::gate::Caller;
use crate::console::{Console, Problem};
use crate::reload;
use crate::settings::{Settings, changes};

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The configuration.
#[derive(Serialize, ToSchema)]
pub(super) struct Configuration {
    /// The file; nothing when the gateway was started without one, and then nothing can be changed here.
    file: Option<String>,
    /// The file's text.
    text: String,
    /// Stands for the text: a change names what it is based on.
    revision: String,
    /// Every key: what it means, what it is, who has set it.
    keys: Vec<Key>,
    /// Keys have other values than when the gateway started, and wait for a restart.
    restart_pending: bool,
    /// Why the last configuration was taken back.
    taken_back: Option<String>,
    /// How much is logged now.
    #[schema(value_type = Option<String>)]
    log_level: Option<Level>,
}

/// A change of the configuration: the whole text, or single keys.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigurationChange {
    /// The new text of the file.
    text: Option<String>,
    /// Single keys with their new values; null takes a key out, so that its default counts.
    #[serde(default)]
    #[schema(value_type = Object)]
    changes: BTreeMap<String, serde_json::Value>,
    /// The `revision` that this is based on; when somebody else has changed the file since, it is refused.
    revision: Option<String>,
}

/// What a change would do, or has done.
#[derive(Serialize, ToSchema)]
pub(super) struct ConfigurationChanged {
    /// The new text of the file.
    text: String,
    /// Its revision.
    revision: String,
    /// The keys that change.
    changed: Vec<ChangedKey>,
    /// Some of them take effect after a restart only.
    needs_restart: bool,
}

/// A key that changes.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangedKey {
    /// With its table.
    key: String,
    /// It takes effect after a restart only.
    needs_restart: bool,
}

/// How much is logged.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLevel {
    /// `error`, `warn`, `info`, `debug` or `trace`; until the gateway ends.
    #[schema(value_type = String)]
    level: Level,
}

/// The configuration: every key, and the file.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", operation_id = "settings",
    responses((status = 200, body = Configuration), (status = 403, body = Problem)))]
pub(super) async fn settings(State(console): State<Arc<Console>>) -> Result<Json<Configuration>, Problem> {
    let configuration = console.blocking(|console| {
        let text = match &console.process.config_file {
            Some(_) => read(console)?.1,
            None => String::new(),
        };
        let started = console.process.texts().started.clone();
        Ok(Configuration {
            file: console.process.config_file.as_ref().map(|file| file.display().to_string()),
            revision: revision(&text),
            keys: keys(&text, &environment()),
            text: masked(&text),
            restart_pending: !reload::waiting(&started, &text).is_empty(),
            taken_back: console.process.taken_back.clone(),
            log_level: log_level(),
        })
    });
    Ok(Json(configuration.await?))
}

/// Says what a change would do, and whether the gateway could load it. Writes nothing.
#[utoipa::path(post, path = "/api/v1/settings/validate", tag = "settings", operation_id = "validateSettings",
    request_body = ConfigurationChange,
    responses((status = 200, body = ConfigurationChanged), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn validate(
    State(console): State<Arc<Console>>,
    Body(change): Body<ConfigurationChange>,
) -> Result<Json<ConfigurationChanged>, Problem> {
    let validated = console.blocking(move |console| Ok(prepared(console, change)?.changed()));
    Ok(Json(validated.await?))
}

/// Writes a changed configuration, once it is known that the gateway can load it; the one that it started with stays beside
/// it as `.bak`. What can change while the gateway runs counts at once, as after a reload; the rest after a restart.
#[utoipa::path(put, path = "/api/v1/settings", tag = "settings", operation_id = "applySettings",
    request_body = ConfigurationChange,
    responses((status = 200, body = ConfigurationChanged), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn apply(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(change): Body<ConfigurationChange>,
) -> Result<Json<ConfigurationChanged>, Problem> {
    let changed = console.changing(move |console| {
        let _one = console.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = prepared(console, change)?;
        let Prepared { file, before, text, .. } = &prepared;
        let (disk, process) = (&*console.core.disk, &console.process);
        let unwritable = |error| {
            let advice = "let the gateway's user write there, or change the file by hand";
            Problem::disk(format!("cannot write {}: {error} ({advice})", file.display()))
        };
        // A link stays one: what it leads to is replaced.
        let file = &resolved(file).map_err(unwritable)?;
        let on_trial = keep_proved(console, file, text).map_err(unwritable)?;
        write_atomic(disk, file, text.as_bytes()).map_err(unwritable)?;
        if let Err(error) = reload::reload(&console.core, process) {
            write_atomic(disk, file, before.as_bytes()).map_err(|error| {
                Problem::disk(format!("cannot put {} back as it was: {error}", file.display()))
            })?;
            return Err(unusable(&error));
        }
        let changed = prepared.changed();
        process.config_changed.store(on_trial, Ordering::Relaxed);
        let keys: Vec<&str> = changed.changed.iter().map(|changed| changed.key.as_str()).collect();
        let action = caller.action("settings.apply", file.display().to_string(), keys.join(", "));
        Ok((changed, action))
    });
    Ok(Json(changed.await?))
}

/// Changes how much is logged, until the gateway ends.
#[utoipa::path(put, path = "/api/v1/log-level", tag = "settings", operation_id = "setLogLevel", request_body = LogLevel,
    responses((status = 200, body = LogLevel), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn set_level(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Body(LogLevel { level }): Body<LogLevel>,
) -> Result<Json<LogLevel>, Problem> {
    console
        .changing(move |_| {
            set_log_level(level);
            Ok(((), caller.action("log-level", format!("{level:?}"), "")))
        })
        .await?;
    Ok(Json(LogLevel { level }))
}

/// What a reload has done.
#[derive(Serialize, ToSchema)]
pub(super) struct Reloaded {
    /// Keys with other values since the last time, which count now.
    changed: Vec<String>,
    /// Keys with other values than when the gateway started, which wait for a restart.
    needs_restart: Vec<String>,
    /// Another certificate is served now.
    certificate_changed: bool,
    /// Why the certificate's files are not taken; the old certificate is served on.
    certificate_trouble: Option<String>,
}

/// Reads the configuration again, as it stands in the file. What can change while the gateway runs counts at once; with a
/// mistake nothing changes. No session ends by it.
#[utoipa::path(post, path = "/api/v1/settings/reload", tag = "settings", operation_id = "reloadSettings",
    responses((status = 200, body = Reloaded), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn reload_now(
    State(console): State<Arc<Console>>,
    caller: Caller,
) -> Result<Json<Reloaded>, Problem> {
    let reloaded = console.changing(move |console| {
        let reload::Reloaded { changed, needs_restart, certificate_changed, certificate_trouble } =
            reload::reload(&console.core, &console.process).map_err(|error| unusable(&error))?;
        let action = caller.action("settings.reload", "", changed.join(", "));
        Ok((Reloaded { changed, needs_restart, certificate_changed, certificate_trouble }, action))
    });
    Ok(Json(reloaded.await?))
}

/// Restarts the gateway, with the configuration as it stands in the file. Sessions end; mail that is on its way is
/// finished first. When the gateway does not start with a changed configuration, the one before is put back.
#[utoipa::path(post, path = "/api/v1/restart", tag = "settings", operation_id = "restart",
    responses((status = 202), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn restart(
    State(console): State<Arc<Console>>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    console
        .changing(move |console| {
            let _one = console.applying.lock().unwrap_or_else(PoisonError::into_inner);
            if console.process.config_file.is_some() {
                let (file, text) = read(console)?;
                startable(&file, &text, console)?;
                // Where nobody may write, nothing could be put back either.
                let kept = resolved(&file).and_then(|file| keep_proved(console, &file, &text));
                console.process.config_changed.store(kept.unwrap_or(false), Ordering::Relaxed);
            }
            Ok(((), caller.action("restart", "", "")))
        })
        .await?;
    console.process.restart.notify_one();
    Ok(StatusCode::ACCEPTED)
}

/// Keeps what this run began with beside the file, for it has proved itself; whether `text` is another, and has not.
fn keep_proved(console: &Console, file: &Path, text: &str) -> io::Result<bool> {
    let proved = console.process.texts().started.clone();
    write_atomic(&*console.core.disk, &backup(file), proved.as_bytes())?;
    Ok(*proved != text)
}

/// A change that the gateway could load.
struct Prepared {
    file: PathBuf,
    before: String,
    text: String,
}

impl Prepared {
    fn changed(&self) -> ConfigurationChanged {
        let changed = changes(&self.before, &self.text).into_iter();
        let changed: Vec<_> = changed
            .map(|change| ChangedKey { key: change.key, needs_restart: change.needs_restart })
            .collect();
        ConfigurationChanged {
            text: masked(&self.text),
            revision: revision(&self.text),
            needs_restart: changed.iter().any(|changed| changed.needs_restart),
            changed,
        }
    }
}

/// What the file would be, when the gateway could load it.
fn prepared(console: &Console, change: ConfigurationChange) -> Result<Prepared, Problem> {
    let (file, before) = read(console)?;
    if change.revision.is_some_and(|based| based != revision(&before)) {
        let detail = "the configuration was changed by somebody else meanwhile; look at it again, then repeat the change";
        return Err(Problem::conflict("changed-meanwhile", detail));
    }
    let text = change.text.map_or_else(|| Ok(before.clone()), |text| unmasked(&text, &before));
    let text = text.map_err(|unclear| Problem::invalid(unclear.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Problem::invalid("a configuration has at most 1 MiB"));
    }
    let text = edited(&text, &change.changes, &environment()).map_err(|error| match error {
        EditError::Environment(_) => Problem::conflict("environment", error.to_string()),
        other => Problem::invalid(other.to_string()),
    })?;
    loadable(&file, &text, console)?;
    Ok(Prepared { file, before, text })
}

/// Whether this gateway could load `text` while it runs, and what it names is there.
fn loadable(file: &Path, text: &str, console: &Console) -> Result<(), Problem> {
    kept_together(&reload::taken(&console.core, text, file).map_err(|error| unusable(&error))?, console)
}

/// Whether it could start with it.
fn startable(file: &Path, text: &str, console: &Console) -> Result<(), Problem> {
    kept_together(&reload::checked(&console.core, text, file).map_err(|error| unusable(&error))?, console)
}

fn kept_together(settings: &Settings, console: &Console) -> Result<(), Problem> {
    if settings.data_dir != console.core.settings().data_dir {
        let advice = "data_dir cannot be changed here: mailboxes and mail would stay behind; move the directory and edit the file by hand";
        return Err(unusable(&anyhow::anyhow!(advice)));
    }
    Ok(())
}

fn unusable(error: &anyhow::Error) -> Problem {
    let title = "The configuration cannot be used";
    let detail = explain(error.as_ref()).to_string();
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-configuration", title, detail)
}

fn read(console: &Console) -> Result<(PathBuf, String), Problem> {
    let Some(file) = console.process.config_file.clone() else {
        let detail = "the gateway was started without a configuration file; run postern-gateway init, and start it with --config";
        return Err(Problem::conflict("no-file", detail));
    };
    let bytes = console.core.disk.read(&file, FILE_BYTES_MAX).map_err(|error| {
        Problem::conflict("unreadable", format!("cannot read {}: {error}", file.display()))
    })?;
    let text = String::from_utf8(bytes);
    let text =
        text.map_err(|_| Problem::conflict("unreadable", format!("{} is not UTF-8 text", file.display())))?;
    Ok((file, text))
}

fn revision(text: &str) -> String {
    sha256(text.as_bytes()).to_string()
}

fn environment() -> Vec<(String, String)> {
    std::env::vars().collect()
}
