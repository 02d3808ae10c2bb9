//! Dates, sizes and the like.

use time::{Date, Duration, Month, OffsetDateTime, Time};

use super::Term;
use super::field::Key;

/// Seconds since 1970, for dates that are told from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive::index) struct Now(pub(in crate::archive::index) i64);

/// A condition that is no text, or what is wrong with it.
pub(super) fn term(key: Key, value: &str, now: Now) -> Result<Term, String> {
    match key {
        Key::After => Ok(Term::Date(Some(span(value, now)?.0), None)),
        Key::Before => Ok(Term::Date(None, Some(span(value, now)?.0))),
        Key::On => {
            let (from, to) = match value.split_once("..") {
                Some((first, "")) => (Some(span(first, now)?.0), None),
                Some(("", last)) => (None, Some(span(last, now)?.1)),
                Some((first, last)) => (Some(span(first, now)?.0), Some(span(last, now)?.1)),
                None => span(value, now).map(|(from, to)| (Some(from), Some(to)))?,
            };
            Ok(Term::Date(from, to))
        }
        Key::Larger => Ok(Term::Size(octets(value)?.saturating_add(1), u64::MAX)),
        Key::Smaller => Ok(Term::Size(0, octets(value)?.saturating_sub(1))),
        Key::Size => size(value),
        Key::Has => match value.to_ascii_lowercase().as_str() {
            "attachment" | "attachments" => Ok(Term::HasAttachment),
            "missing-text" => Ok(Term::TextMissing),
            _ => Err("has:attachment and has:missing-text are all there is".into()),
        },
        Key::Id => Ok(Term::Id(value.trim().trim_matches(['<', '>']).to_owned())),
        Key::Archive => Ok(Term::Archive(value.trim().to_lowercase())),
        Key::Text(..) => Err("this is no condition on text".into()),
    }
}

fn size(value: &str) -> Result<Term, String> {
    for (sign, from, to) in [(">=", 0, None), ("<=", 0, Some(0)), (">", 1, None), ("<", 0, Some(1))] {
        if let Some(rest) = value.strip_prefix(sign) {
            let octets = octets(rest)?;
            return Ok(match to {
                None => Term::Size(octets.saturating_add(from), u64::MAX),
                Some(less) => Term::Size(0, octets.saturating_sub(less)),
            });
        }
    }
    Err("a size wants < or > before it: size:>5mb, size:<100kb".into())
}

/// `5mb`, `1.5 GB`; k, m and g are 1024 times the one before.
fn octets(value: &str) -> Result<u64, String> {
    let value = value.trim().to_ascii_lowercase();
    let wrong = || format!("{value:?} is no size; write it as 500, 100kb, 5mb or 1.5gb");
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let factor: u32 = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        _ => return Err(wrong()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if part.len() > 6 || part.is_empty() {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let unit = 1024u64.pow(factor);
    let part =
        part.parse::<u64>().map_err(|_| wrong())? * unit / 10u64.pow(u32::try_from(part.len()).unwrap_or(0));
    whole.checked_mul(unit).and_then(|octets| octets.checked_add(part)).ok_or_else(wrong)
}

/// The seconds at which a day, month or year begins and ends, in UTC; of a time before now, the day.
fn span(value: &str, now: Now) -> Result<(i64, i64), String> {
    let wrong = || {
        format!(
            "{value:?} is no date; write it as 2026-01-31, 2026-01, 2026, today, yesterday, or 30d, 4w, 6m, 1y for so long ago"
        )
    };
    let (from, to) = days(value, now).ok_or_else(wrong)?;
    let seconds = |date: Date| date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp();
    Ok((seconds(from), seconds(to)))
}

/// The first day, and the day behind the last.
fn days(value: &str, Now(now): Now) -> Option<(Date, Date)> {
    let today = OffsetDateTime::from_unix_timestamp(now).ok()?.date();
    let day = |date: Date| Some((date, date.next_day()?));
    match value.to_ascii_lowercase().as_str() {
        "today" => return day(today),
        "yesterday" => return day(today.previous_day()?),
        ago if ago.ends_with(['d', 'w', 'm', 'y']) => {
            let (number, unit) = ago.split_at(ago.len() - 1);
            let number: i32 = number.parse().ok().filter(|number| (0..=100_000).contains(number))?;
            return day(match unit {
                "d" => today.checked_sub(Duration::days(number.into()))?,
                "w" => today.checked_sub(Duration::weeks(number.into()))?,
                "m" => months_before(today, number)?,
                _ => months_before(today, number.checked_mul(12)?)?,
            });
        }
        _ => {}
    }
    let mut numbers = value.split('-');
    let year = numbers.next().filter(|year| year.len() == 4)?.parse().ok()?;
    let month = numbers.next().map(two_digits);
    let day_of_month = numbers.next().map(two_digits);
    if numbers.next().is_some() {
        return None;
    }
    let first = |year, month: u8| Date::from_calendar_date(year, Month::try_from(month).ok()?, 1).ok();
    match (month, day_of_month) {
        (None, _) => Some((first(year, 1)?, first(year + 1, 1)?)),
        (Some(month), None) => {
            let month = month?;
            let next = if month == 12 { first(year + 1, 1)? } else { first(year, month + 1)? };
            Some((first(year, month)?, next))
        }
        (Some(month), Some(of_month)) => {
            day(Date::from_calendar_date(year, Month::try_from(month?).ok()?, of_month?).ok()?)
        }
    }
}

fn two_digits(text: &str) -> Option<u8> {
    text.parse().ok().filter(|_| text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The same day so many months before; the month's last when it has no such day.
fn months_before(day: Date, months: i32) -> Option<Date> {
    let count = (day.year() * 12 + i32::from(u8::from(day.month())) - 1).checked_sub(months)?;
    let month = Month::try_from(u8::try_from(count.rem_euclid(12)).ok()? + 1).ok()?;
    let year = count.div_euclid(12);
    (1..=day.day()).rev().find_map(|day| Date::from_calendar_date(year, month, day).ok())
}
