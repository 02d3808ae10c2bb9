//! Schedules in words.

use std::str::FromStr;
use std::time::Duration;

use super::{BadSchedule, Rule, Schedule, Zone};

const INTERVAL_MIN: Duration = Duration::from_secs(10);
const INTERVAL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Seconds and names of units, the longest unit first; the first name is how it is printed.
const UNITS: [(u64, &[&str]); 4] = [(24 * 3600, &["d"]), (3600, &["h"]), (60, &["m", "min"]), (1, &["s"])];

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (words, zone) = match words.as_slice() {
            [rule @ .., "in", zone] => (rule, Some(zone.parse::<Zone>()?)),
            all => (all, None),
        };
        let rule = match words {
            ["continuous"] => Rule::Continuous,
            ["every", interval @ ..] => Rule::Every(parse_interval(&interval.concat())?),
            [first, ..] if first.starts_with(|c: char| c.is_ascii_digit() || c == '*') => {
                Rule::Calendar { cron: words.join(" ").parse()?, text: None }
            }
            words => parse_calendar(&words.join(" "))?,
        };
        Ok(Self { rule, zone })
    }
}

/// `hourly`, `daily at 02:00`, `weekly on mon-fri at 18:30`, `monthly on 1,15 at 04:00`.
pub(super) fn parse_calendar(text: &str) -> Result<Rule, BadSchedule> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    let wrong = || {
        let text: String = text.chars().take(80).collect();
        BadSchedule(format!(
            "{text:?} is no schedule like: every 15m, hourly, daily at 02:00, weekly on sun at 03:00, \
             monthly on 1 at 04:00, 30 2 * * mon-fri, continuous"
        ))
    };
    let words: Vec<&str> = text.split(' ').collect();
    let (words, time) = match words.as_slice() {
        [rule @ .., "at", time] => (rule, Some(*time)),
        all => (all, None),
    };
    let (hour, minute) = time.map_or(Some((0, 0)), time_of_day).ok_or_else(wrong)?;
    let fields = match words {
        ["hourly"] if time.is_none() => "0 * * * *".to_owned(),
        ["daily"] => format!("{minute} {hour} * * *"),
        ["weekly"] => format!("{minute} {hour} * * sun"),
        ["weekly", "on", days] if !days.starts_with('*') => format!("{minute} {hour} * * {days}"),
        ["monthly"] => format!("{minute} {hour} 1 * *"),
        ["monthly", "on", days] if !days.starts_with('*') => format!("{minute} {hour} {days} * *"),
        _ => return Err(wrong()),
    };
    Ok(Rule::Calendar { cron: fields.parse()?, text: Some(text) })
}

/// `02:00`, `2:00`.
fn time_of_day(text: &str) -> Option<(u32, u32)> {
    let (hour, minute) = text.split_once(':')?;
    let number =
        |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    let in_range = (1..=2).contains(&hour.len()) && minute.len() == 2;
    let (hour, minute) = (number(hour)?, number(minute)?);
    (in_range && hour < 24 && minute < 60).then_some((hour, minute))
}

/// `90s`, `15m`, `1h30m`, `2d`.
pub(super) fn parse_interval(text: &str) -> Result<Duration, BadSchedule> {
    let wrong = || {
        let text: String = text.chars().take(80).collect();
        BadSchedule(format!("{text:?} is no interval like 90s, 15m, 1h30m or 2d, of 10s to 366d"))
    };
    let mut seconds = 0_u64;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (unit_seconds, _) =
            UNITS.iter().find(|(_, names)| names.contains(&&rest[..unit])).ok_or_else(wrong)?;
        let part = number.checked_mul(*unit_seconds);
        seconds = part.and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
        rest = rest[unit..].trim_start();
    }
    let interval = Duration::from_secs(seconds);
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) { Ok(interval) } else { Err(wrong()) }
}

/// As [`parse_interval`] reads it.
pub(super) fn interval(interval: Duration) -> String {
    let mut seconds = interval.as_secs();
    let mut text = String::new();
    for (unit, names) in UNITS {
        if seconds >= unit {
            text += &format!("{}{}", seconds / unit, names[0]);
            seconds %= unit;
        }
    }
    text
}
