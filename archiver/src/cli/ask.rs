//! Getting a command done: by the daemon when one runs, else here; with progress, and cancelled by Ctrl-C.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::control::{CallError, Context, Handler, call_cancellable};
use postern_shared::data_dir::DataDirError;
use postern_shared::disk::{Disk, RealDisk, is_root, owner};
use postern_shared::telemetry::ProgressView;
use serde_json::Value;

use crate::app::Core;
use crate::command::{Command, Commands};
use crate::settings::Settings;

/// How long a command waits for another one, or for a daemon that is just starting or ending.
const PATIENCE: Duration = Duration::from_secs(10);
const NO_RUNTIME: &str = "cannot start threads";
const PAUSE: Duration = Duration::from_millis(50);

/// Lets the daemon answer when one runs; else opens the data directory for the moment and answers here.
pub(super) fn answer(settings: &Settings, command: Command) -> Result<Value> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    // Most commands are the daemon's: asking wants no threads.
    let asking = tokio::runtime::Builder::new_current_thread().enable_all().build().context(NO_RUNTIME)?;
    let start = clock.moment();
    loop {
        match asking.block_on(ask_daemon(settings, &command, Arc::clone(&clock))) {
            Ok(answer) => return Ok(answer),
            Err(CallError::NotRunning) => {}
            Err(error) => return Err(error.into()),
        }
        check_user(settings)?;
        match Core::open(Arc::clone(&disk), Arc::clone(&clock), settings.clone(), false) {
            Ok(core) => {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().enable_all().build().context(NO_RUNTIME)?;
                return runtime.block_on(do_here(core, command, clock));
            }
            Err(DataDirError::InUse { .. }) if clock.moment().since(start) < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What root does while the daemon is down would leave catalogs and indexes that the daemon cannot open.
pub(super) fn check_user(settings: &Settings) -> Result<()> {
    if !is_root() || !RealDisk.exists(&settings.data_dir)? {
        return Ok(());
    }
    let whose = owner(&settings.data_dir)?.user;
    anyhow::ensure!(
        whose == 0,
        "{} belongs to user {whose}, and no daemon runs; run this as that user: runuser -u postern-archiver -- \
         postern-archiver …",
        settings.data_dir.display()
    );
    Ok(())
}

async fn ask_daemon(
    settings: &Settings,
    command: &Command,
    clock: Arc<dyn Clock>,
) -> Result<Value, CallError> {
    let connection: Arc<Mutex<Option<UnixStream>>> = Arc::default();
    let (data_dir, command, kept) = (settings.data_dir.clone(), command.clone(), Arc::clone(&connection));
    let mut asked = tokio::task::spawn_blocking(move || {
        let mut view = ProgressView::new(clock);
        call_cancellable(
            &data_dir,
            &command,
            |progress| view.show(progress),
            |stream| *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream),
        )
    });
    loop {
        tokio::select! {
            answer = &mut asked => return answer.map_err(|error| CallError::Broken(std::io::Error::other(error)))?,
            interrupted = tokio::signal::ctrl_c() => {
                eprintln!("ending after the messages just archived …");
                let stream = connection.lock().unwrap_or_else(PoisonError::into_inner);
                if let (Ok(()), Some(stream)) = (interrupted, stream.as_ref()) {
                    // The daemon takes it for "cancel"; when it is gone there is nothing to cancel.
                    let _ = stream.shutdown(Shutdown::Write);
                }
            }
        }
    }
}

async fn do_here(core: Core, command: Command, clock: Arc<dyn Clock>) -> Result<Value> {
    let commands = Commands(Arc::new(core));
    let (context, mut told, cancel) = Context::new();
    let mut view = ProgressView::new(clock);
    let mut work = std::pin::pin!(commands.handle(command, context));
    loop {
        tokio::select! {
            done = &mut work => return done.map_err(|message| anyhow!(message)),
            Some(progress) = told.recv() => view.show(&progress),
            Ok(()) = tokio::signal::ctrl_c() => {
                eprintln!("ending after the messages just archived …");
                cancel.send_replace(true);
            }
        }
    }
}
