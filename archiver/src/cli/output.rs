//! Answers as text for people.

use serde_json::Value;

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The named members of an object, one a line, aligned.
fn members(value: &Value, keys: &[&str]) -> String {
    let width = keys.iter().map(|key| key.len()).max().unwrap_or(0);
    let lines = keys.iter().map(|key| format!("{key:width$}  {}", text(&value[*key])));
    lines.collect::<Vec<_>>().join("\n")
}

fn lines(value: &Value, none: &str, line: impl Fn(&Value) -> String) -> String {
    let lines: Vec<String> = value.as_array().into_iter().flatten().map(line).collect();
    if lines.is_empty() { none.into() } else { lines.join("\n") }
}

pub(super) fn instance_created(value: &Value) -> String {
    eprintln!(
        "Its master key is the file master.key in its directory. Keep a copy elsewhere: without it nobody can read \
         the archive."
    );
    format!("instance {} is created", text(&value["id"]))
}

pub(super) fn instance(value: &Value) -> String {
    members(value, &["id", "created", "messages", "bytes", "users", "unassigned", "quarantined", "damage"])
}

pub(super) fn instances(value: &Value) -> String {
    lines(value, "no instances; create one with: postern-archiver instance create main", |row| {
        format!("{}  {} messages, {} bytes", text(&row["id"]), row["messages"], row["bytes"])
    })
}

pub(super) fn user(value: &Value) -> String {
    members(value, &["id", "emails"])
}

pub(super) fn users(value: &Value) -> String {
    lines(
        value,
        "no users; add one with: postern-archiver user add anna --email anna@example.com --instance …",
        |row| format!("{}  {}", text(&row["id"]), text(&row["emails"])),
    )
}

pub(super) fn profile_put(value: &Value) -> String {
    format!(
        "profile {} is stored; run it with: postern-archiver profile run {0} --instance …",
        text(&value["name"])
    )
}

pub(super) fn profile_deleted(value: &Value) -> String {
    format!("profile {} is deleted; what it archived stays", text(&value["name"]))
}

pub(super) fn profile(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

pub(super) fn profiles(value: &Value) -> String {
    lines(value, "no profiles; config/profile-gateway.toml is an example of one", |row| {
        match row["error"].as_str() {
            Some(error) => format!("unreadable: {error}"),
            None => format!(
                "{}  {} at {}",
                text(&row["name"]),
                text(&row["source"]["type"]),
                text(&row["source"]["host"])
            ),
        }
    })
}

pub(super) fn run(value: &Value) -> String {
    let head = if value["cancelled"] == true { "cancelled; the next run goes on\n" } else { "" };
    head.to_owned() + &members(value, &["archived", "duplicates", "failed", "deleted_at_source"])
}

pub(super) fn hits(value: &Value) -> String {
    lines(value, "nothing found", |hit| {
        let date: String = text(&hit["date"]).chars().take(16).collect();
        format!(
            "{}  {}  {}\n    from {}  to {}\n    in {}",
            text(&hit["id"]),
            date.replace('T', " "),
            text(&hit["subject"]),
            text(&hit["from"]),
            text(&hit["to"]),
            text(&hit["folders"]),
        )
    })
}

/// Never reached: raw octets are printed as they are.
pub(super) fn raw(value: &Value) -> String {
    text(value)
}

pub(super) fn status(value: &Value) -> String {
    let head = members(value, &["version", "running", "data_dir", "free_bytes"]);
    let rows = lines(&value["instances"], "no instances", |row| match row["error"].as_str() {
        Some(error) => format!("instance {}: {error}", text(&row["id"])),
        None => format!(
            "instance {}: {} messages, {} users, {} unassigned, {} quarantined",
            text(&row["id"]),
            row["messages"],
            row["users"],
            row["unassigned"],
            row["quarantined"]
        ),
    });
    head + "\n" + &rows
}
