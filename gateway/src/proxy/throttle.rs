//! Servers that said "not now": the next logins of the same account from the same network wait here instead of making it
//! worse there. Pure: time comes in as a value.
//!
//! By account, port and network, so that nobody who was turned away makes others wait: a stranger's logins may be why the
//! server is weary, and it may be weary of one port only.
//!
//! The first such answer costs a second, each further one twice as much, up to five minutes. A login that the server takes
//! wipes it out; so does an hour without one.

use std::net::IpAddr;
use std::time::Duration;

use postern_shared::clock::Moment;

use super::Account;
use crate::listen::{Remembered, network};

/// Who asked for what; so many are remembered.
const ENTRIES_MAX: usize = 16_384;
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
const FORGET: Duration = Duration::from_secs(3600);

/// What is remembered of servers that throttle.
#[derive(Debug)]
pub(super) struct Throttle {
    asked: Remembered<Asked, Slowed>,
}

/// Who asked for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    account: Account,
    port: u16,
    network: IpAddr,
}

impl Asked {
    pub(super) fn new(account: &Account, port: u16, client: IpAddr) -> Self {
        Self { account: account.clone(), port, network: network(client) }
    }
}

#[derive(Debug, Default, Clone)]
struct Slowed {
    wait: Duration,
    since: Moment,
    words: String,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { asked: Remembered::new(ENTRIES_MAX) }
    }
}

impl Throttle {
    /// How long who asks must wait still, and what its server said; `None` when it need not.
    pub(super) fn wait(&self, asked: &Asked, now: Moment) -> Option<(Duration, String)> {
        let slowed = self.asked.look(asked)?;
        let left = slowed.wait.saturating_sub(now.since(slowed.since));
        (!left.is_zero()).then(|| (left, slowed.words.clone()))
    }

    /// The server said "not now", in these words.
    pub(super) fn throttled(&mut self, asked: &Asked, words: &str, now: Moment) {
        let slowed = self.asked.entry(asked);
        let fresh = slowed.wait.is_zero() || now.since(slowed.since) >= FORGET;
        slowed.wait = if fresh { FIRST } else { slowed.wait.saturating_mul(2).min(LONGEST) };
        slowed.since = now;
        words.clone_into(&mut slowed.words);
    }

    /// The server took a login.
    pub(super) fn cleared(&mut self, asked: &Asked) {
        if self.asked.look(asked).is_some() {
            *self.asked.entry(asked) = Slowed::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::{Clock as _, ManualClock};

    use super::super::Host;
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn account(n: usize) -> Account {
        Account { user: format!("anna{n}"), host: Host::Name("mail.example.com".into()) }
    }

    fn asked(n: usize) -> Asked {
        Asked::new(&account(n), 995, CLIENT)
    }

    #[test]
    fn waits_double_and_a_login_wipes_them_out() {
        let (clock, mut throttle) = (ManualClock::default(), Throttle::default());
        let mut waits = Vec::new();
        for _ in 0..11 {
            throttle.throttled(&asked(1), "slow down", clock.moment());
            let (left, words) = throttle.wait(&asked(1), clock.moment()).unwrap();
            assert_eq!(words, "slow down");
            waits.push(left.as_secs());
            clock.advance(left);
            assert_eq!(throttle.wait(&asked(1), clock.moment()), None, "the wait is over");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        throttle.throttled(&asked(1), "slow down", clock.moment());
        assert_eq!(throttle.wait(&asked(2), clock.moment()), None, "others do not wait");
        let elsewhere = [(995, "198.51.100.1"), (587, "192.0.2.1")];
        for (port, client) in elsewhere {
            let asked = Asked::new(&account(1), port, client.parse().unwrap());
            assert_eq!(throttle.wait(&asked, clock.moment()), None, "{port} from {client}");
        }
        throttle.cleared(&asked(1));
        throttle.throttled(&asked(1), "", clock.moment());
        assert_eq!(throttle.wait(&asked(1), clock.moment()).unwrap().0, FIRST);
        throttle.throttled(&asked(1), "", clock.moment());
        clock.advance(FORGET);
        throttle.throttled(&asked(1), "", clock.moment());
        assert_eq!(throttle.wait(&asked(1), clock.moment()).unwrap().0, FIRST, "forgotten");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..2 * ENTRIES_MAX {
            throttle.throttled(&asked(n), "", Moment::default());
        }
        assert!(throttle.asked.len() <= ENTRIES_MAX);
    }
}
