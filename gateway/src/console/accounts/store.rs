//! All administrators, in memory and on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::password::{Argon2Cost, BadCost, generate};
use postern_shared::disk::{Disk, write_atomic};
use secrecy::{ExposeSecret, SecretString};

use super::factors::{self, FactorError, Proof, Used};
use super::password::{BadPassword, StoredPassword, acceptable};
use super::record::{self, Record};
use super::setup_code::SetupCode;
use super::totp::Secret;
use super::{Account, AccountError, Place, Role, key};

/// Who signs in first.
const FIRST_NAME: &str = "admin";
const FIRST_PASSWORD: &str = "admin";
const ADMINISTRATORS_MAX: usize = 1000;
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// An administrator and the password to show once.
pub type Signed = (Account, SecretString);

/// All administrators of a gateway. What it does blocks for the disk, and where passwords are made or checked for
/// Argon2id.
#[derive(Debug)]
pub struct Administrators {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    cost: Argon2Cost,
    kept: RwLock<Kept>,
    /// One change at a time.
    changes: Mutex<()>,
    /// The step of each one's last one-time password, also where the disk did not take it.
    steps: Mutex<HashMap<String, u64>>,
    setup_code: SetupCode,
}

#[derive(Debug)]
enum Kept {
    /// Nobody has signed in yet.
    First,
    Records(Vec<Record>),
    Damaged(String),
}

impl Administrators {
    /// Reads what is in `dir`. A file that cannot be read is logged, and lets nobody in.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, dir: &Path, cost: Argon2Cost) -> Self {
        let path = file(dir);
        let read = || -> Result<Kept, String> {
            if !disk.exists(&path).map_err(|error| error.to_string())? {
                return Ok(Kept::First);
            }
            let bytes = disk.read(&path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
            record::from_json(&bytes).map(Kept::Records)
        };
        let kept = read().unwrap_or_else(|reason| {
            tracing::error!(path = %path.display(), reason, "nobody can sign in at the console");
            Kept::Damaged(reason)
        });
        let (dir, kept) = (dir.to_path_buf(), RwLock::new(kept));
        let (changes, steps, setup_code) = (Mutex::default(), Mutex::default(), SetupCode::generate());
        Self { disk, clock, dir, cost, kept, changes, steps, setup_code }
    }

    /// Whether nobody has signed in yet.
    pub fn is_first(&self) -> bool {
        matches!(*self.read_lock(), Kept::First)
    }

    /// What the first sign-in from another machine takes, until it has been done.
    pub fn setup_code(&self) -> Result<SecretString, AccountError> {
        if self.is_first() {
            return Ok(self.setup_code.shown());
        }
        Err(AccountError::NotFirst)
    }

    /// Takes the first password, once, and puts a random one in its place; `None` when this was not it.
    pub fn first_sign_in(
        &self,
        name: &str,
        password: &SecretString,
        place: Place<'_>,
    ) -> Result<Option<Signed>, AccountError> {
        let _one = self.change();
        if !self.is_first() {
            self.records()?;
            return Err(AccountError::NotFirst);
        }
        if !self.setup_code.admits(place) {
            return Err(AccountError::SetupCode);
        }
        if !name.eq_ignore_ascii_case(FIRST_NAME) || password.expose_secret() != FIRST_PASSWORD {
            return Ok(None);
        }
        self.add(Vec::new(), FIRST_NAME, Role::Administrator, false).map(Some)
    }

    /// Who has this name and password. Costs the same whoever asks.
    pub fn check_password(&self, name: &str, password: &SecretString) -> Option<Account> {
        let found = self.records().ok().and_then(|records| find(&records, name).ok().cloned());
        let Some(record) = found else {
            StoredPassword::is_nobodys(password, self.cost);
            return None;
        };
        record.password.is(password).then(|| record.account())
    }

    /// Whether somebody is who he says, by a second factor; what served once is used up.
    pub fn check_factor(&self, name: &str, proof: &Proof) -> Result<Account, AccountError> {
        let _one = self.change();
        let mut records = self.records()?;
        let record = find_mut(&mut records, name)?;
        let key = self.key()?;
        let last = self.steps().get(&record.name).copied().max(record.totp_step).unwrap_or(0);
        match factors::check(record, &key, proof, last, self.clock.wall())? {
            Used::Step(step) => {
                self.steps().insert(record.name.clone(), step);
                record.totp_step = Some(step);
                let account = record.account();
                // For after a restart. Without room on the disk somebody must still be able to come and look.
                if let Err(error) = self.store(records) {
                    tracing::warn!(%error, "that a one-time password was used is forgotten at the next restart");
                }
                Ok(account)
            }
            Used::RecoveryCode(at) => {
                record.recovery_codes.remove(at);
                let account = record.account();
                self.store(records)?;
                Ok(account)
            }
            Used::Passkey(at, count) => {
                record.passkeys[at].count_from(count, self.now());
                let account = record.account();
                self.store(records)?;
                Ok(account)
            }
        }
    }

    /// One administrator.
    pub fn account(&self, name: &str) -> Option<Account> {
        self.with(|records| find(records, name).ok().map(Record::account)).ok().flatten()
    }

    /// All administrators, by name.
    pub fn list(&self) -> Result<Vec<Account>, AccountError> {
        self.with(|records| records.iter().map(Record::account).collect())
    }

    /// Makes an administrator; the password is returned here and kept nowhere.
    pub fn create(&self, name: &str, role: Role) -> Result<Signed, AccountError> {
        let name = checked_name(name)?;
        let _one = self.change();
        let records = self.records()?;
        if find(&records, &name).is_ok() {
            return Err(AccountError::Taken(name));
        }
        if records.len() >= ADMINISTRATORS_MAX {
            return Err(AccountError::TooMany(records.len()));
        }
        self.add(records, &name, role, true)
    }

    /// Gives another role.
    pub fn set_role(&self, name: &str, role: Role) -> Result<Account, AccountError> {
        self.edit(name, |record| {
            record.role = role;
            record.renew();
            Ok(record.account())
        })
    }

    /// Removes an administrator.
    pub fn remove(&self, name: &str) -> Result<Account, AccountError> {
        let _one = self.change();
        let mut records = self.records()?;
        let removed = find(&records, name)?.account();
        records.retain(|record| record.name != removed.name);
        self.store(records)?;
        Ok(removed)
    }

    /// Gives a new random password, for who lost it; takes away the second factors on request. For `admin` this also
    /// does what the first sign-in does.
    pub fn reset_password(&self, name: &str, clear_factors: bool) -> Result<Signed, AccountError> {
        if name == FIRST_NAME {
            let _one = self.change();
            // Asked with the change in hand: who signed in first a moment ago, and whoever came since, stays.
            if self.is_first() {
                return self.add(Vec::new(), FIRST_NAME, Role::Administrator, true);
            }
        }
        let password = generate();
        let stored = self.stored(&password, true)?;
        let account = self.edit(name, |record| {
            record.password = stored;
            if clear_factors {
                record.forget_factors();
            }
            record.renew();
            Ok(record.account())
        })?;
        Ok((account, password))
    }

    /// Gives the password that somebody has chosen, who knows the present one.
    pub fn change_password(
        &self,
        name: &str,
        current: &SecretString,
        chosen: &SecretString,
    ) -> Result<Account, AccountError> {
        if self.check_password(name, current).is_none() {
            return Err(AccountError::WrongPassword);
        }
        acceptable(name, chosen)?;
        if current.expose_secret() == chosen.expose_secret() {
            return Err(BadPassword::Same.into());
        }
        let stored = self.stored(chosen, false)?;
        self.edit(name, |record| {
            record.password = stored;
            record.renew();
            Ok(record.account())
        })
    }

    /// Sets up one-time passwords, once `code` shows that the device has the secret; the recovery codes to show once.
    pub fn set_totp(
        &self,
        name: &str,
        secret: &Secret,
        code: &str,
    ) -> Result<(Account, Vec<SecretString>), AccountError> {
        let now = self.clock.wall();
        let step = secret.step_of(code, now, 0).ok_or(FactorError::WrongCode)?;
        let key = self.key()?;
        let (codes, hashes) = factors::recovery_codes();
        self.edit(name, |record| {
            record.totp = Some(factors::seal(&key, &record.name, secret));
            record.recovery_codes = hashes;
            self.steps().insert(record.name.clone(), step);
            record.totp_step = Some(step);
            record.renew();
            Ok((record.account(), codes))
        })
    }

    /// New recovery codes in place of the old ones, to show once.
    pub fn renew_recovery_codes(&self, name: &str) -> Result<Vec<SecretString>, AccountError> {
        let (codes, hashes) = factors::recovery_codes();
        self.edit(name, |record| {
            if !record.has_factor() {
                return Err(FactorError::None.into());
            }
            record.recovery_codes = hashes;
            Ok(codes)
        })
    }

    /// Takes away one-time passwords; recovery codes go with the last second factor.
    pub fn remove_totp(&self, name: &str) -> Result<Account, AccountError> {
        self.edit(name, |record| {
            record.totp = None;
            record.forget_useless_codes();
            record.renew();
            Ok(record.account())
        })
    }

    fn add(
        &self,
        mut records: Vec<Record>,
        name: &str,
        role: Role,
        given: bool,
    ) -> Result<Signed, AccountError> {
        let password = generate();
        let record = Record::new(name, role, self.stored(&password, given)?, self.clock.wall());
        let account = record.account();
        records.push(record);
        records.sort_by(|a, b| a.name.cmp(&b.name));
        self.store(records)?;
        Ok((account, password))
    }

    pub(super) fn edit<R>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Record) -> Result<R, AccountError>,
    ) -> Result<R, AccountError> {
        self.edit_knowing(name, |_| (), |record, ()| change(record))
    }

    /// Changes one record, knowing something of all.
    pub(super) fn edit_knowing<K, R>(
        &self,
        name: &str,
        look: impl FnOnce(&[Record]) -> K,
        change: impl FnOnce(&mut Record, K) -> Result<R, AccountError>,
    ) -> Result<R, AccountError> {
        let _one = self.change();
        let mut records = self.records()?;
        let known = look(&records);
        let result = change(find_mut(&mut records, name)?, known)?;
        self.store(records)?;
        Ok(result)
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.clock.wall()
    }

    /// Replaces all records, unless nobody would be left who may do everything.
    fn store(&self, records: Vec<Record>) -> Result<(), AccountError> {
        if !records.iter().any(|record| record.role == Role::Administrator) {
            let last = self.with(|old| {
                old.iter().find(|record| record.role == Role::Administrator).map(|record| record.name.clone())
            })?;
            return Err(AccountError::LastAdministrator(last.unwrap_or_default()));
        }
        let path = file(&self.dir);
        let stored = self.disk.create_dir_all(&self.dir).and_then(|()| {
            let json = record::to_json(&records).map_err(std::io::Error::from)?;
            write_atomic(&*self.disk, &path, &json)
        });
        stored.map_err(|source| AccountError::Io { path, source })?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Kept::Records(records);
        Ok(())
    }

    fn stored(&self, password: &SecretString, given: bool) -> Result<StoredPassword, AccountError> {
        StoredPassword::of(password, self.cost, self.clock.wall(), given)
            .map_err(|error: BadCost| self.io(error))
    }

    fn key(&self) -> Result<AeadKey, AccountError> {
        let made = self.disk.create_dir_all(&self.dir);
        made.and_then(|()| key::sealing_key(&*self.disk, &self.dir)).map_err(|error| self.io(error))
    }

    fn io(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AccountError {
        AccountError::Io { path: self.dir.clone(), source: std::io::Error::other(error) }
    }

    pub(super) fn with<R>(&self, read: impl FnOnce(&[Record]) -> R) -> Result<R, AccountError> {
        match &*self.read_lock() {
            Kept::First => Ok(read(&[])),
            Kept::Records(records) => Ok(read(records)),
            Kept::Damaged(reason) => {
                Err(AccountError::Damaged { path: file(&self.dir), reason: reason.clone() })
            }
        }
    }

    fn records(&self) -> Result<Vec<Record>, AccountError> {
        self.with(<[Record]>::to_vec)
    }

    fn read_lock(&self) -> std::sync::RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn steps(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("administrators.json")
}

pub(super) fn find<'r>(records: &'r [Record], name: &str) -> Result<&'r Record, AccountError> {
    let found = records.iter().find(|record| record.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| AccountError::Unknown(name.chars().take(64).collect()))
}

fn find_mut<'r>(records: &'r mut [Record], name: &str) -> Result<&'r mut Record, AccountError> {
    let found = records.iter_mut().find(|record| record.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| AccountError::Unknown(name.chars().take(64).collect()))
}

fn checked_name(name: &str) -> Result<String, AccountError> {
    let name = name.trim().to_ascii_lowercase();
    let good = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-@".contains(&byte))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if good { Ok(name) } else { Err(AccountError::BadName(name.chars().take(64).collect())) }
}
