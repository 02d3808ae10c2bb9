//! Which job runs when: pure; times in, actions out.
//!
//! Call order: [`Scheduler::put`] for every job, again whenever it may have changed; [`Scheduler::poll`] whenever something
//! happened and at [`Scheduler::wake`], doing what it says; [`Scheduler::ended`] for every [`Action::Start`].
//!
//! Promises
//! - A job does not overlap with itself. Times that pass while it runs are left out.
//! - Times that passed while nothing could run (the daemon was down, the machine asleep) make one run, or none, as the job's
//!   [`Missed`] says. A run that was interrupted is repeated at once, or not; one that ended the archiver several times in a row
//!   waits, the longer the more often.
//! - No more jobs run at once than [`Limits`] say. What must wait for a place comes in the order in which it was due, those of
//!   instances with fewer runs first; the last place is kept for an instance that has none. Continuous jobs have places of their
//!   own, for they may keep them for ever, and there a place is kept for every instance that has none.
//! - Timeouts are measured, and not read off a calendar that somebody sets.
//! - A continuous job pauses between runs, the longer the more often it failed; or it is put off while somebody waits for
//!   something to do.
//! - When clocks are put back by more than an hour, what is due is reckoned anew.
//! - No jitter: the same jobs and times give the same actions.

mod entry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use postern_shared::clock::{Moment, UnixMillis};

use super::job::{JobName, Missed};
use super::schedule::{Schedule, Zone};
use entry::Entry;

/// How much later than due a run may begin that skips what was missed.
pub const LATE_MAX: Duration = Duration::from_secs(10 * 60);
/// Between runs of a continuous job.
pub const PAUSE: Duration = Duration::from_secs(10);
/// After a failure of a continuous job, doubled with each, up to the other.
pub const BACK_OFF_MIN: Duration = Duration::from_secs(60);
/// See [`BACK_OFF_MIN`].
pub const BACK_OFF_MAX: Duration = Duration::from_secs(30 * 60);
/// When something else works on the same, it is tried again after that.
pub const BUSY_PAUSE: Duration = Duration::from_secs(60);
/// How long a job may take to come to a safe point after its timeout.
pub const GRACE: Duration = Duration::from_secs(10 * 60);
/// Clocks put back by more are believed.
const SET_BACK: Duration = Duration::from_secs(3600);

/// A job of an instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The instance.
    pub instance: String,
    /// The job.
    pub job: JobName,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance, self.job)
    }
}

/// What the scheduler knows of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `None`: it is asked for, or not at all.
    pub schedule: Option<Schedule>,
    /// When a run is ended.
    pub timeout: Option<Duration>,
    /// What becomes of times that passed.
    pub missed: Missed,
    /// Since when times count.
    pub since: UnixMillis,
}

/// What is known of a job's last run when it is put for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// When it began.
    pub started: UnixMillis,
    /// Whether it was interrupted, and should be repeated.
    pub resume: bool,
    /// How many runs in a row the archiver did not survive.
    pub interruptions: u32,
}

/// How many jobs run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of an instance.
    pub per_instance: usize,
    /// In all.
    pub in_all: usize,
    /// Continuous ones in all, beside those.
    pub continuous: usize,
    /// And of an instance.
    pub continuous_per_instance: usize,
}

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin a run.
    Start {
        /// Of that job.
        key: Key,
        /// Why.
        why: Why,
    },
    /// End its run at the next safe point.
    TimeOut(Key),
    /// It came to no safe point in time: give it up.
    GiveUp(Key),
}

/// Why a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its time came.
    Due(UnixMillis),
    /// Its time passed while nothing could run.
    Missed,
    /// The last one was interrupted.
    Resumed,
    /// Somebody asked for it.
    Asked,
}

/// How a run ended, as far as the next one is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Well, or by somebody's wish.
    Well,
    /// Not.
    Badly,
    /// Something else works on the same; it did not begin.
    Busy,
}

/// Why a run cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no such job.
    Unknown,
    /// It runs, or was asked for already.
    Running,
}

/// Places of one kind, and who may want them.
#[derive(Debug, Default)]
struct Places {
    instances: BTreeSet<String>,
    in_all: usize,
    per_instance: HashMap<String, usize>,
}

impl Places {
    fn take(&mut self, key: &Key) {
        self.in_all += 1;
        *self.per_instance.entry(key.instance.clone()).or_default() += 1;
    }

    fn of_instance(&self, key: &Key) -> usize {
        self.per_instance.get(&key.instance).copied().unwrap_or(0)
    }

    /// `kept_max`: places that are kept for instances that have none.
    fn is_left(&self, key: &Key, (in_all, per_instance): (usize, usize), kept_max: usize) -> bool {
        let of_instance = self.of_instance(key);
        let have_none = || self.instances.iter().filter(|id| !self.per_instance.contains_key(*id));
        let kept = if of_instance > 0 { have_none().take(kept_max).count() } else { 0 };
        self.in_all + kept < in_all && of_instance < per_instance
    }
}

/// Places that are taken.
#[derive(Debug, Default)]
struct Taken {
    common: Places,
    continuous: Places,
}

impl Taken {
    fn of(&mut self, continuous: bool) -> &mut Places {
        if continuous { &mut self.continuous } else { &mut self.common }
    }

    fn of_instance(&self, key: &Key, continuous: bool) -> usize {
        if continuous { self.continuous.of_instance(key) } else { self.common.of_instance(key) }
    }

    fn has_place(&self, key: &Key, continuous: bool, limits: Limits) -> bool {
        if continuous {
            let limits = (limits.continuous, limits.continuous_per_instance);
            return self.continuous.is_left(key, limits, usize::MAX);
        }
        self.common.is_left(key, (limits.in_all, limits.per_instance), 1)
    }
}

/// All jobs and their runs.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    zone: Zone,
    jobs: BTreeMap<Key, Entry>,
    /// The latest time seen.
    seen: UnixMillis,
    /// When it was asked last, on both clocks.
    asked: (UnixMillis, Moment),
}

impl Scheduler {
    /// No jobs yet; `zone` is for schedules that name none.
    pub fn new(limits: Limits, zone: Zone) -> Self {
        Self { limits, zone, jobs: BTreeMap::new(), seen: UnixMillis::default(), asked: Default::default() }
    }

    /// Adds a job, or changes its plan. `last` is asked when it is new.
    pub fn put(&mut self, key: &Key, plan: Plan, last: impl FnOnce() -> Option<Last>, now: UnixMillis) {
        match self.jobs.get_mut(key) {
            Some(entry) => entry.change(plan, now, &self.zone),
            None => {
                self.jobs.insert(key.clone(), Entry::new(plan, last(), now, &self.zone));
            }
        }
    }

    /// Whether the job was put.
    pub fn knows(&self, key: &Key) -> bool {
        self.jobs.contains_key(key)
    }

    /// Whether the job was started and has not ended.
    pub fn is_running(&self, key: &Key) -> bool {
        self.jobs.get(key).is_some_and(|entry| entry.run.is_some())
    }

    /// Whether the job is a continuous one.
    pub fn is_continuous(&self, key: &Key) -> bool {
        self.jobs.get(key).is_some_and(|entry| !entry.gone && entry.is_continuous())
    }

    /// Somebody waits until there is something to do for a continuous job: it is due when [`Scheduler::hasten`] says so, and at
    /// `until` at the latest. Nothing changes for one that runs, was asked for or is due already.
    pub fn put_off(&mut self, key: &Key, until: UnixMillis) {
        if let Some(entry) = self.jobs.get_mut(key) {
            entry.put_off(until);
        }
    }

    /// There is something to do for a continuous job: it is due at that time, if not before.
    pub fn hasten(&mut self, key: &Key, at: UnixMillis) {
        if let Some(entry) = self.jobs.get_mut(key).filter(|entry| entry.is_continuous()) {
            entry.due = entry.due.map(|due| due.min(at));
        }
    }

    /// Forgets jobs that `keep` does not name; those that run, when they have ended.
    pub fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        for (key, entry) in &mut self.jobs {
            entry.gone = !keep(key);
        }
        self.jobs.retain(|_, entry| !entry.gone || entry.run.is_some() || entry.asked);
    }

    /// Asks for a run now, or as soon as there is a place.
    pub fn ask(&mut self, key: &Key) -> Result<(), Refused> {
        let entry = self.jobs.get_mut(key).ok_or(Refused::Unknown)?;
        if entry.run.is_some() || entry.asked {
            return Err(Refused::Running);
        }
        entry.asked = true;
        Ok(())
    }

    /// Nobody wants the run any more that was asked for.
    pub fn withdraw(&mut self, key: &Key) {
        if let Some(entry) = self.jobs.get_mut(key) {
            entry.asked = false;
        }
    }

    /// A run ended.
    pub fn ended(&mut self, key: &Key, end: End, now: UnixMillis) {
        if let Some(entry) = self.jobs.get_mut(key) {
            entry.ended(end, now, &self.zone);
            if entry.gone {
                self.jobs.remove(key);
            }
        }
    }

    /// What must be done at `now`, which is `moment` on the clock that durations are measured with.
    pub fn poll(&mut self, now: UnixMillis, moment: Moment) -> Vec<Action> {
        let set_back = self.seen.since(now) > SET_BACK;
        self.seen = if set_back { now } else { self.seen.max(now) };
        self.asked = (now, moment);
        let (mut actions, mut waiting, mut taken) = (Vec::new(), Vec::new(), Taken::default());
        for (key, entry) in &mut self.jobs {
            if set_back {
                entry.reckon_anew(now, &self.zone);
            }
            if entry.plan.schedule.is_some() {
                taken.of(entry.is_continuous()).instances.insert(key.instance.clone());
            }
            if let Some(action) = entry.run.as_mut().and_then(|run| run.overdue(moment)) {
                actions.push(action(key.clone()));
            }
            if let Some(run) = &entry.run {
                taken.of(run.continuous).take(key);
            } else if let Some((order, why)) = entry.wants(now, &self.zone) {
                waiting.push((order, key.clone(), why));
            }
        }
        waiting.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        loop {
            let next = waiting.iter().enumerate().filter_map(|(at, (_, key, why))| {
                let continuous = self.jobs.get(key).is_some_and(Entry::is_continuous);
                let has_place = taken.has_place(key, continuous, self.limits);
                has_place.then(|| (*why != Why::Asked, taken.of_instance(key, continuous), at))
            });
            // What was asked for comes first; of instances that have as few, what was due first.
            let next = next.min().map(|(.., at)| at);
            let Some(at) = next else { break };
            let (_, key, why) = waiting.remove(at);
            let Some(entry) = self.jobs.get_mut(&key) else { continue };
            taken.of(entry.is_continuous()).take(&key);
            entry.start(moment);
            actions.push(Action::Start { key, why });
        }
        actions
    }

    /// When [`Scheduler::poll`] should be asked next, when nothing happens until then.
    pub fn wake(&self) -> Option<UnixMillis> {
        let (now, moment) = self.asked;
        let deadlines = self.jobs.values().filter_map(|entry| entry.run.as_ref()?.deadline());
        let deadlines = deadlines.map(|(at, _)| now.plus(at.since(moment)));
        self.jobs.values().filter_map(Entry::wake).chain(deadlines).min()
    }

    /// When a job is due next; `None` when it runs, or has no schedule.
    pub fn due(&self, key: &Key) -> Option<UnixMillis> {
        self.jobs.get(key).filter(|entry| entry.run.is_none())?.due
    }
}
