//! Lines out of octets that come in pieces. Only CRLF ends a line; one that is too long is dropped up to its end.

/// Takes lines from what a client sends. Holds nothing: what is no whole line stays with the caller.
#[derive(Debug, Default)]
pub struct LineReader {
    /// The line is too long; it is dropped up to its end.
    skipping: bool,
}

/// What stands first in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'i> {
    /// No end of a line yet; that many octets are of no use.
    More(usize),
    /// A line, its CRLF cut off.
    Whole(&'i [u8]),
    /// A line that LF alone ended.
    BareLf(&'i [u8]),
    /// The first octets of a line that is too long.
    TooLong(&'i [u8]),
    /// Its end; what was left of it took that many octets.
    TooLongEnds(usize),
}

impl Line<'_> {
    /// How many octets of the input it took.
    pub fn used(&self) -> usize {
        match self {
            Self::More(used) | Self::TooLongEnds(used) => *used,
            Self::Whole(line) => line.len() + 2,
            Self::BareLf(line) => line.len() + 1,
            Self::TooLong(start) => start.len(),
        }
    }
}

impl LineReader {
    /// Whether what comes next belongs to a line that is too long.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Looks at the input; a line may have so many octets, its end included.
    pub fn read<'i>(&mut self, input: &'i [u8], octets_max: usize) -> Line<'i> {
        let start = &input[..input.len().min(octets_max)];
        match memchr::memchr(b'\n', start) {
            Some(end) if std::mem::take(&mut self.skipping) => Line::TooLongEnds(end + 1),
            Some(end) => match start[..end].strip_suffix(b"\r") {
                Some(line) => Line::Whole(line),
                None => Line::BareLf(&start[..end]),
            },
            // While skipping, nothing of the line is worth keeping.
            None if input.len() < octets_max => Line::More(if self.skipping { input.len() } else { 0 }),
            None if std::mem::replace(&mut self.skipping, true) => Line::More(start.len()),
            None => Line::TooLong(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_crlf_and_long_ones_are_dropped() {
        let mut reader = LineReader::default();
        assert_eq!(reader.read(b"NOO", 8), Line::More(0));
        assert_eq!(reader.read(b"NOOP\r\nQ", 8), Line::Whole(b"NOOP"));
        assert_eq!(reader.read(b"NOOP\n", 8), Line::BareLf(b"NOOP"));
        assert_eq!(reader.read(b"12345678x", 8), Line::TooLong(b"12345678"));
        assert_eq!(reader.read(b"12345678x", 8), Line::More(8));
        assert_eq!(reader.read(b"x", 8), Line::More(1));
        assert_eq!(reader.read(b"x\r\nNOOP\r\n", 8), Line::TooLongEnds(3));
        let whole = reader.read(b"NOOP\r\n", 8);
        assert_eq!((whole, whole.used()), (Line::Whole(b"NOOP"), 6));
    }
}
