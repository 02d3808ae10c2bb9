//! A gateway's mailbox: what is archived and was read back is deleted, so the mailbox empties itself.
//!
//! A session is finished now and then, so that a run that breaks repeats little; what is repeated folds into what is there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Shared;
use super::archivist::{Archivist, Fetched, Filing, Order, Place};
use super::collect::{BATCH_MESSAGES, BATCH_OCTETS};
use crate::archive::{ArchiveError, Kept};
use crate::profiles::job::RunError;
use crate::profiles::profile::AfterCare;
use crate::sources::account::{FolderId, Item};
use crate::sources::gateway::{GatewaySource, Limits, Settings};
use crate::sources::{ItemId, Source, SourceError, Waiting};

/// After so many messages the session is finished and another one begun.
const SESSION_MESSAGES: usize = 5000;

/// Pulls everything from a gateway's mailbox.
pub(in crate::profiles) async fn pull_gateway(
    shared: &Arc<Shared>,
    settings: &Settings,
) -> Result<(), RunError> {
    loop {
        let limits = Limits { message_octets_max: shared.message_octets_max, ..Limits::default() };
        let source = GatewaySource::connect(settings, limits).await?;
        if !session(shared, source).await? || shared.context.is_cancelled() {
            return Ok(());
        }
    }
}

/// One session; whether messages are left that another session should pull.
async fn session(shared: &Arc<Shared>, mut source: impl Source) -> Result<bool, RunError> {
    let waiting = source.list(None).await?;
    let folder = FolderId(String::new());
    let safe = safe_already(shared, &waiting, &folder).await?;
    let new: Vec<&Waiting> = waiting.iter().filter(|message| !safe.known.contains(&message.id)).collect();
    let wanted: Vec<&Waiting> = new.iter().take(SESSION_MESSAGES).copied().collect();
    shared.tally.log(&format!("{}: {} messages, {} of them new", shared.name, waiting.len(), new.len()));
    shared.tally.expect(wanted.len() as u64);
    source.acknowledge(&safe.due)?;
    let ids: Vec<ItemId> = wanted.iter().map(|message| message.id.clone()).collect();
    source.request(&ids)?;

    let archivist = Archivist::start(shared);
    let (told, mut acknowledged) = unbounded_channel();
    let place =
        Place { folder: folder.clone(), name: String::new(), filing: Filing::Gateway, safe: Some(told) };
    let before = shared.tally.archived();
    let pulled = pull(shared, &mut source, &archivist, Arc::new(place), &mut acknowledged).await;
    archivist.end().await?;
    pulled?;
    acknowledge(&mut source, &mut acknowledged)?;
    let finished = source.finish().await?;
    let gone = finished.deleted.iter().map(|id| (folder.clone(), id.clone()));
    shared.state.forget_pending(&shared.account, gone)?;
    shared.tally.add(|result| result.deleted_at_source += finished.deleted.len() as u64);
    for (id, why) in finished.kept {
        shared.tally.error(format!("{id} is archived but was not deleted at the source: {why}"));
    }
    // A session that achieved nothing would be repeated without end.
    Ok(new.len() > wanted.len() && shared.tally.archived() > before)
}

async fn pull(
    shared: &Shared,
    source: &mut impl Source,
    archivist: &Archivist,
    place: Arc<Place>,
    acknowledged: &mut UnboundedReceiver<Vec<ItemId>>,
) -> Result<(), RunError> {
    let (mut batch, mut octets) = (Vec::new(), 0);
    let send = async |messages: Vec<Fetched>| {
        let order = Order::Batch { place: Arc::clone(&place), messages };
        let sent = archivist.orders.send(order).await;
        sent.map_err(|_| SourceError::Sink(std::io::Error::other("archiving ended")))
    };
    while !shared.context.is_cancelled()
        && let Some(fetched) = source.next().await?
    {
        let item = Item { id: fetched.id, flags: Vec::new(), internal_date: None, octets: 0 };
        match fetched.content {
            Ok(content) => {
                octets += content.len();
                batch.push(Fetched { item, content });
            }
            Err(why) => {
                shared.failed(&place, &item, &why.to_string())?;
                shared.tally.done(1);
            }
        }
        if batch.len() >= BATCH_MESSAGES || octets >= BATCH_OCTETS {
            octets = 0;
            send(std::mem::take(&mut batch)).await?;
            acknowledge(source, acknowledged)?;
        }
    }
    if !batch.is_empty() {
        send(batch).await?;
    }
    Ok(())
}

fn acknowledge(
    source: &mut impl Source,
    acknowledged: &mut UnboundedReceiver<Vec<ItemId>>,
) -> Result<(), SourceError> {
    while let Ok(safe) = acknowledged.try_recv() {
        source.acknowledge(&safe)?;
    }
    Ok(())
}

/// Messages that need not be fetched.
#[derive(Default)]
struct Safe {
    /// Archived ones that stay for now, and those that are not to be tried again yet.
    known: HashSet<ItemId>,
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
        }
    }
    let pending = shared.state.pending(&shared.account)?;
    let (here, gone): (Vec<_>, Vec<_>) = pending.into_iter().partition(|one| there.contains(&one.item));
    shared.state.forget_pending(&shared.account, gone.into_iter().map(|one| (one.folder, one.item)))?;
    let deletes = shared.profile.after != AfterCare::Keep;
    let is_due = |due: Option<postern_shared::clock::UnixMillis>| due.is_some_and(|due| due <= now);
    let due: HashMap<ItemId, String> = here
        .iter()
        .filter(|one| deletes && is_due(one.due))
        .map(|one| (one.item.clone(), one.message.clone()))
        .collect();
    safe.known.extend(here.into_iter().map(|one| one.item));
    let (instance, name, tally) =
        (Arc::clone(&shared.instance), shared.name.clone(), Arc::clone(&shared.tally));
    let read = tokio::task::spawn_blocking(move || {
        let whole = due.into_iter().filter(|(item, message)| {
            let kept: Result<Kept, _> = message.parse().map_err(|_| ArchiveError::NoMessage(message.clone()));
            let read = kept.and_then(|kept| instance.check_arrival(&kept));
            if let Err(error) = &read {
                tally.error(format!(
                    "{name}: message {item} stays at the source, it cannot be read back: {error}"
                ));
            }
            read.is_ok()
        });
        whole.map(|(item, _)| item).collect()
    });
    safe.due = read.await.map_err(|error| RunError::Inside(error.to_string()))?;
    Ok(safe)
}
