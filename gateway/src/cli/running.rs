//! Asking a running daemon while its configuration file has a mistake. The daemon goes on with what it read before, so health
//! checks and operators must reach it; only where it is has to be known for that.

use std::path::{Path, PathBuf};

use anyhow::Result;
use postern_shared::control::{CallError, call};
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::telemetry::explain;
use serde_json::Value;

use super::Asked;
use crate::settings::{DEFAULT_FILE, SettingsError, data_dir_in};

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Has the daemon that runs answer; without one, the mistake is what there is to tell.
pub(super) fn ask(file: Option<&Path>, asked: &Asked, mistake: SettingsError, json: bool) -> Result<()> {
    let Some(data_dir) = data_dir(file) else { return Err(mistake.into()) };
    let answer: Value = match call(&data_dir, &asked.command, |_| ()) {
        // A directory that cannot be looked into is no news beside the mistake.
        Err(CallError::NotRunning | CallError::Broken(_)) => return Err(mistake.into()),
        answer => answer?,
    };
    let reason = explain(&mistake);
    eprintln!("note: the configuration cannot be used; the running daemon goes on as it was: {reason}");
    asked.print(&answer, json);
    Ok(())
}

/// Where the daemon of that configuration has its data.
fn data_dir(file: Option<&Path>) -> Option<PathBuf> {
    let file = file.unwrap_or(Path::new(DEFAULT_FILE));
    let bytes = RealDisk.read(file, FILE_BYTES_MAX).ok()?;
    data_dir_in(&String::from_utf8_lossy(&bytes), file, std::env::vars())
}
