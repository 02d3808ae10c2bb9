//! Answers as text for people.

use serde_json::Value;

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The named members of an object, one a line, aligned.
pub(super) fn members(value: &Value, keys: &[&str]) -> String {
    let width = keys.iter().map(|key| key.len()).max().unwrap_or(0);
    let lines = keys.iter().map(|key| format!("{key:width$}  {}", text(&value[*key])));
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn lines(value: &Value, none: &str, line: impl Fn(&Value) -> String) -> String {
    let lines: Vec<String> = value.as_array().into_iter().flatten().map(line).collect();
    if lines.is_empty() { none.into() } else { lines.join("\n") }
}

pub(super) fn folders(value: &Value) -> String {
    lines(value, "no folders", |row| {
        format!("{}/{}  {} messages", text(&row["archive"]), text(&row["path"]), row["messages"])
    })
}

pub(super) fn stores(value: &Value) -> String {
    let rows = lines(&value["stores"], "no stores", |row| match row["error"].as_str() {
        Some(error) => format!("{}  {}  {error}", text(&row["id"]), text(&row["state"])),
        None => format!(
            "{}  {}  {} messages, {} bytes in {}  {}",
            text(&row["id"]),
            text(&row["state"]),
            text(&row["messages"]),
            text(&row["bytes"]),
            text(&row["stored_bytes"]),
            text(&row["dir"]),
        ),
    });
    rows + "\n" + &roll_over(&value["roll_over"])
}

pub(super) fn roll_over(value: &Value) -> String {
    format!("another store is made at {} messages or {} bytes", value["messages"], value["bytes"])
}

pub(super) fn store(value: &Value) -> String {
    format!("store {} is {}", text(&value["id"]), text(&value["state"]))
}

pub(super) fn store_detached(value: &Value) -> String {
    format!("store {} is detached; it lies in {}", text(&value["id"]), text(&value["dir"]))
}

fn unless_cancelled(value: &Value, done: impl FnOnce(&Value) -> String) -> String {
    if value["cancelled"] == true { "cancelled; the next one goes on".into() } else { done(value) }
}

pub(super) fn verified(value: &Value) -> String {
    let findings = lines(&value["findings"], "nothing is damaged", |row| {
        let message = row["message"].as_str().map(|id| format!("message {id}: ")).unwrap_or_default();
        format!("DAMAGED store {}: {message}{}", text(&row["store"]), text(&row["what"]))
    });
    let head = if value["cancelled"] == true { "cancelled; the next one goes on\n" } else { "" };
    format!("{head}{} messages verified\n{findings}", value["messages"])
}

pub(super) fn rebuilt(value: &Value) -> String {
    unless_cancelled(value, |value| {
        lines(&value["damage"], "rebuilt; nothing is damaged", |row| format!("DAMAGED {}", text(row)))
    })
}

pub(super) fn compacted(value: &Value) -> String {
    let head = if value["cancelled"] == true { "cancelled; the next one goes on\n" } else { "" };
    let kept = match value["stores_incomplete"].as_u64() {
        Some(0) | None => String::new(),
        Some(stores) => format!(
            "\nin {stores} stores messages are missing or cannot be read, so nothing they may need was dropped; verify names them"
        ),
    };
    format!("{head}{} packs removed, {} bytes freed{kept}", value["packs"], value["bytes"])
}

pub(super) fn backed_up(value: &Value) -> String {
    unless_cancelled(value, |value| {
        format!("{} files, {} bytes; the key file is not among them", value["files"], value["bytes"])
    })
}

pub(super) fn restored(value: &Value) -> String {
    unless_cancelled(value, |value| {
        let damaged = value["damaged"].as_array().into_iter().flatten();
        let damaged: String = damaged.map(|what| format!("DAMAGED {}\n", text(what))).collect();
        match value["messages"].as_u64() {
            Some(messages) => {
                format!("{damaged}instance {} is restored, with {messages} messages", text(&value["id"]))
            }
            None => {
                format!("{damaged}instance {} is restored; open it with instance unlock", text(&value["id"]))
            }
        }
    })
}

pub(super) fn instance(value: &Value) -> String {
    if value["messages"].is_null() {
        return members(value, &["id", "state", "error"]);
    }
    members(
        value,
        &[
            "id",
            "state",
            "created",
            "messages",
            "bytes",
            "stored_bytes",
            "stores",
            "users",
            "unassigned",
            "quarantined",
            "damage",
        ],
    )
}

pub(super) fn instances(value: &Value) -> String {
    lines(value, "no instances; create one with: postern-archiver instance create main", |row| {
        let (id, state) = (text(&row["id"]), text(&row["state"]));
        match (row["error"].as_str(), row["messages"].as_u64()) {
            (Some(error), _) => format!("{id}  {state}  {error}"),
            (None, Some(messages)) => format!("{id}  {state}  {messages} messages, {} bytes", row["bytes"]),
            (None, None) => format!("{id}  {state}"),
        }
    })
}

pub(super) fn user(value: &Value) -> String {
    members(value, &["id", "emails", "privileges", "reads"])
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

/// Never reached: raw octets are printed as they are.
pub(super) fn raw(value: &Value) -> String {
    text(value)
}

pub(super) fn status(value: &Value) -> String {
    let head = members(value, &["version", "running", "data_dir", "free_bytes"]);
    let rows = lines(&value["instances"], "no instances", |row| match row["error"].as_str() {
        Some(error) => format!("instance {}: {error}", text(&row["id"])),
        None if row["messages"].is_null() => {
            format!("instance {}: {}", text(&row["id"]), text(&row["state"]))
        }
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
