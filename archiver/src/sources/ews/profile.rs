//! The table of an EWS source in a profile.
//!
//! | key | value | without it |
//! |---|---|---|
//! | `url` | `"https://mail.example.com/EWS/Exchange.asmx"` | Autodiscover finds it |
//! | `autodiscover` | where Autodiscover is asked first: `"https://mail.example.com/autodiscover/autodiscover.xml"` | the usual places |
//! | `autodiscover_hosts` | hosts outside the mailbox's domain that may be given the login | none |
//! | `trust` | `"system"`, `"any"`, `"sha256:…"`, `"file:…"` | `"system"` |
//! | `auth` | `"basic"`, `"ntlm"`, `"bearer"`, `"oauth"` | `"ntlm"` |
//! | `username` | `"svc-archive@example.com"`, `"CORP\\svc-archive"` | needed with basic and ntlm |
//! | `password`, `password_file`, `password_env` | the password; with bearer the access token, with oauth the client secret (`client_secret` is the same) | needed |
//! | `token_endpoint` | `"https://login.example.com/…/oauth2/v2.0/token"` | needed with oauth |
//! | `client_id` | who asks for tokens | needed with oauth |
//! | `scope` | `"https://mail.example.com/.default"` | none |
//! | `resource` | the same for AD FS | none |
//! | `token_trust` | which certificate the token endpoint may have | `"system"` |
//! | `access` | `"own"`, `"impersonate"`, `"delegate"` | `"own"` |
//! | `mailbox` | the mailbox's primary SMTP address | `username`, when it is an address |
//! | `mailboxes` | several of them | `mailbox` alone |
//! | `accounts` | `"users"`: the mailbox of every user of the instance, by the first address | those named |
//! | `parts` | of `"mailbox"`, `"archive"`, `"public-folders"` | `["mailbox"]` |
//! | `everything` | `true`: calendars, contacts, tasks, notes and journals too | `false` |
//! | `delete` | what becomes of what is deleted: `"soft"`, `"hard"`, `"move-to-deleted-items"` | `"soft"` |
//! | `public_folder_mailbox` | the mailbox that holds public folders | the server finds it |
//!
//! ```toml
//! [source]
//! type = "ews"
//! url = "https://mail.example.com/EWS/Exchange.asmx"
//! auth = "ntlm"
//! username = 'CORP\svc-archive'
//! password_file = "exchange.secret"
//! access = "impersonate"
//! mailboxes = ["anna@example.com", "ben@example.com"]
//! ```

use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use super::auth::{ClientCredentials, Login};
use super::common::Common;
use super::http::Target;
use super::online;
use super::settings::{Access, Part, Server, Settings};
use super::soap::Disposal;

/// Mailboxes of one profile.
const MAILBOXES_MAX: usize = 10_000;
const TEXT_OCTETS_MAX: usize = 1024;

/// The table as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    url: Option<String>,
    autodiscover: Option<String>,
    #[serde(default)]
    autodiscover_hosts: Vec<String>,
    #[serde(default = "system")]
    trust: Trust,
    #[serde(default)]
    auth: Auth,
    username: Option<String>,
    #[serde(alias = "client_secret")]
    password: Option<SecretString>,
    token_endpoint: Option<String>,
    client_id: Option<String>,
    scope: Option<String>,
    resource: Option<String>,
    #[serde(default = "system")]
    token_trust: Trust,
    #[serde(default)]
    access: RawAccess,
    mailbox: Option<String>,
    #[serde(default)]
    mailboxes: Vec<String>,
    accounts: Option<RawAccounts>,
    #[serde(default = "mailbox")]
    parts: Vec<RawPart>,
    #[serde(default)]
    everything: bool,
    #[serde(default)]
    delete: Delete,
    public_folder_mailbox: Option<String>,
}

fn system() -> Trust {
    Trust::System
}

fn mailbox() -> Vec<RawPart> {
    vec![RawPart::Mailbox]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Auth {
    Basic,
    #[default]
    Ntlm,
    Bearer,
    Oauth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawAccess {
    #[default]
    Own,
    Impersonate,
    Delegate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawAccounts {
    Users,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawPart {
    Mailbox,
    Archive,
    PublicFolders,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Delete {
    #[default]
    Soft,
    Hard,
    MoveToDeletedItems,
}

/// The key that is wrong, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct BadKey {
    /// The key.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
}

fn bad(key: &'static str, message: impl Into<String>) -> BadKey {
    BadKey { key, message: message.into() }
}

/// Which mailboxes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mailboxes {
    /// Those with these primary SMTP addresses.
    Named(Vec<String>),
    /// Those of all users of the instance, by their first addresses.
    Users,
}

/// A source, checked, and the mailboxes that are read.
#[derive(Debug, Clone)]
pub struct Source {
    /// How they are read.
    pub settings: Settings,
    /// Which.
    pub mailboxes: Mailboxes,
}

impl Table {
    /// Checks it.
    ///
    /// # Errors
    /// Naming the key.
    pub fn checked(self) -> Result<Source, BadKey> {
        let secret = self.password.clone();
        let secret =
            secret.ok_or_else(|| bad("password", "a password, password_file or password_env is needed"))?;
        let (server, login) = (self.server()?, self.login(secret)?);
        let access = match self.access {
            RawAccess::Own => Access::Own,
            RawAccess::Impersonate => Access::Impersonate,
            RawAccess::Delegate => Access::Delegate,
        };
        let mailboxes = self.mailboxes(access)?;
        let mut parts: Vec<Part> = self
            .parts
            .iter()
            .map(|part| match part {
                RawPart::Mailbox => Part::Mailbox,
                RawPart::Archive => Part::Archive,
                RawPart::PublicFolders => Part::PublicFolders,
            })
            .collect();
        parts.sort_unstable();
        parts.dedup();
        if parts.is_empty() {
            return Err(bad("parts", "name at least one of \"mailbox\", \"archive\" and \"public-folders\""));
        }
        let one = matches!(&mailboxes, Mailboxes::Named(all) if all.len() == 1);
        if parts.contains(&Part::PublicFolders) && !one {
            let message =
                "public folders are the same for all mailboxes: read them by a profile with one mailbox";
            return Err(bad("parts", message));
        }
        let disposal = match self.delete {
            Delete::Soft => Disposal::Soft,
            Delete::Hard => Disposal::Hard,
            Delete::MoveToDeletedItems => Disposal::MoveToDeletedItems,
        };
        let public_folder_mailbox = self.public_folder_mailbox;
        if public_folder_mailbox.as_deref().is_some_and(|mailbox| !is_address(mailbox)) {
            return Err(bad("public_folder_mailbox", "it is no e-mail address"));
        }
        let (trust, everything, common) = (self.trust, self.everything, Common::default());
        let settings = Settings {
            server,
            trust,
            login,
            access,
            parts,
            everything,
            disposal,
            public_folder_mailbox,
            common,
        };
        Ok(Source { settings, mailboxes })
    }

    fn server(&self) -> Result<Server, BadKey> {
        let hosts = self.autodiscover_hosts.clone();
        if hosts.iter().any(|host| host.is_empty() || !host.bytes().all(is_host_octet)) {
            return Err(bad("autodiscover_hosts", "these are host names, without https:// and paths"));
        }
        match (&self.url, &self.autodiscover) {
            (Some(_), Some(_)) => Err(bad("autodiscover", "with a url nothing needs to be found")),
            (Some(_), None) if !hosts.is_empty() => {
                Err(bad("autodiscover_hosts", "with a url nothing needs to be found"))
            }
            (Some(url), None) => Ok(Server::Url(https("url", url)?)),
            (None, first) => {
                let first = first.as_deref().map(|first| https("autodiscover", first)).transpose()?;
                Ok(Server::Autodiscover { first, hosts })
            }
        }
    }

    fn login(&self, secret: SecretString) -> Result<Login, BadKey> {
        let of_oauth = [
            ("token_endpoint", &self.token_endpoint),
            ("client_id", &self.client_id),
            ("scope", &self.scope),
            ("resource", &self.resource),
        ];
        let stray = of_oauth.iter().find(|(_, value)| value.is_some() && self.auth != Auth::Oauth);
        if let Some((key, _)) = stray {
            return Err(bad(key, "it goes with auth = \"oauth\" only"));
        }
        match self.auth {
            Auth::Basic | Auth::Ntlm => {
                let user = text("username", self.username.as_deref())?;
                if self.auth == Auth::Basic && user.contains(':') {
                    return Err(bad("username", "Basic cannot carry a user name with a colon"));
                }
                let credentials = PlainCredentials { user, password: secret };
                let ntlm = self.auth == Auth::Ntlm;
                Ok(if ntlm { Login::Ntlm(credentials) } else { Login::Basic(credentials) })
            }
            _ if self.username.is_some() => {
                Err(bad("username", "it goes with auth = \"basic\" or \"ntlm\" only"))
            }
            Auth::Bearer => Ok(Login::Bearer(secret)),
            Auth::Oauth => {
                let endpoint = text("token_endpoint", self.token_endpoint.as_deref())?;
                Ok(Login::ClientCredentials(ClientCredentials {
                    endpoint: secure("token_endpoint", &endpoint)?,
                    client_id: text("client_id", self.client_id.as_deref())?,
                    client_secret: secret,
                    scope: self.scope.clone(),
                    resource: self.resource.clone(),
                    trust: self.token_trust.clone(),
                }))
            }
        }
    }

    fn mailboxes(&self, access: Access) -> Result<Mailboxes, BadKey> {
        if self.accounts.is_none() {
            return self.addresses(access).map(Mailboxes::Named);
        }
        if self.mailbox.is_some() || !self.mailboxes.is_empty() {
            return Err(bad("accounts", "either accounts = \"users\", or mailbox or mailboxes"));
        }
        match access {
            Access::Own => Err(bad("accounts", "it needs access = \"impersonate\" or \"delegate\"")),
            Access::Impersonate | Access::Delegate => Ok(Mailboxes::Users),
        }
    }

    fn addresses(&self, access: Access) -> Result<Vec<String>, BadKey> {
        let one = self.mailbox.clone();
        if one.is_some() && !self.mailboxes.is_empty() {
            return Err(bad("mailboxes", "only one of mailbox and mailboxes"));
        }
        let given = one.into_iter().chain(self.mailboxes.iter().cloned()).collect::<Vec<_>>();
        let own = self.username.clone().filter(|user| is_address(user));
        let all = match (given.is_empty(), own, access) {
            (false, ..) => given,
            (true, Some(own), Access::Own) => vec![own],
            _ => return Err(bad("mailbox", "the primary SMTP address of the mailbox is needed")),
        };
        let mut known = std::collections::BTreeSet::new();
        for address in &all {
            if !is_address(address) {
                return Err(bad("mailbox", format!("{address:?} is no e-mail address")));
            }
            if !known.insert(address.to_ascii_lowercase()) {
                return Err(bad("mailboxes", format!("{address} is named twice")));
            }
        }
        if all.len() > 1 && access == Access::Own {
            return Err(bad("mailboxes", "several mailboxes need access = \"impersonate\" or \"delegate\""));
        }
        if all.len() > MAILBOXES_MAX {
            return Err(bad("mailboxes", format!("more than {MAILBOXES_MAX}")));
        }
        Ok(all)
    }
}

fn is_host_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-')
}

fn is_address(text: &str) -> bool {
    let plain = text.len() <= 320 && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let parts = text.rsplit_once('@');
    plain && parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

fn text(key: &'static str, value: Option<&str>) -> Result<String, BadKey> {
    let text = value.ok_or_else(|| bad(key, "it is needed with this kind of auth"))?;
    if text.is_empty() || text.len() > TEXT_OCTETS_MAX || text.chars().any(char::is_control) {
        return Err(bad(key, "1 to 1024 characters are expected here, without control characters"));
    }
    Ok(text.to_owned())
}

fn secure(key: &'static str, url: &str) -> Result<Url, BadKey> {
    let parsed = Url::parse(url).map_err(|error| bad(key, format!("{url:?} is no URL: {error}")))?;
    if Target::of(&parsed).is_none() {
        return Err(bad(key, "it must begin with https:// and must not hold a password"));
    }
    Ok(parsed)
}

fn https(key: &'static str, url: &str) -> Result<Url, BadKey> {
    let parsed = secure(key, url)?;
    if parsed.host_str().is_some_and(online::is_host) {
        return Err(bad(key, super::EwsError::Online(String::new()).to_string()));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests;
