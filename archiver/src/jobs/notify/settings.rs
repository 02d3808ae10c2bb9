//! `[notifications]` of the configuration.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_shared::config::Period;
use postern_shared::disk::Disk;
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

const PASSWORD_BYTES_MAX: u64 = 4096;
const TO_MAX: usize = 20;
const REPEAT: Duration = Duration::from_secs(24 * 3600);
const GATHER: Duration = Duration::from_secs(30);

/// Where mail about jobs goes, and how.
#[derive(Debug, Clone)]
pub struct NotificationSettings {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How TLS begins.
    pub tls: MailTls,
    /// Which certificates are accepted.
    pub trust: Trust,
    /// Whom the mail is from.
    pub from: String,
    /// Whom it goes to.
    pub to: Vec<String>,
    /// For the login.
    pub credentials: Option<PlainCredentials>,
    /// How often it is told that jobs still fail.
    pub repeat: Duration,
    /// What happens within it goes into one mail.
    pub gather: Duration,
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// After STARTTLS.
    #[default]
    Starttls,
    /// At once.
    Implicit,
    /// Not at all: for a server on the same machine. No login.
    None,
}

impl MailTls {
    fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

/// As they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNotifications {
    host: Option<HostName>,
    port: Option<NonZeroU16>,
    tls: Option<MailTls>,
    trust: Option<Trust>,
    from: Option<MailAddress>,
    to: Addresses,
    username: Option<String>,
    password: Option<SecretString>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    repeat: Option<Period>,
    gather: Option<Period>,
}

/// A host name or an address.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct HostName(String);

impl TryFrom<String> for HostName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_".contains(&byte);
        let good = (1..=253).contains(&text.len()) && text.bytes().all(plain);
        if good { Ok(Self(text)) } else { Err("a host name or an IP address is expected here") }
    }
}

/// An address that every server takes: `local@domain` in ASCII, nothing quoted.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct MailAddress(String);

impl TryFrom<String> for MailAddress {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let part = |part: &str, more: &[u8]| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            let dots = part.starts_with('.') || part.ends_with('.') || part.contains("..");
            !part.is_empty() && !dots && part.bytes().all(plain)
        };
        let good = text.rsplit_once('@').is_some_and(|(local, domain)| {
            local.len() <= 64
                && domain.len() <= 253
                && part(local, b".!#$%&'*+-/=?^_`{|}~")
                && part(domain, b".-")
        });
        if good { Ok(Self(text)) } else { Err("an address like admin@example.com is expected here") }
    }
}

/// One address or a list of them.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged, expecting = "an address like \"admin@example.com\" is expected here, or a list of them")]
enum Addresses {
    #[default]
    None,
    One(MailAddress),
    Many(Vec<MailAddress>),
}

impl RawNotifications {
    /// `None` when no host is named: nothing is told. The key that is wrong, and why, else. `dir` is where the configuration
    /// file lies.
    pub fn check(
        self,
        disk: &dyn Disk,
        dir: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<NotificationSettings>, (&'static str, String)> {
        let to: Vec<String> = match self.to {
            Addresses::None => Vec::new(),
            Addresses::One(address) => vec![address.0],
            Addresses::Many(addresses) => addresses.into_iter().map(|address| address.0).collect(),
        };
        let Some(HostName(host)) = self.host else {
            let written = self.from.is_some() || !to.is_empty() || self.username.is_some();
            return if written { Err(("host", "the mail server is missing".into())) } else { Ok(None) };
        };
        let tls = self.tls.unwrap_or_default();
        let from = self.from.ok_or(("from", "the address the mail is from is missing".to_owned()))?.0;
        if !(1..=TO_MAX).contains(&to.len()) {
            return Err(("to", format!("1 to {TO_MAX} addresses are expected")));
        }
        let password = match (self.password, self.password_file, self.password_env) {
            (password, None, None) => password,
            (None, Some(file), None) => {
                let file = dir.join(file);
                let unreadable = |why: String| ("password_file", format!("{}: {why}", file.display()));
                let bytes =
                    disk.read(&file, PASSWORD_BYTES_MAX).map_err(|error| unreadable(error.to_string()))?;
                let bytes = Zeroizing::new(bytes);
                let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("this is no text".into()))?;
                Some(SecretString::from(text.trim_end_matches(['\r', '\n'])))
            }
            (None, None, Some(name)) => {
                let value = environment(&name).ok_or(("password_env", format!("{name} is not set")))?;
                Some(SecretString::from(value))
            }
            _ => return Err(("password", "only one of password, password_file and password_env".into())),
        };
        let credentials = match (self.username, password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some(PlainCredentials { user, password }),
            _ => return Err(("username", "username and password go together".into())),
        };
        if tls == MailTls::None && credentials.is_some() {
            return Err(("tls", "a password goes over TLS only: starttls or implicit".into()));
        }
        Ok(Some(NotificationSettings {
            host,
            port: self.port.map_or(tls.port(), NonZeroU16::get),
            tls,
            trust: self.trust.unwrap_or(Trust::System),
            from,
            to,
            credentials,
            repeat: self.repeat.map_or(REPEAT, |period| period.0),
            gather: self.gather.map_or(GATHER, |period| period.0),
        }))
    }
}
