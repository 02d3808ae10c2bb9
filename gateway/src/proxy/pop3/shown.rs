//! What of a message its reader sees: all of it, or what TOP asks for (RFC 1939 §7).

use postern_shared::proto::pop3::TopCut;

/// What ends a response of several lines.
const END: &[u8] = b".\r\n";

/// Where in a line the next octet would stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Cr,
    Text,
}

/// Cuts a response behind its first line. Its dots stay doubled: they make no line empty.
#[derive(Debug)]
pub(super) struct Shown {
    top: Option<TopCut>,
    at: At,
}

impl Shown {
    /// All of it, or only so many lines of the body.
    pub(super) fn new(body_lines: Option<u32>) -> Self {
        Self { top: body_lines.map(TopCut::new), at: At::LineStart }
    }

    /// Leaves of `octets` what is shown; those before `from` are the response's first line.
    pub(super) fn cut(&mut self, octets: &mut Vec<u8>, from: usize) {
        let Some(top) = &mut self.top else { return };
        let wanted = top.wanted(&octets[from..]);
        octets.truncate(from + wanted);
        self.at = match &octets[from..] {
            [] => self.at,
            [.., b'\r', b'\n'] => At::LineStart,
            [b'\n'] if self.at == At::Cr => At::LineStart,
            [.., b'\r'] => At::Cr,
            _ => At::Text,
        };
    }

    /// The same for the last octets of a response, which end it whatever was cut off.
    pub(super) fn cut_last(&mut self, octets: &mut Vec<u8>, from: usize) {
        if self.top.is_none() {
            return;
        }
        octets.truncate(octets.len().saturating_sub(END.len()).max(from));
        self.cut(octets, from);
        // A bare LF counts as a line, but ends none.
        if self.at != At::LineStart {
            octets.extend_from_slice(b"\r\n");
        }
        octets.extend_from_slice(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response in pieces of `step`, its last five octets kept for the end.
    fn shown(response: &str, body_lines: Option<u32>, step: usize) -> String {
        let mut shown = Shown::new(body_lines);
        let (before, last) = response.as_bytes().split_at(response.len().saturating_sub(5));
        let mut out = b"+OK\r\n".to_vec();
        for piece in before.chunks(step) {
            let mut piece = [&b"+OK\r\n"[..], piece].concat();
            shown.cut(&mut piece, 5);
            out.extend_from_slice(&piece[5..]);
        }
        let mut last = last.to_vec();
        shown.cut_last(&mut last, 0);
        out.extend(last);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_top_is_the_header_and_so_many_lines() {
        let message = "A: 1\r\n\r\n..one\r\n\r\nthree\r\n.\r\n";
        for step in 1..=message.len() {
            for (lines, expected) in [
                (Some(0), "A: 1\r\n\r\n.\r\n"),
                (Some(1), "A: 1\r\n\r\n..one\r\n.\r\n"),
                (Some(2), "A: 1\r\n\r\n..one\r\n\r\n.\r\n"),
                (Some(3), message),
                (Some(4), message),
                (Some(u32::MAX), message),
                (None, message),
            ] {
                assert_eq!(shown(message, lines, step), format!("+OK\r\n{expected}"), "{lines:?}");
            }
        }
    }

    /// Goal: a cut where no line ends gives the client an end all the same.
    #[test]
    fn odd_messages_end_too() {
        for step in 1..20 {
            assert_eq!(shown("A: 1\n\none\ntwo\r\n.\r\n", Some(1), step), "+OK\r\nA: 1\n\none\n\r\n.\r\n");
            assert_eq!(shown(".\r\n", Some(3), step), "+OK\r\n.\r\n", "nothing");
            assert_eq!(shown("A: 1\r\n.\r\n", Some(3), step), "+OK\r\nA: 1\r\n.\r\n", "no body");
            assert_eq!(
                shown("A\r\n\r\nx\r\n\ny\r\n.\r\n", Some(2), step),
                "+OK\r\nA\r\n\r\nx\r\n\n\r\n.\r\n"
            );
        }
    }
}
