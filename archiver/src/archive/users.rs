//! Users, the e-mail addresses whose mail is theirs, and what they may do. `users.json`, replaced atomically.
//!
//! A user who is deleted takes nothing along: the archive of that name stays, and whoever is added under the same id has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use postern_shared::disk::{Disk, write_atomic};
use serde::{Deserialize, Serialize};

use super::{ArchiveError, QUARANTINE, UNASSIGNED, check_id};

const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Also the name of their archive.
    pub id: String,
    /// Lower case; each belongs to one user.
    pub emails: Vec<String>,
    /// What they may do.
    #[serde(default = "Privilege::usual")]
    pub privileges: BTreeSet<Privilege>,
    /// Archives of others that they may read, also `unassigned` and `quarantine`.
    #[serde(default)]
    pub reads: BTreeSet<String>,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privilege {
    /// Read their own archive.
    ReadOwn,
    /// Search in what they may read.
    Search,
    /// Take what they may read out of the archive.
    Export,
    /// Read the audit log, and the journal reports that messages came in.
    Auditor,
    /// Manage this instance: users, profiles, stores. Gives no right to read mail.
    Admin,
}

impl Privilege {
    /// What a user may do unless something else is said.
    pub fn usual() -> BTreeSet<Self> {
        BTreeSet::from([Self::ReadOwn, Self::Search])
    }
}

impl std::str::FromStr for Privilege {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read-own" => Ok(Self::ReadOwn),
            "search" => Ok(Self::Search),
            "export" => Ok(Self::Export),
            "auditor" => Ok(Self::Auditor),
            "admin" => Ok(Self::Admin),
            _ => Err(format!("{text:?} is no privilege: use read-own, search, export, auditor or admin")),
        }
    }
}

impl User {
    /// A user who may do what is usual.
    pub fn new(id: &str, emails: &[String]) -> Self {
        Self {
            id: id.into(),
            emails: emails.to_vec(),
            privileges: Privilege::usual(),
            reads: BTreeSet::new(),
        }
    }

    /// Whether they may do that.
    pub fn may(&self, privilege: Privilege) -> bool {
        self.privileges.contains(&privilege)
    }

    /// The archives they may read.
    pub fn archives(&self) -> BTreeSet<String> {
        let own = self.may(Privilege::ReadOwn).then(|| self.id.clone());
        self.reads.iter().cloned().chain(own).collect()
    }
}

/// What is to be changed of a user; what is `None` or empty stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct UserChange {
    pub emails: Option<Vec<String>>,
    pub add_emails: Vec<String>,
    pub remove_emails: Vec<String>,
    pub privileges: Option<BTreeSet<Privilege>>,
    pub reads: Option<BTreeSet<String>>,
}

/// Why a user cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The id is taken.
    #[error("there is a user {0:?} already")]
    Exists(String),
    /// The id means something else.
    #[error("{0:?} is the name of an archive without user")]
    Reserved(String),
    /// There is none of that id.
    #[error("there is no user {0:?}; `user list` shows all")]
    Unknown(String),
    /// The address is another user's.
    #[error("{address} belongs to user {user:?}")]
    AddressTaken {
        /// The address.
        address: String,
        /// Whose it is.
        user: String,
    },
    /// Not an address.
    #[error("{0:?} is no e-mail address")]
    BadAddress(String),
}

#[derive(Debug)]
pub(super) struct Users {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    known: RwLock<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    users: BTreeMap<String, User>,
    by_address: BTreeMap<String, String>,
}

impl Users {
    pub(super) fn open(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self, ArchiveError> {
        let mut known = Known::default();
        if disk.exists(&path).map_err(ArchiveError::file(&path))? {
            let bytes = disk.read(&path, FILE_BYTES_MAX).map_err(ArchiveError::file(&path))?;
            let users: Vec<User> = serde_json::from_slice(&bytes)
                .map_err(|error| ArchiveError::File { path: path.clone(), reason: error.to_string() })?;
            users.into_iter().for_each(|user| known.enter(user));
        }
        Ok(Self { disk, path, known: RwLock::new(known) })
    }

    pub(super) fn add(&self, user: User) -> Result<User, ArchiveError> {
        check_id(&user.id)?;
        if user.id == UNASSIGNED || user.id == QUARANTINE {
            return Err(UserError::Reserved(user.id).into());
        }
        self.change(|known| {
            if known.users.contains_key(&user.id) {
                return Err(UserError::Exists(user.id).into());
            }
            known.checked(user)
        })
    }

    pub(super) fn edit(&self, id: &str, change: UserChange) -> Result<User, ArchiveError> {
        self.change(|known| {
            let mut user = known.leave(id)?;
            if let Some(emails) = change.emails {
                user.emails = emails;
            }
            user.emails.extend(change.add_emails);
            let gone = change.remove_emails.iter().map(|email| email.trim().to_lowercase());
            let gone: BTreeSet<String> = gone.collect();
            user.emails.retain(|email| !gone.contains(&email.to_lowercase()));
            user.privileges = change.privileges.unwrap_or(user.privileges);
            user.reads = change.reads.unwrap_or(user.reads);
            known.checked(user)
        })
    }

    pub(super) fn delete(&self, id: &str) -> Result<User, ArchiveError> {
        self.change(|known| Ok(known.leave(id)?))
    }

    /// Changes what is known: first on disk, then here.
    fn change(
        &self,
        change: impl FnOnce(&mut Known) -> Result<User, ArchiveError>,
    ) -> Result<User, ArchiveError> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = known.clone();
        let user = change(&mut next)?;
        let all: Vec<&User> = next.users.values().collect();
        let json = serde_json::to_vec_pretty(&all).map_err(std::io::Error::from);
        json.and_then(|json| write_atomic(&*self.disk, &self.path, &json))
            .map_err(ArchiveError::file(&self.path))?;
        *known = next;
        Ok(user)
    }

    pub(super) fn list(&self) -> Vec<User> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).users.values().cloned().collect()
    }

    pub(super) fn show(&self, id: &str) -> Result<User, UserError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.users.get(id).cloned().ok_or_else(|| unknown(id))
    }

    /// Whose address that is; compared without regard to case.
    pub(super) fn owner(&self, address: &str) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_address.get(&address.to_lowercase()).cloned()
    }
}

fn unknown(id: &str) -> UserError {
    UserError::Unknown(id.chars().take(64).collect())
}

impl Known {
    fn enter(&mut self, user: User) {
        for email in &user.emails {
            self.by_address.insert(email.clone(), user.id.clone());
        }
        self.users.insert(user.id.clone(), user);
    }

    fn leave(&mut self, id: &str) -> Result<User, UserError> {
        let user = self.users.remove(id).ok_or_else(|| unknown(id))?;
        for email in &user.emails {
            self.by_address.remove(email);
        }
        Ok(user)
    }

    /// Enters a user whose addresses and archives are what they should be.
    fn checked(&mut self, mut user: User) -> Result<User, ArchiveError> {
        for email in std::mem::take(&mut user.emails) {
            let email = checked_address(&email)?;
            if let Some(owner) = self.by_address.get(&email) {
                return Err(UserError::AddressTaken { address: email, user: owner.clone() }.into());
            }
            if !user.emails.contains(&email) {
                user.emails.push(email);
            }
        }
        user.reads.iter().try_for_each(|archive| check_id(archive))?;
        self.enter(user.clone());
        Ok(user)
    }
}

fn checked_address(text: &str) -> Result<String, UserError> {
    let text = text.trim();
    let whole = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@') && text.len() <= 320
    });
    if !whole || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(UserError::BadAddress(text.chars().take(80).collect()));
    }
    Ok(text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::RealDisk;

    use super::*;

    fn users(dir: &tempfile::TempDir) -> Users {
        Users::open(Arc::new(RealDisk), dir.path().join("users.json")).unwrap()
    }

    fn emails(all: &[&str]) -> Vec<String> {
        all.iter().map(|email| (*email).to_owned()).collect()
    }

    /// Goal: addresses go with their user, through adding, editing and deleting, also after reading them again.
    #[test]
    fn an_address_belongs_to_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let known = users(&dir);
        known.add(User::new("anna", &emails(&["Anna@Example.com", "a@example.com"]))).unwrap();
        known.add(User::new("bob", &[])).unwrap();
        let take = UserChange { add_emails: emails(&["a@example.com"]), ..UserChange::default() };
        assert!(
            known.edit("bob", take.clone()).unwrap_err().to_string().contains("belongs to user \"anna\"")
        );
        let gone = UserChange { remove_emails: emails(&["A@example.com "]), ..UserChange::default() };
        assert_eq!(known.edit("anna", gone).unwrap().emails, ["anna@example.com"]);
        known.edit("bob", take).unwrap();
        assert_eq!(users(&dir).owner("A@EXAMPLE.com").as_deref(), Some("bob"));
        known.delete("bob").unwrap();
        assert_eq!((users(&dir).owner("a@example.com"), users(&dir).list().len()), (None, 1));
        assert!(known.delete("bob").is_err());
    }

    #[test]
    fn privileges_are_kept_and_say_what_may_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let known = users(&dir);
        let anna = known.add(User::new("anna", &[])).unwrap();
        assert!(anna.may(Privilege::Search) && !anna.may(Privilege::Auditor));
        assert_eq!(anna.archives(), BTreeSet::from(["anna".to_owned()]));
        let change = UserChange {
            privileges: Some(BTreeSet::from([Privilege::Auditor])),
            reads: Some(BTreeSet::from(["bob".to_owned(), UNASSIGNED.to_owned()])),
            ..UserChange::default()
        };
        known.edit("anna", change).unwrap();
        let anna = users(&dir).show("anna").unwrap();
        assert!(anna.may(Privilege::Auditor) && !anna.may(Privilege::ReadOwn));
        assert_eq!(anna.archives(), BTreeSet::from(["bob".to_owned(), UNASSIGNED.to_owned()]));
        let bad = UserChange { reads: Some(BTreeSet::from(["../x".to_owned()])), ..UserChange::default() };
        assert!(known.edit("anna", bad).is_err());
        assert_eq!(users(&dir).show("anna").unwrap(), anna, "a change that is refused changes nothing");
    }
}
