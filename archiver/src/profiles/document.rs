//! A profile as it was written, with its secrets apart: what is stored, shown and sealed.
//!
//! A secret is a value whose key is `password`, `client_secret` or `refresh_token`, wherever it stands. It may lie elsewhere:
//! `password_file` (relative to the profile's file) or `password_env`, and the same for the others.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use postern_shared::config::{ConfigError, load};
use postern_shared::disk::Disk;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::{Zeroize, Zeroizing};

const SECRETS: [&str; 3] = ["password", "client_secret", "refresh_token"];
const SECRET_BYTES_MAX: u64 = 16 * 1024;
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A place in a document: keys, and numbers of what stands in lists.
pub(super) type Place = Vec<String>;

/// What is wrong with a value, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", self.prefix())]
pub struct Fault {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(place: &[&str], message: impl Into<String>) -> Self {
        Self { place: place.iter().map(|&step| step.to_owned()).collect(), message: message.into() }
    }

    fn prefix(&self) -> String {
        let key = self.key();
        if key.is_empty() { key } else { format!("{key}: ") }
    }

    /// `source.account.username`
    pub fn key(&self) -> String {
        let is_key = |step: &&String| step.parse::<usize>().is_err();
        self.place.iter().filter(is_key).cloned().collect::<Vec<_>>().join(".")
    }
}

/// A profile's values, its secrets apart by their JSON pointers.
#[derive(Clone)]
pub struct Document {
    pub(super) open: Value,
    pub(super) secrets: BTreeMap<String, SecretString>,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}, {} secrets)", self.open, self.secrets.len())
    }
}

impl Document {
    /// Takes the secrets out of a value.
    pub(super) fn of(mut whole: Value) -> Self {
        let mut secrets = BTreeMap::new();
        take_secrets(&mut whole, &mut String::new(), &mut secrets);
        Self { open: whole, secrets }
    }

    /// The value with its secrets in it; to be wiped.
    pub(super) fn whole(&self) -> Whole {
        let mut whole = self.open.clone();
        for (pointer, secret) in &self.secrets {
            let Some((parent, key)) = pointer.rsplit_once('/') else { continue };
            if let Some(Value::Object(table)) = whole.pointer_mut(parent) {
                table.insert(key.to_owned(), secret.expose_secret().into());
            }
        }
        Whole(whole)
    }
}

/// A value with secrets in it, wiped when dropped.
pub(super) struct Whole(pub(super) Value);

impl Drop for Whole {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(all) => all.iter_mut().for_each(wipe),
        Value::Object(table) => table.values_mut().for_each(wipe),
        _ => {}
    }
}

fn take_secrets(value: &mut Value, at: &mut String, secrets: &mut BTreeMap<String, SecretString>) {
    let here = at.len();
    match value {
        Value::Array(all) => {
            for (index, one) in all.iter_mut().enumerate() {
                at.push_str(&format!("/{index}"));
                take_secrets(one, at, secrets);
                at.truncate(here);
            }
        }
        Value::Object(table) => {
            for key in SECRETS {
                if let Some(Value::String(text)) = table.get_mut(key) {
                    secrets.insert(format!("{at}/{key}"), std::mem::take(text).into());
                    table.remove(key);
                }
            }
            for (key, one) in table.iter_mut() {
                // As JSON pointers write it (RFC 6901 §3).
                at.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
                take_secrets(one, at, secrets);
                at.truncate(here);
            }
        }
        _ => {}
    }
}

/// A profile's text with all secrets in it, and how to tell where in it something stands.
pub(super) struct Written<'p> {
    path: &'p Path,
    pub(super) text: Zeroizing<String>,
}

impl<'p> Written<'p> {
    /// Reads the file at `path` and what it points to.
    pub(super) fn read(
        disk: &dyn Disk,
        path: &'p Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        // Tells what is no text or no TOML.
        let _: toml::Table = load(disk, Some(path), "", [])?;
        let bytes = disk.read(path, FILE_BYTES_MAX);
        let bytes = bytes.map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let bytes = Zeroizing::new(bytes);
        let mut written = Self { path, text: Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()) };
        written.fetch(disk, &environment)?;
        Ok(written)
    }

    /// Puts what lies elsewhere in its place, on the same line.
    fn fetch(
        &mut self,
        disk: &dyn Disk,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), ConfigError> {
        let mut found = Vec::new();
        if let Ok(table) = DeTable::parse(&self.text) {
            let elsewhere = Elsewhere { disk, dir: self.path.parent().unwrap_or(Path::new("")), environment };
            let fetched = elsewhere.fetch(table.get_ref(), &mut Vec::new(), &mut found);
            fetched.map_err(|fault| self.error(&fault))?;
        }
        // From the end, so that what stands before stays where it is.
        found.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        for (range, instead) in found {
            self.text.replace_range(range, &instead);
        }
        Ok(())
    }

    /// Names file, line and key.
    pub(super) fn error(&self, fault: &Fault) -> ConfigError {
        let table = DeTable::parse(&self.text).ok();
        let start = table.and_then(|table| start_of(table.get_ref(), &fault.place)).unwrap_or(0);
        let before = self.text.get(..start).unwrap_or_default();
        ConfigError::Invalid {
            path: self.path.into(),
            line: 1 + before.matches('\n').count(),
            key: Some(fault.key()).filter(|key| !key.is_empty()),
            message: fault.message.clone(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.path
    }
}

/// Where a place begins; where the innermost table around it begins when it is not there.
fn start_of(table: &DeTable<'_>, place: &[String]) -> Option<usize> {
    let (first, rest) = place.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref().as_ref() == first)?;
    start_in(value, rest).or(Some(key.span().start))
}

fn start_in(value: &Spanned<DeValue<'_>>, place: &[String]) -> Option<usize> {
    let (first, rest) = place.split_first()?;
    match value.get_ref() {
        DeValue::Table(table) => start_of(table, place),
        DeValue::Array(all) => {
            let one = all.get(first.parse::<usize>().ok()?)?;
            start_in(one, rest).or(Some(one.span().start))
        }
        _ => None,
    }
}

/// Where secrets may lie.
struct Elsewhere<'e> {
    disk: &'e dyn Disk,
    dir: &'e Path,
    environment: &'e dyn Fn(&str) -> Option<String>,
}

type Found = Vec<(Range<usize>, Zeroizing<String>)>;

impl Elsewhere<'_> {
    fn fetch(&self, table: &DeTable<'_>, at: &mut Place, found: &mut Found) -> Result<(), Fault> {
        for secret in SECRETS {
            self.fetch_one(table, secret, at, found)?;
        }
        for (key, value) in table {
            at.push(key.get_ref().as_ref().to_owned());
            self.fetch_in(value.get_ref(), at, found)?;
            at.pop();
        }
        Ok(())
    }

    fn fetch_in(&self, value: &DeValue<'_>, at: &mut Place, found: &mut Found) -> Result<(), Fault> {
        match value {
            DeValue::Table(table) => self.fetch(table, at, found)?,
            DeValue::Array(all) => {
                for (index, one) in all.iter().enumerate() {
                    at.push(index.to_string());
                    self.fetch_in(one.get_ref(), at, found)?;
                    at.pop();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn fetch_one(
        &self,
        table: &DeTable<'_>,
        secret: &str,
        at: &[String],
        found: &mut Found,
    ) -> Result<(), Fault> {
        let names = [secret.to_owned(), format!("{secret}_file"), format!("{secret}_env")];
        let written = |name: &String| table.iter().find(|(key, _)| key.get_ref().as_ref() == name);
        let mut there = names.iter().filter_map(written);
        let Some((key, value)) = there.next() else { return Ok(()) };
        let name = key.get_ref().as_ref();
        let fault = |message: String| {
            let place = at.iter().cloned().chain([name.to_owned()]).collect();
            Fault { place, message }
        };
        if there.next().is_some() {
            return Err(fault(format!("only one of {}, {} and {}", names[0], names[1], names[2])));
        }
        // What is no text is told by whoever reads the value.
        let Some(text) = value.get_ref().as_str() else { return Ok(()) };
        let text = match name.strip_prefix(secret) {
            Some("_file") => self.file(text).map_err(fault)?,
            Some("_env") => {
                let value = (self.environment)(text);
                Zeroizing::new(
                    value.ok_or_else(|| fault(format!("there is no environment variable {text}")))?,
                )
            }
            _ => Zeroizing::new(text.to_owned()),
        };
        if text.is_empty() || text.chars().any(char::is_control) {
            let what = secret.replace('_', " ");
            return Err(fault(format!("the {what} is empty or holds a control character")));
        }
        let escaped = Zeroizing::new(text.replace('\\', "\\\\").replace('"', "\\\""));
        let instead = Zeroizing::new(format!("{secret} = \"{}\"", *escaped));
        found.push((key.span().start..value.span().end, instead));
        Ok(())
    }

    fn file(&self, name: &str) -> Result<Zeroizing<String>, String> {
        let file = self.dir.join(name);
        let fail = |reason: String| format!("cannot read {}: {reason}", file.display());
        let bytes = self.disk.read(&file, SECRET_BYTES_MAX).map_err(|error| fail(error.to_string()))?;
        let bytes = Zeroizing::new(bytes);
        let text = std::str::from_utf8(&bytes).map_err(|_| fail("it is not UTF-8 text".into()))?;
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}
