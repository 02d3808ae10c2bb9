//! Entities (RFC 2045 §2.4): a header and a body, cut out of a message without a copy, forgiving.
//!
//! [`super::multipart`] is stricter, for what becomes evidence; here text is looked for, and what is bent is read as far as it goes.
//! Whoever goes down into entities within entities bounds how deep, and how many.

use memchr::memmem;

use super::header::{HEADER_BYTES_MAX, is_empty_line, line_end};

/// RFC 2046 §5.1.1 wants at most 70; some write more.
const BOUNDARY_BYTES_MAX: usize = 256;

/// A message, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entity<'m> {
    /// Fields, each with its line end; without the empty line.
    pub header: &'m [u8],
    /// What follows it.
    pub body: &'m [u8],
}

impl<'m> Entity<'m> {
    /// Divides at the first empty line. Where there is none, before the first line that is no field.
    pub fn of(octets: &'m [u8]) -> Self {
        let end = octets.len().min(HEADER_BYTES_MAX);
        let (mut at, mut text) = (0, None);
        while at < end {
            let next = line_end(octets, at);
            let line = &octets[at..next];
            if is_empty_line(line) {
                return Self { header: &octets[..at], body: &octets[next..] };
            }
            if text.is_none() && !is_of_header(line, at) {
                text = Some(at);
            }
            at = next;
        }
        let (header, body) = octets.split_at(text.unwrap_or(at));
        Self { header, body }
    }

    /// The parts that `boundary` divides the body into, at most `parts_max`; and whether those are all. A missing last boundary is
    /// forgiven. None at all: it is no multipart, whatever it says. A boundary that was encoded (RFC 2231 §4, RFC 2047) may come with
    /// line ends in it: that is none, for it can stand on no line.
    pub fn parts(&self, boundary: &str, parts_max: usize) -> (Vec<Entity<'m>>, bool) {
        let boundary = boundary.trim_end();
        let bounds = 1..=BOUNDARY_BYTES_MAX;
        if !bounds.contains(&boundary.len()) || boundary.bytes().any(|octet| octet.is_ascii_control()) {
            return (Vec::new(), true);
        }
        let (mut parts, mut open) = (Vec::new(), None);
        for (at, next, last) in Delimiters::of(self.body, boundary) {
            if let Some(start) = open {
                if parts.len() >= parts_max {
                    return (parts, false);
                }
                parts.push(Entity::of(without_line_end(&self.body[start..at.max(start)])));
            }
            open = Some(next).filter(|_| !last);
            if last {
                return (parts, true);
            }
        }
        match open {
            Some(_) if parts.len() >= parts_max => (parts, false),
            Some(start) => {
                parts.push(Entity::of(&self.body[start..]));
                (parts, true)
            }
            None => (parts, true),
        }
    }
}

/// The first line may be that by which mbox files divide messages.
fn is_of_header(line: &[u8], at: usize) -> bool {
    let goes_on = at > 0 && matches!(line[0], b' ' | b'\t');
    let name = line.iter().position(|octet| *octet == b':').map(|colon| line[..colon].trim_ascii_end());
    let named = name.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic));
    goes_on || named || (at == 0 && line.starts_with(b"From "))
}

/// The line end before a delimiter belongs to the delimiter.
fn without_line_end(octets: &[u8]) -> &[u8] {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    octets.strip_suffix(b"\r").unwrap_or(octets)
}

/// Delimiter lines: where each begins, where the next line does, and whether it is the last.
struct Delimiters<'m> {
    body: &'m [u8],
    finder: memmem::Finder<'m>,
    at: usize,
}

impl<'m> Delimiters<'m> {
    fn of(body: &'m [u8], boundary: &str) -> Self {
        let delimiter = format!("\n--{boundary}");
        Self { body, finder: memmem::Finder::new(delimiter.as_bytes()).into_owned(), at: 0 }
    }
}

impl Iterator for Delimiters<'_> {
    type Item = (usize, usize, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let delimiter = &self.finder.needle()[1..];
        loop {
            let start = match self.at {
                0 if self.body.starts_with(delimiter) => 0,
                // The line end before may be that of the delimiter before.
                at => {
                    let from = at.saturating_sub(1);
                    from + self.finder.find(&self.body[from..])? + 1
                }
            };
            let end = line_end(self.body, start);
            self.at = end.max(1);
            match self.body.get(start + delimiter.len()..end).unwrap_or_default().trim_ascii_end() {
                b"" => return Some((start, end, false)),
                b"--" => return Some((start, end, true)),
                _ if end == self.body.len() => return None,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies<'m>(body: &'m [u8], boundary: &str) -> Vec<&'m [u8]> {
        let entity = Entity { header: b"", body };
        entity.parts(boundary, 100).0.into_iter().map(|part| part.body).collect()
    }

    #[test]
    fn header_and_body_are_told_apart() {
        for (octets, header, body) in [
            (&b"A: b\r\n\r\ntext"[..], &b"A: b\r\n"[..], &b"text"[..]),
            (b"A: b\n c\n\ntext\n", b"A: b\n c\n", b"text\n"),
            (b"\r\ntext", b"", b"text"),
            (b"A: b\r\nodd line\r\nC: d\r\n\r\ntext", b"A: b\r\nodd line\r\nC: d\r\n", b"text"),
            (b"A: b\r\nno field at all", b"A: b\r\n", b"no field at all"),
            (b"From me Thu Jan\nA: b", b"From me Thu Jan\nA: b", b""),
            (b"just text", b"", b"just text"),
            (b"", b"", b""),
        ] {
            assert_eq!(Entity::of(octets), Entity { header, body }, "{}", String::from_utf8_lossy(octets));
        }
    }

    #[test]
    fn parts_are_cut_at_their_delimiters() {
        assert_eq!(
            bodies(
                b"preamble\r\n--b\r\nA: b\r\n\r\none\r\n--b  \r\n\r\ntwo\r\n--bc\r\n--b--\r\nend --b",
                "b"
            ),
            [&b"one"[..], b"two\r\n--bc"]
        );
        assert_eq!(bodies(b"--b\n\none\n--b\n\ntwo", "b"), [&b"one"[..], b"two"]);
        assert_eq!(bodies(b"--b\n--b\n--b--", "b"), [&b""[..], b""]);
        assert!(bodies(b"nothing --b\r\nhere", "b").is_empty());
        assert!(bodies(b"--\n--", "").is_empty());
        assert!(bodies(b"\n--bx", "b").is_empty());
    }

    /// Goal: a boundary as it comes out of its encoding, with octets that no line can hold, costs nothing but the parts.
    #[test]
    fn no_boundary_of_more_than_a_line_divides() {
        for boundary in ["x\r\ny", "x\ny", "\n", "x\ry", "a\0b", "a\tb", "a\x7fb"] {
            let body = format!("--{boundary}\r\n\r\none\r\n--{boundary}--\r\n");
            assert!(bodies(body.as_bytes(), boundary).is_empty(), "{boundary:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_boundary_cuts_within_the_body(
            boundary in "[ab\\r\\n\\x00ä\\- ]{0,6}",
            pieces in proptest::collection::vec("[ab\\r\\n\\- ]{0,4}", 0..6),
        ) {
            let body = pieces.join(&format!("\r\n--{boundary}"));
            let entity = Entity { header: b"", body: body.as_bytes() };
            let (parts, _) = entity.parts(&boundary, 100);
            let octets: usize = parts.iter().map(|part| part.header.len() + part.body.len()).sum();
            proptest::prop_assert!(octets <= body.len());
        }
    }

    #[test]
    fn there_is_an_end_to_parts() {
        let many = b"--b\r\n\r\n".repeat(100_000);
        let entity = Entity { header: b"", body: &many };
        let (parts, all) = entity.parts("b", 10);
        assert_eq!((parts.len(), all), (10, false));
        let (parts, all) = entity.parts("b", 100_000);
        assert_eq!((parts.len(), all), (100_000, true));
    }
}
