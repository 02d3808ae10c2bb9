//! Header fields.

use std::ops::Range;

/// The longest header looked at.
pub(super) const HEADER_BYTES_MAX: usize = 1024 * 1024;
const FIELDS_MAX: usize = 5000;

/// A header: its fields, and where the body begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// In their order.
    pub fields: Vec<Field>,
    /// The first octet behind the empty line, or the end.
    pub body: usize,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As it is written.
    pub name: String,
    /// Unfolded and trimmed; octets that are no UTF-8 are read as ISO-8859-1.
    pub value: String,
    /// All its lines, with their line ends.
    pub range: Range<usize>,
}

impl Field {
    /// Whether it has this name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl Header {
    /// Reads the header at the start of `message`. It ends at an empty line, or before the first line that is no field or
    /// goes beyond the longest header.
    pub fn parse(message: &[u8]) -> Self {
        Self::parse_up_to(message, FIELDS_MAX)
    }

    /// The same; it ends behind `fields_max` fields at the latest.
    pub(super) fn parse_up_to(message: &[u8], fields_max: usize) -> Self {
        let end = message.len().min(HEADER_BYTES_MAX);
        let mut header = Self::default();
        // The line by which mbox files divide messages sometimes stays on.
        let mut at = if message.starts_with(b"From ") { line_end(message, 0) } else { 0 };
        while at < end {
            let line_end = line_end(message, at);
            if is_empty_line(&message[at..line_end]) {
                at = line_end;
                break;
            }
            let mut field_end = line_end;
            while field_end < end && matches!(message[field_end], b' ' | b'\t') {
                field_end = self::line_end(message, field_end);
            }
            if field_end > HEADER_BYTES_MAX || header.fields.len() == fields_max {
                break;
            }
            let Some(field) = parse_field(&message[at..field_end], at) else { break };
            header.fields.push(field);
            at = field_end;
        }
        header.body = at;
        header
    }

    /// The value of the first field of that name.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.is(name)).map(|field| field.value.as_str())
    }

    /// The values of all fields of that name.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        self.fields.iter().filter(move |field| field.is(name)).map(|field| field.value.as_str())
    }
}

/// Where the line that begins at `at` ends, its line end included.
pub(super) fn line_end(bytes: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |lf| at + lf + 1)
}

pub(super) fn is_empty_line(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n" | b"\r" | b"")
}

fn parse_field(bytes: &[u8], at: usize) -> Option<Field> {
    let colon = memchr::memchr(b':', bytes)?;
    let name = bytes[..colon].trim_ascii_end();
    // RFC 5322 §2.2: printable ASCII but the colon.
    if name.is_empty() || name.len() > 998 || !name.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let unfolded: Vec<u8> =
        bytes[colon + 1..].iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    Some(Field {
        name: String::from_utf8_lossy(name).into_owned(),
        value: text(&unfolded).trim().to_owned(),
        range: at..at + bytes.len(),
    })
}

/// Octets as text: UTF-8, else ISO-8859-1, which every octet is.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// The media type of a `Content-Type` value, lower case, and the parameter asked for.
pub fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A parameter of a structured field: `boundary` in `multipart/mixed; boundary="x"`.
pub fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (found, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (inner, behind) = quoted.split_once('"')?;
                (inner.to_owned(), behind)
            }
            None => {
                let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if key.trim().trim_start_matches(';').trim().eq_ignore_ascii_case(name) {
            return Some(found);
        }
        rest = next.trim_start_matches([';', ' ', '\t']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unfolded_and_placed() {
        let message = b"Subject: a\r\n\tb\r\nX-Empty:\r\nLatin: \xe4\r\n\r\nbody";
        let header = Header::parse(message);
        assert_eq!(header.first("SUBJECT"), Some("a\tb"));
        assert_eq!(header.first("x-empty"), Some(""));
        assert_eq!(header.first("latin"), Some("ä"));
        assert_eq!(&message[header.body..], b"body");
        assert_eq!(header.fields[0].range, 0..16);
    }

    #[test]
    fn a_line_that_is_no_field_begins_the_body() {
        let header = Header::parse(b"A: b\r\nno field here\r\n\r\nx");
        assert_eq!((header.fields.len(), header.body), (1, 6));
        assert_eq!(Header::parse(b""), Header::default());
        assert_eq!(Header::parse(b"\r\nbody").body, 2);
    }

    #[test]
    fn the_dividing_line_of_an_mbox_is_passed_over() {
        let header = Header::parse(b"From anna Mon Jan  5 10:00:00 2026\r\nSubject: x\r\n\r\nbody");
        assert_eq!((header.first("Subject"), header.body), (Some("x"), 50));
    }

    #[test]
    fn parameters_are_found_quoted_or_not() {
        let value = "multipart/mixed; charset=utf-8;\tboundary=\"a; b=c\" ; x=y";
        assert_eq!(media_type(value), "multipart/mixed");
        assert_eq!(parameter(value, "Boundary").as_deref(), Some("a; b=c"));
        assert_eq!(parameter(value, "charset").as_deref(), Some("utf-8"));
        assert_eq!(parameter(value, "x").as_deref(), Some("y"));
        assert_eq!(parameter("text/plain", "x"), None);
    }

    /// Goal: a field is not copied when it is longer than any header, however long the message.
    #[test]
    fn a_field_beyond_the_longest_header_is_left_as_it_is() {
        let huge = "x".repeat(HEADER_BYTES_MAX);
        for message in
            [format!("A: b\r\nHuge: {huge}\r\n\r\nbody"), format!("A: b\r\nHuge: y\r\n {huge}\r\n\r\nbody")]
        {
            let header = Header::parse(message.as_bytes());
            assert_eq!((header.fields.len(), header.body), (1, 6));
        }
    }
}
