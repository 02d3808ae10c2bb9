//! What a source hands over, to batches for the archivist.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Shared;
use super::archivist::{Fetched, Order, Place};
use super::spool::Spool;
use crate::sources::account::{Item, Sink};
use crate::sources::{ItemId, NotFetched};

/// What a batch holds before it is committed.
pub(super) const BATCH_MESSAGES: usize = 128;
pub(super) const BATCH_OCTETS: usize = 16 * 1024 * 1024;
/// Longer messages are not held.
pub(super) const HELD_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// Collects what is fetched from one folder.
pub(super) struct Collect<'c> {
    shared: &'c Shared,
    orders: &'c mpsc::Sender<Order>,
    place: Arc<Place>,
    /// What was asked for and neither came nor was missing.
    asked: HashMap<ItemId, Item>,
    batch: Vec<Fetched>,
    octets: usize,
    current: Current,
}

enum Current {
    Held(Vec<u8>),
    Long(Spool),
}

impl<'c> Collect<'c> {
    pub(super) fn new(
        shared: &'c Shared,
        orders: &'c mpsc::Sender<Order>,
        place: Arc<Place>,
        asked: &[Item],
    ) -> Self {
        let asked = asked.iter().map(|item| (item.id.clone(), item.clone())).collect();
        let (batch, current) = (Vec::new(), Current::Held(Vec::new()));
        Self { shared, orders, place, asked, batch, octets: 0, current }
    }

    /// Hands over what is whole.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let messages = std::mem::take(&mut self.batch);
        self.octets = 0;
        self.send(Order::Batch { place: Arc::clone(&self.place), messages }).await
    }

    async fn send(&self, order: Order) -> io::Result<()> {
        // Its own error is told by whoever waits for it.
        self.orders.send(order).await.map_err(|_| io::Error::other("archiving ended"))
    }

    fn spool(&self) -> io::Result<Spool> {
        let (profiles, _) = self.shared.instance.profiles();
        Spool::create(&**self.shared.instance.disk(), &profiles.with_file_name("work"))
    }
}

impl Sink for Collect<'_> {
    async fn begins(&mut self, octets: u64) -> io::Result<()> {
        if self.shared.context.is_cancelled() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the run was cancelled"));
        }
        self.current = match usize::try_from(octets) {
            Ok(octets) if octets <= HELD_OCTETS_MAX => Current::Held(Vec::with_capacity(octets)),
            _ => Current::Long(self.spool()?),
        };
        Ok(())
    }

    async fn piece(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Current::Held(held) if held.len() + octets.len() <= HELD_OCTETS_MAX => {
                held.extend_from_slice(octets);
                return Ok(());
            }
            Current::Held(held) => {
                let held = std::mem::take(held);
                let mut spool = self.spool()?;
                spool.write(&held)?;
                spool.write(octets)?;
                self.current = Current::Long(spool);
            }
            Current::Long(spool) => spool.write(octets)?,
        }
        Ok(())
    }

    async fn ends(&mut self, item: Item) -> io::Result<()> {
        // Its size as the source claims it tells it from others of that name later.
        let asked = self.asked.remove(&item.id);
        let item = Item { octets: asked.map_or(item.octets, |asked| asked.octets), ..item };
        match std::mem::replace(&mut self.current, Current::Held(Vec::new())) {
            Current::Held(content) => {
                self.octets += content.len();
                self.batch.push(Fetched { item, content });
                if self.batch.len() >= BATCH_MESSAGES || self.octets >= BATCH_OCTETS {
                    self.flush().await?;
                }
                Ok(())
            }
            Current::Long(spool) => {
                self.flush().await?;
                let octets = spool.end()?;
                self.send(Order::Long { place: Arc::clone(&self.place), item, octets }).await
            }
        }
    }

    async fn missing(&mut self, id: ItemId, why: NotFetched) -> io::Result<()> {
        let Some(item) = self.asked.remove(&id) else { return Ok(()) };
        let (shared, place) = (self.shared, &self.place);
        shared.tally.done(1);
        if why == NotFetched::Gone {
            shared.tally.add(|result| result.gone += 1);
            return shared.state.forget_retry(&shared.account, &place.folder, &id).map_err(io::Error::other);
        }
        shared.failed(place, &item, &why.to_string()).map_err(io::Error::other)
    }
}
