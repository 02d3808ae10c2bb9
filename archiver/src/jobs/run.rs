//! One run: what is done, what ends it, what is kept of it.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use postern_shared::control::Context;
use postern_shared::telemetry::Progress;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::job::{Job, Template};
use super::results::{JobResult, Outcome, Results, Trigger};
use super::scheduler::{End, Key, Why};
use super::stored::{JobStoreError, StoredJobs};
use super::task;
use crate::app::{Core, Working};
use crate::archive::ArchiveError;
use crate::command::CommandError;

/// Who ended a run before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedBy {
    Somebody,
    Timeout,
    Shutdown,
}

/// A run in progress, for whoever looks at it or ends it.
#[derive(Debug)]
pub(super) struct Live {
    cancel: watch::Sender<bool>,
    ended_by: Mutex<Option<EndedBy>>,
    progress: Mutex<Option<Progress>>,
    give_up: Notify,
}

impl Live {
    fn new(cancel: watch::Sender<bool>) -> Self {
        Self { cancel, ended_by: Mutex::default(), progress: Mutex::default(), give_up: Notify::new() }
    }

    /// Ends the run at its next safe point. Who comes first is told.
    pub(super) fn end(&self, by: EndedBy) {
        self.ended_by.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(by);
        self.cancel.send_replace(true);
    }

    /// Does not wait for the safe point any longer.
    pub(super) fn give_up(&self) {
        self.give_up.notify_one();
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Option<Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn ended_by(&self) -> Option<EndedBy> {
        *self.ended_by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a run was not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRun {
    /// Its job cannot be read.
    #[error(transparent)]
    Job(#[from] JobStoreError),
    /// Something else works on the same.
    #[error("{0}")]
    Busy(String),
    /// Its instance is not to be open for writing.
    #[error(transparent)]
    Closed(ArchiveError),
    /// The caller wanted it no more before it began.
    #[error("cancelled before it began")]
    Withdrawn,
    /// It is running.
    #[error("job {0} is running already, or waits for its turn; wait for it, or end it with job cancel")]
    Running(Key),
    /// It failed inside.
    #[error("the run failed inside: {0}")]
    Inside(String),
}

/// Runs a job from its file to its result. The scheduler is told by [`super::Jobs`].
pub(super) async fn run(
    core: &Arc<Core>,
    key: &Key,
    why: Why,
    mut caller: Option<Context>,
) -> Result<JobResult, NotRun> {
    let (context, mut told, cancel) = Context::new();
    let live = Arc::new(Live::new(cancel));
    core.jobs.began(key, &live);
    let _over = Over { core, key };
    // Until the result is stored nobody takes the instance away.
    let _working = working(core, key).await?;
    let (job, mut result) = begin(core, key, why).await?;
    let work = caught(task::perform(core, &key.instance, &job.template, context));
    let mut work = Box::pin(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break Some(done),
            Some(progress) = told.recv() => note(core, &live, &mut result, caller.as_ref(), progress),
            () = cancelled(caller.as_mut()), if live.ended_by().is_none() => live.end(core.jobs.why_cancelled()),
            () = live.give_up.notified() => break None,
        }
    };
    // What was told last.
    while let Ok(progress) = told.try_recv() {
        note(core, &live, &mut result, caller.as_ref(), progress);
    }
    drop(work);
    let busy = matches!(&done, Some(Err(error)) if task::is_busy(error));
    conclude(core, &mut result, done, live.ended_by());
    finish(core, key, job, result, busy).await
}

/// Work whose panic is a failure like others: it has a result, and is told.
async fn caught(work: impl Future<Output = Result<Value, CommandError>>) -> Result<Value, CommandError> {
    let mut work = Box::pin(work);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            let why = "it failed inside, which is a fault of this program; its log has the place";
            Poll::Ready(Err(CommandError::Inside(why.into())))
        })
    })
    .await
}

/// Told when a run is over, however it ends.
struct Over<'r> {
    core: &'r Core,
    key: &'r Key,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.core.jobs.over(self.key);
    }
}

async fn cancelled(caller: Option<&mut Context>) {
    match caller {
        Some(caller) => caller.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Announces that results are written.
async fn working(core: &Arc<Core>, key: &Key) -> Result<Working, NotRun> {
    let (core, key) = (Arc::clone(core), key.clone());
    let working = tokio::task::spawn_blocking(move || core.working(&key.instance));
    working.await.map_err(|error| NotRun::Inside(error.to_string()))?.map_err(NotRun::Closed)
}

/// Reads the job, and stores that it begins.
async fn begin(core: &Arc<Core>, key: &Key, why: Why) -> Result<(Job, JobResult), NotRun> {
    let (core, key) = (Arc::clone(core), key.clone());
    let begun = tokio::task::spawn_blocking(move || {
        let dir = core.instances_dir().join(&key.instance);
        let job = StoredJobs::new(Arc::clone(&core.disk), &dir).show(&key.job)?.job;
        let now = core.clock.wall();
        let mut result = JobResult::begun(core.jobs.next_id(), &key.job, now);
        result.template = job.template.kind().into();
        result.trigger = why.into();
        result.log(now, "begins");
        if let Err(error) = Results::new(Arc::clone(&core.disk), &dir).begin(&result) {
            // The work counts for more than the note of it.
            tracing::error!(job = %key, %error, "cannot note that a job begins; it runs nevertheless");
        }
        Ok((job, result))
    });
    begun.await.map_err(|error| NotRun::Inside(error.to_string()))?
}

fn note(core: &Core, live: &Live, result: &mut JobResult, caller: Option<&Context>, progress: Progress) {
    let mut shown = live.progress.lock().unwrap_or_else(PoisonError::into_inner);
    if shown.as_ref().is_none_or(|shown| shown.what != progress.what) {
        result.log(core.clock.wall(), &progress.what);
    }
    if let Some(caller) = caller {
        caller.progress(progress.clone());
    }
    *shown = Some(progress);
}

/// From what a command answered, and who ended it, to how the run ended.
fn conclude(
    core: &Core,
    result: &mut JobResult,
    done: Option<Result<Value, CommandError>>,
    ended_by: Option<EndedBy>,
) {
    let ended = match ended_by {
        Some(EndedBy::Timeout) => Outcome::TimedOut,
        _ => Outcome::Cancelled,
    };
    let outcome = match done {
        Some(Ok(answer)) => match task::tell(result, &answer) {
            (_, true) => ended,
            (true, false) => Outcome::Failed,
            (false, false) => Outcome::Succeeded,
        },
        Some(Err(error)) => {
            result.error(&error.to_string());
            if ended_by.is_some() { ended } else { Outcome::Failed }
        }
        None => {
            result.error("it came to no safe point in time and was given up; see the log for what holds it");
            ended
        }
    };
    if outcome == Outcome::TimedOut {
        result.error("its timeout ended it; what it did stays done");
    }
    let now = core.clock.wall();
    result.resume = outcome == Outcome::Cancelled && ended_by == Some(EndedBy::Shutdown);
    (result.ended, result.outcome) = (Some(now), Some(outcome));
    result.log(now, outcome.as_str());
}

async fn finish(
    core: &Arc<Core>,
    key: &Key,
    job: Job,
    mut result: JobResult,
    busy: bool,
) -> Result<JobResult, NotRun> {
    let (core, key) = (Arc::clone(core), key.clone());
    let finished = tokio::task::spawn_blocking(move || {
        let results = Results::new(Arc::clone(&core.disk), &core.instances_dir().join(&key.instance));
        if busy {
            if let Err(error) = results.forget(&result) {
                tracing::warn!(job = %key, %error, "a job that did not begin is noted as begun");
            }
            return Err(NotRun::Busy(result.errors.pop().unwrap_or_default()));
        }
        let stored = if folds(&job, &result) {
            results.end_folded(&mut result, core.jobs.idle_before(&key))
        } else {
            results.end(&result)
        };
        core.jobs.keep_idle(&key, &result);
        if let Err(error) = stored {
            tracing::error!(job = %key, %error, "the result of a job cannot be stored; it is tried again");
            core.jobs.keep_unsaved(&key, &result);
        }
        let outcome = result.outcome.map_or("", Outcome::as_str);
        tracing::info!(job = %key, outcome, counts = ?result.counts, "a job ended");
        if job.notify {
            core.jobs.tell(&key, &result);
        }
        Ok(result)
    });
    finished.await.map_err(|error| NotRun::Inside(error.to_string()))?
}

/// Whether runs of it that find nothing are told as one: pulls, and whatever runs again and again. What somebody asked for is told.
fn folds(job: &Job, result: &JobResult) -> bool {
    let pulls = matches!(job.template, Template::Profile { .. }) && result.trigger != Trigger::Hand;
    pulls || job.schedule.as_ref().is_some_and(super::schedule::Schedule::is_continuous)
}

/// As the scheduler wants to know it.
pub(super) fn end_of(ran: &Result<JobResult, NotRun>) -> End {
    match ran {
        Ok(result) => match result.outcome {
            Some(Outcome::Succeeded | Outcome::Cancelled) | None => End::Well,
            Some(_) => End::Badly,
        },
        Err(NotRun::Busy(_)) => End::Busy,
        Err(NotRun::Withdrawn | NotRun::Closed(_)) => End::Well,
        Err(_) => End::Badly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a panic amid the work, at once or after a wait, is told as the work's failure.
    #[tokio::test]
    async fn a_panic_is_a_failure() {
        for waits in [false, true] {
            let failed = caught(async move {
                if waits {
                    tokio::task::yield_now().await;
                }
                panic!("of a source")
            });
            let failed = failed.await.unwrap_err().to_string();
            assert!(failed.contains("failed inside"), "{failed}");
        }
        assert_eq!(caught(async { Ok(Value::Null) }).await.unwrap(), Value::Null);
    }
}
