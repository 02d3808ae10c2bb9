//! One job: when it is due, and its run.

use std::time::Duration;

use postern_shared::clock::UnixMillis;

use super::{
    Action, BACK_OFF_MAX, BACK_OFF_MIN, BUSY_PAUSE, End, GRACE, Key, LATE_MAX, Last, PAUSE, Plan, Why,
};
use crate::jobs::job::Missed;
use crate::jobs::schedule::Zone;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) plan: Plan,
    pub(super) due: Option<UnixMillis>,
    /// What makes it due when its time does not.
    special: Option<Why>,
    /// Its time came, and it waits for a place.
    waiting: bool,
    pub(super) asked: bool,
    pub(super) run: Option<Run>,
    /// In a row.
    failures: u32,
    pub(super) gone: bool,
}

#[derive(Debug)]
pub(super) struct Run {
    started: UnixMillis,
    timeout: Option<Duration>,
    pub(super) continuous: bool,
    asked: bool,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    TimeOut,
    GiveUp,
}

impl Run {
    /// When something must be told, and what.
    fn deadline(&self) -> Option<(UnixMillis, Told)> {
        let end = self.started.plus(self.timeout?);
        match self.told {
            Told::Nothing => Some((end, Told::TimeOut)),
            Told::TimeOut => Some((end.plus(GRACE), Told::GiveUp)),
            Told::GiveUp => None,
        }
    }

    pub(super) fn overdue(&mut self, now: UnixMillis) -> Option<fn(Key) -> Action> {
        let (at, told) = self.deadline()?;
        if now < at {
            return None;
        }
        self.told = told;
        Some(if told == Told::TimeOut { Action::TimeOut } else { Action::GiveUp })
    }
}

impl Entry {
    pub(super) fn new(plan: Plan, last: Option<Last>, now: UnixMillis, zone: &Zone) -> Self {
        let mut entry = Self {
            plan,
            due: None,
            special: None,
            waiting: false,
            asked: false,
            run: None,
            failures: 0,
            gone: false,
        };
        let began = last.map_or(entry.plan.since, |last| last.started.max(entry.plan.since)).min(now);
        let (run, continuous) = (entry.plan.missed == Missed::Run, entry.is_continuous());
        let resume = last.is_some_and(|last| last.resume) && entry.plan.schedule.is_some();
        entry.due = entry.next(began, zone);
        if run && resume {
            (entry.due, entry.special) = (Some(now), Some(Why::Resumed));
        } else if !continuous && entry.due.is_some_and(|due| due <= now) {
            if run {
                (entry.due, entry.special) = (Some(now), Some(Why::Missed));
            } else {
                entry.due = entry.next(now, zone);
            }
        }
        entry
    }

    fn next(&self, after: UnixMillis, zone: &Zone) -> Option<UnixMillis> {
        self.plan.schedule.as_ref()?.next(after, zone)
    }

    pub(super) fn is_continuous(&self) -> bool {
        self.plan.schedule.as_ref().is_some_and(super::Schedule::is_continuous)
    }

    pub(super) fn change(&mut self, plan: Plan, now: UnixMillis, zone: &Zone) {
        self.gone = false;
        if plan == self.plan {
            return;
        }
        let again = plan.schedule != self.plan.schedule || plan.since != self.plan.since;
        self.plan = plan;
        if again {
            self.reckon_anew(now, zone);
        }
    }

    pub(super) fn reckon_anew(&mut self, now: UnixMillis, zone: &Zone) {
        self.due = self.next(now, zone);
        (self.special, self.waiting, self.failures) = (None, false, 0);
    }

    /// Its place in the queue, and why it wants to run; `None` when it does not.
    pub(super) fn wants(&mut self, now: UnixMillis, zone: &Zone) -> Option<(UnixMillis, Why)> {
        if self.run.is_some() {
            return None;
        }
        if self.asked {
            // Before everything that only became due.
            return Some((UnixMillis(0), Why::Asked));
        }
        let due = self.due.filter(|due| *due <= now)?;
        if !self.waiting && self.special.is_none() && !self.is_continuous() && now.since(due) > LATE_MAX {
            // Nobody looked for so long: the machine slept.
            if self.plan.missed == Missed::Skip {
                self.due = self.next(now, zone);
                return None;
            }
            self.special = Some(Why::Missed);
        }
        self.waiting = true;
        Some((due, self.special.unwrap_or(Why::Due(due))))
    }

    pub(super) fn start(&mut self, now: UnixMillis) {
        let (continuous, asked) = (self.is_continuous(), self.asked);
        let timeout = self.plan.timeout;
        self.run = Some(Run { started: now, timeout, continuous, asked, told: Told::Nothing });
        (self.asked, self.waiting, self.special, self.due) = (false, false, None, None);
    }

    pub(super) fn ended(&mut self, end: End, now: UnixMillis, zone: &Zone) {
        let Some(run) = self.run.take() else { return };
        self.failures = if end == End::Badly { self.failures.saturating_add(1) } else { 0 };
        self.due = match end {
            // Whoever asked is told.
            End::Busy if !run.asked => self.plan.schedule.as_ref().map(|_| now.plus(BUSY_PAUSE)),
            End::Well if self.is_continuous() => Some(now.plus(PAUSE)),
            End::Badly if self.is_continuous() => Some(now.plus(back_off(self.failures))),
            End::Well | End::Badly | End::Busy => self.next(now, zone),
        };
    }

    pub(super) fn put_off(&mut self, until: UnixMillis) {
        if self.is_continuous() && self.run.is_none() && !self.asked && !self.waiting {
            self.due = self.due.map(|due| due.max(until));
        }
    }

    pub(super) fn wake(&self) -> Option<UnixMillis> {
        match &self.run {
            Some(run) => run.deadline().map(|(at, _)| at),
            // Whoever waits for a place is asked when a run ends.
            None if self.waiting || self.asked => None,
            None => self.due,
        }
    }
}

fn back_off(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    BACK_OFF_MIN.saturating_mul(doubled).min(BACK_OFF_MAX)
}
