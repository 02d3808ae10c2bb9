//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

const ALL_MAX: usize = 256;
const PER_ADDRESS_MAX: usize = 64;

#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    /// A place, if there is one.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= ALL_MAX {
            return None;
        }
        let count = taken.entry(address).or_default();
        if *count >= PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let places = Places::default();
        let address = |n: u32| IpAddr::V4(n.into());
        let held: Vec<Place> = (0..PER_ADDRESS_MAX).map_while(|_| places.take(address(1))).collect();
        assert_eq!(held.len(), PER_ADDRESS_MAX);
        assert!(places.take(address(1)).is_none());
        let others: Vec<Place> = (2..1000).map_while(|n| places.take(address(n))).collect();
        assert_eq!(others.len(), ALL_MAX - PER_ADDRESS_MAX);
        drop(held);
        assert!(places.take(address(1)).is_some());
        drop(others);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
