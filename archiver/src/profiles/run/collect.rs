//! What a source hands over, to batches for the archivist.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Shared;
use super::archivist::{Cut, Fetched, Order, Place};
use super::budget::{Room, budget};
use super::spool::Spool;
use crate::sources::account::{Item, Sink};
use crate::sources::{ItemId, NotFetched};

/// What a batch holds before it is committed.
pub(super) const BATCH_MESSAGES: usize = 256;
pub(super) const BATCH_OCTETS: usize = 12 * 1024 * 1024;
/// Longer messages are not held.
pub(super) const HELD_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// What came of a message that the source claims to be longer.
fn cut(came: u64, claimed: u64) -> Option<Cut> {
    (came < claimed).then_some((came, claimed))
}

/// Collects what is fetched from one folder.
pub(super) struct Collect<'c> {
    shared: &'c Shared,
    orders: &'c mpsc::Sender<Order>,
    place: Arc<Place>,
    /// What was asked for and neither came nor was missing.
    asked: HashMap<ItemId, Item>,
    /// Whether sizes that the source claims are true.
    exact: bool,
    batch: Vec<Fetched>,
    octets: usize,
    /// What the batch takes of the memory.
    room: Room,
    current: Current,
}

enum Current {
    Held(Vec<u8>, Room),
    Long(Spool),
}

impl Default for Current {
    fn default() -> Self {
        Self::Held(Vec::new(), Room::default())
    }
}

impl<'c> Collect<'c> {
    pub(super) fn new(
        shared: &'c Shared,
        orders: &'c mpsc::Sender<Order>,
        place: Arc<Place>,
        asked: &[Item],
    ) -> Self {
        let asked = asked.iter().map(|item| (item.id.clone(), item.clone())).collect();
        let (batch, room, current) = (Vec::new(), Room::default(), Current::default());
        Self { shared, orders, place, asked, exact: false, batch, octets: 0, room, current }
    }

    /// What is shorter than its source claims was cut.
    pub(super) fn exact(self, exact: bool) -> Self {
        Self { exact, ..self }
    }

    /// Hands over what is whole.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (messages, room) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.room));
        self.octets = 0;
        self.send(Order::Batch { place: Arc::clone(&self.place), messages, room }).await
    }

    /// What the source said nothing of, though it came to its end.
    pub(super) fn forgotten(&mut self) -> io::Result<()> {
        for item in std::mem::take(&mut self.asked).into_values() {
            self.shared.tally.done(1);
            let why = "the source said nothing of it when it was asked for it";
            self.shared.failed(&self.place, &item, why).map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn send(&self, order: Order) -> io::Result<()> {
        // Its own error is told by whoever waits for it.
        self.orders.send(order).await.map_err(|_| io::Error::other("archiving ended"))
    }

    fn spool(&self) -> io::Result<Spool> {
        let (profiles, _) = self.shared.instance.profiles();
        Spool::create(&**self.shared.instance.disk(), &profiles.with_file_name("work"))
    }

    /// Room for a message that begins; what was collected goes first, for somebody must begin.
    async fn room_for(&mut self, octets: u64) -> io::Result<Option<Room>> {
        if let Some(room) = budget().take(octets) {
            return Ok(Some(room));
        }
        self.flush().await?;
        Ok(budget().wait(octets).await)
    }
}

impl Sink for Collect<'_> {
    async fn begins(&mut self, octets: u64) -> io::Result<()> {
        if self.shared.context.is_cancelled() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the run was cancelled"));
        }
        // Of a message that began before and broke off.
        self.current = Current::default();
        self.current = match usize::try_from(octets) {
            Ok(held) if held <= HELD_OCTETS_MAX => match self.room_for(octets).await? {
                Some(room) => Current::Held(Vec::with_capacity(held), room),
                None => Current::Long(self.spool()?),
            },
            _ => Current::Long(self.spool()?),
        };
        Ok(())
    }

    async fn piece(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Current::Held(held, room) => {
                let needed = held.len() + octets.len();
                if needed as u64 > room.octets()
                    && needed <= HELD_OCTETS_MAX
                    && let Some(more) = budget().take((needed as u64 - room.octets()).max(held.len() as u64))
                {
                    room.add(more);
                }
                if needed <= HELD_OCTETS_MAX && needed as u64 <= room.octets() {
                    held.extend_from_slice(octets);
                    return Ok(());
                }
                let mut spool = self.spool()?;
                if let Current::Held(held, _room) = std::mem::take(&mut self.current) {
                    spool.write(&held)?;
                }
                spool.write(octets)?;
                self.current = Current::Long(spool);
            }
            Current::Long(spool) => spool.write(octets)?,
        }
        Ok(())
    }

    async fn ends(&mut self, item: Item) -> io::Result<()> {
        let asked = self.asked.remove(&item.id);
        let claimed = asked.map_or(item.octets, |asked| asked.octets);
        let cut = cut(item.octets, claimed).filter(|_| self.exact);
        // Its size as the source claims it tells it from others of that name later.
        let item = Item { octets: claimed, ..item };
        match std::mem::take(&mut self.current) {
            Current::Held(content, room) => {
                self.octets += content.len();
                self.room.add(room);
                self.batch.push(Fetched { item, cut, content });
                if self.batch.len() >= BATCH_MESSAGES || self.octets >= BATCH_OCTETS {
                    self.flush().await?;
                }
                Ok(())
            }
            Current::Long(spool) => {
                self.flush().await?;
                let octets = spool.end()?;
                self.send(Order::Long { place: Arc::clone(&self.place), item, cut, octets }).await
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

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_message_shorter_than_claimed_was_cut() {
        assert_eq!(cut(5, 5000), Some((5, 5000)));
        for claimed in [0, 4, 5] {
            assert_eq!(cut(5, claimed), None, "{claimed}");
        }
    }
}
