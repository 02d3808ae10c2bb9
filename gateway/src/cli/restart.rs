//! Running the daemon, and starting it anew with a changed configuration.
//!
//! A restart replaces the program in its process (`execve`), so whoever started it, systemd above all, sees the same
//! process go on. When the console has changed the configuration, the one that last started stands beside it as `.bak`; should the
//! gateway not start with the new one, the old one is put back, the new one is kept as `.failed`, and the gateway starts
//! with the old one and says so.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use postern_shared::disk::{Disk, RealDisk, resolved};
use postern_shared::telemetry::explain;

use super::daemon;
use crate::console::Process;
use crate::reload::read_text;
use crate::settings::{DEFAULT_FILE, Settings};

/// Set for the next run when a changed configuration has not proved itself.
const ON_TRIAL: &str = "POSTERN_GATEWAY_CONFIG_ON_TRIAL";
/// Set for the next run when it had to be taken back: why.
const TAKEN_BACK: &str = "POSTERN_GATEWAY_CONFIG_TAKEN_BACK";

/// Runs the daemon, again and again when it is asked to start anew.
pub(super) fn serve(settings: Settings, file: Option<PathBuf>) -> Result<()> {
    let default = PathBuf::from(DEFAULT_FILE);
    let file = file.or_else(|| RealDisk.exists(&default).unwrap_or(false).then_some(default));
    let taken_back = std::env::var(TAKEN_BACK).ok();
    // Of this very text, so that a reload can tell what has changed since.
    let text = file.as_deref().map(|file| read_text(&RealDisk, file)).transpose()?.unwrap_or_default();
    let started = match &file {
        Some(file) => Settings::parse(&text, file, std::env::vars()).map_err(Into::into),
        None => Ok(settings),
    };
    let process = Process { taken_back, ..Process::started(file.clone(), &text) };
    let process = Arc::new(process);
    match started.and_then(|settings| daemon(settings, &process)) {
        Ok(false) => Ok(()),
        Ok(true) => again(process.config_changed.load(Ordering::Relaxed).then_some((ON_TRIAL, "1"))),
        Err(error) if process.served.load(Ordering::Relaxed) => Err(error),
        Err(error) => take_back(file.as_deref(), error),
    }
}

/// When the configuration is on trial: puts the old one back and starts anew.
pub(super) fn take_back(file: Option<&Path>, error: anyhow::Error) -> Result<()> {
    let on_trial = std::env::var_os(ON_TRIAL).is_some();
    let Some(file) = file.filter(|_| on_trial) else { return Err(error) };
    // As when it was changed: what a link leads to is replaced, and the link stays.
    let file = &resolved(file).unwrap_or_else(|_| file.to_owned());
    let reason = explain(error.as_ref()).to_string();
    tracing::error!(reason, "the new configuration does not start; the old one is put back");
    let put_back = || -> std::io::Result<()> {
        RealDisk.rename(file, &beside(file, "failed"))?;
        RealDisk.rename(&backup(file), file)?;
        RealDisk.sync_dir(file.parent().unwrap_or(Path::new(".")))
    };
    put_back().with_context(|| format!("cannot put {} back: {reason}", backup(file).display()))?;
    again(Some((TAKEN_BACK, &reason)))
}

/// The file that keeps the configuration before the last change.
pub(crate) fn backup(file: &Path) -> PathBuf {
    beside(file, "bak")
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn again(environment: Option<(&str, &str)>) -> Result<()> {
    let program = std::env::current_exe().context("cannot find the program to start anew")?;
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1)).env_remove(ON_TRIAL).env_remove(TAKEN_BACK);
    command.envs(environment);
    // It returns only when it failed.
    Err(command.exec()).context("cannot start the program anew")
}
