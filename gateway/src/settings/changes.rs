//! What is different between two texts of a configuration, and when it counts.

use std::collections::BTreeMap;

use super::reference::{Effect, effect};

/// A key whose value is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// With its table; a list of tables (`proxy.target`) is one key.
    pub key: String,
    /// It counts after a restart only.
    pub needs_restart: bool,
}

/// The keys that differ, sorted.
pub fn changes(before: &str, after: &str) -> Vec<Change> {
    let flat = |text: &str| {
        let mut keys = BTreeMap::new();
        flatten("", &toml::from_str(text).unwrap_or_default(), &mut keys);
        keys
    };
    let (before, after) = (flat(before), flat(after));
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let changed: Vec<&String> = keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).collect();
    // Files are named for a mode: with another one they wait for it.
    let has_mode = changed.iter().any(|key| *key == "tls.mode");
    let needs_restart = |key: &str| effect(key) == Effect::Restart || has_mode && key.starts_with("tls.");
    changed.into_iter().map(|key| Change { key: key.clone(), needs_restart: needs_restart(key) }).collect()
}

fn flatten(prefix: &str, table: &toml::Table, keys: &mut BTreeMap<String, toml::Value>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            toml::Value::Table(table) => flatten(&format!("{key}."), table, keys),
            value => drop(keys.insert(key, value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_when_it_counts() {
        let found = |before, after| {
            let changes = changes(before, after).into_iter();
            changes.map(|change| (change.key, change.needs_restart)).collect::<Vec<_>>()
        };
        let change = |key: &str, needs_restart| (key.to_owned(), needs_restart);
        assert_eq!(found("log_level = 'info'", "log_level = 'debug'"), [change("log_level", false)]);
        assert_eq!(
            found("[listen]\nsmtp = ':25'\n[limits]\nsessions = 1", "[limits]\nsessions = 2"),
            [change("limits.sessions", false), change("listen.smtp", true)]
        );
        assert_eq!(found("", "[[proxy.target]]\nhost = 'a'"), [change("proxy.target", false)]);
        let files = "[tls]\nmode = 'files'\ncertificate = 'a'";
        assert_eq!(found("", files), [change("tls.certificate", true), change("tls.mode", true)]);
        assert_eq!(found(files, &files.replace("'a'", "'b'")), [change("tls.certificate", false)]);
    }
}
