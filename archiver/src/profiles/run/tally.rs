//! What a run did, counted while it goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_shared::clock::Clock;
use postern_shared::telemetry::Progress;

use crate::profiles::job::{AccountResult, RunResult};

/// Errors that are told one by one; the rest is counted.
const ERRORS_MAX: usize = 100;
/// Lines of a run's log.
const LOG_LINES_MAX: usize = 1000;
/// Accounts that are told one by one.
const ACCOUNTS_MAX: usize = 10_000;

/// A run's result so far.
pub(in crate::profiles) struct Tally {
    clock: Arc<dyn Clock>,
    profile: String,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    result: RunResult,
    /// What the account had added before it began.
    before: RunResult,
    done: u64,
    total: u64,
}

impl Tally {
    pub(in crate::profiles) fn new(profile: &str, clock: Arc<dyn Clock>) -> Self {
        Self { clock, profile: profile.to_owned(), now: Mutex::default() }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::profiles) fn add(&self, add: impl FnOnce(&mut RunResult)) {
        add(&mut self.now().result);
    }

    /// Tells of so many more messages to come.
    pub(super) fn expect(&self, messages: u64) {
        self.now().total += messages;
    }

    pub(super) fn done(&self, messages: u64) {
        self.now().done += messages;
    }

    /// How many messages were new to the archive, and how many it had.
    pub(super) fn archived(&self) -> (u64, u64) {
        let now = self.now();
        (now.result.archived, now.result.duplicates)
    }

    pub(super) fn progress(&self, what: String) -> Progress {
        let now = self.now();
        Progress { what, done: now.done, total: Some(now.total.max(now.done)) }
    }

    /// Tells what went wrong, in the log of the run and in that of the program.
    pub(in crate::profiles) fn error(&self, error: String) {
        tracing::warn!(profile = self.profile, error, "in a run");
        let line = format!("{} error: {error}", self.clock.wall().rfc3339());
        let mut now = self.now();
        if now.result.errors.len() < ERRORS_MAX {
            now.result.errors.push(error);
        } else {
            now.result.errors_left_out += 1;
        }
        push(&mut now.result, line);
    }

    pub(in crate::profiles) fn log(&self, line: &str) {
        tracing::debug!(profile = self.profile, line, "in a run");
        let line = format!("{} {line}", self.clock.wall().rfc3339());
        push(&mut self.now().result, line);
    }

    /// An account begins: what is counted from now on is its.
    pub(in crate::profiles) fn begin(&self) {
        let mut now = self.now();
        now.before = RunResult {
            archived: now.result.archived,
            duplicates: now.result.duplicates,
            failed: now.result.failed,
            deleted_at_source: now.result.deleted_at_source,
            ..RunResult::default()
        };
    }

    /// An account ends, in good order or not.
    pub(in crate::profiles) fn end(&self, account: &str, error: Option<String>) {
        let mut now = self.now();
        now.result.accounts_failed += u64::from(error.is_some());
        if now.result.accounts.len() < ACCOUNTS_MAX {
            let done = AccountResult {
                account: account.to_owned(),
                archived: now.result.archived - now.before.archived,
                duplicates: now.result.duplicates - now.before.duplicates,
                failed: now.result.failed - now.before.failed,
                deleted_at_source: now.result.deleted_at_source - now.before.deleted_at_source,
                error,
            };
            now.result.accounts.push(done);
        }
    }

    pub(in crate::profiles) fn result(&self) -> RunResult {
        self.now().result.clone()
    }
}

fn push(result: &mut RunResult, line: String) {
    if result.log.len() < LOG_LINES_MAX {
        result.log.push(line);
    } else if result.log.len() == LOG_LINES_MAX {
        result.log.push("more is left out".into());
    }
}
