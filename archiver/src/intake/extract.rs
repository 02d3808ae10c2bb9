//! What a message is found by: header fields, text, names of attachments.

use mail_parser::{Address, MessageParser, MimeHeaders, PartType};
use postern_shared::proto::mime::journal::{Unwrapped, unwrap};

use crate::archive::IndexFields;

/// Text past this is not indexed.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const FIELD_BYTES_MAX: usize = 64 * 1024;
const ATTACHMENTS_MAX: usize = 500;
/// A message longer than this is parsed in its first part only: text comes before attachments.
const PARSED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The fields of a message. When it came in a journal report with a decrypted copy of it, the copy's.
pub fn index_fields(content: &[u8], report: Option<&[u8]>) -> IndexFields {
    if let Some(report) = report
        && let Unwrapped::Report(found) = unwrap(report)
        && let Some(clear) = &found.clear_copy
    {
        return fields(clear.bytes(report));
    }
    fields(content)
}

fn fields(content: &[u8]) -> IndexFields {
    let content = &content[..content.len().min(PARSED_BYTES_MAX)];
    let Some(message) = MessageParser::default().parse(content) else { return IndexFields::default() };
    let mut body = String::new();
    for part in &message.parts {
        match &part.body {
            PartType::Text(text) => append(&mut body, text),
            PartType::Html(html) => append(&mut body, &mail_parser::decoders::html::html_to_text(html)),
            _ => {}
        }
    }
    let attachments: Vec<String> = message
        .attachments()
        .take(ATTACHMENTS_MAX)
        .map(|part| bounded(part.attachment_name().unwrap_or_default()))
        .collect();
    IndexFields {
        date: message.date().map(mail_parser::DateTime::to_timestamp),
        from: addresses(message.from()),
        to: addresses(message.to()),
        cc: addresses(message.cc()),
        subject: bounded(message.subject().unwrap_or_default()),
        message_id: bounded(message.message_id().unwrap_or_default()),
        body,
        has_attachment: !attachments.is_empty(),
        attachments: attachments.into_iter().filter(|name| !name.is_empty()).collect(),
    }
}

fn append(body: &mut String, text: &str) {
    let room = BODY_BYTES_MAX.saturating_sub(body.len());
    if !body.is_empty() && room > 0 {
        body.push('\n');
    }
    body.push_str(cut(text, room));
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
