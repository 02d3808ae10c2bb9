//! All bindings, in memory and on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use postern_shared::clock::Clock;
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::{Disk, write_atomic};
use secrecy::SecretString;

use super::Account;
use super::binding::Binding;
use super::error::BrokerError;
use super::held::{Held, Holding};
use super::http::Deadlines;
use super::link::Link;
use super::names::Names;
use super::provider::Provider;
use super::refresh::{Entry, OpenBinding};
use super::tombstone::Tombstone;

/// All bindings of a gateway.
#[derive(Debug)]
pub struct Broker {
    disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    dir: PathBuf,
    cost: Argon2Cost,
    pub(super) disk_again: Duration,
    links: RwLock<BTreeMap<String, Arc<Link>>>,
    deadlines: Deadlines,
    held: RwLock<Held>,
    /// One change on disk at a time.
    changes: Mutex<()>,
    /// The process ends: no refresh begins any more.
    pub(super) ending: AtomicBool,
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
        let held = Held::load(&*disk, dir, Names::new(providers)).map_err(failed)?;
        let links = RwLock::new(links(providers, &disk, &clock, deadlines));
        let (dir, held, disk_again) = (dir.to_path_buf(), RwLock::new(held), deadlines.disk_again);
        let (changes, ending) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { disk, clock, dir, cost, disk_again, links, deadlines, held, changes, ending })
    }

    /// From now on these are the providers. What is being asked is asked to its end; who waits for a provider that is gone, or
    /// is another one now, is told.
    pub fn follow(&self, providers: &[Provider]) {
        let links = links(providers, &self.disk, &self.clock, self.deadlines);
        self.write().rename(Names::new(providers));
        *self.links.write().unwrap_or_else(PoisonError::into_inner) = links;
    }

    /// Whether the account's password is the proxy password, which is passed on to nobody: it has a binding, usable or not,
    /// under this host name or another one of the same provider, or had one that was revoked and not forgotten.
    pub fn is_bound(&self, account: &Account) -> bool {
        self.is_bound_as(&account.to_string())
    }

    /// The same of `user%host`.
    pub fn is_bound_as(&self, account: &str) -> bool {
        self.read().is_bound(account)
    }

    /// All bindings, by account.
    pub fn list(&self) -> Vec<Binding> {
        self.read().entries().map(|entry| entry.binding().clone()).collect()
    }

    /// What was revoked and is not forgotten.
    pub fn revoked(&self) -> Vec<Tombstone> {
        self.read().tombstones().cloned().collect()
    }

    /// Files that cannot be used, with the reason.
    pub fn damaged(&self) -> BTreeMap<PathBuf, String> {
        self.read().damaged().clone()
    }

    /// One name for an account, bound or not, however it is written and at whatever host of its provider.
    pub fn name_of(&self, account: &Account) -> String {
        self.read().names().canonical(&account.to_string())
    }

    /// The host names at which a binding of `user%host` serves.
    pub fn hosts(&self, account: &str) -> Vec<String> {
        self.read().names().hosts(account)
    }

    /// The way to a provider of the settings.
    pub fn link(&self, provider: &str) -> Option<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(provider).cloned()
    }

    /// What to say to every password of an account whose binding was revoked.
    pub fn was_revoked(&self, account: &Account) -> Option<BrokerError> {
        match self.read().find(&account.to_string())? {
            Holding::Bound(_) => None,
            Holding::Revoked(tombstone) => Some(revoked(tombstone)),
        }
    }

    /// Opens the account's binding when the password is right. Blocks for Argon2id, for as long when there is no such
    /// binding; no network.
    pub fn open(&self, account: &Account, password: &SecretString) -> Option<OpenBinding> {
        let entry = self.read().bound(&account.to_string()).cloned();
        let Some(entry) = entry else {
            Binding::verify_nobody(password, self.cost);
            return None;
        };
        let binding = entry.binding().clone();
        binding.verify(password).map(|key| OpenBinding { entry, key })
    }

    pub(super) async fn save(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<(), BrokerError> {
        let (broker, entry) = (Arc::clone(self), Arc::clone(entry));
        let save = move || {
            let _one = broker.change();
            entry.check_here()?;
            let binding = entry.binding().clone();
            broker.write_file(&binding.account, binding.to_json())
        };
        tokio::task::spawn_blocking(save).await.unwrap_or(Err(BrokerError::Inside))
    }

    /// The provider's way, as long as it is the one that the person consented to.
    pub(super) fn link_of(&self, binding: &Binding) -> Result<Arc<Link>, BrokerError> {
        let changed = |reason| BrokerError::ProviderChanged {
            account: binding.account.clone(),
            provider: binding.provider.clone(),
            reason,
        };
        let link = self.link(&binding.provider).ok_or_else(|| changed("is missing"))?;
        if link.provider.token_endpoint.to_string() != binding.token_endpoint {
            return Err(changed("has another token_endpoint"));
        }
        if link.provider.client_id != binding.client_id {
            return Err(changed("has another client_id"));
        }
        Ok(link)
    }

    /// Puts a binding in the place of all that the account had, under whatever host name of the provider. Blocks for the
    /// disk.
    pub fn store(&self, binding: Binding) -> Result<(), BrokerError> {
        self.link_of(&binding)?;
        let account = binding.account.clone();
        binding.check().map_err(|reason| BrokerError::Unusable { account: account.clone(), reason })?;
        let _one = self.change();
        self.write_file(&account, binding.to_json())?;
        self.remove_files_but(&account, Some(&account))?;
        self.write().put(Holding::Bound(Entry::new(binding)));
        Ok(())
    }

    /// Ends a binding; what it was, unless its file is damaged. The account stays bound, to a password that nobody has, so
    /// that clients which go on with the proxy password do not show it to the server. Blocks for the disk. What the
    /// provider knows of it stays: the refresh token is opened by the password alone.
    pub fn revoke(&self, account: &Account) -> Result<Option<Binding>, BrokerError> {
        let account = account.to_string();
        let _one = self.change();
        let found = self.known(&account)?;
        if let Some(Holding::Revoked(tombstone)) = &found {
            return Err(revoked(tombstone));
        }
        let (stored, binding) = (self.stored_as(&account, found.as_ref()), bound(found));
        let provider = binding.as_ref().map(|binding| binding.provider.clone());
        let tombstone = Tombstone::new(stored.clone(), provider, self.clock.wall());
        self.write_file(&stored, tombstone.to_json())?;
        self.remove_files_but(&account, Some(&stored))?;
        self.write().put(Holding::Revoked(tombstone));
        Ok(binding)
    }

    /// Leaves nothing of an account's binding or of what revoking it left: from now on its passwords are the server's own.
    /// Blocks for the disk.
    pub fn forget(&self, account: &Account) -> Result<Option<Binding>, BrokerError> {
        let account = account.to_string();
        let _one = self.change();
        let found = self.known(&account)?;
        self.remove_files_but(&account, None)?;
        self.write().forget(&account);
        Ok(bound(found))
    }

    fn known(&self, account: &str) -> Result<Option<Holding>, BrokerError> {
        let held = self.read();
        if !held.is_bound(account) {
            return Err(BrokerError::Unknown { account: held.names().canonical(account) });
        }
        Ok(held.find(account).cloned())
    }

    fn stored_as(&self, account: &str, found: Option<&Holding>) -> String {
        found.map_or_else(|| self.read().names().canonical(account), Holding::account)
    }

    fn remove_files_but(&self, account: &str, kept: Option<&str>) -> Result<(), BrokerError> {
        let (files, kept) = {
            let held = self.read();
            (held.files(account), kept.map(|kept| held.path(kept)))
        };
        for path in files.iter().filter(|path| Some(*path) != kept.as_ref()) {
            let removed = self.disk.remove(path).and_then(|()| self.disk.sync_dir(&self.dir));
            removed.map_err(|error| disk_error(path, &error))?;
        }
        Ok(())
    }

    fn write_file(&self, account: &str, json: serde_json::Result<Vec<u8>>) -> Result<(), BrokerError> {
        let path = self.read().path(account);
        let failed = |reason: String| BrokerError::Disk { path: path.clone(), reason };
        let json = json.map_err(|error| failed(error.to_string()))?;
        write_atomic(&*self.disk, &path, &json).map_err(|error| failed(error.to_string()))
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn links(
    providers: &[Provider],
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    deadlines: Deadlines,
) -> BTreeMap<String, Arc<Link>> {
    let link = |provider: &Provider| {
        let link = Link::new(provider.clone(), Arc::clone(disk), Arc::clone(clock), deadlines);
        (provider.name.clone(), Arc::new(link))
    };
    providers.iter().map(link).collect()
}

fn bound(holding: Option<Holding>) -> Option<Binding> {
    match holding? {
        Holding::Bound(entry) => Some(entry.binding().clone()),
        Holding::Revoked(_) => None,
    }
}

fn revoked(tombstone: &Tombstone) -> BrokerError {
    BrokerError::Revoked {
        account: tombstone.account.clone(),
        provider: tombstone.provider.clone().unwrap_or_else(|| "…".into()),
    }
}

fn disk_error(path: &Path, error: &std::io::Error) -> BrokerError {
    BrokerError::Disk { path: path.into(), reason: error.to_string() }
}
