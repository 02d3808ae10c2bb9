//! Reading the configuration again while the gateway runs: SIGHUP, `postern-gateway reload`, and the console's "apply" and
//! "reload" all come here.
//!
//! Promises
//! - All of it is checked first, and what it needs is opened: with a mistake anywhere nothing changes.
//! - No session ends. Those that are open go on as they began; the next ones are served as the new configuration says.
//! - What waits for a restart is named, every time, until there was one.
//!
//! Not here: which keys wait for a restart (`settings::reference`); starting anew (`cli::restart`).

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use postern_shared::disk::Disk;
use postern_shared::shutdown::Shutdown;
use postern_shared::telemetry::{explain, set_log_file, set_log_level};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use crate::app::Core;
use crate::certificate::Look;
use crate::cli::{check_certificate, check_named};
use crate::console::Process;
use crate::console::configuration::variable;
use crate::settings::{Settings, changes};

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a reload has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Keys with other values since the last time, which count now.
    pub changed: Vec<String>,
    /// Keys with other values than at start, which wait for a restart.
    pub needs_restart: Vec<String>,
    /// Another certificate is served now.
    pub certificate_changed: bool,
    /// Why the certificate's files are not taken; the old certificate is served on.
    pub certificate_trouble: Option<String>,
}

/// Reads the configuration again, and makes it count. Blocks for the disk.
pub fn reload(core: &Core, process: &Process) -> Result<Reloaded> {
    let reloaded = take(core, process);
    // The certificate's files are no part of the configuration: they are looked at also when that has a mistake.
    let look = core.keeper.get().map(|keeper| keeper.look(true));
    match reloaded {
        Ok(mut reloaded) => {
            reloaded.certificate_changed = look == Some(Look::Swapped);
            reloaded.certificate_trouble = look.and_then(|look| match look {
                Look::Kept(reason) => Some(reason),
                Look::Same | Look::Swapped => None,
            });
            let (changed, needs_restart) = (reloaded.changed.join(", "), reloaded.needs_restart.join(", "));
            tracing::info!(changed, "the configuration was read again");
            if !needs_restart.is_empty() {
                tracing::warn!(keys = needs_restart, "these changes count after a restart only");
            }
            Ok(reloaded)
        }
        Err(error) => {
            let reason = explain(error.as_ref());
            tracing::error!(%reason, "the configuration cannot be used; everything goes on as it was");
            Err(error)
        }
    }
}

/// The configuration as it stands in the file, checked; with its text.
pub fn read(core: &Core, process: &Process) -> Result<(Settings, Zeroizing<String>)> {
    let Some(file) = &process.config_file else {
        return Ok((Settings::parse("", Path::new(""), std::env::vars())?, Zeroizing::default()));
    };
    let text = read_text(&*core.disk, file)
        .with_context(|| format!("cannot read the configuration file {}", file.display()))?;
    Ok((taken(core, &text, file)?, text))
}

/// The settings that a text in that file stands for: a gateway could start with them, and what they name is there.
pub fn checked(core: &Core, text: &str, file: &Path) -> Result<Settings> {
    let settings = Settings::parse(text, file, std::env::vars())?;
    certificate(core, &settings).with_context(|| file.display().to_string())?;
    check_named(&settings).with_context(|| file.display().to_string())?;
    Ok(settings)
}

/// The same for a gateway that runs: files that it serves already are looked at by their keeper. What became of them, by time or
/// by hand, is no mistake of this text, and keeps nothing else in it from counting.
fn taken(core: &Core, text: &str, file: &Path) -> Result<Settings> {
    let settings = Settings::parse(text, file, std::env::vars())?;
    if settings.tls != core.settings().tls {
        certificate(core, &settings).with_context(|| file.display().to_string())?;
    }
    check_named(&settings).with_context(|| file.display().to_string())?;
    Ok(settings)
}

fn certificate(core: &Core, settings: &Settings) -> Result<()> {
    check_certificate(settings, Arc::clone(&core.disk), Arc::clone(&core.clock))
}

/// The text of a configuration file.
pub fn read_text(disk: &dyn Disk, file: &Path) -> io::Result<Zeroizing<String>> {
    let text = String::from_utf8(disk.read(file, FILE_BYTES_MAX)?);
    text.map(Zeroizing::new).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

fn take(core: &Core, process: &Process) -> Result<Reloaded> {
    // Held to the end: one reload at a time.
    let mut texts = process.texts();
    let (read, text) = read(core, process)?;
    let before = core.settings();
    let settings = Arc::new(before.reloaded(read));
    // Whatever can fail comes before whatever counts.
    let log = settings.log.open(Arc::clone(&core.disk), Arc::clone(&core.clock))?;
    let serving = core.serving.get();
    let servers = serving.map(|serving| serving.prepare(core, &settings)).transpose()?;

    if settings.log_level != before.log_level {
        set_log_level(settings.log_level);
    }
    if serving.is_some() {
        set_log_file(log);
    }
    core.oauth.follow(&settings.oauth_providers);
    if let Some(keeper) = core.keeper.get() {
        keeper.follow(Arc::clone(&settings));
    }
    core.settle(settings);
    if let Some((serving, servers)) = serving.zip(servers) {
        serving.replace(servers);
    }
    let needs_restart = waiting(&texts.started, &text);
    let counts = |key: &String| !needs_restart.contains(key);
    let changed = differing(&texts.read, &text, false).into_iter().filter(counts).collect();
    texts.read = text;
    Ok(Reloaded { changed, needs_restart, certificate_changed: false, certificate_trouble: None })
}

/// The keys that wait for a restart.
pub fn waiting(started: &str, now: &str) -> Vec<String> {
    differing(started, now, true)
}

fn differing(before: &str, after: &str, needs_restart: bool) -> Vec<String> {
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let wanted = changes(before, after).into_iter().filter(|change| change.needs_restart == needs_restart);
    // What the environment sets does not change with the file.
    wanted.map(|change| change.key).filter(|key| variable(&environment, key).is_none()).collect()
}

/// Reloads whenever SIGHUP comes.
#[derive(Debug)]
pub struct OnHangup(Signal);

impl OnHangup {
    /// From now on SIGHUP does not end the process.
    pub fn new() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Until `stopped`.
    pub async fn run(mut self, core: Arc<Core>, process: Arc<Process>, mut stopped: Shutdown) {
        loop {
            tokio::select! {
                _ = self.0.recv() => {}
                () = stopped.requested() => return,
            }
            tracing::info!("SIGHUP: reading the configuration again");
            let (core, process) = (Arc::clone(&core), Arc::clone(&process));
            // What it has to say stands in the log.
            if let Err(error) = tokio::task::spawn_blocking(move || drop(reload(&core, &process))).await {
                tracing::error!(%error, "reading the configuration again failed inside");
            }
        }
    }
}
