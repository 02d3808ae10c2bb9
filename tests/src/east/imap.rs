//! What the hostile IMAP server answers: a folder of two messages for everybody; and how its scripts are read.

use anyhow::{Context as _, Result};

use super::ron::Value;
use super::script::{Protocol, Script, certificate_of};
use super::server::Answer;

/// Where the dialogue stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Nobody is logged in.
    #[default]
    Nobody,
    /// What AUTHENTICATE with that tag asked for comes.
    Login(String),
    /// Somebody is.
    Somebody,
    /// He waits in IDLE, under that tag.
    Idle(String),
}

const MESSAGE: &str = "From: A\r\nTo: B\r\nSubject: 1\r\n\r\nHello, World!\r\n";

/// Reads a script for IMAP, whose notation differs.
pub(super) fn read(name: String, script: &Value) -> Result<Script> {
    let certificate = script.field("cert").and_then(|cert| cert.field("crt_path")).context("no cert")?;
    let mut answers = match script.field("override_response") {
        Some(Value::Fields(fields)) => fields
            .iter()
            .map(|(key, value)| Ok((key.to_lowercase(), value.text()?.to_owned())))
            .collect::<Result<Vec<_>>>()?,
        _ => Vec::new(),
    };
    let names = |key: &str| -> Result<Vec<String>> {
        let list = script.field(key).map_or(Ok(&[][..]), Value::list)?;
        list.iter().map(|one| Ok(one.text()?.to_lowercase())).collect()
    };
    answers.extend(names("ignore_commands")?.into_iter().map(|name| (name, String::new())));
    let chosen = answers.iter().find(|(key, _)| key == "greeting").map(|(_, text)| text.clone());
    let greeting = match (chosen, script.field("greeting")) {
        (Some(chosen), _) => chosen,
        (None, Some(greeting)) => greeting_of(greeting)?,
        (None, None) => "* OK ready\r\n".to_owned(),
    };
    let behind = script.field("response_after_greeting").and_then(within).unwrap_or_default();
    Ok(Script {
        name,
        protocol: Protocol::Imap,
        certificate: certificate_of(certificate.text()?),
        implicit_tls: script.field("implicit_tls").context("no implicit_tls")?.bool()?,
        greeting: greeting + &behind,
        starttls_response: script
            .field("starttls_response")
            .and_then(within)
            .unwrap_or_else(|| "<tag> OK begin TLS\r\n".to_owned()),
        starttls_begins: script.field("starttls_transition").map_or(Ok(true), Value::bool)?,
        offers: capabilities(script.field("caps"))?,
        offers_tls: capabilities(script.field("caps_tls"))?,
        hidden: names("hide_commands")?,
        ignored_tls: names("ignore_commands_tls")?,
        answers,
    })
}

/// `Some("text")` and `"text"`.
fn within(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Name(_, values) => within(values.first()?),
        Value::Fields(fields) => within(&fields.first()?.1),
        _ => None,
    }
}

/// `(kind: Ok, code: Some(Capability(NonEmptyVec([…]))), text: Text("…"))`
fn greeting_of(value: &Value) -> Result<String> {
    let kind = match value.field("kind").context("no kind")? {
        Value::Name(name, _) => name.to_uppercase(),
        other => other.text()?.to_owned(),
    };
    let code = match value.field("code") {
        Some(Value::Name(some, codes)) if some == "Some" => code_of(codes.first().context("no code")?)?,
        _ => String::new(),
    };
    let text = value.field("text").and_then(within).unwrap_or_default();
    Ok(format!("* {kind} {code}{text}\r\n"))
}

fn code_of(value: &Value) -> Result<String> {
    Ok(match value {
        Value::Name(name, values) if name == "Capability" => {
            let list = match values.first() {
                Some(Value::Name(_, lists)) => lists.first(),
                other => other,
            };
            format!("[CAPABILITY {}] ", capabilities(list)?.join(" "))
        }
        Value::Name(name, _) => format!("[{}] ", name.to_uppercase()),
        _ => "[X] ".to_owned(),
    })
}

fn capabilities(list: Option<&Value>) -> Result<Vec<String>> {
    let word = |value: &Value| match value {
        Value::Name(name, values) => match (name.as_str(), values.first()) {
            ("Auth", Some(mechanism)) => format!("AUTH={}", word_of(mechanism)),
            _ => word_of(value),
        },
        other => word_of(other),
    };
    Ok(list.context("no capabilities")?.list()?.iter().map(word).collect())
}

fn word_of(value: &Value) -> String {
    match value {
        Value::Name(name, values) if values.is_empty() => name.to_uppercase(),
        other => within(other).unwrap_or_else(|| "X".to_owned()),
    }
}

pub(super) fn answer(script: &Script, state: &mut State, line: &str, under_tls: bool) -> Answer {
    if let State::Login(tag) | State::Idle(tag) = state {
        let text = format!("{tag} OK done\r\n");
        *state = State::Somebody;
        return Answer::say(&text);
    }
    let mut words = line.split_whitespace();
    let (tag, command) = (words.next().unwrap_or("*"), words.next().unwrap_or_default().to_lowercase());
    let rest: Vec<&str> = words.collect();
    let tagged = |text: &str| text.replace("<tag>", tag);
    if let Some(chosen) = script.chosen(&command, under_tls, "<tag> BAD unknown\r\n") {
        return Answer::say(&tagged(&chosen));
    }
    match command.as_str() {
        "capability" => {
            let offers = if under_tls { &script.offers_tls } else { &script.offers };
            Answer::say(&tagged(&format!("* CAPABILITY {}\r\n<tag> OK\r\n", offers.join(" "))))
        }
        "starttls" => {
            Answer { starts_tls: script.starttls_begins, ..Answer::say(&tagged(&script.starttls_response)) }
        }
        "logout" => Answer::hang_up(&tagged("* BYE\r\n<tag> OK\r\n")),
        "login" => {
            *state = State::Somebody;
            Answer::say(&tagged("<tag> OK\r\n"))
        }
        "authenticate" if rest.len() > 1 => {
            *state = State::Somebody;
            Answer::say(&tagged("<tag> OK\r\n"))
        }
        "authenticate" => {
            *state = State::Login(tag.to_owned());
            Answer::say("+ \r\n")
        }
        "idle" => {
            *state = State::Idle(tag.to_owned());
            Answer::say("+ idling\r\n")
        }
        _ if *state == State::Nobody => Answer::say(&tagged("<tag> BAD log in first\r\n")),
        _ => Answer::say(&tagged(&of_the_folder(&command, &rest))),
    }
}

fn of_the_folder(command: &str, rest: &[&str]) -> String {
    let content = || format!("BODY[] {{{}}}\r\n{MESSAGE}", MESSAGE.len());
    let messages = |what: &dyn Fn() -> String| {
        let one = |number: u32| format!("* {number} FETCH (UID {number} FLAGS () {})\r\n", what());
        format!("{}{}<tag> OK\r\n", one(1), one(2))
    };
    match command {
        "list" => "* LIST () \"/\" INBOX\r\n<tag> OK\r\n".to_owned(),
        "status" => "* STATUS INBOX (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 1)\r\n<tag> OK\r\n".to_owned(),
        "examine" | "select" => {
            "* 2 EXISTS\r\n* OK [UIDVALIDITY 1]\r\n* OK [UIDNEXT 3]\r\n<tag> OK\r\n".to_owned()
        }
        "uid" if rest.iter().any(|word| word.contains("BODY.PEEK[]")) => messages(&content),
        "uid" => messages(&|| format!("RFC822.SIZE {}", MESSAGE.len())),
        _ => "<tag> OK\r\n".to_owned(),
    }
}
