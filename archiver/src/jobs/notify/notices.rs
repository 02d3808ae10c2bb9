//! What is to be told about jobs, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use postern_shared::clock::UnixMillis;
use serde::{Deserialize, Serialize};

/// After a mail that could not be sent, doubled with each, up to the other.
const RETRY_MIN: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// Jobs that are known to fail; past them new ones are left to the results.
const TROUBLES_MAX: usize = 10_000;

/// A job that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Since when.
    pub since: UnixMillis,
    /// When that was told last.
    pub told: Option<UnixMillis>,
    /// Runs that failed since then, or since it began.
    pub runs: u64,
    /// When the last one did.
    pub last: UnixMillis,
    /// How: failed, timed out, interrupted.
    pub how: String,
    /// What it said.
    pub error: String,
    /// When it succeeded again, which is to be told.
    pub recovered: Option<UnixMillis>,
}

/// Troubles, with the names of their jobs. It is also what lies on disk.
pub type Troubles = BTreeMap<String, Trouble>;

/// What is known, and what was told of it.
///
/// Call order: [`Notices::ended`] with every run; [`Notices::poll`] then and at [`Notices::wake`]; after a mail
/// [`Notices::sent`] or [`Notices::failed`].
#[derive(Debug)]
pub struct Notices {
    repeat: Duration,
    gather: Duration,
    troubles: Troubles,
    /// Not before that, after a mail that could not be sent.
    retry: Option<UnixMillis>,
    tries: u32,
}

/// One mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mail {
    /// Jobs that began to fail.
    pub new: Troubles,
    /// Jobs that still fail.
    pub repeated: Troubles,
    /// Jobs that succeed again.
    pub recovered: Troubles,
}

impl Notices {
    /// What was known when it was stored. What happens within `gather` goes into one mail; what lasts is told each `repeat`.
    pub fn new(gather: Duration, repeat: Duration, troubles: Troubles) -> Self {
        Self { repeat, gather, troubles, retry: None, tries: 0 }
    }

    /// What is to be stored.
    pub fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// A run ended: well, or how not and with which error. Whether that is news, which a restart must not lose.
    pub fn ended(&mut self, job: &str, trouble: Option<(&str, &str)>, now: UnixMillis) -> bool {
        let before = self.troubles.get(job);
        let (known, recovered) = (before.is_some(), before.is_some_and(|one| one.recovered.is_some()));
        match trouble {
            None => match self.troubles.get_mut(job).filter(|one| one.recovered.is_none()) {
                Some(trouble) => {
                    trouble.recovered = Some(now);
                    true
                }
                None => false,
            },
            Some(_) if !known && self.troubles.len() >= TROUBLES_MAX => {
                tracing::warn!(job, "more jobs fail than notifications can tell");
                false
            }
            Some((how, error)) => {
                let new = Trouble {
                    since: now,
                    told: None,
                    runs: 0,
                    last: now,
                    how: String::new(),
                    error: String::new(),
                    recovered: None,
                };
                let trouble = self.troubles.entry(job.to_owned()).or_insert(new);
                // A recovery that was not told yet did not last.
                trouble.recovered = None;
                trouble.runs += 1;
                trouble.last = now;
                (trouble.how, trouble.error) = (how.to_owned(), error.to_owned());
                !known || recovered
            }
        }
    }

    /// Forgets jobs that `keep` does not name: they are gone.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.troubles.retain(|job, _| keep(job));
    }

    /// When the trouble should be told.
    fn ripe(&self, trouble: &Trouble) -> Option<UnixMillis> {
        match (trouble.recovered, trouble.told) {
            (Some(recovered), _) => Some(recovered.plus(self.gather)),
            (None, None) => Some(trouble.since.plus(self.gather)),
            // Nothing new happened.
            (None, Some(_)) if trouble.runs == 0 => None,
            (None, Some(told)) => Some(told.plus(self.repeat)),
        }
    }

    /// A mail to be sent now. When there is one at all it has everything that is to be told.
    pub fn poll(&self, now: UnixMillis) -> Option<Mail> {
        if self.wake().is_none_or(|wake| wake > now) {
            return None;
        }
        let mut mail = Mail::default();
        for (job, trouble) in &self.troubles {
            let part = match (trouble.recovered, trouble.told) {
                (Some(_), _) => &mut mail.recovered,
                (None, None) => &mut mail.new,
                (None, Some(_)) if trouble.runs > 0 => &mut mail.repeated,
                _ => continue,
            };
            part.insert(job.clone(), trouble.clone());
        }
        Some(mail)
    }

    /// When [`Notices::poll`] should be asked next, when nothing happens until then.
    pub fn wake(&self) -> Option<UnixMillis> {
        let ripe = self.troubles.values().filter_map(|trouble| self.ripe(trouble)).min()?;
        Some(self.retry.map_or(ripe, |retry| retry.max(ripe)))
    }

    /// That mail was sent at `now`. What happened meanwhile is told by the next one.
    pub fn sent(&mut self, mail: &Mail, now: UnixMillis) {
        (self.retry, self.tries) = (None, 0);
        for (job, told) in mail.new.iter().chain(&mail.repeated) {
            if let Some(trouble) = self.troubles.get_mut(job) {
                trouble.told = Some(now);
                trouble.runs = trouble.runs.saturating_sub(told.runs);
            }
        }
        for (job, told) in &mail.recovered {
            if self.troubles.get(job).is_some_and(|trouble| trouble == told) {
                self.troubles.remove(job);
            } else if let Some(trouble) = self.troubles.get_mut(job) {
                // It fails again: that is new.
                *trouble = Trouble { since: trouble.last, told: None, ..trouble.clone() };
            }
        }
    }

    /// That mail could not be sent.
    pub fn failed(&mut self, now: UnixMillis) {
        let doubled = 1_u32.checked_shl(self.tries).unwrap_or(u32::MAX);
        self.retry = Some(now.plus(RETRY_MIN.saturating_mul(doubled).min(RETRY_MAX)));
        self.tries = self.tries.saturating_add(1);
    }
}
