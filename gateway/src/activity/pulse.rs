//! How a mailbox fares: messages by the hour, last delivery, last pull.

use postern_shared::clock::UnixMillis;

const HOUR_MS: u64 = 3600 * 1000;
/// Hours that are counted.
pub const HOURS: usize = 24;
/// A mailbox that had mail in so many of the last 24 hours usually gets mail,
const USUAL_HOURS: usize = 12;
/// and is silent when it had none for so many.
const SILENT_HOURS: u64 = 3;

/// A mailbox's pulse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Messages of the hour `newest` and those before it, by hour modulo 24.
    counts: [u32; HOURS],
    /// Hours since 1970.
    newest: u64,
    /// When the last message came.
    pub last_delivery: Option<UnixMillis>,
    /// When an archiver last opened it.
    pub last_pull: Option<UnixMillis>,
}

impl Pulse {
    pub(super) fn delivered(&mut self, now: UnixMillis, messages: u32) {
        let hour = now.0 / HOUR_MS;
        for passed in self.newest + 1..=hour.min(self.newest + HOURS as u64) {
            self.counts[place(passed)] = 0;
        }
        self.newest = self.newest.max(hour);
        // A clock set back by less than a day counts where it says; by more, nowhere.
        if self.newest - hour < HOURS as u64 {
            let count = &mut self.counts[place(hour)];
            *count = count.saturating_add(messages);
        }
        self.last_delivery = self.last_delivery.max(Some(now));
    }

    pub(super) fn pulled(&mut self, now: UnixMillis) {
        self.last_pull = self.last_pull.max(Some(now));
    }

    /// Messages of each of the last 24 hours, the present one last.
    pub fn hours(&self, now: UnixMillis) -> [u32; HOURS] {
        let present = now.0 / HOUR_MS;
        let mut hours = [0; HOURS];
        for (ago, count) in hours.iter_mut().rev().enumerate() {
            let hour = present.saturating_sub(ago as u64);
            if hour <= self.newest && self.newest - hour < HOURS as u64 {
                *count = self.counts[place(hour)];
            }
        }
        hours
    }

    /// Whether it usually gets mail, and has had none for some hours.
    pub fn is_silent(&self, now: UnixMillis) -> bool {
        let busy = self.hours(now).iter().filter(|count| **count > 0).count();
        let silent = self.last_delivery.is_some_and(|last| now.since(last).as_secs() >= SILENT_HOURS * 3600);
        busy >= USUAL_HOURS && silent
    }
}

#[expect(clippy::cast_possible_truncation, reason = "less than 24")]
fn place(hour: u64) -> usize {
    (hour % HOURS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u64) -> UnixMillis {
        UnixMillis((480_000 + hour) * HOUR_MS + 1)
    }

    #[test]
    fn hours_are_counted_and_forgotten() {
        let mut pulse = Pulse::default();
        pulse.delivered(at(0), 5);
        pulse.delivered(at(2), 7);
        let hours = pulse.hours(at(2));
        assert_eq!(hours[21..], [5, 0, 7]);
        assert_eq!(pulse.hours(at(23))[..3], [5, 0, 7], "the whole day");
        assert_eq!(pulse.hours(at(24))[..2], [0, 7]);
        pulse.delivered(at(26), 1);
        assert_eq!(pulse.hours(at(26)).iter().sum::<u32>(), 1);
        pulse.delivered(at(1000), 1);
        assert_eq!(pulse.hours(at(1000)).iter().sum::<u32>(), 1);
        pulse.delivered(at(999), 2);
        assert_eq!(pulse.hours(at(1000))[22..], [2, 1], "the clock was set back");
        pulse.delivered(at(1), 2);
        assert_eq!((pulse.hours(at(1000)).iter().sum::<u32>(), pulse.last_delivery), (3, Some(at(1000))));
    }

    #[test]
    fn a_mailbox_that_usually_gets_mail_is_missed() {
        let mut pulse = Pulse::default();
        for hour in 0..12 {
            pulse.delivered(at(hour), 1);
        }
        assert!(!pulse.is_silent(at(13)) && pulse.is_silent(at(14)));
        assert!(!pulse.is_silent(at(24)), "half a day without any is no exception any more");
        let mut seldom = Pulse::default();
        seldom.delivered(at(0), 1000);
        assert!(!seldom.is_silent(at(5)));
    }
}
