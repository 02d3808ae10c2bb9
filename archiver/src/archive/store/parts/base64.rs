//! Base64 that comes back as it was.

use std::io;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Encoding;
use crate::archive::octets::Octets;

const WIDTH_MAX: usize = 1024;
/// Encoded octets looked at together, about.
const WINDOW_BYTES: usize = 192 * 1024;
const TAIL_MAX: usize = 8;

/// How the base64 in `range` is written, when it can be written again exactly so from what it stands for. Each stretch of it is
/// decoded, encoded again and compared; the decoded octets go to `take`, which has had some of them when `None` comes.
pub(in crate::archive) fn prove(
    octets: &dyn Octets,
    range: Range<u64>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Option<Encoding>> {
    let Some(shape) = shape(octets, &range)? else { return Ok(None) };
    let Encoding::Base64 { crlf, tail, .. } = shape;
    let body_end = range.end - u64::from(tail) * if crlf { 2 } else { 1 };
    let mut windows = Windows::new(shape, range.start..body_end);
    let (mut decoded, mut again) = (Vec::new(), Vec::new());
    let mut is_last = false;
    while let Some(window) = windows.next(octets)? {
        if is_last {
            // Padding stood before the end.
            return Ok(None);
        }
        decoded.clear();
        if STANDARD.decode_vec(&window.characters, &mut decoded).is_err() {
            return Ok(None);
        }
        is_last = decoded.len() % 3 != 0;
        again.clear();
        encode_lines(&decoded, shape, window.at_start, &mut again);
        if again != window.raw {
            return Ok(None);
        }
        take(&decoded)?;
    }
    Ok(Some(shape))
}

/// Guesses from the first line and the end.
fn shape(octets: &dyn Octets, range: &Range<u64>) -> io::Result<Option<Encoding>> {
    let head_bytes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(WIDTH_MAX + 2);
    let mut head = vec![0; head_bytes];
    octets.read_exact_at(&mut head, range.start)?;
    let mut end = vec![0; head_bytes.min(2 * TAIL_MAX + 2)];
    let end_bytes = end.len() as u64;
    octets.read_exact_at(&mut end, range.end - end_bytes)?;
    let crlf = match memchr::memchr(b'\n', &head) {
        Some(at) => at > 0 && head[at - 1] == b'\r',
        None => true,
    };
    let line_end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    let mut tail = 0;
    let mut rest = &end[..];
    while let Some(before) = rest.strip_suffix(line_end) {
        (rest, tail) = (before, tail + 1);
    }
    let first = head.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    // A single line is as wide as we like; as wide as it is, it has no second one.
    let width = if first.is_multiple_of(4) { first } else { return Ok(None) };
    if !(4..=WIDTH_MAX).contains(&width) || usize::from(tail) > TAIL_MAX {
        return Ok(None);
    }
    Ok(u16::try_from(width).ok().map(|width| Encoding::Base64 { width, crlf, tail }))
}

/// Stretches of whole lines.
struct Windows {
    shape: Encoding,
    start: u64,
    left: Range<u64>,
}

struct Window {
    raw: Vec<u8>,
    characters: Vec<u8>,
    at_start: bool,
}

impl Windows {
    fn new(shape: Encoding, range: Range<u64>) -> Self {
        Self { shape, start: range.start, left: range }
    }

    fn next(&mut self, octets: &dyn Octets) -> io::Result<Option<Window>> {
        let Encoding::Base64 { width, crlf, .. } = self.shape;
        let line_end = if crlf { 2 } else { 1 };
        let at_start = self.left.start == self.start;
        // The first stretch ends before a line end, each further one begins with it.
        let step = usize::from(width) + line_end;
        let lines = (WINDOW_BYTES / step).max(1);
        let wanted = lines * step - if at_start { line_end } else { 0 };
        let len =
            usize::try_from(self.left.end.saturating_sub(self.left.start)).unwrap_or(wanted).min(wanted);
        if len == 0 {
            return Ok(None);
        }
        let mut raw = vec![0; len];
        octets.read_exact_at(&mut raw, self.left.start)?;
        self.left.start += len as u64;
        let characters = raw.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        Ok(Some(Window { raw, characters, at_start }))
    }
}

/// Lines, divided by line ends; behind those that were written before when not `at_start`. All but the last call of a part must
/// bring whole lines.
fn encode_lines(decoded: &[u8], shape: Encoding, at_start: bool, out: &mut Vec<u8>) {
    let Encoding::Base64 { width, crlf, .. } = shape;
    let line_end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    let encoded = STANDARD.encode(decoded);
    for (number, line) in encoded.as_bytes().chunks(usize::from(width)).enumerate() {
        if number > 0 || !at_start {
            out.extend_from_slice(line_end);
        }
        out.extend_from_slice(line);
    }
}

/// Writes a part's octets as they stood in the message.
#[derive(Debug)]
pub(in crate::archive) struct Encoder {
    shape: Encoding,
    held: Vec<u8>,
    at_start: bool,
}

impl Encoder {
    pub(in crate::archive) fn new(shape: Encoding) -> Self {
        Self { shape, held: Vec::new(), at_start: true }
    }

    /// Encodes what fills lines; the rest waits.
    pub(in crate::archive) fn push(&mut self, decoded: &[u8], out: &mut Vec<u8>) {
        let Encoding::Base64 { width, .. } = self.shape;
        let line = usize::from(width) / 4 * 3;
        self.held.extend_from_slice(decoded);
        let whole = self.held.len() / line * line;
        if whole > 0 {
            encode_lines(&self.held[..whole], self.shape, self.at_start, out);
            self.held.drain(..whole);
            self.at_start = false;
        }
    }

    /// The last line and what stands behind it.
    pub(in crate::archive) fn finish(self, out: &mut Vec<u8>) {
        let Encoding::Base64 { crlf, tail, .. } = self.shape;
        if !self.held.is_empty() {
            encode_lines(&self.held, self.shape, self.at_start, out);
        }
        for _ in 0..tail {
            out.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proven(text: &[u8]) -> Option<(Encoding, Vec<u8>)> {
        let mut decoded = Vec::new();
        let shape = prove(&text.to_vec(), 0..text.len() as u64, |bytes| {
            decoded.extend_from_slice(bytes);
            Ok(())
        });
        shape.unwrap().map(|shape| (shape, decoded))
    }

    fn written(shape: Encoding, decoded: &[u8], step: usize) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::new(shape), Vec::new());
        decoded.chunks(step.max(1)).for_each(|piece| encoder.push(piece, &mut out));
        encoder.finish(&mut out);
        out
    }

    #[test]
    fn only_what_comes_back_is_proven() {
        for good in [&b"AAAA"[..], b"AAAA\r\nAAA=", b"AAAA\nAA==\n", b"AAAA\r\n\r\n", b"AAAAAAAA\nAAAA"] {
            let (shape, decoded) = proven(good).unwrap();
            assert_eq!(written(shape, &decoded, 2), good, "{}", good.escape_ascii());
        }
        for bad in [
            &b"AAAAA"[..],
            b"AAA",
            b"AAAA\r\nAAAA\nAAAA",
            b"AAAA\r\nAAAAAAAA",
            b"AAAAAAAA\r\nAAAA\r\nAAAAAAAA",
            b"AAAA \r\nAAAA",
            b"AA==\r\nAAAA",
            b"AAAA\r\n\r\nAAAA",
            // Bits that decoding drops.
            b"AAAA\r\nAB==",
            b"\r\nAAAA",
            b"AAAA\r\nAA",
            b"AA!A",
            b"\r\n",
        ] {
            assert!(proven(bad).is_none(), "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        /// Goal: whatever is proven is written again exactly, in whatever pieces its octets come.
        #[test]
        fn what_is_proven_comes_back(bytes in proptest::collection::vec(any::<u8>(), 1..2000), width in 1u16..30,
                crlf: bool, tail in 0u16..4, step in 1usize..300, flip in proptest::option::of((any::<prop::sample::Index>(), any::<u8>()))) {
            let shape = Encoding::Base64 { width: width * 4, crlf, tail };
            let mut text = written(shape, &bytes, step);
            if let Some((at, byte)) = flip {
                let at = at.index(text.len());
                text[at] = byte;
            }
            if let Some((shape, decoded)) = proven(&text) {
                prop_assert_eq!(written(shape, &decoded, step), text);
            } else {
                prop_assert!(flip.is_some());
            }
        }
    }

    #[test]
    fn long_ones_are_proven_in_stretches() {
        for extra in 0..4 {
            let bytes: Vec<u8> = (0..WINDOW_BYTES + extra).map(|i| i.to_le_bytes()[0]).collect();
            let text = written(Encoding::Base64 { width: 76, crlf: true, tail: 1 }, &bytes, 40_000);
            let (_, decoded) = proven(&text).unwrap();
            assert_eq!(decoded, bytes);
        }
    }
}
