//! Where the pieces of a message lie.

use std::io;
use std::ops::Range;

use postern_shared::proto::mime::header::{Header, media_type, parameter};

use crate::archive::octets::Octets;

const DEPTH_MAX: usize = 32;
const PARTS_MAX: usize = 1000;
const HEADER_BYTES_MAX: usize = 64 * 1024;
const BOUNDARY_BYTES_MAX: usize = 256;
const WINDOW_BYTES: usize = 256 * 1024;
/// As much of a line is looked at; no delimiter is longer.
const LINE_BYTES_MAX: usize = BOUNDARY_BYTES_MAX + 16;
/// A shorter body is not worth an object of its own.
const BASE64_BYTES_MIN: u64 = 2 * 1024;
const VERBATIM_BYTES_MIN: u64 = 4 * 1024;
/// A message's own octets are held in memory; a longer stretch is made a part.
const OWN_BYTES_MAX: u64 = 64 * 1024;

/// A stretch of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::archive) enum Piece {
    /// The message's own.
    Own(Range<u64>),
    /// To be stored once; `true` when it says that it is base64.
    Part(Range<u64>, bool),
}

/// Cuts a message into pieces, which are the message when they are put together again.
pub(in crate::archive) fn split(octets: &dyn Octets) -> io::Result<Vec<Piece>> {
    let mut scan = Scan::default();
    let mut lines = Lines::new(octets);
    while let Some(line) = lines.next()? {
        scan.line(&line);
    }
    scan.end(octets.len());
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut own_bytes = 0;
    for (range, is_base64) in scan.leaves {
        own(&mut pieces, at..range.start, &mut own_bytes);
        at = range.end;
        pieces.push(Piece::Part(range, is_base64));
    }
    own(&mut pieces, at..octets.len(), &mut own_bytes);
    Ok(pieces)
}

fn own(pieces: &mut Vec<Piece>, range: Range<u64>, own_bytes: &mut u64) {
    let bytes = range.end - range.start;
    if bytes == 0 {
        return;
    }
    if *own_bytes + bytes > OWN_BYTES_MAX && bytes >= VERBATIM_BYTES_MIN {
        pieces.push(Piece::Part(range, false));
    } else {
        *own_bytes += bytes;
        pieces.push(Piece::Own(range));
    }
}

/// A line: where it begins and ends, and how it begins.
struct Line<'l> {
    range: Range<u64>,
    head: &'l [u8],
    /// Octets of its line end.
    line_end: u64,
}

/// Reads lines of any length through a window.
struct Lines<'o> {
    octets: &'o dyn Octets,
    window: Vec<u8>,
    /// The head of the line that was read last.
    head: Vec<u8>,
    /// What of the window was not handed out.
    unread: Range<usize>,
    /// Where the unread part begins in the message.
    at: u64,
}

impl<'o> Lines<'o> {
    fn new(octets: &'o dyn Octets) -> Self {
        Self { octets, window: Vec::new(), head: Vec::new(), unread: 0..0, at: 0 }
    }

    fn fill(&mut self) -> io::Result<bool> {
        let left = self.octets.len() - self.at;
        let len = usize::try_from(left).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
        self.window.resize(len, 0);
        self.octets.read_exact_at(&mut self.window, self.at)?;
        self.unread = 0..len;
        Ok(len > 0)
    }

    fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let start = self.at;
        self.head.clear();
        let mut last_but_one = 0;
        loop {
            if self.unread.is_empty() && !self.fill()? {
                let range = start..self.at;
                return Ok((!range.is_empty()).then_some(Line { range, head: &self.head, line_end: 0 }));
            }
            let unread = &self.window[self.unread.clone()];
            let found = memchr::memchr(b'\n', unread);
            let taken = &unread[..found.map_or(unread.len(), |lf| lf + 1)];
            let room = HEADER_BYTES_MAX.saturating_sub(self.head.len());
            self.head.extend_from_slice(&taken[..taken.len().min(room)]);
            let before_lf = if taken.len() > 1 { taken[taken.len() - 2] } else { last_but_one };
            last_but_one = taken.last().copied().unwrap_or(0);
            self.at += taken.len() as u64;
            self.unread.start += taken.len();
            if found.is_some() {
                let line_end = if before_lf == b'\r' { 2 } else { 1 };
                return Ok(Some(Line { range: start..self.at, head: &self.head, line_end }));
            }
        }
    }
}

#[derive(Default)]
struct Scan {
    boundaries: Vec<Vec<u8>>,
    state: State,
    header: Vec<u8>,
    previous_line_end: u64,
    leaves: Vec<(Range<u64>, bool)>,
}

#[derive(Default, Clone, Copy)]
enum State {
    /// In an entity's header.
    #[default]
    Header,
    /// In a leaf that began there.
    Leaf { start: u64, is_base64: bool },
    /// Before the first part or behind the last one.
    Between,
}

impl Scan {
    fn line(&mut self, line: &Line<'_>) {
        if let Some((depth, is_final)) = self.delimiter(line.head) {
            self.close(line.range.start, self.previous_line_end);
            self.boundaries.truncate(if is_final { depth } else { depth + 1 });
            self.header.clear();
            self.state = if is_final { State::Between } else { State::Header };
        } else if matches!(self.state, State::Header) {
            let is_end = matches!(line.head, b"\r\n" | b"\n" | b"\r");
            let is_too_long = self.header.len() + line.head.len() > HEADER_BYTES_MAX;
            if is_end || is_too_long {
                self.body(line.range.end);
            } else {
                self.header.extend_from_slice(line.head);
            }
        }
        self.previous_line_end = line.line_end;
    }

    /// Which boundary a line is a delimiter of, and whether the final one; the innermost wins.
    fn delimiter(&self, head: &[u8]) -> Option<(usize, bool)> {
        let text = head.strip_prefix(b"--").filter(|_| head.len() <= LINE_BYTES_MAX)?.trim_ascii_end();
        self.boundaries.iter().enumerate().rev().find_map(|(depth, boundary)| {
            match text.strip_prefix(boundary.as_slice())? {
                b"" => Some((depth, false)),
                b"--" => Some((depth, true)),
                _ => None,
            }
        })
    }

    /// An entity's header is read; its body begins at `start`.
    fn body(&mut self, start: u64) {
        let header = Header::parse(&self.header);
        self.header.clear();
        let content_type = header.first("Content-Type").unwrap_or_default();
        let kind = media_type(content_type);
        let encoding = header.first("Content-Transfer-Encoding").unwrap_or_default();
        let is_base64 = encoding.trim().eq_ignore_ascii_case("base64");
        let boundary = parameter(content_type, "boundary").filter(|_| kind.starts_with("multipart/"));
        let boundary = boundary.map(|text| text.trim_end().as_bytes().to_vec());
        let boundary = boundary.filter(|text| (1..=BOUNDARY_BYTES_MAX).contains(&text.len()));
        self.state = match boundary {
            Some(boundary) if self.boundaries.len() < DEPTH_MAX => {
                self.boundaries.push(boundary);
                State::Between
            }
            None if kind == "message/rfc822" && !is_base64 => State::Header,
            _ => State::Leaf { start, is_base64 },
        };
    }

    /// A leaf ends before the line end that belongs to the delimiter at `at`.
    fn close(&mut self, at: u64, line_end: u64) {
        let State::Leaf { start, is_base64 } = self.state else { return };
        let end = at.saturating_sub(line_end).max(start);
        let bytes_min = if is_base64 { BASE64_BYTES_MIN } else { VERBATIM_BYTES_MIN };
        if end - start >= bytes_min && self.leaves.len() < PARTS_MAX {
            self.leaves.push((start..end, is_base64));
        }
    }

    fn end(&mut self, len: u64) {
        self.close(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(message: &[u8]) -> Vec<(&[u8], Option<bool>)> {
        let slice = |range: &Range<u64>| {
            let at = |offset: u64| usize::try_from(offset).unwrap();
            &message[at(range.start)..at(range.end)]
        };
        let pieces = split(&message.to_vec()).unwrap();
        let found: Vec<_> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Own(range) => (slice(range), None),
                Piece::Part(range, is_base64) => (slice(range), Some(*is_base64)),
            })
            .collect();
        assert_eq!(found.iter().flat_map(|(bytes, _)| *bytes).copied().collect::<Vec<_>>(), message);
        found
    }

    #[test]
    fn attachments_are_found_at_any_depth_to_the_octet() {
        let base64 = "QUFB\r\n".repeat(500);
        let text = "text\r\n".repeat(1000);
        let message = format!(
            "Subject: x\r\nContent-Type: multipart/mixed; boundary=\"a\"\r\n\r\npreamble\r\n--a\r\n\r\n{text}\r\n--a\r\n\
             Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/related;\r\n\tboundary=b\r\n\r\n--b\r\n\
             Content-Transfer-Encoding: BASE64\r\n\r\n{base64}\r\n--b--\r\nepilogue\r\n--a--\r\n"
        );
        let parts: Vec<_> = whole(message.as_bytes())
            .into_iter()
            .filter_map(|(bytes, part)| part.map(|p| (bytes, p)))
            .collect();
        assert_eq!(parts, [(text.as_bytes(), false), (base64.as_bytes(), true)]);
    }

    #[test]
    fn what_is_short_or_odd_stays_the_message_s_own() {
        for message in [
            &b""[..],
            b"x",
            b"a: b\n\nshort",
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--",
        ] {
            assert!(whole(message).iter().all(|(_, part)| part.is_none()), "{}", message.escape_ascii());
        }
        let long = vec![b'x'; 300_000];
        assert_eq!(whole(&long), [(&long[..], Some(false))], "no header, one line");
    }

    #[test]
    fn own_octets_are_bounded() {
        let mut bomb = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
        bomb.extend(b"--b\r\n\r\n".repeat(100_000));
        let own: usize =
            whole(&bomb).iter().filter(|(_, part)| part.is_none()).map(|(bytes, _)| bytes.len()).sum();
        assert!(own as u64 <= OWN_BYTES_MAX + VERBATIM_BYTES_MIN * PARTS_MAX as u64);
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_message(lines in proptest::collection::vec(prop_oneof![
            Just("--b\r\n".to_owned()), Just("--b--\n".to_owned()), Just("\r\n".to_owned()), Just("\n".to_owned()),
            Just("Content-Type: multipart/mixed; boundary=b\r\n".to_owned()),
            Just("Content-Type: message/rfc822\n".to_owned()),
            Just("Content-Transfer-Encoding: base64\r\n".to_owned()),
            (1usize..3000).prop_map(|n| "A".repeat(n)),
            Just("AAAA\r\n".repeat(900)),
        ], 0..40)) {
            whole(lines.concat().as_bytes());
        }
    }
}
