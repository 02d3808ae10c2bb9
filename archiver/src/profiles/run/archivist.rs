//! Batches to the archive, in the order in which they come, on a thread of its own.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Shared;
use super::collect::HELD_OCTETS_MAX;
use super::spool::Spooled;
use crate::archive::{Kept, NewMessage, Octets, Outcome, Placement};
use crate::intake::{Arrival, Via, may_be_report, prepare, prepare_long};
use crate::profiles::job::RunError;
use crate::profiles::state::{Pending, StateError};
use crate::sources::account::{FolderId, Item};
use crate::sources::{Cursor, ItemId};

/// Batches that wait, beside the one that is being committed and the one that is being fetched.
const WAITING_MAX: usize = 1;
/// So much of a long message is looked at to file and find it.
const HEAD_OCTETS: usize = 8 * 1024 * 1024;

/// What is to be done next.
pub(super) enum Order {
    /// Messages to be archived.
    Batch { place: Arc<Place>, messages: Vec<Fetched> },
    /// A message that is not in memory.
    Long { place: Arc<Place>, item: Item, octets: Spooled },
    /// All of a page was handed over, so the folder is read up to here; these were in it.
    Read { place: Arc<Place>, cursor: Cursor, items: Vec<ItemId> },
    /// Says when everything before is done.
    Told(oneshot::Sender<()>),
}

/// A message as it came.
pub(super) struct Fetched {
    pub(super) item: Item,
    pub(super) content: Vec<u8>,
}

/// The folder that messages come from, and where they go.
pub(super) struct Place {
    pub(super) folder: FolderId,
    /// As people know it.
    pub(super) name: String,
    pub(super) filing: Filing,
    /// What is told of messages that may be deleted at the source: a gateway's session wants to know at once.
    pub(super) safe: Option<mpsc::UnboundedSender<Vec<ItemId>>>,
}

pub(super) enum Filing {
    Gateway,
    Multidrop,
    Folder(Placement),
}

/// The thread, and the way to it.
pub(super) struct Archivist {
    pub(super) orders: mpsc::Sender<Order>,
    thread: JoinHandle<Result<(), RunError>>,
}

impl Archivist {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let (orders, given) = mpsc::channel(WAITING_MAX);
        let shared = Arc::clone(shared);
        let thread = tokio::task::spawn_blocking(move || work(&shared, given));
        Self { orders, thread }
    }

    /// Waits until everything that was handed over is durable.
    pub(super) async fn catch_up(&self) {
        let (told, done) = oneshot::channel();
        if self.orders.send(Order::Told(told)).await.is_ok() {
            // When it is gone, its end tells why.
            let _ = done.await;
        }
    }

    /// Waits until everything is done; why it was not.
    pub(super) async fn end(self) -> Result<(), RunError> {
        drop(self.orders);
        self.thread.await.map_err(|error| RunError::Inside(error.to_string()))?
    }
}

fn work(shared: &Shared, mut given: mpsc::Receiver<Order>) -> Result<(), RunError> {
    while let Some(order) = given.blocking_recv() {
        match order {
            Order::Batch { place, messages } => shared.batch(&place, messages)?,
            Order::Long { place, item, octets } => shared.long(&place, &item, octets)?,
            Order::Read { place, cursor, items } => {
                let filter = shared.profile.scope.filter.mark();
                shared.state.keep_cursor(&shared.account, &place.folder, (&filter, &cursor), &items)?;
            }
            Order::Told(told) => drop(told.send(())),
        }
        shared.progress();
    }
    Ok(())
}

impl Shared {
    /// Puts a message on the list of what is to be tried again.
    pub(super) fn failed(&self, place: &Place, item: &Item, why: &str) -> Result<(), StateError> {
        self.state.retry(&self.account, (&place.folder, &place.name), item, why, self.clock.wall())?;
        self.tally.add(|result| result.failed += 1);
        let at = if place.name.is_empty() { String::new() } else { format!(" in {}", place.name) };
        self.tally.error(format!("{}: message {}{at}: {why}", self.name, item.id));
        Ok(())
    }

    fn arrival<'a>(&'a self, place: &'a Place, item: &'a Item) -> Arrival<'a> {
        let via = match &place.filing {
            Filing::Gateway => Via::Gateway(&self.profile.assign),
            Filing::Multidrop => Via::Multidrop,
            Filing::Folder(placement) => Via::Folder(placement),
        };
        let (profile, uidl) = (self.profile.name.as_str(), &*item.id.0);
        Arrival { profile, uidl, via, flags: &item.flags, internal_date: item.internal_date }
    }

    fn prepared(&self, place: &Place, item: &Item, content: Vec<u8>) -> Result<NewMessage, String> {
        let owner = |address: &str| self.instance.owner(address);
        prepare(content, &self.arrival(place, item), owner).map_err(|error| error.to_string())
    }

    fn batch(&self, place: &Place, fetched: Vec<Fetched>) -> Result<(), RunError> {
        let count = fetched.len() as u64;
        let prepared = side_by_side(fetched, |Fetched { item, content }| {
            let message = self.prepared(place, &item, content);
            (item, message)
        });
        let (mut items, mut messages) = (Vec::new(), Vec::new());
        for (item, message) in prepared {
            match message {
                Ok(message) => {
                    messages.push(message);
                    items.push(item);
                }
                Err(why) => self.failed(place, &item, &why)?,
            }
        }
        if !messages.is_empty() {
            let outcomes = self.instance.commit(messages)?;
            self.entered(place, items, &outcomes)?;
        }
        self.tally.done(count);
        Ok(())
    }

    fn long(&self, place: &Place, item: &Item, octets: Spooled) -> Result<(), RunError> {
        /// Journal reports are held whole: one at a time.
        static WHOLE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let head_len = usize::try_from(octets.len()).unwrap_or(usize::MAX).min(HEAD_OCTETS);
        let mut head = vec![0; head_len];
        octets.read_exact_at(&mut head, 0).map_err(RunError::Spool)?;
        let is_mixed = !matches!(place.filing, Filing::Folder(_));
        if is_mixed && may_be_report(&head) {
            drop(head);
            let _one = WHOLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let mut content = vec![0; usize::try_from(octets.len()).unwrap_or(0)];
            octets.read_exact_at(&mut content, 0).map_err(RunError::Spool)?;
            drop(octets);
            return self.batch(place, vec![Fetched { item: item.clone(), content }]);
        }
        let message = prepare_long(&head, &self.arrival(place, item), |address| self.instance.owner(address));
        drop(head);
        let outcome = self.instance.commit_long(message, Arc::new(octets))?;
        self.entered(place, vec![item.clone()], &[outcome])?;
        self.tally.done(1);
        Ok(())
    }

    /// Messages are durable.
    fn entered(&self, place: &Place, items: Vec<Item>, outcomes: &[Outcome]) -> Result<(), RunError> {
        // Else an item would count as archived that is not.
        if outcomes.len() != items.len() {
            let said = format!("the archive tells of {} messages instead of {}", outcomes.len(), items.len());
            return Err(RunError::Inside(said));
        }
        let archived =
            outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Archived(_))).count() as u64;
        self.tally.add(|result| {
            result.archived += archived;
            result.duplicates += outcomes.len() as u64 - archived;
        });
        let due = self.due(self.clock.wall());
        let Some(safe) = &place.safe else {
            let items: Vec<_> =
                items.into_iter().zip(outcomes.iter().map(|done| done.kept().to_string())).collect();
            return Ok(self.state.archived(&self.account, &place.folder, &items, due)?);
        };
        let now = self.clock.wall();
        let entered: Vec<(Item, Kept)> =
            items.into_iter().zip(outcomes.iter().map(|done| *done.kept())).collect();
        if due.is_some_and(|due| due <= now.0) {
            let read = side_by_side(entered, |(Item { id: item, .. }, kept)| {
                let read = self.instance.check_arrival(&kept);
                (item, kept.id, read)
            });
            let mut whole = Vec::new();
            for (item, message, read) in read {
                self.state.forget_retry(&self.account, &place.folder, &item)?;
                match read {
                    Ok(()) => whole.push(item),
                    Err(error) => self.tally.error(format!(
                        "{}: message {item} is archived as {message} and cannot be read back, so it stays at the source: \
                         {error}",
                        self.name
                    )),
                }
            }
            // A session that is over deletes nothing; the next one does.
            let _ = safe.send(whole);
            return Ok(());
        }
        let pending = entered.into_iter().map(|(item, kept)| Pending {
            folder: place.folder.clone(),
            item: item.id,
            message: kept.to_string(),
            due: due.map(postern_shared::clock::UnixMillis),
            octets: item.octets,
            internal_date: item.internal_date,
        });
        let pending: Vec<_> = pending.collect();
        for one in &pending {
            self.state.forget_retry(&self.account, &place.folder, &one.item)?;
        }
        Ok(self.state.keep_pending(&self.account, &pending)?)
    }
}

/// On all cores, in order.
pub(super) fn side_by_side<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    const SIDE_BY_SIDE_MIN: usize = 8;
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    if all.len() < SIDE_BY_SIDE_MIN || cores == 1 {
        return all.into_iter().map(work).collect();
    }
    let length = all.len().div_ceil(cores);
    let mut stretches = Vec::new();
    let mut left = all;
    while !left.is_empty() {
        let later = left.split_off(left.len().min(length));
        stretches.push(std::mem::replace(&mut left, later));
    }
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = stretches
            .into_iter()
            .map(|stretch| scope.spawn(move || stretch.into_iter().map(work).collect::<Vec<R>>()))
            .collect();
        let joined = threads.into_iter().flat_map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })
}

const _: () = assert!(HELD_OCTETS_MAX < HEAD_OCTETS);
