//! Who guesses at tokens waits. Pure: time comes in as a value.
//!
//! Nobody guesses 256 random bits; what guessing can do is burn time and fill logs. An address (an IPv6 /64) that sent [`FREE`] wrong
//! tokens is told to wait, 1, 2, 4 … seconds up to [`LONGEST`], and its wrong tokens are not even told wrong meanwhile. A good token
//! is always taken: who shares an address with a guesser is not locked out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use postern_shared::clock::Moment;

/// Wrong tokens without a wait.
const FREE: u32 = 5;
const LONGEST: Duration = Duration::from_secs(300);
/// After so long without a wrong token all is forgotten.
const FORGET: Duration = Duration::from_secs(3600);
/// Addresses remembered; the table is emptied when there are more, which costs who fills it as many requests.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    failed: HashMap<IpAddr, (u32, Moment)>,
}

/// One peer's network: of IPv6 addresses whoever has one has 2^64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

impl Throttle {
    /// A wrong token came. `Some`: the peer has to wait so long, and what it sent counted for nothing.
    pub(super) fn wrong(&mut self, address: IpAddr, now: Moment) -> Option<Duration> {
        if self.failed.len() >= ADDRESSES_MAX {
            self.failed.clear();
        }
        let (count, last) = self.failed.entry(network(address)).or_default();
        if now.since(*last) >= FORGET {
            *count = 0;
        }
        let over = count.checked_sub(FREE);
        let wait = over.map_or(Duration::ZERO, |over| {
            Duration::from_secs(1).saturating_mul(1 << over.min(30)).min(LONGEST)
        });
        let left = wait.saturating_sub(now.since(*last));
        if *count > 0 && !left.is_zero() {
            return Some(left);
        }
        *count = count.saturating_add(1);
        *last = now;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn guessing_waits_longer_and_longer_and_is_forgotten() {
        let mut throttle = Throttle::default();
        let guesser: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..FREE {
            assert_eq!(throttle.wrong(guesser, at(10)), None);
        }
        assert_eq!(throttle.wrong(guesser, at(10)), Some(Duration::from_secs(1)));
        assert_eq!(throttle.wrong("2001:db8::2".parse().unwrap(), at(10)), Some(Duration::from_secs(1)));
        assert_eq!(throttle.wrong("2001:db8:0:1::1".parse().unwrap(), at(10)), None);
        assert_eq!(throttle.wrong(guesser, at(11)), None);
        assert_eq!(throttle.wrong(guesser, at(11)), Some(Duration::from_secs(2)), "each doubles it");
        for n in 0..20 {
            throttle.wrong(guesser, at(1000 + 300 * n));
        }
        assert_eq!(throttle.wrong(guesser, at(1000 + 300 * 19)), Some(LONGEST));
        assert_eq!(throttle.wrong(guesser, at(20_000)), None);
        assert_eq!(throttle.wrong(guesser, at(20_000)), None, "all is forgotten after an hour");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..50_000u32 {
            throttle.wrong(IpAddr::V4((0x0a00_0000 + n).into()), at(1));
        }
        assert!(throttle.failed.len() <= ADDRESSES_MAX);
    }
}
