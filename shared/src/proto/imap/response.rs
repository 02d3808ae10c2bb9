//! A whole response.

use std::fmt;

use super::capability::Capabilities;
use super::code::Code;
use super::fetch::Fetch;
use super::mailbox::{ListEntry, MailboxStatus, Namespace};
use super::set::{Uid, UidSet};
use super::tokens::{BadResponse, Tokens, printable};

/// How a status response judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Done.
    Ok,
    /// Refused.
    No,
    /// Not understood.
    Bad,
    /// Logged in from the start.
    PreAuth,
    /// The end.
    Bye,
}

/// What stands behind a condition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// The code in brackets.
    pub code: Option<Code>,
    /// What a person may read: nothing in it controls a terminal, and it has at most 200 characters.
    pub words: String,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.words.is_empty() { "(no reason given)" } else { &self.words })
    }
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// `+`: go on, with a challenge perhaps.
    Continue(String),
    /// The end of the command with that tag.
    Tagged {
        /// The command's.
        tag: String,
        /// How it ended.
        condition: Condition,
        /// Why.
        text: Text,
    },
    /// `* OK` and the like.
    Status(Condition, Text),
    /// What the server can do.
    Capability(Capabilities),
    /// What was enabled.
    Enabled(Capabilities),
    /// Where mailboxes are: own, of other users, shared.
    Namespace {
        /// The user's own.
        own: Vec<Namespace>,
        /// Of other users.
        other: Vec<Namespace>,
        /// Of nobody in particular.
        shared: Vec<Namespace>,
    },
    /// A mailbox.
    List(ListEntry),
    /// The state of a mailbox.
    MailboxStatus(MailboxStatus),
    /// How many messages the open mailbox has.
    Exists(u32),
    /// The message with that number is gone.
    Expunge(u32),
    /// The messages with these UIDs are gone (RFC 7162 §3.2.10).
    Vanished {
        /// Before this session; else just now.
        earlier: bool,
        /// Which.
        uids: UidSet,
    },
    /// A message.
    Fetch(Fetch),
    /// What a search by UID found.
    Search(Vec<Uid>),
    /// Anything else, by its name in capital letters.
    Other(String),
}

impl Response {
    /// Reads a whole line, as [`Reader::line`](super::Reader::line) gives it.
    ///
    /// # Errors
    /// When it begins like no response, or is a known one that makes no sense.
    pub fn parse(line: &[u8]) -> Result<Self, BadResponse> {
        let mut tokens = Tokens::new(line);
        if tokens.octet(b'+').is_some() {
            let _ = tokens.space();
            // Challenges are base64, and long ones are not to be cut.
            return match std::str::from_utf8(tokens.rest()) {
                Ok(text) if !text.chars().any(char::is_control) => Ok(Self::Continue(text.trim().to_owned())),
                _ => Err(tokens.bad("a challenge")),
            };
        }
        if tokens.octet(b'*').is_some() {
            tokens.space().ok_or_else(|| tokens.bad("a response"))?;
            return Self::untagged(&mut tokens);
        }
        let is_tag = |tag: &&str| tag.bytes().all(|octet| octet.is_ascii_alphanumeric());
        let tag = tokens.atom().filter(is_tag).ok_or_else(|| tokens.bad("a tag"))?.to_owned();
        tokens.space().ok_or_else(|| tokens.bad("a response"))?;
        let (condition, text) = status(&mut tokens).ok_or_else(|| tokens.bad("OK, NO or BAD"))?;
        if matches!(condition, Condition::PreAuth | Condition::Bye) {
            return Err(tokens.bad("OK, NO or BAD"));
        }
        Ok(Self::Tagged { tag, condition, text })
    }

    fn untagged(tokens: &mut Tokens<'_>) -> Result<Self, BadResponse> {
        if let Some((condition, text)) = status(tokens) {
            return Ok(Self::Status(condition, text));
        }
        if tokens.rest().first().is_some_and(u8::is_ascii_digit) {
            return numbered(tokens).ok_or_else(|| tokens.bad("a number and what it counts"));
        }
        let name = tokens.atom().ok_or_else(|| tokens.bad("a response"))?.to_ascii_uppercase();
        let _ = tokens.space();
        let known = match name.as_str() {
            "CAPABILITY" => Some(Self::Capability(Capabilities::read(tokens))),
            "ENABLED" => Some(Self::Enabled(Capabilities::read(tokens))),
            "LIST" | "XLIST" => ListEntry::read(tokens).map(Self::List),
            "STATUS" => MailboxStatus::read(tokens).map(Self::MailboxStatus),
            "NAMESPACE" => namespaces(tokens),
            "VANISHED" => vanished(tokens),
            "SEARCH" => search(tokens),
            _ => return Ok(Self::Other(name)),
        };
        known.ok_or_else(|| tokens.bad("a known response"))
    }
}

/// `OK [CODE] text`; nothing is used when it is none.
fn status(tokens: &mut Tokens<'_>) -> Option<(Condition, Text)> {
    let mut ahead = tokens.clone();
    let name = ahead.atom()?;
    let known = [
        ("OK", Condition::Ok),
        ("NO", Condition::No),
        ("BAD", Condition::Bad),
        ("PREAUTH", Condition::PreAuth),
        ("BYE", Condition::Bye),
    ];
    let condition = known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?.1;
    if ahead.space().is_none() && !ahead.is_at_end() {
        return None;
    }
    let words = printable(ahead.rest());
    let code = ahead.octet(b'[').and_then(|()| Code::read(&mut ahead));
    *tokens = ahead;
    Some((condition, Text { code, words }))
}

fn numbered(tokens: &mut Tokens<'_>) -> Option<Response> {
    let number = u32::try_from(tokens.number()?).ok()?;
    tokens.space()?;
    let name = tokens.atom()?.to_ascii_uppercase();
    match name.as_str() {
        "EXISTS" => Some(Response::Exists(number)),
        "EXPUNGE" if number > 0 => Some(Response::Expunge(number)),
        "FETCH" if number > 0 => {
            tokens.space()?;
            Fetch::read(number, tokens).map(Response::Fetch)
        }
        "EXPUNGE" | "FETCH" => None,
        _ => Some(Response::Other(name)),
    }
}

fn namespaces(tokens: &mut Tokens<'_>) -> Option<Response> {
    let own = Namespace::read(tokens)?;
    tokens.space()?;
    let other = Namespace::read(tokens)?;
    tokens.space()?;
    Some(Response::Namespace { own, other, shared: Namespace::read(tokens)? })
}

/// A modification sequence may stand behind the numbers (RFC 7162 §3.1.5).
fn search(tokens: &mut Tokens<'_>) -> Option<Response> {
    let mut found = Vec::new();
    while !tokens.is_at_end() && !tokens.rest().starts_with(b"(") {
        found.push(Uid::new(tokens.number32()?)?);
        let _ = tokens.space();
    }
    Some(Response::Search(found))
}

fn vanished(tokens: &mut Tokens<'_>) -> Option<Response> {
    let earlier = tokens.word("(EARLIER)").is_some();
    let _ = tokens.space();
    let uids = UidSet::parse(tokens.atom()?)?;
    Some(Response::Vanished { earlier, uids })
}
