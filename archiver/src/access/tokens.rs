//! Bearer tokens: `postern_` and 64 hexadecimal digits. `tokens.json`, version 1, keeps the SHA-256 of each, which for 256
//! random bits is as good as any slow hash.
//!
//! A token may do what its scopes say; one that is bound to an instance only there; one that stands for a user, what that user
//! may do besides.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::crypto::{equal_constant_time, random};
use postern_shared::disk::{Disk, write_atomic};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;
const PREFIX: &str = "postern_";
const TOKENS_MAX: usize = 1000;
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const NAME_CHARS_MAX: usize = 100;
/// Ten years.
const DAYS_MAX: u32 = 3660;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Sees how things stand: instances, stores, users, profiles. No mail.
    Read,
    /// Searches and reads mail.
    Mail,
    /// Changes users, profiles and stores, runs profiles, verifies and repairs. Includes `read`.
    Manage,
    /// Reads audit logs.
    Audit,
    /// Creates, starts, stops and deletes instances, names directories of the machine (backup, restore), manages tokens. Includes
    /// all but `mail`.
    Admin,
}

impl Scope {
    /// Whether who has this has that.
    pub fn includes(self, other: Self) -> bool {
        self == other
            || match self {
                Self::Admin => other != Self::Mail,
                Self::Manage => other == Self::Read,
                Self::Read | Self::Mail | Self::Audit => false,
            }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "mail" => Ok(Self::Mail),
            "manage" => Ok(Self::Manage),
            "audit" => Ok(Self::Audit),
            "admin" => Ok(Self::Admin),
            _ => Err(format!("{text:?} is no scope: use read, mail, manage, audit or admin")),
        }
    }
}

/// Why a token cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// What was asked for is not to be had.
    #[error("{0}")]
    Bad(String),
    /// There is none of that id.
    #[error("there is no token {0:?}; `token list` shows all")]
    Unknown(String),
    /// There are too many.
    #[error("there are {0} tokens, and no more can be made; revoke some")]
    TooMany(usize),
    /// The file holds something else.
    #[error("{path} cannot be used, so no token is accepted: {reason}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What is stored of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    id: String,
    name: String,
    scopes: Vec<Scope>,
    instance: Option<String>,
    /// Another instance that comes under that id later was created later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance_created: Option<UnixMillis>,
    user: Option<String>,
    hash: Digest,
    created: UnixMillis,
    expires: Option<UnixMillis>,
    /// The id of the token that it was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    tokens: Vec<Record>,
}

/// A token to be made.
#[derive(Debug, Clone, Default)]
pub struct NewToken {
    /// What to call it.
    pub name: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// The one instance that it reaches.
    pub instance: Option<String>,
    /// When that was created.
    pub instance_created: Option<UnixMillis>,
    /// The user of that instance for whom it stands.
    pub user: Option<String>,
    /// When it ends.
    pub expires_in_days: Option<u32>,
    /// The token that it is made with, after which it does not last.
    pub made_by: Option<ShownToken>,
}

/// What is shown of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it; see NewToken")]
pub struct ShownToken {
    pub id: String,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub instance: Option<String>,
    #[serde(skip)]
    pub instance_created: Option<UnixMillis>,
    pub user: Option<String>,
    pub created_at: u64,
    pub expires_at: Option<u64>,
    /// The token that it was made with; nothing for those of the command line.
    pub made_by: Option<String>,
    /// As far as this run of the archiver knows.
    pub last_used_at: Option<u64>,
}

/// All tokens. What changes them blocks for the disk.
#[derive(Debug)]
pub struct Tokens {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    path: PathBuf,
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
        let (used, changes) = (Mutex::default(), Mutex::default());
        Self { disk, clock, path, kept: RwLock::new(kept), used, changes }
    }

    /// Makes a token, shown once.
    pub fn create(&self, new: NewToken) -> Result<(ShownToken, SecretString), TokenError> {
        let new = checked(new)?;
        let _one = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = self.records()?;
        if records.len() >= TOKENS_MAX {
            return Err(TokenError::TooMany(records.len()));
        }
        let text = format!("{PREFIX}{}", hex::encode(random::<32>()));
        let now = self.clock.wall();
        let lasting = new.expires_in_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        let maker_ends = new.made_by.as_ref().and_then(|maker| maker.expires_at).map(UnixMillis);
        let ends = [lasting.map(|lasting| now.plus(lasting)), maker_ends];
        let record = Record {
            id: hex::encode(random::<8>()),
            name: new.name,
            scopes: new.scopes,
            instance: new.instance,
            instance_created: new.instance_created,
            user: new.user,
            hash: sha256(text.as_bytes()),
            created: now,
            expires: ends.into_iter().flatten().min(),
            made_by: new.made_by.map(|maker| maker.id),
        };
        let shown = self.shown(&record);
        records.push(record);
        self.store(records)?;
        Ok((shown, SecretString::from(text)))
    }

    /// The token of this text, when it is good now. Counts as its use. Takes the same time for all.
    pub fn find(&self, text: &str) -> Option<ShownToken> {
        let (hash, now) = (sha256(text.as_bytes()), self.clock.wall());
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for record in kept.as_ref().ok()? {
            if equal_constant_time(&record.hash.0, &hash.0) {
                found = Some(record);
            }
        }
        let found = found.filter(|record| record.expires.is_none_or(|expires| now < expires))?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(found.id.clone(), now);
        Some(self.shown(found))
    }

    /// All tokens, oldest first.
    pub fn list(&self) -> Result<Vec<ShownToken>, TokenError> {
        Ok(self.records()?.iter().map(|record| self.shown(record)).collect())
    }

    /// Ends a token at once. With it come the ids of those that were made with it, which go on.
    pub fn revoke(&self, id: &str) -> Result<(ShownToken, Vec<String>), TokenError> {
        let _one = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let (gone, stay): (Vec<_>, Vec<_>) = self.records()?.into_iter().partition(|record| record.id == id);
        let gone = gone.first().ok_or_else(|| TokenError::Unknown(id.chars().take(64).collect()))?;
        let made = stay.iter().filter(|record| record.made_by.as_deref() == Some(id));
        let made = made.map(|record| record.id.clone()).collect();
        self.store(stay)?;
        Ok((self.shown(gone), made))
    }

    /// Ends the tokens that are bound to an instance, or stand for a user there: whoever comes under that name later is another
    /// one.
    pub fn revoke_of(&self, instance: &str, user: Option<&str>) -> Result<usize, TokenError> {
        let _one = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of = |record: &Record| {
            record.instance.as_deref() == Some(instance)
                && user.is_none_or(|user| record.user.as_deref() == Some(user))
        };
        let (gone, stay): (Vec<_>, Vec<_>) = self.records()?.into_iter().partition(is_of);
        if !gone.is_empty() {
            self.store(stay)?;
        }
        Ok(gone.len())
    }

    fn shown(&self, record: &Record) -> ShownToken {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        ShownToken {
            id: record.id.clone(),
            name: record.name.clone(),
            scopes: record.scopes.clone(),
            instance: record.instance.clone(),
            instance_created: record.instance_created,
            user: record.user.clone(),
            created_at: record.created.0,
            expires_at: record.expires.map(|at| at.0),
            made_by: record.made_by.clone(),
            last_used_at: used.get(&record.id).map(|at| at.0),
        }
    }

    fn records(&self) -> Result<Vec<Record>, TokenError> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.clone().map_err(|reason| TokenError::Damaged { path: self.path.clone(), reason })
    }

    fn store(&self, tokens: Vec<Record>) -> Result<(), TokenError> {
        let json = serde_json::to_vec_pretty(&Stored { version: VERSION, tokens: tokens.clone() });
        let stored =
            json.map_err(std::io::Error::from).and_then(|json| write_atomic(&*self.disk, &self.path, &json));
        stored.map_err(|source| TokenError::Io { path: self.path.clone(), source })?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Ok(tokens);
        Ok(())
    }
}

fn checked(mut new: NewToken) -> Result<NewToken, TokenError> {
    let bad = |text: &str| Err(TokenError::Bad(text.into()));
    new.name = new.name.trim().to_owned();
    if new.name.is_empty()
        || new.name.chars().count() > NAME_CHARS_MAX
        || new.name.chars().any(char::is_control)
    {
        return bad("a token's name has 1 to 100 characters");
    }
    new.scopes.sort_unstable();
    new.scopes.dedup();
    if new.scopes.is_empty() {
        return bad("a token has at least one scope: read, mail, manage, audit or admin");
    }
    if new.expires_in_days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
        return bad("a token ends after 1 to 3660 days, or not by itself");
    }
    if new.user.is_some() && new.instance.is_none() {
        return bad("a token that stands for a user is bound to the user's instance: name that too");
    }
    if new.instance.is_some() && new.scopes.contains(&Scope::Admin) {
        return bad(
            "a token of one instance cannot have the scope admin, which is about all of them; use manage",
        );
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::ManualClock;
    use postern_shared::disk::RealDisk;
    use secrecy::ExposeSecret;

    use super::*;

    fn open(dir: &Path, clock: &Arc<ManualClock>) -> Tokens {
        Tokens::open(Arc::new(RealDisk), Arc::clone(clock) as Arc<dyn Clock>, dir)
    }

    fn new(scopes: &[Scope]) -> NewToken {
        NewToken { name: "t".into(), scopes: scopes.to_vec(), ..NewToken::default() }
    }

    /// Goal: a token is good until it ends, is revoked, or its instance is gone; and the file has none of its text.
    #[test]
    fn a_token_is_good_until_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
        let tokens = open(dir.path(), &clock);
        let (_, forever) = tokens.create(new(&[Scope::Read])).unwrap();
        let (short, text) =
            tokens.create(NewToken { expires_in_days: Some(1), ..new(&[Scope::Admin]) }).unwrap();
        let bound = NewToken { instance: Some("main".into()), ..new(&[Scope::Mail]) };
        let (_, bound) = tokens.create(bound).unwrap();
        let found = |text: &SecretString| open(dir.path(), &clock).find(text.expose_secret());
        assert_eq!(found(&text).map(|found| found.id), Some(short.id.clone()));
        let file = RealDisk.read(&dir.path().join("tokens.json"), 100_000).unwrap();
        let file = String::from_utf8(file).unwrap();
        for secret in [&forever, &text, &bound] {
            assert!(!file.contains(&secret.expose_secret()[PREFIX.len()..]));
        }
        clock.advance(Duration::from_secs(86_400));
        assert_eq!(found(&text), None);
        // What is made with a token does not outlast it, and is named when it is revoked.
        let (made, _) =
            tokens.create(NewToken { made_by: Some(short.clone()), ..new(&[Scope::Read]) }).unwrap();
        assert_eq!((made.expires_at, made.made_by.as_ref()), (short.expires_at, Some(&short.id)));
        assert_eq!(tokens.revoke(&short.id).unwrap().1, [made.id]);
        assert!(tokens.revoke(&short.id).is_err());
        assert_eq!(tokens.revoke_of("main", None).unwrap(), 1);
        assert_eq!(found(&bound), None);
        assert!(found(&forever).is_some());
        assert_eq!(tokens.find(&forever.expose_secret().to_uppercase()), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = open(dir.path(), &Arc::default());
        let wrong = [
            NewToken { name: " ".into(), ..new(&[Scope::Read]) },
            new(&[]),
            NewToken { expires_in_days: Some(0), ..new(&[Scope::Read]) },
            NewToken { user: Some("anna".into()), ..new(&[Scope::Mail]) },
            NewToken { instance: Some("main".into()), ..new(&[Scope::Admin]) },
        ];
        for wrong in wrong {
            assert!(tokens.create(wrong).is_err());
        }
        assert!(Scope::Admin.includes(Scope::Audit) && !Scope::Admin.includes(Scope::Mail));
        assert!(!Scope::Mail.includes(Scope::Read) && !Scope::Audit.includes(Scope::Read));
    }

    /// Goal: a file that is damaged makes no token good, and is not written over.
    #[test]
    fn a_damaged_file_closes_the_door() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::default();
        let (_, text) = open(dir.path(), &clock).create(new(&[Scope::Read])).unwrap();
        write_atomic(&RealDisk, &dir.path().join("tokens.json"), b"{}").unwrap();
        let tokens = open(dir.path(), &clock);
        assert_eq!(tokens.find(text.expose_secret()), None);
        assert!(tokens.create(new(&[Scope::Read])).unwrap_err().to_string().contains("tokens.json"));
    }
}
