//! Lines out of pieces, bounded.

use crate::proto::pop3::RESPONSE_OCTETS_MAX;

/// What a piece of input led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// [`Lines::line`] is the next line.
    Line,
    /// The input is used up.
    NeedMore,
    /// The line is longer than any may be.
    TooLong,
}

/// Collects one line at a time. LF ends it, and a CR before that is dropped: responses are few and short, so
/// being generous costs nothing. (Message content goes by `DotDecoder`, which is exact.)
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    complete: bool,
}

impl Lines {
    /// How many bytes of `input` were used, and what they led to.
    pub(super) fn feed(&mut self, input: &[u8]) -> (usize, Progress) {
        if std::mem::take(&mut self.complete) {
            self.buffer.clear();
        }
        let (piece, ends) = match memchr::memchr(b'\n', input) {
            Some(lf) => (&input[..lf], true),
            None => (input, false),
        };
        if self.buffer.len() + piece.len() + usize::from(ends) > RESPONSE_OCTETS_MAX {
            return (0, Progress::TooLong);
        }
        self.buffer.extend_from_slice(piece);
        if !ends {
            return (piece.len(), Progress::NeedMore);
        }
        self.complete = true;
        (piece.len() + 1, Progress::Line)
    }

    /// The line just completed, without its end.
    pub(super) fn line(&self) -> &[u8] {
        self.buffer.strip_suffix(b"\r").unwrap_or(&self.buffer)
    }

    /// Forgets a line begun.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.complete = false;
    }
}
