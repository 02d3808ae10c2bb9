//! Following in the background.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Bell;
use crate::archive::stores::Watch;
use crate::archive::{ArchiveError, Instance};

/// What arrives close together is indexed together.
const PAUSE: Duration = Duration::from_millis(300);
/// When nobody rings: a look whether something was missed.
const ROUND: Duration = Duration::from_secs(30);
/// After a round that failed, and twice as long after each that fails too, unless somebody searches.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
const PAUSE_AFTER_FAILURE_MAX: Duration = Duration::from_secs(60);

/// Lets an instance's indexes follow, and builds anew those that are damaged, until it is dropped.
#[derive(Debug)]
pub struct Follower {
    stop: Arc<AtomicBool>,
    instance: Weak<Instance>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins to follow.
    pub fn start(instance: &Arc<Instance>) -> std::io::Result<Self> {
        let (stop, instance) = (Arc::new(AtomicBool::new(false)), Arc::downgrade(instance));
        // From now on: who archives next leaves the index to it.
        let (ended, followed) = (Arc::clone(&stop), Followed::new(Weak::clone(&instance)));
        let thread =
            std::thread::Builder::new().name("index".into()).spawn(move || follow(&followed, &ended))?;
        Ok(Self { stop, instance, thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let instance = self.instance.upgrade();
        if let Some(instance) = &instance {
            // A document that is being read is given up.
            instance.following.stopping.store(true, Ordering::Relaxed);
            instance.following.ring();
        }
        if let Some(thread) = self.thread.take() {
            // It logs what goes wrong itself.
            let _ = thread.join();
        }
        if let Some(instance) = &instance {
            instance.following.stopping.store(false, Ordering::Relaxed);
        }
    }
}

/// As long as it is there, somebody follows. However that ends, nobody waits for it any more.
struct Followed(Weak<Instance>);

impl Followed {
    fn new(instance: Weak<Instance>) -> Self {
        if let Some(instance) = instance.upgrade() {
            instance.following.followed.store(true, Ordering::Relaxed);
        }
        Self(instance)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if let Some(instance) = self.0.upgrade() {
            instance.following.followed.store(false, Ordering::Relaxed);
            instance.following.rung.notify_all();
        }
    }
}

fn follow(Followed(instance): &Followed, stop: &AtomicBool) {
    let mut healing = Healing::default();
    let mut failures = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(instance) = instance.upgrade() else { return };
        let following = &instance.following;
        let rung = {
            let mut bell = following.bell();
            bell.urgent = false;
            bell.rung
        };
        let mut watch = |_: &str, _: u64, _: Option<u64>| stop.load(Ordering::Relaxed);
        let failed = instance.follow(&mut watch).is_err();
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // Whatever became of following: what is damaged cannot follow.
        let failing = match healing.heal(&instance, &mut watch) {
            Ok(healed) => failed && !healed,
            Err(error) => {
                tracing::error!(%error, "an index cannot be built anew; archiving goes on");
                true
            }
        };
        failures = if failing { failures + 1 } else { 0 };
        let mut bell = following.bell();
        bell.done = bell.done.max(rung);
        bell.failing = failing;
        following.rung.notify_all();
        let stopped = || stop.load(Ordering::Relaxed);
        if failing {
            let wait = after(failures);
            let waited = following.rung.wait_timeout_while(bell, PAUSE_AFTER_FAILURE, |_| !stopped());
            let (bell, _) = waited.unwrap_or_else(PoisonError::into_inner);
            // Who searches wants to know whether it fails still.
            let rest = wait.saturating_sub(PAUSE_AFTER_FAILURE);
            drop(following.rung.wait_timeout_while(bell, rest, |bell| !bell.urgent && !stopped()));
            continue;
        }
        let waited = following.rung.wait_timeout_while(bell, ROUND, |bell| bell.rung == rung && !stopped());
        let (bell, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let patient = |bell: &mut Bell| !bell.urgent && !stopped();
        drop(following.rung.wait_timeout_while(bell, PAUSE, patient));
    }
}

/// How long a follower rests that failed so many times, one behind the other.
fn after(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    PAUSE_AFTER_FAILURE.saturating_mul(doubled).min(PAUSE_AFTER_FAILURE_MAX)
}

/// Checks the indexes once, and builds damaged ones anew.
#[derive(Debug, Default)]
struct Healing {
    checked: bool,
}

impl Healing {
    /// Whether something was healed.
    fn heal(&mut self, instance: &Instance, watch: Watch<'_>) -> Result<bool, ArchiveError> {
        let (mut healed, mut failed) = (false, None);
        for attached in instance.stores.open_stores() {
            let checked = if self.checked { Ok(None) } else { attached.index.check() };
            let built = checked.and_then(|_| match attached.index.damage() {
                Some(_) => instance.rebuild_index(&attached, false, watch),
                None => Ok(false),
            });
            match built {
                Ok(true) => {
                    healed = true;
                    tracing::info!(store = attached.store.id, "a damaged index was built anew");
                }
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        self.checked |= failed.is_none();
        failed.map_or(Ok(healed), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_not_repeated_at_once() {
        let waits: Vec<u64> = (1..9).map(|failures| after(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(after(u32::MAX), PAUSE_AFTER_FAILURE_MAX);
    }
}
