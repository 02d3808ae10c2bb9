//! Answers as text for people.

use std::fmt::Write as _;

use serde_json::Value;

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// The named members of an object, one a line, aligned.
fn members(value: &Value, keys: &[&str]) -> String {
    let width = keys.iter().map(|key| key.len()).max().unwrap_or(0);
    let lines = keys.iter().map(|key| format!("{key:width$}  {}", text(&value[*key])));
    lines.collect::<Vec<_>>().join("\n")
}

const MAILBOX: [&str; 9] =
    ["id", "address", "name", "description", "status", "messages", "bytes", "oldest", "recovery"];

const LIMITS: [&str; 4] = ["require_tls", "max_message_size", "quota", "quota_messages"];

pub(super) fn mailbox(value: &Value) -> String {
    let mut shown = value.clone();
    shown["networks"] = networks(value).into();
    members(&shown, &[&MAILBOX[..], &LIMITS, &["networks"]].concat())
}

/// `any`, or the networks themselves and how many each preset has.
fn networks(value: &Value) -> String {
    let mut named: Vec<String> = value["networks"].as_array().into_iter().flatten().map(text).collect();
    for (preset, networks) in value["presets"].as_object().into_iter().flatten() {
        named.push(format!("{preset} (networks: {})", networks.as_array().map_or(0, Vec::len)));
    }
    if named.is_empty() { "any".into() } else { named.join(" ") }
}

pub(super) fn password(value: &Value) -> String {
    eprintln!(
        "The password is shown this once and stored nowhere. It is the only key to the mail in this mailbox:\n\
         give it to the archiver and keep a copy in a safe place now."
    );
    members(value, &["id", "address", "password"])
}

pub(super) fn deleted(value: &Value) -> String {
    format!("mailbox {} is deleted", text(&value["id"]))
}

pub(super) fn mailboxes(value: &Value) -> String {
    let rows: Vec<[String; 6]> = value
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| ["id", "name", "status", "messages", "bytes", "oldest"].map(|key| text(&row[key])))
        .collect();
    if rows.is_empty() {
        return "no mailboxes; create one with: postern-gateway mailbox create --name journal".into();
    }
    table(&["ID", "NAME", "STATUS", "MESSAGES", "BYTES", "OLDEST"].map(str::to_owned), &rows)
}

pub(super) fn administrators(value: &Value) -> String {
    let rows: Vec<[String; 3]> = value
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| {
            let factors = match (row["totp"] == true, row["passkeys"].as_u64().unwrap_or_default()) {
                (false, 0) => "-".into(),
                (true, 0) => "one-time passwords".into(),
                (false, passkeys) => format!("passkeys ({passkeys})"),
                (true, passkeys) => format!("one-time passwords, passkeys ({passkeys})"),
            };
            [text(&row["name"]), text(&row["role"]), factors]
        })
        .collect();
    if rows.is_empty() {
        return "nobody has signed in at the console yet; the first sign-in is admin with the password admin, from \
                another machine with the code of: postern-gateway admin setup-code"
            .into();
    }
    table(&["NAME", "ROLE", "SECOND FACTOR"].map(str::to_owned), &rows)
}

pub(super) fn setup_code(value: &Value) -> String {
    eprintln!(
        "The first sign-in takes it from another machine, besides the name admin and the password admin."
    );
    text(&value["setup_code"])
}

pub(super) fn administrator_password(value: &Value) -> String {
    eprintln!("The password is shown this once. All sessions of this administrator have ended.");
    members(value, &["name", "password"])
}

pub(super) fn bindings(value: &Value) -> String {
    let rows: Vec<[String; 5]> = value
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| match (row["damaged"].as_str(), row["revoked"].as_str()) {
            (Some(reason), _) => {
                [text(&row["file"]), "-".into(), "-".into(), "-".into(), format!("damaged: {reason}")]
            }
            (None, Some(when)) => {
                let [account, provider] = ["account", "provider"].map(|key| text(&row[key]));
                [account, provider, "-".into(), "-".into(), format!("revoked {when}")]
            }
            (None, None) => {
                let [account, provider, created, used] =
                    ["account", "provider", "created", "used"].map(|key| text(&row[key]));
                [account, provider, created, used, "ok".into()]
            }
        })
        .collect();
    if rows.is_empty() {
        return "no bindings; make one with: postern-gateway oauth bind USER --provider NAME".into();
    }
    table(&["ACCOUNT", "PROVIDER", "CREATED", "USED", "STATE"].map(str::to_owned), &rows)
}

pub(super) fn bound(value: &Value) -> String {
    let hosts: Vec<&str> =
        value["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if hosts.len() > 1 {
        eprintln!("It serves receiving and sending, at all of: {}.", hosts.join(", "));
    }
    if value["password"].is_null() {
        return members(value, &["account", "provider"]);
    }
    eprintln!("The password is shown this once and stored nowhere: put it into the mail client now.");
    members(value, &["account", "provider", "password"])
}

pub(super) fn revoked(value: &Value) -> String {
    eprintln!(
        "Only the proxy password opened the refresh token, so it could not be given back: the consent still stands at the \
         provider. Take it back {}.",
        super::oauth::consent_words(value)
    );
    let account = text(&value["account"]);
    if value["forgotten"] == true {
        return format!(
            "the binding of {account} is forgotten: its passwords go to the mail server from now on"
        );
    }
    eprintln!(
        "Every password of the account is refused until it is bound again, or until you say that no mail client has the proxy \
         password any more, with: postern-gateway oauth revoke '{account}' --forget"
    );
    format!("the binding of {account} is revoked")
}

fn table<const N: usize>(head: &[String; N], rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().chain([head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in [head].into_iter().chain(rows) {
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{cell:width$}  ");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out
}

pub(super) fn reloaded(answer: &Value) -> String {
    let keys = |name: &str| {
        let keys = answer[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        keys.collect::<Vec<_>>().join(", ")
    };
    let (changed, needs_restart) = (keys("changed"), keys("needs_restart"));
    let mut lines = vec![match changed.as_str() {
        "" => "the configuration was read again; nothing that counts now is different".to_owned(),
        changed => format!("changed: {changed}"),
    }];
    if !needs_restart.is_empty() {
        lines.push(format!("after a restart: {needs_restart}"));
    }
    if answer["certificate_changed"] == true {
        lines.push("another certificate is served".to_owned());
    }
    lines.join("\n")
}

pub(super) fn log_level(value: &Value) -> String {
    text(&value["log_level"])
}

const STATUS: [&str; 10] = [
    "version",
    "running",
    "uptime_seconds",
    "log_level",
    "data_dir",
    "email_domain",
    "mailboxes",
    "messages",
    "bytes",
    "free_bytes",
];

pub(super) fn status(value: &Value) -> String {
    let mut out = members(value, &STATUS);
    for (listener, addresses) in value["listening"].as_object().into_iter().flatten() {
        let addresses: Vec<String> = addresses.as_array().into_iter().flatten().map(text).collect();
        let _ = write!(out, "\n{listener:14}  {}", addresses.join(" "));
        if let Some(open) = value["sessions"][listener].as_i64() {
            let _ = write!(out, "  {open} sessions");
        }
    }
    if value["waiting"].as_array().is_some_and(|rows| !rows.is_empty()) {
        let _ = write!(out, "\n\n{}", mailboxes(&value["waiting"]));
    }
    for damage in value["damage"].as_array().into_iter().flatten() {
        let _ = write!(out, "\ndamaged: {}", text(damage));
    }
    out
}

const CERTIFICATE: [&str; 8] =
    ["mode", "source", "served", "names", "expires", "days_left", "fingerprint", "chain"];

pub(super) fn certificate(value: &Value) -> String {
    let mut shown = value.clone();
    let list = |items: &Value| {
        let items = items.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
        if items.is_empty() { "-".to_owned() } else { items }
    };
    shown["names"] = list(&value["names"]).into();
    let subjects = value["chain"].as_array().into_iter().flatten().map(|link| text(&link["subject"]));
    let chain = subjects.collect::<Vec<_>>().join(" <- ");
    shown["chain"] = match value["verified"].as_bool() {
        Some(true) => format!("complete: {chain}"),
        _ => format!("{chain} (not vouched for: {})", text(&value["not_verified_because"])),
    }
    .into();
    let mut out = members(&shown, &CERTIFICATE);
    if let Some(trouble) = value["trouble"].as_str() {
        let _ = write!(out, "\ntrouble: what the files hold now cannot be used: {trouble}");
    }
    let acme = &value["acme"];
    if let Some(error) = acme["last_error"].as_str() {
        let (failures, again) = (text(&acme["failures"]), text(&acme["not_before"]));
        let _ = write!(
            out,
            "\nthe authority's last answer (failures: {failures}, next attempt {again}): {error}"
        );
    }
    out
}

const NEW_CERTIFICATE: [&str; 5] = ["names", "expires", "fingerprint", "chain", "served"];

/// A certificate that was just made or brought.
pub(super) fn new_certificate(value: &Value) -> String {
    let whole = certificate(value);
    let lines = whole.lines().filter(|line| NEW_CERTIFICATE.iter().any(|key| line.starts_with(key)));
    let mut out = lines.collect::<Vec<_>>().join("\n");
    if let Some(next) = value["next"].as_str() {
        let _ = write!(out, "\n\n{next}");
    }
    out
}

/// What the authority brought.
pub(super) fn issued(value: &Value) -> String {
    if value["issued"] != true {
        return "the rehearsal went well: the authority would issue a certificate".into();
    }
    let mut out = members(value, &["fingerprint", "expires", "served"]);
    if let Some(next) = value["next"].as_str() {
        let _ = write!(out, "\n\n{next}");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_aligned_and_an_empty_one_says_what_to_do() {
        let rows = json!([{ "id": "mbx-1", "name": "a", "status": "active", "messages": 3, "bytes": 4, "oldest": null }]);
        let shown = mailboxes(&rows);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0].find("NAME"), lines[1].find('a'));
        assert!(mailboxes(&json!([])).contains("mailbox create"));
    }

    #[test]
    fn a_policy_is_shown_in_words() {
        let open = mailbox(&json!({ "networks": [], "presets": {}, "require_tls": false, "quota": null }));
        assert!(open.ends_with("networks          any"), "{open}");
        assert!(open.contains("quota             -"), "{open}");
        let closed = json!({ "networks": ["192.0.2.0/24"], "presets": { "google": ["198.51.100.0/24"] } });
        assert!(mailbox(&closed).ends_with("192.0.2.0/24 google (networks: 1)"));
    }
}
