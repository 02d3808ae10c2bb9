//! Users, and the e-mail addresses whose mail is theirs. `users.json`, replaced atomically.

use std::collections::BTreeMap;
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

    pub(super) fn add(&self, id: &str, emails: &[String]) -> Result<User, ArchiveError> {
        check_id(id)?;
        if id == UNASSIGNED || id == QUARANTINE {
            return Err(UserError::Reserved(id.into()).into());
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.users.contains_key(id) {
            return Err(UserError::Exists(id.into()).into());
        }
        let mut user = User { id: id.into(), emails: Vec::new() };
        for email in emails {
            let email = checked_address(email)?;
            if let Some(owner) = known.by_address.get(&email) {
                return Err(UserError::AddressTaken { address: email, user: owner.clone() }.into());
            }
            if !user.emails.contains(&email) {
                user.emails.push(email);
            }
        }
        let mut next = known.clone();
        next.enter(user.clone());
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
        known.users.get(id).cloned().ok_or_else(|| UserError::Unknown(id.into()))
    }

    /// Whose address that is; compared without regard to case.
    pub(super) fn owner(&self, address: &str) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_address.get(&address.to_lowercase()).cloned()
    }
}

impl Known {
    fn enter(&mut self, user: User) {
        for email in &user.emails {
            self.by_address.insert(email.clone(), user.id.clone());
        }
        self.users.insert(user.id.clone(), user);
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
