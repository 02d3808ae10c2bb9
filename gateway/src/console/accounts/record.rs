//! `administrators.json`, version 1: an object with `version` and `administrators`, a list of records. Digests, salts and
//! sealed secrets are hexadecimal.

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::Digest;
use serde::{Deserialize, Serialize};

use super::passkeys::Stored as Passkey;
use super::password::StoredPassword;
use super::{Account, Role};

const VERSION: u32 = 1;

/// Everything stored of an administrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) created: UnixMillis,
    /// Sessions opened under another one are over.
    pub(super) generation: u64,
    pub(super) password: StoredPassword,
    /// The TOTP secret, sealed under `key` with the name as associated data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) totp: Option<String>,
    /// The step of the last one-time password that served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) totp_step: Option<u64>,
    /// What else may serve as second factor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) passkeys: Vec<Passkey>,
    /// SHA-256 of each recovery code that is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) recovery_codes: Vec<Digest>,
}

impl Record {
    pub(super) fn new(name: &str, role: Role, password: StoredPassword, now: UnixMillis) -> Self {
        Self {
            name: name.to_owned(),
            role,
            created: now,
            generation: generation(),
            password,
            totp: None,
            totp_step: None,
            passkeys: Vec::new(),
            recovery_codes: Vec::new(),
        }
    }

    /// Ends all sessions of this one.
    pub(super) fn renew(&mut self) {
        self.generation = generation();
    }

    pub(super) fn forget_factors(&mut self) {
        self.totp = None;
        self.passkeys.clear();
        self.recovery_codes.clear();
    }

    pub(super) fn has_factor(&self) -> bool {
        self.totp.is_some() || !self.passkeys.is_empty()
    }

    /// Recovery codes stand in for another second factor; without one they are worth nothing.
    pub(super) fn forget_useless_codes(&mut self) {
        if !self.has_factor() {
            self.recovery_codes.clear();
        }
    }

    pub(super) fn account(&self) -> Account {
        Account {
            name: self.name.clone(),
            role: self.role,
            created: self.created,
            password_since: self.password.since,
            password_is_given: self.password.given,
            totp: self.totp.is_some(),
            passkeys: self.passkeys.len(),
            recovery_codes: self.recovery_codes.len(),
            generation: self.generation,
        }
    }
}

fn generation() -> u64 {
    u64::from_be_bytes(postern_shared::crypto::random())
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    administrators: Vec<Record>,
}

pub(super) fn to_json(records: &[Record]) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec_pretty(&Stored { version: VERSION, administrators: records.to_vec() })
}

/// Reads the file; the error says what is wrong with it.
pub(super) fn from_json(bytes: &[u8]) -> Result<Vec<Record>, String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if stored.version != VERSION {
        return Err(format!("version {} is not known to this program", stored.version));
    }
    Ok(stored.administrators)
}
