//! The running gateway: listeners, control socket, sweep, orderly shutdown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use postern_shared::control::{self, Context, Handler};
use postern_shared::service::ServiceManager;
use postern_shared::shutdown::{Shutdown, switch};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::acme::Renewer;
use crate::activity;
use crate::app::Core;
use crate::certificate::{Keeper, Tending};
use crate::command::{Command, execute, execute_waiting};
use crate::console::{self, Console, Process};
use crate::listen::{self, Door, Entrance};
use crate::mailbox::{MailboxError, Registry};
use crate::monitoring::{self, Monitor};
use crate::pop3_server;
use crate::proxy::pop3::seen::Seen;
use crate::reload::OnHangup;
use crate::servers::Serving;
use crate::settings::Tls;
use crate::watchdog;

const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// On a disk that is nearly full senders wait for what a sweep gives back.
const SWEEP_INTERVAL_FULL: Duration = Duration::from_secs(3);
/// A little longer than a provider may take to answer.
const OAUTH_SETTLED: Duration = Duration::from_secs(35);
const SMTP_REFUSAL: &[u8] = b"421 4.7.0 Too many connections, try again later\r\n";

/// One entry of `[listen]`.
struct Listener {
    entrance: Entrance,
    socket: TcpListener,
}

/// Serves until SIGTERM, SIGINT or a restart asked for at the console; a second signal ends the process at once. Whether
/// it is to start anew.
pub async fn run(core: Arc<Core>, process: Arc<Process>, on_hangup: OnHangup) -> Result<bool> {
    let keeper = keeper(&core)?;
    let tls = keeper.server_config().context("the certificate cannot be used")?;
    let tending = Tending::new(Arc::clone(&keeper));
    // All ports or none: a gateway that takes mail and cannot hand it out would only look healthy.
    let listeners = open_all(&core)?;
    let monitoring_ports: Vec<TcpListener> = core
        .settings()
        .listen
        .metrics
        .0
        .iter()
        .map(|address| listen::bind("metrics", *address))
        .collect::<Result<_, _>>()?;
    let console = console::Bound::open(&core.settings().listen.console.0)?;
    let renewer = renewer(&core)?;
    let (stop, stopped) = switch();
    let mut rooms = JoinSet::new();
    let own = listeners.iter().map(|listener| listener.socket.local_addr()).collect::<Result<_, _>>()?;
    let serving = Serving::open(&core, own, Arc::clone(&process))?;
    let serving = core.serving.get_or_init(|| serving);
    let mut addresses: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for listener in listeners {
        let address = listener.socket.local_addr()?;
        let entrance = listener.entrance;
        tracing::info!(listener = entrance.name(), %address, "listening");
        addresses.entry(entrance.name()).or_default().push(address.to_string());
        let (limits, refusal) = match entrance.is_pop3() {
            true => (serving.archivers.clone(), pop3_server::REFUSAL),
            false => (serving.senders.clone(), SMTP_REFUSAL),
        };
        let (tls, shutdown) = (Arc::clone(&tls), stopped.clone());
        let door = Door { entrance, tls, limits, refusal, shutdown };
        if entrance.is_pop3() {
            rooms.spawn(listen::serve(listener.socket, door, serving.pop3.clone()));
        } else {
            rooms.spawn(listen::serve(listener.socket, door, serving.smtp.clone()));
        }
    }
    for address in console.addresses()? {
        tracing::info!(listener = "console", %address, "listening");
        addresses.entry("console").or_default().push(address.to_string());
    }
    let served = Arc::new(Console::new(Arc::clone(&core), Arc::clone(&process)));
    let _ = serving.pages.set(Arc::downgrade(&served));
    rooms.spawn(console::serve(console, served, Arc::clone(&tls), serving.console.clone(), stopped.clone()));
    rooms.spawn(activity::keep(Arc::clone(&core), stopped.clone()));
    let (last_stop, all_stopped) = switch();
    let monitor = Arc::new(Monitor { core: Arc::clone(&core), stopping: stopped.clone() });
    for socket in monitoring_ports {
        let address = socket.local_addr()?;
        tracing::info!(listener = "metrics", %address, "listening");
        addresses.entry("metrics").or_default().push(address.to_string());
        tokio::spawn(monitoring::serve(socket, Arc::clone(&monitor), all_stopped.clone()));
    }
    for address in renewer.addresses() {
        tracing::info!(listener = "http01", %address, "listening");
        addresses.entry("http01").or_default().push(address.to_string());
    }
    // Commands see a running daemon only once all of it runs.
    let _ = core.listening.set(json!(addresses));
    let commands = Commands { core: Arc::clone(&core), renewer: Arc::clone(&renewer), monitor };
    let commands = tokio::spawn(serve_commands(commands, stopped.clone()));
    rooms.spawn(tending.run(stopped.clone()));
    rooms.spawn(on_hangup.run(Arc::clone(&core), Arc::clone(&process), stopped.clone()));
    if core.settings().tls == Tls::Acme {
        rooms.spawn(renewer.run(stopped.clone()));
    }
    rooms.spawn(forget_secrets(Arc::clone(&core), stopped.clone()));
    rooms.spawn(sweep_now_and_then(Arc::clone(&core), stopped));
    if core.administrators.is_first() {
        tracing::warn!(
            "nobody has signed in at the console yet; the first sign-in from another machine takes the code that this prints: postern-gateway admin setup-code"
        );
    }
    let manager = Arc::new(ServiceManager::of_this_process());
    tokio::spawn(watchdog::keep(Arc::clone(&core), Arc::clone(&manager)));
    process.served.store(true, Ordering::Relaxed);
    let origin = keeper.origin().name();
    tracing::info!(fingerprint = %format!("sha256:{}", keeper.identity().fingerprint()), origin, "serving");
    manager.ready();

    let restart = tokio::select! {
        signal = wait_for_signal() => signal.map(|()| false)?,
        () = process.restart.notified() => true,
    };
    tracing::info!("shutting down; sessions end after their current step");
    stop.turn();
    let oauth = Arc::clone(&core.oauth);
    let settled = tokio::spawn(async move { oauth.settled(OAUTH_SETTLED).await });
    while rooms.join_next().await.is_some() {}
    commands.await?.context("the control socket")?;
    settled.await?;
    last_stop.turn();
    // A restart reads the spool anew, in the same process.
    manager.unwatched();
    tracing::info!(restart, "stopped");
    Ok(restart)
}

/// The certificate, which commands see from now on.
fn keeper(core: &Arc<Core>) -> Result<Arc<Keeper>> {
    let open = Keeper::open(&core.settings(), Arc::clone(&core.disk), Arc::clone(&core.clock));
    let keeper = match open {
        Err(error) if core.settings().tls == Tls::Imported => {
            return Err(error).context("bring a certificate with: postern-gateway certificate import FILE");
        }
        open => Arc::new(open?),
    };
    let _ = core.keeper.set(Arc::clone(&keeper));
    Ok(keeper)
}

/// Whoever asks the authority; where challenges are answered is open in mode `acme` only.
fn renewer(core: &Arc<Core>) -> Result<Arc<Renewer>> {
    let core = Arc::clone(core);
    let renewer = match core.settings().tls {
        Tls::Acme => Renewer::listening(core)?,
        _ => Renewer::new(core),
    };
    Ok(Arc::new(renewer))
}

fn open_all(core: &Core) -> Result<Vec<Listener>> {
    let settings = core.settings();
    let listen = &settings.listen;
    let doors = [
        (Entrance::Smtp, &listen.smtp),
        (Entrance::Smtps, &listen.smtps),
        (Entrance::Submission, &listen.submission),
        (Entrance::Pop3, &listen.pop3),
        (Entrance::Pop3s, &listen.pop3s),
    ];
    let mut open = Vec::new();
    for (entrance, addresses) in doors {
        for address in &addresses.0 {
            open.push(Listener { entrance, socket: listen::bind(entrance.name(), *address)? });
        }
    }
    Ok(open)
}

async fn serve_commands(commands: Commands, stopped: Shutdown) -> std::io::Result<()> {
    let data_dir = commands.core.settings().data_dir.clone();
    let served = control::serve(&data_dir, Arc::new(commands), stopped).await;
    // It comes to light now, not when the daemon ends: without it no command and no health check reaches the daemon.
    served.inspect_err(
        |error| tracing::error!(%error, "the control socket cannot be served; commands reach no daemon"),
    )
}

struct Commands {
    core: Arc<Core>,
    renewer: Arc<Renewer>,
    monitor: Arc<Monitor>,
}

impl Handler for Commands {
    type Command = Command;

    async fn handle(&self, command: Command, context: Context) -> Result<Value, String> {
        if let Command::CertificateAcme { staging_only } = command {
            return execute_waiting(&self.renewer, staging_only, context).await;
        }
        let (core, monitor) = (Arc::clone(&self.core), Arc::clone(&self.monitor));
        let done = tokio::task::spawn_blocking(move || match command {
            Command::Health => monitor.health(),
            command => execute(&core, command),
        })
        .await;
        done.unwrap_or_else(|error| Err(format!("the command failed inside: {error}")))
    }
}

async fn forget_secrets(core: Arc<Core>, mut stopped: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                core.registry.forget_secrets();
                core.oauth.forget_expired();
            }
            () = stopped.requested() => return,
        }
    }
}

async fn sweep_now_and_then(core: Arc<Core>, mut stopped: Shutdown) {
    let mut swept_at = core.clock.moment();
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP_INTERVAL_FULL) => {}
            () = stopped.requested() => return,
        }
        if core.clock.moment().since(swept_at) < SWEEP_INTERVAL && !core.is_nearly_full() {
            continue;
        }
        swept_at = core.clock.moment();
        let (sweeping, fetched) = (Arc::clone(&core), core.serving.get().and_then(Serving::fetched));
        let swept = tokio::task::spawn_blocking(move || {
            if let Some(fetched) = fetched {
                sweep_seen(&fetched.seen, &sweeping.registry);
            }
            sweeping.spool.sweep()
        });
        match swept.await {
            Ok(Ok(swept)) if swept != crate::spool::Swept::default() => tracing::info!(?swept, "spool swept"),
            Ok(Err(error)) => tracing::error!(%error, "cannot give back space in the spool"),
            _ => {}
        }
    }
}

fn sweep_seen(seen: &Seen, registry: &Registry) {
    seen.forget_idle();
    let exists = |mailbox| !matches!(registry.show(mailbox), Err(MailboxError::Unknown(_)));
    if let Err(error) = seen.sweep(exists) {
        tracing::warn!(%error, "cannot remove what is known of mailboxes that are gone");
    }
}

async fn wait_for_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopped at once; what was acknowledged is on disk");
        std::process::exit(1);
    });
    Ok(())
}
