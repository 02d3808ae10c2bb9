//! What a server answers (RFC 5321 §4.2), read by a client.
//!
//! ```text
//! answer = *( code "-" [text] CRLF ) code [ " " [text] ] CRLF        the same code on every line
//! ```

use std::fmt;

use super::reply::Reply;
use crate::proto::sasl;

/// The longest line of an answer, its end included. RFC 5321 §4.5.3.1.5 says 512; a challenge may be as long as its response.
pub const LINE_OCTETS_MAX: usize = sasl::LINE_OCTETS_MAX;
/// The most lines of an answer, and the most octets: far more than any EHLO has.
pub const LINES_MAX: usize = 256;
const OCTETS_MAX: usize = 64 * 1024;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub code: u16,
    /// The text of each line, at least one; what is no UTF-8 and what controls terminals is replaced.
    pub lines: Vec<String>,
}

/// Why what a server sent is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// Not a code and a text.
    #[error("the server does not speak SMTP: it said {0:?}")]
    NotSmtp(String),
    /// Another code than the line before.
    #[error("the server began an answer with {0} and went on with {1}")]
    Codes(u16, u16),
    /// Longer than any answer may be.
    #[error("the server's answer does not end")]
    Endless,
}

/// Puts answers together from pieces.
///
/// Call order: [`AnswerReader::read`] with what came, again with what it left, until it gives no answer. It can be used
/// for the next answer at once. Holds at most [`LINES_MAX`] lines and 64 KiB; an error ends the session.
#[derive(Debug, Default)]
pub struct AnswerReader {
    line: Vec<u8>,
    code: Option<u16>,
    lines: Vec<String>,
    octets: usize,
}

impl AnswerReader {
    /// How many octets of `input` were used, and the answer that they complete, if they do.
    ///
    /// LF ends a line, and a CR before it is dropped.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Answer>), BadAnswer> {
        let mut used = 0;
        while let Some(lf) = memchr::memchr(b'\n', &input[used..]) {
            self.take(&input[used..=used + lf])?;
            used += lf + 1;
            if let Some(answer) = self.line_ended()? {
                return Ok((used, Some(answer)));
            }
        }
        self.take(&input[used..])?;
        Ok((input.len(), None))
    }

    /// Whether an answer has begun and not ended.
    pub fn is_amid(&self) -> bool {
        self.octets > 0
    }

    fn take(&mut self, octets: &[u8]) -> Result<(), BadAnswer> {
        self.octets += octets.len();
        if self.line.len() + octets.len() > LINE_OCTETS_MAX || self.octets > OCTETS_MAX {
            return Err(BadAnswer::Endless);
        }
        self.line.extend_from_slice(octets);
        Ok(())
    }

    fn line_ended(&mut self) -> Result<Option<Answer>, BadAnswer> {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((code, last, text)) = split(line) else {
            return Err(BadAnswer::NotSmtp(printable(line).chars().take(100).collect()));
        };
        if let Some(before) = self.code.filter(|before| *before != code) {
            return Err(BadAnswer::Codes(before, code));
        }
        if self.lines.len() >= LINES_MAX {
            return Err(BadAnswer::Endless);
        }
        self.lines.push(printable(text));
        self.line.clear();
        self.code = Some(code);
        if !last {
            return Ok(None);
        }
        let Self { lines, .. } = std::mem::take(self);
        Ok(Some(Answer { code, lines }))
    }
}

/// Code, whether it is the last line, text.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    let digits = (b'2'..=b'5').contains(&code[0]) && code.iter().all(u8::is_ascii_digit);
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
    let (last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return None,
    };
    digits.then_some((code, last, text))
}

fn printable(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    text.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl Answer {
    /// 2yz: done.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// 4yz: not now.
    pub fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// The enhanced status code in front of the text (RFC 2034 §4): `5.7.8`. Its class is the code's, else it is none.
    pub fn enhanced(&self) -> Option<&str> {
        let word = self.lines.first()?.split(' ').next()?;
        let mut parts = word.split('.');
        let number = |part: &str, digits| {
            (1..=digits).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let class = parts.next()?;
        let whole = number(parts.next()?, 3) && number(parts.next()?, 3) && parts.next().is_none();
        (whole && class.parse() == Ok(self.code / 100)).then_some(word)
    }

    /// All its lines as one text, without enhanced status codes: for people.
    pub fn text(&self) -> String {
        let code = self.enhanced();
        let bare = |line: &str| match code.and_then(|code| line.strip_prefix(code)) {
            Some(rest) => rest.trim().to_owned(),
            None => line.trim().to_owned(),
        };
        let lines: Vec<String> = self.lines.iter().map(|line| bare(line)).filter(|l| !l.is_empty()).collect();
        lines.join(" ")
    }
}

/// Code and text as one line, for logs.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" / "))
    }
}

/// The same answer, to be passed on; its enhanced status code stays in the text.
impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { code: answer.code, enhanced: "", lines: answer.lines }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All answers in `wire`, cut at `cut`, and what ended it.
    fn read(wire: &[u8], cut: usize) -> (Vec<Answer>, Option<BadAnswer>) {
        let mut reader = AnswerReader::default();
        let mut found = Vec::new();
        let (head, tail) = wire.split_at(cut.min(wire.len()));
        for mut piece in [head, tail] {
            while !piece.is_empty() {
                match reader.read(piece) {
                    Ok((used, answer)) => {
                        found.extend(answer);
                        piece = &piece[used..];
                    }
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    }

    fn answer(code: u16, lines: &[&str]) -> Answer {
        Answer { code, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    /// Goal: answers are the same however they are cut.
    #[test]
    fn answers_are_put_together_from_any_pieces() {
        let wire = b"220 mx.example.com ESMTP\r\n250-mx.example.com\r\n250-SIZE 1000\n250 \r\n354\r\n535 5.7.8 No\r\n";
        let expected = [
            answer(220, &["mx.example.com ESMTP"]),
            answer(250, &["mx.example.com", "SIZE 1000", ""]),
            answer(354, &[""]),
            answer(535, &["5.7.8 No"]),
        ];
        for cut in 0..=wire.len() {
            assert_eq!(read(wire, cut), (expected.to_vec(), None), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for wire in
            ["hello\r\n", "25\r\n", "\r\n", "2500 x\r\n", "199 x\r\n", "600 x\r\n", "25x y\r\n", "+OK\r\n"]
        {
            let (found, error) = read(wire.as_bytes(), 2);
            assert!(found.is_empty() && matches!(error, Some(BadAnswer::NotSmtp(_))), "{wire}");
        }
        assert_eq!(read(b"250-a\r\n251 b\r\n", 3).1, Some(BadAnswer::Codes(250, 251)));
        assert_eq!(read(&[b'2'; LINE_OCTETS_MAX + 1], 9).1, Some(BadAnswer::Endless));
        assert_eq!(read(&b"250-x\r\n".repeat(LINES_MAX + 1), 9).1, Some(BadAnswer::Endless));
    }

    #[test]
    fn enhanced_codes_belong_to_their_class() {
        assert_eq!(answer(535, &["5.7.8 No such", "5.7.8 luck"]).enhanced(), Some("5.7.8"));
        assert_eq!(answer(535, &["5.7.8 No such", "5.7.8 luck"]).text(), "No such luck");
        for text in ["4.7.8 no", "5.7 no", "5.7.8.9 no", "5.a.8 no", "no", "", "5.7.1234 no"] {
            assert_eq!(answer(535, &[text]).enhanced(), None, "{text}");
        }
        assert_eq!(answer(250, &["a\u{1b}b"]).to_string(), "250 a\u{1b}b");
        assert_eq!(read(b"250 a\x1b[1m\xff\r\n", 0).0[0].lines, ["a\u{fffd}[1m\u{fffd}"]);
    }

    proptest! {
        #[test]
        fn octets_are_answers_or_errors(wire in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200usize) {
            prop_assert_eq!(read(&wire, cut), read(&wire, 0));
        }
    }
}
