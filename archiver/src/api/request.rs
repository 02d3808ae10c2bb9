//! A request to a command.

use std::path::Path;

use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::random_secret;
use serde_json::{Map, Value, json};

use super::Problem;
use super::routes::{Answer, Field, Kind, Route};
use crate::command::{Command, Tested, TransportKey};
use crate::profiles::Profile;

/// What stands in paths: ids of instances, users, stores and messages, names of profiles.
const ID_CHARS_MAX: usize = 128;
const TEXT_CHARS_MAX: usize = 4096;
const TEXTS_MAX: usize = 1000;

/// Which stretch of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) limit: usize,
    pub(super) offset: usize,
}

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) command: Command,
    pub(super) stretch: Stretch,
    pub(super) said: Map<String, Value>,
}

/// Reads a request of a route: the values of its path, its query, its body.
pub(super) fn read(
    route: &Route,
    path: &[String],
    query: Vec<(String, String)>,
    body: &[u8],
) -> Result<Asking, Problem> {
    let mut said = if route.has_query() { from_query(route, query)? } else { from_body(&query, body)? };
    let stretch = match route.answer {
        Answer::List(_) => stretch(&mut said)?,
        _ => Stretch { limit: LIMIT, offset: 0 },
    };
    if let Some(unknown) = said.keys().find(|key| !route.fields.iter().any(|field| field.name == *key)) {
        let unknown: String = unknown.chars().take(64).collect();
        return Err(Problem::invalid(format!("{unknown:?} means nothing here")));
    }
    let mut fields = Map::new();
    for field in route.fields {
        let value = match said.get(field.name).filter(|value| !value.is_null()) {
            Some(value) => checked(field, value)?,
            None => match field.default {
                Some(default) => serde_json::from_str(default).map_err(Problem::internal)?,
                None => return Err(Problem::invalid(format!("{:?} is missing", field.name))),
            },
        };
        fields.insert(field.name.to_owned(), value);
    }
    for (name, value) in route.path_fields().zip(path) {
        fields.insert(name.to_owned(), checked_id(value)?.into());
    }
    if let (Some(profile), "profile-put" | "profile-test") = (fields.get("profile"), route.command) {
        return Ok(Asking { command: with_profile(route, &fields, profile)?, stretch, said });
    }
    // A command that takes nothing travels as its name alone.
    let bare = fields.is_empty().then(|| serde_json::from_value(json!(route.command)).ok()).flatten();
    let command = match bare {
        Some(command) => command,
        None => serde_json::from_value(json!({ route.command: Value::Object(fields) }))
            .map_err(|error| Problem::invalid(error.to_string()))?,
    };
    Ok(Asking { command, stretch, said })
}

fn from_query(route: &Route, query: Vec<(String, String)>) -> Result<Map<String, Value>, Problem> {
    let mut said = Map::new();
    for (name, text) in query {
        let kind = route.fields.iter().find(|field| field.name == name).map(|field| field.kind);
        let is_number = kind == Some(Kind::Number) || kind.is_none() && matches!(&*name, "limit" | "offset");
        let wrong = || Problem::invalid(format!("{name:?} cannot be {text:?}"));
        let value = match kind {
            _ if is_number => text.parse::<u64>().map_err(|_| wrong())?.into(),
            Some(Kind::Flag) => text.parse::<bool>().map_err(|_| wrong())?.into(),
            _ => Value::from(text),
        };
        if said.insert(name.clone(), value).is_some() {
            return Err(Problem::invalid(format!("{name:?} stands there twice")));
        }
    }
    Ok(said)
}

fn from_body(query: &[(String, String)], body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if let Some((name, _)) = query.first() {
        return Err(Problem::invalid(format!("{name:?} belongs into the body, which is JSON")));
    }
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(said)) => Ok(said),
        Ok(_) => Err(Problem::invalid("the body is no JSON object")),
        Err(error) => Err(Problem::invalid(format!("the body is no JSON: {error}"))),
    }
}

fn stretch(said: &mut Map<String, Value>) -> Result<Stretch, Problem> {
    let mut number = |name: &str, usual: usize| {
        let given = said.remove(name).unwrap_or_else(|| usual.into());
        given.as_u64().and_then(|number| usize::try_from(number).ok())
    };
    let wrong = || Problem::invalid("limit and offset are numbers, limit at least 1");
    let limit = number("limit", LIMIT).filter(|limit| *limit > 0).ok_or_else(wrong)?;
    Ok(Stretch { limit: limit.min(LIMIT_MAX), offset: number("offset", 0).ok_or_else(wrong)? })
}

/// Ids are checked by whoever uses them; what cannot be any is not even looked for.
fn checked_id(text: &str) -> Result<&str, Problem> {
    let is_possible = !text.is_empty()
        && text.len() <= ID_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
        && !text.starts_with('.');
    if is_possible { Ok(text) } else { Err(Problem::not_found("there is nothing of such a name")) }
}

fn checked(field: &Field, value: &Value) -> Result<Value, Problem> {
    let wrong = |what: &str| Problem::invalid(format!("{:?} is no {what}", field.name));
    let text = |value: &Value| {
        let text = value.as_str().filter(|text| text.chars().count() <= TEXT_CHARS_MAX);
        text.filter(|text| !text.contains('\0')).map(str::to_owned)
    };
    Ok(match field.kind {
        Kind::Text => text(value).ok_or_else(|| wrong("text of at most 4096 characters"))?.into(),
        Kind::Texts => {
            let all = value.as_array().filter(|all| all.len() <= TEXTS_MAX);
            let all = all.and_then(|all| all.iter().map(text).collect::<Option<Vec<_>>>());
            all.ok_or_else(|| wrong("list of at most 1000 texts"))?.into()
        }
        Kind::Number => value.as_u64().ok_or_else(|| wrong("number"))?.into(),
        Kind::Flag => value.as_bool().ok_or_else(|| wrong("true or false"))?.into(),
        Kind::Path => {
            let path = text(value).filter(|path| Path::new(path).is_absolute());
            path.ok_or_else(|| wrong("absolute path"))?.into()
        }
        Kind::Secret => {
            let secret = text(value).filter(|secret| !secret.trim().is_empty());
            json!({ "secret": secret.ok_or_else(|| wrong("passphrase or key"))? })
        }
        Kind::Json => value.clone(),
    })
}

/// A command that brings a profile along. Its secrets stand in it: no file of this machine is read for it.
fn with_profile(route: &Route, fields: &Map<String, Value>, profile: &Value) -> Result<Command, Problem> {
    let instance = fields.get("instance").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let ("profile-test", None, Some(name)) =
        (route.command, profile.get("source"), profile["name"].as_str())
    {
        let stored = Box::new(Tested::Stored { name: name.to_owned() });
        return Ok(Command::ProfileTest { instance, profile: stored });
    }
    let profile = Profile::from_json(profile.clone());
    let profile = profile.map_err(|fault| Problem::invalid(format!("the profile: {fault}")))?;
    let key = random_secret();
    let sealed = Box::new(profile.seal(&AeadKey::new(&key)));
    let key = TransportKey::new(&key);
    Ok(match route.command {
        "profile-test" => {
            Command::ProfileTest { instance, profile: Box::new(Tested::File { profile: sealed, key }) }
        }
        _ => Command::ProfilePut { instance, profile: sealed, key },
    })
}
