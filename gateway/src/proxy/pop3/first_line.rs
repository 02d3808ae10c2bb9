//! The first line of a response, which is bounded both ways.

use std::borrow::Cow;

use postern_shared::proto::pop3::RESPONSE_OCTETS_MAX;

/// The longest that is taken from a server.
pub(super) const LINE_OCTETS_MAX: usize = 2048;

/// Where the first line of a response ends, when that is there and not too far.
pub(super) fn line_end(input: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', &input[..input.len().min(LINE_OCTETS_MAX)])
}

/// What of a first line the client gets: as much as its buffer must hold (RFC 2449 §4).
pub(super) fn passed(line: &[u8]) -> Cow<'_, [u8]> {
    if line.len() <= RESPONSE_OCTETS_MAX {
        return line.into();
    }
    let kept = &line[..RESPONSE_OCTETS_MAX - 2];
    // Not amid a character of UTF-8, as far as it is that.
    let whole = std::str::from_utf8(kept).err().filter(|error| error.error_len().is_none());
    [&kept[..whole.map_or(kept.len(), |error| error.valid_up_to())], b"\r\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_whole_characters_and_an_end() {
        let line = |text: &[u8]| [text, b"\r\n"].concat();
        let longest = line(&[b'x'; 510]);
        assert_eq!(*passed(&longest), longest);
        assert_eq!(*passed(&line(&[b'x'; 511])), longest);
        assert_eq!(*passed(&line(&[b'\xff'; 900])), line(&[b'\xff'; 510]), "whatever it is");
        let cut = passed(&line(&[&[b'x'; 509][..], "ü".as_bytes()].concat())).into_owned();
        assert_eq!(cut, line(&[b'x'; 509]));
    }

    #[test]
    fn an_end_that_is_too_far_is_none() {
        let mut line = [b'x'; LINE_OCTETS_MAX + 1];
        assert_eq!(line_end(&line), None);
        line[LINE_OCTETS_MAX] = b'\n';
        assert_eq!(line_end(&line), None);
        line[LINE_OCTETS_MAX - 1] = b'\n';
        assert_eq!(line_end(&line), Some(LINE_OCTETS_MAX - 1));
    }
}
