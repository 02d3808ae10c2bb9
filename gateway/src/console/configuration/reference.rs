//! Every key, what it means, and what it is set to.

use serde::Serialize;
use utoipa::ToSchema;

use super::secrets::{MASK, is_secret};
use crate::settings::reference::{self, Effect, tables};

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
    /// A change takes effect after a restart only, else at once.
    pub(in crate::console) needs_restart: bool,
}

/// All keys, in the order of the file, as `file` (the configuration file's text) and `environment` set them.
pub(in crate::console) fn keys(file: &str, environment: &[(String, String)]) -> Vec<Key> {
    let table: toml::Table = toml::from_str(file).unwrap_or_default();
    let key = |known: &reference::Key| {
        let from_file = at(&table, &known.name).cloned();
        let from_environment =
            variable(environment, &known.name).map(|text| toml::Value::String(text.into()));
        let (value, source) = match (from_environment, from_file) {
            (Some(value), _) => (Some(value), Source::Environment),
            (None, Some(value)) => (Some(value), Source::File),
            (None, None) => (known.default.clone(), Source::Default),
        };
        let json = |value: Option<toml::Value>| value.and_then(|value| serde_json::to_value(value).ok());
        Key {
            key: known.name.clone(),
            description: known.meaning.clone(),
            value: if is_secret(&known.name) { value.map(|_| MASK.into()) } else { json(value) },
            default: json(known.default.clone()),
            source,
            needs_restart: known.effect == Effect::Restart,
        }
    };
    single_keys().map(key).collect()
}

/// Those that stand in the file once; tables that may be there as often as wanted are changed in its text.
fn single_keys() -> impl Iterator<Item = &'static reference::Key> {
    tables().iter().flat_map(|table| &table.keys).filter(|key| !key.repeated)
}

/// The environment variable that overrides a key.
pub(crate) fn variable<'e>(environment: &'e [(String, String)], key: &str) -> Option<&'e str> {
    let name = single_keys().find(|known| known.name == key)?.variable()?;
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
    single_keys().any(|known| known.name == key)
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
        assert!(!sessions.needs_restart && key(&keys, "listen.smtp").needs_restart);
        assert!(keys.iter().all(|key| !key.key.starts_with("proxy.target")), "not one of its own");
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
