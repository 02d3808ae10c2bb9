//! The operators' console: HTTPS on 8450, a REST API under `/api/v1`, and the web pages that use it.
//!
//! | file | what |
//! |---|---|
//! | `accounts/` | administrators, their passwords and second factors, bearer tokens; what is on disk |
//! | `sessions` | who is signed in; pure |
//! | `access` | one table of all routes and what each asks; what is not in it is refused |
//! | `gate` | in front of every route: who comes, may he, does the request come from our own pages; headers of answers |
//! | `server` | TLS, HTTP/1.1, limits |
//! | `api/` | the routes, and the OpenAPI document made from them |
//! | `audit` | who changed what |
//! | `configuration/` | the configuration file: what keys mean, and changing them |
//! | `rates`, `overview`, `warnings` | what the overview shows, and what it warns of |
//! | `certificate` | the certificate that is served at this moment, and whether browsers trust it |
//! | `consents` | accounts that are being bound |
//! | `streams` | how many live streams there may be, in all and of one account |
//! | `problem` | errors (RFC 9457) |
//! | `assets` | the web pages inside the binary |
//!
//! Standards: RFC 9110 and 9112 (HTTP), RFC 6265bis (cookies), RFC 6750 (bearer tokens), RFC 9457, OpenAPI 3.1,
//! OWASP ASVS 4.0.3 level 2 for sign-in, sessions and headers.
//!
//! Promises
//! - Without a session or a token only signing in, the OpenAPI document and the pages themselves are served.
//! - A request that changes something and rides on a cookie carries a header that no foreign page can set
//!   (`X-Postern-Console: 1`), and comes from our own origin where the browser tells (`Origin`, `Sec-Fetch-Site`).
//! - Guessing slows the guesser (`login::Guard`), and every guess costs the same, whoever is guessed at.
//! - Every change stands in the audit log; when that cannot be written nothing is changed any more.
//! - Nothing here shows content of mail, passwords but once, or secrets of settings.
//! - Connections, headers, bodies, streams and the time of each are bounded; mail never waits for the console.
//!
//! Not here: what mailboxes are (`mailbox`), what happened (`activity`), counters for monitoring systems (`monitoring`).

mod access;
pub mod accounts;
mod api;
mod assets;
mod audit;
mod certificate;
pub(crate) mod configuration;
mod consents;
mod gate;
mod overview;
mod problem;
mod rates;
mod server;
mod sessions;
mod streams;
#[cfg(test)]
mod tests;
mod warnings;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use zeroize::Zeroizing;

pub use accounts::{Administrators, Tokens};
pub use api::document_text;
pub use audit::{Action, Audit};
use consents::Consents;
pub use problem::Problem;
pub(crate) use server::quota;
pub use server::{Bound, serve};
use sessions::{Lasting, Now, Sessions};
use streams::Streams;

use crate::acme::Renewer;
use crate::app::Core;
use crate::command::{Command, execute};
use crate::login::{Guard, LoginPool};
use crate::settings::Settings;

/// Passwords checked at once, and how many may wait; each takes 64 MiB. Archivers have places of their own.
const LOGINS: (usize, usize) = (1, 20);

/// Where the configuration came from, and how the gateway restarts.
#[derive(Debug, Default)]
pub struct Process {
    /// The file that was read.
    pub config_file: Option<PathBuf>,
    /// Why the last configuration that was applied was taken back.
    pub taken_back: Option<String>,
    /// The file's text as it was at start, and as it was read last.
    pub texts: Mutex<Texts>,
    /// The configuration is another than this run began with, and that one stands beside it.
    pub config_changed: AtomicBool,
    /// It came as far as serving.
    pub served: AtomicBool,
    /// Told when the gateway is to end and start anew.
    pub restart: Notify,
}

/// The configuration file's text, secrets and all.
#[derive(Default)]
pub struct Texts {
    /// What this run began with.
    pub started: Zeroizing<String>,
    /// What counts now, but for what waits for a restart.
    pub read: Zeroizing<String>,
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts").finish_non_exhaustive()
    }
}

impl Process {
    /// Of a gateway that was started with that file and its text.
    pub fn started(config_file: Option<PathBuf>, text: &str) -> Self {
        let text = || Zeroizing::new(text.to_owned());
        let texts = Mutex::new(Texts { started: text(), read: text() });
        Self { config_file, texts, ..Self::default() }
    }

    /// The texts; one reload at a time.
    pub(crate) fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lasting(settings: &Settings) -> Lasting {
    Lasting { idle: settings.console.idle, lifetime: settings.console.lifetime }
}

/// Everything that the console works on.
#[derive(Debug)]
pub struct Console {
    /// The gateway.
    pub core: Arc<Core>,
    /// The running program.
    pub process: Arc<Process>,
    tokens: Tokens,
    sessions: Sessions,
    guard: Mutex<Guard>,
    logins: LoginPool,
    rates: Mutex<rates::Rates>,
    live: watch::Sender<Arc<overview::Overview>>,
    streams: Arc<Streams>,
    /// One change of the configuration at a time.
    applying: Mutex<()>,
    judged: certificate::Judged,
    renewer: Arc<Renewer>,
    consents: Arc<Consents>,
    /// Whoever looks for trouble connects to ports, ours or others', so it is one at a time.
    looking: Arc<Semaphore>,
    /// The same for our own ports' certificates, which everybody may look at: nobody keeps others from looking for trouble so.
    looking_at_ports: Arc<Semaphore>,
}

impl Console {
    /// The console of a gateway.
    pub fn new(core: Arc<Core>, process: Arc<Process>, renewer: Arc<Renewer>) -> Self {
        let settings = core.settings();
        let dir = settings.data_dir.join("console");
        let tokens = Tokens::open(Arc::clone(&core.disk), Arc::clone(&core.clock), &dir);
        Self {
            tokens,
            sessions: Sessions::new(lasting(&settings)),
            guard: Mutex::new(Guard::new(settings.limits.back_off)),
            logins: LoginPool::new(LOGINS.0, LOGINS.1),
            rates: Mutex::default(),
            live: watch::Sender::new(Arc::default()),
            streams: Arc::default(),
            applying: Mutex::default(),
            judged: certificate::Judged::default(),
            renewer,
            consents: Arc::default(),
            looking: Arc::new(Semaphore::new(1)),
            looking_at_ports: Arc::new(Semaphore::new(1)),
            core,
            process,
        }
    }

    /// From now on these settings count, for sessions that are open as well.
    pub(crate) fn follow(&self, settings: &Settings) {
        self.sessions.last(lasting(settings));
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).follow(settings.limits.back_off);
    }

    /// The certificate that is served.
    fn certificate(&self) -> certificate::Certificate {
        self.judged.now(&self.core)
    }

    /// Whether browsers are told to come by HTTPS only: as the settings say, else while the certificate is one that they
    /// accept. Told with another one, it would keep them out.
    fn has_hsts(&self) -> bool {
        self.core.settings().console.hsts.unwrap_or_else(|| self.judged.is_trusted(&self.core))
    }

    /// What a command answers, without a line in the audit log: for those that only ask.
    fn answer(&self, command: &Command) -> anyhow::Result<serde_json::Value> {
        execute(&self.core, command.clone()).map_err(|message| anyhow::anyhow!(message))
    }

    /// The turn to look for trouble.
    fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Self::turn_of(&self.looking)
    }

    fn turn_of(looking: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = Arc::clone(looking).try_acquire_owned();
        turn.map_err(|_| Problem::too_many("somebody is looking already; try again", Duration::from_secs(5)))
    }

    fn now(&self) -> Now {
        (self.core.clock.moment(), self.core.clock.wall())
    }

    /// Does what waits for the disk where nobody else waits with it.
    async fn blocking<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        let console = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&console)).await;
        done.unwrap_or_else(|error| Err(Problem::internal(error)))
    }

    /// Does what changes something, and records it. Nothing is done when that could not be recorded.
    async fn changing<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<(R, Action), Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        self.blocking(move |console| {
            console.core.audit.check().map_err(Problem::disk)?;
            let (done, action) = work(console)?;
            console.core.audit.record(action);
            Ok(done)
        })
        .await
    }
}
