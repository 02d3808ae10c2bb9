//! A Maildir folder. Its cursor marks every message that is still there, by its unique name:
//!
//! ```text
//! {"seen":"<base64>"}     12 octets a message: the first of SHA-256(id)
//! ```
//!
//! The id of a message is its unique name, octets that are no UTF-8 as `%XX`. Where two files have one unique name (a careless merge
//! of two Maildirs), directory and flags are added to both, as in `1.a/cur/2,S`: what names two messages names neither.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::sha256;
use postern_shared::disk::{Disk, modified_ns};
use serde::{Deserialize, Serialize};

use super::names::text_of;
use super::{Place, nothing};
use crate::sources::account::{Changes, Deleted, Item};
use crate::sources::{Cursor, ItemId};

/// Messages of a page at least, and at most. Its cursor names all that were read, so pages grow with what was.
const PAGE_MESSAGES_MIN: usize = 10_000;
const PAGE_MESSAGES_MAX: usize = 250_000;
const INFO: &[u8] = b":2,";

type Mark = [u8; 12];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    seen: String,
}

/// A message's file.
struct Message {
    is_new: bool,
    /// Another one has its unique name.
    is_double: bool,
    name: Box<OsStr>,
}

impl Message {
    fn parts(&self) -> (&[u8], &[u8]) {
        let name = self.name.as_bytes();
        match memchr::memmem::find(name, INFO) {
            Some(at) => (&name[..at], &name[at + INFO.len()..]),
            None => (name, &[]),
        }
    }

    fn sub(&self) -> &'static str {
        if self.is_new { "new" } else { "cur" }
    }

    fn order(&self, other: &Self) -> Ordering {
        (self.parts().0, self.is_new, &self.name).cmp(&(other.parts().0, other.is_new, &other.name))
    }

    fn id(&self) -> ItemId {
        let (unique, info) = self.parts();
        let unique = text_of(unique);
        ItemId(if self.is_double { format!("{unique}/{}/2,{}", self.sub(), text_of(info)) } else { unique })
    }

    fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.sub()).join(&*self.name)
    }

    fn flags(&self) -> Vec<String> {
        self.parts().1.iter().filter_map(|letter| flag(*letter)).map(str::to_owned).collect()
    }

    /// `None` when it was moved or removed meanwhile: then the next run tells of it, or nobody.
    fn item(&self, disk: &dyn Disk, dir: &Path) -> io::Result<Option<Item>> {
        match disk.open_read(&self.path(dir)).and_then(|file| file.len()) {
            Ok(octets) => Ok(Some(self.item_of(dir, octets))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn item_of(&self, dir: &Path, octets: u64) -> Item {
        let modified = modified_ns(&self.path(dir)).ok().and_then(|ns| u64::try_from(ns / 1_000_000).ok());
        Item { id: self.id(), flags: self.flags(), internal_date: modified.map(UnixMillis), octets }
    }
}

/// The files of a folder, listed once a run, and how far they were told of.
pub(super) struct Listing {
    dir: PathBuf,
    /// By unique name.
    messages: Vec<Message>,
    /// How many were told of, and behind which cursor.
    told: usize,
    cursor: Option<Cursor>,
    /// Those of earlier runs.
    seen: HashSet<Mark>,
    /// What the next cursor names.
    marks: Vec<Mark>,
}

impl Listing {
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let mut messages = Vec::new();
        for is_new in [true, false] {
            for path in disk.files(&dir.join(if is_new { "new" } else { "cur" }))? {
                let Some(name) = path.file_name().filter(|name| !name.as_bytes().starts_with(b".")) else {
                    continue;
                };
                messages.push(Message { is_new, is_double: false, name: name.into() });
            }
        }
        messages.sort_by(Message::order);
        for at in 1..messages.len() {
            if messages[at - 1].parts().0 == messages[at].parts().0 {
                (messages[at - 1].is_double, messages[at].is_double) = (true, true);
            }
        }
        let (seen, marks) = (HashSet::new(), Vec::new());
        Ok(Self { dir: dir.into(), messages, told: 0, cursor: None, seen, marks })
    }

    /// Lists the files anew, in the same place of the page walk or at the beginning of another one.
    pub(super) fn renew(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let now = Self::read(disk, &self.dir)?;
        // Files that came or went shift the others: what was told stays told by its mark.
        self.messages = now.messages;
        self.told = 0;
        let told = std::mem::take(&mut self.marks);
        self.seen.extend(told.iter().copied());
        self.marks = told;
        Ok(())
    }

    pub(super) fn is_of(&self, dir: &Path) -> bool {
        self.dir == dir
    }

    /// Whether the page behind that cursor is the next one.
    pub(super) fn goes_on_behind(&self, after: Option<&Cursor>) -> bool {
        self.cursor.is_some() && self.cursor.as_ref() == after
    }

    pub(super) fn page(&mut self, disk: &dyn Disk, after: Option<&Cursor>) -> Changes {
        let mut restarted = None;
        if !self.goes_on_behind(after) {
            let read = after.map(read);
            restarted =
                matches!(read, Some(None)).then(|| "the cursor of the last run is no cursor".to_owned());
            self.seen = read.flatten().unwrap_or_default();
            self.told = 0;
            self.marks = self.messages.iter().map(|message| mark(&message.id())).collect();
            self.marks.retain(|mark| self.seen.contains(mark));
        }
        let page_max = (self.marks.len() / 4).clamp(PAGE_MESSAGES_MIN, PAGE_MESSAGES_MAX);
        let mut items = Vec::new();
        while let Some(message) = self.messages.get(self.told)
            && items.len() < page_max
        {
            self.told += 1;
            let mark = mark(&message.id());
            if self.seen.contains(&mark) {
                continue;
            }
            let item = match message.item(disk, &self.dir) {
                Ok(Some(item)) => item,
                Ok(None) => continue,
                // Whoever fetches it is told why it cannot be had.
                Err(_) => message.item_of(&self.dir, 0),
            };
            self.marks.push(mark);
            items.push(item);
        }
        let cursor = cursor(&mut self.marks);
        self.cursor = Some(cursor.clone());
        let more = self.told < self.messages.len();
        Changes { items, restarted, more, ..nothing(cursor) }
    }

    fn find(&self, id: &ItemId) -> Option<&Message> {
        // Those of one unique name stand together, whatever was added to them.
        let unique = id.0.split_once('/').map_or(id.0.as_str(), |(unique, _)| unique);
        let octets = super::names::octets_of(unique);
        let from = self.messages.partition_point(|message| message.parts().0 < octets.as_slice());
        let mut of_name = self.messages[from..].iter().take_while(|message| message.parts().0 == octets);
        of_name.find(|message| message.id() == *id)
    }

    /// Where the messages lie now; `None` for those that are gone.
    pub(super) fn places(&self, disk: &dyn Disk, items: &[Item]) -> Vec<io::Result<Option<Place>>> {
        let place = |wanted: &Item| {
            let Some(message) = self.find(&wanted.id) else { return Ok(None) };
            let Some(item) = message.item(disk, &self.dir)? else { return Ok(None) };
            let path = message.path(&self.dir);
            Ok(Some(Place { path, start: 0, octets: item.octets, quoted: false, item: Some(item) }))
        };
        items.iter().map(place).collect()
    }

    /// Removes these files and no others; what cannot be opened is not known to be what was archived, and stays.
    pub(super) fn delete(&self, disk: &dyn Disk, items: &[ItemId]) -> io::Result<Deleted> {
        let mut deleted = Deleted::default();
        let remove = |message: &Message| {
            message.item(disk, &self.dir).and_then(|_| disk.remove(&message.path(&self.dir)))
        };
        for id in items {
            match self.find(id).map(remove) {
                Some(Ok(())) => deleted.deleted.push(id.clone()),
                Some(Err(error)) => deleted.kept.push((id.clone(), error.to_string())),
                None => deleted.kept.push((id.clone(), "it is not there any more".into())),
            }
        }
        for sub in ["new", "cur"] {
            disk.sync_dir(&self.dir.join(sub))?;
        }
        Ok(deleted)
    }
}

fn flag(letter: u8) -> Option<&'static str> {
    Some(match letter {
        b'D' => "\\Draft",
        b'F' => "\\Flagged",
        b'P' => "$Forwarded",
        b'R' => "\\Answered",
        b'S' => "\\Seen",
        b'T' => "\\Deleted",
        _ => return None,
    })
}

fn mark(id: &ItemId) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&sha256(id.0.as_bytes()).0[..12]);
    mark
}

fn read(cursor: &Cursor) -> Option<HashSet<Mark>> {
    let written: Written = serde_json::from_str(&cursor.0).ok()?;
    let octets = STANDARD_NO_PAD.decode(written.seen).ok()?;
    let (marks, rest) = octets.as_chunks::<12>();
    rest.is_empty().then(|| marks.iter().copied().collect())
}

fn cursor(marks: &mut [Mark]) -> Cursor {
    marks.sort_unstable();
    let seen = STANDARD_NO_PAD.encode(marks.as_flattened());
    Cursor(serde_json::to_string(&Written { seen }).unwrap_or_default())
}
