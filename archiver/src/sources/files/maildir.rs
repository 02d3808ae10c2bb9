//! A Maildir folder. Its cursor marks every message that is still there, by its unique name:
//!
//! ```text
//! {"seen":"<base64>"}     12 octets a message: the first of SHA-256(unique name)
//! ```

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::sha256;
use postern_shared::disk::{Disk, modified_ns};
use serde::{Deserialize, Serialize};

use super::{Place, nothing};
use crate::sources::account::{Changes, Deleted, Item};
use crate::sources::{Cursor, ItemId};

/// Messages of a page: its cursor names all that were read, so pages are large.
const PAGE_MESSAGES_MAX: usize = 10_000;

type Mark = [u8; 12];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    seen: String,
}

/// A message's file.
struct Message {
    unique: String,
    path: PathBuf,
    flags: Vec<String>,
}

fn messages(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<Message>> {
    let mut all = Vec::new();
    for sub in ["new", "cur"] {
        for path in disk.files(&dir.join(sub))? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with('.') {
                continue;
            }
            let (unique, info) = name.split_once(":2,").unwrap_or((&name, ""));
            let flags = info.chars().filter_map(flag).map(str::to_owned).collect();
            all.push(Message { unique: unique.to_owned(), path, flags });
        }
    }
    all.sort_by(|a, b| a.unique.cmp(&b.unique));
    Ok(all)
}

fn flag(letter: char) -> Option<&'static str> {
    Some(match letter {
        'D' => "\\Draft",
        'F' => "\\Flagged",
        'P' => "$Forwarded",
        'R' => "\\Answered",
        'S' => "\\Seen",
        'T' => "\\Deleted",
        _ => return None,
    })
}

fn mark(unique: &str) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&sha256(unique.as_bytes()).0[..12]);
    mark
}

fn read(cursor: &Cursor) -> Option<HashSet<Mark>> {
    let written: Written = serde_json::from_str(&cursor.0).ok()?;
    let octets = STANDARD_NO_PAD.decode(written.seen).ok()?;
    let (marks, rest) = octets.as_chunks::<12>();
    rest.is_empty().then(|| marks.iter().copied().collect())
}

fn cursor(mut marks: Vec<Mark>) -> Cursor {
    marks.sort_unstable();
    let seen = STANDARD_NO_PAD.encode(marks.as_flattened());
    Cursor(serde_json::to_string(&Written { seen }).unwrap_or_default())
}

pub(super) fn changes(disk: &dyn Disk, dir: &Path, after: Option<&Cursor>) -> io::Result<Changes> {
    let read = after.map(read);
    let restarted = matches!(read, Some(None)).then(|| "the cursor of the last run is no cursor".to_owned());
    let seen = read.flatten().unwrap_or_default();
    let (mut items, mut kept, mut more) = (Vec::new(), Vec::new(), false);
    for message in messages(disk, dir)? {
        let mark = mark(&message.unique);
        if seen.contains(&mark) {
            kept.push(mark);
        } else if items.len() == PAGE_MESSAGES_MAX {
            more = true;
        } else if let Some(item) = item(disk, message) {
            kept.push(mark);
            items.push(item);
        }
    }
    Ok(Changes { items, restarted, more, ..nothing(cursor(kept)) })
}

/// `None` when it was moved or removed meanwhile: then the next run tells of it, or nobody.
fn item(disk: &dyn Disk, message: Message) -> Option<Item> {
    let octets = disk.open_read(&message.path).and_then(|file| file.len()).ok()?;
    let modified = modified_ns(&message.path).ok().and_then(|ns| u64::try_from(ns / 1_000_000).ok());
    Some(Item {
        id: ItemId(message.unique),
        flags: message.flags,
        internal_date: modified.map(UnixMillis),
        octets,
    })
}

/// Where the messages lie now; their flags may have changed, and with them their names.
pub(super) fn places(disk: &dyn Disk, dir: &Path, items: &[Item]) -> io::Result<Vec<Option<Place>>> {
    let mut by_name: HashMap<String, Message> =
        messages(disk, dir)?.into_iter().map(|message| (message.unique.clone(), message)).collect();
    let places = items.iter().map(|wanted| {
        let message = by_name.remove(&wanted.id.0)?;
        let path = message.path.clone();
        let item = item(disk, message)?;
        Some(Place { path, start: 0, octets: item.octets, quoted: false, item: Some(item) })
    });
    Ok(places.collect())
}

pub(super) fn delete(disk: &dyn Disk, dir: &Path, items: &[ItemId]) -> io::Result<Deleted> {
    let wanted: HashSet<&str> = items.iter().map(|item| item.0.as_str()).collect();
    let mut deleted = Deleted::default();
    for message in messages(disk, dir)?.into_iter().filter(|message| wanted.contains(message.unique.as_str()))
    {
        match disk.remove(&message.path) {
            Ok(()) => {}
            Err(error) => deleted.kept.push((ItemId(message.unique), error.to_string())),
        }
    }
    for sub in ["new", "cur"] {
        disk.sync_dir(&dir.join(sub))?;
    }
    // What is not there any more is gone, whoever removed it.
    let kept: HashSet<&ItemId> = deleted.kept.iter().map(|(item, _)| item).collect();
    deleted.deleted = items.iter().filter(|item| !kept.contains(item)).cloned().collect();
    Ok(deleted)
}
