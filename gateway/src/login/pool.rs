//! Where passwords are checked: a few threads of their own, at lower priority than intake, and a bounded queue.
//!
//! Argon2id takes 64 MiB and a tenth of a second of computing for each login. So only so many run at once, whoever comes;
//! of those that wait, addresses known at their mailbox go first; and when too many wait, the next one is told to come
//! again instead of waiting for longer than its client would.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How much lower the threads' priority is (nice(2)): mail goes on coming in while passwords are checked.
const NICENESS: i32 = 5;

/// Passwords checked at once, unless configured.
pub const LOGINS_AT_ONCE: usize = 2;
/// Logins that may wait for that, unless configured.
pub const LOGINS_WAITING: usize = 100;

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end when this is dropped and the queue is empty.
#[derive(Debug)]
pub struct LoginPool {
    shared: Arc<Shared>,
}

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// Too much waits.
    #[error("too many logins wait")]
    Full,
    /// It failed inside.
    #[error("the login could not be checked")]
    Failed,
}

struct Shared {
    queues: Mutex<Queues>,
    changed: Condvar,
    waiting_max: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("waiting_max", &self.waiting_max).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queues {
    known: VecDeque<Job>,
    strangers: VecDeque<Job>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut queues = self.lock();
        loop {
            if let Some(job) = queues.known.pop_front().or_else(|| queues.strangers.pop_front()) {
                return Some(job);
            }
            if queues.closed {
                return None;
            }
            queues = self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Default for LoginPool {
    fn default() -> Self {
        Self::new(LOGINS_AT_ONCE, LOGINS_WAITING)
    }
}

impl LoginPool {
    /// So many threads (at least one), and so many that may wait, of those known and of strangers each.
    pub fn new(threads: usize, waiting_max: usize) -> Self {
        let shared = Arc::new(Shared {
            queues: Mutex::default(),
            changed: Condvar::new(),
            waiting_max: waiting_max.max(1),
        });
        for _ in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            let thread =
                std::thread::Builder::new().name("postern-login".into()).spawn(move || work(&shared));
            if let Err(error) = thread {
                tracing::error!(%error, "cannot start a thread for logins");
            }
        }
        Self { shared }
    }

    /// Does `work` on one of the threads, when its turn comes. Dropping the future gives up the turn.
    pub async fn run<R: Send + 'static>(
        &self,
        known: bool,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, NotDone> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Who has gone meanwhile costs nothing.
            if !done.is_closed() {
                // The receiver may go while we work, and then nobody wants the result.
                let _ = done.send(work());
            }
        });
        {
            let mut queues = self.shared.lock();
            let queue = if known { &mut queues.known } else { &mut queues.strangers };
            if queue.len() >= self.shared.waiting_max {
                return Err(NotDone::Full);
            }
            queue.push_back(job);
        }
        self.shared.changed.notify_one();
        result.await.map_err(|_| NotDone::Failed)
    }
}

impl Drop for LoginPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

fn work(shared: &Shared) {
    // On Linux this is the thread's own priority, not the process's.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of logins");
    }
    while let Some(job) = shared.next() {
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("checking a password panicked; the others go on");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A pool whose only thread is busy until the sender is used.
    async fn busy(waiting_max: usize) -> (Arc<LoginPool>, mpsc::Sender<()>) {
        let pool = Arc::new(LoginPool::new(1, waiting_max));
        let (release, held) = mpsc::channel::<()>();
        let (began, begun) = oneshot::channel();
        let busy = Arc::clone(&pool);
        tokio::spawn(async move {
            busy.run(false, move || {
                began.send(()).unwrap();
                held.recv().unwrap();
            })
            .await
        });
        begun.await.unwrap();
        (pool, release)
    }

    /// Goal: the queue is bounded, overflow is told at once, and who is known goes first.
    #[tokio::test]
    async fn strangers_overflow_and_the_known_go_first() {
        let (pool, release) = busy(2).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let push = |name: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(name)
        };
        let (first, second, third, known, all) = tokio::join!(
            biased;
            pool.run(false, push("first")),
            pool.run(false, push("second")),
            pool.run(false, push("third")),
            pool.run(true, push("known")),
            async { release.send(()).unwrap() },
        );
        let () = all;
        assert_eq!((first, second, third, known), (Ok(()), Ok(()), Err(NotDone::Full), Ok(())));
        assert_eq!(*order.lock().unwrap(), ["known", "first", "second"]);
    }

    #[tokio::test]
    async fn who_has_gone_costs_nothing_and_a_panic_ends_no_thread() {
        let (pool, release) = busy(10).await;
        let ran = Arc::new(Mutex::new(false));
        let flag = Arc::clone(&ran);
        let gone = pool.run(false, move || *flag.lock().unwrap() = true);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), gone).await.is_err());
        release.send(()).unwrap();
        assert_eq!(pool.run(false, || panic!("on purpose")).await, Err(NotDone::Failed));
        assert_eq!(pool.run(false, || 7).await, Ok(7));
        assert!(!*ran.lock().unwrap());
    }
}
