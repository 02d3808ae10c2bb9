//! What an Exchange server answers, read as it arrives: response messages one after the other, each with its folders or items,
//! and content handed on while it is decoded.

use std::time::Duration;

use postern_shared::clock::UnixMillis;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::base64::Base64;
use super::tags::{Flags, Stamp};
use super::xml::{Reader, Token, XmlError};

/// Octets of a sync state; a longer one is refused. Those of large folders have some hundred thousand.
const STATE_OCTETS_MAX: usize = 16 * 1024 * 1024;
/// Octets of any other text that is kept; what is longer is cut.
const TEXT_OCTETS_MAX: usize = 16 * 1024;
/// Octets of a response, contents not counted.
const PLAIN_OCTETS_MAX: u64 = 128 * 1024 * 1024;
/// Categories of an item that are kept.
const CATEGORIES_MAX: usize = 100;

/// Why nothing can be made of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It is no XML.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// It is XML, and no SOAP.
    #[error("it is no SOAP envelope")]
    NoEnvelope,
    /// It is longer than anything that was asked for.
    #[error("it is longer than anything that was asked for")]
    Long,
    /// It ended within.
    #[error("it is cut off")]
    Cut,
}

/// The server's version, `15.2` for Exchange 2019.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version {
    /// 14 is Exchange 2010, 15 what came since.
    pub major: u32,
    /// With 15: 0 is 2013, 1 is 2016, 2 is 2019 and the Subscription Edition, 20 is Exchange Online.
    pub minor: u32,
    /// The build.
    pub build: u32,
}

/// What is told of a folder or an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is there.
    Create,
    /// It was told before and changed.
    Update,
    /// It is gone.
    Delete,
    /// It was read, or marked as unread.
    ReadFlag,
}

/// A folder, as far as the server told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderRow {
    /// Its id.
    pub id: String,
    /// The id of the folder it is in.
    pub parent: String,
    /// `IPF.Note` and the like.
    pub class: String,
    /// Its name.
    pub name: String,
    /// How many items it has.
    pub total: Option<u64>,
    /// How many folders are in it.
    pub children: u64,
    /// By what it shows that something changed.
    pub stamp: Stamp,
    /// A folder of search results, which holds nothing of its own.
    pub search: bool,
}

/// An item, as far as the server told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemRow {
    /// Its id.
    pub id: String,
    /// `IPM.Note` and the like.
    pub class: String,
    /// What it takes in the store, which is not the length of its content.
    pub octets: u64,
    /// When it arrived.
    pub received: Option<UnixMillis>,
    /// When something of it was changed last, as the server writes it.
    pub modified: String,
    /// What its properties say of flags.
    pub flags: Flags,
    /// The user's words.
    pub categories: Vec<String>,
}

/// The end of a response message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// `Success`, `Warning` or `Error`.
    pub class: String,
    /// `NoError`, `ErrorItemNotFound`, …
    pub code: String,
    /// The server's words.
    pub text: String,
    /// How long it wants to be left alone.
    pub back_off: Option<Duration>,
    /// How far was read.
    pub sync_state: Option<String>,
    /// Whether that is all there is.
    pub last: Option<bool>,
    /// Where the next page begins.
    pub next_offset: Option<u64>,
}

impl Answer {
    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.class != "Success" && self.code != "NoError"
    }
}

/// What has come. Content that comes is in [`Decoder::content`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server's version.
    Version(Version),
    /// A folder.
    Folder(Change, FolderRow),
    /// An item is whole; its content, if any, came before.
    Item(Change, ItemRow),
    /// An item's content begins.
    ContentBegins,
    /// A piece of it.
    Content,
    /// It ends, and whether it made sense.
    ContentEnds(bool),
    /// A response message ends: an error, or what came before.
    Answer(Answer),
    /// All was refused.
    Fault(Answer),
}

#[derive(Debug)]
enum Row {
    Folder(FolderRow),
    Item(ItemRow),
}

/// Which text is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Code,
    Text,
    BackOff,
    State,
    Last,
    Class,
    Name,
    Total,
    Children,
    Size,
    Received,
    Modified,
    Category,
    IsRead,
    Property(u32),
    Content,
}

/// Reads one response body. Call [`Decoder::receive`] with what has come until it takes it all and finds nothing, then
/// [`Decoder::finish`].
#[derive(Debug, Default)]
pub struct Decoder {
    reader: Reader,
    envelope: bool,
    plain: u64,
    /// The response message that is open, how deep it lies, and whether it is a fault.
    answer: Option<(Answer, usize, bool)>,
    /// The folder or item that is open, and how deep it lies.
    row: Option<(Row, Change, usize)>,
    /// The text that is being read, and the depth of its element.
    field: Option<(Field, usize)>,
    text: Vec<u8>,
    /// The extended property that is being read.
    property: Option<u32>,
    base64: Base64,
    decoded: Vec<u8>,
    sound: bool,
}

impl Decoder {
    /// How much of `input` was used, and what was found; nothing means that all of it was used.
    ///
    /// # Errors
    /// When nothing can be made of it; the decoder must not be used any more.
    pub fn receive(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), BadAnswer> {
        let mut used = 0;
        loop {
            let (more, token) = self.reader.next(input.get(used..).unwrap_or_default())?;
            used += more;
            if !matches!(self.field, Some((Field::Content, _))) {
                self.plain += more as u64;
                if self.plain > PLAIN_OCTETS_MAX {
                    return Err(BadAnswer::Long);
                }
            }
            let event = match token {
                None => return Ok((used, None)),
                Some(Token::Start) => self.start()?,
                Some(Token::Text) => self.found_text()?,
                Some(Token::End) => self.end(),
            };
            if event.is_some() {
                return Ok((used, event));
            }
        }
    }

    /// The piece of content that was just found.
    pub fn content(&self) -> &[u8] {
        &self.decoded
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// [`BadAnswer::Cut`] when the document is not whole.
    pub fn finish(&self) -> Result<(), BadAnswer> {
        if self.reader.is_whole() { Ok(()) } else { Err(BadAnswer::Cut) }
    }

    fn start(&mut self) -> Result<Option<Event>, BadAnswer> {
        let (reader, depth) = (&self.reader, self.reader.depth());
        let name = reader.name();
        if depth == 1 {
            self.envelope = name == "Envelope";
        }
        if !self.envelope {
            return Err(BadAnswer::NoEnvelope);
        }
        if self.field.is_some() {
            return Ok(None);
        }
        if name == "ServerVersionInfo" && reader.above(1) == "Header" {
            let number = |name| reader.attribute(name).and_then(|text| text.parse().ok()).unwrap_or_default();
            let (major, minor) = (number("MajorVersion"), number("MinorVersion"));
            return Ok(Some(Event::Version(Version { major, minor, build: number("MajorBuildNumber") })));
        }
        if self.answer.is_none() {
            let fault = name == "Fault" && reader.above(1) == "Body";
            if fault || (name.ends_with("ResponseMessage") && reader.attribute("ResponseClass").is_some()) {
                let class = reader.attribute("ResponseClass").unwrap_or("Error").to_owned();
                self.answer = Some((Answer { class, ..Answer::default() }, depth, fault));
            }
            return Ok(None);
        }
        if self.row.is_some() { Ok(self.in_row()) } else { Ok(self.in_answer()) }
    }

    fn in_answer(&mut self) -> Option<Event> {
        let (reader, depth) = (&self.reader, self.reader.depth());
        let Some((answer, outside, fault)) = &mut self.answer else { return None };
        let (name, level) = (reader.name(), depth - *outside);
        let field = match (name, level) {
            ("ResponseCode", 1) | ("ResponseCode", 2) => Some(Field::Code),
            // A fault says it twice; the first is made for people.
            ("MessageText" | "faultstring", 1) => Some(Field::Text),
            ("faultcode", 1) if *fault => Some(Field::Code),
            ("Value", _) if reader.attribute("Name") == Some("BackOffMilliseconds") => Some(Field::BackOff),
            ("SyncState", 1) => Some(Field::State),
            ("IncludesLastItemInRange" | "IncludesLastFolderInRange", 1) => Some(Field::Last),
            _ => None,
        };
        if let Some(field) = field {
            self.capture(field);
            return None;
        }
        if name == "RootFolder" && level == 1 {
            answer.last = reader.attribute("IncludesLastItemInRange").map(|text| text == "true");
            answer.next_offset = reader.attribute("IndexedPagingOffset").and_then(|text| text.parse().ok());
        }
        let (change, outer) = match reader.above(1) {
            "Create" | "Items" | "Folders" => (Change::Create, level == 3 || level == 2),
            "Update" => (Change::Update, level == 3),
            "Changes" if name == "Delete" => (Change::Delete, level == 2),
            "Changes" if name == "ReadFlagChange" => (Change::ReadFlag, level == 2),
            _ => return None,
        };
        if outer {
            let search = name == "SearchFolder";
            let row = match name.ends_with("Folder") {
                true => Row::Folder(FolderRow { search, ..FolderRow::default() }),
                false => Row::Item(ItemRow::default()),
            };
            self.row = Some((row, change, depth));
        }
        None
    }

    fn in_row(&mut self) -> Option<Event> {
        let (reader, depth) = (&self.reader, self.reader.depth());
        let Some((row, change, outside)) = &mut self.row else { return None };
        let (name, level) = (reader.name(), depth - *outside);
        let id = || reader.attribute("Id").unwrap_or_default().to_owned();
        let field = match (row, name, level) {
            (row, "FolderId", 1) => {
                let own = id();
                match row {
                    Row::Folder(folder) => folder.id = own,
                    // The deletion of a folder is known by its id alone.
                    row => *row = Row::Folder(FolderRow { id: own, ..FolderRow::default() }),
                }
                None
            }
            (Row::Folder(folder), "ParentFolderId", 1) => {
                folder.parent = id();
                None
            }
            (Row::Folder(_), "FolderClass", 1) | (Row::Item(_), "ItemClass", 1) => Some(Field::Class),
            (Row::Folder(_), "DisplayName", 1) => Some(Field::Name),
            (Row::Folder(_), "TotalCount", 1) => Some(Field::Total),
            (Row::Folder(_), "ChildFolderCount", 1) => Some(Field::Children),
            (Row::Item(item), "ItemId", 1) => {
                item.id = id();
                None
            }
            (Row::Item(_), "Size", 1) => Some(Field::Size),
            (Row::Item(_), "DateTimeReceived", 1) => Some(Field::Received),
            (Row::Item(_), "LastModifiedTime", 1) => Some(Field::Modified),
            (Row::Item(_), "String", 2) if reader.above(1) == "Categories" => Some(Field::Category),
            (Row::Item(_), "IsRead", 1) if *change == Change::ReadFlag => Some(Field::IsRead),
            (Row::Item(_), "MimeContent", 1) => {
                self.field = Some((Field::Content, depth));
                (self.base64, self.sound) = (Base64::default(), true);
                return Some(Event::ContentBegins);
            }
            (_, "ExtendedFieldURI", 2) => {
                self.property = reader.attribute("PropertyTag").and_then(property_tag);
                None
            }
            (_, "Value", 2) => self.property.take().map(Field::Property),
            _ => None,
        };
        if let Some(field) = field {
            self.capture(field);
        }
        None
    }

    fn capture(&mut self, field: Field) {
        self.field = Some((field, self.reader.depth()));
        self.text.clear();
    }

    fn found_text(&mut self) -> Result<Option<Event>, BadAnswer> {
        let Some((field, _)) = self.field.filter(|(_, depth)| *depth == self.reader.depth()) else {
            return Ok(None);
        };
        if field == Field::Content {
            self.decoded.clear();
            if self.sound {
                self.sound = self.base64.decode(self.reader.text(), &mut self.decoded).is_ok();
            }
            return Ok((self.sound && !self.decoded.is_empty()).then_some(Event::Content));
        }
        let max = if field == Field::State { STATE_OCTETS_MAX } else { TEXT_OCTETS_MAX };
        let room = max.saturating_sub(self.text.len());
        let text = self.reader.text();
        // A part of a state is none.
        if field == Field::State && text.len() > room {
            return Err(BadAnswer::Long);
        }
        self.text.extend_from_slice(text.get(..room).unwrap_or(text));
        Ok(None)
    }

    fn end(&mut self) -> Option<Event> {
        let depth = self.reader.depth();
        if let Some((field, at)) = self.field {
            if at != depth {
                return None;
            }
            self.field = None;
            if field == Field::Content {
                return Some(Event::ContentEnds(self.sound && self.base64.finish().is_ok()));
            }
            self.keep(field);
            return None;
        }
        if let Some((_, _, at)) = &self.row
            && *at == depth
        {
            self.property = None;
            return self.row.take().map(|(row, change, _)| match row {
                Row::Folder(folder) => Event::Folder(change, folder),
                Row::Item(item) => Event::Item(change, item),
            });
        }
        if let Some((_, at, _)) = &self.answer
            && *at == depth
        {
            return self.answer.take().map(|(answer, _, fault)| match fault {
                true => Event::Fault(answer),
                false => Event::Answer(answer),
            });
        }
        None
    }

    fn keep(&mut self, field: Field) {
        let text = String::from_utf8_lossy(&self.text);
        let text = text.trim();
        let number = || text.parse().ok();
        match (&mut self.row, &mut self.answer, field) {
            (Some((Row::Folder(folder), ..)), _, field) => match field {
                Field::Class => folder.class = text.to_owned(),
                Field::Name => folder.name = text.to_owned(),
                Field::Total => folder.total = number(),
                Field::Children => folder.children = number().unwrap_or_default(),
                Field::Property(tag) => folder.stamp.set(tag, text),
                _ => {}
            },
            (Some((Row::Item(item), ..)), _, field) => match field {
                Field::Class => item.class = text.to_owned(),
                Field::Size => item.octets = number().unwrap_or_default(),
                Field::Received => item.received = moment(text),
                // It becomes part of a name.
                Field::Modified => {
                    item.modified = text.chars().filter(char::is_ascii_graphic).take(40).collect();
                }
                Field::Category if item.categories.len() < CATEGORIES_MAX => {
                    item.categories.push(text.to_owned());
                }
                Field::IsRead => item.flags.read = text == "true",
                Field::Property(tag) => item.flags.set(tag, text),
                _ => {}
            },
            (None, Some((answer, ..)), field) => match field {
                // `a:ErrorServerBusy` of a fault; its detail follows and says the same.
                Field::Code => {
                    let code = text.rsplit_once(':').map_or(text, |(_, code)| code);
                    answer.code = printable(code);
                }
                Field::Text => answer.text = printable(text),
                Field::BackOff => answer.back_off = number().map(Duration::from_millis),
                Field::State => answer.sync_state = Some(text.to_owned()).filter(|state| !state.is_empty()),
                Field::Last => answer.last = Some(text == "true"),
                _ => {}
            },
            _ => {}
        }
    }
}

/// What a server said, fit for a log.
pub(crate) fn printable(text: &str) -> String {
    let clean = text.chars().take(1000).map(|c| if c.is_control() { ' ' } else { c });
    clean.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `0x0E07`; Exchange answers `0xe07`.
fn property_tag(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    u32::from_str_radix(digits, 16).ok()
}

fn moment(text: &str) -> Option<UnixMillis> {
    let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    u64::try_from(nanos / 1_000_000).ok().map(UnixMillis)
}
