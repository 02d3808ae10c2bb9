//! The next moment that five fields mean, in a time zone.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use postern_shared::clock::UnixMillis;

use super::Zone;
use super::cron::{Cron, has};

/// The rarest day is a 29th of February of a certain weekday: 40 years where a leap year is left out.
const DAYS_MAX: usize = 41 * 366;

impl Cron {
    pub(super) fn next(&self, after: UnixMillis, zone: &Zone) -> Option<UnixMillis> {
        let zone = zone.rules();
        let after = Timestamp::from_millisecond(i64::try_from(after.0).ok()?).ok()?;
        // Clocks that are put back at midnight bring yesterday's last hour again.
        let mut date = zone.to_datetime(after).date().yesterday().ok()?;
        for _ in 0..DAYS_MAX {
            let tomorrow = date.tomorrow().ok();
            if let Some(first) = self.first_on(date, after, zone) {
                // For the same reason tomorrow may begin before that.
                let other = tomorrow.and_then(|tomorrow| self.first_on(tomorrow, after, zone));
                let next = other.map_or(first, |other| other.min(first));
                return u64::try_from(next.as_millisecond()).ok().map(UnixMillis);
            }
            date = tomorrow?;
        }
        None
    }

    /// Whether there are such days at all.
    pub(super) fn comes(&self) -> bool {
        let mut date = Some(Date::constant(2000, 1, 1));
        (0..DAYS_MAX).any(|_| {
            let here = date.take();
            date = here.and_then(|here| here.tomorrow().ok());
            here.is_some_and(|here| self.is_on(here))
        })
    }

    fn is_on(&self, date: Date) -> bool {
        self.has_day(date.month(), date.day(), date.weekday().to_sunday_zero_offset())
    }

    /// The first moment of that day which is later than `after`.
    fn first_on(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if !self.is_on(date) {
            return None;
        }
        let hours = (0..24).filter(|hour| has(self.hours, *hour));
        let times = hours.flat_map(|hour| {
            (0..60).filter(|minute| has(self.minutes, *minute)).map(move |minute| date.at(hour, minute, 0, 0))
        });
        times.flat_map(|time| self.moments(time, zone)).flatten().filter(|moment| *moment > after).min()
    }

    /// When that is by the clocks of the zone: once or, for who asks for each hour, twice.
    fn moments(&self, time: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
        let found = zone.to_ambiguous_timestamp(time);
        match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => [found.earlier().ok(), None],
            // The earlier reading lies before the gap, so what follows it is the gap's end.
            AmbiguousOffset::Gap { .. } => {
                let before = found.earlier().ok();
                let end = before.and_then(|before| zone.following(before).next());
                [end.map(|transition| transition.timestamp()), None]
            }
            AmbiguousOffset::Fold { .. } => {
                let again = self.is_each_hour().then(|| found.later().ok()).flatten();
                [found.earlier().ok(), again]
            }
        }
    }
}
