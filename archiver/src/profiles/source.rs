//! Where a profile's mail comes from, checked: servers, accounts, and how each of them is let in.

use std::num::NonZeroU16;

use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::{self, PlainCredentials};
use postern_shared::tls::client::Trust;
use secrecy::SecretString;
use url::Url;

use super::document::Fault;
pub use super::raw::AccountName;
use super::raw::{
    ClientAuthentication, Line, RawAccounts, RawFiles, RawGateway, RawGateways, RawMechanism, RawOAuth,
    RawServer, Tls,
};
use crate::sources::ews::profile::{Source as EwsSource, Table};
use crate::sources::oauth::{self, Endpoint};
use crate::sources::{files as files_source, gateway, imap as imap_source};

const ACCOUNTS_MAX: usize = 100_000;

/// Where mail comes from.
#[derive(Debug, Clone)]
pub enum SourceProfile {
    /// Postern gateways' mailboxes.
    Gateway(Vec<gateway::Settings>),
    /// Accounts on an IMAP server.
    Imap(Accounts),
    /// Accounts on a POP3 server.
    Pop3(Accounts),
    /// Mailboxes at an Exchange server.
    Ews(Box<EwsSource>),
    /// Files of this machine, and whose mail is in them.
    Files(files_source::Settings, Option<String>),
}

/// A server and who is let in there.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How TLS begins.
    pub tls: TlsStart,
    /// Which certificate is accepted.
    pub trust: Trust,
    /// Whether to compress (IMAP).
    pub compress: bool,
    /// By which mechanism; else the best that is offered.
    pub mechanism: Option<imap_source::Mechanism>,
    /// Whose mail is pulled.
    pub whose: Whose,
    /// Where access tokens come from.
    pub oauth: Option<oauth::Settings>,
}

/// Whose mail is pulled, and by whose login.
#[derive(Debug, Clone)]
pub enum Whose {
    /// Each logs in.
    Each(Vec<Login>),
    /// Somebody, or a token of the client's own, lets in to these.
    Named(Vec<String>, Option<Master>),
    /// The same to all users of the instance, who are called so at the server.
    Users(AccountName, Option<Master>),
}

/// An account that logs in.
#[derive(Debug, Clone)]
pub struct Login {
    /// Its name at the server.
    pub username: String,
    /// By a password; else by a token.
    pub password: Option<SecretString>,
    /// What its access tokens are asked for with.
    pub refresh_token: Option<SecretString>,
    /// Whose mail is wanted, if not its own.
    pub act_as: Option<String>,
    /// Whose mail that is.
    pub address: String,
}

/// Logs in for others.
#[derive(Debug, Clone)]
pub struct Master {
    /// Name and password.
    pub credentials: PlainCredentials,
    /// As `anna*master`; else acting for anna.
    pub separator: Option<String>,
}

fn port(raw: Option<NonZeroU16>, tls: Option<Tls>, [implicit, starttls]: [u16; 2]) -> u16 {
    let usual = match tls.unwrap_or_default() {
        Tls::Implicit => implicit,
        Tls::Starttls => starttls,
    };
    raw.map_or(usual, NonZeroU16::get)
}

fn password(raw: Option<SecretString>, place: &[&str]) -> Result<SecretString, Fault> {
    raw.ok_or_else(|| Fault::new(place, "a password, password_file or password_env is needed beside it"))
}

pub(super) fn gateways(raw: RawGateways) -> Result<SourceProfile, Fault> {
    let RawGateways { host, port, tls, trust, username, password, gateway, .. } = raw;
    let alone = [
        ("host", host.is_some()),
        ("port", port.is_some()),
        ("tls", tls.is_some()),
        ("trust", trust.is_some()),
        ("username", username.is_some()),
        ("password", password.is_some()),
    ];
    if !gateway.is_empty() {
        if let Some((key, _)) = alone.into_iter().find(|(_, is)| *is) {
            return Err(Fault::new(&["source", key], "it belongs into one of the tables [[source.gateway]]"));
        }
        let gateways = gateway.into_iter().enumerate();
        let all = gateways.map(|(index, raw)| one_gateway(raw, &["source", "gateway", &index.to_string()]));
        return Ok(SourceProfile::Gateway(all.collect::<Result<_, _>>()?));
    }
    let missing = |key: &str| Fault::new(&["source", "type"], format!("missing field `{key}`"));
    let (host, username) =
        (host.ok_or_else(|| missing("host"))?, username.ok_or_else(|| missing("username"))?);
    let raw = RawGateway { host, port, tls, trust, username, password };
    Ok(SourceProfile::Gateway(vec![one_gateway(raw, &["source"])?]))
}

fn one_gateway(raw: RawGateway, place: &[&str]) -> Result<gateway::Settings, Fault> {
    let place = [place, &["username"]].concat();
    Ok(gateway::Settings {
        host: raw.host.0,
        port: port(raw.port, raw.tls, [995, 110]),
        tls: raw.tls.unwrap_or_default().into(),
        trust: raw.trust.unwrap_or(Trust::System),
        credentials: PlainCredentials { user: raw.username.0, password: password(raw.password, &place)? },
    })
}

pub(super) fn imap(raw: RawServer) -> Result<SourceProfile, Fault> {
    Ok(SourceProfile::Imap(accounts(raw, [993, 143])?))
}

pub(super) fn pop3(raw: RawServer) -> Result<SourceProfile, Fault> {
    for (key, is) in [("compress", raw.compress.is_some()), ("act_as", raw.act_as.is_some())] {
        if is {
            return Err(Fault::new(&["source", key], "POP3 has no such thing"));
        }
    }
    if raw.mechanism == Some(RawMechanism::ScramSha256) {
        return Err(Fault::new(
            &["source", "mechanism"],
            "with POP3 there are plain, login, xoauth2 and oauthbearer",
        ));
    }
    if raw.master.as_ref().is_some_and(|master| master.separator.is_none()) {
        return Err(Fault::new(
            &["source", "master", "username"],
            "with POP3 a master user needs a separator = \"*\" beside it, as the server has it",
        ));
    }
    Ok(SourceProfile::Pop3(accounts(raw, [995, 110])?))
}

pub(super) fn ews(raw: Table) -> Result<SourceProfile, Fault> {
    let checked = raw.checked().map_err(|bad| Fault::new(&["source", bad.key], bad.message))?;
    Ok(SourceProfile::Ews(Box::new(checked)))
}

pub(super) fn files(raw: RawFiles) -> Result<SourceProfile, Fault> {
    if !raw.path.is_absolute() {
        return Err(Fault::new(
            &["source", "path"],
            "the path must begin with /: the daemon has a directory of its own",
        ));
    }
    let settings = files_source::Settings { path: raw.path, verbatim: raw.verbatim };
    Ok(SourceProfile::Files(settings, raw.address.map(|address| address.0)))
}

fn accounts(raw: RawServer, ports: [u16; 2]) -> Result<Accounts, Fault> {
    let oauth = raw.oauth.as_ref().map(oauth_settings).transpose()?;
    let mechanism = mechanism(raw.mechanism, oauth.is_some())?;
    Ok(Accounts {
        port: port(raw.port, raw.tls, ports),
        tls: raw.tls.unwrap_or_default().into(),
        trust: raw.trust.clone().unwrap_or(Trust::System),
        compress: raw.compress.unwrap_or(false),
        mechanism,
        host: raw.host.0.clone(),
        whose: whose(raw)?,
        oauth,
    })
}

fn mechanism(raw: Option<RawMechanism>, oauth: bool) -> Result<Option<imap_source::Mechanism>, Fault> {
    use imap_source::Mechanism as M;
    let Some(raw) = raw else { return Ok(None) };
    let (found, by_token) = match raw {
        RawMechanism::Plain => (M::Plain, false),
        RawMechanism::Login => (M::Login, false),
        RawMechanism::ScramSha256 => (M::ScramSha256, false),
        RawMechanism::Xoauth2 => (M::XOAuth2, true),
        RawMechanism::Oauthbearer => (M::OAuthBearer, true),
    };
    match (by_token, oauth) {
        (true, false) => {
            Err(Fault::new(&["source", "mechanism"], "access tokens need a table [source.oauth]"))
        }
        (false, true) => {
            Err(Fault::new(&["source", "mechanism"], "with [source.oauth] it is xoauth2 or oauthbearer"))
        }
        _ => Ok(Some(found)),
    }
}

/// How a POP3 server calls it.
pub(super) fn pop3_mechanism(mechanism: imap_source::Mechanism) -> Option<sasl::Mechanism> {
    sasl::Mechanism::ALL.into_iter().find(|one| one.name() == mechanism.name())
}

fn refuse<T>(key: &str, why: &str) -> Result<T, Fault> {
    Err(Fault::new(&["source", key], why))
}

/// Each of the three ways to say whose mail it is excludes the others.
fn whose(raw: RawServer) -> Result<Whose, Fault> {
    let single = [
        ("username", raw.username.is_some()),
        ("password", raw.password.is_some()),
        ("act_as", raw.act_as.is_some()),
        ("address", raw.address.is_some()),
    ];
    let single = single.into_iter().find(|(_, is)| *is).map(|(key, _)| key);
    match (&raw.accounts, raw.account.is_empty(), single) {
        (Some(_), _, Some(key)) => {
            refuse(key, "it says who logs in alone; accounts go with [source.master] or [source.oauth]")
        }
        (Some(_), false, None) => refuse("account", "either accounts = …, or tables [[source.account]]"),
        (Some(_), true, None) => let_in(raw),
        (None, ..) if raw.account_name.is_some() => {
            refuse("account_name", "it goes with accounts = \"users\" only")
        }
        (None, ..) if raw.master.is_some() => {
            refuse("master", "for whom? accounts = [\"…\"] or accounts = \"users\" is needed in [source]")
        }
        (None, false, Some(key)) => refuse(key, "it belongs into one of the tables [[source.account]]"),
        (None, false, None) => each(raw),
        (None, true, _) => alone(raw),
    }
}

/// Accounts that a master user, or the client's own token, lets in to.
fn let_in(raw: RawServer) -> Result<Whose, Fault> {
    if raw.oauth.as_ref().is_some_and(|oauth| oauth.refresh_token.is_some()) {
        return refuse(
            "accounts",
            "a refresh_token is one account's; tables [[source.account]] take one each",
        );
    }
    let master = match (raw.master, raw.oauth) {
        (Some(_), Some(_)) => return refuse("master", "either [source.master] or [source.oauth]"),
        (Some(raw), None) => {
            let password = password(raw.password, &["source", "master", "username"])?;
            let credentials = PlainCredentials { user: raw.username.0, password };
            Some(Master { credentials, separator: raw.separator.filter(|text| !text.is_empty()) })
        }
        (None, Some(_)) => None,
        (None, None) => {
            return refuse("accounts", "who lets in to them? [source.master] or [source.oauth] is needed");
        }
    };
    match raw.accounts {
        None | Some(RawAccounts::All(_)) => Ok(Whose::Users(raw.account_name.unwrap_or_default(), master)),
        Some(RawAccounts::Named(names)) if names.is_empty() || names.len() > ACCOUNTS_MAX => {
            refuse("accounts", "1 to 100,000 accounts are expected here")
        }
        Some(RawAccounts::Named(_)) if raw.account_name.is_some() => {
            refuse("account_name", "it goes with accounts = \"users\" only")
        }
        Some(RawAccounts::Named(names)) => {
            Ok(Whose::Named(names.into_iter().map(|name| name.0).collect(), master))
        }
    }
}

/// One account.
fn alone(raw: RawServer) -> Result<Whose, Fault> {
    let Some(username) = raw.username else {
        return refuse(
            "host",
            "who logs in there? username, tables [[source.account]] or accounts are needed",
        );
    };
    let password = match raw.oauth {
        Some(_) => None,
        None => Some(password(raw.password, &["source", "username"])?),
    };
    let act_as = raw.act_as.map(|name| name.0);
    let usual = act_as.clone().unwrap_or_else(|| username.0.clone());
    let address = raw.address.map_or(usual, |address| address.0);
    let refresh_token = raw.oauth.and_then(|oauth| oauth.refresh_token);
    Ok(Whose::Each(vec![Login { username: username.0, password, refresh_token, act_as, address }]))
}

/// Several accounts, each of which logs in.
fn each(raw: RawServer) -> Result<Whose, Fault> {
    let by_token = raw.oauth.is_some();
    if raw.oauth.is_some_and(|oauth| oauth.refresh_token.is_some()) {
        return refuse("oauth", "the refresh_token belongs into the tables [[source.account]], one each");
    }
    let mut all: Vec<Login> = Vec::new();
    for (index, account) in raw.account.into_iter().enumerate() {
        let index = index.to_string();
        let place = ["source", "account", &index, "username"];
        if !by_token && account.refresh_token.is_some() {
            return Err(Fault::new(&place, "its refresh_token needs a table [source.oauth]"));
        }
        let password = if by_token { None } else { Some(password(account.password, &place)?) };
        let address = account.address.map_or_else(|| account.username.0.clone(), |address: Line| address.0);
        let (username, refresh_token) = (account.username.0, account.refresh_token);
        if all.iter().any(|login| login.username == username) {
            return Err(Fault::new(&place, "it stands there twice"));
        }
        all.push(Login { username, password, refresh_token, act_as: None, address });
    }
    Ok(Whose::Each(all))
}

fn oauth_settings(raw: &RawOAuth) -> Result<oauth::Settings, Fault> {
    let place = ["source", "oauth", "token_endpoint"];
    let url = Url::parse(&raw.token_endpoint.0).map_err(|error| Fault::new(&place, error.to_string()))?;
    let endpoint = Endpoint::new(url).map_err(|why| Fault::new(&place, why))?;
    Ok(oauth::Settings {
        endpoint,
        trust: raw.trust.clone(),
        client_id: raw.client_id.0.clone(),
        client_secret: raw.client_secret.clone(),
        secret_in_body: raw.client_authentication == ClientAuthentication::Body,
        scopes: raw.scopes.iter().map(|scope| scope.0.clone()).collect(),
    })
}
