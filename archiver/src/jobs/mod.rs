//! Jobs: what the archiver does by itself, and when.
//!
//! | room | what |
//! |---|---|
//! | [`schedule`] | when a job is due: intervals, calendar times in a time zone, continuous |
//! | [`scheduler`] | which job runs when: pure |
//! | [`job`], [`stored`] | a job as it is written, and on disk: `jobs/<name>.json` in an instance's directory |
//! | [`results`] | what runs did, kept for 90 days: `results/` in an instance's directory |
//! | [`notify`] | failures and recoveries, by mail |
//! | `driver`, `run`, `task` | the daemon's task; one run; what the templates do |
//! | [`settings`] | `[jobs]` of the configuration |
//!
//! A job does what a command does: a run of a profile, verify, backup, compact, rebuild. A profile with a schedule is a job
//! too, `profile:<name>`.
//!
//! Promises
//! - See [`scheduler`] for when jobs run, [`results`] for what is kept, [`notify`] for what is told.
//! - A job that is ended, by somebody, its timeout or the daemon's shutdown, ends at a safe point: what was archived is safe, and
//!   the next run goes on.
//! - A continuous profile runs when something happens at its source, where somebody can wait there.
//! - Neither a result that cannot be stored nor a mail that cannot be sent fails a job.
//! - One job's file, result or failure touches no other job; one instance's no other instance.
//!
//! Not here: what profiles do (`profiles`), maintenance (`archive`).

mod driver;
pub mod job;
pub mod notify;
pub mod results;
mod run;
pub mod schedule;
pub mod scheduler;
pub mod settings;
pub mod stored;
mod task;
#[cfg(test)]
mod tests;

pub use driver::{Jobs, Shown, prepare, serve};
pub use job::{Job, JobName, Missed, Template};
pub(crate) use run::NotRun;
