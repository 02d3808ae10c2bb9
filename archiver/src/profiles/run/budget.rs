//! Octets of messages that are in memory at once, of all runs together.
//!
//! Nobody waits for room while holding some: what finds none goes over the disk (`spool`), so a run whose server is slow keeps
//! no other one from going on.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is ready to be committed takes as much again.
const ALTOGETHER_MAX: u64 = 96 * 1024 * 1024;
/// Room is given in pieces of so many octets.
const PIECE: u64 = 4096;
/// So long a message that begins waits for others to be committed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Room for messages.
pub(super) struct Budget {
    pieces: Arc<Semaphore>,
    patience: Duration,
}

/// Room that is taken; free again when dropped.
#[derive(Debug, Default)]
pub(super) struct Room(Option<OwnedSemaphorePermit>);

/// That of this program.
pub(super) fn budget() -> &'static Budget {
    static BUDGET: LazyLock<Budget> = LazyLock::new(|| Budget::new(ALTOGETHER_MAX, PATIENCE));
    &BUDGET
}

impl Budget {
    fn new(octets: u64, patience: Duration) -> Self {
        let pieces = Semaphore::new(usize::try_from(octets / PIECE).unwrap_or(0));
        Self { pieces: Arc::new(pieces), patience }
    }

    /// Room for so many octets, when there is some.
    pub(super) fn take(&self, octets: u64) -> Option<Room> {
        let pieces = Arc::clone(&self.pieces).try_acquire_many_owned(pieces(octets));
        pieces.ok().map(|pieces| Room(Some(pieces)))
    }

    /// The same, after a while at most. Only for those that hold none.
    pub(super) async fn wait(&self, octets: u64) -> Option<Room> {
        let pieces = Arc::clone(&self.pieces).acquire_many_owned(pieces(octets));
        let pieces = tokio::time::timeout(self.patience, pieces).await.ok()?;
        pieces.ok().map(|pieces| Room(Some(pieces)))
    }
}

impl Room {
    pub(super) fn add(&mut self, other: Self) {
        match (&mut self.0, other.0) {
            (Some(own), Some(other)) => own.merge(other),
            (own, Some(other)) => *own = Some(other),
            (_, None) => {}
        }
    }

    /// For how many octets it is.
    pub(super) fn octets(&self) -> u64 {
        self.0.as_ref().map_or(0, |pieces| pieces.num_permits() as u64 * PIECE)
    }
}

fn pieces(octets: u64) -> u32 {
    u32::try_from(octets.div_ceil(PIECE).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: all that is taken together never exceeds the bound, and what is dropped is free again.
    #[tokio::test]
    async fn room_is_bounded_and_comes_back() {
        let budget = Budget::new(10 * PIECE, Duration::ZERO);
        let mut first = budget.take(3 * PIECE - 5).unwrap();
        let second = budget.take(6 * PIECE + 1).unwrap();
        assert_eq!((first.octets(), second.octets()), (3 * PIECE, 7 * PIECE));
        assert!(budget.take(1).is_none() && budget.wait(1).await.is_none());
        drop(second);
        first.add(budget.take(7 * PIECE).unwrap());
        assert_eq!(first.octets(), 10 * PIECE);
        assert!(budget.take(1).is_none());
        drop(first);
        assert!(budget.wait(10 * PIECE).await.is_some());
    }
}
