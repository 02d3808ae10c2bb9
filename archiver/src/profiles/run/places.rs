//! How many runs and sessions go on at once, in the whole program: nobody's server is to be flooded, and no instance to be
//! starved by another one's runs.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use postern_shared::control::Context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const RUNS_MAX: usize = 32;
const RUNS_IN_INSTANCE_MAX: usize = 8;
const SESSIONS_WITH_HOST_MAX: usize = 8;

/// Places for runs and sessions.
pub(in crate::profiles) struct Places {
    runs: Arc<Semaphore>,
    others: Mutex<HashMap<(Of, String), Arc<Semaphore>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Instance,
    Host,
}

/// A place; free again when dropped.
pub(in crate::profiles) struct Place {
    _held: Vec<OwnedSemaphorePermit>,
}

/// Those of this program.
pub(in crate::profiles) fn places() -> &'static Places {
    static PLACES: LazyLock<Places> = LazyLock::new(|| Places::new(RUNS_MAX));
    &PLACES
}

impl Places {
    fn new(runs: usize) -> Self {
        Self { runs: Arc::new(Semaphore::new(runs)), others: Mutex::default() }
    }

    /// Waits for a place for a run; `None` when it was cancelled meanwhile.
    pub(in crate::profiles) async fn run(&self, instance: &str, context: &Context) -> Option<Place> {
        // First among its own: who waits there takes nobody else's place.
        let own = self.of(Of::Instance, instance, RUNS_IN_INSTANCE_MAX);
        let own = wait(own, context).await?;
        let all = wait(Arc::clone(&self.runs), context).await?;
        Some(Place { _held: vec![own, all] })
    }

    /// Waits for a place for a session with a host.
    pub(in crate::profiles) async fn session(&self, host: &str, context: &Context) -> Option<Place> {
        let host = self.of(Of::Host, &host.to_lowercase(), SESSIONS_WITH_HOST_MAX);
        Some(Place { _held: vec![wait(host, context).await?] })
    }

    fn of(&self, of: Of, name: &str, max: usize) -> Arc<Semaphore> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody has a place of are made again when they are asked for.
        others.retain(|(of, _), places| {
            let max = if *of == Of::Instance { RUNS_IN_INSTANCE_MAX } else { SESSIONS_WITH_HOST_MAX };
            Arc::strong_count(places) > 1 || places.available_permits() < max
        });
        let entry = others.entry((of, name.to_owned()));
        Arc::clone(entry.or_insert_with(|| Arc::new(Semaphore::new(max))))
    }
}

async fn wait(places: Arc<Semaphore>, context: &Context) -> Option<OwnedSemaphorePermit> {
    let mut context = context.clone();
    tokio::select! {
        biased;
        // Never closed.
        permit = places.acquire_owned() => permit.ok(),
        () = context.cancelled() => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a run waits when all places are taken, goes on when one is free, and ends waiting when it is cancelled.
    #[tokio::test]
    async fn runs_wait_for_places() {
        let places = Places::new(2);
        let (context, _told, cancel) = Context::new();
        let first = places.run("a", &context).await.unwrap();
        let _second = places.run("b", &context).await.unwrap();
        let third = places.run("c", &context);
        tokio::pin!(third);
        assert!(futures_pending(third.as_mut()).await);
        drop(first);
        let third = third.await;
        assert!(third.is_some());
        cancel.send_replace(true);
        assert!(places.run("d", &context).await.is_none());
        drop(third);
        let (context, _told, _cancel) = Context::new();
        let held = tokio::join!(places.session("H", &context), places.session("h", &context));
        assert!(held.0.is_some() && held.1.is_some());
        assert_eq!(places.others.lock().unwrap().keys().filter(|(of, _)| *of == Of::Host).count(), 1);
    }

    async fn futures_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
        let mut future = Some(future);
        std::future::poll_fn(|context| {
            let pending = future.take().is_some_and(|future| future.poll(context).is_pending());
            std::task::Poll::Ready(pending)
        })
        .await
    }
}
