//! OOXML (ECMA-376) and OpenDocument (ISO/IEC 26300): the text of their XML, without its formatting.

use std::io::{BufReader, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::container::{Archive, inflated, names, with_file};
use super::{Stop, Text, read_within};

/// Parts of a word processor's document that hold no text of its author's.
const FORMATTING: &[&str] =
    &["styles", "settings", "fontTable", "numbering", "webSettings", "theme", "people"];

pub(super) fn read_ooxml(archive: &mut Archive<'_>, text: &mut Text) -> Result<(), Stop> {
    let parts = names(archive, |name| is_text_part(name) || name.contains("/embeddings/"));
    for (at, name) in parts {
        let done = if name.contains("/embeddings/") {
            inflated(archive, at, text).map(|inner| read_within(&name, &inner, text))
        } else {
            with_file(archive, at, text, |file, text| read_xml(file, Dialect::Ooxml, text))
        };
        // A part that is broken takes no other with it.
        if let Err(stop) = done {
            full(&stop, text)?;
            text.miss(&format!("{name}: {}", stop.0));
        }
        text.divide('\n')?;
    }
    Ok(())
}

/// When nothing more fits, the rest need not be read.
fn full(stop: &Stop, text: &Text) -> Result<(), Stop> {
    match text.out.len() >= super::TEXT_BYTES_MAX - 4 || text.inflated_left == 0 {
        true => Err(Stop::new(stop.0.clone())),
        false => Ok(()),
    }
}

fn is_text_part(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".xml") else { return false };
    if let Some(part) = stem.strip_prefix("word/") {
        return !part.contains('/') && !FORMATTING.iter().any(|formatting| part.starts_with(formatting));
    }
    if let Some(part) = stem.strip_prefix("xl/") {
        return [
            "sharedStrings",
            "worksheets/sheet",
            "comments",
            "charts/chart",
            "drawings/drawing",
            "threadedComments/",
        ]
        .iter()
        .any(|text| part.starts_with(text));
    }
    if let Some(part) = stem.strip_prefix("ppt/") {
        return ["slides/slide", "notesSlides/notesSlide", "comments/", "diagrams/data", "charts/chart"]
            .iter()
            .any(|text| part.starts_with(text));
    }
    stem == "docProps/core" || stem.starts_with("word/diagrams/data") || stem.starts_with("word/charts/chart")
}

pub(super) fn read_opendocument(archive: &mut Archive<'_>, text: &mut Text) -> Result<(), Stop> {
    for (at, _) in names(archive, |name| ["content.xml", "meta.xml", "styles.xml"].contains(&name)) {
        with_file(archive, at, text, |file, text| read_xml(file, Dialect::OpenDocument, text))?;
        text.divide('\n')?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Text stands in certain elements only.
    Ooxml,
    /// Text is text, in paragraphs and headings.
    OpenDocument,
}

impl Dialect {
    /// Whether text directly in this element is the author's.
    fn has_text(self, element: &BytesStart<'_>) -> bool {
        match (self, element.local_name().into_inner()) {
            (Self::Ooxml, "t" | "delText" | "text") => true,
            // A number, unless it is the number of a shared string.
            (Self::Ooxml, "v") => true,
            (Self::Ooxml, "title" | "subject" | "creator" | "keywords" | "description") => true,
            (Self::Ooxml, _) => false,
            (Self::OpenDocument, "p" | "h" | "title" | "subject" | "creator" | "keyword" | "description") => {
                true
            }
            (Self::OpenDocument, _) => false,
        }
    }

    /// What ends a line, and what ends a word.
    fn divider(self, name: &str) -> Option<char> {
        match (self, name) {
            (
                _,
                "p" | "h" | "tr" | "row" | "table-row" | "si" | "br" | "line-break" | "title" | "comment",
            ) => Some('\n'),
            (_, "tab" | "s" | "c" | "tc" | "table-cell" | "cr" | "v" | "pt" | "subject" | "creator") => {
                Some(' ')
            }
            _ => None,
        }
    }
}

/// Entities but XML's own and character references are passed over: nothing is expanded.
fn read_xml(file: &mut dyn Read, dialect: Dialect, text: &mut Text) -> Result<(), Stop> {
    let mut reader = Reader::from_reader(BufReader::new(file));
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut buffer = Vec::new();
    // How deep we are in text, in elements within it, and whether a cell's value is the number of a string.
    let (mut inside, mut shared) = (0usize, false);
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer);
        match event.map_err(|error| Stop::new(xml_error(&error)))? {
            Event::Start(element) => {
                let name = element.local_name();
                if name.into_inner() == "c" {
                    let kind = element.try_get_attribute("t").ok().flatten();
                    shared = kind.is_some_and(|kind| &*kind.value == "s");
                }
                let is_number = shared && element.local_name().into_inner() == "v";
                if (inside > 0 && dialect == Dialect::OpenDocument)
                    || (dialect.has_text(&element) && !is_number)
                {
                    inside += 1;
                }
            }
            Event::Empty(element) => {
                if let Some(divider) = dialect.divider(element.local_name().into_inner()) {
                    text.divide(divider)?;
                }
            }
            Event::End(element) => {
                inside = inside.saturating_sub(1);
                if let Some(divider) = dialect.divider(element.local_name().into_inner()) {
                    text.divide(divider)?;
                }
            }
            Event::Text(found) if inside > 0 => text.push(&found)?,
            Event::CData(found) if inside > 0 => text.push(&found)?,
            Event::GeneralRef(reference) if inside > 0 => push_reference(&reference, text)?,
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// A character that is written as a reference.
fn push_reference(reference: &BytesRef<'_>, text: &mut Text) -> Result<(), Stop> {
    let character = match &**reference {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().ok().flatten(),
    };
    character.map_or(Ok(()), |character| text.push(character.encode_utf8(&mut [0; 4])))
}

fn xml_error(error: &quick_xml::Error) -> String {
    match error {
        quick_xml::Error::Io(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            "more comes out of it than is read".into()
        }
        _ => "its XML is broken".into(),
    }
}
