//! Names of files as text from which the octets can be made again: what is no UTF-8, and `%`, is written `%XX`.

use std::fmt::Write as _;

pub(super) fn text_of(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for octet in chunk.invalid() {
            // A text takes everything.
            let _ = write!(text, "%{octet:02X}");
        }
    }
    text
}

pub(super) fn octets_of(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%').and_then(|digits| hex::decode(digits).ok());
        match digits {
            Some(octet) => {
                octets.extend(octet);
                rest = &behind[2..];
            }
            None => {
                octets.push(*first);
                rest = behind;
            }
        }
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_octets_come_back() {
        for (octets, text) in [
            (&b"1.a"[..], "1.a"),
            (b"a%b", "a%25b"),
            (b"\xff\xfe/x", "%FF%FE/x"),
            ("Entwürfe".as_bytes(), "Entwürfe"),
            (b"\xc3", "%C3"),
        ] {
            assert_eq!(text_of(octets), text);
            assert_eq!(octets_of(text), octets);
        }
    }
}
