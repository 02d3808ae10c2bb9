//! Mail data on its way in: where it ends, which dots go, and which line ends are made whole.
//!
//! Only `<CRLF>.<CRLF>` ends DATA, and only a dot behind a real CRLF is taken for stuffing (RFC 5321 §4.5.2). A bare CR
//! or LF is a line end to some servers and a character to others: that difference is what smuggling lives on. So
//! each becomes a CRLF, is counted, and is never the CRLF that decides anything:
//!
//! | on the wire, behind a line | is | becomes |
//! |---|---|---|
//! | `CRLF . CRLF` | the end | |
//! | `LF . LF`, `LF . CRLF`, `CR . CR`, `CR . CRLF` | content | a line with a lone dot, stuffed again by whoever sends it on |
//! | `CRLF . LF`, `CRLF . CR`, `CRLF . CR CRLF` | content: a stuffed line | an empty line |
//! | `CRLF NUL . CRLF` | content | as it is |

use memchr::memchr2;

/// What was made whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineEnds {
    /// CRs without LF.
    pub bare_cr: u64,
    /// LFs without CR.
    pub bare_lf: u64,
}

/// Takes DATA's octets and gives content.
#[derive(Debug, Default)]
pub struct DataDecoder {
    state: State,
    ends: LineEnds,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Behind a real CRLF, or at the start.
    #[default]
    LineStart,
    /// A dot there.
    Dot,
    /// A CR behind that dot.
    DotCr,
    /// Anywhere else.
    Middle,
    /// A CR anywhere else.
    Cr,
}

/// How far a piece of input went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All of it was data.
    More,
    /// The data ended behind that many octets.
    End(usize),
}

impl DataDecoder {
    /// Decodes the next piece into `out`.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Progress {
        let mut at = 0;
        while at < input.len() {
            if self.state == State::Middle {
                let rest = &input[at..];
                let plain = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..plain]);
                at += plain;
                if at == input.len() {
                    break;
                }
            }
            if self.state == State::DotCr && input[at] == b'\n' {
                return Progress::End(at + 1);
            }
            if self.step(input[at], out) {
                at += 1;
            }
        }
        Progress::More
    }

    /// What was made whole so far.
    pub fn line_ends(&self) -> LineEnds {
        self.ends
    }

    /// One octet in a state where it matters; `false` when it is to be looked at again in the next state.
    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        let (next, taken) = match (self.state, byte) {
            (State::LineStart, b'.') => (State::Dot, true),
            (State::Dot, b'\r') => (State::DotCr, true),
            (State::Cr, b'\n') => {
                out.extend_from_slice(b"\r\n");
                (State::LineStart, true)
            }
            (State::Cr | State::DotCr, _) => {
                out.extend_from_slice(b"\r\n");
                self.ends.bare_cr += 1;
                (State::Middle, false)
            }
            (State::Middle, b'\r') => (State::Cr, true),
            (State::Middle, b'\n') => {
                out.extend_from_slice(b"\r\n");
                self.ends.bare_lf += 1;
                (State::Middle, true)
            }
            (State::LineStart | State::Dot | State::Middle, _) => (State::Middle, false),
        };
        self.state = next;
        taken
    }
}

/// Takes BDAT's octets and gives content (RFC 3030): no dots, no end inside.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    after_cr: bool,
    last_two: [u8; 2],
    any: bool,
    ends: LineEnds,
}

impl ChunkDecoder {
    /// Decodes the next piece into `out`; it may end anywhere, also inside a CRLF.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        let mut rest = input;
        while let Some(&byte) = rest.first() {
            if std::mem::take(&mut self.after_cr) {
                out.extend_from_slice(b"\r\n");
                if byte == b'\n' {
                    rest = &rest[1..];
                } else {
                    self.ends.bare_cr += 1;
                }
                continue;
            }
            let plain = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            match rest.get(plain) {
                Some(b'\r') => self.after_cr = true,
                Some(_) => {
                    out.extend_from_slice(b"\r\n");
                    self.ends.bare_lf += 1;
                }
                None => break,
            }
            rest = &rest[plain + 1..];
        }
        self.remember(&out[before..]);
    }

    /// Ends the content. When it does not end in CRLF one is added, for POP3 can carry nothing else; returns whether
    /// it was.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        if std::mem::take(&mut self.after_cr) {
            out.extend_from_slice(b"\r\n");
            self.ends.bare_cr += 1;
        }
        self.remember(&out[before..]);
        let add = self.any && self.last_two != *b"\r\n";
        if add {
            out.extend_from_slice(b"\r\n");
        }
        add
    }

    /// What was made whole so far.
    pub fn line_ends(&self) -> LineEnds {
        self.ends
    }

    fn remember(&mut self, written: &[u8]) {
        self.any |= !written.is_empty();
        match written {
            [] => {}
            [one] => self.last_two = [self.last_two[1], *one],
            [.., a, b] => self.last_two = [*a, *b],
        }
    }
}
