//! A profile as an operator writes it, and checked.
//!
//! ```toml
//! name = "journal"
//! [source]
//! type = "gateway"
//! host = "gateway.example.com"
//! port = 995              # default: 995, with starttls 110
//! tls = "implicit"        # default; or starttls
//! trust = "system"        # default; or any, or "sha256:<hex>" (pinned certificate)
//! username = "mbx-dead1234beef5678"
//! password = "…"          # or password_file (relative to this file), or password_env
//! [assign]
//! mode = "envelope"       # default; or user
//! user = "anna"           # with mode = "user"
//! ```

use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use postern_shared::config::{ConfigError, load};
use postern_shared::disk::Disk;
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::sources::gateway;

const PASSWORD_BYTES_MAX: u64 = 4096;
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A profile that can be run.
#[derive(Debug, Clone)]
pub struct Profile {
    /// What it is called within its instance.
    pub name: ProfileName,
    /// Where mail comes from.
    pub source: SourceProfile,
    /// Whose it becomes.
    pub assign: Assign,
}

/// Where mail comes from.
#[derive(Debug, Clone)]
pub enum SourceProfile {
    /// A Postern gateway.
    Gateway(gateway::Settings),
}

/// Whose archive a message goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase", deny_unknown_fields)]
pub enum Assign {
    /// Every internal participant's, by the envelope; nobody's goes to the archive "unassigned".
    Envelope {},
    /// One user's.
    User {
        /// The user's name within the instance.
        user: String,
    },
}

/// A profile's name, which is also its file's: a letter or digit, then up to 63 letters, digits, `.`, `_`, `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileName(String);

impl ProfileName {
    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot be a profile's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no profile name: a letter or digit, then at most 63 letters, digits, '.', '_' or '-'")]
pub struct BadName(String);

impl FromStr for ProfileName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && text.len() <= 64 && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(BadName(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for ProfileName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<ProfileName> for String {
    fn from(name: ProfileName) -> Self {
        name.0
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: ProfileName,
    source: RawSource,
    #[serde(default)]
    assign: RawAssign,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    #[serde(rename = "type")]
    kind: SourceType,
    host: Line,
    port: Option<NonZeroU16>,
    #[serde(default)]
    tls: Tls,
    #[serde(default = "system")]
    trust: Trust,
    username: Line,
    password: Option<SecretString>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAssign {
    #[serde(default)]
    mode: Mode,
    user: Option<Line>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Envelope,
    User,
}

/// How TLS begins, as it is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    #[default]
    Implicit,
    Starttls,
}

impl From<Tls> for TlsStart {
    fn from(tls: Tls) -> Self {
        match tls {
            Tls::Implicit => Self::Implicit,
            Tls::Starttls => Self::Stls,
        }
    }
}

impl From<TlsStart> for Tls {
    fn from(tls: TlsStart) -> Self {
        match tls {
            TlsStart::Implicit => Self::Implicit,
            TlsStart::Stls => Self::Starttls,
        }
    }
}

fn system() -> Trust {
    Trust::System
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum SourceType {
    Gateway,
}

impl TryFrom<String> for SourceType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "gateway" => Ok(Self::Gateway),
            "imap" | "pop3" | "ews" | "graph" | "files" => {
                Err(format!("sources of type {text:?} are not supported by this version; \"gateway\" is"))
            }
            _ => Err(format!("{text:?} is no type of source; \"gateway\" is")),
        }
    }
}

/// 1 to 255 characters, none of them a control character, no blanks around them.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Line(String);

impl TryFrom<String> for Line {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > 255 || text.trim() != text || text.chars().any(char::is_control) {
            return Err(
                "1 to 255 characters are expected here, without control characters, and without blanks around",
            );
        }
        Ok(Self(text))
    }
}

impl Profile {
    /// Reads and checks the file at `path`. `environment` gives the value of a variable that `password_env` names.
    ///
    /// # Errors
    /// Naming file, line and key.
    pub fn read(
        disk: &dyn Disk,
        path: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let raw: Raw = load(disk, Some(path), "", [])?;
        let fault = |table: &str, key: &str, message: String| {
            let text = disk.read(path, FILE_BYTES_MAX).unwrap_or_default();
            let line = line_of(&String::from_utf8_lossy(&text), table, key);
            ConfigError::Invalid { path: path.into(), line, key: Some(format!("{table}.{key}")), message }
        };
        let source = match raw.source.kind {
            SourceType::Gateway => {
                let password = password(disk, path, &raw.source, environment)
                    .map_err(|(key, message)| fault("source", key, message))?;
                SourceProfile::Gateway(gateway_settings(raw.source, password))
            }
        };
        let assign = match (raw.assign.mode, raw.assign.user) {
            (Mode::Envelope, None) => Assign::Envelope {},
            (Mode::User, Some(user)) => Assign::User { user: user.0 },
            (Mode::User, None) => {
                return Err(fault("assign", "mode", "mode = \"user\" needs a user = \"…\" beside it".into()));
            }
            (Mode::Envelope, Some(_)) => {
                return Err(fault("assign", "user", "user goes with mode = \"user\" only".into()));
            }
        };
        Ok(Self { name: raw.name, source, assign })
    }
}

fn gateway_settings(raw: RawSource, password: SecretString) -> gateway::Settings {
    let usual = match raw.tls {
        Tls::Implicit => 995,
        Tls::Starttls => 110,
    };
    gateway::Settings {
        host: raw.host.0,
        port: raw.port.map_or(usual, NonZeroU16::get),
        tls: raw.tls.into(),
        trust: raw.trust,
        credentials: PlainCredentials { user: raw.username.0, password },
    }
}

/// The password from wherever it is; else the key that is wrong, and what is wrong with it.
fn password(
    disk: &dyn Disk,
    path: &Path,
    source: &RawSource,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<SecretString, (&'static str, String)> {
    let (key, password) = match (&source.password, &source.password_file, &source.password_env) {
        (Some(password), None, None) => ("password", password.clone()),
        (None, Some(file), None) => {
            let file = path.parent().unwrap_or(Path::new("")).join(file);
            let fail =
                |reason: String| ("password_file", format!("cannot read {}: {reason}", file.display()));
            let bytes = disk.read(&file, PASSWORD_BYTES_MAX).map_err(|error| fail(error.to_string()))?;
            let bytes = Zeroizing::new(bytes);
            let text = std::str::from_utf8(&bytes).map_err(|_| fail("it is not UTF-8 text".into()))?;
            ("password_file", SecretString::from(text.trim_end_matches(['\r', '\n'])))
        }
        (None, None, Some(variable)) => {
            let value = environment(variable)
                .ok_or_else(|| ("password_env", format!("there is no environment variable {variable}")))?;
            ("password_env", SecretString::from(value))
        }
        (None, None, None) => {
            return Err(("username", "a password, password_file or password_env is needed beside it".into()));
        }
        (Some(_), ..) => {
            return Err(("password", "only one of password, password_file and password_env".into()));
        }
        _ => return Err(("password_file", "only one of password_file and password_env".into())),
    };
    let text = password.expose_secret();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err((key, "the password is empty or holds a control character".into()));
    }
    Ok(password)
}

/// The line, from 1, on which `key` of `[table]` stands; that of the table when the key is not there; else 1.
fn line_of(text: &str, table: &str, key: &str) -> usize {
    let mut here = String::new();
    let mut table_line = 1;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            header.trim_end_matches(']').trim().clone_into(&mut here);
            if here == table {
                table_line = index + 1;
            }
        } else if here == table && line.split_once('=').is_some_and(|(found, _)| found.trim() == key) {
            return index + 1;
        }
    }
    table_line
}
