//! What the index has of a message: the fields that are looked up, and what is shown of a hit.
//!
//! Whose mail it is decides who finds it by what. Bcc and folders are looked up with the archive that they concern before
//! them, so that nobody finds by them what only another one may know:
//!
//! | looked up | who finds it |
//! |---|---|
//! | `word` | who searches all archives |
//! | `anna␟word` | who searches anna's archive |

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tantivy::TantivyDocument;
use tantivy::schema::{
    BytesOptions, FAST, Field as IndexField, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing,
    TextOptions,
};
use tantivy::tokenizer::{PreTokenizedString, Token, TokenStream};

use super::parse::Field;
use super::words::WordStream;
use crate::archive::message::{AttachmentText, IndexFields, Placement};
use postern_shared::id::MessageId;

/// The tokenizer's name in the schema.
pub(super) const TOKENIZER: &str = "words";
/// What is kept of a body and of all attachments to show the place of a hit; past it a hit is told without its place.
const BODY_SHOWN_MAX: usize = 64 * 1024;
const ATTACHMENT_SHOWN_MAX: usize = 32 * 1024;
const ATTACHMENTS_SHOWN_MAX: usize = 256 * 1024;
/// Between an archive's id, which has no such character, and a word.
const DIVIDER: char = '\u{1f}';
/// Recipients that are kept to be shown.
const BCC_SHOWN_MAX: usize = 200;
/// Words of bcc or folders of one message.
const SCOPED_WORDS_MAX: usize = 20_000;
/// Between two names, so that no phrase goes from one to the next.
const GAP: usize = 2;

/// The index's fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) seq: IndexField,
    pub(super) date: IndexField,
    pub(super) size: IndexField,
    /// The id's upper and lower half.
    pub(super) id: [IndexField; 2],
    /// Our id and the Message-ID, whole.
    pub(super) ids: IndexField,
    pub(super) archive: IndexField,
    pub(super) has_attachment: IndexField,
    pub(super) text_missing: IndexField,
    text: [IndexField; 9],
    /// What is shown: [`Shown`] as JSON.
    pub(super) shown: IndexField,
}

impl Fields {
    pub(super) fn of(&self, field: Field) -> IndexField {
        let at = Field::ALL.iter().position(|other| *other == field).unwrap_or(0);
        self.text[at]
    }
}

pub(super) fn schema() -> (Schema, Fields) {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let text = TextOptions::default().set_indexing_options(indexing);
    let mut builder = Schema::builder();
    let fields = Fields {
        seq: builder.add_u64_field("seq", INDEXED | FAST),
        date: builder.add_i64_field("date", FAST),
        size: builder.add_u64_field("size", FAST),
        id: ["id_upper", "id_lower"].map(|name| builder.add_u64_field(name, FAST)),
        ids: builder.add_text_field("id", STRING),
        archive: builder.add_text_field("archive", STRING),
        has_attachment: builder.add_bool_field("has_attachment", INDEXED),
        text_missing: builder.add_bool_field("text_missing", INDEXED),
        text: Field::ALL.map(|field| builder.add_text_field(field.name(), text.clone())),
        shown: builder.add_bytes_field("shown", BytesOptions::default().set_stored()),
    };
    (builder.build(), fields)
}

/// A message to be indexed, in place of what was indexed for its number before.
#[derive(Debug)]
pub(in crate::archive) struct Document {
    pub(in crate::archive) seq: u64,
    pub(in crate::archive) id: MessageId,
    /// Seconds since 1970: the message's date, or when it was captured.
    pub(in crate::archive) date: i64,
    /// Octets.
    pub(in crate::archive) size: u64,
    pub(in crate::archive) filed_in: Vec<Placement>,
    /// Who received it without being named in it.
    pub(in crate::archive) bcc: Vec<Hidden>,
    pub(in crate::archive) fields: IndexFields,
}

/// Somebody whom only some may know to have received a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::archive) struct Hidden {
    pub(in crate::archive) address: String,
    /// The archives whose owners may know: the recipient's own, and the senders'.
    pub(in crate::archive) known_to: BTreeSet<String>,
}

/// What is kept to show the place of a hit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::archive) struct Shown {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) cc: String,
    pub(super) subject: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) bcc: Vec<Hidden>,
    pub(super) body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) attachments: Vec<ShownAttachment>,
}

/// An attachment of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShownAttachment {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) text: String,
    /// Why its text cannot be searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<String>,
}

impl Shown {
    /// Attachments whose text is missing, and why.
    pub(in crate::archive) fn missing(&self) -> Vec<(String, String)> {
        let own = self.missing.iter().map(|why| (String::new(), why.clone()));
        let attached = self.attachments.iter();
        own.chain(attached.filter_map(|attached| Some((attached.name.clone(), attached.missing.clone()?))))
            .collect()
    }
}

/// What tantivy is given.
pub(super) fn document(document: Document, fields: &Fields) -> TantivyDocument {
    let mut out = TantivyDocument::default();
    let Document { seq, id, date, size, filed_in, bcc, fields: mut found } = document;
    out.add_u64(fields.seq, seq);
    out.add_i64(fields.date, date);
    out.add_u64(fields.size, size);
    let [upper, lower] = halves(id);
    out.add_u64(fields.id[0], upper);
    out.add_u64(fields.id[1], lower);
    out.add_text(fields.ids, id.to_string());
    if !found.message_id.is_empty() {
        out.add_text(fields.ids, found.message_id.trim_matches(['<', '>']));
    }
    let archives: BTreeSet<&str> = filed_in.iter().map(|placement| placement.archive.as_str()).collect();
    for archive in archives {
        out.add_text(fields.archive, archive);
    }
    out.add_bool(fields.has_attachment, !found.attachments.is_empty());
    for (field, text) in [
        (Field::From, &found.from),
        (Field::To, &found.to),
        (Field::Cc, &found.cc),
        (Field::Subject, &found.subject),
        (Field::Body, &found.body),
    ] {
        if !text.is_empty() {
            out.add_text(fields.of(field), text);
        }
    }
    let folders =
        filed_in.iter().map(|placement| (placement.folder.as_str(), vec![placement.archive.as_str()]));
    let (folders, all_folders) = scoped(folders);
    let known = bcc.iter().map(|hidden| {
        (hidden.address.as_str(), hidden.known_to.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let (known, all_known) = scoped(known);
    if !all_folders || !all_known {
        let why = format!("folders or hidden recipients, past {SCOPED_WORDS_MAX} words");
        found.missing = Some(found.missing.map_or_else(|| why.clone(), |before| format!("{before}; {why}")));
    }
    let mut text_missing = found.missing.is_some();
    for attachment in &found.attachments {
        if !attachment.name.is_empty() {
            out.add_text(fields.of(Field::Filename), &attachment.name);
        }
        match &attachment.text {
            AttachmentText::Text(text) => out.add_text(fields.of(Field::Attachment), text),
            AttachmentText::Part(text, _) => {
                out.add_text(fields.of(Field::Attachment), text);
                text_missing = true;
            }
            AttachmentText::Missing(_) => text_missing = true,
            AttachmentText::None | AttachmentText::Document(_) => {}
        }
    }
    out.add_bool(fields.text_missing, text_missing);
    out.add_pre_tokenized_text(fields.of(Field::Folder), folders);
    if !bcc.is_empty() {
        out.add_pre_tokenized_text(fields.of(Field::Bcc), known);
    }
    // Nothing but strings is in it.
    out.add_bytes(fields.shown, &serde_json::to_vec(&shown(found, bcc)).unwrap_or_default());
    out
}

/// An id as two numbers in the same order.
pub(in crate::archive) fn halves(id: MessageId) -> [u64; 2] {
    let octets = id.to_bytes();
    let (upper, lower) = octets.split_at(8);
    [upper, lower].map(|half| half.iter().fold(0, |number, octet| number << 8 | u64::from(*octet)))
}

/// Words for everybody's searches, and for those in each archive; and whether those are all.
fn scoped<'a>(texts: impl Iterator<Item = (&'a str, Vec<&'a str>)>) -> (PreTokenizedString, bool) {
    let mut tokens: Vec<Token> = Vec::new();
    let mut all = true;
    let mut position = 0;
    for (text, archives) in texts {
        for archive in std::iter::once(None).chain(archives.into_iter().map(Some)) {
            let mut words = WordStream::new(text);
            while words.advance() {
                if tokens.len() >= SCOPED_WORDS_MAX {
                    all = false;
                    break;
                }
                let text = scoped_word(archive, &words.token().text);
                tokens.push(Token { position, text, ..Token::default() });
                position += 1;
            }
            position += GAP;
        }
    }
    (PreTokenizedString { text: String::new(), tokens }, all)
}

/// A word of bcc or folders as it is looked up in an archive, or in all.
pub(super) fn scoped_word(archive: Option<&str>, word: &str) -> String {
    archive.map_or_else(|| word.to_owned(), |archive| format!("{archive}{DIVIDER}{word}"))
}

fn shown(found: IndexFields, mut bcc: Vec<Hidden>) -> Shown {
    let mut room = ATTACHMENTS_SHOWN_MAX;
    let attachments = found.attachments.into_iter().map(|attachment| {
        let (text, missing) = match attachment.text {
            AttachmentText::Text(text) => (cut(text, room.min(ATTACHMENT_SHOWN_MAX)), None),
            AttachmentText::Part(text, why) => (cut(text, room.min(ATTACHMENT_SHOWN_MAX)), Some(why)),
            AttachmentText::Missing(why) => (String::new(), Some(why)),
            AttachmentText::None | AttachmentText::Document(_) => (String::new(), None),
        };
        room -= text.len();
        ShownAttachment { name: attachment.name, text, missing }
    });
    bcc.truncate(BCC_SHOWN_MAX);
    Shown {
        from: found.from,
        to: found.to,
        cc: found.cc,
        subject: found.subject,
        bcc,
        attachments: attachments.collect(),
        missing: found.missing,
        body: cut(found.body, BODY_SHOWN_MAX),
    }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_past_their_bound_are_told() {
        let (few, all) = scoped([("Journal/Incoming", vec!["anna"])].into_iter());
        assert!(all && few.tokens.len() == 4);
        let many: Vec<String> = (0..SCOPED_WORDS_MAX).map(|n| format!("folder{n}")).collect();
        let (some, all) = scoped(many.iter().map(|name| (name.as_str(), vec!["anna"])));
        assert!(!all && some.tokens.len() == SCOPED_WORDS_MAX);
    }
}
