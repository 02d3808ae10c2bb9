//! Base64 (RFC 4648 §4) as it arrives, in pieces of any size.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// It is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not base64")]
pub(super) struct BadBase64;

/// Decodes; blanks and line ends are passed over, nothing else is.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// Characters that wait for a group of four to be full.
    waiting: Vec<u8>,
    /// Padding has come: nothing may follow.
    ended: bool,
}

impl Base64 {
    /// Puts what `text` makes whole into `decoded`.
    pub(super) fn decode(&mut self, text: &[u8], decoded: &mut Vec<u8>) -> Result<(), BadBase64> {
        let mut rest = text;
        while let Some(at) = memchr::memchr3(b'\n', b'\r', b' ', rest) {
            let (line, behind) = rest.split_at(at);
            self.line(line, decoded)?;
            rest = behind.get(1..).unwrap_or_default();
        }
        self.line(rest, decoded)
    }

    fn line(&mut self, mut text: &[u8], decoded: &mut Vec<u8>) -> Result<(), BadBase64> {
        if text.is_empty() {
            return Ok(());
        }
        if self.ended {
            return Err(BadBase64);
        }
        if !self.waiting.is_empty() {
            let (first, behind) = text.split_at(text.len().min(4 - self.waiting.len()));
            self.waiting.extend_from_slice(first);
            text = behind;
            if self.waiting.len() < 4 {
                return Ok(());
            }
            let group = std::mem::take(&mut self.waiting);
            self.groups(&group, decoded)?;
        }
        let (groups, behind) = text.split_at(text.len() / 4 * 4);
        self.waiting.extend_from_slice(behind);
        if groups.is_empty() {
            return if self.ended && !behind.is_empty() { Err(BadBase64) } else { Ok(()) };
        }
        self.groups(groups, decoded)?;
        if self.ended && !behind.is_empty() { Err(BadBase64) } else { Ok(()) }
    }

    fn groups(&mut self, groups: &[u8], decoded: &mut Vec<u8>) -> Result<(), BadBase64> {
        if groups.is_empty() {
            return Ok(());
        }
        if self.ended {
            return Err(BadBase64);
        }
        self.ended = groups.ends_with(b"=");
        STANDARD.decode_vec(groups, decoded).map_err(|_| BadBase64)
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self) -> Result<(), BadBase64> {
        if std::mem::take(self).waiting.is_empty() { Ok(()) } else { Err(BadBase64) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &[u8], width: usize) -> Result<Vec<u8>, BadBase64> {
        let (mut base64, mut decoded) = (Base64::default(), Vec::new());
        text.chunks(width).try_for_each(|piece| base64.decode(piece, &mut decoded))?;
        base64.finish().map(|()| decoded)
    }

    #[test]
    fn what_is_none_is_refused() {
        assert_eq!(decode(b"QUJ\r\nD", 2), Ok(b"ABC".to_vec()));
        for text in ["QUJDQ", "QUJ", "Q===", "QQ==QUJD", "QQ==Q", "QU!D", "QUJD\u{e4}aaa", "="] {
            for width in [1, 3, 100] {
                assert_eq!(decode(text.as_bytes(), width), Err(BadBase64), "{text} {width}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_octets_survive_in_any_pieces(octets: Vec<u8>, width in 1..40_usize) {
            prop_assert_eq!(decode(STANDARD.encode(&octets).as_bytes(), width), Ok(octets));
        }
    }
}
