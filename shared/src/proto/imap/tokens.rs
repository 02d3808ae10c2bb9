//! A response's atoms, strings and lists (RFC 3501 §4, §9).

use std::borrow::Cow;

use super::reader::HANDED_ON;

/// Lists within lists: more has no response that is of use.
const DEPTH_MAX: usize = 32;

/// What is wrong with a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer makes no sense ({what}): {line:?}")]
pub struct BadResponse {
    /// What was looked for.
    pub what: &'static str,
    /// The beginning of the line.
    pub line: String,
}

/// A server's octets as text for people: control characters and broken UTF-8 replaced, at most 200 characters.
pub fn printable(octets: &[u8]) -> String {
    // More octets than 200 characters can have need not be looked at.
    String::from_utf8_lossy(&octets[..octets.len().min(800)])
        .chars()
        .take(200)
        .map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })
        .collect()
}

/// Reads a line from left to right. What is not there is `None`, and nothing was used then.
#[derive(Debug, Clone)]
pub struct Tokens<'l> {
    line: &'l [u8],
    rest: &'l [u8],
}

impl<'l> Tokens<'l> {
    /// At the beginning of a line, which holds its literals behind their announcements.
    pub fn new(line: &'l [u8]) -> Self {
        Self { line, rest: line }
    }

    /// What is left.
    pub fn rest(&self) -> &'l [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error here.
    pub fn bad(&self, what: &'static str) -> BadResponse {
        BadResponse { what, line: printable(self.line) }
    }

    /// That octet.
    pub fn octet(&mut self, octet: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[octet])?;
        Some(())
    }

    /// A space. Some servers send two.
    pub fn space(&mut self) -> Option<()> {
        self.octet(b' ')?;
        while self.octet(b' ').is_some() {}
        Some(())
    }

    /// These letters, in any case, whatever follows.
    pub fn word(&mut self, word: &str) -> Option<()> {
        let (start, rest) = self.rest.split_at_checked(word.len())?;
        start.eq_ignore_ascii_case(word.as_bytes()).then(|| self.rest = rest)
    }

    /// The octets up to a space, bracket, quote or control character; not none.
    pub fn atom(&mut self) -> Option<&'l str> {
        self.until(|octet| matches!(octet, b' ' | b'(' | b')' | b'[' | b']' | b'"' | b'{' | 0..=31 | 127))
    }

    /// A flag: `\Seen`, `$Forwarded`, `\*`. Brackets may stand in what users call their flags.
    pub fn flag(&mut self) -> Option<&'l str> {
        self.until(|octet| matches!(octet, b' ' | b'(' | b')' | b'"' | 0..=31 | 127))
    }

    fn until(&mut self, ends: impl Fn(u8) -> bool) -> Option<&'l str> {
        let len = self.rest.iter().position(|&octet| ends(octet)).unwrap_or(self.rest.len());
        let (atom, rest) = self.rest.split_at(len);
        let atom = std::str::from_utf8(atom).ok().filter(|atom| !atom.is_empty())?;
        self.rest = rest;
        Some(atom)
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let digits = self.rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(digits);
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        self.rest = rest;
        Some(number)
    }

    /// A number of 32 bits that is not 0.
    pub fn number32(&mut self) -> Option<u32> {
        let mut ahead = self.clone();
        let number = u32::try_from(ahead.number()?).ok().filter(|&number| number != 0)?;
        *self = ahead;
        Some(number)
    }

    /// A quoted string, or a literal.
    pub fn string(&mut self) -> Option<Cow<'l, [u8]>> {
        if self.rest.first() == Some(&b'"') { self.quoted() } else { self.literal().map(Cow::Borrowed) }
    }

    fn quoted(&mut self) -> Option<Cow<'l, [u8]>> {
        let inner = self.rest.strip_prefix(b"\"")?;
        let end = memchr::memchr2(b'"', b'\\', inner)?;
        if inner[end] == b'"' {
            self.rest = &inner[end + 1..];
            return Some(Cow::Borrowed(&inner[..end]));
        }
        let mut text = Vec::new();
        let mut octets = inner.iter().enumerate();
        while let Some((at, &octet)) = octets.next() {
            match octet {
                b'"' => {
                    self.rest = &inner[at + 1..];
                    return Some(Cow::Owned(text));
                }
                b'\\' => text.push(*octets.next()?.1),
                octet => text.push(octet),
            }
        }
        None
    }

    fn literal(&mut self) -> Option<&'l [u8]> {
        let mut ahead = self.clone();
        // Literal8 (RFC 3516 §4.1).
        let _ = ahead.octet(b'~');
        ahead.octet(b'{')?;
        let octets = usize::try_from(ahead.number()?).ok()?;
        ahead.octet(b'}')?;
        let _ = ahead.octet(b'\r');
        ahead.octet(b'\n')?;
        let (literal, rest) = ahead.rest.split_at_checked(octets)?;
        self.rest = rest;
        Some(literal)
    }

    /// A string, or NIL.
    pub fn nstring(&mut self) -> Option<Option<Cow<'l, [u8]>>> {
        if let Some(string) = self.string() {
            return Some(Some(string));
        }
        self.nil().map(|()| None)
    }

    /// NIL, and no atom that only begins with it.
    pub fn nil(&mut self) -> Option<()> {
        let mut ahead = self.clone();
        let atom = ahead.atom()?;
        atom.eq_ignore_ascii_case("NIL").then(|| *self = ahead)
    }

    /// A string, or an atom as names of mailboxes may be; `]` stands in some.
    pub fn astring(&mut self) -> Option<Cow<'l, [u8]>> {
        if let Some(string) = self.string() {
            return Some(string);
        }
        let ends = |octet: &u8| matches!(octet, b' ' | b'(' | b')' | b'"' | b'{' | 0..=31 | 127);
        let len = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (atom, rest) = self.rest.split_at(len);
        if atom.is_empty() {
            return None;
        }
        self.rest = rest;
        Some(Cow::Borrowed(atom))
    }

    /// The mark of content that was handed on.
    pub fn handed_on(&mut self) -> Option<()> {
        self.octet(HANDED_ON)
    }

    /// `(a b c)`, each item read by `item`.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut ahead = self.clone();
        ahead.octet(b'(')?;
        let mut items = Vec::new();
        let _ = ahead.space();
        while ahead.octet(b')').is_none() {
            items.push(item(&mut ahead)?);
            if ahead.space().is_none() && ahead.rest.first() != Some(&b')') {
                return None;
            }
        }
        *self = ahead;
        Some(items)
    }

    /// Passes over one value of any kind: an atom with its brackets, a string, a list of values.
    pub fn skip(&mut self) -> Option<()> {
        let mut ahead = self.clone();
        let mut depth = 0_usize;
        loop {
            if ahead.octet(b'(').is_some() {
                depth += 1;
                if depth > DEPTH_MAX {
                    return None;
                }
            } else if depth > 0 && ahead.octet(b')').is_some() {
                depth -= 1;
            } else if ahead.string().is_none() && ahead.handed_on().is_none() && ahead.flag().is_none() {
                return None;
            }
            if depth == 0 {
                *self = ahead;
                return Some(());
            }
            let _ = ahead.space();
        }
    }
}
