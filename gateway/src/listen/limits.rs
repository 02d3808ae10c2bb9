//! How many sessions there may be at once, in all and from one address, and how often an address may come.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Clock, Moment, SystemClock};

use super::handshake::Handshakes;
use super::remembered::Remembered;

/// Addresses whose connections are counted; of more than these the longest unseen are forgotten.
const ADDRESSES_MAX: usize = 65_536;
/// Refusals are told in the log once in this time, with their number.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How many, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Sessions at once.
    pub sessions: usize,
    /// Sessions at once from one address.
    pub per_address: usize,
    /// Connections a minute from one address, on average; 0 for no such limit.
    pub connections_per_minute: u32,
    /// Connections that an address may make at once before that average counts.
    pub connection_burst: u32,
}

/// Counts sessions; clones count together.
#[derive(Debug, Clone)]
pub struct Limits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    quota: Quota,
    handshakes: Handshakes,
    answer_deadline: Duration,
    sessions: usize,
    by_address: HashMap<IpAddr, usize>,
    rates: Remembered<IpAddr, Rate>,
    refusals: Refusals,
}

/// How many refusals the log has not told yet: a flood of peers must not become a flood of lines.
#[derive(Debug, Default)]
pub struct Refusals {
    untold: u64,
    told: Option<Moment>,
}

impl Refusals {
    /// One more; how many to tell now, this one among them, or 0 when it is not the time to.
    pub fn count(&mut self, now: Moment) -> u64 {
        self.untold += 1;
        if self.told.is_some_and(|told| now.since(told) < TELL_EVERY) {
            return 0;
        }
        self.told = Some(now);
        std::mem::take(&mut self.untold)
    }
}

/// A place taken; given back when dropped.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
}

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NoPlace {
    /// Which limit.
    pub why: Exceeded,
    /// How many refusals the log has not told yet, this one among them; 0 when it need not be told now.
    pub untold: u64,
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// On all sessions.
    #[error("too many sessions")]
    Sessions,
    /// On sessions from one address.
    #[error("too many sessions from one address")]
    PerAddress,
    /// On connections in time.
    #[error("too many connections a minute from one address")]
    Rate,
}

/// When the average is reached: as much later than now as connections came sooner (GCRA, a token bucket in one number).
#[derive(Debug, Default, Clone, Copy)]
struct Rate(Moment);

impl Rate {
    fn take(&mut self, quota: &Quota, now: Moment) -> bool {
        if quota.connections_per_minute == 0 {
            return true;
        }
        let interval = Duration::from_secs(60) / quota.connections_per_minute;
        let due = self.0.max(now);
        let fits = due.since(now) <= interval * quota.connection_burst.saturating_sub(1);
        if fits {
            self.0 = due.plus(interval);
        }
        fits
    }
}

impl Limits {
    /// Limits without any session yet, and none on how often an address may come.
    pub fn new(sessions: usize, per_address: usize) -> Self {
        let quota = Quota { sessions, per_address, connections_per_minute: 0, connection_burst: 0 };
        Self::with(quota, Arc::new(SystemClock::new()))
    }

    /// The same with a quota.
    pub fn with(quota: Quota, clock: Arc<dyn Clock>) -> Self {
        let counts = Counts {
            quota,
            handshakes: Handshakes::default(),
            answer_deadline: super::connection::WRITE_DEADLINE,
            sessions: 0,
            by_address: HashMap::new(),
            rates: Remembered::new(ADDRESSES_MAX),
            refusals: Refusals::default(),
        };
        Self { shared: Arc::new(Shared { clock, counts: Mutex::new(counts) }) }
    }

    /// With these limits on handshakes, and on the time a peer may take to receive an answer.
    #[must_use]
    pub fn deadlines(self, handshakes: Handshakes, answer_deadline: Duration) -> Self {
        let quota = self.lock().quota;
        self.follow(quota, handshakes, answer_deadline);
        self
    }

    /// From now on these count. Sessions that are open stay, and count as they did, also when they are too many now.
    pub fn follow(&self, quota: Quota, handshakes: Handshakes, answer_deadline: Duration) {
        let mut counts = self.lock();
        (counts.quota, counts.handshakes, counts.answer_deadline) = (quota, handshakes, answer_deadline);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock that rates are measured by.
    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
    }

    /// How handshakes are limited, and how long a peer may take to receive an answer.
    pub(crate) fn handshakes(&self) -> (Handshakes, Duration) {
        let counts = self.lock();
        (counts.handshakes.clone(), counts.answer_deadline)
    }

    /// A place for a session from `address`, when there is one.
    pub fn take(&self, address: IpAddr) -> Result<Place, NoPlace> {
        let address = network(address);
        let now = self.shared.clock.moment();
        let mut counts = self.lock();
        let quota = counts.quota;
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        // Every attempt counts for the rate, so a flood that is refused stays refused.
        let why = if !counts.rates.entry(&address).take(&quota, now) {
            Exceeded::Rate
        } else if here >= quota.per_address {
            Exceeded::PerAddress
        } else if counts.sessions >= quota.sessions {
            Exceeded::Sessions
        } else {
            counts.sessions += 1;
            counts.by_address.insert(address, here + 1);
            return Ok(Place { shared: Arc::clone(&self.shared), address });
        };
        Err(NoPlace { why, untold: counts.refusals.count(now) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.sessions = counts.sessions.saturating_sub(1);
        match counts.by_address.get(&self.address).copied() {
            Some(2..) => *counts.by_address.entry(self.address).or_default() -= 1,
            _ => drop(counts.by_address.remove(&self.address)),
        }
    }
}

/// One customer of a provider has a whole /64 of IPv6 addresses; they count as one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::ManualClock;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn refusal(limits: &Limits, address: IpAddr) -> Exceeded {
        limits.take(address).unwrap_err().why
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let limits = Limits::new(3, 2);
        let first = limits.take(A).unwrap();
        let _second = limits.take(A).unwrap();
        assert_eq!(refusal(&limits, A), Exceeded::PerAddress);
        let _third = limits.take(B).unwrap();
        assert_eq!(refusal(&limits, B), Exceeded::Sessions);
        drop(first);
        assert!(limits.take(A).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_addresses_counts_as_one() {
        let limits = Limits::new(10, 1);
        let _first = limits.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(limits.take("2001:db8::2".parse().unwrap()).is_err());
        assert!(limits.take("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn an_address_may_come_only_so_often_and_the_others_do_not_mind() {
        let clock = Arc::new(ManualClock::default());
        let quota =
            Quota { sessions: 100, per_address: 100, connections_per_minute: 60, connection_burst: 5 };
        let limits = Limits::with(quota, clock.clone());
        for _ in 0..5 {
            limits.take(A).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(refusal(&limits, A), Exceeded::Rate);
        }
        limits.take(B).unwrap();
        clock.advance(Duration::from_secs(2));
        assert!(limits.take(A).is_ok() && limits.take(A).is_ok() && limits.take(A).is_err());
        clock.advance(Duration::from_secs(3600));
        assert_eq!(
            (0..100).filter(|_| limits.take(A).is_ok()).count(),
            5,
            "no more than the burst is saved up"
        );
    }

    #[test]
    fn other_limits_count_at_once_and_sessions_stay() {
        let limits = Limits::new(3, 3);
        let places: Vec<_> = (0..3).map(|_| limits.take(A).unwrap()).collect();
        let quota = Quota { sessions: 2, per_address: 2, connections_per_minute: 0, connection_burst: 0 };
        limits.clone().follow(quota, Handshakes::default(), Duration::from_secs(1));
        assert_eq!(refusal(&limits, B), Exceeded::Sessions);
        drop(places);
        let _two = (limits.take(A).unwrap(), limits.take(A).unwrap());
        assert_eq!(refusal(&limits, A), Exceeded::PerAddress);
        assert_eq!(limits.handshakes().1, Duration::from_secs(1));
    }

    /// Goal: a flood does not flood the log.
    #[test]
    fn refusals_are_told_now_and_then_with_their_number() {
        let clock = Arc::new(ManualClock::default());
        let quota = Quota { sessions: 0, per_address: 1, connections_per_minute: 0, connection_burst: 0 };
        let limits = Limits::with(quota, clock.clone());
        let untold = || limits.take(A).unwrap_err().untold;
        assert_eq!([untold(), untold(), untold()], [1, 0, 0]);
        clock.advance(TELL_EVERY);
        assert_eq!(untold(), 3);
    }
}
