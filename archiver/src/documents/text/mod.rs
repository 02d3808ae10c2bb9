//! Formats to text. Everything here runs in the worker.

mod container;
mod office;
mod pdf;
mod plain;
mod rtf;

use std::collections::BTreeSet;

use super::Format;
use super::frames::TEXT_BYTES_MAX;
use crate::archive::{Attachment, AttachmentText};
use crate::intake::attached_message;

/// Documents within documents.
const DEPTH_MAX: usize = 4;
/// Octets that come out of one document's compressed parts, all together.
const INFLATED_MAX: u64 = 128 * 1024 * 1024;
/// Reasons that are told.
const REASONS_MAX: usize = 4;

/// Text as it is found, bounded.
#[derive(Debug)]
pub(super) struct Text {
    out: String,
    inflated_left: u64,
    depth: usize,
    missing: BTreeSet<String>,
}

impl Default for Text {
    fn default() -> Self {
        Self { out: String::new(), inflated_left: INFLATED_MAX, depth: 0, missing: BTreeSet::new() }
    }
}

/// Reading ends here: a bound is reached, or the document is broken. Why.
#[derive(Debug)]
pub(super) struct Stop(String);

impl Stop {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl Text {
    /// Adds text.
    fn push(&mut self, text: &str) -> Result<(), Stop> {
        let fits = &text[..text.floor_char_boundary(TEXT_BYTES_MAX.saturating_sub(self.out.len()))];
        self.out.push_str(fits);
        if fits.len() < text.len() {
            return Err(Stop::new(format!("what follows the first {} MB of its text", TEXT_BYTES_MAX >> 20)));
        }
        Ok(())
    }

    /// Ends a word or line, unless that is done.
    fn divide(&mut self, by: char) -> Result<(), Stop> {
        match self.out.chars().next_back() {
            None | Some('\n') => Ok(()),
            Some(' ' | '\t') if by == ' ' => Ok(()),
            _ => self.push(by.encode_utf8(&mut [0; 4])),
        }
    }

    /// Notes why something is missing.
    pub(super) fn miss(&mut self, why: &str) {
        if self.missing.len() < REASONS_MAX {
            self.missing.insert(why.to_owned());
        }
    }

    /// The text, and why it is not all.
    pub(super) fn finish(self) -> (String, String) {
        (self.out, self.missing.into_iter().collect::<Vec<_>>().join("; "))
    }
}

/// Reads the document `name`.
pub(super) fn read(name: &str, octets: &[u8], text: &mut Text) {
    match Format::of(name, "", octets) {
        Ok(format) => read_as(format.unwrap_or(Format::Plain), octets, text),
        Err(why) => text.miss(why),
    }
}

fn read_as(format: Format, octets: &[u8], text: &mut Text) {
    if text.depth >= DEPTH_MAX {
        text.miss("documents within documents, too many to follow");
        return;
    }
    text.depth += 1;
    let read = match format {
        Format::Plain => plain::read(octets, text),
        Format::Html => plain::read_html(octets, text),
        Format::Pdf => pdf::read(octets, text),
        Format::Zip => container::read(octets, text),
        Format::Rtf => rtf::read(octets, text),
        Format::Mail => read_mail(octets, text),
    };
    text.depth -= 1;
    if let Err(Stop(why)) = read {
        text.miss(&why);
    }
}

/// Reads a document within another one, when it is of a format that is read.
fn read_within(name: &str, octets: &[u8], text: &mut Text) {
    match Format::of(name, "", octets) {
        Ok(Some(format)) => read_as(format, octets, text),
        Ok(None) => {}
        Err(why) => text.miss(&format!("{name}: {why}")),
    }
}

fn read_mail(octets: &[u8], text: &mut Text) -> Result<(), Stop> {
    let (own, attachments, missing) =
        attached_message(octets).ok_or_else(|| Stop::new("it is no message"))?;
    missing.iter().for_each(|why| text.miss(why));
    text.push(&own)?;
    for Attachment { name, text: found } in attachments {
        text.divide('\n')?;
        text.push(&name)?;
        text.divide('\n')?;
        match found {
            AttachmentText::Text(found) => text.push(&found)?,
            AttachmentText::Part(found, why) => {
                text.push(&found)?;
                text.miss(&format!("{name}: {why}"));
            }
            AttachmentText::Document(octets) => read_within(&name, &octets.unwrap_or_default(), text),
            AttachmentText::Missing(why) => text.miss(&format!("{name}: {why}")),
            AttachmentText::None => {}
        }
    }
    Ok(())
}
