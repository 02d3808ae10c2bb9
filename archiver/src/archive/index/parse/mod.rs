//! The query language; docs/search.md teaches it.
//!
//! ```text
//! query  = either
//! either = all *("OR" all)
//! all    = 1*( ["AND"] one )                     all must hold
//! one    = ("-" / "NOT ") one / "(" either ")" / field ":" "(" either ")" / [field ":"] (word / phrase)
//! phrase = DQUOTE text DQUOTE ["*"]
//! word   = text without spaces and parentheses; a "*" at its end finds what begins so
//! ```
//!
//! What looks like a field and is none is an error, not a word: a slip of the pen would find nothing, and nobody would know why.

mod field;
mod value;

use field::Key;
pub(super) use field::{Field, nearest};
pub(super) use value::Now;

/// Conditions in a query.
const TERMS_MAX: usize = 64;
const QUERY_BYTES_MAX: usize = 4096;
/// Parentheses within parentheses.
const DEPTH_MAX: usize = 16;

/// The query cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query{}: {what}", place(*.at))]
pub struct QueryError {
    /// The character, from 1; 0: it is the query as a whole.
    pub at: usize,
    /// What is wrong there, and what to do.
    pub what: String,
}

impl QueryError {
    pub(super) fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at: at + 1, what: what.into() }
    }

    /// What is wrong at no place of its own.
    pub(super) fn whole(what: impl Into<String>) -> Self {
        Self { at: 0, what: what.into() }
    }
}

fn place(at: usize) -> String {
    if at == 0 { String::new() } else { format!(" at character {at}") }
}

/// Conditions, and how they are tied together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Is(Term),
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    Everything,
    Text(Text),
    /// Seconds since 1970: from the first on, before the second.
    Date(Option<i64>, Option<i64>),
    /// Octets: from the first on, up to the second.
    Size(u64, u64),
    HasAttachment,
    TextMissing,
    /// An id of ours or a Message-ID.
    Id(String),
    /// The archive it is filed in.
    Archive(String),
}

/// Words to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// Where; empty: anywhere.
    pub(super) fields: &'static [Field],
    pub(super) text: String,
    /// The last word only begins so.
    pub(super) begins: bool,
}

/// Parses a query.
pub(super) fn parse(text: &str, now: Now) -> Result<Condition, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        let what = format!("longer than {QUERY_BYTES_MAX} bytes; make several queries of it");
        return Err(QueryError::new(0, what));
    }
    let characters: Vec<char> = text.chars().collect();
    let mut parser = Parser { characters: &characters, at: 0, terms: 0, now };
    let condition = parser.either(None, 0)?;
    match parser.peek() {
        None => condition.ok_or_else(|| QueryError::new(0, "nothing to find; * finds everything")),
        Some(_) => {
            Err(QueryError::new(parser.at, "this parenthesis closes none; remove it, or put it in quotes"))
        }
    }
}

struct Parser<'q> {
    characters: &'q [char],
    at: usize,
    terms: usize,
    now: Now,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.characters.get(self.at).copied()
    }

    /// Passes over a word that ties conditions together.
    fn takes(&mut self, word: &str) -> bool {
        if self.peek().is_none() {
            return false;
        }
        let end = self.at + word.len();
        let found = self.characters.get(self.at..end).is_some_and(|c| c.iter().copied().eq(word.chars()));
        let ends = self.characters.get(end).is_none_or(|c| c.is_whitespace() || "()".contains(*c));
        if found && ends {
            self.at = end;
        }
        found && ends
    }

    fn either(&mut self, key: Option<Key>, depth: usize) -> Result<Option<Condition>, QueryError> {
        if depth > DEPTH_MAX {
            return Err(QueryError::new(
                self.at,
                format!("more than {DEPTH_MAX} parentheses within one another"),
            ));
        }
        let mut any: Vec<Condition> = self.all(key, depth)?.into_iter().collect();
        loop {
            let at = self.at;
            if !self.takes("OR") {
                break;
            }
            let before = !any.is_empty();
            match self.all(key, depth)? {
                Some(next) if before => any.push(next),
                _ => {
                    let what =
                        "OR stands between two conditions: anna OR bob; put it in quotes to find the word";
                    return Err(QueryError::new(at, what));
                }
            }
        }
        Ok(if any.len() > 1 { Some(Condition::Any(any)) } else { any.pop() })
    }

    fn all(&mut self, key: Option<Key>, depth: usize) -> Result<Option<Condition>, QueryError> {
        let mut all = Vec::new();
        loop {
            let at = self.at;
            match self.peek() {
                None | Some(')') => break,
                Some(_) => {}
            }
            let here = self.at;
            if self.takes("OR") {
                self.at = here;
                break;
            }
            if self.takes("AND") {
                if all.is_empty() || self.peek().is_none_or(|c| c == ')') {
                    let what = "AND stands between two conditions, and may be left out; put it in quotes to find the word";
                    return Err(QueryError::new(at.max(here), what));
                }
                continue;
            }
            all.push(self.one(key, depth)?);
        }
        Ok(if all.len() > 1 { Some(Condition::All(all)) } else { all.pop() })
    }

    fn one(&mut self, key: Option<Key>, depth: usize) -> Result<Condition, QueryError> {
        let start = self.at;
        let minus = self.characters[start] == '-'
            && self.characters.get(start + 1).is_some_and(|c| !c.is_whitespace() && *c != '-');
        if minus {
            self.at += 1;
        }
        if minus || self.takes("NOT") {
            if depth > DEPTH_MAX {
                return Err(QueryError::new(start, "too many NOT one behind the other"));
            }
            return match self.peek() {
                Some(c) if c != ')' => Ok(Condition::Not(Box::new(self.one(key, depth + 1)?))),
                _ => Err(QueryError::new(
                    start,
                    "what must not be there is missing: NOT spam, -spam or -(this OR that)",
                )),
            };
        }
        if self.characters[start] == '(' {
            return self.group(key, depth);
        }
        match self.key()? {
            Some(key) if self.characters.get(self.at) == Some(&'(') => self.group(Some(key), depth),
            named => self.term(named.or(key)).map(Condition::Is),
        }
    }

    fn group(&mut self, key: Option<Key>, depth: usize) -> Result<Condition, QueryError> {
        let open = self.at;
        self.at += 1;
        let inside = self.either(key, depth + 1)?;
        if self.peek() != Some(')') {
            return Err(QueryError::new(
                open,
                "this parenthesis is not closed; close it, or put it in quotes",
            ));
        }
        self.at += 1;
        inside.ok_or_else(|| QueryError::new(open, "nothing stands between these parentheses"))
    }

    /// `name:` when that is a field; what is none is an error unless it can be nothing but text, as `http://…`.
    fn key(&mut self) -> Result<Option<Key>, QueryError> {
        let start = self.at;
        let name = self.characters[start..].iter().take_while(|c| c.is_ascii_alphabetic() || **c == '-');
        let name: String = name.collect::<String>().to_ascii_lowercase();
        let behind = start + name.len();
        if name.is_empty() || self.characters.get(behind) != Some(&':') {
            return Ok(None);
        }
        if let Some(key) = Key::named(&name) {
            self.at = behind + 1;
            return Ok(Some(key));
        }
        match self.characters.get(behind + 1) {
            None | Some('/' | ':' | '\\') => return Ok(None),
            Some(next) if next.is_whitespace() => return Ok(None),
            Some(_) => {}
        }
        let hint = nearest(&name).map(|near| format!("; did you mean {near}:?")).unwrap_or_default();
        let what = format!(
            "there is no field {name:?}{hint} The fields are {}; put text with a colon in quotes",
            Key::names()
        );
        Err(QueryError::new(start, what))
    }

    fn term(&mut self, key: Option<Key>) -> Result<Term, QueryError> {
        let at = self.at;
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(QueryError::new(
                at,
                format!("more than {TERMS_MAX} conditions; make several queries of it"),
            ));
        }
        let (value, quoted, begins) = self.value()?;
        let Some(key) = key else {
            return match (value.as_str(), quoted, begins) {
                ("", false, true) => Ok(Term::Everything),
                _ => Self::text(&[], value, begins, at),
            };
        };
        if value.trim().is_empty() {
            let what =
                format!("a word is missing behind {}:, without a space: {}", key.name(), key.example());
            return Err(QueryError::new(at, what));
        }
        match key {
            Key::Text(_, fields) => Self::text(fields, value, begins, at),
            other => value::term(other, &value, self.now).map_err(|what| QueryError::new(at, what)),
        }
    }

    fn text(fields: &'static [Field], text: String, begins: bool, at: usize) -> Result<Term, QueryError> {
        if text.trim_end_matches('*').contains('*') {
            let what = "a * may stand at the end of a word only; filename:pdf finds all PDFs";
            return Err(QueryError::new(at, what));
        }
        if super::words::asked(&text, begins).is_empty() {
            let what = format!("{text:?} has no letter and no digit, so nothing can be looked up");
            return Err(QueryError::new(at, what));
        }
        Ok(Term::Text(Text { fields, text, begins }))
    }

    /// A word or a phrase: text, whether it stood in quotes, whether a `*` stood behind it.
    fn value(&mut self) -> Result<(String, bool, bool), QueryError> {
        let start = self.at;
        let rest = &self.characters[start.min(self.characters.len())..];
        if rest.first() == Some(&'"') {
            let length = rest[1..].iter().position(|c| *c == '"');
            let length = length
                .ok_or_else(|| QueryError::new(start, "the quote is not closed; close it or remove it"))?;
            let begins = rest.get(length + 2) == Some(&'*');
            self.at = start + length + 2 + usize::from(begins);
            return Ok((rest[1..=length].iter().collect(), true, begins));
        }
        let word: String = rest.iter().take_while(|c| !c.is_whitespace() && !"()".contains(**c)).collect();
        self.at = start + word.chars().count();
        match word.strip_suffix('*') {
            Some(beginning) => Ok((beginning.to_owned(), false, true)),
            None => Ok((word, false, false)),
        }
    }
}

#[cfg(test)]
mod tests;
