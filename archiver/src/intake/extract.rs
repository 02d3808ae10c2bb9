//! What a message is found by: header fields, text, attached files.
//!
//! Messages are cut into parts here, within bounds ([`Bounds`]); mail-parser reads single header fields (`proto::mime::fields`). Whatever
//! is over a bound is left out, and the message says so. Nothing is decoded that nobody looks for: of a picture, only its first octets.

use mail_parser::{Addr, Address, HeaderName, HeaderValue, Message, MimeHeaders as _};
use postern_shared::proto::mime::entity::Entity;
use postern_shared::proto::mime::fields::Fields;
use postern_shared::proto::mime::journal::{Unwrapped, unwrap};

use super::decode::{self, Encoded};
use crate::archive::{Attachment, AttachmentText, IndexFields};
use crate::documents::Format;

/// Text past this is not indexed.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const ATTACHMENT_BYTES_MAX: usize = 1024 * 1024;
/// Octets of a part that text is made of: markup is longer than its text.
const SOURCE_BYTES_MAX: usize = 8 * 1024 * 1024;
const FIELD_BYTES_MAX: usize = 64 * 1024;
/// Octets of a document; a longer one is not read.
const DOCUMENT_BYTES_MAX: usize = 25 * 1024 * 1024;
/// Octets that tell what a document is.
const SNIFFED_BYTES: usize = 4096;
/// A message longer than this is read in its first part only: text comes before attachments.
const READ_BYTES_MAX: usize = 32 * 1024 * 1024;

const OF_MESSAGES: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
];
const OF_PARTS: &[&str] = &["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"];

/// How much of a message is looked at.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Parts in all.
    parts: usize,
    /// Attached files that are listed.
    attachments: usize,
    /// Parts within parts.
    depth: usize,
    /// Messages within messages.
    messages: usize,
    /// Octets of attached messages that were encoded, in all.
    decoded: usize,
}

const BOUNDS: Bounds =
    Bounds { parts: 10_000, attachments: 500, depth: 20, messages: 8, decoded: READ_BYTES_MAX };

/// The fields of a message. When it came in a journal report with a decrypted copy of it, the copy's.
pub fn index_fields(content: &[u8], report: Option<&[u8]>) -> IndexFields {
    fields(content, report, false)
}

/// The same, with the octets of attached documents, for whoever makes text of them.
pub fn index_fields_with_documents(content: &[u8], report: Option<&[u8]>) -> IndexFields {
    fields(content, report, true)
}

/// The text of a message that is attached as a file, its own attached documents, and what of it is left out.
pub fn attached_message(content: &[u8]) -> Option<(String, Vec<Attachment>, Vec<String>)> {
    let start = &content[..content.len().min(READ_BYTES_MAX)];
    let mut reader = Reader::new(true);
    let text = reader.message(Entity::of(start), 0)?;
    if start.len() < content.len() {
        reader.miss(format!("what follows the first {} MB of the message", READ_BYTES_MAX >> 20));
    }
    Some((text, reader.attachments, reader.missing))
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
    let entity = Entity::of(&content[..content.len().min(READ_BYTES_MAX)]);
    let fields = Fields::of(entity.header, OF_MESSAGES);
    let Some(read) = fields.read() else { return IndexFields::default() };
    let mut reader = Reader::new(with_documents);
    let mut body = Body::default();
    reader.entity(entity, &Kind::of(&read), Place::WHOLE, &mut body);
    if content.len() >= READ_BYTES_MAX {
        reader.miss(format!("what follows the first {} MB of the message", READ_BYTES_MAX >> 20));
    }
    if !body.whole {
        reader.miss(format!("what follows the first {} MB of its text", BODY_BYTES_MAX >> 20));
    }
    IndexFields {
        date: read.date().map(mail_parser::DateTime::to_timestamp),
        from: addresses(&read, &HeaderName::From),
        to: addresses(&read, &HeaderName::To),
        cc: addresses(&read, &HeaderName::Cc),
        subject: bounded(read.subject().unwrap_or_default()),
        message_id: bounded(read.message_id().unwrap_or_default()),
        body: body.text,
        missing: (!reader.missing.is_empty()).then(|| reader.missing.join("; ")),
        attachments: reader.attachments,
    }
}

/// What a part says it is.
#[derive(Debug, Default)]
struct Kind {
    /// Lower case; `None` when it says nothing.
    media_type: Option<String>,
    boundary: Option<String>,
    charset: Option<String>,
    name: String,
    attached: bool,
    has_name: bool,
    encoded: Encoded,
}

impl Kind {
    fn of(read: &Message<'_>) -> Self {
        let media_type = read.content_type().map(|found| match found.subtype() {
            Some(subtype) => format!("{}/{subtype}", found.ctype()).to_ascii_lowercase(),
            None => found.ctype().to_ascii_lowercase(),
        });
        let parameter = |name| read.content_type().and_then(|found| found.attribute(name)).map(str::to_owned);
        Self {
            media_type,
            boundary: parameter("boundary"),
            charset: parameter("charset"),
            name: bounded(read.attachment_name().unwrap_or_default()),
            attached: read.content_disposition().is_some_and(mail_parser::ContentType::is_attachment),
            has_name: parameter("name").is_some(),
            encoded: Encoded::named(read.content_transfer_encoding().unwrap_or_default()),
        }
    }

    fn of_part(part: &Entity<'_>) -> Self {
        let fields = Fields::of(part.header, OF_PARTS);
        fields.read().map(|read| Self::of(&read)).unwrap_or_default()
    }

    fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or("text/plain")
    }

    /// Whether it is read with the message, rather than being attached to it.
    fn is_body(&self, place: Place) -> bool {
        let shown = matches!(self.media_type(), "text/plain" | "text/html" | "text");
        shown && !self.attached && (place.first || !(place.related || self.has_name))
    }
}

/// Where in a message a part stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    depth: usize,
    messages: usize,
    /// In `multipart/related`, `multipart/digest`; the first part.
    related: bool,
    digest: bool,
    first: bool,
}

impl Place {
    const WHOLE: Self = Self { depth: 0, messages: 0, related: false, digest: false, first: true };
}

/// Text of a message without its attachments.
#[derive(Debug)]
struct Body {
    text: String,
    whole: bool,
}

impl Default for Body {
    fn default() -> Self {
        Self { text: String::new(), whole: true }
    }
}

impl Body {
    fn append(&mut self, text: &str) {
        let room = BODY_BYTES_MAX.saturating_sub(self.text.len());
        if !self.text.is_empty() && room > 0 {
            self.text.push('\n');
        }
        let fits = cut(text, room.saturating_sub(1));
        self.text.push_str(fits);
        self.whole &= fits.len() == text.len();
    }
}

/// Goes through a message.
struct Reader {
    with_documents: bool,
    attachments: Vec<Attachment>,
    /// What is left out, and why.
    missing: Vec<String>,
    left: Bounds,
}

impl Reader {
    fn new(with_documents: bool) -> Self {
        Self { with_documents, attachments: Vec::new(), missing: Vec::new(), left: BOUNDS }
    }

    fn miss(&mut self, what: String) {
        if !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }

    fn entity(&mut self, entity: Entity<'_>, kind: &Kind, place: Place, body: &mut Body) {
        match kind.media_type() {
            multipart if multipart.starts_with("multipart/") => self.parts(entity, kind, place, body),
            "message/rfc822" | "message/global" => self.attached(entity, kind, place),
            "text/plain" if place.digest && kind.media_type.is_none() => self.attached(entity, kind, place),
            _ => self.leaf(entity, kind, place, body),
        }
    }

    fn parts(&mut self, entity: Entity<'_>, kind: &Kind, place: Place, body: &mut Body) {
        if place.depth >= BOUNDS.depth {
            self.miss(format!("parts within parts, more than {}", BOUNDS.depth));
            return;
        }
        let (parts, all) = entity.parts(kind.boundary.as_deref().unwrap_or_default(), self.left.parts);
        if parts.is_empty() && all {
            // It says it is a multipart, and is none.
            self.leaf(entity, &Kind { media_type: None, ..Kind::of_part(&entity) }, place, body);
            return;
        }
        self.left.parts -= parts.len();
        let of = kind.media_type();
        let (related, digest) = (of == "multipart/related", of == "multipart/digest");
        for (number, part) in parts.into_iter().enumerate() {
            let place = Place { depth: place.depth + 1, related, digest, first: number == 0, ..place };
            self.entity(part, &Kind::of_part(&part), place, body);
        }
        if !all {
            self.miss(format!("what follows the first {} parts of the message", BOUNDS.parts));
        }
    }

    /// A message within the message: its text is that of an attached file; its attachments become the outer one's.
    fn attached(&mut self, entity: Entity<'_>, kind: &Kind, place: Place) {
        let Some(at) = self.list(&kind.name) else { return };
        if place.messages >= BOUNDS.messages {
            let why = format!("messages within messages, more than {}", BOUNDS.messages);
            self.attachments[at].text = AttachmentText::Missing(why);
            return;
        }
        let decoded = match kind.encoded {
            Encoded::Plain => None,
            encoded if encoded.bytes(entity.body) > self.left.decoded => {
                let why = format!("encoded messages, more than {} MB", BOUNDS.decoded >> 20);
                self.attachments[at].text = AttachmentText::Missing(why);
                return;
            }
            encoded => {
                self.left.decoded -= encoded.bytes(entity.body);
                Some(encoded.decoded(entity.body))
            }
        };
        let inner = Entity::of(decoded.as_deref().unwrap_or(entity.body));
        let depth = place.depth + 1;
        let missing = self.missing.len();
        let text =
            self.message_at(inner, Place { depth, messages: place.messages + 1, ..Place::WHOLE }, Some(at));
        self.attachments[at].text = match text {
            None => AttachmentText::Missing("it is no message".into()),
            Some((text, true)) if self.missing.len() == missing => AttachmentText::Text(text),
            Some((text, true)) => AttachmentText::Part(text, self.missing[missing..].join("; ")),
            Some((text, false)) => AttachmentText::Part(text, cut_why()),
        };
    }

    /// The text of a message that stands by itself.
    fn message(&mut self, message: Entity<'_>, messages: usize) -> Option<String> {
        let (text, whole) = self.message_at(message, Place { messages, ..Place::WHOLE }, None)?;
        if !whole {
            self.miss(cut_why());
        }
        Some(text)
    }

    /// A message's text with its head, and whether that is all. It is listed at `named`, under its subject when it has no other name.
    fn message_at(
        &mut self,
        message: Entity<'_>,
        place: Place,
        named: Option<usize>,
    ) -> Option<(String, bool)> {
        let fields = Fields::of(message.header, OF_MESSAGES);
        let read = fields.read()?;
        if let Some(listed) =
            named.and_then(|at| self.attachments.get_mut(at)).filter(|it| it.name.is_empty())
        {
            listed.name = bounded(read.subject().unwrap_or_default());
        }
        let head = [HeaderName::From, HeaderName::To, HeaderName::Cc].map(|name| addresses(&read, &name));
        let mut text = format!("{}\n{}\n", read.subject().unwrap_or_default(), head.join("\n"));
        let mut body = Body::default();
        self.entity(message, &Kind::of(&read), place, &mut body);
        text.push_str(&body.text);
        let whole = body.whole && text.len() <= ATTACHMENT_BYTES_MAX;
        text.truncate(text.floor_char_boundary(ATTACHMENT_BYTES_MAX));
        Some((text, whole))
    }

    /// A part without parts.
    fn leaf(&mut self, entity: Entity<'_>, kind: &Kind, place: Place, body: &mut Body) {
        if !kind.media_type().starts_with("text") {
            if let Some(at) = self.list(&kind.name) {
                self.attachments[at].text = self.document(entity, kind);
            }
        } else if kind.is_body(place) {
            let (text, whole) = text_of(entity, kind);
            // Most pages are the same once more, and would only say everything twice.
            if kind.media_type() != "text/html" || !same_words(&body.text, &text) {
                body.append(&text);
            }
            if !whole {
                self.miss(source_why());
            }
        } else if let Some(at) = self.list(&kind.name) {
            let (text, whole) = text_of(entity, kind);
            self.attachments[at].text = match (text.len() > ATTACHMENT_BYTES_MAX, whole) {
                (true, _) => AttachmentText::Part(cut(&text, ATTACHMENT_BYTES_MAX).to_owned(), cut_why()),
                (false, false) => AttachmentText::Part(text, source_why()),
                (false, true) => AttachmentText::Text(text),
            };
        }
    }

    /// Lists an attached file, its text to come; where.
    fn list(&mut self, name: &str) -> Option<usize> {
        if self.attachments.len() >= BOUNDS.attachments {
            self.miss(format!("more than {} attached files", BOUNDS.attachments));
            return None;
        }
        self.attachments.push(Attachment { name: name.to_owned(), text: AttachmentText::None });
        Some(self.attachments.len() - 1)
    }

    fn document(&self, entity: Entity<'_>, kind: &Kind) -> AttachmentText {
        let media_type = kind.media_type();
        match Format::of(&kind.name, media_type, &kind.encoded.beginning(entity.body, SNIFFED_BYTES)) {
            Ok(None) => AttachmentText::None,
            Err(why) => AttachmentText::Missing(why.into()),
            Ok(Some(_)) if kind.encoded.bytes(entity.body) > DOCUMENT_BYTES_MAX => {
                AttachmentText::Missing(format!("it is longer than {} MB", DOCUMENT_BYTES_MAX >> 20))
            }
            Ok(Some(_)) => AttachmentText::Document(
                self.with_documents.then(|| kind.encoded.decoded(entity.body).into_owned()),
            ),
        }
    }
}

/// A part's text, and whether all of the part was looked at.
fn text_of(entity: Entity<'_>, kind: &Kind) -> (String, bool) {
    let start = &entity.body[..entity.body.len().min(SOURCE_BYTES_MAX)];
    let whole = start.len() == entity.body.len();
    let octets = if whole { kind.encoded.decoded(start) } else { kind.encoded.beginning(start, start.len()) };
    let text = decode::text(&octets, kind.charset.as_deref());
    match kind.media_type() {
        "text/html" => (mail_parser::decoders::html::html_to_text(&text), whole),
        _ => (text.into_owned(), whole),
    }
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

fn cut_why() -> String {
    format!("what follows the first {} MB of its text", ATTACHMENT_BYTES_MAX >> 20)
}

fn source_why() -> String {
    format!("what follows the first {} MB of a text", SOURCE_BYTES_MAX >> 20)
}

fn bounded(text: &str) -> String {
    cut(text, FIELD_BYTES_MAX).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most `bytes_max` octets of `text`, at a character's border.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// `Anna <anna@example.com>, bob@example.com`: of all fields of that name.
fn addresses(read: &Message<'_>, name: &HeaderName<'_>) -> String {
    let named = read.headers().iter().filter(|header| header.name == *name);
    let lists = named.filter_map(|header| match &header.value {
        HeaderValue::Address(list) => Some(list),
        _ => None,
    });
    let mut out = String::new();
    for Addr { name, address } in lists.flat_map(Address::iter) {
        if out.len() > FIELD_BYTES_MAX {
            break;
        }
        let (name, mailbox) = (name.as_deref().unwrap_or_default(), address.as_deref().unwrap_or_default());
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
