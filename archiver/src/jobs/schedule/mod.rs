//! When something is due.
//!
//! | written | due |
//! |---|---|
//! | `every 15m` | whenever so much of UTC has passed since 1970-01-01T00:00Z; 10 s to 366 d, as `90s`, `15m`, `1h30m`, `2d` |
//! | `hourly`, `daily`, `weekly`, `monthly` | at minute 0; at 00:00; on Sunday at 00:00; on the 1st at 00:00 |
//! | `daily at 02:00`, `weekly on mon-fri at 18:30`, `monthly on 1,15 at 04:00` | at that time of day |
//! | `0 2 * * mon-fri` | as in crontab(5): minute, hour, day of month, month, day of week; lists, ranges, steps, English names |
//! | `continuous` | again when the last run has ended |
//!
//! `in Europe/Berlin` behind any of these names the time zone of its times of day. In files it is a table with one of `every`,
//! `when` (a text of the second or third row), `cron`, `continuous = true`, and `zone`; or the whole text.
//!
//! Daylight saving
//! - A time of day that does not exist, because clocks are put forward over it, is due at the first moment after the gap.
//!   Several that fall into one gap are due once.
//! - A time that exists twice, because clocks are put back, is due the first time only; unless the hour is `*`: who asks for
//!   each hour gets it each hour.
//!
//! Days: when neither day of month nor day of week begins with `*`, either suffices, as in crontab(5).
//!
//! Not here: what becomes of times that were missed (`scheduler`).

mod cron;
mod next;
#[cfg(test)]
mod tests;
mod text;
mod zone;

use std::fmt;
use std::time::Duration;

use postern_shared::clock::UnixMillis;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use cron::Cron;
pub use zone::Zone;

/// When something is due. See the room's header for how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    rule: Rule,
    zone: Option<Zone>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Every(Duration),
    /// `text` is how it was written, when not as five fields.
    Calendar {
        cron: Cron,
        text: Option<String>,
    },
    Continuous,
}

/// The text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchedule(String);

impl Schedule {
    /// The first time later than `after` at which it is due, in `zone` when it names none itself; a continuous one is due
    /// at once.
    ///
    /// `None` when the calendar ends before that.
    pub fn next(&self, after: UnixMillis, zone: &Zone) -> Option<UnixMillis> {
        match &self.rule {
            Rule::Every(interval) => {
                let ms = u64::try_from(interval.as_millis()).ok()?;
                (after.0 / ms + 1).checked_mul(ms).map(UnixMillis)
            }
            Rule::Calendar { cron, .. } => cron.next(after, self.zone.as_ref().unwrap_or(zone)),
            Rule::Continuous => Some(after),
        }
    }

    /// Whether a run follows the one before without a time of its own.
    pub fn is_continuous(&self) -> bool {
        self.rule == Rule::Continuous
    }

    /// The zone it names.
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(interval) => write!(f, "every {}", text::interval(*interval)),
            Self::Calendar { text: Some(text), .. } => f.write_str(text),
            Self::Calendar { cron, .. } => f.write_str(cron.as_str()),
            Self::Continuous => f.write_str("continuous"),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{} in {zone}", self.rule),
            None => write!(f, "{}", self.rule),
        }
    }
}

/// As it stands in files.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuous: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Zone>,
}

impl TryFrom<Table> for Schedule {
    type Error = BadSchedule;

    fn try_from(table: Table) -> Result<Self, BadSchedule> {
        let rule = match (table.every, table.when, table.cron, table.continuous) {
            (Some(every), None, None, None) => Rule::Every(text::parse_interval(&every)?),
            (None, Some(when), None, None) => text::parse_calendar(&when)?,
            (None, None, Some(cron), None) => Rule::Calendar { cron: cron.parse()?, text: None },
            (None, None, None, Some(true)) => Rule::Continuous,
            _ => {
                let wanted = "one of these is wanted: every = \"15m\", when = \"daily at 02:00\", cron = \"0 2 * * *\", \
                              continuous = true";
                return Err(BadSchedule(wanted.into()));
            }
        };
        Ok(Self { rule, zone: table.zone })
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = Table { zone: self.zone.clone(), ..Table::default() };
        match &self.rule {
            Rule::Every(interval) => table.every = Some(text::interval(*interval)),
            Rule::Calendar { text: Some(text), .. } => table.when = Some(text.clone()),
            Rule::Calendar { cron, .. } => table.cron = Some(cron.as_str().into()),
            Rule::Continuous => table.continuous = Some(true),
        }
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Schedule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a schedule like { every = \"15m\" } or \"daily at 02:00\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Schedule, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        Schedule::try_from(table).map_err(de::Error::custom)
    }
}
