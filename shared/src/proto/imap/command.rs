//! A client's command: text, and strings of any octets as atoms, quoted strings or literals (RFC 3501 §4.3, RFC 7888).
//!
//! A literal that the server wants to be asked about first splits a command: what stands behind it is sent when the server
//! has said `+`.

use std::collections::VecDeque;

use zeroize::Zeroizing;

/// A command without its tag. May hold a password: wiped when dropped, and not shown.
#[derive(Default)]
pub struct Command {
    parts: Vec<Part>,
}

enum Part {
    Text(Zeroizing<Vec<u8>>),
    String(Zeroizing<Vec<u8>>),
}

/// A command as it goes out: the first piece at once, each further one behind a `+`.
pub type Pieces = VecDeque<Zeroizing<Vec<u8>>>;

impl Command {
    /// A command that begins with these words, which hold no line end.
    pub fn new(words: &str) -> Self {
        Self::default().text(words)
    }

    /// Goes on with these words.
    #[must_use]
    pub fn text(mut self, words: &str) -> Self {
        self.parts.push(Part::Text(Zeroizing::new(words.as_bytes().to_vec())));
        self
    }

    /// Goes on with a string of any octets.
    #[must_use]
    pub fn string(mut self, octets: &[u8]) -> Self {
        self.parts.push(Part::String(Zeroizing::new(octets.to_vec())));
        self
    }

    /// The octets, each string written as short as it can be. `unasked` is
    /// [`Capabilities::literal_octets_unasked`](super::Capabilities::literal_octets_unasked); with `utf8`, quoted strings
    /// may hold UTF-8 (RFC 6855).
    pub fn write(&self, tag: &str, unasked: usize, utf8: bool) -> Pieces {
        let mut pieces = Pieces::new();
        let mut piece = Growing::default();
        piece.push(tag.as_bytes());
        piece.push(b" ");
        for part in &self.parts {
            match part {
                Part::Text(text) => piece.push(text),
                Part::String(octets) if is_quotable(octets, utf8) => {
                    piece.push(b"\"");
                    for octet in octets.iter() {
                        if matches!(octet, b'"' | b'\\') {
                            piece.push(b"\\");
                        }
                        piece.push(&[*octet]);
                    }
                    piece.push(b"\"");
                }
                Part::String(octets) => {
                    let unasked = octets.len() <= unasked;
                    let sign = if unasked { "+" } else { "" };
                    piece.push(format!("{{{}{sign}}}\r\n", octets.len()).as_bytes());
                    if !unasked {
                        pieces.push_back(std::mem::take(&mut piece).0);
                    }
                    piece.push(octets);
                }
            }
        }
        piece.push(b"\r\n");
        pieces.push_back(piece.0);
        pieces
    }
}

/// Not shown: it may be a login.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command(..)")
    }
}

/// A buffer that leaves no copy behind when it grows.
#[derive(Default)]
struct Growing(Zeroizing<Vec<u8>>);

impl Growing {
    fn push(&mut self, octets: &[u8]) {
        let needed = self.0.len() + octets.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two().max(64)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(octets);
    }
}

fn is_quotable(octets: &[u8], utf8: bool) -> bool {
    let fits = |octet: &u8| matches!(octet, b' '..=b'~') || (utf8 && *octet >= 128);
    octets.len() <= 1000
        && octets.iter().all(fits)
        && (octets.is_ascii() || std::str::from_utf8(octets).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(command: &Command, unasked: usize, utf8: bool) -> Vec<String> {
        let pieces = command.write("a1", unasked, utf8);
        pieces.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
    }

    #[test]
    fn strings_are_written_as_they_can_be() {
        let command = |octets: &[u8]| Command::new("EXAMINE ").string(octets).text(" (CONDSTORE)");
        assert_eq!(written(&command(b"a \"\\b"), 0, false), ["a1 EXAMINE \"a \\\"\\\\b\" (CONDSTORE)\r\n"]);
        assert_eq!(written(&command(b""), 0, false), ["a1 EXAMINE \"\" (CONDSTORE)\r\n"]);
        assert_eq!(written(&command("é".as_bytes()), 0, true), ["a1 EXAMINE \"é\" (CONDSTORE)\r\n"]);
        assert_eq!(
            written(&command("é".as_bytes()), 0, false),
            ["a1 EXAMINE {2}\r\n", "é (CONDSTORE)\r\n"],
            "the server is asked first"
        );
        assert_eq!(written(&command(b"a\r\nb"), 4, true), ["a1 EXAMINE {4+}\r\na\r\nb (CONDSTORE)\r\n"]);
        assert_eq!(written(&command(&[b'x'; 2000]), 4096, true).len(), 1);
    }

    #[test]
    fn a_command_does_not_show_what_it_holds() {
        assert!(!format!("{:?}", Command::new("LOGIN x ").string(b"geheim")).contains("geheim"));
    }
}
