//! A table that is bounded and forgets what was not used for longest.
//!
//! Two generations: what is used goes to the young one; when that is half of the bound, it becomes the old one and the
//! old one is forgotten. So each step costs constant time on average, and a flood of new keys cannot grow the table: it
//! makes it forget sooner.

use std::collections::HashMap;
use std::hash::Hash;

/// What is known about keys.
#[derive(Debug)]
pub struct Remembered<K, V> {
    half: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq + Clone, V: Default> Remembered<K, V> {
    /// A table of at most `max` entries, at least of two.
    pub fn new(max: usize) -> Self {
        Self { half: (max / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// What is known about `key`; it counts as used.
    pub fn entry(&mut self, key: &K) -> &mut V {
        if !self.young.contains_key(key) {
            let value = self.old.remove(key).unwrap_or_default();
            if self.young.len() >= self.half {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key.clone(), value);
        }
        self.young.entry(key.clone()).or_default()
    }

    /// What is known about `key`, if anything.
    pub fn look(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// How many keys something is known about.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a flood of keys leaves the table within its bound, and what is used meanwhile stays.
    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let mut table = Remembered::<u32, u32>::new(100);
        *table.entry(&7) = 1;
        for key in 1000..100_000 {
            *table.entry(&key) = 2;
            if key % 20 == 0 {
                assert_eq!(*table.entry(&7), 1, "at {key}");
            }
            assert!(table.len() <= 100, "{} at {key}", table.len());
        }
        assert_eq!(table.look(&1000), None);
        assert!(!table.is_empty());
    }
}
