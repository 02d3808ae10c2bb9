//! Recognising a report and cutting the original out of it.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use super::envelope::JournalEnvelope;
use crate::proto::mime::header::{Header, media_type, text};
use crate::proto::mime::multipart::{Part, parts};

/// How deep a report may lie in other messages.
const DEPTH_MAX: usize = 5;

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwrapped {
    /// No journal report: the message itself is what was sent.
    Plain,
    /// A journal report.
    Report(Box<Report>),
    /// It says it is a journal report and cannot be read as one.
    Malformed {
        /// What is missing.
        why: &'static str,
    },
}

/// A journal report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the journaling server knew.
    pub envelope: JournalEnvelope,
    /// The original.
    pub original: Original,
    /// Its decrypted copy, for rights-protected mail.
    pub clear_copy: Option<Original>,
}

/// A message inside another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Original {
    /// These octets of the outer message.
    Slice(Range<usize>),
    /// It was transfer-encoded.
    Decoded(Vec<u8>),
}

impl Original {
    /// Its octets.
    pub fn bytes<'m>(&'m self, message: &'m [u8]) -> &'m [u8] {
        match self {
            Self::Slice(range) => &message[range.clone()],
            Self::Decoded(bytes) => bytes,
        }
    }
}

/// Finds out what `message` is.
pub fn unwrap(message: &[u8]) -> Unwrapped {
    unwrap_at(message, 0..message.len(), 0).unwrap_or(Unwrapped::Plain)
}

fn unwrap_at(message: &[u8], entity: Range<usize>, depth: usize) -> Option<Unwrapped> {
    if depth > DEPTH_MAX {
        return None;
    }
    let header = Header::parse(&message[entity.clone()]);
    if is_report(&header) {
        return Some(unwrap_report(message, entity));
    }
    let content_type = header.first("Content-Type").map(media_type).unwrap_or_default();
    if content_type != "multipart/report" {
        return None;
    }
    let inner = parts(message, entity).into_iter().filter(|part| part.media_type() == "message/rfc822");
    inner.into_iter().find_map(|part| unwrap_at(message, part.body, depth + 1))
}

fn is_report(header: &Header) -> bool {
    let names = ["X-MS-Journal-Report", "X-MS-Exchange-Organization-Journal-Report"];
    let exchange_2003 = ["Content-Identifer", "Content-Identifier"];
    names.iter().any(|name| header.first(name).is_some())
        || exchange_2003
            .iter()
            .any(|name| header.first(name).is_some_and(|value| value.eq_ignore_ascii_case("ExJournalReport")))
}

fn unwrap_report(message: &[u8], entity: Range<usize>) -> Unwrapped {
    let parts = parts(message, entity);
    let Some(envelope) = parts.first().filter(|part| part.media_type() == "text/plain") else {
        return Unwrapped::Malformed { why: "the journal report has no envelope part" };
    };
    let envelope = JournalEnvelope::parse(&text(&decode(message, envelope)));
    if envelope.is_empty() {
        return Unwrapped::Malformed {
            why: "the journal report's envelope names neither sender nor recipient",
        };
    }
    let mut attached = parts[1..].iter().filter(|part| part.media_type() == "message/rfc822");
    let Some(original) = attached.next().map(|part| original(message, part)) else {
        return Unwrapped::Malformed { why: "the journal report has no message attached" };
    };
    let clear_copy = attached.next().map(|part| self::original(message, part));
    Unwrapped::Report(Box::new(Report { envelope, original, clear_copy }))
}

fn original(message: &[u8], part: &Part) -> Original {
    match decode(message, part) {
        Cow::Borrowed(_) => Original::Slice(part.body.clone()),
        Cow::Owned(bytes) => Original::Decoded(bytes),
    }
}

/// A part's body, its transfer encoding undone (RFC 2045 §6). What does not decode is left as it is.
fn decode<'m>(message: &'m [u8], part: &Part) -> Cow<'m, [u8]> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let body = &message[part.body.clone()];
    let decoded = match part.transfer_encoding().as_str() {
        "base64" => {
            let digits: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            LENIENT.decode(digits).ok()
        }
        "quoted-printable" => quoted_printable_decode(body),
        _ => None,
    };
    decoded.map_or(Cow::Borrowed(body), Cow::Owned)
}
