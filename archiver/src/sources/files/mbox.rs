//! An mbox file: messages one behind the other, each begun by a line `From …` (RFC 4155); within them such a line has a `>` before it
//! (mboxrd).
//!
//! Its cursor says where the next message begins, and what stood before it:
//!
//! ```text
//! {"offset":81234,"before":"<hex>"}     SHA-256 of up to 4,096 octets before the offset
//! ```
//!
//! Whoever delivers into the file may be amid it. So the last message is left for later while the file is locked (a file of its name
//! and `.lock`), and when no empty line ends it and the file was written to a moment ago.

use std::io;
use std::path::Path;

use memchr::memmem::Finder;
use postern_shared::clock::{Clock as _, SystemClock};
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::disk::{Disk, DiskFile, modified_ns};
use serde::{Deserialize, Serialize};

use super::{Place, nothing};
use crate::sources::account::{Changes, Item};
use crate::sources::{Cursor, ItemId};

const PAGE_MESSAGES_MAX: usize = 2000;
const WINDOW: usize = 1024 * 1024;
const BEFORE: u64 = 4096;
/// A message without its empty line is taken for whole when nobody wrote for so long.
const QUIET_MS: u64 = 60_000;
/// Longer lines are handed on before they end.
const LINE_HELD: usize = 64 * 1024;
const BEGIN: &[u8] = b"From ";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    offset: u64,
    before: Digest,
}

/// Whether a file begins as an mbox file does.
pub(super) fn is_mbox(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let mut begin = [0; BEGIN.len()];
    match disk.open_read(path).and_then(|file| file.read_exact_at(&mut begin, 0)) {
        Ok(()) => Ok(begin == *BEGIN),
        // Removed meanwhile, or too short.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn before(file: &dyn DiskFile, offset: u64) -> io::Result<Digest> {
    let mut octets = vec![0; usize::try_from(offset.min(BEFORE)).unwrap_or(0)];
    file.read_exact_at(&mut octets, offset - offset.min(BEFORE))?;
    Ok(sha256(&octets))
}

/// Whether the file was written behind that place alone, and a whole message ended there.
fn is_behind(file: &dyn DiskFile, len: u64, written: &Written) -> io::Result<bool> {
    if written.offset > len || before(file, written.offset)? != written.before {
        return Ok(false);
    }
    let mut begin = [0; BEGIN.len()];
    let next = usize::try_from(len - written.offset).unwrap_or(BEGIN.len()).min(BEGIN.len());
    file.read_exact_at(&mut begin[..next], written.offset)?;
    Ok(BEGIN.starts_with(&begin[..next]))
}

pub(super) fn changes(disk: &dyn Disk, path: &Path, after: Option<&Cursor>) -> io::Result<Changes> {
    let file = disk.open_read(path)?;
    let len = file.len()?;
    let (mut offset, mut restarted) = (0, None);
    if let Some(after) = after {
        match serde_json::from_str::<Written>(&after.0) {
            Ok(written) if is_behind(&*file, len, &written)? => {
                offset = written.offset;
            }
            _ => restarted = Some("the file is another one than in the last run".to_owned()),
        }
    }
    let mut begins = begins(&*file, offset, len)?;
    let mut len = len;
    if begins.len() <= PAGE_MESSAGES_MAX
        && let Some(last) = begins.last().copied()
        && is_being_written(disk, path, &*file, len)?
    {
        len = last;
        begins.pop();
    }
    let mut items = Vec::new();
    for (index, begin) in begins.iter().enumerate().take(PAGE_MESSAGES_MAX) {
        let end = begins.get(index + 1).copied().unwrap_or(len);
        items.push(Item {
            id: ItemId(format!("{begin}+{}", end - begin)),
            flags: Vec::new(),
            internal_date: None,
            octets: end - begin,
        });
    }
    let more = begins.len() > PAGE_MESSAGES_MAX;
    let next = if more { begins.get(PAGE_MESSAGES_MAX).copied().unwrap_or(len) } else { len };
    let written = Written { offset: next, before: before(&*file, next)? };
    let cursor = Cursor(serde_json::to_string(&written).unwrap_or_default());
    Ok(Changes { items, restarted, more, ..nothing(cursor) })
}

/// Whether somebody may be amid the last message.
fn is_being_written(disk: &dyn Disk, path: &Path, file: &dyn DiskFile, len: u64) -> io::Result<bool> {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    if disk.exists(Path::new(&lock))? {
        return Ok(true);
    }
    let mut end = [0; 3];
    let read = usize::try_from(len).unwrap_or(end.len()).min(end.len());
    file.read_exact_at(&mut end[..read], len - read as u64)?;
    if end[..read].ends_with(b"\n\n") || end[..read].ends_with(b"\n\r\n") {
        return Ok(false);
    }
    let modified = u64::try_from(modified_ns(path)? / 1_000_000).unwrap_or(0);
    Ok(SystemClock::new().wall().0 < modified.saturating_add(QUIET_MS))
}

/// Where messages begin, from `offset` on, where one begins; at most one more than a page has.
fn begins(file: &dyn DiskFile, offset: u64, len: u64) -> io::Result<Vec<u64>> {
    let line = Finder::new(b"\nFrom ");
    let mut found = Vec::new();
    if offset + (BEGIN.len() as u64) <= len {
        let mut begin = [0; BEGIN.len()];
        file.read_exact_at(&mut begin, offset)?;
        if begin == *BEGIN {
            found.push(offset);
        }
    }
    let overlap = BEGIN.len();
    let mut window = vec![0; WINDOW];
    let mut at = offset;
    while at < len && found.len() <= PAGE_MESSAGES_MAX {
        let take = usize::try_from(len - at).unwrap_or(WINDOW).min(WINDOW);
        file.read_exact_at(&mut window[..take], at)?;
        found.extend(line.find_iter(&window[..take]).map(|place| at + place as u64 + 1));
        if take <= overlap || at + take as u64 == len {
            break;
        }
        at += (take - overlap) as u64;
    }
    found.dedup();
    found.truncate(PAGE_MESSAGES_MAX + 1);
    Ok(found)
}

/// A message lies behind its `From ` line, and a line before the next one is no part of it. Where none begins or ends any more, the
/// file is another one by now.
pub(super) fn places(
    disk: &dyn Disk,
    path: &Path,
    items: &[Item],
) -> io::Result<Vec<io::Result<Option<Place>>>> {
    let file = disk.open_read(path)?;
    let len = file.len()?;
    let begins_at = |at: u64| -> io::Result<bool> {
        let mut begin = [0; BEGIN.len() + 1];
        let (from, want) = if at == 0 { (0, BEGIN.len()) } else { (at - 1, BEGIN.len() + 1) };
        if from + want as u64 > len {
            return Ok(false);
        }
        file.read_exact_at(&mut begin[..want], from)?;
        Ok(begin[..want].ends_with(BEGIN) && (at == 0 || begin[0] == b'\n'))
    };
    let place = |item: &Item| -> io::Result<Option<Place>> {
        let parsed = item.id.0.split_once('+').and_then(|(start, octets)| {
            let (start, octets): (u64, u64) = (start.parse().ok()?, octets.parse().ok()?);
            Some((start, octets, start.checked_add(octets)?))
        });
        let Some((start, octets, end)) = parsed else { return Ok(None) };
        if !begins_at(start)? || (end != len && !begins_at(end)?) {
            return Ok(None);
        }
        Ok(Some(Place { path: path.to_owned(), start, octets, quoted: true, item: None }))
    };
    Ok(items.iter().map(place).collect())
}

/// Takes off what mbox puts around and into a message: its first line, one `>` before `From `, and the empty line at its end.
#[derive(Default)]
pub(super) struct Quotes {
    begun: bool,
    /// A long line goes on, whose beginning was handed on.
    within: bool,
    /// The line that has not ended yet, as far as it matters.
    line: Vec<u8>,
    out: Vec<u8>,
    /// Held back: it may be the last one.
    empty: Vec<u8>,
}

impl Quotes {
    pub(super) fn push(&mut self, piece: &[u8], last: bool) -> &[u8] {
        self.out.clear();
        for line in piece.split_inclusive(|octet| *octet == b'\n') {
            self.line.extend_from_slice(line);
            if self.line.ends_with(b"\n") {
                self.line_ends();
            } else if self.line.len() > LINE_HELD {
                // What stands where its first line should, and does not end, is no such line.
                self.begun = true;
                let rest = std::mem::take(&mut self.line);
                self.hand_on(&rest);
                self.within = true;
            }
        }
        if last {
            let rest = std::mem::take(&mut self.line);
            if !rest.is_empty() {
                self.hand_on(&rest);
            }
        }
        &self.out
    }

    fn line_ends(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !self.begun {
            self.begun = true;
            return;
        }
        if !self.within && (line == b"\n" || line == b"\r\n") {
            self.out.append(&mut self.empty);
            self.empty = line;
        } else {
            self.hand_on(&line);
            self.within = false;
        }
    }

    fn hand_on(&mut self, line: &[u8]) {
        self.out.append(&mut self.empty);
        self.out.extend_from_slice(if self.within { line } else { unquoted(line) });
    }
}

fn unquoted(line: &[u8]) -> &[u8] {
    let marks = line.iter().take_while(|octet| **octet == b'>').count();
    if marks > 0 && line[marks..].starts_with(BEGIN) { &line[1..] } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what begins like a message and has no end of a line is neither gathered nor lost.
    #[test]
    fn a_first_line_without_end_is_content() {
        let (mut quotes, mut came) = (Quotes::default(), Vec::new());
        for piece in [b"From ".as_slice(), &[b'x'; 2 * LINE_HELD], &[b'y'; LINE_HELD]] {
            came.extend_from_slice(quotes.push(piece, false));
            assert!(quotes.line.len() <= LINE_HELD);
        }
        came.extend_from_slice(quotes.push(b"z", true));
        assert_eq!(
            (came.len(), &came[..6], came.last()),
            (6 + 3 * LINE_HELD, b"From x".as_slice(), Some(&b'z'))
        );
        let mut quotes = Quotes::default();
        assert_eq!(quotes.push(b"From x", true), b"From x");
        let mut quotes = Quotes::default();
        assert_eq!(quotes.push(b"From x\nSubject: a\n\n", true), b"Subject: a\n");
    }
}
