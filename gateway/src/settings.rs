//! The gateway's settings: `gateway.toml`, overridden by `POSTERN_GATEWAY__…` variables, checked.
//!
//! Each table is a type whose fields say what the keys mean; `reference` makes `docs/configuration.md` of it.
//! `config/gateway.toml` shows every key with its default.

mod authentication;
mod changes;
mod console;
mod limits;
mod oauth;
mod proxy;
pub mod reference;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::clock::Clock;
use postern_shared::config::{ByteSize, ConfigError, ListenAddresses, load, parse};
use postern_shared::disk::Disk;
use postern_shared::telemetry::{Format, Level, LogFile, Rotation};
use serde::{Deserialize, Serialize};

pub use authentication::Authentication;
use authentication::RawAuthentication;
pub use changes::{Change, changes};
pub use console::Console;
use console::RawConsole;
pub use limits::Limits;
use limits::RawLimits;
use proxy::RawProxy;
pub use proxy::{OnRecordingFailure, ProxySettings};
use reference::{choice, table};
pub(crate) use tls::checked_contact;
pub use tls::{Acme, Tls};
use tls::{RawAcme, RawTls};

use crate::proxy::oauth::Provider;

/// Prefix of the environment variables that override the file.
pub const ENVIRONMENT_PREFIX: &str = "POSTERN_GATEWAY__";
/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "/etc/postern/gateway.toml";

/// Where everything is stored, by a text that has a mistake somewhere. Nothing when that cannot be told for sure: elsewhere
/// may be another gateway's data.
pub(crate) fn data_dir_in(
    text: &str,
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Option<PathBuf> {
    let variable = format!("{ENVIRONMENT_PREFIX}DATA_DIR");
    if let Some((_, said)) = environment.into_iter().find(|(name, _)| *name == variable) {
        return Some(said.into());
    }
    let mut before_tables = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    match before_tables.find(|line| line.contains("data_dir") && !line.trim_start().starts_with('#')) {
        Some(line) => {
            let mut table: toml::Table = toml::from_str(line).ok()?;
            table.remove("data_dir")?.as_str().map(PathBuf::from)
        }
        None => (file == Path::new(DEFAULT_FILE)).then(Settings::default_data_dir),
    }
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The domain of all mailbox addresses.
    pub email_domain: String,
    /// The name in greetings, `Received` fields and the self-signed certificate.
    pub host_name: String,
    /// Where everything is stored.
    pub data_dir: PathBuf,
    /// How much is logged.
    pub log_level: Level,
    /// What log lines look like.
    pub log_format: Format,
    /// Where log lines go.
    pub log: Log,
    /// Where to listen.
    pub listen: Listen,
    /// What to serve TLS with.
    pub tls: Tls,
    /// Which authority to ask for a certificate, when one is wanted.
    pub acme: Acme,
    /// Whether greetings tell the version.
    pub banner_version: bool,
    /// How much, how many, how often, how long.
    pub limits: Limits,
    /// Whether messages are checked when they come.
    pub authentication: Authentication,
    /// The operators' console.
    pub console: Console,
    /// Whether mail clients may go through to their servers.
    pub proxy: ProxySettings,
    /// OAuth providers at which accounts can be bound.
    pub oauth_providers: Vec<Provider>,
}

/// Where to listen; an empty list means off.
#[derive(Debug, Clone)]
pub struct Listen {
    /// SMTP with STARTTLS.
    pub smtp: ListenAddresses,
    /// SMTP with implicit TLS.
    pub smtps: ListenAddresses,
    /// Message submission with STARTTLS.
    pub submission: ListenAddresses,
    /// POP3 with STLS.
    pub pop3: ListenAddresses,
    /// POP3 with implicit TLS.
    pub pop3s: ListenAddresses,
    /// Metrics and health over HTTP, in clear and for everybody who can connect.
    pub metrics: ListenAddresses,
    /// The operators' console over HTTPS.
    pub console: ListenAddresses,
    /// Answers to an authority's challenges (ACME HTTP-01), open when there is one.
    pub http01: ListenAddresses,
}

/// Where log lines go, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The file being written; standard error when there is none.
    pub file: Option<PathBuf>,
    /// When another is begun.
    pub rotation: Rotation,
    /// How many closed ones are kept.
    pub keep: usize,
}

impl Log {
    /// Opens the file, when there is one.
    pub fn open(&self, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Option<LogFile>, SettingsError> {
        let open = |path: &PathBuf| {
            LogFile::open(disk, clock, path, self.rotation, self.keep).map_err(|error| {
                let message = format!("cannot write {}: {error}", path.display());
                SettingsError::Value { file: None, key: "log.file", message }
            })
        };
        self.file.as_ref().map(open).transpose()
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// File or environment.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A value that only the whole can judge.
    #[error("{}key {key:?}: {message}", File(file))]
    Value {
        /// The file, when there is one.
        file: Option<PathBuf>,
        /// The key.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
}

struct File<'f>(&'f Option<PathBuf>);

impl std::fmt::Display for File<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |file| write!(f, "{}, ", file.display()))
    }
}

fn everywhere(port: u16) -> ListenAddresses {
    ListenAddresses(vec![([0, 0, 0, 0], port).into()])
}

table! {
    /// The whole file.
    struct Raw {
        /// The domain of all mailbox addresses (mbx-0123456789abcdef@gateway.example.com). When left out, host_name.
        [Restart] email_domain: Option<String> = None,
        /// The name in greetings, Received fields and the self-signed certificate. When left out, the machine's name.
        [Restart] host_name: Option<String> = None,
        /// Mailboxes, sealed mail, certificates, the control socket. One daemon a directory.
        [Restart] data_dir: PathBuf = "/var/lib/postern/gateway".into(),
        /// How much is logged.
        [Reload] log_level: Level = Level::default(),
        /// What log lines look like: text, or an object a line. Either way each line of a session carries its id.
        [Restart] log_format: Format = Format::default(),
        /// Whether SMTP and POP3 greetings tell this program's version to everybody.
        [Reload] banner_version: bool = false,
        tables {
            /// Where log lines go. A reload opens the file anew, for programs that move log files away.
            log: RawLog,
            /// Where to listen. Passwords are accepted under TLS only, everywhere.
            listen: RawListen,
            /// The operators' console: [console.md](console.md) tells how to sign in for the first time.
            console: RawConsole,
            /// The certificate at every listener: [certificates.md](certificates.md) tells more.
            tls: RawTls,
            /// With mode = "acme": who issues the certificate (RFC 8555, HTTP-01).
            acme: RawAcme,
            /// How much, how many, how often, how long: [operating.md](operating.md) tells what each limit is for. Those on
            /// counts are at least 1 where nothing else is said.
            limits: RawLimits,
            /// What SPF, DKIM, ARC and DMARC say of a message when it comes, recorded with it as evidence; no message is
            /// refused for it. [operating.md](operating.md) tells when it is worth its price.
            authentication: RawAuthentication,
            /// Mail clients that reach their own servers through this gateway, which records what passes. Their user name is
            /// remote_user%server%mailbox-id; [proxy.md](proxy.md) shows how to set them up.
            proxy: RawProxy,
        }
    }
}

table! {
    /// `[listen]`
    struct RawListen {
        /// Journal mail, STARTTLS offered.
        [Restart] smtp: ListenAddresses = everywhere(25),
        /// Journal mail, TLS from the first byte.
        [Restart] smtps: ListenAddresses = everywhere(465),
        /// Journal mail from senders that insist on the submission port, STARTTLS offered.
        [Restart] submission: ListenAddresses = everywhere(587),
        /// Archivers, STLS required before login.
        [Restart] pop3: ListenAddresses = everywhere(110),
        /// Archivers, TLS from the first byte.
        [Restart] pop3s: ListenAddresses = everywhere(995),
        /// /metrics (Prometheus), /healthz and /readyz over plain HTTP. It asks nobody for a password and names the
        /// mailboxes: keep it to this machine or to a management network, for example "127.0.0.1:9464".
        [Restart] metrics: ListenAddresses = ListenAddresses::default(),
        /// The operators' console over HTTPS.
        [Restart] console: ListenAddresses = everywhere(8450),
        /// The authority's challenges, with tls.mode = "acme" only. It always asks port 80: forward that to here when it is
        /// another.
        [Restart] http01: ListenAddresses = everywhere(80),
    }
}

table! {
    /// `[log]`
    struct RawLog {
        /// A log file; without one, lines go to standard error (and with systemd to the journal).
        [Reload] file: Option<PathBuf> = None,
        /// Another file is begun before one grows past this size (at least 64 KiB), or at midnight UTC ("daily").
        [Reload] rotate: RawRotation = RawRotation::Size(ByteSize(100 << 20)),
        /// Closed files that are kept (gateway.log.20261121T073049.123Z), at least 1; older ones are removed.
        [Reload] keep: usize = 10,
    }
}

/// `"daily"`, or a size.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"daily\" or a size like \"100 MiB\"")]
enum RawRotation {
    Named(NamedRotation),
    Size(ByteSize),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NamedRotation {
    Daily,
}

choice! { RawRotation: "`\"daily\"`, or a size" }

impl Settings {
    /// What greetings call this program: its name, and its version only when the operator says so.
    pub fn product(&self) -> &'static str {
        if self.banner_version { concat!("Postern ", env!("CARGO_PKG_VERSION")) } else { "Postern" }
    }

    /// Where everything is stored when nobody says otherwise.
    pub(crate) fn default_data_dir() -> PathBuf {
        Raw::default().data_dir
    }

    /// What counts from a reload on: `new`, but for what waits for a restart.
    #[must_use]
    pub fn reloaded(&self, new: Self) -> Self {
        let now = self.clone();
        Self {
            email_domain: now.email_domain,
            host_name: now.host_name,
            data_dir: now.data_dir,
            log_format: now.log_format,
            listen: now.listen,
            // Files of another mode are nothing to this one.
            tls: if now.tls.mode() == new.tls.mode() { new.tls } else { now.tls },
            acme: now.acme,
            log_level: new.log_level,
            log: new.log,
            banner_version: new.banner_version,
            limits: new.limits,
            authentication: new.authentication,
            console: new.console,
            proxy: new.proxy,
            oauth_providers: new.oauth_providers,
        }
    }

    /// Reads `file`; when none is named, [`DEFAULT_FILE`] if it exists.
    pub fn load(
        disk: &dyn Disk,
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let default = Path::new(DEFAULT_FILE);
        let file = file.or_else(|| disk.exists(default).unwrap_or(false).then_some(default));
        let raw: Raw = load(disk, file, ENVIRONMENT_PREFIX, environment)?;
        raw.checked(file)
    }

    /// As [`Settings::load`], of a text that would stand in `file`.
    pub fn parse(
        text: &str,
        file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let raw: Raw = parse(text, file, ENVIRONMENT_PREFIX, environment)?;
        raw.checked(Some(file))
    }
}

pub(crate) type Wrong = (&'static str, String);

impl Raw {
    fn checked(self, file: Option<&Path>) -> Result<Settings, SettingsError> {
        self.check().map_err(|(key, message)| SettingsError::Value {
            file: file.map(Into::into),
            key,
            message,
        })
    }

    fn check(mut self) -> Result<Settings, Wrong> {
        let oauth_providers = oauth::check_all(std::mem::take(&mut self.proxy.provider))?;
        let host_name = match self.host_name {
            Some(name) => checked_domain("host_name", &name)?,
            None => machine_name(),
        };
        let email_domain = match self.email_domain {
            Some(domain) => checked_domain("email_domain", &domain)?,
            None => host_name.clone(),
        };
        let acme = self.acme.check(&host_name)?;
        Ok(Settings {
            email_domain,
            host_name,
            data_dir: self.data_dir,
            log_level: self.log_level,
            log_format: self.log_format,
            log: self.log.check()?,
            listen: Listen {
                smtp: self.listen.smtp,
                smtps: self.listen.smtps,
                submission: self.listen.submission,
                pop3: self.listen.pop3,
                pop3s: self.listen.pop3s,
                metrics: self.listen.metrics,
                console: self.listen.console,
                http01: self.listen.http01,
            },
            tls: self.tls.check(&acme)?,
            acme,
            banner_version: self.banner_version,
            limits: self.limits.check()?,
            authentication: self.authentication.check()?,
            console: self.console.check()?,
            proxy: self.proxy.check()?,
            oauth_providers,
        })
    }
}

impl RawLog {
    fn check(self) -> Result<Log, Wrong> {
        let rotation = match self.rotate {
            RawRotation::Named(NamedRotation::Daily) => Rotation::Daily,
            RawRotation::Size(ByteSize(bytes)) => Rotation::Bytes(at_least("log.rotate", 64 * 1024, bytes)?),
        };
        Ok(Log { file: self.file, rotation, keep: count("log.keep", self.keep)? })
    }
}

fn at_least<N: PartialOrd + Copy + std::fmt::Display>(
    key: &'static str,
    min: N,
    value: N,
) -> Result<N, Wrong> {
    if value < min { Err((key, format!("{value} is too small; {min} is the least"))) } else { Ok(value) }
}

/// More of anything at once than a machine can have: places are counted, added up, and some of them made beforehand.
const COUNT_MAX: usize = 1_000_000;

/// How many of something there may be at once: one at least.
fn count(key: &'static str, value: usize) -> Result<usize, Wrong> {
    count_up_to(COUNT_MAX, key, value)
}

fn count_up_to(max: usize, key: &'static str, value: usize) -> Result<usize, Wrong> {
    match at_least(key, 1, value)? {
        value if value > max => Err((key, format!("{value} is too large; {max} is the most"))),
        value => Ok(value),
    }
}

/// A host name that may stand in an address and a greeting: letters, digits, hyphens and dots (RFC 5321 §2.3.5).
pub(crate) fn checked_domain(key: &'static str, text: &str) -> Result<String, Wrong> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err((key, format!("{text:?} is not a domain name like gateway.example.com")));
    }
    Ok(text.to_ascii_lowercase())
}

pub(crate) fn machine_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    checked_domain("host_name", &name).unwrap_or_else(|_| "localhost".into())
}

#[cfg(test)]
mod tests;
