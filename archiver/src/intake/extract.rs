//! What a message is found by: header fields, text, attached files.

use mail_parser::{Address, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use postern_shared::proto::mime::journal::{Unwrapped, unwrap};

use crate::archive::{Attachment, AttachmentText, IndexFields};
use crate::documents::Format;

/// Text past this is not indexed.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const ATTACHMENT_BYTES_MAX: usize = 1024 * 1024;
const FIELD_BYTES_MAX: usize = 64 * 1024;
const ATTACHMENTS_MAX: usize = 500;
/// Octets of a document; a longer one is not read.
const DOCUMENT_BYTES_MAX: usize = 25 * 1024 * 1024;
/// Messages within messages.
const DEPTH_MAX: usize = 8;
/// A message longer than this is parsed in its first part only: text comes before attachments.
const PARSED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The fields of a message. When it came in a journal report with a decrypted copy of it, the copy's.
pub fn index_fields(content: &[u8], report: Option<&[u8]>) -> IndexFields {
    fields(content, report, false)
}

/// The same, with the octets of attached documents, for whoever makes text of them.
pub fn index_fields_with_documents(content: &[u8], report: Option<&[u8]>) -> IndexFields {
    fields(content, report, true)
}

/// The text of a message that is attached as a file, and its own attached documents.
pub fn attached_message(content: &[u8]) -> Option<(String, Vec<Attachment>)> {
    let message = MessageParser::default().parse(&content[..content.len().min(PARSED_BYTES_MAX)])?;
    let mut attachments = Attachments { found: Vec::new(), with_documents: true };
    let text = attachments.message(&message, 1);
    Some((text, attachments.found))
}

fn fields(content: &[u8], report: Option<&[u8]>, with_documents: bool) -> IndexFields {
    if let Some(report) = report
        && let Unwrapped::Report(found) = unwrap(report)
        && let Some(clear) = &found.clear_copy
    {
        return parsed(clear.bytes(report), with_documents);
    }
    parsed(content, with_documents)
}

fn parsed(content: &[u8], with_documents: bool) -> IndexFields {
    let start = &content[..content.len().min(PARSED_BYTES_MAX)];
    let Some(message) = MessageParser::default().parse(start) else { return IndexFields::default() };
    let mut attachments = Attachments { found: Vec::new(), with_documents };
    let (body, whole) = body(&message);
    attachments.of(&message, 0);
    let mut missing = Vec::new();
    if content.len() >= PARSED_BYTES_MAX {
        missing.push(format!("what follows the first {} MB of the message", PARSED_BYTES_MAX >> 20));
    }
    if !whole {
        missing.push(format!("what follows the first {} MB of its text", BODY_BYTES_MAX >> 20));
    }
    IndexFields {
        date: message.date().map(mail_parser::DateTime::to_timestamp),
        from: addresses(message.from()),
        to: addresses(message.to()),
        cc: addresses(message.cc()),
        subject: bounded(message.subject().unwrap_or_default()),
        message_id: bounded(message.message_id().unwrap_or_default()),
        body,
        missing: (!missing.is_empty()).then(|| missing.join("; ")),
        attachments: attachments.found,
    }
}

/// The text of a message without its attachments, and whether that is all of it.
fn body(message: &Message<'_>) -> (String, bool) {
    let mut body = String::new();
    let mut whole = true;
    for (id, part) in (0u32..).zip(&message.parts) {
        if message.attachments.contains(&id) {
            continue;
        }
        match &part.body {
            PartType::Text(text) => whole &= append(&mut body, text),
            PartType::Html(html) => {
                let text = mail_parser::decoders::html::html_to_text(html);
                // Most are the same once more, and would only say everything twice.
                if !same_words(&body, &text) {
                    whole &= append(&mut body, &text);
                }
            }
            _ => {}
        }
    }
    (body, whole)
}

/// Whether both have the same letters and digits, whatever stands between them.
fn same_words(one: &str, other: &str) -> bool {
    let mut one = one.chars().filter(|c| c.is_alphanumeric());
    let mut other = other.chars().filter(|c| c.is_alphanumeric());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (a, b) if a == b => {}
            _ => return false,
        }
    }
}

struct Attachments {
    found: Vec<Attachment>,
    with_documents: bool,
}

impl Attachments {
    fn of(&mut self, message: &Message<'_>, depth: usize) {
        for part in message.attachments() {
            if self.found.len() >= ATTACHMENTS_MAX {
                return;
            }
            let name = bounded(part.attachment_name().unwrap_or_default());
            match &part.body {
                PartType::Message(nested) if depth < DEPTH_MAX => {
                    let name = match name.is_empty() {
                        true => bounded(nested.subject().unwrap_or_default()),
                        false => name,
                    };
                    let at = self.found.len();
                    self.found.push(Attachment { name, text: AttachmentText::None });
                    let text = self.message(nested, depth + 1);
                    self.found[at].text = AttachmentText::Text(text);
                }
                PartType::Message(_) => {
                    let why = format!("messages within messages, more than {DEPTH_MAX}").into();
                    self.found.push(Attachment { name, text: AttachmentText::Missing(why) });
                }
                _ => {
                    let text = self.text(part, &name);
                    self.found.push(Attachment { name, text });
                }
            }
        }
    }

    /// The text of a message within another one; its attachments become the outer one's.
    fn message(&mut self, message: &Message<'_>, depth: usize) -> String {
        let head = [addresses(message.from()), addresses(message.to()), addresses(message.cc())];
        let mut text = format!("{}\n{}", message.subject().unwrap_or_default(), head.join("\n"));
        text.push('\n');
        text.push_str(&body(message).0);
        text.truncate(text.floor_char_boundary(ATTACHMENT_BYTES_MAX));
        self.of(message, depth);
        text
    }

    fn text(&self, part: &MessagePart<'_>, name: &str) -> AttachmentText {
        let text = match &part.body {
            PartType::Text(text) => text.to_string(),
            PartType::Html(html) => mail_parser::decoders::html::html_to_text(html),
            PartType::Binary(octets) | PartType::InlineBinary(octets) => {
                return self.document(part, name, octets);
            }
            PartType::Message(_) | PartType::Multipart(_) => return AttachmentText::None,
        };
        match text.len() > ATTACHMENT_BYTES_MAX {
            true => AttachmentText::Part(cut(&text, ATTACHMENT_BYTES_MAX).to_owned(), cut_why()),
            false => AttachmentText::Text(text),
        }
    }

    fn document(&self, part: &MessagePart<'_>, name: &str, octets: &[u8]) -> AttachmentText {
        let media_type = part.content_type().map(|found| match found.subtype() {
            Some(subtype) => format!("{}/{subtype}", found.ctype()).to_ascii_lowercase(),
            None => found.ctype().to_ascii_lowercase(),
        });
        match Format::of(name, media_type.as_deref().unwrap_or_default(), octets) {
            Ok(None) => AttachmentText::None,
            Err(why) => AttachmentText::Missing(why.into()),
            Ok(Some(_)) if octets.len() > DOCUMENT_BYTES_MAX => {
                AttachmentText::Missing(format!("it is longer than {} MB", DOCUMENT_BYTES_MAX >> 20))
            }
            Ok(Some(_)) => AttachmentText::Document(self.with_documents.then(|| octets.to_vec())),
        }
    }
}

fn cut_why() -> String {
    format!("what follows the first {} MB of its text", ATTACHMENT_BYTES_MAX >> 20)
}

/// Appends text; whether all of it fit.
fn append(body: &mut String, text: &str) -> bool {
    let room = BODY_BYTES_MAX.saturating_sub(body.len());
    if !body.is_empty() && room > 0 {
        body.push('\n');
    }
    let fits = cut(text, room.saturating_sub(1));
    body.push_str(fits);
    fits.len() == text.len()
}

fn bounded(text: &str) -> String {
    cut(text, FIELD_BYTES_MAX).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most `bytes_max` octets of `text`, at a character's border.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// `Anna <anna@example.com>, bob@example.com`
fn addresses(list: Option<&Address<'_>>) -> String {
    let mut out = String::new();
    for address in list.into_iter().flat_map(Address::iter) {
        if out.len() > FIELD_BYTES_MAX {
            break;
        }
        let (name, mailbox) = (address.name().unwrap_or_default(), address.address().unwrap_or_default());
        if !out.is_empty() {
            out.push_str(", ");
        }
        match (name.is_empty(), mailbox.is_empty()) {
            (false, false) => out.push_str(&format!("{name} <{mailbox}>")),
            _ => out.push_str(if mailbox.is_empty() { name } else { mailbox }),
        }
    }
    bounded(&out)
}
