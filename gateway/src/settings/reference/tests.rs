use super::*;

const EXAMPLE: &str = include_str!("../../../../config/gateway.toml");

/// Keys in the example, tables with their names: `key = …`, with `#=` or `#` before it.
fn shown_keys(text: &str) -> Vec<String> {
    let mut table = String::new();
    let mut keys = Vec::new();
    for line in text.lines() {
        let line = line.trim_start_matches("#=").trim_start_matches('#').trim();
        let header = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(name) = header {
            table = format!("{}.", name.trim_matches(['[', ']']));
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            keys.push(format!("{table}{key}"));
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn the_example_and_the_types_name_the_same_keys() {
    let mut known: Vec<String> =
        tables().iter().flat_map(|table| &table.keys).map(|key| key.name.clone()).collect();
    known.sort();
    assert_eq!(shown_keys(EXAMPLE), known);
}

/// Goal: the page says what the program does.
#[test]
fn the_page_is_up_to_date() {
    let stored = include_str!("../../../../docs/configuration.md");
    assert!(stored == page(), "docs/configuration.md is not what the types say: run make docs");
}

#[test]
fn every_default_can_be_written_into_the_file() {
    for key in tables().iter().flat_map(|table| &table.keys) {
        let Some(default) = &key.default else { continue };
        let (table, name) = key.name.rsplit_once('.').unwrap_or(("", &key.name));
        let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        let text = format!("{header}{name} = {default}\n");
        toml::from_str::<Raw>(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn keys_are_described_and_know_their_variable() {
    let all: Vec<&Key> = tables().iter().flat_map(|table| &table.keys).collect();
    assert!(all.iter().all(|key| key.meaning.ends_with(['.', ')'])), "a meaning is a sentence");
    let find = |name: &str| *all.iter().find(|key| key.name == name).unwrap();
    let sessions = find("limits.sessions");
    assert_eq!(sessions.default, Some(2000.into()));
    assert_eq!(sessions.variable().as_deref(), Some("POSTERN_GATEWAY__LIMITS__SESSIONS"));
    assert_eq!(find("limits.max_message_size").default, Some("200 MiB".into()));
    assert!(find("proxy.target.host").required && find("proxy.target.host").variable().is_none());
    assert!(!find("proxy.target.port").required && find("tls.certificate").default.is_none());
    assert_eq!(effect("log_level"), Effect::Reload);
    assert_eq!((effect("proxy.target"), effect("listen.smtp")), (Effect::Reload, Effect::Restart));
    assert_eq!(effect("bogus"), Effect::Restart);
}
