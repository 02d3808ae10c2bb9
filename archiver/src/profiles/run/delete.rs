//! Deleting at the source what is archived, due, was read back from the archive, and is the same at the source still.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::account::{BREAKS_MAX, Opens};
use crate::archive::{Kept, side_by_side};
use crate::profiles::job::RunError;
use crate::profiles::profile::AfterCare;
use crate::profiles::state::Pending;
use crate::sources::account::{Account, Deleted, FolderId, Item};
use crate::sources::{ItemId, SourceError};

/// Messages that are read back and then deleted together.
const TOGETHER: usize = 500;
/// Messages that are sorted by their folders together.
const SORTED_MAX: usize = 10 * TOGETHER;
/// When a source does not delete.
const PAUSE: Duration = Duration::from_secs(24 * 3600);
/// After so many folders that do not open the rest waits for the next run.
const FOLDERS_FAILED_MAX: u32 = 20;

/// Whether all that is due was dealt with.
enum Came {
    Through,
    /// Something failed in a folder; the session may be worth nothing any more.
    FolderFailed,
}

/// How often a session broke while it looked or deleted in a folder.
type Breaks = HashMap<FolderId, u32>;

impl Shared {
    /// Deletes what is due, and ends the session. A folder where nothing can be deleted, or in which two sessions break, is left
    /// alone for a day.
    pub(super) async fn delete_due<O: Opens>(
        self: &Arc<Self>,
        mut account: O::Account,
        opens: &O,
    ) -> Result<(), RunError> {
        if self.profile.after == AfterCare::Keep {
            // What an earlier version of the profile wanted to be deleted stays.
            self.state.forget_all_pending(&self.account)?;
            return Ok(account.finish().await.map(drop)?);
        }
        let (mut failed, mut breaks) = (0, Breaks::new());
        loop {
            let mut ordered = HashMap::new();
            let came = self.delete(&mut account, &mut ordered, &mut breaks).await?;
            let finished = account.finish().await;
            match (came, finished) {
                (Came::Through, finished) => return self.finished::<O::Account>(&finished?, &ordered),
                (Came::FolderFailed, Ok(finished)) => self.finished::<O::Account>(&finished, &ordered)?,
                (Came::FolderFailed, Err(_)) => {}
            }
            failed += 1;
            if failed == FOLDERS_FAILED_MAX || self.context.is_cancelled() {
                return Ok(());
            }
            account = opens.open().await?;
        }
    }

    /// Orders the deletion of all that is due; what was ordered, for a source that deletes at the end of the session.
    async fn delete(
        self: &Arc<Self>,
        account: &mut impl Account,
        ordered: &mut HashMap<ItemId, FolderId>,
        breaks: &mut Breaks,
    ) -> Result<Came, RunError> {
        let now = self.clock.wall();
        let mut behind: Option<Pending> = None;
        loop {
            let mut due = self.state.due(&self.account, now, behind.as_ref(), SORTED_MAX)?;
            let Some(last) = due.last() else { return Ok(Came::Through) };
            behind = Some(last.clone());
            due.sort_by(|a, b| (&a.folder, &a.item).cmp(&(&b.folder, &b.item)));
            for together in due.chunk_by(|a, b| a.folder == b.folder).flat_map(|all| all.chunks(TOGETHER)) {
                if self.context.is_cancelled() {
                    return Ok(Came::Through);
                }
                match self.delete_together(account, together, ordered).await {
                    Ok(()) => drop(breaks.remove(&together[0].folder)),
                    // What another session did not fetch it does not delete.
                    Err(RunError::Source(error)) if !account.deletes_only_what_it_fetched() => {
                        let folder = &together[0].folder;
                        let broke = breaks.entry(folder.clone()).or_default();
                        *broke += 1;
                        if *broke < BREAKS_MAX && !matches!(error, SourceError::Folder { .. }) {
                            self.tally.log(&format!("{}: {folder}: {error}; connecting again", self.name));
                            return Ok(Came::FolderFailed);
                        }
                        self.tally
                            .error(format!("{}: {folder}: nothing is deleted there: {error}", self.name));
                        self.state.postpone_folder(&self.account, folder, now, now.plus(PAUSE))?;
                        return Ok(Came::FolderFailed);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Messages of one folder.
    async fn delete_together(
        self: &Arc<Self>,
        account: &mut impl Account,
        due: &[Pending],
        ordered: &mut HashMap<ItemId, FolderId>,
    ) -> Result<(), RunError> {
        let Some(Pending { folder, .. }) = due.first() else { return Ok(()) };
        let items: Vec<Item> = due.iter().map(Pending::as_item).collect();
        let there = account.look(folder, &items).await?;
        let there: HashMap<ItemId, Item> = there.into_iter().map(|item| (item.id.clone(), item)).collect();
        let same = self.same(due, &there, account.names_come_again())?;
        let shared = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || shared.read_back(same));
        let whole = read.await.map_err(|error| RunError::Inside(error.to_string()))??;
        if whole.is_empty() {
            return Ok(());
        }
        let items: Vec<ItemId> = whole.into_iter().map(|pending| pending.item).collect();
        ordered.extend(items.iter().map(|item| (item.clone(), folder.clone())));
        self.state.order_deletion(&self.account, folder, &items)?;
        let deleted = account.delete(folder, &items).await?;
        self.deleted(&deleted, ordered)
    }

    /// Those that are at the source still. What is gone is forgotten; another message under such a name is to be archived, and so is
    /// one of which it is not known what it was.
    fn same(
        &self,
        due: &[Pending],
        there: &HashMap<ItemId, Item>,
        names_come_again: bool,
    ) -> Result<Vec<Pending>, RunError> {
        let (mut same, mut over) = (Vec::new(), Vec::new());
        for pending in due {
            let is_unknown = |now: &Item| names_come_again && !pending.is_comparable(now);
            match there.get(&pending.item) {
                Some(now) if is_unknown(now) && now.octets == 0 && now.internal_date.is_none() => {
                    let why = "the source tells neither its size nor its date now, so it may be another one";
                    self.tally.error(format!("{}: message {} stays: {why}", self.name, pending.item));
                    let later = self.clock.wall().plus(PAUSE);
                    self.state.postpone(&self.account, &pending.folder, &pending.item, later)?;
                    continue;
                }
                Some(now) if pending.is_other(now) || is_unknown(now) => {
                    let why = match pending.is_other(now) {
                        true => "the source has another message under the name of one that is archived",
                        false => "the source did not tell its size and date when it was archived",
                    };
                    self.tally.error(format!("{}: message {} stays: {why}", self.name, pending.item));
                    let (folder, at) = (&pending.folder, self.clock.wall());
                    self.state.retry(&self.account, (folder, &folder.0), now, why, at)?;
                    self.tally.add(|result| result.failed += 1);
                }
                Some(_) => {
                    same.push(pending.clone());
                    continue;
                }
                // A session that broke did not tell.
                None if pending.ordered => self.tally.add(|result| result.deleted_at_source += 1),
                None => self.tally.add(|result| result.gone += 1),
            }
            over.push((pending.folder.clone(), pending.item.clone()));
        }
        self.state.forget_pending(&self.account, over)?;
        Ok(same)
    }

    /// Those that the archive gives back whole. The others stay where they are, to be archived once more.
    fn read_back(&self, due: Vec<Pending>) -> Result<Vec<Pending>, RunError> {
        let read = side_by_side(due, |pending| {
            let kept: Result<Kept, String> = pending.message.parse();
            let read =
                kept.and_then(|kept| self.instance.check_arrival(&kept).map_err(|error| error.to_string()));
            (pending, read)
        });
        let mut whole = Vec::new();
        for (pending, read) in read {
            match read {
                Ok(()) => whole.push(pending),
                Err(why) => {
                    let again = pending.as_item();
                    let Pending { folder, item, message, .. } = pending;
                    let id = message.split(':').next().unwrap_or_default();
                    let why = format!("it is archived as {id} and cannot be read back: {why}");
                    self.tally.error(format!("{}: message {item} stays at the source: {why}", self.name));
                    let now = self.clock.wall();
                    self.state.retry(&self.account, (&folder, &folder.0), &again, &why, now)?;
                    self.state.forget_pending(&self.account, [(folder, item)])?;
                    self.tally.add(|result| result.failed += 1);
                }
            }
        }
        Ok(whole)
    }

    /// Keeps what became of deletions at the end of a session. First, so that a crash leaves them to be looked at once more, the
    /// cursors no longer name what is gone.
    fn finished<A: Account>(
        &self,
        deleted: &Deleted,
        ordered: &HashMap<ItemId, FolderId>,
    ) -> Result<(), RunError> {
        let filter = self.profile.scope.filter.mark();
        let mut gone: HashMap<&FolderId, Vec<ItemId>> = HashMap::new();
        for item in &deleted.deleted {
            if let Some(folder) = ordered.get(item) {
                gone.entry(folder).or_default().push(item.clone());
            }
        }
        if !gone.is_empty() {
            let cursors = self.state.cursors(&self.account, &filter)?;
            for (folder, items) in gone {
                let without = cursors.get(folder).and_then(|cursor| A::cursor_without(cursor, &items));
                if let Some(cursor) = without {
                    self.state.keep_cursor(&self.account, folder, (&filter, &cursor), &[])?;
                }
            }
        }
        self.deleted(deleted, ordered)
    }

    /// Keeps what became of deletions.
    pub(super) fn deleted(
        &self,
        deleted: &Deleted,
        ordered: &HashMap<ItemId, FolderId>,
    ) -> Result<(), RunError> {
        let place = |item: &ItemId| ordered.get(item).map(|folder| (folder.clone(), item.clone()));
        self.state.forget_pending(&self.account, deleted.deleted.iter().filter_map(place))?;
        self.tally.add(|result| result.deleted_at_source += deleted.deleted.len() as u64);
        let later = self.clock.wall().plus(PAUSE);
        for (item, why) in &deleted.kept {
            self.tally.error(format!(
                "{}: message {item} is archived but was not deleted at the source: {why}",
                self.name
            ));
            if let Some(folder) = ordered.get(item) {
                self.state.postpone(&self.account, folder, item, later)?;
            }
        }
        for (item, now_called) in &deleted.changed {
            let Some(folder) = ordered.get(item) else { continue };
            if let Some(id) = now_called {
                let why = "it was changed at the source since it was archived";
                self.tally.log(&format!("{}: message {item} stays for now: {why}", self.name));
                let again = Item { id: id.clone(), flags: Vec::new(), internal_date: None, octets: 0 };
                self.state.retry(&self.account, (folder, &folder.0), &again, why, self.clock.wall())?;
            }
            self.state.forget_pending(&self.account, [(folder.clone(), item.clone())])?;
        }
        Ok(())
    }
}
