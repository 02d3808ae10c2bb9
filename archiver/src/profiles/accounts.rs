//! From a profile's source to the accounts of one run, and into each of them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Clock, Moment};
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::digest::sha256;
use postern_shared::proto::sasl::{BearerCredentials, Credentials, PlainCredentials};
use secrecy::{ExposeSecret, SecretString};

use super::source::{AccountName, Accounts, Master, SourceProfile, Whose, pop3_mechanism};
use super::state::{State, StateError};
use crate::archive::Instance;
use crate::sources::imap::{self, ImapSource};
use crate::sources::pop3::{self, Pop3Source};
use crate::sources::{SourceError, oauth};

/// A token that is about to run out is not used any more.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);

/// Which protocol an account speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Imap,
    Pop3,
}

/// An account of a run.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// What operators know it by.
    pub(super) name: String,
    /// What names it across runs.
    pub(super) key: String,
    /// Whose mail it is, as far as the instance knows such a user.
    pub(super) user: Option<String>,
    login: String,
    act_as: Option<String>,
    proof: Proof,
}

#[derive(Debug, Clone)]
enum Proof {
    Password(SecretString),
    /// A token; asked for with this refresh token, or as the client itself.
    Token(Option<SecretString>),
}

/// Who has that address or id.
pub(super) fn user_of(instance: &Instance, address: &str) -> Option<String> {
    instance.owner(address).or_else(|| instance.user(address).ok().map(|user| user.id))
}

/// The accounts of a source, as they are now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) accounts: Vec<Planned>,
    /// Accounts that several users would be let in to: whose mail it is nobody can say. What names them, and why.
    pub(super) refused: Vec<(String, String)>,
}

/// Finds the accounts of a source.
pub(super) fn plan(source: &SourceProfile, instance: &Instance) -> Plan {
    let mut plan = Plan::default();
    let mut same: BTreeMap<String, Vec<Planned>> = BTreeMap::new();
    let mut order = Vec::new();
    for planned in all(source, instance) {
        // Servers take no notice of case.
        let key = planned.key.to_lowercase();
        let known = same.entry(key.clone()).or_default();
        if known.is_empty() {
            order.push(key);
        }
        // Named twice, it is one account.
        if !known.iter().any(|other| other.user == planned.user) {
            known.push(planned);
        }
    }
    for mut planned in order.iter().filter_map(|key| same.remove(key)) {
        if planned.len() == 1 {
            plan.accounts.append(&mut planned);
            continue;
        }
        let users: Vec<&str> =
            planned.iter().map(|one| one.user.as_deref().unwrap_or("nobody here")).collect();
        let why = format!(
            "it would be the account of each of {}: the mail of one would be filed as another's, so it is not pulled at all; \
             write account_name = \"address\" or \"id\", or a table [[source.account]] for each",
            users.join(", ")
        );
        plan.refused.push((planned[0].name.clone(), why));
    }
    plan
}

fn all(source: &SourceProfile, instance: &Instance) -> Vec<Planned> {
    let (protocol, accounts) = match source {
        SourceProfile::Imap(accounts) => (Protocol::Imap, accounts),
        SourceProfile::Pop3(accounts) => (Protocol::Pop3, accounts),
        SourceProfile::Gateway(_) | SourceProfile::Files(..) => return Vec::new(),
    };
    let planned = |name: &str, login: String, act_as: Option<String>, address: &str, proof: Proof| {
        let acting = act_as.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        let kind = if protocol == Protocol::Imap { "imap" } else { "pop3" };
        Planned {
            name: name.to_owned(),
            key: format!("{kind} {login}{acting} at {}:{}", accounts.host, accounts.port),
            user: user_of(instance, address),
            login,
            act_as,
            proof,
        }
    };
    let let_in = |name: &str, address: &str, master: Option<&Master>| match master {
        None => planned(name, name.to_owned(), None, address, Proof::Token(None)),
        Some(Master { credentials, separator: Some(separator) }) => {
            let proof = Proof::Password(credentials.password.clone());
            planned(name, format!("{name}{separator}{}", credentials.user), None, address, proof)
        }
        Some(Master { credentials, separator: None }) => {
            let proof = Proof::Password(credentials.password.clone());
            planned(name, credentials.user.clone(), Some(name.to_owned()), address, proof)
        }
    };
    match &accounts.whose {
        Whose::Each(logins) => logins
            .iter()
            .map(|login| {
                let proof = match &login.password {
                    Some(password) => Proof::Password(password.clone()),
                    None => Proof::Token(login.refresh_token.clone()),
                };
                let name = login.act_as.as_ref().unwrap_or(&login.username);
                planned(name, login.username.clone(), login.act_as.clone(), &login.address, proof)
            })
            .collect(),
        Whose::Named(names, master) => names.iter().map(|name| let_in(name, name, master.as_ref())).collect(),
        Whose::Users(by, master) => instance
            .users()
            .iter()
            .filter_map(|user| {
                let address = user.emails.first().map(String::as_str);
                let name = match by {
                    AccountName::Address => address?,
                    AccountName::LocalPart => address?.rsplit_once('@')?.0,
                    AccountName::Id => &user.id,
                };
                Some(let_in(name, &user.id, master.as_ref()))
            })
            .collect(),
    }
}

/// Opens the accounts of one profile.
pub(super) struct Opener<'o> {
    pub(super) accounts: &'o Accounts,
    pub(super) message_octets_max: u64,
    pub(super) tokens: Tokens,
}

impl Opener<'_> {
    /// Connects to an IMAP account and logs in.
    pub(super) async fn imap(&self, planned: &Planned) -> Result<ImapSource, SourceError> {
        let login = imap::Login {
            credentials: self.credentials(planned).await?,
            act_as: planned.act_as.clone(),
            mechanism: self.accounts.mechanism,
        };
        let Accounts { host, port, tls, trust, compress, .. } = self.accounts.clone();
        let settings = imap::Settings { host, port, tls, trust, login, compress };
        let limits = imap::Limits { message_octets_max: self.message_octets_max, ..imap::Limits::default() };
        ImapSource::connect(&settings, limits).await
    }

    /// Connects to a POP3 account and logs in.
    pub(super) async fn pop3(&self, planned: &Planned) -> Result<Pop3Source, SourceError> {
        let Accounts { host, port, tls, trust, mechanism, .. } = self.accounts.clone();
        let credentials = self.credentials(planned).await?;
        let mechanism = mechanism.and_then(pop3_mechanism);
        let settings = pop3::Settings { host, port, tls, trust, credentials, mechanism };
        let limits = pop3::Limits { message_octets_max: self.message_octets_max, ..pop3::Limits::default() };
        Pop3Source::connect(&settings, limits).await
    }

    async fn credentials(&self, planned: &Planned) -> Result<Credentials, SourceError> {
        let user = planned.login.clone();
        match (&planned.proof, &self.accounts.oauth) {
            (Proof::Token(refresh), Some(oauth)) => {
                let token = self.tokens.token(oauth, planned, refresh.as_ref()).await?;
                Ok(Credentials::Bearer(BearerCredentials { user, token }))
            }
            (Proof::Password(password), _) => {
                Ok(PlainCredentials { user, password: password.clone() }.into())
            }
            // A profile without a way to tokens has no account that needs them.
            (Proof::Token(_), None) => Ok(PlainCredentials { user, password: String::new().into() }.into()),
        }
    }
}

/// Access tokens of a run; and refresh tokens that a provider replaced, sealed under the instance key.
pub(super) struct Tokens {
    state: Arc<State>,
    key: AeadKey,
    clock: Arc<dyn Clock>,
    /// The client's own, which serves for all accounts.
    own: std::sync::Mutex<Option<(SecretString, Moment)>>,
}

impl Tokens {
    pub(super) fn new(state: Arc<State>, key: AeadKey, clock: Arc<dyn Clock>) -> Self {
        Self { state, key, clock, own: std::sync::Mutex::default() }
    }

    async fn token(
        &self,
        oauth: &oauth::Settings,
        planned: &Planned,
        refresh: Option<&SecretString>,
    ) -> Result<SecretString, SourceError> {
        let own = || self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(written) = refresh else {
            if let Some((token, until)) = &*own()
                && *until > self.clock.moment()
            {
                return Ok(token.clone());
            }
            let tokens = oauth.ask(None).await?;
            let until = self.clock.moment().plus(tokens.life.saturating_sub(TOKEN_MARGIN));
            *own() = Some((tokens.access.clone(), until));
            return Ok(tokens.access);
        };
        let kept = self.replaced(oauth, planned, written);
        let tokens = oauth.ask(Some(kept.as_ref().unwrap_or(written))).await?;
        if let Some(next) = &tokens.refresh {
            // Before it is used: the one that was sent may be worth nothing any more.
            self.keep(oauth, planned, written, next).map_err(|error| SourceError::OAuth {
                host: oauth.endpoint.host(),
                text: format!("the refresh token it gave cannot be kept: {error}"),
                temporary: true,
            })?;
        }
        Ok(tokens.access)
    }

    /// What the provider gave instead of the refresh token that stands in the profile.
    fn replaced(
        &self,
        oauth: &oauth::Settings,
        planned: &Planned,
        written: &SecretString,
    ) -> Option<SecretString> {
        let sealed = self.state.token(&planned.key).ok().flatten()?;
        let opened = self.key.unwrap(&bound_to(oauth, planned, written), &sealed).ok()?;
        Some(SecretString::from(std::str::from_utf8(&opened).ok()?))
    }

    fn keep(
        &self,
        oauth: &oauth::Settings,
        planned: &Planned,
        written: &SecretString,
        next: &SecretString,
    ) -> Result<(), StateError> {
        let sealed = self.key.wrap(&bound_to(oauth, planned, written), next.expose_secret().as_bytes());
        self.state.keep_token(&planned.key, &sealed)
    }
}

/// A token opens for the provider, the client and the account it was given for, and as long as the profile says the same.
fn bound_to(oauth: &oauth::Settings, planned: &Planned, written: &SecretString) -> Vec<u8> {
    let written = sha256(written.expose_secret().as_bytes());
    let parts = [oauth.endpoint.as_str(), &oauth.client_id, &planned.key];
    [b"postern refresh token v1\0", parts.join("\0").as_bytes(), b"\0", &written.0[..]].concat()
}
