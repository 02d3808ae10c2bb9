//! Who must wait before another password is checked. Pure: time comes in as a value.
//!
//! Passwords are generated, 130 bits each: nobody guesses one. What guessing can do is burn time and lock out those who
//! know theirs, so the rules are made against that:
//!
//! - An address (an IPv6 /64) that failed `free` times waits, from its last failure on, 1, 2, 4 … seconds up to a cap
//!   before another of its passwords is checked. What it tries meanwhile is refused unchecked, costs nothing, and does not
//!   renew the wait.
//! - A mailbox against which that many logins failed, from wherever, makes every address *that has failed itself* wait
//!   just so. So many addresses together get no further than one.
//! - An address that has not failed never waits: a flood against a mailbox does not lock out its archiver, neither from
//!   its usual address nor from a new one.
//! - An address that once opened a mailbox is known there: for this mailbox it has a count of its own, which only its own
//!   failures against this mailbox raise. So a neighbour behind the same address that guesses at other mailboxes does
//!   not lock it out; one that guesses at the same mailbox does, for as long as it goes on: who shares an address with
//!   the archiver and knows its mailbox cannot be told from it.
//! - A success wipes out nothing (an attacker may own a mailbox here). Failures are forgotten when none was added for
//!   `forget`.
//!
//! Names that no mailbox has are treated alike, so nothing is learned from waiting. The tables are bounded
//! ([`Remembered`]); who floods them makes them forget, one checked password at a time.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use postern_shared::clock::Moment;

use crate::listen::{Remembered, network};

/// Addresses, mailboxes, and pairs of both that are remembered, each.
const ENTRIES_MAX: usize = 32_768;

/// How waiting grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// Failures without a wait.
    pub free: u32,
    /// The first wait; each failure doubles it.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// After so long without a failure all are forgotten.
    pub forget: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            free: 5,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
            forget: Duration::from_secs(3600),
        }
    }
}

impl BackOff {
    fn wait(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            None => Duration::ZERO,
            Some(over) => self.first.saturating_mul(1 << over.min(30)).min(self.longest),
        }
    }
}

/// Who tries to open what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    address: IpAddr,
    /// A hash of the name, so that names of any length cost the same.
    mailbox: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Failures {
    count: u32,
    last: Moment,
}

impl Failures {
    fn add(&mut self, back_off: &BackOff, now: Moment) {
        self.count = self.fresh(back_off, now).saturating_add(1);
        self.last = now;
    }

    fn fresh(&self, back_off: &BackOff, now: Moment) -> u32 {
        if now.since(self.last) >= back_off.forget { 0 } else { self.count }
    }
}

/// What is remembered of failed logins.
#[derive(Debug)]
pub struct Guard {
    back_off: BackOff,
    hasher: RandomState,
    addresses: Remembered<IpAddr, Failures>,
    mailboxes: Remembered<u64, Failures>,
    known: Remembered<(IpAddr, u64), Failures>,
}

impl Guard {
    /// A guard that remembers nothing yet.
    pub fn new(back_off: BackOff) -> Self {
        Self {
            back_off,
            hasher: RandomState::new(),
            addresses: Remembered::new(ENTRIES_MAX),
            mailboxes: Remembered::new(ENTRIES_MAX),
            known: Remembered::new(ENTRIES_MAX),
        }
    }

    /// From now on waiting grows like this, for those who failed before as well.
    pub fn follow(&mut self, back_off: BackOff) {
        self.back_off = back_off;
    }

    /// An attempt from `address` on the mailbox or account of that name, in any case.
    pub fn attempt(&self, address: IpAddr, name: &str) -> Attempt {
        Attempt { address: network(address), mailbox: self.hasher.hash_one(name.to_ascii_lowercase()) }
    }

    /// Whether this address has opened this mailbox before.
    pub fn knows(&self, attempt: Attempt) -> bool {
        self.known.look(&(attempt.address, attempt.mailbox)).is_some()
    }

    /// How long until the password of such an attempt may be checked; zero for now.
    pub fn wait(&self, attempt: Attempt, now: Moment) -> Duration {
        let Attempt { address, mailbox } = attempt;
        let known = self.known.look(&(address, mailbox));
        let own = known.or_else(|| self.addresses.look(&address)).copied().unwrap_or_default();
        let count = own.fresh(&self.back_off, now);
        if count == 0 {
            return Duration::ZERO;
        }
        let of_mailbox = self.mailboxes.look(&mailbox).map_or(0, |all| all.fresh(&self.back_off, now));
        let count = if known.is_some() { count } else { count.max(of_mailbox) };
        self.back_off.wait(count).saturating_sub(now.since(own.last))
    }

    /// The password was wrong, or there is no such mailbox.
    pub fn failed(&mut self, attempt: Attempt, now: Moment) {
        let Attempt { address, mailbox } = attempt;
        let own = if self.knows(attempt) {
            self.known.entry(&(address, mailbox))
        } else {
            self.addresses.entry(&address)
        };
        own.add(&self.back_off, now);
        self.mailboxes.entry(&mailbox).add(&self.back_off, now);
    }

    /// The password was right.
    pub fn succeeded(&mut self, attempt: Attempt) {
        self.known.entry(&(attempt.address, attempt.mailbox));
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::{Clock, ManualClock};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ARCHIVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
    const MAILBOX: &str = "mbx-000000000000000a";

    struct Stage {
        guard: Guard,
        clock: ManualClock,
    }

    impl Stage {
        fn new() -> Self {
            Self { guard: Guard::new(BackOff::default()), clock: ManualClock::default() }
        }

        fn wait(&self, address: IpAddr, user: &str) -> Duration {
            self.guard.wait(self.guard.attempt(address, user), self.clock.moment())
        }

        /// A wrong password, checked as soon as it may be.
        fn fail(&mut self, address: IpAddr, user: &str) {
            self.clock.advance(self.wait(address, user));
            self.guard.failed(self.guard.attempt(address, user), self.clock.moment());
        }

        fn succeed(&mut self, address: IpAddr, user: &str) {
            assert_eq!(self.wait(address, user), Duration::ZERO);
            self.guard.succeeded(self.guard.attempt(address, user));
        }
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    #[test]
    fn waits_double_up_to_the_cap_and_pass() {
        let mut stage = Stage::new();
        let mut waits = Vec::new();
        for _ in 0..16 {
            stage.fail(ATTACKER, MAILBOX);
            waits.push(stage.wait(ATTACKER, MAILBOX).as_secs());
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        stage.clock.advance(299 * SECOND);
        assert_eq!(stage.wait(ATTACKER, MAILBOX), SECOND, "asking does not renew it");
        stage.clock.advance(SECOND);
        assert_eq!(stage.wait(ATTACKER, MAILBOX), Duration::ZERO);
        stage.clock.advance(3600 * SECOND);
        stage.fail(ATTACKER, MAILBOX);
        assert_eq!(stage.wait(ATTACKER, MAILBOX), Duration::ZERO, "all is forgotten after an hour");
    }

    #[test]
    fn other_mailboxes_spellings_and_addresses_of_one_network_do_not_help_an_attacker() {
        let mut stage = Stage::new();
        let from: [IpAddr; 2] = ["2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()];
        for n in 0..20 {
            stage.fail(from[n % 2], &format!("mbx-{n:016x}"));
        }
        assert!(stage.wait(from[0], "mbx-ffffffffffffffff") >= 200 * SECOND);
        let spelled = |user| stage.guard.attempt(ATTACKER, user);
        assert_eq!(spelled(MAILBOX), spelled("MBX-000000000000000A"));
    }

    /// Goal: a flood against a mailbox does not lock out who knows the password, wherever he comes from.
    #[test]
    fn an_address_that_has_not_failed_never_waits() {
        let mut stage = Stage::new();
        for n in 0..1000 {
            stage.fail(address(n), MAILBOX);
        }
        assert_eq!(stage.wait(ARCHIVER, MAILBOX), Duration::ZERO);
        // But of the many addresses each waits as if it had failed alone.
        assert!(stage.wait(address(999), MAILBOX) >= 300 * SECOND);
        stage.fail(ARCHIVER, MAILBOX);
        assert_eq!(stage.wait(ARCHIVER, MAILBOX), 300 * SECOND);
        assert_eq!(stage.wait(ARCHIVER, "mbx-000000000000000b"), Duration::ZERO, "and nowhere else");
    }

    /// Goal: an archiver that is known is not locked out by a neighbour behind its address, nor by all the world.
    #[test]
    fn an_address_that_is_known_is_judged_by_its_own_failures() {
        let mut stage = Stage::new();
        stage.succeed(ARCHIVER, MAILBOX);
        for n in 0..100 {
            stage.fail(ARCHIVER, "mbx-000000000000000b");
            stage.fail(address(n), MAILBOX);
        }
        assert_eq!(stage.wait(ARCHIVER, MAILBOX), Duration::ZERO);
        for _ in 0..4 {
            stage.fail(ARCHIVER, MAILBOX);
        }
        assert_eq!(stage.wait(ARCHIVER, MAILBOX), Duration::ZERO);
        stage.fail(ARCHIVER, MAILBOX);
        assert_eq!(stage.wait(ARCHIVER, MAILBOX), SECOND);
    }

    /// Goal: owning one mailbox does not help to guess at another.
    #[test]
    fn success_elsewhere_wipes_out_no_failure() {
        let mut stage = Stage::new();
        for _ in 0..20 {
            stage.succeed(ATTACKER, "mbx-00000000000000ff");
            stage.fail(ATTACKER, MAILBOX);
        }
        assert!(stage.wait(ATTACKER, MAILBOX) >= 300 * SECOND);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut guard = Guard::new(BackOff::default());
        for n in 0..100_000 {
            let attempt = guard.attempt(address(n), &n.to_string());
            guard.failed(attempt, Moment::default());
            guard.succeeded(attempt);
        }
        for len in [guard.addresses.len(), guard.mailboxes.len(), guard.known.len()] {
            assert!(len <= ENTRIES_MAX, "{len}");
        }
    }
}
