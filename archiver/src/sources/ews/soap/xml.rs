//! XML as it arrives, in pieces of any size: elements, and text that is handed on without being held.
//!
//! What is understood is what SOAP may hold (SOAP 1.1 §3: no DTD, no processing instruction that means anything): elements with
//! attributes, text, CDATA, comments, the five entities and numeric ones, in UTF-8. Prefixes are passed over: what an Exchange
//! server answers has no two elements of one local name that could stand for each other.
//!
//! Promises
//! - A tag is bounded, and so is the depth; text is not held at all.
//! - No entity is expanded that the document declares, for it may declare none.
//! - A document is whole only when [`Reader::is_whole`] says so.
//!
//! Our own because the libraries there are hold a text as a whole, and a message of 150 MB is one text of 200 MB.

/// Octets of a tag with its attributes.
const TAG_OCTETS_MAX: usize = 64 * 1024;
/// Elements within each other.
const DEPTH_MAX: usize = 64;
/// Characters of `&…;`.
const ENTITY_OCTETS_MAX: usize = 12;

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// It is something else, a web page for example.
    #[error("it is no XML in UTF-8")]
    NoXml,
    /// It declares a document type.
    #[error("it declares a document type, which SOAP forbids")]
    DocumentType,
    /// A tag makes no sense, or ends another element than the one that is open.
    #[error("its tags make no sense")]
    Tag,
    /// A tag is longer than is taken.
    #[error("a tag has more than 65536 octets")]
    LongTag,
    /// Elements lie too deep.
    #[error("its elements lie deeper than 64")]
    Deep,
    /// An entity nobody knows.
    #[error("it uses an entity that is not declared")]
    Entity,
    /// It goes on behind its end.
    #[error("it goes on behind its end")]
    Trailing,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// An element begins: [`Reader::name`], [`Reader::attribute`].
    Start,
    /// A piece of text: [`Reader::text`].
    Text,
    /// The innermost element ends: [`Reader::name`] is still its name.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first tag.
    Beginning,
    Text,
    Entity,
    /// Within `<…>`; the quote that is open.
    Tag(Option<u8>),
    /// Within a comment or an instruction, of whose end so many octets were there.
    Skip(&'static [u8], usize),
    /// Within CDATA, of whose end so many octets were there.
    Cdata(usize),
}

/// Reads a document. Call [`Reader::next`] with what has come until it takes it all and finds nothing.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// The tag or entity that is being read.
    held: Vec<u8>,
    /// Names of the open elements with their prefixes.
    open: Vec<String>,
    attributes: Vec<(String, String)>,
    text: Vec<u8>,
    /// The element that begins ends at once.
    empty: bool,
    /// The element that ended is still named.
    ended: bool,
    whole: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            state: State::Beginning,
            held: Vec::new(),
            open: Vec::new(),
            attributes: Vec::new(),
            text: Vec::new(),
            empty: false,
            ended: false,
            whole: false,
        }
    }
}

impl Reader {
    /// How much of `input` was used, and what was found; nothing means that all of it was used.
    ///
    /// # Errors
    /// When it is no document; the reader must not be used any more.
    pub fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Token>), XmlError> {
        if std::mem::take(&mut self.ended) {
            self.open.pop();
            self.whole = self.open.is_empty();
        }
        if std::mem::take(&mut self.empty) {
            self.ended = true;
            return Ok((0, Some(Token::End)));
        }
        let mut used = 0;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            let (more, token) = match self.state {
                State::Beginning => self.beginning(rest)?,
                State::Text => self.in_text(rest)?,
                State::Entity => self.in_entity(rest)?,
                State::Tag(quote) => self.in_tag(rest, quote)?,
                State::Skip(end, seen) => (self.skip(rest, end, seen), None),
                State::Cdata(seen) => self.in_cdata(rest, seen),
            };
            used += more;
            if token.is_some() {
                return Ok((used, token));
            }
        }
        Ok((used, None))
    }

    /// The innermost open element's name, without prefix.
    pub fn name(&self) -> &str {
        self.above(0)
    }

    /// The name of the element so many levels outside of the innermost one; empty when there is none.
    pub fn above(&self, levels: usize) -> &str {
        let name = self.open.iter().rev().nth(levels).map_or("", String::as_str);
        name.rsplit_once(':').map_or(name, |(_, name)| name)
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// An attribute of the element that has just begun, by its name without prefix.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The piece of text that was just found.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether the outermost element has ended.
    pub fn is_whole(&self) -> bool {
        self.whole || (self.ended && self.open.len() == 1)
    }

    fn beginning(&mut self, input: &[u8]) -> Result<(usize, Option<Token>), XmlError> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        for (index, octet) in input.iter().enumerate() {
            match octet {
                b'<' if self.held.is_empty() || self.held == MARK => {
                    self.held.clear();
                    self.state = State::Tag(None);
                    return Ok((index + 1, None));
                }
                b' ' | b'\t' | b'\r' | b'\n' if self.held.is_empty() => {}
                octet if MARK.get(self.held.len()) == Some(octet) => self.held.push(*octet),
                _ => return Err(XmlError::NoXml),
            }
        }
        Ok((input.len(), None))
    }

    fn in_text(&mut self, input: &[u8]) -> Result<(usize, Option<Token>), XmlError> {
        let end = memchr::memchr2(b'<', b'&', input);
        let text = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
        if !text.is_empty() {
            return Ok((text.len(), self.found(text)?));
        }
        self.held.clear();
        self.state = if input.first() == Some(&b'<') { State::Tag(None) } else { State::Entity };
        Ok((1, None))
    }

    /// Outside of all elements only blanks may stand.
    fn found(&mut self, text: &[u8]) -> Result<Option<Token>, XmlError> {
        if self.open.is_empty() {
            return if text.iter().all(u8::is_ascii_whitespace) { Ok(None) } else { Err(XmlError::Trailing) };
        }
        self.text.clear();
        self.text.extend_from_slice(text);
        Ok(Some(Token::Text))
    }

    fn in_entity(&mut self, input: &[u8]) -> Result<(usize, Option<Token>), XmlError> {
        for (index, octet) in input.iter().enumerate() {
            if *octet == b';' {
                let held = std::mem::take(&mut self.held);
                let character =
                    std::str::from_utf8(&held).ok().and_then(character).ok_or(XmlError::Entity)?;
                self.state = State::Text;
                let found = self.found(character.encode_utf8(&mut [0; 4]).as_bytes())?;
                return Ok((index + 1, found));
            }
            self.held.push(*octet);
            if self.held.len() > ENTITY_OCTETS_MAX {
                return Err(XmlError::Entity);
            }
        }
        Ok((input.len(), None))
    }

    fn in_tag(&mut self, input: &[u8], mut quote: Option<u8>) -> Result<(usize, Option<Token>), XmlError> {
        for (index, octet) in input.iter().enumerate() {
            match (quote, octet) {
                (None, b'>') => {
                    self.state = State::Text;
                    let tag = std::mem::take(&mut self.held);
                    return Ok((index + 1, self.tag(&tag)?));
                }
                (None, b'"' | b'\'') if !self.held.starts_with(b"!") => quote = Some(*octet),
                (Some(open), octet) if open == *octet => quote = None,
                _ => {}
            }
            self.held.push(*octet);
            if self.held.len() > TAG_OCTETS_MAX {
                return Err(XmlError::LongTag);
            }
            let begun = match self.held.as_slice() {
                b"!--" => Some(State::Skip(b"-->", 0)),
                b"?" => Some(State::Skip(b"?>", 0)),
                b"![CDATA[" if self.open.is_empty() => return Err(XmlError::Trailing),
                b"![CDATA[" => Some(State::Cdata(0)),
                b"!DOCTYPE" | b"!doctype" => return Err(XmlError::DocumentType),
                _ => None,
            };
            if let Some(state) = begun {
                self.state = state;
                return Ok((index + 1, None));
            }
        }
        self.state = State::Tag(quote);
        Ok((input.len(), None))
    }

    fn skip(&mut self, input: &[u8], end: &'static [u8], mut seen: usize) -> usize {
        for (index, octet) in input.iter().enumerate() {
            seen = longer(end, seen, *octet);
            if seen == end.len() {
                self.state = State::Text;
                return index + 1;
            }
        }
        self.state = State::Skip(end, seen);
        input.len()
    }

    fn in_cdata(&mut self, input: &[u8], mut seen: usize) -> (usize, Option<Token>) {
        const END: &[u8] = b"]]>";
        self.text.clear();
        for (index, octet) in input.iter().enumerate() {
            let before = seen;
            seen = longer(END, seen, *octet);
            if seen == END.len() {
                self.state = State::Text;
                return (index + 1, (!self.text.is_empty()).then_some(Token::Text));
            }
            // What looked like the end, and was not.
            let given_up = (before + 1).saturating_sub(seen);
            let held = END.get(..before).unwrap_or_default().iter().chain(std::iter::once(octet));
            self.text.extend(held.take(given_up));
        }
        self.state = State::Cdata(seen);
        (input.len(), (!self.text.is_empty()).then_some(Token::Text))
    }

    fn tag(&mut self, tag: &[u8]) -> Result<Option<Token>, XmlError> {
        let tag = std::str::from_utf8(tag).map_err(|_| XmlError::NoXml)?;
        if let Some(name) = tag.strip_prefix('/') {
            if self.open.last().map(String::as_str) != Some(name.trim_end()) {
                return Err(XmlError::Tag);
            }
            self.ended = true;
            return Ok(Some(Token::End));
        }
        if self.whole {
            return Err(XmlError::Trailing);
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, rest) = tag.find(blank).map_or((tag, ""), |at| tag.split_at(at));
        if !is_name(name) {
            return Err(XmlError::Tag);
        }
        if self.open.len() == DEPTH_MAX {
            return Err(XmlError::Deep);
        }
        self.attributes = attributes(rest)?;
        self.open.push(name.to_owned());
        self.empty = empty;
        Ok(Some(Token::Start))
    }
}

/// How much of `end` stands at the end of what was read, when so much of it did and `octet` follows.
fn longer(end: &[u8], seen: usize, octet: u8) -> usize {
    if end.get(seen) == Some(&octet) {
        return seen + 1;
    }
    // `]]]>` and `--->`: of what was there, the last octets may begin it again.
    (0..seen)
        .rev()
        .find(|shorter| {
            end.get(*shorter) == Some(&octet) && end.get(..*shorter) == end.get(seen - *shorter..seen)
        })
        .map_or(0, |shorter| shorter + 1)
}

fn blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_name(text: &str) -> bool {
    let begins = text.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
    begins && !text.chars().any(|c| c.is_control() || c.is_whitespace() || "<>&\"'=/".contains(c))
}

fn attributes(mut rest: &str) -> Result<Vec<(String, String)>, XmlError> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches(blank);
        if rest.is_empty() {
            return Ok(found);
        }
        let (name, value) = rest.split_once('=').ok_or(XmlError::Tag)?;
        let name = name.trim_end_matches(blank);
        let value = value.trim_start_matches(blank);
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(XmlError::Tag)?;
        let (text, behind) = value.get(1..).and_then(|v| v.split_once(quote)).ok_or(XmlError::Tag)?;
        if !is_name(name) || text.contains('<') {
            return Err(XmlError::Tag);
        }
        let local = name.rsplit_once(':').map_or(name, |(_, local)| local);
        found.push((local.to_owned(), unescaped(text)?));
        rest = behind;
    }
}

fn unescaped(text: &str) -> Result<String, XmlError> {
    let mut pieces = text.split('&');
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (entity, rest) = piece.split_once(';').ok_or(XmlError::Entity)?;
        whole.push(character(entity).ok_or(XmlError::Entity)?);
        whole.push_str(rest);
    }
    Ok(whole)
}

/// What stands between `&` and `;`. Exchange writes control characters of subjects by their numbers, which XML forbids: they
/// become U+FFFD rather than cost a page.
fn character(entity: &str) -> Option<char> {
    let number = match entity {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => entity.strip_prefix('#')?,
    };
    let number = match number.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    let found = char::from_u32(number.ok()?).unwrap_or(char::REPLACEMENT_CHARACTER);
    Some(if found.is_control() && !blank(found) { char::REPLACEMENT_CHARACTER } else { found })
}

/// Text as it may stand in an element or an attribute; what XML cannot hold becomes U+FFFD.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\r' => safe.push_str("&#13;"),
            '\n' => safe.push_str("&#10;"),
            '\t' => safe.push_str("&#9;"),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                safe.push(char::REPLACEMENT_CHARACTER);
            }
            character => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The document as one text, cut into pieces of `width` octets.
    fn read(document: &[u8], width: usize) -> Result<String, XmlError> {
        let mut reader = Reader::default();
        let (mut told, mut text) = (String::new(), Vec::new());
        for piece in document.chunks(width.max(1)) {
            let mut rest = piece;
            loop {
                let (used, token) = reader.next(rest)?;
                rest = &rest[used..];
                if token != Some(Token::Text) && token.is_some() && !text.is_empty() {
                    told += &format!("'{}'", String::from_utf8_lossy(&std::mem::take(&mut text)));
                }
                match token {
                    None => break,
                    Some(Token::Start) => {
                        told += &format!("<{}{:?}", reader.name(), reader.attributes);
                    }
                    Some(Token::Text) => text.extend_from_slice(reader.text()),
                    Some(Token::End) => told += &format!("/{}>", reader.name()),
                }
            }
            assert!(rest.is_empty());
        }
        Ok(format!("{told} {}", reader.is_whole()))
    }

    #[test]
    fn a_document_is_read_at_any_piece_border() {
        let document = "\u{feff}<?xml version='1.0'?>\n<!-- a > -- b --->\n<s:a x=\"1 &amp; &#x41;>\" t:y = 'q\"'>\
            tä&lt;xt<b/><![CDATA[<]]]>x]]]]>&#13;&#2;</s:a >\n<!-- end -->\n";
        let expected =
            "<a[(\"x\", \"1 & A>\"), (\"y\", \"q\\\"\")]'tä<xt'<b[]/b>'<]x]]]]>\r\u{fffd}'/a> true";
        for width in [1, 2, 3, 5, 1000] {
            assert_eq!(read(document.as_bytes(), width).as_deref(), Ok(expected), "{width}");
        }
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let deep = "<a>".repeat(65);
        let long = format!("<a b=\"{}\"/>", "x".repeat(70_000));
        for (document, error) in [
            ("HTTP Error 404", XmlError::NoXml),
            ("\u{feff}\u{feff}<a/>", XmlError::NoXml),
            ("<!DOCTYPE html><html/>", XmlError::DocumentType),
            ("<!DOCTYPE a [<!ENTITY b \"bb\">]><a>&b;</a>", XmlError::DocumentType),
            ("<a></b>", XmlError::Tag),
            ("</a>", XmlError::Tag),
            ("<a b></a>", XmlError::Tag),
            ("<a b=c></a>", XmlError::Tag),
            ("<a b=\"<\"/>", XmlError::Tag),
            ("< a/>", XmlError::Tag),
            ("<a>&nbsp;</a>", XmlError::Entity),
            ("<a>&aaaaaaaaaaaaaaaaaaaaaa", XmlError::Entity),
            ("<a b=\"&x\"/>", XmlError::Entity),
            ("<a/><b/>", XmlError::Trailing),
            ("<a/>x", XmlError::Trailing),
            ("<a/><![CDATA[x]]>", XmlError::Trailing),
            (deep.as_str(), XmlError::Deep),
            (long.as_str(), XmlError::LongTag),
        ] {
            assert_eq!(read(document.as_bytes(), 7), Err(error), "{document:.60}");
        }
        assert_eq!(read(b"<a><b>", 2).as_deref(), Ok("<a[]<b[] false"), "cut off");
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_again(text in "\\PC*") {
            let document = format!("<a b=\"{0}\">{0}</a>", escaped(&text));
            let clean = escaped(&text).contains(char::REPLACEMENT_CHARACTER);
            let told = read(document.as_bytes(), 3).unwrap();
            if !clean && !text.is_empty() {
                prop_assert_eq!(told, format!("<a{:?}'{}'/a> true", [("b", &text)], text));
            }
        }
    }
}
