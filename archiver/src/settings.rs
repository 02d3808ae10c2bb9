//! The archiver's settings: `archiver.toml`, overridden by `POSTERN_ARCHIVER__…` variables, checked.
//!
//! `config/archiver.toml` shows every key with its default and what it means.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use postern_shared::config::{ByteSize, ConfigError, ListenAddresses, load};
use postern_shared::disk::Disk;
use postern_shared::telemetry::Level;
use serde::Deserialize;

use crate::jobs::notify::NotificationSettings;
use crate::jobs::notify::settings::RawNotifications;
use crate::jobs::settings::{JobSettings, RawJobs};

/// Prefix of the environment variables that override the file.
pub const ENVIRONMENT_PREFIX: &str = "POSTERN_ARCHIVER__";
/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "/etc/postern/archiver.toml";

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where everything is stored.
    pub data_dir: PathBuf,
    /// Where key files and passphrases of instances are, when not in the instances' directories.
    pub keys_dir: Option<PathBuf>,
    /// How much is logged.
    pub log_level: Level,
    /// The longest message pulled, in octets.
    pub message_bytes_max: u64,
    /// Where files may be that profiles read.
    pub file_roots: Vec<PathBuf>,
    /// When jobs run, and what is kept of it.
    pub jobs: JobSettings,
    /// Where mail about jobs goes.
    pub notifications: Option<NotificationSettings>,
    /// Where the API listens.
    pub api: ListenAddresses,
    /// Where metrics and health are to be had.
    pub metrics: ListenAddresses,
    /// This machine's name, for its self-signed certificate.
    pub host_name: String,
    /// What the API serves TLS with: PEM files of a certificate and its key; else a certificate made at first start.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Keys in the file that this version knows of and does not act on yet.
    pub without_effect: Vec<&'static str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    data_dir: Option<PathBuf>,
    keys_dir: Option<PathBuf>,
    log_level: Option<Level>,
    host_name: Option<String>,
    tls: RawTls,
    limits: RawLimits,
    sources: RawSources,
    listen: RawListen,
    jobs: RawJobs,
    notifications: RawNotifications,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTls {
    mode: TlsMode,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TlsMode {
    #[default]
    SelfSigned,
    Files,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    max_message_size: Option<ByteSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSources {
    file_roots: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawListen {
    api: Option<ListenAddresses>,
    metrics: Option<ListenAddresses>,
    console: Option<ListenAddresses>,
    web: Option<ListenAddresses>,
    imap: Option<ListenAddresses>,
    imaps: Option<ListenAddresses>,
}

/// Where the API listens unless something else is said.
const API_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8474);

fn wrong(file: Option<&Path>, key: &str, message: &str) -> ConfigError {
    let path = file.unwrap_or(Path::new("the environment")).into();
    ConfigError::Invalid { path, line: 1, key: Some(key.into()), message: message.into() }
}

fn own_host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_str().ok().filter(|name| !name.is_empty()).unwrap_or("localhost").to_owned()
}

impl Settings {
    /// Reads `file`; when none is named, [`DEFAULT_FILE`] if it exists.
    pub fn load(
        disk: &dyn Disk,
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let file = file.or_else(|| disk.exists(default).unwrap_or(false).then_some(default));
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let variable = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, v)| v.clone());
        let raw: Raw = load(disk, file, ENVIRONMENT_PREFIX, environment.clone())?;
        let dir = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let notifications = raw
            .notifications
            .check(disk, dir, variable)
            .map_err(|(key, message)| fault(disk, file, "notifications", key, message))?;
        let listen = &raw.listen;
        let listeners = [
            ("listen.console", &listen.console),
            ("listen.web", &listen.web),
            ("listen.imap", &listen.imap),
            ("listen.imaps", &listen.imaps),
        ];
        let set = |addresses: &Option<ListenAddresses>| {
            addresses.as_ref().is_some_and(|listen| !listen.0.is_empty())
        };
        let certificate = match (raw.tls.mode, raw.tls.certificate, raw.tls.key) {
            (TlsMode::SelfSigned, None, None) => None,
            (TlsMode::Files, Some(certificate), Some(key)) => Some((certificate, key)),
            (TlsMode::Files, ..) => {
                return Err(wrong(file, "tls.mode", "mode \"files\" needs certificate and key"));
            }
            (TlsMode::SelfSigned, ..) => {
                return Err(wrong(file, "tls.mode", "certificate and key go with mode = \"files\""));
            }
        };
        if let Some(root) = raw.sources.file_roots.iter().find(|root| !root.is_absolute()) {
            let message = format!("{} is wanted from / on", root.display());
            return Err(fault(disk, file, "sources", "file_roots", message));
        }
        let loopback = || ListenAddresses(vec![API_ADDRESS]);
        Ok(Self {
            api: raw.listen.api.clone().unwrap_or_else(loopback),
            metrics: raw.listen.metrics.clone().unwrap_or_default(),
            host_name: raw.host_name.unwrap_or_else(own_host_name),
            certificate,
            data_dir: raw.data_dir.unwrap_or_else(|| "/var/lib/postern/archiver".into()),
            keys_dir: raw.keys_dir,
            log_level: raw.log_level.unwrap_or_default(),
            message_bytes_max: raw.limits.max_message_size.map_or(256 * 1024 * 1024, |size| size.0),
            file_roots: raw.sources.file_roots,
            jobs: raw.jobs.check(),
            notifications,
            without_effect: listeners
                .into_iter()
                .filter(|(_, listen)| set(listen))
                .map(|(key, _)| key)
                .collect(),
        })
    }
}

/// A fault of keys that are good each for itself; the line is the key's or else the table's.
fn fault(disk: &dyn Disk, file: Option<&Path>, table: &str, key: &str, message: String) -> ConfigError {
    let text = file.and_then(|file| disk.read(file, FILE_BYTES_MAX).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = || (1..).zip(text.lines().map(str::trim));
    let begin = lines().find(|(_, line)| *line == format!("[{table}]")).map_or(1, |(at, _)| at);
    let is_key = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    let of_table = lines().skip(begin).take_while(|(_, line)| !line.starts_with('['));
    let line = of_table.into_iter().find(|(_, line)| is_key(line)).map_or(begin, |(at, _)| at);
    let path = file.unwrap_or(Path::new("the environment")).into();
    ConfigError::Invalid { path, line, key: Some(format!("{table}.{key}")), message }
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::{RealDisk, write_atomic};

    use super::*;

    fn load_text(text: &str) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archiver.toml");
        write_atomic(&RealDisk, &path, text.as_bytes()).unwrap();
        Settings::load(&RealDisk, Some(&path), [])
    }

    #[test]
    fn the_example_shows_the_defaults() {
        let example = include_str!("../../config/archiver.toml");
        let explicit: Vec<&str> =
            example.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line)).collect();
        let explicit = load_text(&explicit.join("\n")).unwrap();
        assert_eq!(format!("{explicit:?}"), format!("{:?}", load_text("").unwrap()));
    }

    #[test]
    fn mistakes_are_named_and_later_keys_are_told() {
        let error = load_text("data_dri = '/x'").unwrap_err().to_string();
        assert!(error.contains("line 1, key \"data_dri\""), "{error}");
        let error = load_text("[sources]\nfile_roots = ['srv/mail']").unwrap_err().to_string();
        assert!(error.contains("line 2, key \"sources.file_roots\""), "{error}");
        let error = load_text("[tls]\nmode = 'files'").unwrap_err().to_string();
        assert!(error.contains("needs certificate and key"), "{error}");
        assert_eq!(load_text("[listen]\nweb = ':8462'").unwrap().without_effect, ["listen.web"]);
    }
}
