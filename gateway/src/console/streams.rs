//! Live streams: how many there may be, in all and of one account. A token's count as its owner's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const ALL_MAX: usize = 64;
/// A browser has six connections to us at once; somebody may sit at two.
const EACH_MAX: usize = 12;

/// The places that are taken, by account.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<BTreeMap<String, usize>>);

/// One of the few places, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    account: String,
    all: Arc<Streams>,
}

impl Streams {
    /// A place for a stream of that account; `None` when all are taken, or all that it may have.
    pub(super) fn take(self: &Arc<Self>, account: &str) -> Option<Place> {
        let mut taken = self.taken();
        let own = taken.get(account).copied().unwrap_or(0);
        if own >= EACH_MAX || taken.values().sum::<usize>() >= ALL_MAX {
            return None;
        }
        taken.insert(account.to_owned(), own + 1);
        Some(Place { account: account.to_owned(), all: Arc::clone(self) })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.all.taken();
        if let Some(own) = taken.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_places() {
        let streams = Arc::new(Streams::default());
        let mut own: Vec<Place> = std::iter::from_fn(|| streams.take("viewer")).collect();
        assert_eq!(own.len(), EACH_MAX);
        assert!(streams.take("admin").is_some(), "there is room for others");
        own.pop();
        assert!(streams.take("viewer").is_some(), "a place that was given back");
        let others: Vec<Place> = (0..100).filter_map(|n| streams.take(&n.to_string())).collect();
        assert_eq!(own.len() + others.len(), ALL_MAX);
        drop((own, others));
        assert!(streams.taken().is_empty());
    }
}
