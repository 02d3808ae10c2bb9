//! A gateway's mailbox: what is archived and was read back is deleted, so the mailbox empties itself.
//!
//! A session is finished now and then, so that a run that breaks repeats little; what is repeated folds into what is there. What
//! was read back is kept as such before the session ends: when it breaks, the next one begins by deleting that.
//!
//! A message at which two sessions break (a gateway hangs up amid one that it finds damaged) goes to the list of what is tried
//! again, and the others go on. What is on it comes last.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Shared;
use super::archivist::{Archivist, Filing, Place};
use super::collect::Collect;
use super::patience::{LeftOut, Patience};
use crate::archive::{ArchiveError, Kept};
use crate::profiles::job::RunError;
use crate::profiles::profile::AfterCare;
use crate::profiles::state::Pending;
use crate::sources::account::{FolderId, Item};
use crate::sources::gateway::{GatewaySource, Limits, Settings};
use crate::sources::{ItemId, Source, SourceError, Waiting};

/// After so many messages, or octets, the session is finished and another one begun.
const SESSION_MESSAGES: usize = 5000;
const SESSION_OCTETS: u64 = 256 * 1024 * 1024;
/// Messages that are listed at once.
const LISTED_MAX: usize = if cfg!(test) { 12 } else { 1_000_000 };
/// How often a session breaks at a message before that is left out.
const BREAKS_MAX: u32 = 2;

/// Pulls everything from a gateway's mailbox.
pub(in crate::profiles) async fn pull_gateway(
    shared: &Arc<Shared>,
    settings: &Settings,
) -> Result<(), RunError> {
    let archivist = Archivist::start(shared);
    let (told, safe) = unbounded_channel();
    let (folder, name) = (FolderId(String::new()), String::new());
    let place = Arc::new(Place { folder, name, filing: Filing::Gateway, again: false, safe: Some(told) });
    let mut pull = Pull {
        shared,
        archivist,
        place,
        safe,
        handed: HashSet::new(),
        suspects: HashMap::new(),
        failed_before: HashSet::new(),
        patience: Patience::default(),
        broke: false,
        listed: false,
        at: None,
    };
    let pulled = pull.sessions(settings).await;
    // What was handed over is archived whatever happened; and why it could not be is the better reason.
    pull.archivist.end().await?;
    pulled
}

struct Pull<'p> {
    shared: &'p Arc<Shared>,
    archivist: Archivist,
    place: Arc<Place>,
    /// What was read back from the archive.
    safe: UnboundedReceiver<Vec<ItemId>>,
    /// What came, or did not and it was said why: in one run nothing is asked for again.
    handed: HashSet<ItemId>,
    /// How often a session broke at a message.
    suspects: HashMap<ItemId, u32>,
    /// What is tried again.
    failed_before: HashSet<ItemId>,
    patience: Patience,
    /// Whether the last session broke.
    broke: bool,
    /// Whether the gateway listed its messages in this run.
    listed: bool,
    /// The message that is awaited.
    at: Option<Item>,
}

impl Pull<'_> {
    async fn sessions(&mut self, settings: &Settings) -> Result<(), RunError> {
        let shared = self.shared;
        loop {
            let handed = self.handed.len();
            self.at = None;
            let ended = shared.unless_cancelled(self.session(settings)).await;
            let came = self.handed.len() > handed;
            let error = match ended {
                None | Some(Ok(false)) => return Ok(()),
                Some(Ok(true)) if shared.context.is_cancelled() => return Ok(()),
                Some(Ok(true)) => {
                    self.broke = false;
                    if came {
                        self.patience.came();
                    }
                    continue;
                }
                Some(Err(RunError::Source(error))) => error,
                Some(Err(other)) => return Err(other),
            };
            if shared.context.is_cancelled() {
                return Ok(());
            }
            self.archivist.catch_up().await;
            self.broke = true;
            let at = self.at.take().filter(|_| !matches!(error, SourceError::Sink(_)));
            let left_out = match &at {
                Some(item) if self.suspect(item, &error)? => Some(LeftOut::Message),
                _ => None,
            };
            let pause = self.patience.broke(came, left_out);
            let tried_again = at.as_ref().is_some_and(|item| self.failed_before.contains(&item.id));
            if tried_again && self.patience.hands_nothing_over() {
                // All others came before.
                shared
                    .tally
                    .log(&format!("{}: {error}; what failed before is left for another run", shared.name));
                return Ok(());
            }
            let may_pass = at.is_some() || error.is_temporary();
            if !self.listed || !may_pass || self.patience.is_over() {
                return Err(error.into());
            }
            shared.tally.log(&format!("{}: {error}; connecting again", shared.name));
            let mut context = shared.context.clone();
            let _ = tokio::time::timeout(pause, context.cancelled()).await;
        }
    }

    /// The session broke at that message; whether the others wait for it no longer.
    fn suspect(&mut self, item: &Item, error: &SourceError) -> Result<bool, RunError> {
        let breaks = self.suspects.entry(item.id.clone()).or_default();
        *breaks += 1;
        if *breaks < BREAKS_MAX {
            return Ok(false);
        }
        let why = format!("the session broke twice while it was fetched: {error}");
        self.shared.failed(&self.place, item, &why)?;
        self.handed.insert(item.id.clone());
        Ok(true)
    }

    /// One session; whether messages are left that another session should pull.
    async fn session(&mut self, settings: &Settings) -> Result<bool, RunError> {
        let shared = self.shared;
        let (message_octets_max, messages_max) = (shared.message_octets_max, LISTED_MAX);
        let limits = Limits { message_octets_max, messages_max, ..Limits::default() };
        let mut source = GatewaySource::connect(settings, limits).await?;
        let waiting = source.list(None).await?;
        self.listed = true;
        // Of a session that broke: those are known now.
        while self.safe.try_recv().is_ok() {}
        let safe = safe_already(shared, &waiting, &self.place.folder).await?;
        let mut new: Vec<&Waiting> = waiting
            .iter()
            .filter(|message| !safe.known.contains(&message.id) && !self.handed.contains(&message.id))
            .collect();
        // In order, but for what may break the session again.
        self.failed_before.extend(safe.again);
        new.sort_by_key(|message| self.failed_before.contains(&message.id));
        // After one that broke, first what is safe is deleted: this one may break too.
        let wanted = if self.broke && !safe.due.is_empty() { Vec::new() } else { one_session_of(&new) };
        shared.tally.log(&format!(
            "{}: {} messages, {} of them new{}",
            shared.name,
            waiting.len(),
            new.len(),
            match source.left_out() {
                0 => String::new(),
                more => format!("; {more} more are listed when these are gone"),
            }
        ));
        shared.tally.expect(wanted.len() as u64);
        let (more, behind) = (new.len() > wanted.len(), source.left_out());
        source.acknowledge(&safe.due)?;
        self.fetch(&mut source, &wanted).await?;
        self.archivist.catch_up().await;
        self.acknowledge(&mut source)?;
        let finished = source.finish().await?;
        let gone = finished.deleted.iter().map(|id| (self.place.folder.clone(), id.clone()));
        shared.state.forget_pending(&shared.account, gone)?;
        shared.tally.add(|result| result.deleted_at_source += finished.deleted.len() as u64);
        let is_emptied = !finished.deleted.is_empty();
        for (id, why) in finished.kept {
            shared.tally.error(format!("{id} is archived but was not deleted at the source: {why}"));
        }
        if behind > 0 && new.is_empty() && !is_emptied {
            // Whoever reads the result is to know that mail waits there that does not come.
            let what = "messages, of which the first ones stay there, so those behind them are not archived: let the profile \
                        delete them sooner ([after] of docs/profiles.md)";
            return Err(SourceError::TooMany { host: settings.host.clone(), what, max: LISTED_MAX }.into());
        }
        Ok(more || (behind > 0 && (!wanted.is_empty() || is_emptied)))
    }

    async fn fetch(&mut self, source: &mut GatewaySource, wanted: &[Item]) -> Result<(), RunError> {
        let ids: Vec<ItemId> = wanted.iter().map(|item| item.id.clone()).collect();
        source.request(&ids)?;
        let orders = self.archivist.orders.clone();
        let mut collect = Collect::new(self.shared, &orders, Arc::clone(&self.place), wanted);
        let mut fetched = Ok(());
        for item in wanted {
            if self.shared.context.is_cancelled() {
                break;
            }
            self.at = Some(item.clone());
            match source.hand_over(&mut collect).await {
                Ok(_) => drop(self.handed.insert(item.id.clone())),
                Err(error) => {
                    fetched = Err(error);
                    break;
                }
            }
            self.at = None;
            self.acknowledge(source)?;
        }
        // What came whole before it broke is worth keeping.
        let flushed = collect.flush().await.map_err(SourceError::Sink);
        Ok(fetched.and(flushed)?)
    }

    fn acknowledge(&mut self, source: &mut GatewaySource) -> Result<(), SourceError> {
        while let Ok(safe) = self.safe.try_recv() {
            source.acknowledge(&safe)?;
        }
        Ok(())
    }
}

/// As many of them as one session fetches.
fn one_session_of(new: &[&Waiting]) -> Vec<Item> {
    let mut octets = 0_u64;
    let fits = |message: &&&Waiting| {
        // The first in any case.
        let fits = octets == 0 || octets.saturating_add(message.octets) <= SESSION_OCTETS;
        octets = octets.saturating_add(message.octets.max(1));
        fits
    };
    let wanted = new.iter().take(SESSION_MESSAGES).take_while(fits);
    let item = |message: &&Waiting| Item {
        id: message.id.clone(),
        flags: Vec::new(),
        internal_date: None,
        octets: message.octets,
    };
    wanted.map(item).collect()
}

/// Messages that need not be fetched.
#[derive(Default)]
struct Safe {
    /// Archived ones that stay for now, and those that are not to be tried again yet.
    known: HashSet<ItemId>,
    /// Those that are to be tried again now.
    again: HashSet<ItemId>,
    /// Archived ones that may go.
    due: Vec<ItemId>,
}

async fn safe_already(
    shared: &Arc<Shared>,
    waiting: &[Waiting],
    folder: &FolderId,
) -> Result<Safe, RunError> {
    let there: HashSet<&ItemId> = waiting.iter().map(|message| &message.id).collect();
    let (mut safe, now) = (Safe::default(), shared.clock.wall());
    for retry in shared.state.retries_of(&shared.account)? {
        let id = ItemId(retry.item.clone());
        if !there.contains(&id) {
            shared.state.forget_retry(&shared.account, folder, &id)?;
        } else if retry.discarded || retry.next > now {
            safe.known.insert(id);
        } else {
            safe.again.insert(id);
        }
    }
    let pending = shared.state.pending(&shared.account)?;
    let (mut here, gone): (Vec<_>, Vec<_>) = pending.into_iter().partition(|one| there.contains(&one.item));
    shared.state.forget_pending(&shared.account, gone.into_iter().map(|one| (one.folder, one.item)))?;
    safe.known.extend(here.iter().map(|one| one.item.clone()));
    if shared.profile.after == AfterCare::Keep {
        return Ok(safe);
    }
    term(shared, &mut here)?;
    here.retain(|one| one.due.is_some_and(|due| due <= now));
    let instance = Arc::clone(&shared.instance);
    let read = tokio::task::spawn_blocking(move || {
        let read = here.into_iter().map(|one| {
            let kept: Result<Kept, _> = one.message.parse();
            let kept = kept.map_err(|_| ArchiveError::NoMessage(one.message.clone()));
            let read = kept.and_then(|kept| instance.check_arrival(&kept));
            (one, read)
        });
        read.collect::<Vec<_>>()
    });
    for (Pending { folder, item, message, .. }, read) in
        read.await.map_err(|error| RunError::Inside(error.to_string()))?
    {
        let Err(error) = read else {
            safe.due.push(item);
            continue;
        };
        let id = message.split(':').next().unwrap_or_default();
        shared.tally.error(format!(
            "{}: message {item} is archived as {id} and cannot be read back, so it is fetched once more: {error}",
            shared.name
        ));
        safe.known.remove(&item);
        shared.state.forget_pending(&shared.account, [(folder, item)])?;
    }
    Ok(safe)
}

/// What was archived while the profile let everything stay has a term from now on.
fn term(shared: &Shared, here: &mut [Pending]) -> Result<(), RunError> {
    let due = shared.due(shared.clock.wall()).map(postern_shared::clock::UnixMillis);
    let mut without: Vec<&mut Pending> = here.iter_mut().filter(|one| one.due.is_none()).collect();
    without.iter_mut().for_each(|one| one.due = due);
    let now: Vec<Pending> = without.into_iter().map(|one| one.clone()).collect();
    Ok(shared.state.keep_pending(&shared.account, &now)?)
}
