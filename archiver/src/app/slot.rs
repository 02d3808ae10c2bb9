//! An instance's place: whether it is open, and what to tell to whoever works on it.
//!
//! Opening takes long when a catalog is rebuilt. Whoever opens holds no lock meanwhile: who only looks is answered at once, and
//! who wants the instance waits a moment and is told that it is being opened.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use postern_shared::shutdown::{Shutdown, Switch, switch};

use crate::archive::{ArchiveError, Follower, Instance};

/// How long somebody waits for an instance that is being opened. Threads that wait are few at any time.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Whether an instance is open.
#[derive(Debug, Clone, Default)]
pub(super) enum Place {
    /// Nobody has asked for it yet, or it was closed.
    #[default]
    Closed,
    /// Somebody opens it.
    Opening,
    /// It is open.
    Open(Arc<Instance>),
    /// It did not open the last time; why, and whether for want of its key.
    Failed { error: String, is_locked: bool },
}

/// An instance that is open, or the task of opening it.
enum Taken<'s> {
    Open(Arc<Instance>),
    Mine(Opening<'s>),
}

/// An instance's place.
#[derive(Debug)]
pub(super) struct Slot {
    place: Mutex<Place>,
    changed: Condvar,
    /// What was closed last, for as long as somebody still works on it.
    pub(super) closing: Mutex<Option<Weak<Instance>>>,
    pub(super) stop: Mutex<(Switch, Shutdown)>,
    /// Lets the indexes follow. It works on the instance, so it ends before that is closed.
    pub(super) follower: Mutex<Option<Follower>>,
    /// Held by whoever writes into the instance's directory without having it open: see [`super::Working`].
    pub(super) work: Arc<()>,
}

impl Slot {
    pub(super) fn new() -> Self {
        Self {
            place: Mutex::default(),
            changed: Condvar::new(),
            closing: Mutex::default(),
            stop: Mutex::new(switch()),
            follower: Mutex::default(),
            work: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands.
    pub(super) fn place(&self) -> Place {
        self.lock().clone()
    }

    /// The instance, opened by `open` unless it is open. Once it is, `stay` is asked: it may have been stopped meanwhile.
    pub(super) fn open(
        &self,
        id: &str,
        open: impl FnOnce() -> Result<Arc<Instance>, ArchiveError>,
        stay: impl FnOnce(&Arc<Instance>) -> Result<(), ArchiveError>,
    ) -> Result<Arc<Instance>, ArchiveError> {
        let _opening = match self.take(id)? {
            Taken::Open(instance) => return Ok(instance),
            Taken::Mine(opening) => opening,
        };
        let opened = open();
        let mut place = self.lock();
        let instance = match opened {
            Ok(instance) => instance,
            Err(error) => {
                let is_locked = matches!(error, ArchiveError::Locked { .. });
                *place = Place::Failed { error: error.to_string(), is_locked };
                return Err(error);
            }
        };
        stay(&instance)?;
        *place = Place::Open(Arc::clone(&instance));
        Ok(instance)
    }

    fn take(&self, id: &str) -> Result<Taken<'_>, ArchiveError> {
        let opens = |place: &mut Place| matches!(place, Place::Opening);
        let waited = self.changed.wait_timeout_while(self.lock(), WAIT_MAX, opens);
        let (mut place, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Place::Open(instance) => Ok(Taken::Open(Arc::clone(instance))),
            Place::Opening => Err(ArchiveError::Opening(id.into())),
            Place::Closed | Place::Failed { .. } => {
                *place = Place::Opening;
                Ok(Taken::Mine(Opening(self)))
            }
        }
    }

    /// Takes an open instance out of its place, once nobody opens it any more; an error when that lasts longer than `patience`.
    pub(super) fn close(&self, id: &str, patience: Duration) -> Result<Option<Arc<Instance>>, ArchiveError> {
        let opens = |place: &mut Place| matches!(place, Place::Opening);
        let waited = self.changed.wait_timeout_while(self.lock(), patience, opens);
        let (mut place, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *place) {
            Place::Open(instance) => Ok(Some(instance)),
            Place::Opening => {
                *place = Place::Opening;
                Err(ArchiveError::Stopping(id.into()))
            }
            Place::Closed | Place::Failed { .. } => Ok(None),
        }
    }
}

/// Somebody opens the instance. However that ends, nobody waits for ever.
struct Opening<'s>(&'s Slot);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut place = self.0.lock();
        if matches!(*place, Place::Opening) {
            *place = Place::Closed;
        }
        drop(place);
        self.0.changed.notify_all();
    }
}
