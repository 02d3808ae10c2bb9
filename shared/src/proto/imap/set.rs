//! Sets of UIDs: `1:3,7` (RFC 3501 §9, sequence-set).

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// What names a message in a folder, for as long as the folder's UIDVALIDITY stays.
pub type Uid = NonZeroU32;

/// Ranges that a set that is read may have.
const RANGES_MAX: usize = 100_000;

/// UIDs as ranges, ascending and apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UidSet(Vec<RangeInclusive<u32>>);

impl UidSet {
    /// From UIDs in any order.
    pub fn of(uids: impl IntoIterator<Item = Uid>) -> Self {
        Self::of_ranges(uids.into_iter().map(|uid| uid.get()..=uid.get()).collect())
    }

    /// From one range.
    pub fn range(first: Uid, last: Uid) -> Self {
        Self::of_ranges(vec![first.get().min(last.get())..=first.get().max(last.get())])
    }

    fn of_ranges(mut ranges: Vec<RangeInclusive<u32>>) -> Self {
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut set: Vec<RangeInclusive<u32>> = Vec::new();
        for range in ranges {
            match set.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => set.push(range),
            }
        }
        Self(set)
    }

    /// Reads a set without `*`, whose numbers may come in any order.
    pub fn parse(text: &str) -> Option<Self> {
        let mut ranges = Vec::new();
        for part in text.split(',') {
            if ranges.len() == RANGES_MAX {
                return None;
            }
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            let (first, last) = (first.parse::<Uid>().ok()?.get(), last.parse::<Uid>().ok()?.get());
            ranges.push(first.min(last)..=first.max(last));
        }
        Some(Self::of_ranges(ranges))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether that one is in it.
    pub fn contains(&self, uid: Uid) -> bool {
        let behind = self.0.partition_point(|range| *range.start() <= uid.get());
        behind.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|range| range.contains(&uid.get()))
    }

    /// How many are in it.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| u64::from(range.end() - range.start()) + 1).sum()
    }

    /// Its ranges, ascending.
    pub fn ranges(&self) -> &[RangeInclusive<u32>] {
        &self.0
    }

    /// The same in pieces whose text has at most about so many octets: servers bound their lines.
    pub fn in_pieces(&self, octets_max: usize) -> Vec<Self> {
        // Two numbers, a colon and a comma.
        let ranges = (octets_max / 22).max(1);
        self.0.chunks(ranges).map(|chunk| Self(chunk.to_vec())).collect()
    }
}

impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, range) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(",")?;
            }
            write!(f, "{}", range.start())?;
            if range.start() != range.end() {
                write!(f, ":{}", range.end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uid(number: u32) -> Uid {
        Uid::new(number).unwrap()
    }

    #[test]
    fn sets_are_written_shortly_and_read() {
        let set = UidSet::of([7, 3, 1, 2, 9, 8, u32::MAX].map(uid));
        assert_eq!(set.to_string(), "1:3,7:9,4294967295");
        assert_eq!(UidSet::parse("9:7,4294967295,3,1:2"), Some(set.clone()));
        assert_eq!(set.len(), 7);
        assert!(set.contains(uid(8)) && !set.contains(uid(4)) && set.contains(Uid::MAX));
        assert!(UidSet::default().is_empty() && !UidSet::default().contains(uid(1)));
        for text in ["", "0", "1:", "*", "1,,2", "1:*", "4294967296"] {
            assert_eq!(UidSet::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in proptest::collection::btree_set(1..2000_u32, 1..200), pieces in 1..200_usize) {
            let set = UidSet::of(numbers.iter().copied().map(uid));
            prop_assert_eq!(UidSet::parse(&set.to_string()), Some(set.clone()));
            prop_assert_eq!(set.len(), numbers.len() as u64);
            let pieces = set.in_pieces(pieces);
            prop_assert_eq!(pieces.iter().map(UidSet::len).sum::<u64>(), set.len());
            for number in 1..2000 {
                prop_assert_eq!(set.contains(uid(number)), numbers.contains(&number));
            }
        }
    }
}
