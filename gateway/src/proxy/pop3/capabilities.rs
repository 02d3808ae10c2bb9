//! What of a server's capabilities the relay passes on.

use postern_shared::proto::pop3::{DotDecoder, DotEncoder, dot::Decoded};

/// What a list may take; no server's comes near.
pub(super) const LIST_OCTETS_MAX: usize = 16 * 1024;

/// What the relay can carry. Not STLS, SASL, USER and the like: the client has logged in. Not IMPLEMENTATION: whose server it
/// is, is nobody's business. Nothing unknown: it might change what responses look like.
const PASSED: [&str; 9] =
    ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE", "LOGIN-DELAY", "UTF8", "LANG"];

/// A list on its way.
#[derive(Debug, Default)]
pub(super) struct CapabilityList {
    decoder: DotDecoder,
    lines: Vec<u8>,
}

/// A server's list is longer than any can be.
#[derive(Debug)]
pub(super) struct TooLong;

impl CapabilityList {
    /// Takes what came; how much of it was used, and the list for the client once it is whole.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, Option<Vec<u8>>), TooLong> {
        let mut used = 0;
        loop {
            let (n, decoded) = self.decoder.next(&input[used..]);
            used += n;
            match decoded {
                Decoded::NeedMore => return Ok((used, None)),
                Decoded::End => return Ok((used, Some(self.passed()))),
                Decoded::Content(piece) if self.lines.len() + piece.len() > LIST_OCTETS_MAX => {
                    return Err(TooLong);
                }
                Decoded::Content(piece) => self.lines.extend_from_slice(piece),
            }
        }
    }

    fn passed(&self) -> Vec<u8> {
        let mut list = Vec::new();
        let mut encoder = DotEncoder::new();
        for line in self.lines.split_inclusive(|&byte| byte == b'\n') {
            let name = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            if PASSED.iter().any(|passed| name.eq_ignore_ascii_case(passed.as_bytes())) {
                encoder.encode(line, &mut list);
            }
        }
        encoder.finish(&mut list);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_relay_cannot_carry_is_left_out() {
        let list = "TOP\r\nuidl\r\nSTLS\r\nSASL PLAIN\r\nUSER\r\nEXPIRE 30 USER\r\nX-ODD\r\n..\r\n\
             IMPLEMENTATION Dovecot\r\nPIPELINING\r\nLANGUAGE\r\n.\r\n+OK";
        for step in [1, 5, 1000] {
            let mut reading = CapabilityList::default();
            let (mut used, mut found) = (0, None);
            while found.is_none() {
                let end = list.len().min(used + step);
                let (n, whole) = reading.take(&list.as_bytes()[used..end]).unwrap();
                (used, found) = (used + n, whole);
            }
            assert_eq!(&list[used..], "+OK");
            assert_eq!(found.unwrap(), b"TOP\r\nuidl\r\nEXPIRE 30 USER\r\nPIPELINING\r\n.\r\n");
        }
    }

    #[test]
    fn a_list_without_end_is_given_up() {
        let mut reading = CapabilityList::default();
        let line = b"TOP\r\n".repeat(100);
        assert!((0..100).any(|_| reading.take(&line).is_err()));
    }
}
