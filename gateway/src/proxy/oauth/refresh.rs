//! From an opened binding to an access token: what is cached, what is asked, what is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::clock::Moment;
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::proto::sasl::Mechanism;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Account;
use super::binding::{Binding, SealingKey};
use super::broker::Broker;
use super::error::BrokerError;
use super::link::AskError;
use super::protocol::{Grant, Refusal, Tokens};
use crate::monitoring::{Refresh, metrics};

/// An access token that is good for less is replaced.
const MARGIN: Duration = Duration::from_secs(60);
/// For how long nobody is asked again after a failure: clients try every few seconds.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_REFUSED: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// As many refusals without a reason, over so long: then it is not the provider's passing trouble.
const UNEXPLAINED_COUNT: u32 = 3;
const UNEXPLAINED_FOR: Duration = Duration::from_secs(600);

/// A binding in memory.
#[derive(Debug)]
pub(super) struct Entry {
    binding: Mutex<Binding>,
    /// Replaced or revoked: nothing of it may be written or used any more.
    gone: AtomicBool,
    /// The last access token, while it is good.
    cached: Mutex<Option<Cached>>,
    /// One refresh at a time; the others wait for what it brings.
    flight: tokio::sync::Mutex<Flight>,
}

#[derive(Debug, Default)]
struct Flight {
    /// The refresh token in memory is newer than the one on disk.
    unsaved: bool,
    /// What came of it last, and until when that is the answer.
    failed: Option<(Moment, BrokerError)>,
    unexplained: Option<Unexplained>,
}

/// Refusals without a reason, one after the other.
#[derive(Debug, Clone, Copy)]
struct Unexplained {
    since: Moment,
    count: u32,
}

impl Flight {
    /// Whether a refusal, after those before it, can only mean that the consent is gone.
    fn is_given_up(&mut self, error: &AskError, now: Moment) -> bool {
        if !matches!(error, AskError::Refused(Refusal::Unexplained { .. })) {
            self.unexplained = None;
            return false;
        }
        let Unexplained { since, count } = self.unexplained.unwrap_or(Unexplained { since: now, count: 0 });
        self.unexplained = Some(Unexplained { since, count: count.saturating_add(1) });
        count + 1 >= UNEXPLAINED_COUNT && now.since(since) >= UNEXPLAINED_FOR
    }
}

/// An access token, sealed under the binding's key: a login that has not shown the password cannot use it.
#[derive(Debug)]
struct Cached {
    sealed: Vec<u8>,
    /// What it is known by when a server refuses it.
    digest: Digest,
    until: Moment,
}

/// A binding whose password was right.
pub struct OpenBinding {
    pub(super) entry: Arc<Entry>,
    pub(super) key: SealingKey,
}

impl std::fmt::Debug for OpenBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenBinding({})", self.entry.binding().account)
    }
}

/// What logs in at the mail server.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token.
    pub token: SecretString,
    /// How the server takes it: XOAUTH2 or OAUTHBEARER.
    pub mechanism: Mechanism,
}

impl Entry {
    pub(super) fn new(binding: Binding) -> Arc<Self> {
        let (cached, flight) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { binding: Mutex::new(binding), gone: AtomicBool::new(false), cached, flight })
    }

    fn cached(&self) -> MutexGuard<'_, Option<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached_at(&self, now: Moment, key: &SealingKey) -> Option<SecretString> {
        let cached = self.cached();
        let good = cached.as_ref().filter(|cached| now < cached.until)?;
        key.open_from_memory(&good.sealed)
    }

    /// A token whose life the provider does not tell, or that is too short, serves the login that asked for it.
    fn cache(&self, tokens: &Tokens, key: &SealingKey, asked_at: Moment) {
        *self.cached() = tokens.life.and_then(|life| life.checked_sub(MARGIN)).map(|life| Cached {
            sealed: key.seal_for_memory(&tokens.access_token),
            digest: sha256(tokens.access_token.expose_secret().as_bytes()),
            until: asked_at.plus(life),
        });
    }

    pub(super) fn binding(&self) -> MutexGuard<'_, Binding> {
        // It is replaced as a whole, so a poisoned lock is still right.
        self.binding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was replaced or revoked.
    pub(super) fn retire(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    pub(super) fn check_here(&self) -> Result<(), BrokerError> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(BrokerError::Replaced { account: self.binding().account.clone() });
        }
        Ok(())
    }
}

impl Broker {
    /// An access token that is good for a minute at least, where the provider allows that.
    ///
    /// It goes on in a task of its own: a client that leaves in the middle must not take with it a refresh token that
    /// the provider has just replaced.
    pub async fn access_token(self: &Arc<Self>, open: OpenBinding) -> Result<AccessToken, BrokerError> {
        let broker = Arc::clone(self);
        let task = tokio::spawn(async move { broker.refreshed(&open).await });
        task.await.unwrap_or(Err(BrokerError::Inside))
    }

    async fn refreshed(self: &Arc<Self>, open: &OpenBinding) -> Result<AccessToken, BrokerError> {
        let OpenBinding { entry, key } = open;
        let mut flight = entry.flight.lock().await;
        entry.check_here()?;
        let binding = entry.binding().clone();
        let link = self.link_of(&binding)?;
        if flight.unsaved {
            self.save(entry).await?;
            flight.unsaved = false;
        }
        let mechanism = link.provider.mechanism;
        let now = self.clock.moment();
        if let Some(token) = entry.cached_at(now, key) {
            return Ok(AccessToken { token, mechanism });
        }
        *entry.cached() = None;
        if let Some((until, error)) = &flight.failed
            && now < *until
        {
            return Err(error.clone());
        }
        if self.ending.load(Ordering::SeqCst) {
            return Err(BrokerError::Ending);
        }
        let refresh_token = binding.unseal(key).map_err(|_| damaged(&binding))?;
        let tokens = match link.tokens(Grant::Refresh { refresh_token: &refresh_token }).await {
            Ok(tokens) => tokens,
            Err(error) => {
                let given_up = flight.is_given_up(&error, now);
                let (error, pause) = told(&binding, &error, given_up);
                metrics().oauth_refreshed(outcome(&error));
                tracing::warn!(account = %binding.account, provider = %binding.provider, %error, "no access token");
                flight.failed = Some((now.plus(pause), error.clone()));
                return Err(error);
            }
        };
        let token = tokens.access_token.clone();
        (flight.failed, flight.unexplained) = (None, None);
        entry.cache(&tokens, key, now);
        let kept = self.keep(entry, key, &tokens, &mut flight).await;
        metrics().oauth_refreshed(kept.as_ref().err().map_or(Refresh::Ok, outcome));
        kept?;
        tracing::info!(account = %binding.account, provider = %binding.provider, "access token renewed");
        Ok(AccessToken { token, mechanism })
    }

    /// Keeps what a refresh brought. A new refresh token is on disk before anybody gets the access token that came with
    /// it, for the provider may have forgotten the old one. Where the disk fails, the next login tries that again first, and
    /// without one it is tried now and then.
    async fn keep(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        key: &SealingKey,
        tokens: &Tokens,
        flight: &mut Flight,
    ) -> Result<(), BrokerError> {
        {
            let mut binding = entry.binding();
            binding.used = Some(self.clock.wall());
            if let Some(refresh_token) = &tokens.refresh_token {
                binding.reseal(key, refresh_token);
                flight.unsaved = true;
            }
        }
        match self.save(entry).await {
            Ok(()) => flight.unsaved = false,
            Err(error) if flight.unsaved || matches!(error, BrokerError::Replaced { .. }) => {
                tracing::error!(account = %entry.binding().account, %error, "a new refresh token is not on disk");
                tokio::spawn(Arc::clone(self).save_later(Arc::clone(entry)));
                return Err(error);
            }
            Err(error) => tracing::warn!(%error, "cannot note when a binding was used"),
        }
        Ok(())
    }

    async fn save_later(self: Arc<Self>, entry: Arc<Entry>) {
        tokio::time::sleep(self.disk_again).await;
        self.saved(&entry).await;
    }

    /// Waits for a refresh that is under way, and until what it brought is on disk.
    async fn saved(self: &Arc<Self>, entry: &Arc<Entry>) {
        loop {
            let mut flight = entry.flight.lock().await;
            if !flight.unsaved || entry.check_here().is_err() {
                return;
            }
            if self.save(entry).await.is_ok() {
                flight.unsaved = false;
                tracing::info!(account = %entry.binding().account, "the new refresh token is on disk now");
                return;
            }
            drop(flight);
            tokio::time::sleep(self.disk_again).await;
        }
    }

    /// For the end of the process: no refresh begins any more, and those under way are waited for until what they brought is
    /// on disk, or for that long. Whether all is on disk.
    pub async fn settled(self: &Arc<Self>, at_most: Duration) -> bool {
        self.ending.store(true, Ordering::SeqCst);
        let entries: Vec<_> = self.read().entries().cloned().collect();
        let mut waits = JoinSet::new();
        for entry in &entries {
            let (broker, entry) = (Arc::clone(self), Arc::clone(entry));
            waits.spawn(async move { broker.saved(&entry).await });
        }
        let all = async { while waits.join_next().await.is_some() {} };
        if timeout(at_most, all).await.is_ok() {
            return true;
        }
        let unsettled = |entry: &&Arc<Entry>| entry.flight.try_lock().map_or(true, |flight| flight.unsaved);
        for entry in entries.iter().filter(unsettled) {
            let account = &entry.binding().account;
            tracing::error!(%account, "a new refresh token may not be on disk at the end; bind the account again");
        }
        false
    }

    /// A server did not take this access token: it is not given again.
    pub fn refused(&self, account: &Account, token: &SecretString) {
        let digest = sha256(token.expose_secret().as_bytes());
        if let Some(entry) = self.read().bound(&account.to_string()) {
            entry.cached().take_if(|cached| cached.digest == digest);
        }
    }

    /// Wipes access tokens that are no longer of use; to be called now and then.
    pub fn forget_expired(&self) {
        let now = self.clock.moment();
        for entry in self.read().entries() {
            entry.cached().take_if(|cached| cached.until <= now);
        }
    }
}

fn damaged(binding: &Binding) -> BrokerError {
    BrokerError::Damaged { account: binding.account.clone(), provider: binding.provider.clone() }
}

fn outcome(error: &BrokerError) -> Refresh {
    match error {
        BrokerError::ConsentGone { .. } => Refresh::ConsentGone,
        BrokerError::Refused { .. } | BrokerError::Credential { .. } => Refresh::Refused,
        BrokerError::Unreachable { .. } => Refresh::Unreachable,
        _ => Refresh::LocalError,
    }
}

/// What a failed request means for this account, and for how long.
fn told(binding: &Binding, error: &AskError, given_up: bool) -> (BrokerError, Duration) {
    let (account, provider) = (binding.account.clone(), binding.provider.clone());
    let words = error.to_string();
    match error {
        // RFC 6749 §5.2: "invalid, expired, revoked"; the others are what providers say when a person must be asked.
        AskError::Refused(Refusal::Said { error, .. })
            if ["invalid_grant", "interaction_required", "consent_required", "login_required"]
                .contains(&error.as_str()) =>
        {
            (BrokerError::ConsentGone { account, provider, words }, PAUSE_REFUSED)
        }
        AskError::Refused(Refusal::Unexplained { .. }) if given_up => {
            (BrokerError::ConsentGone { account, provider, words }, PAUSE_REFUSED)
        }
        AskError::Refused(Refusal::Said { .. } | Refusal::Unexplained { .. }) => {
            (BrokerError::Refused { account, provider, words }, PAUSE_REFUSED)
        }
        AskError::Refused(Refusal::Later { retry_after, .. }) => {
            let pause = retry_after.map_or(PAUSE, |pause| pause.clamp(PAUSE, PAUSE_MAX));
            (BrokerError::Unreachable { provider, reason: words }, pause)
        }
        AskError::Credential(_) => (BrokerError::Credential { provider, reason: words }, PAUSE),
        _ => (BrokerError::Unreachable { provider, reason: words }, PAUSE),
    }
}
