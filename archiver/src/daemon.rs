//! The running archiver: the control socket, jobs, and orderly shutdown.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use postern_shared::control;
use postern_shared::shutdown::switch;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::Core;
use crate::command::Commands;
use crate::jobs;

/// Answers commands until SIGTERM or SIGINT, then lets runs in progress come to a safe point; a second signal ends the
/// process at once.
pub async fn run(core: Arc<Core>) -> Result<()> {
    let data_dir = core.settings.data_dir.clone();
    let (stop, stopped) = switch();
    jobs::prepare(&core).await;
    let working = tokio::spawn(jobs::serve(Arc::clone(&core), stopped.clone()));
    let serving =
        tokio::spawn(async move { control::serve(&data_dir, Arc::new(Commands(core)), stopped).await });
    tracing::info!("serving");
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down; runs in progress end after the messages just archived");
    stop.turn();
    let ended = async {
        serving.await?.context("the control socket")?;
        working.await.context("jobs")
    };
    tokio::select! {
        ended = ended => ended?,
        _ = terminate.recv() => std::process::exit(1),
        _ = interrupt.recv() => std::process::exit(1),
    }
    tracing::info!("stopped");
    Ok(())
}
