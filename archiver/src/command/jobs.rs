//! Commands on jobs, their results, and mail about them.

use std::sync::Arc;

use postern_shared::clock::UnixMillis;
use postern_shared::control::Context;
use serde_json::{Value, json};

use super::{Command, CommandError};
use crate::app::Core;
use crate::jobs::job::BadJobName;
use crate::jobs::notify::submit::SubmitError;
use crate::jobs::results::{JobResult, Outcome, Results, ResultsError};
use crate::jobs::scheduler::Key;
use crate::jobs::stored::{JobStoreError, StoredJob, StoredJobs};
use crate::jobs::{Job, JobName, NotRun};

/// Why a command on jobs failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error(transparent)]
    Name(#[from] BadJobName),
    #[error(transparent)]
    Store(#[from] JobStoreError),
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error(transparent)]
    NotRun(#[from] NotRun),
    #[error("{0:?} is no id of a result; `result list` shows them")]
    BadId(String),
    #[error("job {0} does not run; `job list` shows what does")]
    NotRunning(JobName),
    #[error("job {0} is its profile's: change it with profile put, enable or disable")]
    OfProfile(JobName),
    #[error("mail cannot be sent: {0}")]
    Mail(#[from] SubmitError),
    #[error("the configuration names no mail server: set host, from and to in [notifications]")]
    NoMail,
}

/// Whether jobs may be due at other times after that command.
pub(super) fn reschedules(command: &Command) -> bool {
    matches!(
        command,
        Command::InstanceCreate { .. }
            | Command::InstanceUnlock { .. }
            | Command::InstanceRecover { .. }
            | Command::InstanceStart { .. }
            | Command::InstanceStop { .. }
            | Command::InstanceDelete { .. }
            | Command::Restore { .. }
            | Command::ProfilePut { .. }
            | Command::ProfileEnable { .. }
            | Command::ProfileDelete { .. }
            | Command::JobPut { .. }
            | Command::JobEnable { .. }
            | Command::JobDelete { .. }
    )
}

/// The jobs and results of an instance that is open. Blocks for the disk.
struct At {
    id: String,
    jobs: StoredJobs,
    results: Results,
}

impl At {
    fn open(core: &Core, id: String) -> Result<Self, CommandError> {
        core.instance(&id)?;
        let dir = core.instance_dir(&id)?;
        let jobs = StoredJobs::new(Arc::clone(&core.disk), &dir);
        Ok(Self { id, jobs, results: Results::new(Arc::clone(&core.disk), &dir) })
    }

    fn key(&self, job: &JobName) -> Key {
        Key { instance: self.id.clone(), job: job.clone() }
    }
}

fn name(text: &str) -> Result<JobName, JobError> {
    Ok(text.parse()?)
}

/// Everything that waits for no run. Blocks for the disk.
pub(super) fn execute(core: &Core, command: Command) -> Result<Value, CommandError> {
    match command {
        Command::JobPut { instance, job } => {
            let at = At::open(core, instance)?;
            let stored = at.jobs.put(*job, core.clock.wall()).map_err(JobError::from)?;
            one_shown(core, &at, &stored)
        }
        Command::JobList { instance } => {
            let at = At::open(core, instance)?;
            let all = at.jobs.list().map_err(JobError::from)?;
            let lasts = at.results.lasts(|_| true).map_err(JobError::from)?;
            let all = all.into_iter().map(|stored| match stored {
                Ok(stored) => shown(core, &at, &stored, lasts.get(&stored.job.name)),
                Err(error) => json!({ "error": error.to_string() }),
            });
            Ok(all.collect())
        }
        Command::JobShow { instance, name: wanted } => {
            let at = At::open(core, instance)?;
            let stored = at.jobs.show(&name(&wanted)?).map_err(JobError::from)?;
            one_shown(core, &at, &stored)
        }
        Command::JobCancel { instance, name: wanted } => {
            let (at, name) = (At::open(core, instance)?, name(&wanted)?);
            if !core.jobs.cancel(&at.key(&name)) {
                return Err(JobError::NotRunning(name).into());
            }
            Ok(json!({ "name": name, "cancelled": true }))
        }
        Command::JobEnable { instance, name: wanted, enabled } => {
            let (at, name) = (At::open(core, instance)?, own_name(&wanted)?);
            let job = Job { enabled, ..at.jobs.show(&name).map_err(JobError::from)?.job };
            let stored = at.jobs.put(job, core.clock.wall()).map_err(JobError::from)?;
            one_shown(core, &at, &stored)
        }
        Command::JobDelete { instance, name: wanted } => {
            let (at, name) = (At::open(core, instance)?, own_name(&wanted)?);
            at.jobs.delete(&name).map_err(JobError::from)?;
            Ok(json!({ "name": name, "deleted": true }))
        }
        Command::ResultList { instance, job, limit, before } => {
            let at = At::open(core, instance)?;
            let job = job.as_deref().map(name).transpose()?;
            let before =
                before.map(|id| id.parse().map_err(|_| JobError::BadId(id.chars().take(64).collect())));
            let page = at.results.list(job.as_ref(), before.transpose()?, limit).map_err(JobError::from)?;
            let results: Vec<Value> = page
                .results
                .iter()
                .map(|result| match result {
                    Ok(result) => result_shown(result),
                    Err(error) => json!({ "error": error.to_string() }),
                })
                .collect();
            Ok(json!({ "results": results, "next": page.next }))
        }
        Command::ResultShow { instance, id } => {
            let at = At::open(core, instance)?;
            Ok(result_shown(&at.results.show(&id).map_err(JobError::from)?))
        }
        other => Err(CommandError::Inside(format!("{other:?} is no command for jobs"))),
    }
}

/// A name that is not of a profile's own schedule.
fn own_name(text: &str) -> Result<JobName, JobError> {
    let name = name(text)?;
    if name.profile().is_some() { Err(JobError::OfProfile(name)) } else { Ok(name) }
}

/// Runs a job now, and waits until it has ended.
pub(super) async fn run(
    core: &Arc<Core>,
    instance: String,
    wanted: &str,
    context: Context,
) -> Result<Value, CommandError> {
    let (opener, name) = (Arc::clone(core), name(wanted)?);
    let opened = tokio::task::spawn_blocking(move || {
        let at = At::open(&opener, instance)?;
        let stored = at.jobs.show(&name).map_err(JobError::from)?;
        Ok::<_, CommandError>((at.key(&name), stored))
    });
    let (key, stored) = opened.await.map_err(|error| CommandError::Inside(error.to_string()))??;
    let result = core.jobs.run_now(core, &key, &stored, context).await.map_err(JobError::from)?;
    let mut value = result_shown(&result);
    value["failed"] = u64::from(result.outcome != Some(Outcome::Succeeded)).into();
    Ok(value)
}

/// Sends a mail that shows that mail goes through.
/// Ends when it is cancelled: a mail server may say little at a time.
pub(super) async fn test_notifications(
    core: &Arc<Core>,
    mut context: Context,
) -> Result<Value, CommandError> {
    let tested = tokio::select! {
        tested = core.jobs.notifier.test() => tested.ok_or(JobError::NoMail)?,
        () = context.cancelled() => return Ok(json!({ "cancelled": true })),
    };
    let submitted = tested.map_err(JobError::from)?;
    Ok(json!({ "said": submitted.said, "errors": submitted.refused, "failed": submitted.refused.len() }))
}

fn time(time: Option<UnixMillis>) -> Value {
    time.map_or(Value::Null, |time| time.rfc3339().into())
}

fn one_shown(core: &Core, at: &At, stored: &StoredJob) -> Result<Value, CommandError> {
    let lasts = at.results.lasts(|job| *job == stored.job.name).map_err(JobError::from)?;
    Ok(shown(core, at, stored, lasts.get(&stored.job.name)))
}

/// A job, when it is due, and how its last run ended.
fn shown(core: &Core, at: &At, stored: &StoredJob, last: Option<&JobResult>) -> Value {
    let job = &stored.job;
    let now = core.jobs.shown(&at.key(&job.name));
    let mut value = json!(job);
    value["schedule_text"] = job.schedule.as_ref().map_or(Value::Null, |one| one.to_string().into());
    // Without a daemon nothing is planned; then it is when it would be due.
    let due = job.schedule.as_ref().filter(|_| job.enabled && !now.running);
    let due = due.and_then(|schedule| schedule.next(core.clock.wall(), core.jobs.zone()));
    value["next"] = time(now.due.or(due));
    value["running"] = now.running.into();
    value["waiting"] = now.waiting.into();
    value["progress"] = json!(now.progress);
    value["last"] = last.map_or(Value::Null, result_shown);
    for left_out in ["log", "errors"] {
        if let Some(last) = value["last"].as_object_mut() {
            last.remove(left_out);
        }
    }
    value
}

/// A result with its times as text.
fn result_shown(result: &JobResult) -> Value {
    let mut value = json!(result);
    value["started"] = time(Some(result.started));
    value["ended"] = time(result.ended);
    value["outcome"] = result.outcome.map_or_else(|| json!("running"), |outcome| json!(outcome));
    if let Some(value) = value.as_object_mut() {
        value.remove("version");
    }
    value
}
