//! Mailbox names in modified UTF-7 (RFC 3501 §5.1.3): `Entw&APw-rfe` is "Entwürfe".
//!
//! A name that is not what it should be stays as it came, so that it can be asked for again and no folder is lost.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// The name in UTF-8; `None` when it is no modified UTF-7.
pub fn decode(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((plain, shifted)) = rest.split_once('&') {
        out.push_str(plain);
        let (shifted, behind) = shifted.split_once('-')?;
        if shifted.is_empty() {
            out.push('&');
        } else {
            let octets = ENGINE.decode(shifted).ok()?;
            if !octets.len().is_multiple_of(2) {
                return None;
            }
            let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            for char in char::decode_utf16(units) {
                out.push(char.ok()?);
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}

/// The name in modified UTF-7.
pub fn encode(name: &str) -> String {
    let is_plain = |char: &char| (' '..='~').contains(char);
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(char) = chars.next() {
        if char == '&' {
            out.push_str("&-");
        } else if is_plain(&char) {
            out.push(char);
        } else {
            let mut octets = Vec::new();
            let mut shifted = Some(char);
            while let Some(char) = shifted {
                let mut units = [0; 2];
                octets.extend(char.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
                shifted = chars.next_if(|char| !is_plain(char));
            }
            out.push('&');
            out.push_str(&ENGINE.encode(octets));
            out.push('-');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_standards_examples_are_read_and_written() {
        for (name, text) in [
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("R&-D", "R&D"),
            ("&2D3cSw-", "👋"),
            ("", ""),
        ] {
            assert_eq!(decode(name).as_deref(), Some(text));
            assert_eq!(encode(text), name);
        }
    }

    #[test]
    fn what_is_no_utf_7_is_none() {
        for name in ["a&", "a&APw", "&AP-", "&!-", "&2D0-", "&A-"] {
            assert_eq!(decode(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "\\PC{0,40}") {
            prop_assert_eq!(decode(&encode(&text)), Some(text.clone()));
            prop_assert!(encode(&text).is_ascii());
        }

        #[test]
        fn any_text_is_read_or_not(text in "[&A-Z+,-]{0,30}") {
            let _ = decode(&text);
        }
    }
}
