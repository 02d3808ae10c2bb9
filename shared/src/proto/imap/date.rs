//! INTERNALDATE (RFC 3501 §9, date-time): ` 7-Feb-1994 21:52:25 -0800`.

use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

use crate::clock::UnixMillis;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The time, when it is one and lies behind 1970; a server that does not know says what it likes.
pub fn parse(text: &str) -> Option<UnixMillis> {
    let mut words = text.split_ascii_whitespace();
    let (date, time, zone) = (words.next()?, words.next()?, words.next().unwrap_or("+0000"));
    let mut parts = date.splitn(3, '-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| month.eq_ignore_ascii_case(name))?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    let mut parts = time.splitn(3, ':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // A leap second is told as the last one of its minute.
    let time = Time::from_hms(hour, minute, second.min(59)).ok()?;
    let instant = PrimitiveDateTime::new(date, time).assume_offset(offset(zone)?);
    u64::try_from(instant.unix_timestamp()).ok().map(|seconds| UnixMillis(seconds * 1000))
}

/// `-0800`.
fn offset(zone: &str) -> Option<UtcOffset> {
    let digits = zone.strip_prefix(['+', '-']).filter(|digits| digits.len() == 4 && digits.is_ascii())?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes): (i8, i8) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        for (text, time) in [
            ("17-Jul-1996 02:44:25 -0700", "1996-07-17T09:44:25Z"),
            (" 7-Feb-1994 21:52:25 -0800", "1994-02-08T05:52:25Z"),
            ("01-jan-1970 00:00:00 +0000", "1970-01-01T00:00:00Z"),
            ("31-Dec-2016 23:59:60 +0000", "2016-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(text).unwrap().rfc3339(), time);
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "17-Jul-1996",
            "31-Feb-1996 00:00:00 +0000",
            "17-Foo-1996 00:00:00 +0000",
            "17-Jul-1996 00:00 +0000",
            "17-Jul-1996 00:00:00 +00é",
            "17-Jul-1969 00:00:00 +0000",
            "17-Jul-99999999 00:00:00 +0000",
            "-17-Jul-1996 00:00:00 +9999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
