//! An account that keeps its mail: its folders one after the other, each page by page.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::archivist::{Archivist, Filing, Order, Place};
use super::collect::Collect;
use crate::archive::{Placement, UNASSIGNED};
use crate::profiles::job::RunError;
use crate::profiles::profile::Assign;
use crate::profiles::scope::{SLASH_IN_NAME, Verdict, path_of};
use crate::profiles::state::Retry;
use crate::sources::account::{Account, Changes, Folder, FolderId, Item};
use crate::sources::{Cursor, ItemId, SourceError};

/// How often a session that breaks is taken up again before any message came.
const ATTEMPTS_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// Opens the same account again and again.
pub(in crate::profiles) trait Opens: Sync {
    /// What it opens.
    type Account: Account;

    /// Connects and logs in.
    fn open(&self) -> impl Future<Output = Result<Self::Account, SourceError>> + Send;
}

/// What is known of an account while it is pulled.
struct Pull<'p> {
    shared: &'p Arc<Shared>,
    user: Option<&'p str>,
    archivist: Archivist,
    cursors: HashMap<FolderId, Cursor>,
    retries: HashMap<FolderId, Vec<Retry>>,
    /// Folders that were read in this run.
    read: HashSet<FolderId>,
}

/// How far a session came.
enum Came {
    /// To the end.
    Through,
    /// The session can do no more, but another one may.
    Again(SourceError),
}

/// Pulls all of an account that is wanted. `user` is whose it is.
pub(in crate::profiles) async fn pull<O: Opens>(
    shared: &Arc<Shared>,
    user: Option<&str>,
    opens: &O,
) -> Result<(), RunError> {
    let filter = shared.profile.scope.filter.mark();
    let mut retries: HashMap<FolderId, Vec<Retry>> = HashMap::new();
    for retry in shared.state.retries_of(&shared.account)? {
        retries.entry(FolderId(retry.folder.clone())).or_default().push(retry);
    }
    let cursors = shared.state.cursors(&shared.account, &filter)?;
    let archivist = Archivist::start(shared);
    let mut pull = Pull { shared, user, archivist, cursors, retries, read: HashSet::new() };
    let pulled = pull.sessions(opens).await;
    // What was handed over is archived whatever happened; and why it could not be is the better reason.
    pull.archivist.end().await?;
    let Some(account) = pulled? else { return Ok(()) };
    shared.delete_due(account, opens).await
}

impl Pull<'_> {
    /// Session after session until all folders are read; the last session, which is still good, or `None` when the run was
    /// cancelled.
    async fn sessions<O: Opens>(&mut self, opens: &O) -> Result<Option<O::Account>, RunError> {
        let mut attempts = 0;
        loop {
            let before = self.shared.tally.archived();
            let error = match opens.open().await {
                Ok(mut account) => match self.session(&mut account).await {
                    Ok(Came::Through) => return Ok(Some(account)),
                    Ok(Came::Again(error)) => error,
                    Err(RunError::Source(error)) => error,
                    Err(other) => return Err(other),
                },
                Err(error) => error,
            };
            if self.shared.context.is_cancelled() {
                return Ok(None);
            }
            self.archivist.catch_up().await;
            let is_folder = matches!(error, SourceError::Folder { .. });
            attempts = if is_folder || self.shared.tally.archived() > before { 0 } else { attempts + 1 };
            if (!is_folder && !error.is_temporary()) || attempts > ATTEMPTS_MAX {
                return Err(error.into());
            }
            self.shared.tally.log(&format!("{}: {error}; connecting again", self.shared.name));
            if !is_folder {
                let mut context = self.shared.context.clone();
                let _ = tokio::time::timeout(PAUSE * attempts, context.cancelled()).await;
            }
            // What was committed meanwhile need not come again.
            let filter = self.shared.profile.scope.filter.mark();
            self.cursors = self.shared.state.cursors(&self.shared.account, &filter)?;
        }
    }

    async fn session(&mut self, account: &mut impl Account) -> Result<Came, RunError> {
        let folders = account.folders().await?;
        let wanted: Vec<&Folder> =
            folders.iter().filter(|folder| self.shared.profile.scope.wants(folder)).collect();
        if self.read.is_empty() {
            let (all, wanted) = (folders.len(), wanted.len());
            self.shared.tally.log(&format!("{}: {wanted} of {all} folders are wanted", self.shared.name));
        }
        for folder in wanted {
            if self.shared.context.is_cancelled() {
                return Ok(Came::Through);
            }
            if self.read.contains(&folder.id) {
                continue;
            }
            match self.folder(account, folder).await {
                Ok(()) => {}
                Err(RunError::Source(error @ SourceError::Folder { .. })) => {
                    self.shared.tally.error(format!("{}: {error}", self.shared.name));
                    self.shared.tally.add(|result| result.folders_failed += 1);
                    self.read.insert(folder.id.clone());
                    return Ok(Came::Again(error));
                }
                Err(other) => return Err(other),
            }
            self.read.insert(folder.id.clone());
        }
        self.forget_gone(&folders)?;
        Ok(Came::Through)
    }

    /// Where messages of a folder go.
    fn place(&self, folder: &Folder) -> Arc<Place> {
        let shared = self.shared;
        let mut path = path_of(folder);
        if let Some(prefix) = &shared.profile.prefix {
            path = format!("{prefix}/{path}");
        }
        let filing = match (&shared.profile.assign, self.user) {
            (Assign::Envelope {}, _) => Filing::Multidrop,
            (Assign::User { user }, _) => Filing::Folder(Placement { archive: user.clone(), folder: path }),
            (Assign::Account {}, Some(user)) => {
                Filing::Folder(Placement { archive: user.to_owned(), folder: path })
            }
            (Assign::Account {}, None) => {
                let account = shared.name.replace('/', &SLASH_IN_NAME.to_string());
                Filing::Folder(Placement { archive: UNASSIGNED.into(), folder: format!("{account}/{path}") })
            }
        };
        Arc::new(Place { folder: folder.id.clone(), name: path_of(folder), filing, safe: None })
    }

    async fn folder(&mut self, account: &mut impl Account, folder: &Folder) -> Result<(), RunError> {
        let shared = self.shared;
        let place = self.place(folder);
        let mut known = self.try_again(account, &place).await?;
        let mut after = self.cursors.get(&folder.id).cloned();
        known.extend(shared.state.done(&shared.account, &folder.id)?);
        if after.is_none() {
            // With another filter, perhaps: all of it is judged anew.
            shared.state.release(&shared.account, &folder.id, None)?;
        }
        loop {
            let changes = account.changes(&folder.id, after.as_ref()).await?;
            if let Some(why) = &changes.restarted {
                shared
                    .tally
                    .log(&format!("{}: {}: {why}; all of it is listed again", shared.name, place.name));
                shared.state.restart(&shared.account, &folder.id)?;
                known.clear();
            }
            shared.tally.add(|result| {
                result.flags_changed += changes.flags.len() as u64;
                result.vanished += changes.vanished.len();
            });
            let wanted = self.wanted(&changes, &known, &folder.id)?;
            if !wanted.is_empty() {
                let count = wanted.len();
                shared.tally.log(&format!("{}: {}: {count} messages", shared.name, place.name));
                self.fetch(account, &place, &wanted).await?;
            }
            if after.as_ref() != Some(&changes.cursor) {
                let items = changes.items.into_iter().map(|item| item.id).collect();
                let (place, cursor) = (Arc::clone(&place), changes.cursor.clone());
                self.order(Order::Read { place, cursor, items }).await?;
            }
            after = Some(changes.cursor);
            if !changes.more || shared.context.is_cancelled() {
                break;
            }
        }
        let wanted = shared.wanted_by_now(account, &folder.id).await?;
        if !wanted.is_empty() {
            self.fetch(account, &place, &wanted).await?;
        }
        Ok(())
    }

    /// What of a page is wanted now; what will be later is kept in mind.
    fn wanted(
        &self,
        changes: &Changes,
        known: &HashSet<ItemId>,
        folder: &FolderId,
    ) -> Result<Vec<Item>, RunError> {
        let (now, mut wanted, mut later) = (self.shared.clock.wall(), Vec::new(), Vec::new());
        for item in changes.items.iter().filter(|item| !known.contains(&item.id)) {
            match self.shared.profile.scope.filter.judge(item, now) {
                Verdict::Wanted => wanted.push(item.clone()),
                Verdict::Later => later.push(item.clone()),
                Verdict::Unwanted => self.shared.tally.add(|result| result.unwanted += 1),
            }
        }
        self.shared.state.hold(&self.shared.account, folder, &later)?;
        Ok(wanted)
    }

    async fn fetch(
        &self,
        account: &mut impl Account,
        place: &Arc<Place>,
        items: &[Item],
    ) -> Result<(), RunError> {
        self.shared.tally.expect(items.len() as u64);
        let mut collect = Collect::new(self.shared, &self.archivist.orders, Arc::clone(place), items);
        let fetched = account.fetch(&place.folder, items, &mut collect).await;
        // What came whole before it broke is worth keeping.
        let flushed = collect.flush().await.map_err(SourceError::Sink);
        Ok(fetched.and(flushed)?)
    }

    async fn order(&self, order: Order) -> Result<(), RunError> {
        let sent = self.archivist.orders.send(order).await;
        Ok(sent.map_err(|_| SourceError::Sink(io::Error::other("archiving ended")))?)
    }

    /// Tries again what could not be had and is due; the names of all that is on the list.
    async fn try_again(
        &self,
        account: &mut impl Account,
        place: &Arc<Place>,
    ) -> Result<HashSet<ItemId>, RunError> {
        let Some(retries) = self.retries.get(&place.folder) else { return Ok(HashSet::new()) };
        let now = self.shared.clock.wall();
        let due = retries.iter().filter(|retry| !retry.discarded && retry.next <= now);
        let due: Vec<Item> = due.map(Retry::as_item).collect();
        if !due.is_empty() {
            let (count, name) = (due.len(), &self.shared.name);
            self.shared.tally.log(&format!("{name}: {}: trying {count} messages again", place.name));
            self.fetch(account, place, &due).await?;
        }
        Ok(retries.iter().map(|retry| ItemId(retry.item.clone())).collect())
    }

    /// What is on the list of a folder that is gone is gone.
    fn forget_gone(&self, folders: &[Folder]) -> Result<(), RunError> {
        let there: HashSet<&FolderId> = folders.iter().map(|folder| &folder.id).collect();
        for (folder, retries) in self.retries.iter().filter(|(folder, _)| !there.contains(folder)) {
            for retry in retries {
                let item = ItemId(retry.item.clone());
                self.shared.state.forget_retry(&self.shared.account, folder, &item)?;
                self.shared.tally.add(|result| result.gone += 1);
            }
        }
        self.shared.state.forget_folders(&self.shared.account, &there)?;
        Ok(())
    }
}
