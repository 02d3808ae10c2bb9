//! An account that keeps its mail: its folders one after the other, each page by page.
//!
//! Whatever a server does at a message, or while it lists a folder, is done to it once more in another session. At the second
//! time the message goes to the list of what is tried again, or the folder is left for the next run, and the others go on.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::sync::Arc;

use super::Shared;
use super::archivist::{Archivist, Filing, Order, Place};
use super::collect::Collect;
use super::held::LookedAt;
use super::patience::{LeftOut, Patience};
use crate::archive::{Placement, UNASSIGNED};
use crate::profiles::job::RunError;
use crate::profiles::profile::{AfterCare, Assign};
use crate::profiles::scope::{SLASH_IN_NAME, Verdict, path_of};
use crate::profiles::state::Retry;
use crate::sources::account::{Account, Changes, Folder, FolderId, Item};
use crate::sources::{Cursor, ItemId, SourceError};

/// How often a session breaks at a message or folder before that is left out.
pub(super) const BREAKS_MAX: u32 = 2;

/// Opens the same account again and again.
pub(in crate::profiles) trait Opens: Sync {
    /// What it opens.
    type Account: Account;

    /// Connects and logs in.
    fn open(&self) -> impl Future<Output = Result<Self::Account, SourceError>> + Send;
}

/// What is known of an account while it is pulled.
pub(super) struct Pull<'p> {
    pub(super) shared: &'p Arc<Shared>,
    user: Option<&'p str>,
    archivist: Archivist,
    cursors: HashMap<FolderId, Cursor>,
    retries: HashMap<FolderId, Vec<Retry>>,
    /// Folders that were read in this run.
    read: HashSet<FolderId>,
    /// How often a session broke at a message.
    suspects: HashMap<(FolderId, ItemId), u32>,
    /// How often one broke while a folder was listed, since its last page.
    unlisted: HashMap<FolderId, u32>,
    /// How far what waits for its time was looked at in a folder.
    pub(super) looked_at: HashMap<FolderId, LookedAt>,
    patience: Patience,
    /// Of what is tried again nothing comes in this run.
    tries_no_more: bool,
    pub(super) session: ThisSession,
}

/// What came of a session that broke.
#[derive(Default)]
pub(super) struct ThisSession {
    /// It is known at what it broke, so that another one may come further.
    pub(super) has_suspect: bool,
    /// Something was left out that the next one need not stumble over.
    pub(super) left_out: Option<LeftOut>,
    /// It was at what had failed before.
    tries_again: bool,
    /// A folder's messages have other names, so that what came may come again and again.
    restarted: bool,
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
    let cursors = shared.state.cursors(&shared.account, &filter)?;
    let mut pull = Pull {
        shared,
        user,
        cursors,
        retries: retries(shared)?,
        archivist: Archivist::start(shared),
        read: HashSet::new(),
        suspects: HashMap::new(),
        unlisted: HashMap::new(),
        looked_at: HashMap::new(),
        patience: Patience::default(),
        tries_no_more: false,
        session: ThisSession::default(),
    };
    let pulled = pull.sessions(opens).await;
    // What was handed over is archived whatever happened; and why it could not be is the better reason.
    pull.archivist.end().await?;
    let Some(account) = pulled? else { return Ok(()) };
    shared.unless_cancelled(shared.delete_due(account, opens)).await.unwrap_or(Ok(()))
}

fn retries(shared: &Shared) -> Result<HashMap<FolderId, Vec<Retry>>, RunError> {
    let mut retries: HashMap<FolderId, Vec<Retry>> = HashMap::new();
    for retry in shared.state.retries_of(&shared.account)? {
        retries.entry(FolderId(retry.folder.clone())).or_default().push(retry);
    }
    Ok(retries)
}

impl Pull<'_> {
    /// Session after session until all folders are read; the last session, which is still good, or `None` when the run was
    /// cancelled.
    async fn sessions<O: Opens>(&mut self, opens: &O) -> Result<Option<O::Account>, RunError> {
        let shared = self.shared;
        loop {
            let (new, had) = shared.tally.archived();
            self.session = ThisSession::default();
            let error = match shared.unless_cancelled(opens.open()).await {
                None => return Ok(None),
                Some(Ok(mut account)) => match shared.unless_cancelled(self.session(&mut account)).await {
                    None => return Ok(None),
                    Some(Ok(Came::Through)) => return Ok(Some(account)),
                    Some(Ok(Came::Again(error)) | Err(RunError::Source(error))) => error,
                    Some(Err(other)) => return Err(other),
                },
                Some(Err(error)) => error,
            };
            if shared.context.is_cancelled() {
                return Ok(None);
            }
            self.archivist.catch_up().await;
            let ThisSession { has_suspect, left_out, tries_again, restarted } = self.session;
            let (new_now, had_now) = shared.tally.archived();
            // What the archive had is no progress where it may be told of for ever.
            let came = new_now > new || (had_now > had && !restarted);
            let pause = self.patience.broke(came, left_out);
            if tries_again && self.patience.hands_nothing_over() {
                // What failed before fails again: what is new in other folders shall not wait for that.
                self.tries_no_more = true;
                self.patience.pardon();
            }
            let may_pass = left_out.is_some() || has_suspect || error.is_temporary();
            if !may_pass || self.patience.is_over() {
                return Err(error.into());
            }
            shared.tally.log(&format!("{}: {error}; connecting again", shared.name));
            let mut context = shared.context.clone();
            let _ = tokio::time::timeout(pause, context.cancelled()).await;
            // What was committed meanwhile need not come again, and what was left out is not asked for.
            let filter = shared.profile.scope.filter.mark();
            self.cursors = shared.state.cursors(&shared.account, &filter)?;
            self.retries = retries(shared)?;
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
        let unlisted = account.unlisted();
        if self.read.is_empty() {
            for why in &unlisted {
                self.shared.tally.error(format!("{}: {why}", self.shared.name));
                self.shared.tally.add(|result| result.folders_failed += 1);
            }
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
                Err(RunError::Source(error)) if self.is_left(folder, &error) => {
                    let (name, path) = (&self.shared.name, path_of(folder));
                    self.shared.tally.error(format!("{name}: {path} is left for another run: {error}"));
                    self.shared.tally.add(|result| result.folders_failed += 1);
                    self.read.insert(folder.id.clone());
                    if matches!(error, SourceError::Folder { .. }) {
                        // Refused in good order: the others can be read in this session.
                        continue;
                    }
                    self.session.left_out = Some(LeftOut::Folder);
                    return Ok(Came::Again(error));
                }
                Err(other) => return Err(other),
            }
            self.patience.read_folder();
            for note in account.take_notes() {
                self.shared.tally.error(format!("{}: {note}", self.shared.name));
            }
            self.read.insert(folder.id.clone());
        }
        // What was not listed may be there.
        if unlisted.is_empty() {
            self.forget_gone(&folders)?;
        }
        for folder in folders.iter().filter(|folder| self.shared.profile.scope.wants(folder)) {
            self.fetch_before_deletion(account, folder).await?;
        }
        Ok(Came::Through)
    }

    /// Whether the other folders shall not wait for that one any longer.
    fn is_left(&self, folder: &Folder, error: &SourceError) -> bool {
        matches!(error, SourceError::Folder { .. })
            || self.unlisted.get(&folder.id).is_some_and(|breaks| *breaks >= BREAKS_MAX)
    }

    /// Where messages of a folder go.
    fn place(&self, folder: &Folder, again: bool) -> Arc<Place> {
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
        Arc::new(Place { folder: folder.id.clone(), name: path_of(folder), filing, again, safe: None })
    }

    async fn folder(&mut self, account: &mut impl Account, folder: &Folder) -> Result<(), RunError> {
        let shared = self.shared;
        let place = self.place(folder, false);
        let to_try_again = self.retries.get(&folder.id).into_iter().flatten();
        let mut known: HashSet<ItemId> = to_try_again.map(|retry| ItemId(retry.item.clone())).collect();
        let mut after = self.cursors.get(&folder.id).cloned();
        known.extend(shared.state.done(&shared.account, &folder.id)?);
        if after.is_none() {
            // With another filter, perhaps: all of it is judged anew.
            shared.state.release(&shared.account, &folder.id, None)?;
        }
        let mut is_restarted = false;
        // What no cursor has passed yet.
        let mut passed = Vec::new();
        loop {
            let changes = self.changes(account, folder, after.as_ref()).await?;
            if let Some(why) = &changes.restarted {
                shared
                    .tally
                    .log(&format!("{}: {}: {why}; all of it is listed again", shared.name, place.name));
                shared.state.restart(&shared.account, &folder.id)?;
                known.clear();
                (is_restarted, self.session.restarted) = (true, true);
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
            passed.extend(changes.items.into_iter().map(|item| item.id));
            // Also when the cursor says the same as before: what it does not name must not stay known.
            if after.as_ref() != Some(&changes.cursor) || !passed.is_empty() {
                let items = std::mem::take(&mut passed);
                let (place, cursor) = (Arc::clone(&place), changes.cursor.clone());
                self.order(Order::Read { place, cursor, items }).await?;
            }
            after = Some(changes.cursor);
            if shared.context.is_cancelled() {
                return Ok(());
            }
            if !changes.more {
                break;
            }
        }
        self.held(account, &place).await?;
        // Behind what is new: one at which the server hangs keeps nothing but those like it. Names of before mean nothing now.
        if is_restarted { Ok(()) } else { self.try_again(account, &place).await }
    }

    async fn changes(
        &mut self,
        account: &mut impl Account,
        folder: &Folder,
        after: Option<&Cursor>,
    ) -> Result<Changes, RunError> {
        let changes = account.changes(&folder.id, after).await;
        if changes.is_ok() {
            self.unlisted.remove(&folder.id);
        } else if !matches!(changes, Err(SourceError::Folder { .. })) {
            *self.unlisted.entry(folder.id.clone()).or_default() += 1;
            self.session.has_suspect = true;
        }
        Ok(changes?)
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

    pub(super) async fn fetch(
        &mut self,
        account: &mut impl Account,
        place: &Arc<Place>,
        items: &[Item],
    ) -> Result<(), RunError> {
        self.shared.tally.expect(items.len() as u64);
        let mut collect = Collect::new(self.shared, &self.archivist.orders, Arc::clone(place), items)
            .exact(account.claims_exact_sizes());
        let fetched = account.fetch(&place.folder, items, &mut collect).await;
        // What came whole before it broke is worth keeping.
        let flushed = collect.flush().await.map_err(SourceError::Sink);
        match &fetched {
            Ok(()) => collect.forgotten().map_err(SourceError::Sink)?,
            Err(SourceError::Sink(_)) => {}
            Err(error) => {
                let suspect = account.suspect();
                if let Some(item) = items.iter().find(|item| Some(&item.id) == suspect.as_ref()) {
                    self.suspect(place, item, error)?;
                }
            }
        }
        Ok(fetched.and(flushed)?)
    }

    /// The session broke at that message.
    fn suspect(&mut self, place: &Place, item: &Item, error: &SourceError) -> Result<(), RunError> {
        self.session.has_suspect = true;
        let breaks = self.suspects.entry((place.folder.clone(), item.id.clone())).or_default();
        *breaks += 1;
        if *breaks >= BREAKS_MAX {
            let why = format!("the session broke twice while it was fetched: {error}");
            self.shared.failed(place, item, &why)?;
            self.session.left_out = Some(LeftOut::Message);
        }
        Ok(())
    }

    /// What is due and may have become another message is fetched, and archived if it has.
    async fn fetch_before_deletion(
        &mut self,
        account: &mut impl Account,
        folder: &Folder,
    ) -> Result<(), RunError> {
        let shared = self.shared;
        if shared.profile.after == AfterCare::Keep || shared.context.is_cancelled() {
            return Ok(());
        }
        if !account.deletes_only_what_it_fetched() {
            return Ok(());
        }
        self.archivist.catch_up().await;
        let now = shared.clock.wall();
        let due = shared.state.pending(&shared.account)?.into_iter();
        let due = due.filter(|one| one.folder == folder.id && one.due.is_some_and(|due| due <= now));
        let due: Vec<ItemId> = due.map(|one| one.item).collect();
        let items = account.to_fetch_before_deletion(&folder.id, &due);
        if items.is_empty() {
            return Ok(());
        }
        let count = items.len();
        shared.tally.log(&format!("{}: {count} messages are looked at before they are deleted", shared.name));
        self.fetch(account, &self.place(folder, true), &items).await
    }

    async fn order(&self, order: Order) -> Result<(), RunError> {
        let sent = self.archivist.orders.send(order).await;
        Ok(sent.map_err(|_| SourceError::Sink(io::Error::other("archiving ended")))?)
    }

    /// Tries again what could not be had and is due.
    async fn try_again(&mut self, account: &mut impl Account, place: &Arc<Place>) -> Result<(), RunError> {
        let now = self.shared.clock.wall();
        let retries = self.retries.get(&place.folder).into_iter().flatten();
        let due = retries.filter(|retry| !retry.discarded && retry.next <= now);
        let due: Vec<Item> = due.map(Retry::as_item).collect();
        if due.is_empty() || self.tries_no_more {
            return Ok(());
        }
        let (count, name) = (due.len(), &self.shared.name);
        self.shared.tally.log(&format!("{name}: {}: trying {count} messages again", place.name));
        self.session.tries_again = true;
        let due = self.described(account, place, due).await?;
        self.fetch(account, place, &due).await?;
        self.session.tries_again = false;
        Ok(())
    }

    /// Asks for the size of messages of which nobody knows it: it tells whether they come whole, and tells them from others of their
    /// name when they are to be deleted. Looking is a part of fetching them.
    async fn described(
        &mut self,
        account: &mut impl Account,
        place: &Place,
        mut items: Vec<Item>,
    ) -> Result<Vec<Item>, RunError> {
        let unknown: Vec<Item> = items.iter().filter(|item| item.octets == 0).cloned().collect();
        if unknown.is_empty() {
            return Ok(items);
        }
        let there = match account.look(&place.folder, &unknown).await {
            Ok(there) => there,
            Err(error) => {
                for item in &unknown {
                    self.suspect(place, item, &error)?;
                }
                return Err(error.into());
            }
        };
        let there: HashMap<&ItemId, &Item> = there.iter().map(|item| (&item.id, item)).collect();
        for item in &mut items {
            if let Some(now) = there.get(&item.id).filter(|_| item.octets == 0) {
                item.octets = now.octets;
                item.internal_date = now.internal_date.or(item.internal_date);
            }
        }
        Ok(items)
    }

    /// What is on the list of a folder that is gone is gone.
    fn forget_gone(&self, folders: &[Folder]) -> Result<(), RunError> {
        let there: HashSet<&FolderId> = folders.iter().map(|folder| &folder.id).collect();
        let Shared { state, account, clock, tally, .. } = &**self.shared;
        let gone = state.forget_folders(account, &there, clock.wall())?;
        tally.add(|result| result.gone += gone);
        Ok(())
    }
}
