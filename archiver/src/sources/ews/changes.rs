//! Pages of what happened in a folder: by SyncFolderItems, and in public folders by FindItem.

use postern_shared::clock::Clock;
use postern_shared::crypto::random;

use super::folders::part_of;
use super::position::{Position, Seen};
use super::settings::Part;
use super::soap::{Answer, Change, Flags, ItemRow, Place, Request};
use super::{EwsAccount, item};
use crate::sources::account::{Changes, FolderId, Item, ItemSet};
use crate::sources::{Cursor, ItemId, SourceError};

/// Pages of a public folder that bring nothing new, asked for in one call.
const QUIET_PAGES_MAX: usize = 50;
/// Items whose flags are asked for at once.
const FLAGS_MAX: usize = 100;

/// A public folder that is being read.
pub(super) struct Scan {
    folder: FolderId,
    /// What its cursors are known by.
    number: u64,
    offset: u64,
    seen: Seen,
}

impl EwsAccount {
    pub(super) async fn next_changes(
        &mut self,
        folder: &FolderId,
        after: Option<&Cursor>,
    ) -> Result<Changes, SourceError> {
        let Some((part, id)) = part_of(folder) else {
            return Err(self.no_folder(folder, "it is no folder of this source"));
        };
        self.route(part);
        let (mut position, mut restarted) = (Position::default(), None);
        if let Some(after) = after {
            match Position::read(after) {
                Ok(read) => position = read,
                Err(why) => restarted = Some(why),
            }
            let believe = self.service.limits.believe;
            let shown = self.stamps.get(folder);
            if shown.is_some_and(|shown| position.is_at(shown, self.clock.wall(), believe)) {
                // Once: who asks again in the same run wants to know what happened since.
                self.stamps.remove(folder);
                return Ok(changes(after.clone()));
            }
        }
        match part {
            Part::PublicFolders => self.find(folder, id, after, position, restarted).await,
            _ => self.sync(folder, id, position, restarted).await,
        }
    }

    async fn sync(
        &mut self,
        folder: &FolderId,
        id: &str,
        mut position: Position,
        mut restarted: Option<String>,
    ) -> Result<Changes, SourceError> {
        let place = Place::Id(id.to_owned());
        let max = self.service.limits.page_items_max.clamp(1, 512);
        let reply = loop {
            let request = Request::SyncFolderItems(&place, position.sync.as_deref(), max);
            let mut replies = self.service.ask(&request).await?;
            let reply = replies.pop().filter(|_| replies.is_empty());
            let reply =
                reply.ok_or_else(|| self.service.nonsense(&request, "has several response messages"))?;
            if !reply.answer.is_error() {
                let stuck = reply.answer.last == Some(false)
                    && (reply.answer.sync_state.is_none() || reply.answer.sync_state == position.sync);
                if stuck || reply.answer.sync_state.is_none() {
                    return Err(self.service.nonsense(&request, "makes no progress"));
                }
                break reply;
            }
            let Answer { code, text, .. } = &reply.answer;
            match code.as_str() {
                "ErrorInvalidSyncStateData" if position.sync.is_some() => {
                    restarted = Some(format!("the server forgot how far was read ({code}: {text})"));
                    position = Position::default();
                }
                "ErrorFolderNotFound"
                | "ErrorSyncFolderNotFound"
                | "ErrorItemNotFound"
                | "ErrorAccessDenied" => {
                    return Err(self.no_folder(folder, &format!("{code}: {text}")));
                }
                _ => return Err(self.service.refused(&request, &reply.answer)),
            }
        };
        let mut page = changes(Cursor(String::new()));
        let mut unsure = Vec::new();
        for (change, row) in reply.items {
            if row.id.is_empty() {
                continue;
            }
            match change {
                Change::Create => page.items.push(item(row)),
                Change::Update => {
                    page.flags.push((item::name(&row), words(row.flags, row.categories.clone())));
                    // What people work on is archived in each state that is met.
                    if !item::is_delivered(&row) {
                        page.items.push(item(row));
                    }
                }
                Change::Delete => page.vanished.add(ItemId(row.id)),
                Change::ReadFlag => unsure.push(row.id),
            }
        }
        self.look_at_flags(&unsure, &mut page.flags).await?;
        page.items.sort_by_key(|item| item.internal_date);
        page.more = reply.answer.last == Some(false);
        page.restarted = restarted;
        position = Position::default();
        position.sync = reply.answer.sync_state;
        if !page.more {
            position.ends(self.stamps.remove(folder), self.clock.wall());
        }
        page.cursor = position.cursor();
        Ok(page)
    }

    /// Of what was read or marked as unread the server tells no more than that: the other flags belong to it too.
    async fn look_at_flags(
        &mut self,
        ids: &[String],
        flags: &mut Vec<(ItemId, Vec<String>)>,
    ) -> Result<(), SourceError> {
        for some in ids.chunks(FLAGS_MAX) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            let replies = self.service.ask(&Request::GetItem(&some, false)).await?;
            // What is gone by now is told next time.
            for (_, row) in replies.into_iter().flat_map(|reply| reply.items) {
                if some.contains(&row.id.as_str()) {
                    flags.push((item::name(&row), words(row.flags, row.categories)));
                }
            }
        }
        Ok(())
    }

    async fn find(
        &mut self,
        folder: &FolderId,
        id: &str,
        after: Option<&Cursor>,
        position: Position,
        mut restarted: Option<String>,
    ) -> Result<Changes, SourceError> {
        let going_on =
            self.scan.take().filter(|scan| scan.folder == *folder && Some(scan.number) == position.scan);
        let going = going_on.is_some();
        let mut scan = going_on.unwrap_or_else(|| {
            let seen = position.seen.as_deref().map(Seen::read);
            if seen == Some(None) {
                restarted = Some("the cursor of the last run is no cursor".into());
            }
            let number = u64::from_le_bytes(random());
            Scan { folder: folder.clone(), number, offset: 0, seen: seen.flatten().unwrap_or_default() }
        });
        drop(position);
        let place = Place::Id(id.to_owned());
        let (mut page, mut last) = (changes(Cursor(String::new())), false);
        for _ in 0..QUIET_PAGES_MAX {
            let request = Request::FindItem(&place, scan.offset, self.service.limits.find_items_max);
            let mut replies = self.service.ask(&request).await?;
            let reply = replies.pop().unwrap_or_default();
            if reply.answer.is_error() {
                let Answer { code, text, .. } = &reply.answer;
                return match code.as_str() {
                    "ErrorFolderNotFound" | "ErrorItemNotFound" | "ErrorAccessDenied" => {
                        Err(self.no_folder(folder, &format!("{code}: {text}")))
                    }
                    _ => Err(self.service.refused(&request, &reply.answer)),
                };
            }
            let count = reply.items.len() as u64;
            let next = reply.answer.next_offset.unwrap_or(scan.offset + count);
            last = reply.answer.last != Some(false) || count == 0;
            if !last && next <= scan.offset {
                return Err(self.service.nonsense(&request, "makes no progress"));
            }
            scan.offset = next;
            if usize::try_from(next).is_ok_and(|next| next > self.service.limits.public_items_max) {
                return Err(self.too_many("items of a public folder", self.service.limits.public_items_max));
            }
            for (_, row) in reply.items {
                let name = item::name(&row);
                if !row.id.is_empty() && scan.seen.list(&name.0) {
                    page.items.push(item(row));
                }
            }
            if last || !page.items.is_empty() {
                break;
            }
        }
        page.more = !last;
        page.restarted = restarted;
        let mut position = Position::default();
        if last {
            // What is not there any more is forgotten.
            position.seen = Some(scan.seen.write_listed());
            position.ends(self.stamps.remove(folder), self.clock.wall());
            page.cursor = position.cursor();
            return Ok(page);
        }
        page.cursor = match after.filter(|_| going && !scan.seen.is_due()) {
            // What was archived since stands in nobody's cursor; a run that dies lists it again, and finds it archived.
            Some(after) => after.clone(),
            None => {
                (position.scan, position.seen) = (Some(scan.number), Some(scan.seen.write()));
                position.cursor()
            }
        };
        self.scan = Some(scan);
        Ok(page)
    }
}

fn changes(cursor: Cursor) -> Changes {
    Changes {
        items: Vec::new(),
        flags: Vec::new(),
        vanished: ItemSet::default(),
        restarted: None,
        cursor,
        more: false,
    }
}

fn item(row: ItemRow) -> Item {
    let id = item::name(&row);
    let flags = words(row.flags, row.categories);
    Item { id, flags, internal_date: row.received, octets: row.octets }
}

/// Flags as IMAP writes them, and categories as their users do.
pub(super) fn words(flags: Flags, categories: Vec<String>) -> Vec<String> {
    let known = [
        (flags.read, "\\Seen"),
        (flags.answered, "\\Answered"),
        (flags.flagged, "\\Flagged"),
        (flags.draft, "\\Draft"),
        (flags.forwarded, "$Forwarded"),
    ];
    let known = known.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned());
    // A category may look like a flag, and is none.
    known.chain(categories.into_iter().filter(|word| !word.is_empty() && !word.starts_with('\\'))).collect()
}
