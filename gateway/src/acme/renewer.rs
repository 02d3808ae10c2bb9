//! Certificates in time: asks when it is due, keeps what happened, and serves what came.

use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::random;
use postern_shared::shutdown::Shutdown;
use postern_shared::tls::server::Identity;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::attempt::{Attempt, Issued};
use super::responder::Responder;
use super::schedule::State;
use super::{AcmeError, Report};
use crate::app::Core;
use crate::certificate::{issued_file, next_step, store_issued};
use crate::listen::BindError;
use crate::settings::Tls;

/// The calendar may be set, and a machine may sleep: look again this soon.
const PAUSE_MAX: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// When to ask again for renewal information that there is none of, or that cannot be had.
const ASK_AGAIN: Duration = Duration::from_secs(12 * 3600);
const ASK_AGAIN_MIN: Duration = Duration::from_secs(3600);

/// Gets certificates for the gateway.
#[derive(Debug)]
pub struct Renewer {
    core: Arc<Core>,
    attempt: Attempt,
    /// Open for as long as the daemon runs in mode `acme`; else only while an attempt is made.
    responder: Option<Responder>,
    /// One attempt at a time.
    busy: Mutex<()>,
}

impl Renewer {
    /// One that opens its port for each attempt.
    pub fn new(core: Arc<Core>) -> Self {
        let attempt = Attempt::new(&core.settings(), Arc::clone(&core.disk));
        Self { core, attempt, responder: None, busy: Mutex::new(()) }
    }

    /// One whose port is open from now on.
    pub fn listening(core: Arc<Core>) -> Result<Self, BindError> {
        let mut renewer = Self::new(core);
        renewer.responder = Some(renewer.open()?);
        Ok(renewer)
    }

    /// Where challenges are answered.
    pub fn addresses(&self) -> &[std::net::SocketAddr] {
        self.responder.as_ref().map_or(&[], |responder| responder.addresses())
    }

    fn open(&self) -> Result<Responder, BindError> {
        Responder::open(&self.core.settings().listen.http01.0, &self.attempt.pending)
    }

    /// Closes its port.
    pub async fn close(self) {
        if let Some(responder) = self.responder {
            responder.close().await;
        }
    }

    /// Until `stopped`. An attempt that is cut is taken up again by the next daemon.
    pub async fn run(self: Arc<Self>, mut stopped: Shutdown) {
        loop {
            let step = async {
                let next = self.step().await;
                let wait = next.since(self.core.clock.wall()).clamp(PAUSE_MIN, PAUSE_MAX);
                tokio::time::sleep(wait).await;
            };
            tokio::select! {
                () = step => {}
                () = stopped.requested() => return,
            }
        }
    }

    /// Makes an attempt when one is due; when the next one is.
    pub async fn step(&self) -> UnixMillis {
        let _one = self.busy.lock().await;
        let mut state = self.state().await;
        let current = self.current().await;
        if let Some(identity) = &current {
            self.ask_for_window(&mut state, identity).await;
        }
        let now = self.core.clock.wall();
        let due = self.due(&state, current.as_ref());
        if due > now {
            return due;
        }
        tracing::info!(names = ?self.core.settings().acme.names, "a certificate is due");
        let report = |line: String| tracing::info!(target: "postern_gateway::acme", "{line}");
        match self.attempt_and_keep(false, &report, &mut state).await {
            Ok(_) => tracing::info!("the certificate was issued"),
            Err(error) => {
                let again = state.not_before.map(UnixMillis::rfc3339).unwrap_or_default();
                let failures = state.failures;
                tracing::error!(%error, failures, %again, "no certificate was issued; the old one is served on");
            }
        }
        self.due(&state, self.current().await.as_ref())
    }

    fn due(&self, state: &State, current: Option<&Identity>) -> UnixMillis {
        let settings = self.core.settings();
        let names = &settings.acme.names;
        match current.and_then(|identity| Some((identity.leaf()?, identity.fingerprint().to_string()))) {
            // One from before the directory or the names were changed is none.
            Some((leaf, fingerprint)) if state.has_issued() => state.due(Some((&leaf, &fingerprint)), names),
            _ => state.due(None, names),
        }
    }

    /// Makes an attempt now, whatever is due, and tells what came of it.
    pub async fn try_now(&self, staging_only: bool, report: Report<'_>) -> Result<Value, AcmeError> {
        let _one = self.busy.lock().await;
        let mut state = self.state().await;
        let issued = self.attempt_and_keep(staging_only, report, &mut state).await?;
        Ok(match issued {
            Issued::Rehearsed => json!({ "issued": false, "rehearsed": true }),
            Issued::Certificate(identity) => {
                let leaf = identity.leaf();
                json!({
                    "issued": true,
                    "fingerprint": format!("sha256:{}", identity.fingerprint()),
                    "names": leaf.as_ref().map(|leaf| leaf.names.clone()),
                    "expires": leaf.map(|leaf| leaf.not_after.rfc3339()),
                    "served": self.is_served(&identity),
                    "next": next_step(&self.core, &Tls::Acme),
                })
            }
        })
    }

    async fn attempt_and_keep(
        &self,
        staging_only: bool,
        report: Report<'_>,
        state: &mut State,
    ) -> Result<Issued, AcmeError> {
        let result = self.attempt_and_store(staging_only, report).await;
        let now = self.core.clock.wall();
        match &result {
            Ok(Issued::Certificate(_)) => state.issued(now),
            Ok(Issued::Rehearsed) => return result,
            Err(error) => {
                let [jitter] = random::<1>();
                state.failed(now, error.to_string(), self.attempt.told_to_wait(), jitter);
            }
        }
        self.keep(state).await;
        result
    }

    async fn attempt_and_store(&self, staging_only: bool, report: Report<'_>) -> Result<Issued, AcmeError> {
        let open = match &self.responder {
            Some(_) => None,
            None => Some(self.open().map_err(|error| AcmeError::Local(error.to_string()))?),
        };
        let issued = self.attempt.run(staging_only, report).await;
        if let Some(open) = open {
            open.close().await;
        }
        let Issued::Certificate(identity) = issued? else { return Ok(Issued::Rehearsed) };
        let core = Arc::clone(&self.core);
        let stored = tokio::task::spawn_blocking(move || {
            match core.keeper.get() {
                Some(keeper) => keeper.store_issued(&identity),
                None => store_issued(&core.settings(), &*core.disk, &identity),
            }
            .map(|()| identity)
        });
        let identity = stored.await.map_err(|error| AcmeError::Local(error.to_string()))??;
        self.attempt.stored().await;
        Ok(Issued::Certificate(identity))
    }

    fn is_served(&self, identity: &Identity) -> bool {
        let served = self.core.keeper.get().map(|keeper| keeper.identity());
        served.is_some_and(|served| served.fingerprint() == identity.fingerprint())
    }

    /// The certificate that was issued last.
    async fn current(&self) -> Option<Identity> {
        let core = Arc::clone(&self.core);
        let read = tokio::task::spawn_blocking(move || {
            let path = issued_file(&crate::certificate::dir(&core.settings()));
            Identity::from_pem_files(&*core.disk, &path, &path).ok()
        });
        read.await.ok().flatten()
    }

    async fn state(&self) -> State {
        let settings = self.core.settings();
        let acme = &settings.acme;
        let about = format!("{} {}", acme.directory_url, acme.names.join(" "));
        let state = self.attempt.store.do_blocking(|store| store.state()).await;
        state.unwrap_or_default().about(&about)
    }

    async fn keep(&self, state: &State) {
        let kept = state.clone();
        let written = self.attempt.store.do_blocking(move |store| store.put_state(&kept)).await;
        if let Err(error) = written.and_then(|written| written) {
            tracing::error!(%error, "cannot keep when to try again; a restart would try at once");
        }
    }

    /// Asks the authority when it wants the certificate to be renewed (RFC 9773): some time inside of its window.
    async fn ask_for_window(&self, state: &mut State, identity: &Identity) {
        let now = self.core.clock.wall();
        let fingerprint = identity.fingerprint().to_string();
        if state.ask_again.is_some_and(|again| now < again) || !state.has_issued() {
            return;
        }
        state.ask_again = Some(now.plus(ASK_AGAIN));
        match self.attempt.suggested_window(identity).await {
            Ok(Some((start, end, again))) => {
                let millis = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
                let (start, end) = (millis(start), millis(end));
                let is_inside =
                    |of: &(String, UnixMillis)| of.0 == fingerprint && (start..=end).contains(&of.1.0);
                if !state.suggested.as_ref().is_some_and(is_inside) {
                    let at =
                        start.saturating_add(end.saturating_sub(start) / 256 * u64::from(random::<1>()[0]));
                    state.suggested = Some((fingerprint, UnixMillis(at)));
                }
                state.ask_again = Some(now.plus(again.clamp(ASK_AGAIN_MIN, ASK_AGAIN)));
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the authority does not tell when to renew"),
        }
        self.keep(state).await;
    }

    /// Whether an attempt is being made.
    pub fn is_busy(&self) -> bool {
        self.busy.try_lock().is_err()
    }

    /// What came of earlier attempts.
    pub fn past(core: &Core) -> State {
        super::store::Store::new(Arc::clone(&core.disk), crate::certificate::dir(&core.settings())).state()
    }

    /// For `certificate show`.
    pub fn told(core: &Core) -> Value {
        let settings = core.settings();
        let (state, acme) = (Self::past(core), &settings.acme);
        json!({
            "directory_url": acme.directory_url,
            "names": acme.names,
            "failures": state.failures,
            "last_error": state.last_error,
            "last_attempt": state.last_attempt.map(UnixMillis::rfc3339),
            "last_issued": state.last_issued.map(UnixMillis::rfc3339),
            "not_before": state.not_before.map(UnixMillis::rfc3339),
        })
    }
}
