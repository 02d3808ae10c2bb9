//! Five fields, as in crontab(5).

use std::str::FromStr;

use super::BadSchedule;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const TEXT_OCTETS_MAX: usize = 256;

/// What may stand in a field.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// Names of values, from `first` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day of month", first: 1, last: 31, names: &[] },
    Field { name: "month", first: 1, last: 12, names: &MONTHS },
    // 7 is Sunday too.
    Field { name: "day of week", first: 0, last: 7, names: &DAYS },
];

/// Minutes, hours and days, each a set of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    text: String,
    pub(super) minutes: u64,
    pub(super) hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must be in both sets.
    both: bool,
}

impl Cron {
    /// The fields, a blank between two.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a date is meant; days of the week count from Sunday, which is 0.
    pub(super) fn has_day(&self, month: i8, day: i8, weekday: i8) -> bool {
        let by_date = has(self.days, day);
        let by_weekday = has(self.weekdays, weekday);
        has(self.months, month) && if self.both { by_date && by_weekday } else { by_date || by_weekday }
    }

    /// Whether each hour is meant, and not certain ones.
    pub(super) fn is_each_hour(&self) -> bool {
        self.hours == (1 << 24) - 1
    }
}

pub(super) fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set >> value & 1 == 1)
}

impl FromStr for Cron {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let wrong = |why: String| {
            let text: String = text.chars().take(80).collect();
            BadSchedule(format!("{text:?} is no schedule: {why}"))
        };
        let fields: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            let why = "five fields are wanted: minute, hour, day of month, month, day of week";
            return Err(wrong(why.into()));
        };
        if text.len() > TEXT_OCTETS_MAX {
            return Err(wrong(format!("it has more than {TEXT_OCTETS_MAX} characters")));
        }
        let mut sets = [0; 5];
        for ((set, field), text) in sets.iter_mut().zip(&FIELDS).zip(&fields) {
            *set = field.parse(text).map_err(&wrong)?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let cron = Self {
            text: [minute, hour, day, month, weekday].map(String::as_str).join(" "),
            minutes,
            hours,
            days,
            months,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            both: day.starts_with('*') || weekday.starts_with('*'),
        };
        if !cron.comes() {
            return Err(wrong("such a day never comes".into()));
        }
        Ok(cron)
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    /// `*`, `5`, `5-10`, each with `/2` behind it.
    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step = match step {
            None => 1,
            Some(text) => text
                .parse::<u32>()
                .ok()
                .filter(|step| (1..=self.last).contains(step))
                .ok_or_else(|| format!("{text:?} is no step for the {}", self.name))?,
        };
        let (first, last) = if range == "*" {
            // Sunday once.
            (self.first, if self.last == 7 { 6 } else { self.last })
        } else if let Some((first, last)) = range.split_once('-') {
            let (first, mut last) = (self.value(first)?, self.value(last)?);
            if self.last == 7 && last == 0 {
                last = 7;
            }
            (first, last)
        } else {
            let value = self.value(range)?;
            // From there on, as `5/15` is understood everywhere.
            (value, if part.contains('/') { self.last } else { value })
        };
        if first > last {
            return Err(format!("{range:?} goes backwards in the {}", self.name));
        }
        Ok((first..=last).step_by(step as usize).fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| *name == text);
        let named = named.and_then(|at| u32::try_from(at).ok()).map(|at| at + self.first);
        let digits = text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = named.or_else(|| text.parse().ok().filter(|_| digits));
        number
            .filter(|number| (self.first..=self.last).contains(number))
            .ok_or_else(|| format!("{text:?} is no {} ({} to {})", self.name, self.first, self.last))
    }
}
