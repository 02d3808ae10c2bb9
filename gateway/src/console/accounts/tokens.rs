//! Bearer tokens for scripts: `postern_` and 64 hexadecimal digits. `tokens.json`, version 1, keeps the SHA-256 of each,
//! which for 256 random bits is as good as any slow hash.
//!
//! A token may do what its scopes say, and never more than the administrator who made it; it ends with that one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::crypto::random;
use postern_shared::disk::{Disk, write_atomic};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AccountError;

const VERSION: u32 = 1;
const PREFIX: &str = "postern_";
const TOKENS_MAX: usize = 1000;
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a token is for. Each scope includes `read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reads.
    Read,
    /// Creates, changes and deletes mailboxes.
    Mailboxes,
    /// Changes settings and restarts.
    Settings,
    /// Manages administrators and tokens, and reads the audit log.
    Admin,
}

/// What is stored of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    id: String,
    name: String,
    owner: String,
    scopes: Vec<Scope>,
    hash: Digest,
    created: UnixMillis,
    expires: Option<UnixMillis>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    tokens: Vec<Record>,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What to call it.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// When it ends.
    pub expires: Option<UnixMillis>,
}

/// What is shown of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownToken {
    /// Tells it from others.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: UnixMillis,
    /// When it ends.
    pub expires: Option<UnixMillis>,
    /// When it was last used, as far as this run of the gateway knows.
    pub last_used: Option<UnixMillis>,
}

/// All tokens. What changes them blocks for the disk.
#[derive(Debug)]
pub struct Tokens {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    kept: RwLock<Result<Vec<Record>, String>>,
    used: Mutex<HashMap<String, UnixMillis>>,
    changes: Mutex<()>,
}

impl Tokens {
    /// Reads what is in `dir`. A file that cannot be read is logged, and no token is good.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, dir: &Path) -> Self {
        let path = dir.join("tokens.json");
        let read = || -> Result<Vec<Record>, String> {
            if !disk.exists(&path).map_err(|error| error.to_string())? {
                return Ok(Vec::new());
            }
            let bytes = disk.read(&path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
            let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            match stored.version {
                VERSION => Ok(stored.tokens),
                other => Err(format!("version {other} is not known to this program")),
            }
        };
        let kept = read().inspect_err(|reason| {
            tracing::error!(path = %path.display(), reason, "no bearer token is accepted");
        });
        Self {
            disk,
            clock,
            dir: dir.to_path_buf(),
            kept: RwLock::new(kept),
            used: Mutex::default(),
            changes: Mutex::default(),
        }
    }

    /// Makes a token, shown once.
    pub fn create(&self, new: NewToken) -> Result<(ShownToken, SecretString), AccountError> {
        let _one = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = self.records()?;
        if records.len() >= TOKENS_MAX {
            return Err(AccountError::TooMany(records.len()));
        }
        let text = format!("{PREFIX}{}", hex::encode(random::<32>()));
        let record = Record {
            id: hex::encode(random::<8>()),
            name: new.name,
            owner: new.owner,
            scopes: new.scopes,
            hash: sha256(text.as_bytes()),
            created: self.clock.wall(),
            expires: new.expires,
        };
        let shown = self.shown(&record);
        records.push(record);
        self.store(records)?;
        Ok((shown, SecretString::from(text)))
    }

    /// The token of this text, when it is good now. Counts as its use.
    pub fn find(&self, text: &str) -> Option<ShownToken> {
        if !text.starts_with(PREFIX) || text.len() != PREFIX.len() + 64 {
            return None;
        }
        // What is looked up is a hash, so the time a comparison takes tells nothing about the token.
        let (hash, now) = (sha256(text.as_bytes()), self.clock.wall());
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let found = kept.as_ref().ok()?.iter().find(|record| record.hash == hash)?;
        if found.expires.is_some_and(|expires| expires <= now) {
            return None;
        }
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(found.id.clone(), now);
        Some(self.shown(found))
    }

    /// All tokens, oldest first.
    pub fn list(&self) -> Result<Vec<ShownToken>, AccountError> {
        Ok(self.records()?.iter().map(|record| self.shown(record)).collect())
    }

    /// Removes the tokens that `which` is true of; those that were there.
    pub fn remove(&self, which: impl Fn(&ShownToken) -> bool) -> Result<Vec<ShownToken>, AccountError> {
        let _one = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let (gone, stay): (Vec<_>, Vec<_>) =
            self.records()?.into_iter().partition(|record| which(&self.shown(record)));
        if !gone.is_empty() {
            self.store(stay)?;
        }
        Ok(gone.iter().map(|record| self.shown(record)).collect())
    }

    fn shown(&self, record: &Record) -> ShownToken {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        ShownToken {
            id: record.id.clone(),
            name: record.name.clone(),
            owner: record.owner.clone(),
            scopes: record.scopes.clone(),
            created: record.created,
            expires: record.expires,
            last_used: used.get(&record.id).copied(),
        }
    }

    fn records(&self) -> Result<Vec<Record>, AccountError> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.clone().map_err(|reason| AccountError::Damaged { path: self.path(), reason })
    }

    fn store(&self, tokens: Vec<Record>) -> Result<(), AccountError> {
        let stored = self.disk.create_dir_all(&self.dir).and_then(|()| {
            let json = serde_json::to_vec_pretty(&Stored { version: VERSION, tokens: tokens.clone() })?;
            write_atomic(&*self.disk, &self.path(), &json)
        });
        stored.map_err(|source| AccountError::Io { path: self.path(), source })?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Ok(tokens);
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.join("tokens.json")
    }
}
