//! Who received a message and is not named in it: what its sender wrote as Bcc.

use postern_shared::proto::mime::hidden_recipients;

/// A longer header is not looked at, and nothing is said of its recipients.
const HEADER_BYTES_MAX: usize = 256 * 1024;

/// A message's header, while it streams past.
#[derive(Default)]
pub(super) struct HeaderCopy {
    bytes: Vec<u8>,
    end: End,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    NotSeen,
    Seen,
    TooFar,
}

impl HeaderCopy {
    /// Takes the next piece of the message, however it is cut.
    pub(super) fn write(&mut self, piece: &[u8]) {
        if self.end != End::NotSeen {
            return;
        }
        // The empty line may straddle two pieces.
        let from = self.bytes.len().saturating_sub(3);
        let room = HEADER_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        if self.bytes.starts_with(b"\r\n") {
            self.bytes.truncate(2);
            self.end = End::Seen;
        } else if let Some(at) = memchr::memmem::find(&self.bytes[from..], b"\r\n\r\n") {
            self.bytes.truncate(from + at + 4);
            self.end = End::Seen;
        } else if piece.len() > room {
            *self = Self { bytes: Vec::new(), end: End::TooFar };
        }
        if self.end == End::Seen {
            // It is kept until the message is over.
            self.bytes.shrink_to_fit();
        }
    }

    /// Those of `recipients` that the header does not name; none when that cannot be told.
    pub(super) fn hidden(&self, recipients: &[String]) -> Vec<String> {
        match self.end {
            End::TooFar => Vec::new(),
            End::Seen | End::NotSeen => hidden_recipients(&self.bytes, recipients).unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for HeaderCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderCopy").field("bytes", &self.bytes.len()).field("end", &self.end).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(message: &[u8], piece_bytes: usize) -> Vec<String> {
        let mut header = HeaderCopy::default();
        message.chunks(piece_bytes).for_each(|piece| header.write(piece));
        header.hidden(&["anna@example.com".into(), "bob@example.com".into()])
    }

    /// Goal: wherever the network cuts a message, its header ends where it ends.
    #[test]
    fn the_header_ends_at_its_empty_line_however_it_is_cut() {
        let message = b"To: anna@example.com\r\n\r\nCc: bob@example.com\r\n\r\n";
        for piece_bytes in 1..=message.len() {
            assert_eq!(hidden(message, piece_bytes), ["bob@example.com"], "pieces of {piece_bytes}");
        }
        assert_eq!(hidden(b"\r\nTo: anna@example.com\r\n\r\n", 3), ["anna@example.com", "bob@example.com"]);
        assert_eq!(hidden(b"To: anna@example.com\r\n", 5), ["bob@example.com"], "no body");
    }

    #[test]
    fn a_header_takes_no_more_memory_than_it_is_long() {
        let mut header = HeaderCopy::default();
        header.write(&[b"To: anna@example.com\r\n\r\n", &[b'x'; 60_000][..]].concat());
        assert!(header.bytes.capacity() < 100, "{}", header.bytes.capacity());
    }

    #[test]
    fn of_a_header_that_is_too_long_nothing_is_said() {
        let message = |bytes: usize| format!("To: anna@example.com\r\nX: {}\r\n\r\n", "x".repeat(bytes));
        assert_eq!(hidden(message(HEADER_BYTES_MAX - 100).as_bytes(), 1000), ["bob@example.com"]);
        assert_eq!(hidden(message(HEADER_BYTES_MAX).as_bytes(), 1000), Vec::<String>::new());
    }
}
