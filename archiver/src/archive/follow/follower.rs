//! Following in the background.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Bell;
use crate::archive::{ArchiveError, Instance};

/// What arrives close together is indexed together.
const PAUSE: Duration = Duration::from_millis(300);
/// When nobody rings: a look whether something was missed.
const ROUND: Duration = Duration::from_secs(30);

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
        let (ended, followed) = (Arc::clone(&stop), Weak::clone(&instance));
        let thread =
            std::thread::Builder::new().name("index".into()).spawn(move || follow(&followed, &ended))?;
        Ok(Self { stop, instance, thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(instance) = self.instance.upgrade() {
            instance.following.ring();
        }
        if let Some(thread) = self.thread.take() {
            // It logs what goes wrong itself.
            let _ = thread.join();
        }
    }
}

fn follow(instance: &Weak<Instance>, stop: &AtomicBool) {
    let mut checked = false;
    while !stop.load(Ordering::Relaxed) {
        let Some(instance) = instance.upgrade() else { return };
        let following = &instance.following;
        following.followed.store(true, Ordering::Relaxed);
        let rung = {
            let mut bell = following.bell();
            bell.urgent = false;
            bell.rung
        };
        let mut watch = |_: &str, _: u64, _: Option<u64>| stop.load(Ordering::Relaxed);
        let round = instance.follow(&mut watch).and_then(|_| heal(&instance, &mut checked, &mut watch));
        if let Err(error) = round {
            tracing::error!(%error, "an index cannot follow; archiving goes on");
        }
        let mut bell = following.bell();
        bell.done = bell.done.max(rung);
        following.rung.notify_all();
        let quiet = |bell: &mut Bell| bell.rung == rung && !stop.load(Ordering::Relaxed);
        let waited = following.rung.wait_timeout_while(bell, ROUND, quiet);
        let (bell, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let patient = |bell: &mut Bell| !bell.urgent && !stop.load(Ordering::Relaxed);
        drop(following.rung.wait_timeout_while(bell, PAUSE, patient));
    }
    if let Some(instance) = instance.upgrade() {
        instance.following.followed.store(false, Ordering::Relaxed);
        instance.following.rung.notify_all();
    }
}

/// Checks the indexes once, and builds damaged ones anew.
fn heal(
    instance: &Instance,
    checked: &mut bool,
    watch: &mut dyn FnMut(&str, u64, Option<u64>) -> bool,
) -> Result<(), ArchiveError> {
    for attached in instance.stores.open_stores() {
        if !*checked {
            attached.index.check()?;
        }
        if attached.index.damage().is_some() && instance.rebuild_index(&attached, false, watch)? {
            tracing::info!(store = attached.store.id, "a damaged index was built anew");
        }
    }
    *checked = true;
    Ok(())
}
