//! Byte-stuffing of multi-line responses (RFC 1939 §3): a line that begins with a dot gets a second one, and a
//! line of a single dot ends the response.
//!
//! Only CRLF ends a line. A bare CR or LF is content like any other, on both sides, so no content can forge an
//! end.

use memchr::memmem;

/// Where in a line the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Behind CRLF, or at the very start.
    LineStart,
    /// Behind a CR.
    Cr,
    /// Anywhere else.
    Text,
    /// Decoder only: behind a dot at a line's start.
    Dot,
    /// Decoder only: behind a dot at a line's start and a CR.
    DotCr,
}

/// Where the byte after `piece` stands, when `piece` began at `before`.
fn after(before: At, piece: &[u8]) -> At {
    match piece {
        [] => before,
        [.., b'\r', b'\n'] => At::LineStart,
        [b'\n'] if before == At::Cr => At::LineStart,
        [.., b'\r'] => At::Cr,
        _ => At::Text,
    }
}

/// Stuffs content that comes in pieces.
#[derive(Debug)]
pub struct DotEncoder {
    at: At,
}

impl DotEncoder {
    /// At the start of the content.
    pub fn new() -> Self {
        Self { at: At::LineStart }
    }

    /// Appends `piece`, stuffed, to `out`.
    pub fn encode(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        let first = match (self.at, piece) {
            (At::LineStart, [b'.', ..]) => Some(0),
            (At::Cr, [b'\n', b'.', ..]) => Some(1),
            _ => None,
        };
        self.at = after(self.at, piece);
        out.reserve(piece.len() + 1);
        if let Some(dot) = first {
            out.extend_from_slice(&piece[..=dot]);
            piece = &piece[dot..];
        }
        while let Some(at) = memmem::find(piece, b"\r\n.") {
            let dot = at + 2;
            out.extend_from_slice(&piece[..=dot]);
            piece = &piece[dot..];
        }
        out.extend_from_slice(piece);
    }

    /// Appends the end: `.` CRLF, preceded by CRLF when the content did not end with one.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.at != At::LineStart {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

impl Default for DotEncoder {
    fn default() -> Self {
        Self::new()
    }
}

/// What the decoder found next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// The next piece of content, not empty.
    Content(&'a [u8]),
    /// The content is complete; what follows in the input belongs to the next response.
    End,
    /// The input is used up.
    NeedMore,
}

/// Undoes the stuffing of content that comes in pieces.
///
/// Call [`DotDecoder::next`] with what is left of the input until it says [`Decoded::NeedMore`] or
/// [`Decoded::End`].
#[derive(Debug)]
pub struct DotDecoder {
    at: At,
}

impl DotDecoder {
    /// At the start of the content: behind the response's first line.
    pub fn new() -> Self {
        Self { at: At::LineStart }
    }

    /// What comes next, and how many bytes of `input` it took.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> (usize, Decoded<'a>) {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let Some(&byte) = rest.first() else { return (used, Decoded::NeedMore) };
            match (self.at, byte) {
                (At::LineStart, b'.') => {
                    self.at = At::Dot;
                    used += 1;
                }
                (At::Dot, b'\r') => {
                    self.at = At::DotCr;
                    used += 1;
                }
                (At::DotCr, b'\n') => {
                    self.at = At::LineStart;
                    return (used + 1, Decoded::End);
                }
                // The CR behind the stuffed dot was content; what follows it is looked at next time.
                (At::DotCr, _) => {
                    self.at = At::Cr;
                    return (used, Decoded::Content(b"\r"));
                }
                (before, _) => {
                    let piece = Self::undotted(before, rest);
                    self.at = after(before, piece);
                    return (used + piece.len(), Decoded::Content(piece));
                }
            }
        }
    }

    /// The longest start of `rest` that holds no dot at a line's start; `rest` itself does not begin with one.
    fn undotted(before: At, rest: &[u8]) -> &[u8] {
        if before == At::Cr && rest.starts_with(b"\n") {
            return &rest[..1];
        }
        memmem::find(rest, b"\r\n.").map_or(rest, |at| &rest[..at + 2])
    }
}

impl Default for DotDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = DotEncoder::new();
        let mut out = Vec::new();
        for piece in pieces {
            encoder.encode(piece, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    /// Decodes `wire` given in pieces of `step` bytes; the content, and what was left behind the end.
    fn decode(wire: &[u8], step: usize) -> Option<(Vec<u8>, usize)> {
        let mut decoder = DotDecoder::new();
        let mut content = Vec::new();
        let mut total = 0;
        for piece in wire.chunks(step) {
            let mut rest = piece;
            loop {
                let (used, decoded) = decoder.next(rest);
                rest = &rest[used..];
                total += used;
                match decoded {
                    Decoded::Content(bytes) => {
                        assert!(!bytes.is_empty());
                        content.extend_from_slice(bytes);
                    }
                    Decoded::End => return Some((content, wire.len() - total)),
                    Decoded::NeedMore => break,
                }
            }
        }
        None
    }

    #[test]
    fn dots_at_line_starts_are_doubled_and_no_others() {
        assert_eq!(encode(&[b"a.b\r\n.\r\n..c\r\n"]), b"a.b\r\n..\r\n...c\r\n.\r\n");
        assert_eq!(encode(&[b".\r\n"]), b"..\r\n.\r\n");
        assert_eq!(encode(&[b"a\n.\r\n"]), b"a\n.\r\n.\r\n", "a bare LF ends no line");
        assert_eq!(encode(&[]), b".\r\n");
        assert_eq!(encode(&[b"no end"]), b"no end\r\n.\r\n");
        assert_eq!(encode(&[b"half\r"]), b"half\r\r\n.\r\n");
    }

    #[test]
    fn only_a_line_of_one_dot_ends_the_content() {
        for (wire, content) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\n.\r\n\r\n.\r\n", b"a\n.\r\n\r\n"),
            (b"a\r.\r\n\r\n.\r\n", b"a\r.\r\n\r\n"),
            (b".\r.\r\n.\r\n", b"\r.\r\n"),
            (b".\r\r\n.\r\n", b"\r\r\n"),
            (b".\n.\r\n\r\n.\r\n", b"\n.\r\n\r\n"),
            (b".x\r\n.\r\n", b"x\r\n"),
        ] {
            for step in 1..=wire.len() {
                let (found, left) = decode(wire, step).unwrap_or_else(|| panic!("{wire:?} has an end"));
                assert_eq!((found.as_slice(), left), (content, 0), "{wire:?} in steps of {step}");
            }
        }
        assert_eq!(decode(b"a\r\n.\n\r.\r\n", 1), None);
        assert_eq!(decode(b"a\r\n.\r\n+OK next\r\n", 100).unwrap().1, 10, "the next response is not touched");
    }

    /// Bytes in which the interesting ones are frequent.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![3 => Just(b'.'), 3 => Just(b'\r'), 3 => Just(b'\n'), 2 => any::<u8>()];
        let token = prop_oneof![
            proptest::collection::vec(byte, 1..4),
            Just(b"\r\n".to_vec()),
            Just(b"\r\n.\r\n".to_vec())
        ];
        proptest::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(mut bytes in content(), cut in 1..9_usize, step in 1..9_usize) {
            bytes.extend_from_slice(b"\r\n");
            let wire = encode(&bytes.chunks(cut).collect::<Vec<_>>());
            prop_assert_eq!(&wire, &encode(&[&bytes]), "the same at any chunk border");
            prop_assert_eq!(decode(&wire, step), Some((bytes, 0)));
        }

        /// Goal: the decoder finds the same in any input at any chunk border.
        #[test]
        fn chunk_borders_do_not_matter(wire in content(), step in 1..9_usize) {
            prop_assert_eq!(decode(&wire, step), decode(&wire, wire.len().max(1)));
        }
    }
}
