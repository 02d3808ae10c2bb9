//! The query language: words, phrases, fields, dates.
//!
//! ```text
//! query  = term *(SP term)                 all must hold
//! term   = ["-"] ( word | phrase | field ":" (word | phrase) | "after:" date | "before:" date | "has:attachment" | "*" )
//! phrase = DQUOTE text DQUOTE
//! word   = text without spaces; a "*" at its end finds what begins so
//! field  = "from" | "to" | "cc" | "subject" | "body" | "attachment"
//! date   = YYYY-MM-DD, in UTC; after: from that day on, before: up to the day before
//! ```

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, Time};

const DAY: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");
const TERMS_MAX: usize = 64;
const QUERY_BYTES_MAX: usize = 4096;

/// The query cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query at character {at}: {what}")]
pub struct QueryError {
    /// The character, from 1.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

/// A field that can be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    From,
    To,
    Cc,
    Subject,
    Body,
    Attachment,
}

impl Field {
    pub(super) const ALL: [Self; 6] =
        [Self::From, Self::To, Self::Cc, Self::Subject, Self::Body, Self::Attachment];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Cc => "cc",
            Self::Subject => "subject",
            Self::Body => "body",
            Self::Attachment => "attachment",
        }
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) negated: bool,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Everything,
    /// In that field, or in any.
    Text(Option<Field>, String),
    /// Begins so.
    Prefix(Option<Field>, String),
    /// Seconds since 1970, from then on.
    After(i64),
    /// Before then.
    Before(i64),
    HasAttachment,
}

/// Parses a query.
pub(super) fn parse(text: &str) -> Result<Vec<Term>, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(QueryError { at: 1, what: format!("longer than {QUERY_BYTES_MAX} bytes") });
    }
    let characters: Vec<char> = text.chars().collect();
    let mut terms = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        if characters[at].is_whitespace() {
            at += 1;
            continue;
        }
        if terms.len() == TERMS_MAX {
            return Err(QueryError { at: at + 1, what: format!("more than {TERMS_MAX} terms") });
        }
        terms.push(parse_term(&characters, &mut at)?);
    }
    if terms.is_empty() {
        return Err(QueryError { at: 1, what: "nothing to find; * finds everything".into() });
    }
    Ok(terms)
}

fn parse_term(characters: &[char], at: &mut usize) -> Result<Term, QueryError> {
    let start = *at;
    let negated = characters[start] == '-' && characters.get(start + 1).is_some_and(|c| !c.is_whitespace());
    if negated {
        *at += 1;
    }
    let name: String = characters[*at..]
        .iter()
        .take_while(|c| c.is_ascii_alphabetic())
        .collect::<String>()
        .to_ascii_lowercase();
    let behind = *at + name.len();
    let is_field = characters.get(behind) == Some(&':') && !name.is_empty();
    let value_at = if is_field { behind + 1 } else { *at };
    let field = Field::ALL.into_iter().find(|field| is_field && field.name() == name);
    let known = field.is_some() || ["after", "before", "has"].contains(&name.as_str());
    // Not a field, as in http://example.com: a word like any other.
    let value_at = if is_field && !known { *at } else { value_at };
    *at = value_at;
    let (value, quoted) = parse_value(characters, at)?;
    if value.is_empty() {
        return Err(QueryError { at: value_at + 1, what: "a word is missing".into() });
    }
    let what = match name.as_str() {
        "after" if is_field => What::After(parse_day(&value, value_at)?),
        "before" if is_field => What::Before(parse_day(&value, value_at)?),
        "has" if is_field && value.eq_ignore_ascii_case("attachment") => What::HasAttachment,
        "has" if is_field => {
            return Err(QueryError { at: value_at + 1, what: "has:attachment is all there is".into() });
        }
        _ => text_term(field, value, quoted),
    };
    Ok(Term { negated, what })
}

fn text_term(field: Option<Field>, value: String, quoted: bool) -> What {
    match value.strip_suffix('*') {
        Some("") if !quoted && field.is_none() => What::Everything,
        Some(prefix) if !quoted && !prefix.is_empty() => What::Prefix(field, prefix.to_owned()),
        _ => What::Text(field, value),
    }
}

fn parse_value(characters: &[char], at: &mut usize) -> Result<(String, bool), QueryError> {
    let start = *at;
    if characters.get(start) == Some(&'"') {
        let length = characters[start + 1..].iter().position(|c| *c == '"');
        let length =
            length.ok_or_else(|| QueryError { at: start + 1, what: "the quote is not closed".into() })?;
        *at = start + length + 2;
        return Ok((characters[start + 1..start + 1 + length].iter().collect(), true));
    }
    let word: String = characters[start..].iter().take_while(|c| !c.is_whitespace()).collect();
    *at = start + word.chars().count();
    Ok((word, false))
}

fn parse_day(value: &str, at: usize) -> Result<i64, QueryError> {
    let date = Date::parse(value, DAY)
        .map_err(|_| QueryError { at: at + 1, what: format!("{value:?} is no date like 2026-01-31") })?;
    Ok(date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(text: &str) -> Vec<What> {
        parse(text).unwrap().into_iter().map(|term| term.what).collect()
    }

    #[test]
    fn the_language_is_read() {
        assert_eq!(whats("*"), [What::Everything]);
        assert_eq!(
            whats("invoice from:anna subject:\"annual report\" inv*"),
            [
                What::Text(None, "invoice".into()),
                What::Text(Some(Field::From), "anna".into()),
                What::Text(Some(Field::Subject), "annual report".into()),
                What::Prefix(None, "inv".into()),
            ]
        );
        assert_eq!(
            whats("after:1970-01-02 BEFORE:1970-01-03 has:attachment"),
            [What::After(86_400), What::Before(172_800), What::HasAttachment]
        );
        assert_eq!(whats("http://example.com"), [What::Text(None, "http://example.com".into())]);
        let terms = parse("-spam - ham").unwrap();
        assert_eq!(terms.iter().map(|term| term.negated).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn mistakes_are_placed() {
        let at = |text: &str| parse(text).unwrap_err().at;
        assert_eq!(at(""), 1);
        assert_eq!(at("word \"open"), 6);
        assert_eq!(at("after:yesterday"), 7);
        assert_eq!(at("x has:fun"), 7);
        assert_eq!(at("from: x"), 6);
        assert_eq!(at(&"a ".repeat(65)), 129);
    }
}
