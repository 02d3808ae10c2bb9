//! Header fields with a structure of their own (addresses, dates, encoded words, media types), read by mail-parser.
//!
//! This is the only door to that library's parser. It follows messages within messages as deep as they go, and its values are
//! dropped as deep: 40,000 of them in 1.2 MB end the process, and no `catch_unwind` helps. A header of many short fields, or a
//! message of many empty parts, becomes some thirty times its length in memory. So it never sees a body, and of a header only what is
//! asked for, within bounds:
//!
//! | bound | |
//! |---|---|
//! | a header | 1 MiB; what follows is not looked at |
//! | fields of one name | all together 64 KiB; a field that does not fit whole is cut off |
//! | fields in all | 8 of each name |
//!
//! Parts are cut by [`super::entity`], which has bounds too.

use mail_parser::{Message, MessageParser};

use super::header::{HEADER_BYTES_MAX, line_end};

/// Octets of all fields of one name.
const FIELD_BYTES_MAX: usize = 64 * 1024;
/// Fields of one name; more than one is a mistake in most.
const SAME_NAME_MAX: usize = 8;

/// Some fields of a header, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// The fields of these names, in any case, in the header `header`. Lines that are no fields are passed over.
    pub fn of(header: &[u8], names: &[&str]) -> Self {
        let header = &header[..header.len().min(HEADER_BYTES_MAX)];
        let mut found = Vec::new();
        let mut left: Vec<(usize, usize)> = vec![(SAME_NAME_MAX, FIELD_BYTES_MAX); names.len()];
        let mut at = 0;
        while at < header.len() {
            let mut end = line_end(header, at);
            while end < header.len() && matches!(header[end], b' ' | b'\t') {
                end = line_end(header, end);
            }
            let field = &header[at..end];
            at = end;
            let name =
                field.iter().position(|octet| *octet == b':').map(|colon| field[..colon].trim_ascii_end());
            let wanted =
                |name: &[u8]| names.iter().position(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()));
            let Some((count, bytes)) = name.and_then(wanted).map(|at| &mut left[at]) else { continue };
            if *count > 0 {
                let field = &field[..field.len().min(*bytes)];
                found.extend_from_slice(field.trim_ascii_end());
                found.extend_from_slice(b"\r\n");
                *bytes -= field.len();
                *count -= 1;
            }
        }
        found.extend_from_slice(b"\r\n");
        Self(found)
    }

    /// What they say; `None` when there are none.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn read(&self) -> Option<Message<'_>> {
        MessageParser::default().parse_headers(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use mail_parser::{HeaderName, MimeHeaders as _};

    use super::*;

    #[test]
    fn only_what_is_asked_for_is_read() {
        let header = b"Received: from a\r\n by b\r\nsubject : =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\tfrom us\r\nno field\r\n\
            To: a@example.com\r\nTO: b@example.com\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n";
        let fields = Fields::of(header, &["Subject", "To", "Content-Type"]);
        let read = fields.read().unwrap();
        assert_eq!(read.subject(), Some("Grüße from us"));
        assert_eq!(read.content_type().unwrap().attribute("charset"), Some("utf-8"));
        assert_eq!(read.headers().iter().filter(|header| header.name == HeaderName::To).count(), 2);
        assert!(read.received().is_none());
        assert!(Fields::of(b"no field", &["To"]).read().is_none());
        assert!(Fields::of(b"", &["To"]).read().is_none());
    }

    /// Goal: whatever a header holds, little of it is handed on; most of what is costly in the library is costly by length.
    #[test]
    fn bounds_hold() {
        let many = [&b"a:b\r\n".repeat(1_000_000)[..], b"To: x@example.com\r\n"].concat();
        assert!(Fields::of(&many, &["To", "a"]).0.len() < 100);
        let to = [b"To: ".to_vec(), b"a,".repeat(300_000)].concat();
        let fields = Fields::of(&to, &["To"]);
        assert!(fields.0.len() <= FIELD_BYTES_MAX + 4 && fields.read().is_some());
        let pieces: String = (0..20_000).map(|n| format!("; a*{n}=b")).collect();
        let typed = format!("Content-Type: text/plain{pieces}\r\n");
        assert!(Fields::of(typed.as_bytes(), &["Content-Type"]).read().is_some());
    }
}
