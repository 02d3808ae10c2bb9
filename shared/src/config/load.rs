//! Reading a configuration file and the environment.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::disk::Disk;

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has something wrong in it.
    #[error("{path}, line {line}{}: {message}", Key(key))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, with its table, when the line has one.
        key: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// An environment variable has something wrong in it.
    #[error("environment variable {variable}: {message}")]
    Environment {
        /// The variable.
        variable: String,
        /// What is wrong.
        message: String,
    },
}

struct Key<'k>(&'k Option<String>);

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |key| write!(f, ", key {key:?}"))
    }
}

/// Reads `path` (nothing when `None`) and lays the variables that begin with `prefix` over it:
/// with the prefix `POSTERN_GATEWAY__`, `POSTERN_GATEWAY__LISTEN__SMTP` stands for `smtp` in `[listen]`. A value is
/// read as TOML when it is TOML, else as text.
pub fn load<R: DeserializeOwned>(
    disk: &dyn Disk,
    path: Option<&Path>,
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<R, ConfigError> {
    let text = match path {
        Some(path) => read(disk, path)?,
        None => String::new(),
    };
    parse(&text, path.unwrap_or(Path::new("")), prefix, environment)
}

/// As [`load`], of a text that would stand in the file `at`.
pub fn parse<R: DeserializeOwned>(
    text: &str,
    at: &Path,
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<R, ConfigError> {
    let mut raw: R = toml::from_str(text).map_err(|error| invalid(at, text, &error))?;
    let mut table: toml::Table = toml::from_str(text).map_err(|error| invalid(at, text, &error))?;
    let mut variables: Vec<_> =
        environment.into_iter().filter(|(name, _)| name.starts_with(prefix)).collect();
    variables.sort();
    for (variable, value) in variables {
        let environment = |message: String| ConfigError::Environment { variable: variable.clone(), message };
        overlay(&mut table, &variable[prefix.len()..], &value).map_err(environment)?;
        // Once for each variable, so that an error can name the one it came with.
        raw = table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| environment(error.message().to_owned()))?;
    }
    Ok(raw)
}

fn read(disk: &dyn Disk, path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.into(), source };
    let bytes = disk.read(path, FILE_BYTES_MAX).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        ConfigError::Invalid {
            path: path.into(),
            line,
            key: None,
            message: "the file is not UTF-8 text".into(),
        }
    })
}

fn overlay(table: &mut toml::Table, name: &str, value: &str) -> Result<(), String> {
    let mut keys: Vec<String> = name.split("__").map(str::to_ascii_lowercase).collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or("no key behind the prefix")?;
    let mut here = table;
    for key in keys {
        let next = here.entry(key.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        here = next.as_table_mut().ok_or_else(|| format!("{key:?} is not a table"))?;
    }
    let parsed =
        toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut t| t.remove("value"));
    here.insert(last, parsed.unwrap_or_else(|| toml::Value::String(value.to_owned())));
    Ok(())
}

fn invalid(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..at).unwrap_or("");
    let line = 1 + before.matches('\n').count();
    ConfigError::Invalid {
        path: path.into(),
        line,
        key: key_at(text, line),
        message: error.message().to_owned(),
    }
}

/// The key of a line, with the table it stands in.
fn key_at(text: &str, line: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let (key, _) = lines.last()?.split_once('=')?;
    let table = lines.iter().rev().map(|line| line.trim()).find(|line| line.starts_with('['));
    let table = table.map(|header| header.trim_matches(['[', ']']).trim());
    let key = key.trim();
    Some(table.map_or_else(|| key.to_owned(), |table| format!("{table}.{key}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenAddresses;
    use crate::disk::{RealDisk, write_atomic};

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Raw {
        name: Option<String>,
        listen: Listen,
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Listen {
        smtp: Option<ListenAddresses>,
    }

    fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<Raw, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.toml");
        write_atomic(&RealDisk, &path, text.as_bytes()).unwrap();
        let variables = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(&RealDisk, Some(&path), "T__", variables)
    }

    fn error(text: &str, environment: &[(&str, &str)]) -> String {
        let error = load_text(text, environment).unwrap_err().to_string();
        error.split_once("test.toml").map_or_else(|| error.clone(), |(_, rest)| rest.to_owned())
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let raw =
            load_text("name = 'a'\n[listen]\nsmtp = ':25'", &[("T__LISTEN__SMTP", "127.0.0.1:0,[::1]:0")])
                .unwrap();
        assert_eq!(raw.name.as_deref(), Some("a"));
        assert_eq!(raw.listen.smtp.unwrap().0.len(), 2);
        let off = load_text("", &[("T__LISTEN__SMTP", "[]"), ("OTHER", "x")]).unwrap();
        assert_eq!(off.listen.smtp.unwrap().0, []);
    }

    #[test]
    fn errors_name_line_and_key() {
        let unknown = error("name = 'a'\n\n[listen]\nsmpt = ':25'\n", &[]);
        assert!(unknown.starts_with(", line 4, key \"listen.smpt\": unknown field `smpt`"), "{unknown}");
        let bad = error("[listen]\nsmtp = [':25', 'x']", &[]);
        assert!(bad.starts_with(", line 2, key \"listen.smtp\": \"x\" is not an address"), "{bad}");
        let syntax = error("name = \n", &[]);
        assert!(syntax.starts_with(", line 1, key \"name\""), "{syntax}");
        assert!(error("name = 7", &[]).contains("expected a string"));
    }

    #[test]
    fn errors_name_the_variable_or_the_missing_file() {
        let bad = error("", &[("T__LISTEN__SMTP", "x")]);
        assert!(bad.starts_with("environment variable T__LISTEN__SMTP: \"x\" is not"), "{bad}");
        let unknown = error("", &[("T__NMAE", "x")]);
        assert!(unknown.starts_with("environment variable T__NMAE: unknown field"), "{unknown}");
        let missing = load::<Raw>(&RealDisk, Some(Path::new("/none/there.toml")), "T__", []).unwrap_err();
        assert!(missing.to_string().contains("/none/there.toml"), "{missing}");
    }
}
