//! `[jobs]` of the configuration.

use std::time::Duration;

use postern_shared::config::Period;
use serde::Deserialize;

use super::results::Keep;
use super::schedule::Zone;
use super::scheduler::Limits;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Checked settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSettings {
    /// How many run at once.
    pub limits: Limits,
    /// For schedules that name no zone; none is the machine's, which is not asked for before somebody wants to know.
    pub zone: Option<Zone>,
    /// How long results are kept, and how many.
    pub keep: Keep,
}

/// As they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawJobs {
    time_zone: Option<RawZone>,
    concurrent: Option<Places>,
    concurrent_per_instance: Option<Places>,
    continuous: Option<Places>,
    continuous_per_instance: Option<Places>,
    keep_results: Option<Period>,
    keep_results_max: Option<Places>,
}

/// 1 to 100,000.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
struct Places(usize);

impl TryFrom<u64> for Places {
    type Error = &'static str;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        let number = usize::try_from(number).ok().filter(|number| (1..=100_000).contains(number));
        number.map(Self).ok_or("a number from 1 to 100000 is expected")
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct RawZone(Option<Zone>);

impl TryFrom<String> for RawZone {
    type Error = super::schedule::BadSchedule;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "machine" { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

impl RawJobs {
    /// With defaults for what is not written.
    pub fn check(self) -> JobSettings {
        let places = |given: Option<Places>, default| given.map_or(default, |places| places.0);
        JobSettings {
            limits: Limits {
                per_instance: places(self.concurrent_per_instance, 4),
                in_all: places(self.concurrent, 8),
                continuous: places(self.continuous, 256),
                continuous_per_instance: places(self.continuous_per_instance, 128),
            },
            zone: self.time_zone.and_then(|zone| zone.0),
            keep: Keep {
                time: self.keep_results.map_or(90 * DAY, |period| period.0),
                count: places(self.keep_results_max, 20_000),
            },
        }
    }
}
