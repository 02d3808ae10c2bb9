//! The passkeys of administrators: what is stored, and how they come and go.

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::random;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::passkey::{self, Asserted, CHALLENGE_BYTES, PasskeyError, PublicKey, Registered, RelyingParty};
use super::record::Record;
use super::store::{Administrators, find};
use super::{Account, AccountError, factors};

const PASSKEYS_EACH_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 64;
const TRANSPORTS_MAX: usize = 8;

/// A passkey as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    /// Our own name for it.
    id: String,
    name: String,
    /// The authenticator's name for it.
    #[serde(with = "hex")]
    credential: Vec<u8>,
    key: PublicKey,
    count: u32,
    created: UnixMillis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<UnixMillis>,
    /// How the authenticator is reached, for the browser.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    transports: Vec<String>,
}

/// What is shown of a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownPasskey {
    /// Tells it from others.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// When it was set up.
    pub created: UnixMillis,
    /// When it was last used to sign in.
    pub used: Option<UnixMillis>,
}

/// What a browser is told to find a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The authenticator's name for it.
    pub id: Vec<u8>,
    /// How the authenticator is reached.
    pub transports: Vec<String>,
}

/// A passkey to be set up.
#[derive(Debug)]
pub struct NewPasskey {
    /// What its owner calls it.
    pub name: String,
    /// What the authenticator answered.
    pub registered: Registered,
    /// How it is reached, as the browser says.
    pub transports: Vec<String>,
}

impl Stored {
    fn shown(&self) -> ShownPasskey {
        let (id, name) = (self.id.clone(), self.name.clone());
        ShownPasskey { id, name, created: self.created, used: self.used }
    }

    /// It was used, and counts from here.
    pub(super) fn count_from(&mut self, count: u32, now: UnixMillis) {
        self.count = count;
        self.used = Some(now);
    }
}

/// Which of these passkeys made the answer, when it holds, and its count from then on.
pub(super) fn check(
    passkeys: &[Stored],
    asserted: &Asserted,
    challenge: &[u8; CHALLENGE_BYTES],
    party: &RelyingParty,
) -> Result<(usize, u32), PasskeyError> {
    let at = passkeys.iter().position(|passkey| passkey.credential == asserted.credential);
    let at = at.ok_or(PasskeyError::NotYours)?;
    let passkey = &passkeys[at];
    let count = passkey::used(asserted, (&passkey.key, passkey.count), challenge, party)?;
    Ok((at, count))
}

impl Administrators {
    /// Somebody's passkeys, the oldest first.
    pub fn passkeys(&self, name: &str) -> Result<Vec<ShownPasskey>, AccountError> {
        self.with(|records| {
            find(records, name).map(|record| record.passkeys.iter().map(Stored::shown).collect())
        })?
    }

    /// What a browser is told to find them.
    pub fn credentials(&self, name: &str) -> Result<Vec<Credential>, AccountError> {
        let credential = |passkey: &Stored| Credential {
            id: passkey.credential.clone(),
            transports: passkey.transports.clone(),
        };
        self.with(|records| {
            find(records, name).map(|record| record.passkeys.iter().map(credential).collect())
        })?
    }

    /// Sets up a passkey; with somebody's first second factor come recovery codes, to show once.
    pub fn add_passkey(
        &self,
        name: &str,
        new: NewPasskey,
        challenge: &[u8; CHALLENGE_BYTES],
        party: &RelyingParty,
    ) -> Result<(Account, ShownPasskey, Vec<SecretString>), AccountError> {
        let label = checked_name(&new.name)?;
        let made = passkey::made(&new.registered, challenge, party)?;
        let mut transports = new.transports;
        transports.retain(|transport| {
            (1..=20).contains(&transport.len())
                && transport.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        });
        transports.truncate(TRANSPORTS_MAX);
        let stored = Stored {
            id: hex::encode(random::<8>()),
            name: label,
            credential: made.credential,
            key: made.key,
            count: made.count,
            created: self.now(),
            used: None,
            transports,
        };
        let shown = stored.shown();
        let known = |records: &[Record]| {
            let mut all = records.iter().flat_map(|record| &record.passkeys);
            all.any(|passkey| passkey.credential == stored.credential)
        };
        let (account, codes) = self.edit_knowing(name, known, |record, is_known| {
            if is_known {
                return Err(PasskeyError::Known.into());
            }
            if record.passkeys.len() >= PASSKEYS_EACH_MAX {
                return Err(PasskeyError::TooMany(record.passkeys.len()).into());
            }
            let is_first = !record.has_factor();
            record.passkeys.push(stored.clone());
            record.renew();
            if !is_first {
                return Ok((record.account(), Vec::new()));
            }
            let (codes, hashes) = factors::recovery_codes();
            record.recovery_codes = hashes;
            Ok((record.account(), codes))
        })?;
        Ok((account, shown, codes))
    }

    /// Gives a passkey another name.
    pub fn rename_passkey(&self, name: &str, id: &str, label: &str) -> Result<ShownPasskey, AccountError> {
        let label = checked_name(label)?;
        self.edit(name, |record| {
            let found = record.passkeys.iter_mut().find(|passkey| passkey.id == id);
            let passkey = found.ok_or(AccountError::UnknownPasskey)?;
            passkey.name = label;
            Ok(passkey.shown())
        })
    }

    /// Takes a passkey away; recovery codes go with the last second factor.
    pub fn remove_passkey(&self, name: &str, id: &str) -> Result<(Account, ShownPasskey), AccountError> {
        self.edit(name, |record| {
            let found = record.passkeys.iter().position(|passkey| passkey.id == id);
            let removed = record.passkeys.remove(found.ok_or(AccountError::UnknownPasskey)?);
            record.forget_useless_codes();
            record.renew();
            Ok((record.account(), removed.shown()))
        })
    }
}

fn checked_name(name: &str) -> Result<String, AccountError> {
    let name = name.trim();
    let good = (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if good { Ok(name.to_owned()) } else { Err(PasskeyError::BadName.into()) }
}
