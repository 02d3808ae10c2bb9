//! Sets of message numbers: what was recorded, mostly runs, as clients go through a maildrop from one end to the other; and
//! what was not.

use std::collections::{BTreeMap, BTreeSet};

use postern_shared::proto::pop3::MessageNumber;

/// Numbers, as runs: first → last. As many runs as a client makes holes; those past [`RUNS_MAX`] are forgotten.
#[derive(Debug, Default)]
pub(super) struct Numbers(BTreeMap<usize, usize>);

/// A session's memory is bounded; whoever deletes a message that was forgotten has it fetched again first.
const RUNS_MAX: usize = 4096;

impl Numbers {
    pub(super) fn contains(&self, number: MessageNumber) -> bool {
        let at = number.index();
        self.0.range(..=at).next_back().is_some_and(|(_, &last)| at <= last)
    }

    pub(super) fn insert(&mut self, number: MessageNumber) {
        if self.contains(number) {
            return;
        }
        let (mut first, mut last) = (number.index(), number.index());
        if let Some(before) = first.checked_sub(1)
            && let Some((&start, _)) = self.0.range(..=before).next_back().filter(|(_, end)| **end == before)
        {
            first = start;
        }
        if let Some(end) = self.0.remove(&(last + 1)) {
            last = end;
        }
        self.0.insert(first, last);
        if self.0.len() > RUNS_MAX {
            self.0.pop_first();
        }
    }
}

/// Numbers of messages that could not be recorded. A full set stays full: it never forgets that there are some.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeSet<usize>);

/// How many of them are told apart.
const REFUSED_MAX: usize = 4096;

impl Refused {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, number: MessageNumber) {
        if self.0.len() < REFUSED_MAX {
            self.0.insert(number.index());
        }
    }

    pub(super) fn remove(&mut self, number: MessageNumber) {
        if self.0.len() < REFUSED_MAX {
            self.0.remove(&number.index());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(inserted in proptest::collection::vec(0..60_usize, 0..80)) {
            let (mut numbers, mut set) = (Numbers::default(), HashSet::new());
            for index in inserted {
                numbers.insert(MessageNumber::from_index(index).unwrap());
                set.insert(index);
            }
            for index in 0..61 {
                prop_assert_eq!(numbers.contains(MessageNumber::from_index(index).unwrap()), set.contains(&index));
            }
            prop_assert!(numbers.0.len() <= 30, "neighbours are one run");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut numbers = Numbers::default();
        for index in 0..100_000 {
            numbers.insert(MessageNumber::from_index(index * 2).unwrap());
        }
        assert_eq!(numbers.0.len(), RUNS_MAX);
    }

    #[test]
    fn what_was_refused_is_forgotten_only_where_all_of_it_is_known() {
        let number = |index| MessageNumber::from_index(index).unwrap();
        let mut refused = Refused::default();
        (0..REFUSED_MAX - 1).for_each(|index| refused.insert(number(index)));
        (0..REFUSED_MAX - 1).for_each(|index| refused.remove(number(index)));
        assert!(refused.is_empty());
        (0..REFUSED_MAX + 9).for_each(|index| refused.insert(number(index)));
        (0..REFUSED_MAX + 9).for_each(|index| refused.remove(number(index)));
        assert_eq!(refused.0.len(), REFUSED_MAX);
    }
}
