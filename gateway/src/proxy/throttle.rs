//! Accounts whose server said "not now": the next logins wait here instead of making it worse there. Pure: time comes in as
//! a value.
//!
//! The first such answer costs a second, each further one twice as much, up to five minutes. A login that the server takes
//! wipes it out; so does an hour without one.

use std::time::Duration;

use postern_shared::clock::Moment;

use super::Account;
use crate::listen::Remembered;

/// Accounts that are remembered.
const ENTRIES_MAX: usize = 16_384;
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
const FORGET: Duration = Duration::from_secs(3600);

/// What is remembered of servers that throttle.
#[derive(Debug)]
pub(super) struct Throttle {
    accounts: Remembered<Account, Slowed>,
}

#[derive(Debug, Default, Clone)]
struct Slowed {
    wait: Duration,
    since: Moment,
    words: String,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { accounts: Remembered::new(ENTRIES_MAX) }
    }
}

impl Throttle {
    /// How long the account must wait still, and what its server said; `None` when it need not.
    pub(super) fn wait(&self, account: &Account, now: Moment) -> Option<(Duration, String)> {
        let slowed = self.accounts.look(account)?;
        let left = slowed.wait.saturating_sub(now.since(slowed.since));
        (!left.is_zero()).then(|| (left, slowed.words.clone()))
    }

    /// The server said "not now", in these words.
    pub(super) fn throttled(&mut self, account: &Account, words: &str, now: Moment) {
        let slowed = self.accounts.entry(account);
        let fresh = slowed.wait.is_zero() || now.since(slowed.since) >= FORGET;
        slowed.wait = if fresh { FIRST } else { slowed.wait.saturating_mul(2).min(LONGEST) };
        slowed.since = now;
        words.clone_into(&mut slowed.words);
    }

    /// The server took a login.
    pub(super) fn cleared(&mut self, account: &Account) {
        if self.accounts.look(account).is_some() {
            *self.accounts.entry(account) = Slowed::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::{Clock as _, ManualClock};

    use super::super::Host;
    use super::*;

    fn account(n: usize) -> Account {
        Account { user: format!("anna{n}"), host: Host::Name("mail.example.com".into()) }
    }

    #[test]
    fn waits_double_and_a_login_wipes_them_out() {
        let (clock, mut throttle) = (ManualClock::default(), Throttle::default());
        let mut waits = Vec::new();
        for _ in 0..11 {
            throttle.throttled(&account(1), "slow down", clock.moment());
            let (left, words) = throttle.wait(&account(1), clock.moment()).unwrap();
            assert_eq!(words, "slow down");
            waits.push(left.as_secs());
            clock.advance(left);
            assert_eq!(throttle.wait(&account(1), clock.moment()), None, "the wait is over");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(throttle.wait(&account(2), clock.moment()), None, "others do not wait");
        throttle.cleared(&account(1));
        throttle.throttled(&account(1), "", clock.moment());
        assert_eq!(throttle.wait(&account(1), clock.moment()).unwrap().0, FIRST);
        throttle.throttled(&account(1), "", clock.moment());
        clock.advance(FORGET);
        throttle.throttled(&account(1), "", clock.moment());
        assert_eq!(throttle.wait(&account(1), clock.moment()).unwrap().0, FIRST, "forgotten");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..2 * ENTRIES_MAX {
            throttle.throttled(&account(n), "", Moment::default());
        }
        assert!(throttle.accounts.len() <= ENTRIES_MAX);
    }
}
