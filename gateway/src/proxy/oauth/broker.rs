//! All bindings, in memory and on disk, and the access tokens they give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use postern_shared::clock::{Clock, Moment};
use postern_shared::crypto::digest::sha256;
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::{Disk, write_atomic};
use postern_shared::proto::sasl::Mechanism;
use secrecy::SecretString;

use super::binding::{Binding, SealingKey};
use super::error::BrokerError;
use super::http::Deadlines;
use super::link::{AskError, Link};
use super::protocol::{Grant, Refusal, Tokens};
use super::provider::Provider;
use super::{Account, key_of};
use crate::monitoring::{Refresh, metrics};

const FILE_BYTES_MAX: u64 = 64 * 1024;
/// An access token that is good for less is replaced.
const MARGIN: Duration = Duration::from_secs(60);
/// For how long nobody is asked again after a failure: clients try every few seconds.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_REFUSED: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// All bindings of a gateway.
#[derive(Debug)]
pub struct Broker {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    cost: Argon2Cost,
    disk_again: Duration,
    links: BTreeMap<String, Arc<Link>>,
    entries: RwLock<BTreeMap<String, Arc<Entry>>>,
    /// Files that cannot be used, with the reason. Their accounts stay bound, to a password that nobody has.
    damaged: RwLock<BTreeMap<PathBuf, String>>,
    /// One change on disk at a time.
    changes: Mutex<()>,
}

#[derive(Debug)]
struct Entry {
    binding: Mutex<Binding>,
    /// Replaced or revoked: nothing of it may be written or used any more.
    gone: AtomicBool,
    /// One refresh at a time; the others wait for what it brings.
    flight: tokio::sync::Mutex<Flight>,
}

#[derive(Debug, Default)]
struct Flight {
    cached: Option<Cached>,
    /// The refresh token in memory is newer than the one on disk.
    unsaved: bool,
    /// What came of it last, and until when that is the answer.
    failed: Option<(Moment, BrokerError)>,
}

/// An access token, sealed under the binding's key: a login that has not shown the password cannot use it.
#[derive(Debug)]
struct Cached {
    sealed: Vec<u8>,
    until: Moment,
}

/// A binding whose password was right.
pub struct OpenBinding {
    entry: Arc<Entry>,
    key: SealingKey,
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
    fn new(binding: Binding) -> Arc<Self> {
        let flight = tokio::sync::Mutex::default();
        Arc::new(Self { binding: Mutex::new(binding), gone: AtomicBool::new(false), flight })
    }

    fn binding(&self) -> MutexGuard<'_, Binding> {
        // It is replaced as a whole, so a poisoned lock is still right.
        self.binding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_here(&self) -> Result<(), BrokerError> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(BrokerError::Replaced { account: self.binding().account.clone() });
        }
        Ok(())
    }
}

impl Broker {
    /// Reads all bindings in `dir`, which is created when missing. A file that cannot be read is logged and kept.
    pub fn load(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        providers: &[Provider],
        deadlines: Deadlines,
        cost: Argon2Cost,
    ) -> Result<Self, BrokerError> {
        let failed = |error: std::io::Error| disk_error(dir, &error);
        disk.create_dir_all(dir).map_err(failed)?;
        let (mut entries, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        for path in disk.files(dir).map_err(failed)? {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read = disk.read(&path, FILE_BYTES_MAX).map_err(|error| error.to_string());
            match read.and_then(|bytes| Binding::from_json(&bytes)) {
                Ok(binding) if path == path_of(dir, &binding.account) => {
                    entries.insert(binding.account.clone(), Entry::new(binding));
                }
                wrong => {
                    let reason = wrong.err().unwrap_or_else(|| "it holds another account".into());
                    tracing::error!(path = %path.display(), reason, "an OAuth binding cannot be used");
                    damaged.insert(path, reason);
                }
            }
        }
        let link = |provider: &Provider| {
            let link = Link::new(provider.clone(), Arc::clone(&disk), Arc::clone(&clock), deadlines);
            (provider.name.clone(), Arc::new(link))
        };
        let links = providers.iter().map(link).collect();
        let (dir, entries, damaged) = (dir.to_path_buf(), RwLock::new(entries), RwLock::new(damaged));
        let disk_again = deadlines.disk_again;
        let changes = Mutex::default();
        Ok(Self { disk, clock, dir, cost, disk_again, links, entries, damaged, changes })
    }

    /// Whether the account has a binding, usable or not: then its password is the proxy password, which is passed on to
    /// nobody.
    pub fn is_bound(&self, account: &Account) -> bool {
        let key = key_of(account);
        self.read().contains_key(&key) || self.damage().contains_key(&path_of(&self.dir, &key))
    }

    /// All bindings, by account.
    pub fn list(&self) -> Vec<Binding> {
        self.read().values().map(|entry| entry.binding().clone()).collect()
    }

    /// Files that cannot be used, with the reason.
    pub fn damaged(&self) -> BTreeMap<PathBuf, String> {
        self.damage().clone()
    }

    /// The way to a provider of the settings.
    pub fn link(&self, provider: &str) -> Option<&Arc<Link>> {
        self.links.get(provider)
    }

    /// Opens the account's binding when the password is right. Blocks for Argon2id, for as long when there is no such
    /// binding; no network.
    pub fn open(&self, account: &Account, password: &SecretString) -> Option<OpenBinding> {
        let entry = self.read().get(&key_of(account)).cloned();
        let Some(entry) = entry else {
            Binding::verify_nobody(password, self.cost);
            return None;
        };
        let binding = entry.binding().clone();
        binding.verify(password).map(|key| OpenBinding { entry, key })
    }

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
        if let Some(token) = flight.cached_at(now, key) {
            return Ok(AccessToken { token, mechanism });
        }
        flight.cached = None;
        if let Some((until, error)) = &flight.failed
            && now < *until
        {
            return Err(error.clone());
        }
        let refresh_token = binding.unseal(key).map_err(|_| damaged(&binding))?;
        let tokens = match link.tokens(Grant::Refresh { refresh_token: &refresh_token }).await {
            Ok(tokens) => tokens,
            Err(error) => {
                let (error, pause) = told(&binding, &error);
                metrics().oauth_refreshed(outcome(&error));
                tracing::warn!(account = %binding.account, provider = %binding.provider, %error, "no access token");
                flight.failed = Some((now.plus(pause), error.clone()));
                return Err(error);
            }
        };
        let token = tokens.access_token.clone();
        flight.took(&tokens, key, now);
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
        loop {
            tokio::time::sleep(self.disk_again).await;
            let mut flight = entry.flight.lock().await;
            if !flight.unsaved || entry.check_here().is_err() {
                return;
            }
            if self.save(&entry).await.is_ok() {
                flight.unsaved = false;
                tracing::info!(account = %entry.binding().account, "the new refresh token is on disk now");
                return;
            }
        }
    }

    async fn save(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<(), BrokerError> {
        let (broker, entry) = (Arc::clone(self), Arc::clone(entry));
        let save = move || {
            let _one = broker.change();
            entry.check_here()?;
            let binding = entry.binding().clone();
            broker.write_file(&binding)
        };
        tokio::task::spawn_blocking(save).await.unwrap_or(Err(BrokerError::Inside))
    }

    /// The provider's way, as long as it is the one that the person consented to.
    fn link_of(&self, binding: &Binding) -> Result<Arc<Link>, BrokerError> {
        let changed = |reason| BrokerError::ProviderChanged {
            account: binding.account.clone(),
            provider: binding.provider.clone(),
            reason,
        };
        let link = self.links.get(&binding.provider).ok_or_else(|| changed("is missing"))?;
        if link.provider.token_endpoint.to_string() != binding.token_endpoint {
            return Err(changed("has another token_endpoint"));
        }
        if link.provider.client_id != binding.client_id {
            return Err(changed("has another client_id"));
        }
        Ok(Arc::clone(link))
    }

    /// Puts a binding in the place of the account's former one. Blocks for the disk.
    pub fn store(&self, binding: Binding) -> Result<(), BrokerError> {
        self.link_of(&binding)?;
        let account = binding.account.clone();
        binding.check().map_err(|reason| BrokerError::Unusable { account: account.clone(), reason })?;
        let _one = self.change();
        self.write_file(&binding)?;
        self.forget_damage(&account);
        let former = self.write().insert(account, Entry::new(binding));
        retire(former);
        Ok(())
    }

    /// Forgets a binding; what it was, unless its file is damaged. Blocks for the disk. What the provider knows of it
    /// stays: the refresh token is opened by the password alone.
    pub fn revoke(&self, account: &Account) -> Result<Option<Binding>, BrokerError> {
        let key = key_of(account);
        let _one = self.change();
        if !self.is_bound(account) {
            return Err(BrokerError::Unknown { account: key });
        }
        let path = path_of(&self.dir, &key);
        let removed = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.dir));
        removed.map_err(|error| disk_error(&path, &error))?;
        self.forget_damage(&key);
        let former = self.write().remove(&key);
        let binding = former.as_ref().map(|entry| entry.binding().clone());
        retire(former);
        Ok(binding)
    }

    fn forget_damage(&self, account: &str) {
        let mut damaged = self.damaged.write().unwrap_or_else(PoisonError::into_inner);
        damaged.remove(&path_of(&self.dir, account));
    }

    fn damage(&self) -> RwLockReadGuard<'_, BTreeMap<PathBuf, String>> {
        self.damaged.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wipes access tokens that are no longer of use; to be called now and then.
    pub fn forget_expired(&self) {
        let now = self.clock.moment();
        for entry in self.read().values() {
            // One that is being renewed is left alone.
            if let Ok(mut flight) = entry.flight.try_lock()
                && flight.cached.as_ref().is_some_and(|cached| cached.until <= now)
            {
                flight.cached = None;
            }
        }
    }

    fn write_file(&self, binding: &Binding) -> Result<(), BrokerError> {
        let path = path_of(&self.dir, &binding.account);
        let failed = |reason: String| BrokerError::Disk { path: path.clone(), reason };
        let json = binding.to_json().map_err(|error| failed(error.to_string()))?;
        write_atomic(&*self.disk, &path, &json).map_err(|error| failed(error.to_string()))
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Entry>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Entry>>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn cached_at(&self, now: Moment, key: &SealingKey) -> Option<SecretString> {
        let cached = self.cached.as_ref().filter(|cached| now < cached.until)?;
        key.open_from_memory(&cached.sealed)
    }

    /// A token whose life the provider does not tell, or that is too short, serves the login that asked for it.
    fn took(&mut self, tokens: &Tokens, key: &SealingKey, asked_at: Moment) {
        self.failed = None;
        self.cached = tokens.life.and_then(|life| life.checked_sub(MARGIN)).map(|life| Cached {
            sealed: key.seal_for_memory(&tokens.access_token),
            until: asked_at.plus(life),
        });
    }
}

fn retire(former: Option<Arc<Entry>>) {
    if let Some(former) = former {
        former.gone.store(true, Ordering::SeqCst);
    }
}

/// `<first 32 digits of SHA-256(account)>.json`: an account may hold what no file name can.
fn path_of(dir: &Path, account: &str) -> PathBuf {
    let digest = sha256(account.as_bytes()).to_string();
    dir.join(format!("{}.json", &digest[..32]))
}

fn disk_error(path: &Path, error: &std::io::Error) -> BrokerError {
    BrokerError::Disk { path: path.into(), reason: error.to_string() }
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
fn told(binding: &Binding, error: &AskError) -> (BrokerError, Duration) {
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
        AskError::Refused(Refusal::Said { .. }) => {
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
