//! Folders, their states, and the pages of what changed in them.

use std::collections::HashMap;

use postern_shared::proto::imap::{Code, Command, Condition, ListEntry, MailboxStatus, Response, UidSet};

use super::changes::{Next, Page, Position, State, id_of, up_to};
use super::open::Opened;
use super::{ImapSource, folders};
use crate::sources::account::{Changes, Folder, FolderId, Item, ItemSet};
use crate::sources::{Cursor, SourceError};

const STATUS_ITEMS: &str = "(MESSAGES UIDNEXT UIDVALIDITY)";
const STATUS_ITEMS_MODSEQ: &str = "(MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)";

impl ImapSource {
    pub(super) async fn list_folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        let session = &self.connection.session;
        let capabilities = session.capabilities();
        let has = |name: &str| capabilities.has(name);
        let items = if capabilities.condstore() { STATUS_ITEMS_MODSEQ } else { STATUS_ITEMS };
        let with_status = has("LIST-STATUS") && has("LIST-EXTENDED");
        let command = if with_status {
            let roles = if has("SPECIAL-USE") { "SPECIAL-USE " } else { "" };
            Command::new("LIST \"\" \"*\" RETURN (").text(roles).text("STATUS ").text(items).text(")")
        } else if has("XLIST") && !has("SPECIAL-USE") {
            Command::new("XLIST \"\" \"*\"")
        } else {
            Command::new("LIST \"\" \"*\"")
        };
        let (mut entries, mut statuses) = (Vec::<ListEntry>::new(), Vec::new());
        let (max, host) = (self.limits.folders_max, self.settings.host.clone());
        let done = self.perform(command, "LIST", |response| {
            match response {
                Response::List(entry) => entries.push(entry),
                Response::MailboxStatus(status) => statuses.push(status),
                _ => {}
            }
            let many = entries.len() > max || statuses.len() > max;
            if many { Err(SourceError::TooMany { host: host.clone(), what: "folders", max }) } else { Ok(()) }
        });
        let (condition, text) = done.await?;
        if condition != Condition::Ok {
            return Err(self.refused("LIST", text));
        }
        let (utf8, namespaces) = (self.connection.session.is_utf8(), self.connection.session.namespaces());
        let mut found: Vec<Folder> =
            entries.iter().map(|entry| folders::folder_of(entry, utf8, namespaces)).collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found.dedup_by(|a, b| a.id == b.id);
        if !with_status {
            statuses = self.ask_statuses(&found, items).await?;
        }
        self.keep_states(&statuses, &mut found);
        Ok(found)
    }

    /// STATUS of each folder that holds messages, all of them under way together.
    async fn ask_statuses(
        &mut self,
        folders: &[Folder],
        items: &str,
    ) -> Result<Vec<MailboxStatus>, SourceError> {
        let utf8 = self.connection.session.is_utf8();
        let mut last = None;
        for folder in folders.iter().filter(|folder| folder.holds_messages) {
            let name = folders::wire_of(&folder.id, utf8);
            let command = Command::new("STATUS ").string(&name).text(" ").text(items);
            last = Some(self.connection.session.command(command, "STATUS"));
        }
        let mut statuses = Vec::new();
        let max = folders.len();
        if let Some(last) = last {
            // A refused one is a folder that vanished meanwhile, or one that will not open either: then that is said.
            self.until(last, |response| {
                match response {
                    Response::MailboxStatus(status) if statuses.len() < max => statuses.push(status),
                    _ => {}
                }
                Ok(())
            })
            .await?;
        }
        Ok(statuses)
    }

    fn keep_states(&mut self, statuses: &[MailboxStatus], folders: &mut [Folder]) {
        let utf8 = self.connection.session.is_utf8();
        self.states.clear();
        let mut messages = HashMap::new();
        for status in statuses {
            let id = folders::id_of(&status.name, utf8);
            messages.insert(id.clone(), status.messages);
            // Without both numbers nobody can say that nothing is new.
            if let (Some(validity), Some(uid_next)) = (status.uid_validity, status.uid_next) {
                let modseq = status.highest_modseq.unwrap_or(0);
                self.states.insert(id, State { validity, uid_next: Some(uid_next), modseq });
            }
        }
        for folder in folders {
            folder.messages = messages.get(&folder.id).copied().flatten();
        }
    }

    pub(super) async fn next_changes(
        &mut self,
        folder: &FolderId,
        after: Option<&Cursor>,
    ) -> Result<Changes, SourceError> {
        // Told by the list of folders: then it need not even be opened. Told once, for it grows old.
        if let (Some(known), Some(after)) = (self.states.remove(folder), after)
            && Position::read(after, &known).is_ok_and(|position| position.is_at(&known))
        {
            return Ok(nothing(after.clone(), known));
        }
        let afresh = self.opened.as_ref().is_some_and(|opened| opened.read_through);
        let mut state = self.open(folder, false, afresh).await?;
        let (mut position, restarted) = match after.map(|cursor| Position::read(cursor, &state)) {
            None => (Position::start(&state), None),
            Some(Ok(position)) => (position, None),
            Some(Err(why)) => (Position::start(&state), Some(why)),
        };
        let mut changes = Changes { restarted, ..nothing(position.cursor(), state) };
        if let Some(opened) = self.opened.as_mut().filter(|_| position.uid == 0) {
            opened.told = Some(0);
        }
        while changes.items.is_empty() && changes.flags.is_empty() && changes.vanished.is_empty() {
            match position.next(&state, self.width) {
                Next::New(first, last) => {
                    self.new_page(folder, (first, last), &mut state, &mut position, &mut changes).await?;
                }
                Next::Changed(first, last, since) => {
                    self.changed_page(folder, (first, last, since), &state, &mut position, &mut changes)
                        .await?;
                }
                Next::Nothing => break,
            }
        }
        changes.more = position.next(&state, 1) != Next::Nothing;
        changes.cursor = position.cursor();
        if let Some(opened) = &mut self.opened {
            opened.state = state;
            opened.read_through = !changes.more;
        }
        Ok(changes)
    }

    async fn new_page(
        &mut self,
        folder: &FolderId,
        (first, last): (u32, u32),
        state: &mut State,
        position: &mut Position,
        changes: &mut Changes,
    ) -> Result<(), SourceError> {
        let end = if state.uid_next.is_none() { "*".to_owned() } else { last.to_string() };
        let last = if state.uid_next.is_none() { u32::MAX } else { last };
        let command = Command::new(&format!("UID FETCH {first}:{end} (UID FLAGS INTERNALDATE RFC822.SIZE)"));
        let mut page = Page::new(self.limits.page_messages_max, first, last);
        let (condition, text) = self
            .perform(command, "FETCH", |response| {
                if let Response::Fetch(fetch) = response {
                    page.take(fetch);
                }
                Ok(())
            })
            .await?;
        if condition != Condition::Ok {
            if text.code.as_ref().is_some_and(Code::is_temporary) {
                return Err(self.refused("FETCH", text));
            }
            let (host, text) = (self.settings.host.clone(), format!("its messages cannot be listed: {text}"));
            return Err(SourceError::Folder { host, folder: folder.clone(), text });
        }
        self.adapt(&page);
        self.add_left_out(&mut page, (first, &end), state).await?;
        let (cut, complete_to) = (page.is_cut(), page.complete_to());
        for (uid, fetch) in page.into_messages() {
            changes.items.push(Item {
                id: id_of(state.validity, uid),
                flags: fetch.flags.unwrap_or_default(),
                internal_date: fetch.internal_date,
                octets: fetch.size.unwrap_or(0),
            });
            position.read_to(uid.get(), state);
        }
        if state.uid_next.is_some() || cut {
            position.read_to(complete_to, state);
        } else {
            // All there is was asked for: what comes next has a higher UID than the highest seen.
            state.uid_next = std::num::NonZeroU32::new(position.uid.saturating_add(1));
        }
        Ok(())
    }

    /// Adds to a page what the server left out: it is there and cannot be described, so whoever fetches it is told why. Asked for where
    /// numbers show that something may be missing.
    async fn add_left_out(
        &mut self,
        page: &mut Page,
        (first, end): (u32, &str),
        state: &State,
    ) -> Result<(), SourceError> {
        let Some(Opened { told, messages, .. }) = self.opened.clone() else { return Ok(()) };
        let (number, complete_to) = (page.number(told), page.complete_to());
        let to_the_end = !page.is_cut() && state.uid_next.is_none_or(|next| complete_to >= next.get() - 1);
        let all = !to_the_end || messages.is_none_or(|messages| number == Some(messages));
        let mut told = number;
        if number.is_none() || !all {
            let end = if page.is_cut() { complete_to.to_string() } else { end.to_owned() };
            match self.searched(&format!("{first}:{end}")).await? {
                Some(found) => found.into_iter().for_each(|uid| page.add(uid)),
                None => {
                    self.notes.push("the server does not search, so what it leaves out is not known".into());
                }
            }
            told = page.last_number();
        }
        if let Some(opened) = &mut self.opened {
            opened.told = told;
        }
        Ok(())
    }

    async fn changed_page(
        &mut self,
        folder: &FolderId,
        (first, last, since): (u32, u32, u64),
        state: &State,
        position: &mut Position,
        changes: &mut Changes,
    ) -> Result<(), SourceError> {
        let session = &self.connection.session;
        let vanished = if session.enabled().has("QRESYNC") { " VANISHED" } else { "" };
        let since = since.max(1);
        let command =
            Command::new(&format!("UID FETCH {first}:{last} (UID FLAGS) (CHANGEDSINCE {since}{vanished})"));
        let mut page = Page::new(self.limits.page_messages_max, first, last);
        let mut gone = UidSet::default();
        let (condition, text) = self
            .perform(command, "FETCH", |response| {
                match response {
                    Response::Fetch(fetch) => page.take(fetch),
                    Response::Vanished { earlier: true, uids } => gone = uids,
                    _ => {}
                }
                Ok(())
            })
            .await?;
        if condition != Condition::Ok {
            // Flags are counted only: a server that cannot tell them is told of, and all else goes on.
            self.notes.push(format!("{folder}: the server does not tell which flags changed: {text}"));
            position.swept_to(u32::MAX, state);
            return Ok(());
        }
        self.adapt(&page);
        let complete_to = page.complete_to();
        changes.vanished =
            ItemSet { validity: state.validity.get(), uids: up_to(&gone, complete_to), ..ItemSet::default() };
        for (uid, fetch) in page.into_messages() {
            changes.flags.push((id_of(state.validity, uid), fetch.flags.unwrap_or_default()));
        }
        position.swept_to(complete_to, state);
        Ok(())
    }

    /// Asks for more UIDs at once where they lie far apart.
    fn adapt(&mut self, page: &Page) {
        let page_max = u32::try_from(self.limits.page_messages_max).unwrap_or(u32::MAX).max(1);
        if page.is_cut() {
            self.width = page_max;
        } else if page.len() < self.limits.page_messages_max / 4 {
            self.width = self.width.saturating_mul(4);
        }
    }
}

fn nothing(cursor: Cursor, state: State) -> Changes {
    Changes {
        items: Vec::new(),
        flags: Vec::new(),
        vanished: ItemSet { validity: state.validity.get(), ..ItemSet::default() },
        restarted: None,
        cursor,
        more: false,
    }
}
