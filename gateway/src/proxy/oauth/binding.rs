//! A binding's file: an account's consent, opened by its proxy password. The room's header draws it.

use std::fmt;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::aead::{AeadKey, NotAuthentic};
use postern_shared::crypto::digest::hkdf_sha256;
use postern_shared::crypto::password::{Argon2Cost, BadCost, SALT_BYTES, derive_key};
use postern_shared::crypto::{SecretBytes, equal_constant_time, random};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::provider::Provider;

const VERSION: u32 = 1;
const VERIFIER_LABEL: &[u8] = b"postern oauth v1 verifier";
const SEALING_LABEL: &[u8] = b"postern oauth v1 sealing";

/// What is stored of an account's consent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    version: u32,
    /// `user%host`, lower case.
    pub account: String,
    /// The provider's name in the settings.
    pub provider: String,
    /// The only place the refresh token may be sent to.
    pub token_endpoint: String,
    /// Whose refresh token it is.
    pub client_id: String,
    /// What was asked for.
    pub scopes: Vec<String>,
    /// When the person consented.
    pub created: UnixMillis,
    /// When the provider last gave an access token for it.
    pub used: Option<UnixMillis>,
    cost: Argon2Cost,
    #[serde(with = "hex::serde")]
    salt: [u8; SALT_BYTES],
    #[serde(with = "hex::serde")]
    verifier: [u8; 32],
    #[serde(with = "hex::serde")]
    sealed: Vec<u8>,
}

/// Only what a person is shown: neither what the password is tried against nor what it opens.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, provider, token_endpoint, client_id, scopes, created, used, .. } = self;
        f.debug_struct("Binding")
            .field("account", account)
            .field("provider", provider)
            .field("token_endpoint", token_endpoint)
            .field("client_id", client_id)
            .field("scopes", scopes)
            .field("created", created)
            .field("used", used)
            .finish_non_exhaustive()
    }
}

/// What the sealed part holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secrets<'s> {
    #[serde(borrow)]
    refresh_token: std::borrow::Cow<'s, str>,
}

/// What a password and a salt stand for.
struct Keys {
    verifier: SecretBytes,
    sealing: SecretBytes,
}

impl Keys {
    fn derive(password: &SecretString, salt: &[u8; SALT_BYTES], cost: Argon2Cost) -> Result<Self, BadCost> {
        let key = derive_key(password, salt, cost)?;
        Ok(Self {
            verifier: hkdf_sha256(&*key, &[VERIFIER_LABEL]),
            sealing: hkdf_sha256(&*key, &[SEALING_LABEL]),
        })
    }
}

/// The key of one opened binding. Whoever holds it has shown the password.
#[derive(Clone)]
pub(super) struct SealingKey(SecretBytes);

impl SealingKey {
    fn aead(&self) -> AeadKey {
        AeadKey::new(&self.0)
    }

    /// Seals what is kept in memory only.
    pub(super) fn seal_for_memory(&self, text: &SecretString) -> Vec<u8> {
        self.aead().wrap(b"memory", text.expose_secret().as_bytes())
    }

    /// Undoes it.
    pub(super) fn open_from_memory(&self, sealed: &[u8]) -> Option<SecretString> {
        let opened = self.aead().unwrap(b"memory", sealed).ok()?;
        std::str::from_utf8(&opened).ok().map(SecretString::from)
    }
}

impl Binding {
    /// Seals a refresh token under a new password. Costs what Argon2id costs.
    pub(super) fn seal(
        account: &str,
        provider: &Provider,
        refresh_token: &SecretString,
        password: &SecretString,
        now: UnixMillis,
        cost: Argon2Cost,
    ) -> Result<Self, BadCost> {
        let salt = random::<SALT_BYTES>();
        let Keys { verifier, sealing } = Keys::derive(password, &salt, cost)?;
        let mut binding = Self {
            version: VERSION,
            account: account.to_owned(),
            provider: provider.name.clone(),
            token_endpoint: provider.token_endpoint.to_string(),
            client_id: provider.client_id.clone(),
            scopes: provider.scopes.clone(),
            created: now,
            used: None,
            cost,
            salt,
            verifier: *verifier,
            sealed: Vec::new(),
        };
        binding.reseal(&SealingKey(sealing), refresh_token);
        Ok(binding)
    }

    /// Puts another refresh token in the place of the one sealed.
    pub(super) fn reseal(&mut self, key: &SealingKey, refresh_token: &SecretString) {
        let secrets = Secrets { refresh_token: refresh_token.expose_secret().into() };
        // Text as JSON cannot fail.
        let json = Zeroizing::new(serde_json::to_vec(&secrets).unwrap_or_default());
        self.sealed = key.aead().wrap(&self.about(), &json);
    }

    /// What the password must be right for. Costs what Argon2id costs, whatever it is.
    pub(super) fn verify(&self, password: &SecretString) -> Option<SealingKey> {
        let keys = Keys::derive(password, &self.salt, self.cost).ok()?;
        equal_constant_time(&*keys.verifier, &self.verifier).then_some(SealingKey(keys.sealing))
    }

    /// Computes what [`Binding::verify`] does and opens nothing: for accounts without a binding, so that an answer's
    /// delay does not tell which have one.
    pub(super) fn verify_nobody(password: &SecretString, cost: Argon2Cost) {
        // Thrown away; only the time matters.
        let nobody = Keys::derive(password, &[0; SALT_BYTES], cost).ok();
        let _ = nobody.map(|keys| equal_constant_time(&*keys.verifier, &[0; 32]));
    }

    /// The refresh token.
    pub(super) fn unseal(&self, key: &SealingKey) -> Result<SecretString, NotAuthentic> {
        let json = key.aead().unwrap(&self.about(), &self.sealed)?;
        let secrets: Secrets<'_> = serde_json::from_slice(&json).map_err(|_| NotAuthentic)?;
        Ok(SecretString::from(secrets.refresh_token.into_owned()))
    }

    /// The associated data: what the secrets belong to, and where they may go. Parts are told apart by their lengths.
    fn about(&self) -> Vec<u8> {
        let mut about = self.version.to_be_bytes().to_vec();
        let parts = [&self.account, &self.provider, &self.token_endpoint, &self.client_id];
        for part in parts.into_iter().chain(&self.scopes) {
            about.extend_from_slice(&(part.len() as u64).to_be_bytes());
            about.extend_from_slice(part.as_bytes());
        }
        about.extend_from_slice(&self.created.0.to_be_bytes());
        about.extend_from_slice(&self.salt);
        about
    }

    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
    }

    /// Reads a file; the error says what is wrong with it.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let binding: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        binding.check()?;
        Ok(binding)
    }

    /// Whether this version of the program knows it.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version {} is not known to this program", self.version));
        }
        if self.cost.memory_kib > Argon2Cost::DEFAULT.memory_kib
            || self.cost.passes > Argon2Cost::DEFAULT.passes
        {
            // A forged file must not make logins dearer than others are.
            return Err("its Argon2id cost is more than this program writes".into());
        }
        Ok(())
    }
}
