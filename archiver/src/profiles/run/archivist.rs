//! Batches to the archive, in the order in which they come, on two threads: one makes messages ready, on all cores, while the other one
//! commits those before.
//!
//! A message that the parsers fall over is archived as it came, in quarantine.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::clock::UnixMillis;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Shared;
use super::budget::Room;
use super::collect::HELD_OCTETS_MAX;
use super::spool::Spooled;
use crate::archive::{ArchiveError, Kept, NewMessage, Octets, Outcome, Placement, Ready, side_by_side};
use crate::intake::{
    Altered, Arrival, LongError, Via, may_be_report, prepare, prepare_long, quarantine_unparsed,
};
use crate::profiles::job::RunError;
use crate::profiles::state::{Pending, StateError};
use crate::sources::account::{FolderId, Item};
use crate::sources::{Cursor, ItemId};

/// Batches that wait, beside the one that is being committed, the one that is made ready and the one that is being fetched.
const WAITING_MAX: usize = 1;
/// So much of a long message is looked at to file and find it.
const HEAD_OCTETS: usize = 8 * 1024 * 1024;

/// What is to be done next.
pub(super) enum Order<M = Vec<Fetched>> {
    /// Messages to be archived, and the room that they take.
    Batch { place: Arc<Place>, messages: M, room: Room },
    /// A message that is not in memory.
    Long { place: Arc<Place>, item: Item, cut: Option<Cut>, octets: Spooled },
    /// All of a page was handed over, so the folder is read up to here; these were in it.
    Read { place: Arc<Place>, cursor: Cursor, items: Vec<ItemId> },
    /// Says when everything before is done.
    Told(oneshot::Sender<()>),
}

/// A message as it came.
pub(super) struct Fetched {
    pub(super) item: Item,
    /// It is not all of it.
    pub(super) cut: Option<Cut>,
    pub(super) content: Vec<u8>,
}

/// The folder that messages come from, and where they go.
pub(super) struct Place {
    pub(super) folder: FolderId,
    /// As people know it.
    pub(super) name: String,
    pub(super) filing: Filing,
    /// Archived before, and fetched once more to be deleted.
    pub(super) again: bool,
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

/// A batch made ready to be committed.
struct Batch {
    items: Vec<Came>,
    messages: Result<Vec<Ready>, ArchiveError>,
    /// Those that cannot be archived, and why.
    failed: Vec<(Item, String)>,
}

fn work(shared: &Shared, given: mpsc::Receiver<Order>) -> Result<(), RunError> {
    // None waits between the two: what is ready takes memory twice.
    let (ready, coming) = sync_channel(0);
    std::thread::scope(|scope| {
        let preparing = scope.spawn(move || prepare_all(shared, given, &ready));
        // When it fails, nobody takes what is ready, and nobody takes orders any more.
        let committed = coming.into_iter().try_for_each(|order| {
            shared.carry_out(order)?;
            shared.progress();
            Ok(())
        });
        match preparing.join() {
            Ok(()) => committed,
            Err(panic) => resume_unwind(panic),
        }
    })
}

fn prepare_all(shared: &Shared, mut given: mpsc::Receiver<Order>, ready: &SyncSender<Order<Batch>>) {
    while let Some(order) = given.blocking_recv() {
        let order = match order {
            Order::Batch { place, messages, room } => {
                let messages = shared.ready(&place, messages);
                Order::Batch { place, messages, room }
            }
            Order::Long { place, item, cut, octets } => Order::Long { place, item, cut, octets },
            Order::Read { place, cursor, items } => Order::Read { place, cursor, items },
            Order::Told(told) => Order::Told(told),
        };
        if ready.send(order).is_err() {
            return;
        }
    }
}

impl Shared {
    /// Puts a message on the list of what is to be tried again. It is not deleted meanwhile, whatever an earlier session saw
    /// under its name.
    pub(super) fn failed(&self, place: &Place, item: &Item, why: &str) -> Result<(), StateError> {
        self.state.retry(&self.account, (&place.folder, &place.name), item, why, self.clock.wall())?;
        self.state.forget_pending(&self.account, [(place.folder.clone(), item.id.clone())])?;
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
        let (arrival, owner) = (self.arrival(place, item), |address: &str| self.instance.owner(address));
        let prepared = guarded(content, |content| prepare(content, &arrival, owner));
        match prepared {
            Ok(prepared) => prepared.map_err(|error| error.to_string()),
            Err(Some(content)) => Ok(quarantine_unparsed(content, &arrival, FELL_OVER)),
            Err(None) => Err(FELL_OVER.to_owned()),
        }
    }

    fn carry_out(&self, order: Order<Batch>) -> Result<(), RunError> {
        match order {
            Order::Batch { place, messages, room } => {
                self.batch(&place, messages)?;
                drop(room);
            }
            Order::Long { place, item, cut, octets } => self.long(&place, &item, cut, octets)?,
            Order::Read { place, cursor, items } => {
                let filter = self.profile.scope.filter.mark();
                self.state.keep_cursor(&self.account, &place.folder, (&filter, &cursor), &items)?;
            }
            Order::Told(told) => drop(told.send(())),
        }
        Ok(())
    }

    fn ready(&self, place: &Place, fetched: Vec<Fetched>) -> Batch {
        let ready = side_by_side(fetched, |Fetched { item, cut, content }| {
            let message = self.prepared(place, &item, content);
            (item, cut, message.map(|message| self.instance.ready(message)))
        });
        let (mut items, mut messages, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (item, cut, message) in ready {
            match message {
                Ok(message) => {
                    messages.push(message);
                    items.push(Came { item, cut });
                }
                Err(why) => failed.push((item, why)),
            }
        }
        Batch { items, messages: messages.into_iter().collect(), failed }
    }

    fn batch(&self, place: &Place, batch: Batch) -> Result<(), RunError> {
        let Batch { items, messages, failed } = batch;
        let count = (items.len() + failed.len()) as u64;
        for (item, why) in failed {
            self.failed(place, &item, &why)?;
        }
        let messages = messages?;
        if !messages.is_empty() {
            let outcomes = self.instance.commit_ready(messages)?;
            self.entered(place, items, &outcomes)?;
        }
        self.tally.done(count);
        Ok(())
    }

    fn long(&self, place: &Place, item: &Item, cut: Option<Cut>, octets: Spooled) -> Result<(), RunError> {
        /// Beginnings of long messages are held, and journal reports whole: of all runs one at a time.
        static ONE: Mutex<()> = Mutex::new(());
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let head_len = usize::try_from(octets.len()).unwrap_or(usize::MAX).min(HEAD_OCTETS);
        let mut head = vec![0; head_len];
        octets.read_exact_at(&mut head, 0).map_err(RunError::Spool)?;
        let arrival = self.arrival(place, item);
        if catch_unwind(|| may_be_report(&head, arrival.via)).unwrap_or(false) {
            drop(head);
            let mut content = vec![0; usize::try_from(octets.len()).unwrap_or(0)];
            octets.read_exact_at(&mut content, 0).map_err(RunError::Spool)?;
            drop(octets);
            let fetched = vec![Fetched { item: item.clone(), cut, content }];
            return self.batch(place, self.ready(place, fetched));
        }
        let owner = |address: &str| self.instance.owner(address);
        let prepared = catch_unwind(AssertUnwindSafe(|| prepare_long(&head, &octets, &arrival, owner)));
        let (message, before) = match prepared {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(LongError::Altered(why))) => {
                self.failed(place, item, &why.to_string())?;
                self.tally.done(1);
                return Ok(());
            }
            Ok(Err(LongError::Unreadable(error))) => return Err(RunError::Spool(error)),
            Err(_) => (quarantine_unparsed(Vec::new(), &arrival, FELL_OVER), 0),
        };
        drop((head, one));
        let outcome = self.instance.commit_long(message, Arc::new(octets.behind(before)))?;
        self.entered(place, vec![Came { item: item.clone(), cut }], &[outcome])?;
        self.tally.done(1);
        Ok(())
    }

    /// Messages are durable.
    fn entered(&self, place: &Place, came: Vec<Came>, outcomes: &[Outcome]) -> Result<(), RunError> {
        // Else an item would count as archived that is not.
        if outcomes.len() != came.len() {
            let said = format!("the archive tells of {} messages instead of {}", outcomes.len(), came.len());
            return Err(RunError::Inside(said));
        }
        let is_new = |outcome: &Outcome| matches!(outcome, Outcome::Archived(_));
        let archived = outcomes.iter().filter(|outcome| is_new(outcome)).count() as u64;
        self.tally.add(|result| {
            result.archived += archived;
            if !place.again {
                result.duplicates += outcomes.len() as u64 - archived;
            }
        });
        if let Some(safe) = &place.safe {
            let entered = came
                .into_iter()
                .map(|came| came.item)
                .zip(outcomes.iter().map(|done| *done.kept()))
                .collect();
            return self.entered_of_gateway(place, safe, entered);
        }
        let now = self.clock.wall();
        // One that is deleted, or stays, for the same reason after the other.
        let mut entered: Vec<(Option<u64>, Entered)> = Vec::new();
        for (came, outcome) in came.into_iter().zip(outcomes) {
            let kept = outcome.kept();
            let due = match came.cut {
                // However often it comes so: there may be more of it at the source.
                Some(cut) => match self.comes_so(place, &came.item, cut, &kept.id.to_string())? {
                    true => None,
                    false => continue,
                },
                // What was to be deleted now is still what it was.
                None if place.again && !is_new(outcome) => Some(now.0),
                None => self.due(now),
            };
            match entered.last_mut() {
                Some((last, items)) if *last == due => items.push((came.item, kept.to_string())),
                _ => entered.push((due, vec![(came.item, kept.to_string())])),
            }
        }
        for (due, items) in entered {
            if place.again {
                let at = due.map(UnixMillis);
                let pending = items.into_iter().map(|(item, message)| Pending {
                    folder: place.folder.clone(),
                    item: item.id,
                    message,
                    due: at,
                    octets: item.octets,
                    internal_date: item.internal_date,
                    ordered: false,
                });
                let pending: Vec<_> = pending.filter(|one| one.due.is_some()).collect();
                self.state.keep_pending(&self.account, &pending)?;
                continue;
            }
            self.state.archived(&self.account, &place.folder, &items, due)?;
        }
        Ok(())
    }

    /// Whether a message that is shorter than the source claims came so before: then it is not asked for any more. Else it goes to the
    /// list of what is tried again, for a server may cut what it hands over for a while.
    fn comes_so(
        &self,
        place: &Place,
        item: &Item,
        (octets, claimed): Cut,
        archived_as: &str,
    ) -> Result<bool, StateError> {
        let why = format!(
            "it is archived as {archived_as} with {octets} octets, of {claimed} that the source claims; so it stays at the source, \
             and is fetched once more"
        );
        if self.state.why(&self.account, &place.folder, &item.id)?.as_deref() == Some(&*why) {
            self.tally.error(format!(
                "{}: message {} came with {octets} octets again, of {claimed} that the source claims: it is archived so, and stays at the \
                 source for you to look at",
                self.name, item.id
            ));
            return Ok(true);
        }
        self.failed(place, item, &why)?;
        Ok(false)
    }

    /// The same of a gateway's: what may go at once is read back, and told to the session.
    fn entered_of_gateway(
        &self,
        place: &Place,
        safe: &mpsc::UnboundedSender<Vec<ItemId>>,
        entered: Vec<(Item, Kept)>,
    ) -> Result<(), RunError> {
        let now = self.clock.wall();
        let due = self.due(now);
        let goes_now = due.is_some_and(|due| due <= now.0);
        let came = entered.iter().map(|(item, _)| &item.id);
        self.state.forget_retries(&self.account, &place.folder, came)?;
        let read = side_by_side(entered, |(item, kept)| {
            let read = if goes_now { self.instance.check_arrival(&kept) } else { Ok(()) };
            (item, kept, read)
        });
        let mut pending = Vec::new();
        for (item, kept, read) in read {
            match read {
                Ok(()) => pending.push(Pending {
                    folder: place.folder.clone(),
                    item: item.id,
                    message: kept.to_string(),
                    due: due.map(UnixMillis),
                    octets: item.octets,
                    internal_date: item.internal_date,
                    ordered: false,
                }),
                Err(error) => self.tally.error(format!(
                    "{}: message {} is archived as {} and cannot be read back, so it stays at the source: {error}",
                    self.name, item.id, kept.id
                )),
            }
        }
        // First, so that whatever becomes of this session the next one deletes them.
        self.state.keep_pending(&self.account, &pending)?;
        if goes_now {
            // A session that is over deletes nothing.
            let _ = safe.send(pending.into_iter().map(|one| one.item).collect());
        }
        Ok(())
    }
}

/// Why a message is in quarantine.
const FELL_OVER: &str = "this program fell over it; it is kept as it came";

/// Messages, and as which they are archived.
type Entered = Vec<(Item, String)>;

/// How long a message is, and how long the source says it is, when that is longer.
pub(super) type Cut = (u64, u64);

/// A message that came.
struct Came {
    item: Item,
    cut: Option<Cut>,
}

/// What `work` makes of a message; when it panics the message, if it is not too long to be there twice.
fn guarded(
    content: Vec<u8>,
    work: impl FnOnce(Vec<u8>) -> Result<NewMessage, Altered>,
) -> Result<Result<NewMessage, Altered>, Option<Vec<u8>>> {
    let kept = (content.len() <= HELD_OCTETS_MAX).then(|| content.clone());
    catch_unwind(AssertUnwindSafe(|| work(content))).map_err(|_| kept)
}

const _: () = assert!(HELD_OCTETS_MAX < HEAD_OCTETS);

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a message over which a parser panics is not lost, and does not end the run.
    #[test]
    fn a_message_that_panics_is_kept_as_it_came() {
        let raw = b"Subject: x\r\n\r\n\xff".to_vec();
        let kept = guarded(raw.clone(), |_| panic!("a parser's")).unwrap_err().unwrap();
        assert_eq!(kept, raw);
        let long = guarded(vec![b'x'; HELD_OCTETS_MAX + 1], |_| panic!("a parser's")).unwrap_err();
        assert_eq!(long, None, "held once already, it goes to the list of what is tried again");
        let placement = Placement { archive: "anna".into(), folder: "INBOX".into() };
        let via = Via::Folder(&placement);
        let arrival = Arrival { profile: "p", uidl: "1/2", via, flags: &[], internal_date: None };
        let message = quarantine_unparsed(kept, &arrival, FELL_OVER);
        assert_eq!((message.content, message.quarantined.as_deref()), (raw, Some(FELL_OVER)));
        let archives: Vec<&str> = message.filed_in.iter().map(|place| place.archive.as_str()).collect();
        assert_eq!(archives, ["quarantine", "anna"]);
    }
}
