//! How much is done at once, in all and of an instance: nobody takes the others' places, nor all threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

#[derive(Debug, Clone)]
pub(super) struct Shares {
    in_all: usize,
    of_instance: usize,
    taken: Arc<Mutex<HashMap<Option<String>, usize>>>,
    freed: Arc<Notify>,
}

/// A place taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    instance: Option<String>,
}

impl Shares {
    pub(super) fn new(in_all: usize, of_instance: usize) -> Self {
        Self { in_all, of_instance, taken: Arc::default(), freed: Arc::default() }
    }

    /// A place, if there is one. `instance`: whose; those of none share as one.
    pub(super) fn take(&self, instance: Option<&str>) -> Option<Share> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = instance.map(str::to_owned);
        let of_instance = taken.get(&instance).copied().unwrap_or(0);
        if of_instance >= self.of_instance || taken.values().sum::<usize>() >= self.in_all {
            return None;
        }
        taken.insert(instance.clone(), of_instance + 1);
        Some(Share { shares: self.clone(), instance })
    }

    /// A place as soon as there is one, within `patience`.
    pub(super) async fn take_within(&self, instance: Option<&str>, patience: Duration) -> Option<Share> {
        let taking = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // What is freed from here on is heard of.
                freed.as_mut().enable();
                if let Some(share) = self.take(instance) {
                    return share;
                }
                freed.await;
            }
        };
        timeout(patience, taking).await.ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.instance) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.instance);
            }
        }
        drop(taken);
        self.shares.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an instance takes its share and no more, what is given back goes to who waits, and nothing is left behind.
    #[tokio::test]
    async fn shares_are_bounded_and_given_back() {
        let shares = Shares::new(3, 2);
        let mut held: Vec<Share> = (0..2).filter_map(|_| shares.take(Some("a"))).collect();
        assert!(held.len() == 2 && shares.take(Some("a")).is_none());
        let other = shares.take(Some("b")).unwrap();
        assert!(shares.take(None).is_none(), "three in all");
        assert!(shares.take_within(Some("a"), Duration::ZERO).await.is_none());
        let waiting = shares.clone();
        let waits =
            tokio::spawn(async move { waiting.take_within(Some("a"), Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        held.pop();
        let given = waits.await.unwrap();
        assert!(given.is_some());
        drop((held, other, given));
        assert!(shares.taken.lock().unwrap().is_empty());
    }
}
