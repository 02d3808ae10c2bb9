//! Where TOP's part of a message ends (RFC 1939 §7): the header fields, the empty line behind them, and the
//! first n lines of the body.

/// Counts lines of content that comes in pieces.
#[derive(Debug)]
pub struct TopCut {
    in_header: bool,
    body_lines_left: u32,
    /// What the current line held in earlier pieces.
    line: Line,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Empty,
    Cr,
    Text,
}

impl Line {
    fn with(self, bytes: &[u8]) -> Self {
        match (self, bytes) {
            (before, []) => before,
            (Self::Empty, b"\r") => Self::Cr,
            _ => Self::Text,
        }
    }
}

impl TopCut {
    /// At the start of a message of whose body `body_lines` lines are wanted.
    pub fn new(body_lines: u32) -> Self {
        Self { in_header: true, body_lines_left: body_lines, line: Line::Empty }
    }

    /// How many bytes of `piece`, from its start, are wanted.
    pub fn wanted(&mut self, piece: &[u8]) -> usize {
        let mut at = 0;
        while !self.is_complete() {
            let rest = &piece[at..];
            let Some(lf) = memchr::memchr(b'\n', rest) else {
                self.line = self.line.with(rest);
                return piece.len();
            };
            let empty = self.line.with(&rest[..lf]) != Line::Text;
            self.line = Line::Empty;
            at += lf + 1;
            if self.in_header {
                self.in_header = !empty;
            } else {
                self.body_lines_left -= 1;
            }
        }
        at
    }

    /// Everything wanted was seen; the rest of the message need not be read.
    pub fn is_complete(&self) -> bool {
        !self.in_header && self.body_lines_left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(message: &str, body_lines: u32, step: usize) -> String {
        let mut cut = TopCut::new(body_lines);
        let mut out = Vec::new();
        for piece in message.as_bytes().chunks(step) {
            let wanted = cut.wanted(piece);
            out.extend_from_slice(&piece[..wanted]);
            if cut.is_complete() {
                break;
            }
            assert_eq!(wanted, piece.len(), "nothing is dropped before the cut");
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn header_empty_line_and_n_body_lines() {
        let message = "A: 1\r\nB: 2\r\n 3\r\n\r\none\r\n\r\nthree\r\n";
        for step in 1..=message.len() {
            assert_eq!(top(message, 0, step), "A: 1\r\nB: 2\r\n 3\r\n\r\n");
            assert_eq!(top(message, 1, step), "A: 1\r\nB: 2\r\n 3\r\n\r\none\r\n");
            assert_eq!(top(message, 2, step), "A: 1\r\nB: 2\r\n 3\r\n\r\none\r\n\r\n");
            assert_eq!(top(message, 3, step), message);
            assert_eq!(top(message, u32::MAX, step), message, "a short body is sent whole");
        }
    }

    #[test]
    fn odd_messages_are_cut_too() {
        for step in 1..20 {
            assert_eq!(top("\r\nbody\r\nmore\r\n", 1, step), "\r\nbody\r\n", "no header fields");
            assert_eq!(top("A: 1\r\n", 5, step), "A: 1\r\n", "no body");
            assert_eq!(top("A: 1\r\n\r\r\n\r\nx\r\n", 0, step), "A: 1\r\n\r\r\n\r\n", "CR CRLF is not empty");
        }
    }
}
