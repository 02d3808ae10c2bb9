//! How the counters went: a point every five seconds for an hour, every minute for a day. Pure.

use std::collections::VecDeque;

use postern_shared::clock::UnixMillis;
use serde::Serialize;
use utoipa::ToSchema;

use crate::monitoring::Totals;

const FINE_SECONDS: u64 = 5;
const FINE_POINTS: usize = 720;
const COARSE_SECONDS: u64 = 60;
const COARSE_POINTS: usize = 1440;

/// What came in and went out in a span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Point {
    /// Its end, in seconds since 1970.
    pub(super) at: u64,
    /// Messages acknowledged.
    pub(super) accepted: u64,
    /// Their content, in octets.
    pub(super) accepted_bytes: u64,
    /// Messages sent to archivers.
    pub(super) served: u64,
    /// Octets of messages sent whole.
    pub(super) served_bytes: u64,
    /// Messages that archivers have deleted.
    pub(super) deleted: u64,
    /// Refusals to senders.
    pub(super) refused: u64,
}

impl Point {
    fn between(before: &Totals, now: &Totals) -> Self {
        let refused = |totals: &Totals| totals.refusals.iter().sum::<u64>();
        Self {
            at: 0,
            accepted: now.accepted.saturating_sub(before.accepted),
            accepted_bytes: now.accepted_bytes.saturating_sub(before.accepted_bytes),
            served: now.served.saturating_sub(before.served),
            served_bytes: now.served_bytes.saturating_sub(before.served_bytes),
            deleted: now.deleted.saturating_sub(before.deleted),
            refused: refused(now).saturating_sub(refused(before)),
        }
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.accepted_bytes += other.accepted_bytes;
        self.served += other.served;
        self.served_bytes += other.served_bytes;
        self.deleted += other.deleted;
        self.refused += other.refused;
    }
}

/// Points at equal distances, each with its width.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Course {
    /// Seconds that each point covers.
    pub(super) seconds: u64,
    /// The points, oldest first.
    #[schema(value_type = Vec<Point>)]
    pub(super) points: VecDeque<Point>,
}

/// The course of the counters.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<Totals>,
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
}

impl Rates {
    /// Takes where the counters stand now; to be called every second or so.
    pub(super) fn sample(&mut self, now: UnixMillis, totals: Totals) {
        if let Some(last) = self.last.replace(totals) {
            let point = Point::between(&last, &totals);
            add(&mut self.fine, now, &point, FINE_SECONDS, FINE_POINTS);
            add(&mut self.coarse, now, &point, COARSE_SECONDS, COARSE_POINTS);
        }
    }

    /// The last hour.
    pub(super) fn hour(&self) -> Course {
        Course { seconds: FINE_SECONDS, points: self.fine.clone() }
    }

    /// The last day.
    pub(super) fn day(&self) -> Course {
        Course { seconds: COARSE_SECONDS, points: self.coarse.clone() }
    }

    /// The last points of the hour.
    pub(super) fn latest(&self, points: usize) -> Course {
        let from = self.fine.len().saturating_sub(points);
        Course { seconds: FINE_SECONDS, points: self.fine.range(from..).copied().collect() }
    }
}

fn add(points: &mut VecDeque<Point>, now: UnixMillis, more: &Point, seconds: u64, max: usize) {
    let at = (now.0 / 1000 / seconds + 1) * seconds;
    match points.back_mut() {
        // A clock that was set back adds to what is there.
        Some(last) if last.at >= at => last.add(more),
        last => {
            // What was not sampled is shown as nothing, not left out: all points are equally far apart.
            let next = last.map_or(at, |last| last.at + seconds);
            let first = next.max(at.saturating_sub(max as u64 * seconds));
            for at in (first..at).step_by(usize::try_from(seconds).unwrap_or(1)) {
                points.push_back(Point { at, ..Point::default() });
            }
            points.push_back(Point { at, ..*more });
        }
    }
    while points.len() > max {
        points.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis((1_800_000_000 + seconds) * 1000)
    }

    fn accepted(accepted: u64) -> Totals {
        Totals { accepted, ..Totals::default() }
    }

    #[test]
    fn points_add_up_and_have_no_gaps() {
        let mut rates = Rates::default();
        for (second, total) in [(0, 10), (1, 12), (4, 13), (6, 20), (21, 25)] {
            rates.sample(at(second), accepted(total));
        }
        let counts: Vec<u64> = rates.hour().points.iter().map(|point| point.accepted).collect();
        assert_eq!(counts, [3, 7, 0, 0, 5]);
        assert!(
            rates.hour().points.iter().zip(rates.hour().points.iter().skip(1)).all(|(a, b)| b.at - a.at == 5)
        );
        assert_eq!(rates.day().points.iter().map(|point| point.accepted).collect::<Vec<_>>(), [15]);
        assert_eq!(rates.latest(2).points.len(), 2);
    }

    #[test]
    fn a_day_is_kept_and_a_jump_of_the_clock_costs_no_memory() {
        let mut rates = Rates::default();
        for second in 0..10_000 {
            rates.sample(at(second), accepted(second));
        }
        assert_eq!((rates.hour().points.len(), rates.day().points.len()), (720, 167));
        rates.sample(at(10_000_000_000), accepted(10_000));
        assert!(rates.hour().points.len() <= 720 && rates.day().points.len() <= 1440);
        rates.sample(at(0), accepted(10_001));
        assert_eq!(rates.hour().points.back().unwrap().accepted, 2, "set back");
    }
}
