//! How long a peer may take: for a command, for a message, for everything. Pure: time comes in as a value.
//!
//! | limit | counts | default |
//! |---|---|---|
//! | `command` | waiting for one command to come to its end, or for the next octet of content | 5 min (RFC 5321 §4.5.3.2.7 asks for no less) |
//! | `octets_per_second_min` | content of one message, once it has taken longer than `command` | 1 KiB/s |
//! | `message` | one message, from DATA or the first BDAT to its end | 2 h |
//! | `session` | everything | 24 h |
//!
//! So an octet a minute keeps nothing open: a command's octets do not renew its deadline, and content that trickles falls
//! behind the rate. Only waiting counts for the rate: time that our disk took is not held against the peer.

use std::time::Duration;

use postern_shared::clock::Moment;

/// The limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one command to come whole, and for the next octet of content.
    pub command: Duration,
    /// What content must bring on average; 0 for no such limit.
    pub octets_per_second_min: u64,
    /// For one message.
    pub message: Duration,
    /// For the whole session.
    pub session: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            octets_per_second_min: 1024,
            message: Duration::from_secs(2 * 3600),
            session: Duration::from_secs(24 * 3600),
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// A command.
    Command,
    /// Content of a message.
    Content,
}

/// How long one peer has taken.
///
/// Call order: [`Pace::wait`] before each wait, [`Pace::came`] when octets came, [`Pace::done`] when they made a command
/// whole (or answered it), [`Pace::message`] where a message begins and ends.
#[derive(Debug)]
pub struct Pace {
    patience: Patience,
    began: Moment,
    message_began: Option<Moment>,
    awaited: Awaited,
    /// Spent waiting for this command, or for the content of this message.
    waited: Duration,
    octets: u64,
    waits_since: Moment,
}

impl Pace {
    /// A session that begins now.
    pub fn new(patience: Patience, now: Moment) -> Self {
        Self {
            patience,
            began: now,
            message_began: None,
            awaited: Awaited::Command,
            waited: Duration::ZERO,
            octets: 0,
            waits_since: now,
        }
    }

    /// How long the next wait may last; zero when the peer's time is up.
    pub fn wait(&mut self, awaited: Awaited, now: Moment) -> Duration {
        if awaited != self.awaited {
            self.awaited = awaited;
            self.done();
        }
        self.waits_since = now;
        let Patience { command, octets_per_second_min, message, session } = self.patience;
        let step = match awaited {
            Awaited::Command => command.saturating_sub(self.waited),
            Awaited::Content if octets_per_second_min == 0 => command,
            Awaited::Content => {
                let earned = Duration::from_millis(self.octets.saturating_mul(1000) / octets_per_second_min);
                command.saturating_add(earned).saturating_sub(self.waited).min(command)
            }
        };
        let message = self.message_began.map_or(message, |began| message.saturating_sub(now.since(began)));
        step.min(message).min(session.saturating_sub(now.since(self.began)))
    }

    /// Octets came.
    pub fn came(&mut self, octets: usize, now: Moment) {
        self.waited = self.waited.saturating_add(now.since(self.waits_since));
        self.octets = self.octets.saturating_add(octets as u64);
    }

    /// A command was whole, or content was over.
    pub fn done(&mut self) {
        (self.waited, self.octets) = (Duration::ZERO, 0);
    }

    /// A message begins at that moment, or none is there any more.
    pub fn message(&mut self, began: Option<Moment>) {
        self.message_began = began;
    }

    /// From now on the session as a whole may last as long as it likes.
    pub fn trust(&mut self) {
        self.patience.session = Duration::MAX;
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::{Clock, ManualClock};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn patience() -> Patience {
        Patience {
            command: 10 * SECOND,
            octets_per_second_min: 100,
            message: 100 * SECOND,
            session: 1000 * SECOND,
        }
    }

    /// Lets an octet come every `pause`, until the time is up; how many came.
    fn trickle(
        pace: &mut Pace,
        clock: &ManualClock,
        awaited: Awaited,
        octets: usize,
        pause: Duration,
    ) -> usize {
        let mut came = 0;
        while pace.wait(awaited, clock.moment()) >= pause && came < 10_000 {
            clock.advance(pause);
            pace.came(octets, clock.moment());
            came += 1;
        }
        came
    }

    #[test]
    fn the_defaults_are_no_shorter_than_the_standard_asks() {
        assert!(Patience::default().command >= Duration::from_secs(300), "RFC 5321 §4.5.3.2.7");
    }

    #[test]
    fn octets_of_a_command_do_not_renew_its_deadline_and_commands_do() {
        let clock = ManualClock::default();
        let mut pace = Pace::new(patience(), clock.moment());
        for _ in 0..5 {
            assert_eq!(trickle(&mut pace, &clock, Awaited::Command, 1, SECOND), 10);
            pace.done();
        }
    }

    #[test]
    fn content_must_keep_its_rate_once_the_first_grace_is_over() {
        let clock = ManualClock::default();
        let mut pace = Pace::new(patience(), clock.moment());
        pace.wait(Awaited::Command, clock.moment());
        let slow = trickle(&mut pace, &clock, Awaited::Content, 1, SECOND);
        assert!((10..=11).contains(&slow), "{slow}");
        assert_eq!(
            pace.wait(Awaited::Command, clock.moment()),
            10 * SECOND,
            "behind it a command has its own time"
        );
        let steady = trickle(&mut pace, &clock, Awaited::Content, 100, SECOND);
        assert!(steady > 900, "only the session's end stops who keeps the rate: {steady}");
    }

    #[test]
    fn silence_within_content_is_not_paid_for_by_what_came_before() {
        let clock = ManualClock::default();
        let mut pace = Pace::new(patience(), clock.moment());
        pace.wait(Awaited::Content, clock.moment());
        pace.came(1_000_000, clock.moment());
        assert_eq!(pace.wait(Awaited::Content, clock.moment()), 10 * SECOND);
    }

    #[test]
    fn our_own_slowness_is_not_held_against_the_rate() {
        let clock = ManualClock::default();
        let mut pace = Pace::new(patience(), clock.moment());
        pace.wait(Awaited::Content, clock.moment());
        pace.came(1, clock.moment());
        clock.advance(90 * SECOND);
        assert_eq!(pace.wait(Awaited::Content, clock.moment()), 10 * SECOND);
    }

    #[test]
    fn messages_and_sessions_have_their_ends() {
        let clock = ManualClock::default();
        let mut pace = Pace::new(patience(), clock.moment());
        pace.message(Some(clock.moment()));
        let steady = trickle(&mut pace, &clock, Awaited::Content, 1000, SECOND);
        assert_eq!(steady, 100);
        pace.message(None);
        assert_eq!(pace.wait(Awaited::Command, clock.moment()), 10 * SECOND);
        clock.advance(899 * SECOND);
        assert_eq!(pace.wait(Awaited::Command, clock.moment()), SECOND);
        clock.advance(SECOND);
        assert_eq!(pace.wait(Awaited::Command, clock.moment()), Duration::ZERO);
        pace.trust();
        assert_eq!(pace.wait(Awaited::Command, clock.moment()), 10 * SECOND);
    }
}
