//! Changing keys in the text of a configuration, so that comments and order stay.

use std::collections::BTreeMap;

use super::reference::{at, is_known, variable};
use crate::settings::changes;

/// Why keys cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// There is none of that name.
    #[error("there is no key {0:?}")]
    Unknown(String),
    /// The environment says what it is.
    #[error("{0:?} is set by an environment variable; what the file says does not count, so change it there")]
    Environment(String),
    /// Not a value that TOML has.
    #[error("the value of {0:?} is neither text, number, truth value nor a list of these")]
    BadValue(String),
    /// The file is written in a way that we do not change.
    #[error("{0:?} is written in the file in a way that cannot be changed here; edit the file's text")]
    Unusual(String),
    /// The file is not TOML.
    #[error("the configuration file cannot be read: {0}")]
    Broken(String),
}

/// `text` with `changes` made to it; a null takes a key out, so that its default counts.
pub(crate) fn edited(
    text: &str,
    changes: &BTreeMap<String, serde_json::Value>,
    environment: &[(String, String)],
) -> Result<String, EditError> {
    let mut text = text.to_owned();
    for (key, value) in changes {
        if !is_known(key) {
            return Err(EditError::Unknown(key.chars().take(100).collect()));
        }
        if variable(environment, key).is_some() {
            return Err(EditError::Environment(key.clone()));
        }
        text = one(&text, key, value)?;
    }
    Ok(text)
}

fn one(text: &str, key: &str, value: &serde_json::Value) -> Result<String, EditError> {
    let broken = |error: toml::de::Error| EditError::Broken(error.message().to_owned());
    let before: toml::Table = toml::from_str(text).map_err(broken)?;
    let value = toml_value(value).map_err(|()| EditError::BadValue(key.to_owned()))?;
    if at(&before, key) == value.as_ref() {
        return Ok(text.to_owned());
    }
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let line = value.as_ref().map(|value| format!("{name} = {value}"));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let section = section(&lines, table);
    let is_set = |line: &&String| line.split_once('=').is_some_and(|(left, _)| left.trim() == name);
    let place = section.clone().and_then(|section| {
        let at = lines[section.clone()].iter().position(|line| is_set(&line))?;
        Some(section.start + at)
    });
    match (place, line) {
        (Some(at), Some(line)) => lines[at] = line,
        (Some(at), None) => drop(lines.remove(at)),
        (None, None) => {}
        (None, Some(line)) => match section {
            Some(section) => {
                // A comment at the end of a table speaks of what follows.
                let says = |line: &String| !matches!(line.trim_start().bytes().next(), None | Some(b'#'));
                // Where its default is shown, else behind the last line that says something.
                let shown = |line: &String| {
                    line.strip_prefix('#')
                        .is_some_and(|rest| is_set(&&rest.trim_start_matches(['=', ' ']).to_owned()))
                };
                let at = lines[section.clone()].iter().position(shown).map(|at| section.start + at + 1);
                let last = lines[section.clone()].iter().rposition(says);
                lines.insert(at.unwrap_or(section.start + last.map_or(0, |last| last + 1)), line);
            }
            None => lines.extend([String::new(), format!("[{table}]"), line]),
        },
    }
    let after = lines.join("\n") + "\n";
    // Whatever the text looked like: it must now say what was asked for, and nothing else differently.
    let expected = match value {
        Some(value) => {
            at(&toml::from_str(&after).map_err(|_| EditError::Unusual(key.into()))?, key) == Some(&value)
        }
        None => toml::from_str(&after).is_ok_and(|table: toml::Table| at(&table, key).is_none()),
    };
    let changed = changes(text, &after);
    if expected && changed.len() == 1 && changed[0].key == key {
        Ok(after)
    } else {
        Err(EditError::Unusual(key.to_owned()))
    }
}

/// The lines of a table, its header not among them.
fn section(lines: &[String], table: &str) -> Option<std::ops::Range<usize>> {
    let is_header = |line: &String| line.trim_start().starts_with('[');
    let start = if table.is_empty() {
        0
    } else {
        1 + lines.iter().position(|line| {
            line.trim()
                .strip_prefix('[')
                .and_then(|rest| rest.split(']').next())
                .is_some_and(|name| name.trim() == table)
        })?
    };
    let end = lines[start..].iter().position(is_header).map_or(lines.len(), |at| start + at);
    Some(start..end)
}

fn toml_value(value: &serde_json::Value) -> Result<Option<toml::Value>, ()> {
    use serde_json::Value;
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => number.as_i64().map(toml::Value::from).ok_or(())?,
        Value::String(text) => text.clone().into(),
        Value::Array(values) => {
            let values =
                values.iter().map(|value| toml_value(value)?.ok_or(())).collect::<Result<Vec<_>, ()>>()?;
            toml::Value::Array(values)
        }
        Value::Object(_) => return Err(()),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "# ours\nemail_domain = \"a.example\" # the domain\n\n[limits]\n# many\n#= sessions = 2000\npop3_sessions = 5\n";

    fn edit(text: &str, key: &str, value: serde_json::Value) -> Result<String, EditError> {
        edited(text, &BTreeMap::from([(key.to_owned(), value)]), &[])
    }

    #[test]
    fn one_line_changes_and_comments_stay() {
        let text = edit(TEXT, "limits.sessions", json!(7)).unwrap();
        assert_eq!(text, TEXT.replace("#= sessions = 2000\n", "#= sessions = 2000\nsessions = 7\n"));
        let text = edit(&text, "limits.sessions", json!(8)).unwrap();
        assert!(text.contains("sessions = 8\npop3_sessions = 5"), "{text}");
        let text = edit(&text, "limits.sessions", json!(null)).unwrap();
        assert_eq!(text, TEXT);
        let text = edit(TEXT, "console.hsts", json!(true)).unwrap();
        assert!(text.ends_with("\n\n[console]\nhsts = true\n"), "{text}");
        let text = edit(TEXT, "listen.smtp", json!(["0.0.0.0:25", "[::]:25"])).unwrap();
        assert!(text.contains("smtp = [\"0.0.0.0:25\", \"[::]:25\"]"), "{text}");
        let text = edit("a = 1\n# of the table\n[limits]\n", "host_name", json!("x")).unwrap();
        assert_eq!(text, "a = 1\nhost_name = \"x\"\n# of the table\n[limits]\n");
        let text = edit(TEXT, "host_name", json!("g.example")).unwrap();
        assert!(text.contains("the domain\nhost_name = \"g.example\"\n\n[limits]"), "{text}");
    }

    #[test]
    fn values_cannot_bring_along_other_keys() {
        let text = edit(TEXT, "host_name", json!("x\"\ndata_dir = \"/tmp")).unwrap();
        let changed: Vec<_> = changes(TEXT, &text).into_iter().map(|change| change.key).collect();
        assert_eq!(changed, ["host_name"]);
        assert_eq!(edit(TEXT, "data_dirs", json!("x")), Err(EditError::Unknown("data_dirs".into())));
        assert!(matches!(edit(TEXT, "host_name", json!({ "a": 1 })), Err(EditError::BadValue(_))));
        let environment = [("POSTERN_GATEWAY__HOST_NAME".to_owned(), "x".to_owned())];
        let changes = BTreeMap::from([("host_name".to_owned(), json!("y"))]);
        assert!(matches!(edited(TEXT, &changes, &environment), Err(EditError::Environment(_))));
    }

    #[test]
    fn what_is_written_unusually_is_left_alone() {
        let inline = "limits = { sessions = 5 }\n";
        assert!(matches!(edit(inline, "limits.sessions", json!(7)), Err(EditError::Unusual(_))));
        let lines = "[listen]\nsmtp = [\n  \"0.0.0.0:25\",\n]\n";
        assert!(matches!(edit(lines, "listen.smtp", json!(":26")), Err(EditError::Unusual(_))));
        assert!(matches!(edit("x = ", "host_name", json!("a")), Err(EditError::Broken(_))));
    }
}
