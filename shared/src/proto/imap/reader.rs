//! Responses out of pieces.
//!
//! A response is a line, which literals continue: `{5}` CRLF, five octets, and the line goes on (RFC 3501 §4.3). The literal
//! behind `BODY[]` in a FETCH response is a message: it is handed on piece by piece, and a mark stands for it in the line.
//!
//! Status responses (`* OK`, `a1 NO`, `+`) end in text for people, where nothing is a literal, whatever it looks like.

use super::LINE_OCTETS_MAX;
use super::tokens::printable;

/// Stands in a line for content that was handed on. No server may send it in a line (RFC 3501 §9, CHAR).
pub(super) const HANDED_ON: u8 = 0;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A message's content begins, of so many octets; it is the next response's.
    ContentBegins(u64),
    /// The next piece of it, not empty.
    Content(&'a [u8]),
    /// A whole response is [`Reader::line`].
    Line,
}

/// Why what a server sends is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Longer than any may be.
    #[error("the server's answer does not end: {0:?}…")]
    TooLong(String),
    /// A zero octet in a line.
    #[error("the server sent an octet that no line may hold, behind {0:?}")]
    Zero(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Line,
    /// So many octets of a literal that is kept still come.
    Kept(usize),
    /// So many octets of content still come.
    Content(u64),
    /// The line is whole; the next octet begins another.
    Whole,
}

/// Puts responses together.
///
/// Call [`Reader::next`] with what is left of the input until it gives nothing; then everything was used. An error ends
/// the session.
#[derive(Debug)]
pub struct Reader {
    at: At,
    line: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { at: At::Line, line: Vec::new() }
    }
}

impl Reader {
    /// The response just completed, without the CRLF behind it.
    pub fn line(&self) -> &[u8] {
        if self.at == At::Whole { &self.line } else { &[] }
    }

    /// What came of the response up to now, for [`Fetch::uid_in`](super::Fetch::uid_in).
    pub fn begun(&self) -> &[u8] {
        &self.line
    }

    /// Forgets what was begun: before TLS nothing counts.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many octets of `input` were used, and what they led to.
    ///
    /// # Errors
    /// When no response can be made of them.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Received<'a>>), ReadError> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            if rest.is_empty() {
                return Ok((used, None));
            }
            match self.at {
                At::Whole => {
                    self.line.clear();
                    self.at = At::Line;
                }
                At::Kept(left) => {
                    let piece = &rest[..left.min(rest.len())];
                    self.line.extend_from_slice(piece);
                    used += piece.len();
                    self.at = if piece.len() == left { At::Line } else { At::Kept(left - piece.len()) };
                }
                At::Content(left) => {
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left - len as u64;
                    self.at = if left == 0 { At::Line } else { At::Content(left) };
                    return Ok((used + len, Some(Received::Content(&rest[..len]))));
                }
                At::Line => {
                    let (piece, ends) = match memchr::memchr(b'\n', rest) {
                        Some(lf) => (&rest[..=lf], true),
                        None => (rest, false),
                    };
                    self.keep(piece)?;
                    used += piece.len();
                    if ends && let Some(received) = self.line_end()? {
                        return Ok((used, Some(received)));
                    }
                }
            }
        }
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), ReadError> {
        let fits = &piece[..piece.len().min(LINE_OCTETS_MAX.saturating_sub(self.line.len()))];
        let zero = memchr::memchr(0, fits);
        self.line.extend_from_slice(&fits[..zero.unwrap_or(fits.len())]);
        match zero {
            Some(_) => Err(ReadError::Zero(printable(&self.line))),
            None if fits.len() < piece.len() => Err(ReadError::TooLong(printable(&self.line))),
            None => Ok(()),
        }
    }

    /// Behind an LF: the response is whole, or a literal follows.
    fn line_end(&mut self) -> Result<Option<Received<'static>>, ReadError> {
        let end = self.line.len() - 1;
        let text = self.line[..end].strip_suffix(b"\r").unwrap_or(&self.line[..end]);
        let literal = if may_hold_literals(&self.line) { literal_len(text) } else { None };
        let Some((begin, octets)) = literal else {
            self.line.truncate(text.len());
            self.at = At::Whole;
            return Ok(Some(Received::Line));
        };
        if is_content(&self.line[..begin]) {
            self.line.truncate(begin);
            self.line.push(HANDED_ON);
            // Of an empty one no piece would come.
            self.at = if octets == 0 { At::Line } else { At::Content(octets) };
            return Ok(Some(Received::ContentBegins(octets)));
        }
        match usize::try_from(octets) {
            Ok(octets) if self.line.len() + octets <= LINE_OCTETS_MAX => {
                self.at = if octets == 0 { At::Line } else { At::Kept(octets) };
                Ok(None)
            }
            _ => Err(ReadError::TooLong(printable(&self.line))),
        }
    }
}

/// Untagged data may; status responses, tagged ones and continuation requests end in text.
fn may_hold_literals(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"* ") else { return false };
    let word = rest.split(|octet| b" \r\n".contains(octet)).next().unwrap_or_default();
    !["OK", "NO", "BAD", "BYE", "PREAUTH"].iter().any(|status| word.eq_ignore_ascii_case(status.as_bytes()))
}

/// Where `{5}` or `~{5}` at the end of a line begins, and how many octets it announces.
fn literal_len(text: &[u8]) -> Option<(usize, u64)> {
    let inner = text.strip_suffix(b"}")?;
    let digits = inner.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    // 2^63 and more is no size (RFC 9051 §9, number64).
    if digits == 0 || digits > 18 {
        return None;
    }
    let (before, number) = inner.split_at(inner.len() - digits);
    let before = before.strip_suffix(b"{")?;
    let octets = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((before.strip_suffix(b"~").unwrap_or(before).len(), octets))
}

/// Whether the literal behind this is a message: `* 5 FETCH (… BODY[] `.
fn is_content(before: &[u8]) -> bool {
    let mut words = before.split(|&octet| octet == b' ');
    let fetch = words.nth(2).is_some_and(|word| word.eq_ignore_ascii_case(b"FETCH"));
    let item = before.strip_suffix(b" ").unwrap_or_default();
    let item = item.rsplit(|octet| b" (".contains(octet)).next().unwrap_or_default();
    fetch && [&b"BODY[]"[..], b"BODY[]<0>"].iter().any(|name| item.eq_ignore_ascii_case(name))
}
