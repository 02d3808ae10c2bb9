//! The running archiver: instances, jobs, API, monitoring, control socket, and orderly shutdown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use postern_shared::control;
use postern_shared::service::ServiceManager;
use postern_shared::shutdown::switch;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::{self, Api, Bound};
use crate::app::Core;
use crate::command::Commands;
use crate::jobs;
use crate::monitoring::{self, Monitor};

/// The longest time between two signs of life to the service manager.
const ALIVE_EVERY_MAX: Duration = Duration::from_secs(10);
/// How long an instance that is being opened may hold up the end.
const OPENING_GRACE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT, then lets runs in progress come to a safe point; a second signal ends the process at once.
pub async fn run(core: Arc<Core>) -> Result<()> {
    let data_dir = core.settings.data_dir.clone();
    // All ports or none: a daemon without its API would only look healthy.
    let ports = Bound::open("api", &core.settings.api.0)?;
    let monitoring_ports = Bound::open("metrics", &core.settings.metrics.0)?;
    let identity = api::identity(&core).context("the API's certificate")?;
    let fingerprint = format!("sha256:{}", identity.fingerprint());
    let (stop, stopped) = switch();
    let (last_stop, all_stopped) = switch();
    let mut listening = BTreeMap::new();
    for (name, bound) in [("api", &ports), ("metrics", &monitoring_ports)] {
        let addresses: Vec<String> = bound.addresses()?.iter().map(ToString::to_string).collect();
        for address in &addresses {
            tracing::info!(listener = name, %address, "listening");
        }
        listening.insert(name, json!(addresses));
    }
    listening.insert("fingerprint", json!(fingerprint));
    let api = Arc::new(Api::new(Arc::clone(&core)));
    let monitor = Arc::new(Monitor { core: Arc::clone(&core), api: Arc::clone(&api) });
    tokio::spawn(monitoring::serve(monitoring_ports, monitor, all_stopped));
    let (opening, told) = (Arc::clone(&core), stopped.clone());
    let opened = tokio::task::spawn_blocking(move || opening.open_all(&told));
    jobs::prepare(&core).await;
    let working = tokio::spawn(jobs::serve(Arc::clone(&core), stopped.clone()));
    let mut serving_api = tokio::spawn(api::serve(ports, Arc::clone(&api), identity, stopped.clone()));
    // Commands see a running daemon only once all of it runs.
    let _ = core.listening.set(json!(listening));
    let commands = Arc::new(Commands(Arc::clone(&core)));
    let serving = tokio::spawn(async move { control::serve(&data_dir, commands, stopped).await });
    let manager = Arc::new(ServiceManager::of_this_process());
    tokio::spawn(alive(Arc::clone(&manager)));
    tracing::info!(fingerprint, "serving");
    manager.ready();

    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        served = &mut serving_api => served?.context("the API")?,
    }
    tracing::info!("shutting down; runs in progress end after the messages just archived");
    stop.turn();
    let ending = async {
        let served = serving.await?.context("the control socket");
        api.end_calls().await;
        working.await.context("jobs")?;
        served
    };
    tokio::select! {
        ended = ending => ended?,
        _ = terminate.recv() => std::process::exit(1),
        _ = interrupt.recv() => std::process::exit(1),
    }
    last_stop.turn();
    match tokio::time::timeout(OPENING_GRACE, opened).await {
        Ok(opened) => opened?,
        Err(_) => {
            // As at a power cut: what was replayed and rebuilt so far is on disk or is done again.
            tracing::warn!("an instance is still being opened; the next start goes on with that");
            std::process::exit(0);
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Tells the service manager that the runtime turns and has a thread left for what blocks, for as long as that is so.
async fn alive(manager: Arc<ServiceManager>) {
    let Some(period) = manager.watchdog() else { return };
    let pause = (period / 3).min(ALIVE_EVERY_MAX);
    loop {
        let telling = Arc::clone(&manager);
        if tokio::task::spawn_blocking(move || telling.alive()).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}
