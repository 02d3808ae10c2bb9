//! A mailbox's file, JSON, version 1: keys as hexadecimal text. A file without `policy` has an open one.

use std::sync::Arc;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::keys::{LockedPrivateKey, PrivateKey, PublicKey};
use postern_shared::crypto::password::{self, Argon2Cost, BadCost};
use postern_shared::crypto::seal::Recipients;
use postern_shared::id::MailboxId;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Mailbox, Policy, Status};

const VERSION: u32 = 1;

/// Everything stored of a mailbox, keys in use.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: MailboxId,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) status: Status,
    pub(super) keyed: UnixMillis,
    pub(super) recipients: Recipients,
    pub(super) locked: LockedPrivateKey,
    pub(super) policy: Arc<Policy>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    id: MailboxId,
    name: String,
    description: String,
    status: Status,
    keyed: UnixMillis,
    #[serde(with = "hex::serde")]
    public_key: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery_public_key: Option<String>,
    private_key: LockedPrivateKey,
    #[serde(default, skip_serializing_if = "Policy::is_open")]
    policy: Policy,
}

impl Record {
    /// A new mailbox and the password that opens it.
    pub(super) fn create(
        (name, description): (String, String),
        policy: Policy,
        recovery: Option<PublicKey>,
        now: UnixMillis,
        cost: Argon2Cost,
    ) -> Result<(Self, SecretString), BadCost> {
        let (recipients, locked, password) = new_keys(recovery, cost)?;
        let id = MailboxId::random();
        let (status, policy) = (Status::Active, Arc::new(policy));
        Ok((Self { id, name, description, status, keyed: now, recipients, locked, policy }, password))
    }

    /// The same mailbox with a new key pair and password.
    pub(super) fn with_new_keys(
        &self,
        now: UnixMillis,
        cost: Argon2Cost,
    ) -> Result<(Self, SecretString), BadCost> {
        let (recipients, locked, password) = new_keys(self.recipients.recovery.clone(), cost)?;
        Ok((Self { keyed: now, recipients, locked, ..self.clone() }, password))
    }

    pub(super) fn unlock(&self, password: &SecretString) -> Option<PrivateKey> {
        self.locked.unlock(password, &self.recipients.mailbox).ok()
    }

    pub(super) fn shown(&self, domain: &str) -> Mailbox {
        Mailbox {
            id: self.id,
            address: format!("{}@{domain}", self.id),
            name: self.name.clone(),
            description: self.description.clone(),
            status: self.status,
            keyed: self.keyed,
            recovery: self.recipients.recovery.is_some(),
            policy: Arc::clone(&self.policy),
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(&Stored {
            version: VERSION,
            id: self.id,
            name: self.name.clone(),
            description: self.description.clone(),
            status: self.status,
            keyed: self.keyed,
            public_key: self.recipients.mailbox.to_bytes(),
            recovery_public_key: self.recipients.recovery.as_ref().map(|key| hex::encode(key.to_bytes())),
            private_key: self.locked.clone(),
            policy: (*self.policy).clone(),
        })
    }

    /// Reads a file; the error says what is wrong with it.
    pub(super) fn from_json(bytes: &[u8], id: MailboxId) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if stored.version != VERSION {
            return Err(format!("version {} is not known to this program", stored.version));
        }
        if stored.id != id {
            return Err(format!("it holds mailbox {}", stored.id));
        }
        let public = |bytes: &[u8]| PublicKey::from_bytes(bytes).map_err(|error| error.to_string());
        let recovery = stored.recovery_public_key.map(|text| {
            hex::decode(text).map_err(|error| error.to_string()).and_then(|bytes| public(&bytes))
        });
        Ok(Self {
            id,
            name: stored.name,
            description: stored.description,
            status: stored.status,
            keyed: stored.keyed,
            recipients: Recipients { mailbox: public(&stored.public_key)?, recovery: recovery.transpose()? },
            locked: stored.private_key,
            policy: Arc::new(stored.policy),
        })
    }
}

fn new_keys(
    recovery: Option<PublicKey>,
    cost: Argon2Cost,
) -> Result<(Recipients, LockedPrivateKey, SecretString), BadCost> {
    let private = PrivateKey::generate();
    let password = password::generate();
    let locked = LockedPrivateKey::lock(&private, &password, cost)?;
    Ok((Recipients { mailbox: private.public(), recovery }, locked, password))
}
