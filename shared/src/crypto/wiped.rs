//! Copies of mail in the clear that are not to lie about in memory.

use std::ops::{Deref, DerefMut};

/// Octets that are overwritten when they are dropped, with all the room they had. Keys are wiped by `zeroize`, which promises more and
/// writes octet by octet: too slow for whole messages.
#[derive(Default)]
pub struct Wiped(Vec<u8>);

impl From<Vec<u8>> for Wiped {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets)
    }
}

impl Deref for Wiped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl std::fmt::Debug for Wiped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets", self.0.len())
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(octets: &mut Vec<u8>) {
    octets.clear();
    octets.resize(octets.capacity(), 0);
    // Somebody may look: so it is not left out as a write that nobody reads.
    std::hint::black_box(octets.as_mut_slice());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_room_is_overwritten() {
        let mut octets = Vec::with_capacity(100);
        octets.extend_from_slice(&[7; 40]);
        octets.truncate(10);
        wipe(&mut octets);
        assert!(octets.len() >= 100 && octets.iter().all(|octet| *octet == 0));
        assert_eq!(format!("{:?}", Wiped::from(vec![7; 3])), "3 octets");
    }
}
