//! Who commits, and what goes together (group commit).
//!
//! One leads at a time. Whoever hands over a job while nobody leads commits it where it stands: a lone message is not
//! passed between threads. When others have come meanwhile, the spool's thread takes the lead and commits all that
//! wait, group after group, until nothing does. So a caller is kept from its other work for one commit at most, and
//! no two callers at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::writer::{Job, Writer};

/// A group is closed when it has this much, so that a waiter's delay stays bounded.
const GROUP_BYTES_MAX: u64 = 16 * 1024 * 1024;
const GROUP_JOBS_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Commits {
    queue: Mutex<Queue>,
    thread_called: Condvar,
    writer: Mutex<Writer>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
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
    pub(super) fn new(writer: Writer) -> Self {
        Self { queue: Mutex::default(), thread_called: Condvar::new(), writer: Mutex::new(writer) }
    }

    /// Commits only in [`Commits::step`].
    pub(super) fn stepped(writer: Writer) -> Self {
        let queue = Mutex::new(Queue { leader: Leader::Stepper, ..Queue::default() });
        Self { queue, ..Self::new(writer) }
    }

    /// Commits what waits, when this is stepped.
    pub(super) fn step(&self) {
        let mut queue = self.queue();
        while queue.leader == Leader::Stepper && !queue.jobs.is_empty() {
            let group = take_group(&mut queue.jobs);
            drop(queue);
            self.commit(group);
            queue = self.queue();
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
        queue.leader = Leader::Caller;
        let group = take_group(&mut queue.jobs);
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
            while queue.leader != Leader::Thread {
                if queue.closed && queue.leader == Leader::Nobody {
                    return;
                }
                queue = self.thread_called.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            while !queue.jobs.is_empty() {
                let group = take_group(&mut queue.jobs);
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

    /// No further job is taken; those that wait are committed.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.thread_called.notify_one();
    }

    fn commit(&self, group: Vec<Job>) {
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
    }
}

fn take_group(jobs: &mut VecDeque<Job>) -> Vec<Job> {
    let moves = |job: Option<&Job>| matches!(job, Some(Job::Move { .. }));
    let mut group = Vec::new();
    let mut bytes = 0;
    while bytes < GROUP_BYTES_MAX && group.len() < GROUP_JOBS_MAX {
        // Whether a record still has to move is known only when all before it is committed, so moves go alone.
        if !group.is_empty() && (moves(jobs.front()) || moves(group.last())) {
            break;
        }
        let Some(job) = jobs.pop_front() else { break };
        bytes += job.bytes();
        group.push(job);
    }
    group
}
