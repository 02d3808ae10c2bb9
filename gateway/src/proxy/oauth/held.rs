//! What is held of every account: its binding, its tombstone, or a file that cannot be used.
//!
//! All of it changes at once: there is no moment in which a bound account seems to be none.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::crypto::digest::sha256;
use postern_shared::disk::Disk;

use super::binding::Binding;
use super::names::{Names, literal};
use super::refresh::Entry;
use super::tombstone::Tombstone;

const FILE_BYTES_MAX: u64 = 64 * 1024;

/// All accounts with files in a directory.
#[derive(Debug)]
pub(super) struct Held {
    names: Names,
    dir: PathBuf,
    /// By what the account is called however it is written, then by what it is stored as.
    accounts: BTreeMap<(String, String), Holding>,
    /// Files that cannot be used, with the reason. Their accounts stay bound, to a password that nobody has.
    damaged: BTreeMap<PathBuf, String>,
}

/// What is held of one.
#[derive(Debug, Clone)]
pub(super) enum Holding {
    Bound(Arc<Entry>),
    Revoked(Tombstone),
}

impl Holding {
    /// What it is stored as.
    pub(super) fn account(&self) -> String {
        match self {
            Self::Bound(entry) => entry.binding().account.clone(),
            Self::Revoked(tombstone) => tombstone.account.clone(),
        }
    }
}

impl Held {
    /// Reads all files in `dir`. One that cannot be used is logged and kept.
    pub(super) fn load(disk: &dyn Disk, dir: &Path, names: Names) -> io::Result<Self> {
        let (accounts, damaged) = (BTreeMap::new(), BTreeMap::new());
        let mut held = Self { names, dir: dir.to_path_buf(), accounts, damaged };
        for path in disk.files(dir)? {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read = disk.read(&path, FILE_BYTES_MAX).map_err(|error| error.to_string());
            match read.and_then(|bytes| holding(&bytes)) {
                Ok(holding) if path == held.path(&holding.account()) => held.insert(holding),
                wrong => {
                    let reason = wrong.err().unwrap_or_else(|| "it holds another account".into());
                    tracing::error!(path = %path.display(), reason, "an OAuth binding cannot be used");
                    held.damaged.insert(path, reason);
                }
            }
        }
        Ok(held)
    }

    /// Whether anything is held of it, usable or not.
    pub(super) fn is_bound(&self, account: &str) -> bool {
        self.find(account).is_some() || self.spelled(account).any(|path| self.damaged.contains_key(&path))
    }

    /// What is held of an account, as it is written before anything else; bindings before tombstones.
    pub(super) fn find(&self, account: &str) -> Option<&Holding> {
        let as_written = self.accounts.get(&(self.names.canonical(account), literal(account)));
        let mut bound = as_written.into_iter().chain(self.all(account));
        bound.find(|one| matches!(one, Holding::Bound(_))).or_else(|| self.all(account).next())
    }

    /// Its binding.
    pub(super) fn bound(&self, account: &str) -> Option<&Arc<Entry>> {
        match self.find(account)? {
            Holding::Bound(entry) => Some(entry),
            Holding::Revoked(_) => None,
        }
    }

    /// All bindings.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.accounts.values().filter_map(|one| match one {
            Holding::Bound(entry) => Some(entry),
            Holding::Revoked(_) => None,
        })
    }

    /// All tombstones.
    pub(super) fn tombstones(&self) -> impl Iterator<Item = &Tombstone> {
        self.accounts.values().filter_map(|one| match one {
            Holding::Bound(_) => None,
            Holding::Revoked(tombstone) => Some(tombstone),
        })
    }

    /// Files that cannot be used, with the reason.
    pub(super) fn damaged(&self) -> &BTreeMap<PathBuf, String> {
        &self.damaged
    }

    /// From now on accounts are called by these names.
    pub(super) fn rename(&mut self, names: Names) {
        self.names = names;
        let all: Vec<Holding> = std::mem::take(&mut self.accounts).into_values().collect();
        all.into_iter().for_each(|holding| self.insert(holding));
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The account's files.
    pub(super) fn files(&self, account: &str) -> Vec<PathBuf> {
        let unusable = self.spelled(account).filter(|path| self.damaged.contains_key(path));
        let mut files: Vec<_> = self.all(account).map(|one| self.path(&one.account())).collect();
        files.extend(unusable);
        files.sort();
        files.dedup();
        files
    }

    /// Puts this in the place of all that is held of its account.
    pub(super) fn put(&mut self, holding: Holding) {
        self.forget(&holding.account());
        self.insert(holding);
    }

    /// Holds nothing of the account any more.
    pub(super) fn forget(&mut self, account: &str) {
        let canonical = self.names.canonical(account);
        for path in self.spelled(account).collect::<Vec<_>>() {
            self.damaged.remove(&path);
        }
        self.accounts.retain(|(name, _), holding| {
            if let Holding::Bound(entry) = holding
                && *name == canonical
            {
                entry.retire();
            }
            *name != canonical
        });
    }

    /// `<first 32 digits of SHA-256(account)>.json`: an account may hold what no file name can.
    pub(super) fn path(&self, account: &str) -> PathBuf {
        let digest = sha256(account.as_bytes()).to_string();
        self.dir.join(format!("{}.json", &digest[..32]))
    }

    fn insert(&mut self, holding: Holding) {
        let account = holding.account();
        self.accounts.insert((self.names.canonical(&account), account), holding);
    }

    fn all(&self, account: &str) -> impl Iterator<Item = &Holding> {
        let canonical = self.names.canonical(account);
        let from = (canonical.clone(), String::new());
        self.accounts.range(from..).take_while(move |((name, _), _)| *name == canonical).map(|(_, one)| one)
    }

    /// Where its files may be.
    fn spelled(&self, account: &str) -> impl Iterator<Item = PathBuf> {
        self.names.spellings(account).into_iter().map(|spelling| self.path(&spelling))
    }
}

/// Reads a file; the error says what is wrong with it.
fn holding(bytes: &[u8]) -> Result<Holding, String> {
    match Tombstone::from_json(bytes) {
        Some(tombstone) => Ok(Holding::Revoked(tombstone)),
        None => Binding::from_json(bytes).map(|binding| Holding::Bound(Entry::new(binding))),
    }
}
