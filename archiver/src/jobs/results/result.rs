//! What one run did.

use std::collections::BTreeMap;

use postern_shared::clock::UnixMillis;
use postern_shared::id::MessageId;
use serde::{Deserialize, Serialize};

use crate::jobs::job::JobName;
use crate::jobs::scheduler::Why;

const VERSION: u32 = 1;
/// Errors and lines of the log that are kept; the rest is counted, or left out in the middle.
const ERRORS_MAX: usize = 100;
const LINES_MAX: usize = 200;
/// The longest line.
const LINE_CHARS_MAX: usize = 500;

/// What one run did, or does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobResult {
    version: u32,
    /// Its id.
    pub id: MessageId,
    /// Whose run it was.
    pub job: JobName,
    /// What the job does: profile, verify, …
    pub template: String,
    /// Why it began.
    pub trigger: Trigger,
    /// When it began.
    pub started: UnixMillis,
    /// When it ended; of one that was interrupted, when that was found.
    pub ended: Option<UnixMillis>,
    /// How; `None` while it runs.
    pub outcome: Option<Outcome>,
    /// Whether it is to be repeated when the archiver starts again.
    #[serde(default)]
    pub resume: bool,
    /// How many runs of its job in a row the archiver did not survive, this one included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interruptions: u32,
    /// Runs that had nothing to do are told as one.
    pub runs: u64,
    /// What it counted.
    pub counts: BTreeMap<String, u64>,
    /// What went wrong.
    pub errors: Vec<String>,
    /// Errors past those.
    pub errors_left_out: u64,
    /// What it told on its way.
    pub log: Vec<String>,
}

/// Why a run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// Its time came.
    Schedule,
    /// Its time had passed while nothing could run.
    Missed,
    /// The last run was interrupted.
    Resumed,
    /// Somebody asked for it.
    Hand,
}

impl From<Why> for Trigger {
    fn from(why: Why) -> Self {
        match why {
            Why::Due(_) => Self::Schedule,
            Why::Missed => Self::Missed,
            Why::Resumed => Self::Resumed,
            Why::Asked => Self::Hand,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All is well.
    Succeeded,
    /// Something, or everything, went wrong; what was done stays done.
    Failed,
    /// Somebody ended it, or the archiver was stopped.
    Cancelled,
    /// Its timeout ended it.
    TimedOut,
    /// The archiver ended without warning.
    Interrupted,
}

impl Outcome {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed out",
            Self::Interrupted => "interrupted",
        }
    }
}

impl JobResult {
    /// A run that begins.
    pub fn begun(id: MessageId, job: &JobName, now: UnixMillis) -> Self {
        Self {
            version: VERSION,
            id,
            job: job.clone(),
            template: String::new(),
            trigger: Trigger::Schedule,
            started: now,
            ended: None,
            outcome: None,
            resume: false,
            interruptions: 0,
            runs: 1,
            counts: BTreeMap::new(),
            errors: Vec::new(),
            errors_left_out: 0,
            log: Vec::new(),
        }
    }

    /// Adds an error.
    pub fn error(&mut self, error: &str) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(line(error));
        } else {
            self.errors_left_out += 1;
        }
    }

    /// Adds a line to the log, with its time.
    pub fn log(&mut self, now: UnixMillis, text: &str) {
        self.log_line(&format!("{now} {text}"));
    }

    /// Adds a line that has its time already. Of a long log the beginning and the latest lines are kept.
    pub fn log_line(&mut self, text: &str) {
        if self.log.len() >= LINES_MAX {
            self.log.remove(LINES_MAX / 2);
            self.log[LINES_MAX / 2 - 1] = "…".into();
        }
        self.log.push(line(text));
    }

    pub(super) fn check_version(&self) -> Result<(), String> {
        let known = self.version == VERSION;
        known
            .then_some(())
            .ok_or_else(|| format!("it has version {}, this program knows {VERSION}", self.version))
    }

    /// What ends the archiver once may have had nothing to do with it; what does so again is not repeated at once.
    pub(super) fn interrupted(&mut self, now: UnixMillis, in_a_row: u32) {
        (self.ended, self.outcome) = (Some(now), Some(Outcome::Interrupted));
        (self.resume, self.interruptions) = (in_a_row <= 1, in_a_row);
        self.error("the archiver ended without warning while this ran; what was archived until then is safe");
        if !self.resume {
            self.error("that happened several times in a row, so it is not repeated at once");
        }
        self.log(now, "found interrupted");
    }

    /// Whether it went well and there was nothing to do.
    pub fn is_idle(&self) -> bool {
        self.outcome == Some(Outcome::Succeeded)
            && self.errors.is_empty()
            && self.counts.iter().all(|(name, count)| *count == 0 || is_no_work(name))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a count tells that is the same when nothing happens, or how long that took.
fn is_no_work(count: &str) -> bool {
    ["unwanted", "retries", "pending_deletions"].contains(&count) || count.ends_with("_ms")
}

fn line(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(LINE_CHARS_MAX).collect()
}
