//! Who commits, and what goes together (group commit).
//!
//! One leads at a time. Whoever hands over a job while nobody leads commits it where it stands: a lone message is not
//! passed between threads. When others have come meanwhile, the spool's thread takes the lead and commits all that
//! wait, group after group, until nothing does. So a caller is kept from its other work for one commit at most, and
//! no two callers at once.
//!
//! Confirmations need not be quick: what they speak of is on disk. They go along with the next group, and when none comes
//! in time, the thread commits them. So they cost a busy spool no syncs of their own.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Pulse;
use super::writer::{Job, Writer};

/// A group is closed when it has this much, so that a waiter's delay stays bounded.
const GROUP_BYTES_MAX: u64 = 16 * 1024 * 1024;
const GROUP_JOBS_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Commits {
    queue: Mutex<Queue>,
    thread_called: Condvar,
    writer: Mutex<Writer>,
    begun: AtomicU64,
    /// How long what can wait does so at most.
    delay: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Those that can wait; they were handed over before all of `jobs` that speak of the same message.
    unhurried: VecDeque<Job>,
    leader: Leader,
    closed: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Leader {
    #[default]
    Nobody,
    Caller,
    Thread,
    /// Whoever calls [`Commits::step`].
    Stepper,
}

impl Commits {
    pub(super) fn new(writer: Writer, delay: Duration) -> Self {
        Self {
            queue: Mutex::default(),
            thread_called: Condvar::new(),
            writer: Mutex::new(writer),
            begun: AtomicU64::new(0),
            delay,
        }
    }

    /// Commits only in [`Commits::step`].
    pub(super) fn stepped(writer: Writer) -> Self {
        let queue = Mutex::new(Queue { leader: Leader::Stepper, ..Queue::default() });
        Self { queue, ..Self::new(writer, Duration::ZERO) }
    }

    /// Commits what waits, when this is stepped.
    pub(super) fn step(&self) {
        let mut queue = self.queue();
        while queue.leader == Leader::Stepper && !queue.jobs.is_empty() {
            let group = queue.take_group();
            drop(queue);
            self.commit(group);
            queue = self.queue();
        }
    }

    /// Hands over a job that can wait.
    pub(super) fn submit_unhurried(&self, job: Job) {
        let mut queue = self.queue();
        if self.delay.is_zero() || queue.unhurried.len() >= GROUP_JOBS_MAX / 2 {
            drop(queue);
            return self.submit(job);
        }
        if queue.closed {
            return;
        }
        queue.unhurried.push_back(job);
        if queue.unhurried.len() == 1 {
            // Its time begins now.
            self.thread_called.notify_one();
        }
    }

    /// Commits what can wait now, unless somebody leads, who will.
    pub(super) fn hurry(&self) {
        let queue = self.queue();
        if !queue.unhurried.is_empty() && queue.leader == Leader::Nobody {
            self.lead(queue);
        }
    }

    /// Hands over a job, and commits it when nobody else is to.
    pub(super) fn submit(&self, job: Job) {
        let mut queue = self.queue();
        if queue.closed {
            // The job's receipt says so.
            return;
        }
        queue.jobs.push_back(job);
        if queue.leader != Leader::Nobody {
            return;
        }
        self.lead(queue);
    }

    fn lead(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.leader = Leader::Caller;
        let group = queue.take_group();
        drop(queue);
        // Also when the commit panics: what waits must not wait for ever.
        let _then = HandOver(self);
        self.commit(group);
    }

    /// The spool's thread: leads when called, ends when the spool is closed and nothing waits.
    pub(super) fn run(&self) {
        let _then = Close(self);
        loop {
            let mut queue = self.queue();
            let mut waited = false;
            while queue.leader != Leader::Thread {
                if queue.leader == Leader::Nobody && (waited || queue.closed) {
                    if queue.unhurried.is_empty() && queue.closed {
                        return;
                    }
                    if !queue.unhurried.is_empty() {
                        queue.leader = Leader::Thread;
                        break;
                    }
                }
                (queue, waited) = self.wait(queue);
            }
            while !queue.jobs.is_empty() || !queue.unhurried.is_empty() {
                let group = queue.take_group();
                drop(queue);
                // As when a caller's commit panics, its group is refused and the next one tried.
                if catch_unwind(AssertUnwindSafe(|| self.commit(group))).is_err() {
                    tracing::error!("a commit failed inside; nothing of this group is acknowledged");
                }
                queue = self.queue();
            }
            queue.leader = Leader::Nobody;
        }
    }

    /// Waits to be called, but for what can wait no longer than that may; whether that time is over.
    fn wait<'q>(&self, queue: MutexGuard<'q, Queue>) -> (MutexGuard<'q, Queue>, bool) {
        if queue.unhurried.is_empty() {
            return (self.thread_called.wait(queue).unwrap_or_else(PoisonError::into_inner), false);
        }
        let (queue, timeout) =
            self.thread_called.wait_timeout(queue, self.delay).unwrap_or_else(PoisonError::into_inner);
        (queue, timeout.timed_out())
    }

    /// No further job is taken; those that wait are committed.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.thread_called.notify_one();
    }

    /// Whether commits move.
    pub(super) fn pulse(&self) -> Pulse {
        let queue = self.queue();
        let leads = matches!(queue.leader, Leader::Caller | Leader::Thread);
        Pulse {
            commits_begun: self.begun.load(Ordering::Relaxed),
            waits: leads || !queue.jobs.is_empty() || !queue.unhurried.is_empty(),
            is_open: !queue.closed,
        }
    }

    fn commit(&self, group: Vec<Job>) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        // A panic in the writer leaves it without a current segment or with one that is whole up to its `bytes`.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).commit(group);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a caller's lead.
struct HandOver<'c>(&'c Commits);

impl Drop for HandOver<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        let waits = !queue.jobs.is_empty();
        queue.leader = if waits { Leader::Thread } else { Leader::Nobody };
        if waits || queue.closed {
            self.0.thread_called.notify_one();
        }
    }
}

/// When the thread is gone, nothing may wait for it.
struct Close<'c>(&'c Commits);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.closed = true;
        queue.jobs.clear();
        queue.unhurried.clear();
    }
}

impl Queue {
    fn take_group(&mut self) -> Vec<Job> {
        let moves = |job: Option<&Job>| matches!(job, Some(Job::Move { .. }));
        // What can wait has waited until now, and moves go alone.
        let mut group: Vec<Job> =
            if moves(self.jobs.front()) { Vec::new() } else { self.unhurried.drain(..).collect() };
        let mut bytes = 0;
        while bytes < GROUP_BYTES_MAX && group.len() < GROUP_JOBS_MAX {
            // Whether a record still has to move is known only when all before it is committed, so moves go alone.
            if !group.is_empty() && (moves(self.jobs.front()) || moves(group.last())) {
                break;
            }
            let Some(job) = self.jobs.pop_front() else { break };
            bytes += job.bytes();
            group.push(job);
        }
        group
    }
}
