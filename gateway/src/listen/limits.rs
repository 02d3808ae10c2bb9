//! How many sessions there may be at once, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts sessions; clones count together.
#[derive(Debug, Clone)]
pub struct Limits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sessions_max: usize,
    per_address_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sessions: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place taken; given back when dropped.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Limits {
    /// Limits without any session yet.
    pub fn new(sessions_max: usize, per_address_max: usize) -> Self {
        Self { shared: Arc::new(Shared { sessions_max, per_address_max, counts: Mutex::default() }) }
    }

    /// A place for a session from `address`, when there is one.
    pub fn take(&self, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.sessions >= self.shared.sessions_max || here >= self.shared.per_address_max {
            return None;
        }
        counts.sessions += 1;
        counts.by_address.insert(address, here + 1);
        Some(Place { shared: Arc::clone(&self.shared), address })
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
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let limits = Limits::new(3, 2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = limits.take(a).unwrap();
        let _second = limits.take(a).unwrap();
        assert!(limits.take(a).is_none(), "two from one address");
        let _third = limits.take(b).unwrap();
        assert!(limits.take(b).is_none(), "three in all");
        drop(first);
        assert!(limits.take(a).is_some());
    }

    #[test]
    fn a_network_of_ipv6_addresses_counts_as_one() {
        let limits = Limits::new(10, 1);
        let _first = limits.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(limits.take("2001:db8::2".parse().unwrap()).is_none());
        assert!(limits.take("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
