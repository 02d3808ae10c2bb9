//! Text and pages.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::{Stop, Text};

/// Where a page says its encoding.
const HEAD_BYTES: usize = 1024;

pub(super) fn read(octets: &[u8], text: &mut Text) -> Result<(), Stop> {
    let (decoded, ..) = encoding(octets, None).decode(octets);
    text.push(&decoded)
}

pub(super) fn read_html(octets: &[u8], text: &mut Text) -> Result<(), Stop> {
    let (decoded, ..) = encoding(octets, declared(octets)).decode(octets);
    text.push(&mail_parser::decoders::html::html_to_text(&decoded))
}

/// The encoding by its mark, by what is said, or by what it can be.
fn encoding(octets: &[u8], said: Option<&'static Encoding>) -> &'static Encoding {
    if let Some((marked, _)) = Encoding::for_bom(octets) {
        return marked;
    }
    if std::str::from_utf8(octets).is_ok() {
        return UTF_8;
    }
    if let Some(said) = said {
        return said;
    }
    // Latin text in UTF-16 has a zero in every second octet.
    let start = &octets[..octets.len().min(HEAD_BYTES)];
    let zeros = |first: usize| start.iter().skip(first).step_by(2).filter(|octet| **octet == 0).count();
    match start.len() / 4 {
        quarter if quarter > 0 && zeros(1) > quarter => UTF_16LE,
        quarter if quarter > 0 && zeros(0) > quarter => UTF_16BE,
        _ => WINDOWS_1252,
    }
}

/// `<meta charset=…>`, or the same within `content`.
fn declared(octets: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&octets[..octets.len().min(HEAD_BYTES)]).to_ascii_lowercase();
    let (_, behind) = head.split_once("charset=")?;
    let label: String = behind
        .trim_start_matches(['"', '\''])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "-_:".contains(*c))
        .collect();
    Encoding::for_label(label.as_bytes())
}
