//! Every key, what it means, and what it is set to.

use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

use crate::settings::ENVIRONMENT_PREFIX;

const REFERENCE: &str = include_str!("../../../../config/gateway.toml");
/// Keys that take effect at once.
const LIVE: [&str; 1] = ["log_level"];
const MASK: &str = "(not shown)";

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::console) enum Source {
    /// Nobody has set it.
    Default,
    /// The configuration file.
    File,
    /// An environment variable; what the file says does not count.
    Environment,
}

/// A key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::console) struct Key {
    /// With its table: `limits.sessions`.
    pub(in crate::console) key: String,
    /// What it means.
    pub(in crate::console) description: String,
    /// What it is set to.
    #[schema(value_type = Option<Object>)]
    pub(in crate::console) value: Option<serde_json::Value>,
    /// What it is when nobody sets it.
    #[schema(value_type = Option<Object>)]
    pub(in crate::console) default: Option<serde_json::Value>,
    /// Who has set it.
    pub(in crate::console) source: Source,
    /// A change takes effect after a restart only.
    pub(in crate::console) needs_restart: bool,
}

#[derive(Debug)]
pub(super) struct Documented {
    pub(super) key: String,
    description: String,
    default: Option<toml::Value>,
}

static DOCUMENTED: LazyLock<Vec<Documented>> = LazyLock::new(|| read(REFERENCE));

/// Whether a change of `key` waits for a restart.
pub(super) fn needs_restart(key: &str) -> bool {
    !LIVE.contains(&key)
}

/// All keys, in the order of the reference, as `file` (the configuration file's text) and `environment` set them.
pub(in crate::console) fn keys(file: &str, environment: &[(String, String)]) -> Vec<Key> {
    let table: toml::Table = toml::from_str(file).unwrap_or_default();
    let key = |documented: &Documented| {
        let from_file = at(&table, &documented.key).cloned();
        let from_environment =
            variable(environment, &documented.key).map(|text| toml::Value::String(text.into()));
        let (value, source) = match (from_environment, from_file) {
            (Some(value), _) => (Some(value), Source::Environment),
            (None, Some(value)) => (Some(value), Source::File),
            (None, None) => (documented.default.clone(), Source::Default),
        };
        let is_secret = ["password", "secret"].iter().any(|word| documented.key.ends_with(word));
        let json = |value: Option<toml::Value>| value.and_then(|value| serde_json::to_value(value).ok());
        Key {
            key: documented.key.clone(),
            description: documented.description.clone(),
            value: if is_secret { value.map(|_| MASK.into()) } else { json(value) },
            default: json(documented.default.clone()),
            source,
            needs_restart: needs_restart(&documented.key),
        }
    };
    DOCUMENTED.iter().map(key).collect()
}

/// The environment variable that overrides a key.
pub(super) fn variable<'e>(environment: &'e [(String, String)], key: &str) -> Option<&'e str> {
    let name = format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase());
    environment.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.as_str())
}

pub(super) fn at<'t>(table: &'t toml::Table, key: &str) -> Option<&'t toml::Value> {
    let (tables, last) = key.rsplit_once('.').map_or((None, key), |(tables, last)| (Some(tables), last));
    let mut here = table;
    for name in tables.into_iter().flat_map(|tables| tables.split('.')) {
        here = here.get(name)?.as_table()?;
    }
    here.get(last)
}

/// Whether there is such a key.
pub(super) fn is_known(key: &str) -> bool {
    DOCUMENTED.iter().any(|documented| documented.key == key)
}

/// Comments, then `key = value`, `#= key = value` (the default) or `# key = value` (an example).
fn read(text: &str) -> Vec<Documented> {
    let (mut found, mut table, mut comments, mut in_list) = (Vec::new(), String::new(), Vec::new(), false);
    let mut described: Vec<&str> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() {
            comments.clear();
            in_list = false;
        } else if in_list || line.starts_with("# [[") {
            // Tables that may stand there as often as wanted have no keys of their own.
            in_list = true;
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = format!("{}.", name.trim_matches(['[', ']']));
            comments.clear();
        } else if let Some((key, value, is_default)) = assignment(line) {
            // Keys in a row share what is said above the first.
            if !comments.is_empty() {
                described = std::mem::take(&mut comments);
            }
            let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
            let default = parsed.ok().filter(|_| is_default).and_then(|mut parsed| parsed.remove("value"));
            found.push(Documented {
                key: format!("{table}{key}"),
                description: described.join(" "),
                default,
            });
        } else if let Some(comment) = line.strip_prefix('#') {
            comments.push(comment.trim());
        }
    }
    found
}

/// Key, value, and whether it shows the default.
fn assignment(line: &str) -> Option<(&str, &str, bool)> {
    let (rest, is_default, is_comment) = match (line.strip_prefix("#="), line.strip_prefix('#')) {
        (Some(rest), _) => (rest, true, false),
        (None, Some(rest)) => (rest, false, true),
        (None, None) => (line, false, false),
    };
    let (key, value) = rest.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_key = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    // A comment may hold an equals sign.
    let is_value = !is_comment || value.starts_with(['"', '[', '{']) || value.parse::<f64>().is_ok();
    (is_key && is_value).then_some((key, value, is_default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'k>(keys: &'k [Key], name: &str) -> &'k Key {
        keys.iter().find(|key| key.key == name).unwrap_or_else(|| panic!("no {name}"))
    }

    #[test]
    fn every_key_is_known_with_its_meaning_and_default() {
        let keys = keys("", &[]);
        assert!(keys.iter().all(|key| !key.description.is_empty()), "{keys:#?}");
        let sessions = key(&keys, "limits.sessions");
        assert_eq!((sessions.default.clone(), sessions.source), (Some(2000.into()), Source::Default));
        assert_eq!(key(&keys, "listen.console").default, Some(serde_json::json!(["0.0.0.0:8450"])));
        assert!(key(&keys, "console.idle_timeout").description.contains("without a request"));
        assert!(key(&keys, "tls.certificate").default.is_none(), "an example is no default");
        assert!(!key(&keys, "log_level").needs_restart && sessions.needs_restart);
    }

    #[test]
    fn values_come_from_file_and_environment() {
        let environment = [("POSTERN_GATEWAY__LIMITS__SESSIONS".to_owned(), "7".to_owned())];
        let keys =
            keys("email_domain = 'a.example'\n[limits]\nsessions = 5\npop3_sessions = 6", &environment);
        assert_eq!(key(&keys, "email_domain").source, Source::File);
        assert_eq!(key(&keys, "limits.pop3_sessions").value, Some(6.into()));
        let sessions = key(&keys, "limits.sessions");
        assert_eq!((sessions.value.clone(), sessions.source), (Some("7".into()), Source::Environment));
    }
}
