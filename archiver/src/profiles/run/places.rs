//! How many runs and sessions go on at once, in the whole program: nobody's server is to be flooded, and no instance to be
//! starved by another one's runs.
//!
//! | what | in an instance | in all |
//! |---|---|---|
//! | runs | 8 | 24, and 8 more for instances of which none goes on |
//! | sessions with a host | 4 | 16 |
//! | sessions that wait at a host for something to happen | 100 | 400 |
//!
//! Who waits for a place waits among those of the instance first, so it takes nobody else's; then in the order of asking.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use postern_shared::control::Context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const RUNS_MAX: usize = 24;
/// For instances of which no run goes on.
const FIRST_RUNS_MAX: usize = 8;
const RUNS_IN_INSTANCE_MAX: usize = 8;
const SESSIONS_WITH_HOST_MAX: usize = 16;
const SESSIONS_WITH_HOST_IN_INSTANCE_MAX: usize = 4;
const WAITS_AT_HOST_MAX: usize = 400;
const WAITS_AT_HOST_IN_INSTANCE_MAX: usize = 100;

/// Places for runs and sessions.
pub(in crate::profiles) struct Places {
    runs: Arc<Semaphore>,
    first_runs: Arc<Semaphore>,
    others: Mutex<HashMap<Of, Arc<Semaphore>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Of {
    Instance(String),
    Host(String),
    InstanceAndHost(String, String),
    WaitsAtHost(String),
    WaitsOfInstanceAtHost(String, String),
}

impl Of {
    fn max(&self) -> usize {
        match self {
            Self::Instance(_) => RUNS_IN_INSTANCE_MAX,
            Self::Host(_) => SESSIONS_WITH_HOST_MAX,
            Self::InstanceAndHost(..) => SESSIONS_WITH_HOST_IN_INSTANCE_MAX,
            Self::WaitsAtHost(_) => WAITS_AT_HOST_MAX,
            Self::WaitsOfInstanceAtHost(..) => WAITS_AT_HOST_IN_INSTANCE_MAX,
        }
    }
}

/// A place; free again when dropped.
pub(in crate::profiles) struct Place {
    _held: Vec<OwnedSemaphorePermit>,
}

/// Those of this program.
pub(in crate::profiles) fn places() -> &'static Places {
    static PLACES: LazyLock<Places> = LazyLock::new(|| Places::new(RUNS_MAX, FIRST_RUNS_MAX));
    &PLACES
}

impl Places {
    fn new(runs: usize, first_runs: usize) -> Self {
        Self {
            runs: Arc::new(Semaphore::new(runs)),
            first_runs: Arc::new(Semaphore::new(first_runs)),
            others: Mutex::default(),
        }
    }

    /// Waits for a place for a run; `None` when it was cancelled meanwhile.
    pub(in crate::profiles) async fn run(&self, instance: &str, context: &Context) -> Option<Place> {
        let own = self.of(Of::Instance(instance.to_owned()));
        let of_instance = wait(Arc::clone(&own), context).await?;
        let is_first = own.available_permits() + 1 == RUNS_IN_INSTANCE_MAX;
        let all = Arc::clone(&self.runs);
        let all = if is_first {
            tokio::select! {
                biased;
                place = wait(all, context) => place?,
                place = wait(Arc::clone(&self.first_runs), context) => place?,
            }
        } else {
            wait(all, context).await?
        };
        Some(Place { _held: vec![of_instance, all] })
    }

    /// Waits for a place for a session of an instance with a host.
    pub(in crate::profiles) async fn session(
        &self,
        instance: &str,
        host: &str,
        context: &Context,
    ) -> Option<Place> {
        let host = host.to_lowercase();
        let own = wait(self.of(Of::InstanceAndHost(instance.to_owned(), host.clone())), context).await?;
        let all = wait(self.of(Of::Host(host)), context).await?;
        Some(Place { _held: vec![own, all] })
    }

    /// A place for a session that waits at a host for something to happen, if there is one.
    pub(in crate::profiles) fn wait(&self, instance: &str, host: &str) -> Option<Place> {
        let host = host.to_lowercase();
        let own = self.of(Of::WaitsOfInstanceAtHost(instance.to_owned(), host.clone()));
        let own = own.try_acquire_owned().ok()?;
        let all = self.of(Of::WaitsAtHost(host)).try_acquire_owned().ok()?;
        Some(Place { _held: vec![own, all] })
    }

    fn of(&self, of: Of) -> Arc<Semaphore> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody has a place of are made again when they are asked for.
        others.retain(|of, places| Arc::strong_count(places) > 1 || places.available_permits() < of.max());
        let max = of.max();
        Arc::clone(others.entry(of).or_insert_with(|| Arc::new(Semaphore::new(max))))
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
        let places = Places::new(2, 0);
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
        let held = tokio::join!(places.session("a", "H", &context), places.session("b", "h", &context));
        assert!(held.0.is_some() && held.1.is_some());
        let others = places.others.lock().unwrap();
        assert_eq!(others.keys().filter(|of| matches!(of, Of::Host(_))).count(), 1);
    }

    /// Goal: an instance that takes all it can leaves others a run, and a session with the same host.
    #[tokio::test]
    async fn one_instance_keeps_no_other_from_a_host() {
        let places = Places::new(4, 1);
        let (context, _told, _cancel) = Context::new();
        let (mut runs, mut sessions, mut waits) = (Vec::new(), Vec::new(), 0);
        for _ in 0..4 {
            runs.push(places.run("a", &context).await.unwrap());
        }
        let fifth = places.run("a", &context);
        tokio::pin!(fifth);
        assert!(futures_pending(fifth.as_mut()).await);
        runs.push(places.run("b", &context).await.unwrap());
        for _ in 0..SESSIONS_WITH_HOST_IN_INSTANCE_MAX {
            sessions.push(places.session("a", "h", &context).await.unwrap());
        }
        let another = places.session("a", "H", &context);
        tokio::pin!(another);
        assert!(futures_pending(another.as_mut()).await);
        sessions.push(places.session("b", "h", &context).await.unwrap());
        let mut held = Vec::new();
        while let Some(place) = places.wait("a", "h") {
            held.push(place);
            waits += 1;
        }
        assert_eq!(waits, WAITS_AT_HOST_IN_INSTANCE_MAX);
        assert!(places.wait("b", "h").is_some());
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
