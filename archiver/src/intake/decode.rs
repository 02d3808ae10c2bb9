//! Octets of a part to what they stand for: transfer encodings and character sets undone.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

/// How a body is written (RFC 2045 §6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Encoded {
    /// As it is.
    #[default]
    Plain,
    Base64,
    QuotedPrintable,
}

impl Encoded {
    pub(super) fn named(name: &str) -> Self {
        match name.trim() {
            name if name.eq_ignore_ascii_case("base64") => Self::Base64,
            name if name.eq_ignore_ascii_case("quoted-printable") => Self::QuotedPrintable,
            _ => Self::Plain,
        }
    }

    /// What `body` stands for; what does not decode is left as it is.
    pub(super) fn decoded(self, body: &[u8]) -> Cow<'_, [u8]> {
        let decoded = match self {
            Self::Plain => None,
            Self::Base64 => base64_decode(body).or_else(|| lenient(body)),
            Self::QuotedPrintable => quoted_printable_decode(body),
        };
        decoded.map_or(Cow::Borrowed(body), Cow::Owned)
    }

    /// The beginning of what `body` stands for, about `bytes` long.
    pub(super) fn beginning(self, body: &[u8], bytes: usize) -> Cow<'_, [u8]> {
        let start = &body[..body.len().min(bytes)];
        match self {
            Self::Base64 => lenient(start).map_or(Cow::Borrowed(start), Cow::Owned),
            _ => self.decoded(start),
        }
    }

    /// How many octets `body` stands for, or a few more.
    pub(super) fn bytes(self, body: &[u8]) -> usize {
        match self {
            Self::Base64 => body.iter().filter(|octet| !octet.is_ascii_whitespace()).count().div_ceil(4) * 3,
            _ => body.len(),
        }
    }
}

/// Digits up to the first octet that is none; a last group that is not whole is left out.
fn lenient(body: &[u8]) -> Option<Vec<u8>> {
    let is_digit = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/".contains(octet);
    let digits = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace());
    let mut digits: Vec<u8> = digits.take_while(is_digit).collect();
    digits.truncate(digits.len() / 4 * 4);
    base64_decode(&digits).filter(|decoded| !decoded.is_empty())
}

/// Text in the character set that is named; else UTF-8 when it is that, else Latin, which every octet is.
pub(super) fn text<'t>(octets: &'t [u8], charset: Option<&str>) -> Cow<'t, str> {
    if let Some(charset) = charset {
        if let Some(encoding) = Encoding::for_label(charset.trim().as_bytes()) {
            return encoding.decode(octets).0;
        }
        // Those that no page of the web is written in, as UTF-7.
        if let Some(decode) = charset_decoder(charset.as_bytes()) {
            return Cow::Owned(decode(octets));
        }
    }
    let encoding = if valid_to_its_end(octets) { UTF_8 } else { WINDOWS_1252 };
    encoding.decode(octets).0
}

/// Whether it is UTF-8, of which the last character may be cut through.
fn valid_to_its_end(octets: &[u8]) -> bool {
    match std::str::from_utf8(octets) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_encodings_are_undone() {
        assert_eq!(&*Encoded::named(" BASE64 ").decoded(b"aGVs\r\nbG8=\r\n"), b"hello");
        assert_eq!(&*Encoded::named("Quoted-Printable").decoded(b"a=3Db=\r\nc"), b"a=bc");
        assert_eq!(&*Encoded::named("8bit").decoded(b"a=3Db"), b"a=3Db");
        assert_eq!(&*Encoded::Base64.decoded(b"aGVsbG8h!*nonsense"), b"hello!");
        assert_eq!(&*Encoded::Base64.decoded(b"***"), b"***");
        assert_eq!(&*Encoded::Base64.beginning(b"aGVsbG8hIGFnYWlu", 10), b"hello!");
        assert!((5..=8).contains(&Encoded::Base64.bytes(b"aGVs\r\nbG8=\r\n")));
    }

    #[test]
    fn character_sets_are_undone() {
        assert_eq!(text(b"Gr\xfc\xdfe", Some("ISO-8859-1")), "Grüße");
        assert_eq!(text(b"\x1b$B;q9p\x1b(B", Some("iso-2022-jp")), "資告");
        assert_eq!(text(b"Hi +2Dg-", Some("nonsense")), "Hi +2Dg-");
        assert_eq!(text("Grüße".as_bytes(), None), "Grüße");
        assert_eq!(text("Grüß".as_bytes().split_last().unwrap().1, None), "Grü\u{fffd}");
        assert_eq!(text(b"Gr\xfc\xdfe", None), "Grüße");
    }
}
