//! Multipart bodies, cut at their boundaries.

use std::ops::Range;

use super::header::{Header, line_end, media_type, parameter};

const PARTS_MAX: usize = 1000;
/// Fields of a part: with as many parts they take 50 MB at most.
const PART_FIELDS_MAX: usize = 500;
/// RFC 2046 §5.1.1 wants at most 70; some write more.
const BOUNDARY_BYTES_MAX: usize = 256;

/// A part, by offsets into the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its header's fields.
    pub header: Header,
    /// Its body. The line end before the next boundary belongs to the boundary (RFC 2046 §5.1.1).
    pub body: Range<usize>,
}

impl Part {
    /// `text/plain` when it says nothing (RFC 2045 §5.2).
    pub fn media_type(&self) -> String {
        self.header.first("Content-Type").map_or_else(|| "text/plain".into(), media_type)
    }

    /// Lower case; `7bit` when it says nothing.
    pub fn transfer_encoding(&self) -> String {
        self.header.first("Content-Transfer-Encoding").unwrap_or("7bit").to_ascii_lowercase()
    }
}

/// The parts of the multipart entity that `message[entity]` is; none when it is no multipart. A missing final boundary is
/// forgiven: the last part then ends with the entity.
pub fn parts(message: &[u8], entity: Range<usize>) -> Vec<Part> {
    let header = Header::parse(&message[entity.clone()]);
    let content_type = header.first("Content-Type").unwrap_or_default();
    let boundary =
        parameter(content_type, "boundary").filter(|_| media_type(content_type).starts_with("multipart/"));
    let Some(boundary) = boundary.filter(|text| (1..=BOUNDARY_BYTES_MAX).contains(&text.len())) else {
        return Vec::new();
    };
    let delimiter = format!("--{}", boundary.trim_end());
    cut(message, entity.start + header.body..entity.end, delimiter.as_bytes())
}

fn cut(message: &[u8], body: Range<usize>, delimiter: &[u8]) -> Vec<Part> {
    let bytes = &message[..body.end];
    let mut parts = Vec::new();
    let mut open: Option<usize> = None;
    let mut at = body.start;
    while at < body.end && parts.len() < PARTS_MAX {
        let end = line_end(bytes, at);
        let behind = bytes[at..end].strip_prefix(delimiter).map(<[u8]>::trim_ascii_end);
        if let Some(behind @ (b"" | b"--")) = behind {
            parts.extend(open.map(|start| part(bytes, start..before_line_end(bytes, start, at))));
            open = Some(end).filter(|_| behind.is_empty());
            if behind == b"--" {
                return parts;
            }
        }
        at = end;
    }
    if parts.len() < PARTS_MAX {
        parts.extend(open.map(|start| part(bytes, start..body.end)));
    }
    parts
}

/// Cuts off the line end before a delimiter line that begins at `at`.
fn before_line_end(bytes: &[u8], start: usize, at: usize) -> usize {
    let cut = match &bytes[start..at] {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    };
    at - cut
}

fn part(bytes: &[u8], range: Range<usize>) -> Part {
    let header = Header::parse_up_to(&bytes[range.clone()], PART_FIELDS_MAX);
    let body = range.start + header.body..range.end;
    Part { header, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(message: &[u8]) -> Vec<&[u8]> {
        parts(message, 0..message.len()).into_iter().map(|part| &message[part.body]).collect()
    }

    #[test]
    fn parts_are_exact_to_the_octet() {
        let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\nA: b\r\n\r\none\r\n\r\n--b  \r\n\r\ntwo\r\n--bc\r\n--b--\r\nepilogue --b\r\n";
        assert_eq!(bodies(message), [&b"one\r\n"[..], b"two\r\n--bc"]);
        let parts = parts(message, 0..message.len());
        assert_eq!(parts[0].header.first("a"), Some("b"));
        assert_eq!(
            (parts[0].media_type().as_str(), parts[0].transfer_encoding().as_str()),
            ("text/plain", "7bit")
        );
    }

    #[test]
    fn what_is_broken_is_taken_as_far_as_it_goes() {
        let open = b"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nnever closed\r\n";
        assert_eq!(bodies(open), [b"never closed\r\n"]);
        assert!(bodies(b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx").is_empty());
        assert!(bodies(b"Content-Type: text/plain; boundary=b\r\n\r\n--b\r\n\r\nx").is_empty());
    }

    #[test]
    fn there_is_an_end_to_parts() {
        let mut bomb = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
        bomb.extend(b"--b\r\n\r\n".repeat(100_000));
        assert_eq!(bodies(&bomb).len(), PARTS_MAX);
        let mut fields = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".to_vec();
        fields.extend(b"a:b\r\n".repeat(5000));
        assert_eq!(parts(&fields, 0..fields.len())[0].header.fields.len(), PART_FIELDS_MAX);
    }
}
