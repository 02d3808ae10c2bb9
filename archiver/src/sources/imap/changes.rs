//! Where a folder was read to, and the next page: values only.
//!
//! A cursor is JSON, opaque to everybody else:
//!
//! ```text
//! {"validity":9,"uid":812,"modseq":5311}                        read up to UID 812, flags as of 5311
//! {"validity":9,"uid":812,"modseq":5311,"sweep":[400,6000,790]} flags as of 6000 are told up to UID 400, of those up to 790
//! ```
//!
//! New messages come first: a server whose CHANGEDSINCE is broken hides none. Their flags come with them, so that flags are
//! then told of those before them only.
//!
//! A page is asked for by a window of UIDs and keeps the lowest that come, up to a bound: whatever a window brings, and in
//! whatever order, memory is bounded and nothing is passed over. Messages are numbered without gaps, so what a server leaves out
//! of its answer, because it cannot describe it, shows in the numbers of the others.

use std::collections::BTreeMap;

use postern_shared::proto::imap::{Fetch, Uid, UidSet};
use serde::{Deserialize, Serialize};

use crate::sources::{Cursor, ItemId};

/// How far a folder was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// UIDVALIDITY.
    pub(super) validity: Uid,
    /// All messages up to this UID were told of.
    pub(super) uid: u32,
    /// And their flags as of this modification sequence; 0 when the server keeps none.
    #[serde(default)]
    pub(super) modseq: u64,
    /// Flags as of the second are told up to the UID that is the first, of messages up to the third.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sweep: Option<(u32, u64, u32)>,
}

/// A folder as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) validity: Uid,
    /// `None` when the server does not tell.
    pub(super) uid_next: Option<Uid>,
    /// 0 when the server keeps none.
    pub(super) modseq: u64,
}

/// What to ask for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// New messages, from the first to the last of these UIDs.
    New(u32, u32),
    /// Changed flags of these, since that modification sequence.
    Changed(u32, u32, u64),
    /// Nothing is left.
    Nothing,
}

impl Position {
    pub(super) fn start(state: &State) -> Self {
        Self { validity: state.validity, uid: 0, modseq: state.modseq, sweep: None }
    }

    /// From a cursor; why it is of no use when it is not.
    pub(super) fn read(cursor: &Cursor, state: &State) -> Result<Self, String> {
        let position: Self = serde_json::from_str(&cursor.0)
            .map_err(|_| "the cursor of the last run is no cursor".to_owned())?;
        let (then, validity) = (position.validity, state.validity);
        if then != validity {
            return Err(format!(
                "the server numbered its messages anew (UIDVALIDITY was {then}, is {validity})"
            ));
        }
        // Everything below UIDNEXT is read at most, and it never falls (RFC 3501 §2.3.1.1), but where a folder was put back.
        if let Some(next) = state.uid_next.filter(|next| next.get() <= position.uid) {
            let read = position.uid;
            return Err(format!(
                "the server gives numbers out again (UIDNEXT went back from {} or more to {next})",
                u64::from(read) + 1
            ));
        }
        Ok(position)
    }

    pub(super) fn cursor(&self) -> Cursor {
        // Numbers only: there is nothing that could fail.
        Cursor(serde_json::to_string(self).unwrap_or_default())
    }

    /// What to ask for, of a window so wide.
    pub(super) fn next(&self, state: &State, width: u32) -> Next {
        let last = state.uid_next.map_or(u32::MAX, |next| next.get() - 1);
        if self.uid < last {
            return Next::New(self.uid + 1, self.uid.saturating_add(width).min(last));
        }
        let (told, as_of, of) = self.sweep.unwrap_or((0, state.modseq, self.uid));
        if as_of > self.modseq && told < of {
            return Next::Changed(told + 1, told.saturating_add(width).min(of), self.modseq);
        }
        Next::Nothing
    }

    /// Everything up to that UID was told of.
    pub(super) fn read_to(&mut self, uid: u32, state: &State) {
        if uid > self.uid && self.sweep.is_none() && state.modseq > self.modseq {
            match self.uid {
                // None whose flags could have changed.
                0 => self.modseq = state.modseq,
                before => self.sweep = Some((0, state.modseq, before)),
            }
        }
        self.uid = self.uid.max(uid);
    }

    /// Changed flags up to that UID were told.
    pub(super) fn swept_to(&mut self, uid: u32, state: &State) {
        let (_, as_of, of) = self.sweep.unwrap_or((0, state.modseq, self.uid));
        if uid >= of {
            self.modseq = self.modseq.max(as_of);
            self.sweep = None;
        } else {
            self.sweep = Some((uid, as_of, of));
        }
    }

    /// A folder that is as it was has no changes.
    pub(super) fn is_at(&self, state: &State) -> bool {
        self.validity == state.validity && self.next(state, 1) == Next::Nothing
    }
}

/// The lowest UIDs of a window, up to a bound.
#[derive(Debug)]
pub(super) struct Page {
    max: usize,
    first: u32,
    last: u32,
    kept: BTreeMap<Uid, Fetch>,
    /// Whether anything was left out, all of it behind what was kept.
    cut: bool,
}

impl Page {
    pub(super) fn new(max: usize, first: u32, last: u32) -> Self {
        Self { max: max.max(1), first, last, kept: BTreeMap::new(), cut: false }
    }

    /// One of the answers. `5:*` brings the last message even when it is before 5 (RFC 3501 §6.4.8).
    pub(super) fn take(&mut self, fetch: Fetch) {
        let Some(uid) = fetch.uid.filter(|uid| (self.first..=self.last).contains(&uid.get())) else { return };
        let known = self.kept.entry(uid).or_default();
        // Flags may be told once more while the answers come.
        *known = Fetch {
            number: fetch.number,
            uid: Some(uid),
            flags: fetch.flags.or(known.flags.take()),
            internal_date: fetch.internal_date.or(known.internal_date),
            size: fetch.size.or(known.size),
            modseq: fetch.modseq.or(known.modseq),
            body: None,
        };
        if self.kept.len() > self.max {
            self.kept.pop_last();
            self.cut = true;
        }
    }

    /// A message that did not come, and is there.
    pub(super) fn add(&mut self, uid: Uid) {
        if !self.kept.contains_key(&uid) {
            self.take(Fetch { uid: Some(uid), ..Fetch::default() });
        }
    }

    /// The number of the last message in it, where `before` is that of the last one before it; `None` unless one follows the other.
    pub(super) fn number(&self, before: Option<u32>) -> Option<u32> {
        self.kept.values().try_fold(before?, |before, fetch| {
            let number = before.checked_add(1)?;
            (fetch.number == number).then_some(number)
        })
    }

    /// The number that the server gave to the last one.
    pub(super) fn last_number(&self) -> Option<u32> {
        self.kept.last_key_value().map(|(_, fetch)| fetch.number).filter(|number| *number != 0)
    }

    /// Up to which UID everything is in it.
    pub(super) fn complete_to(&self) -> u32 {
        match self.kept.last_key_value() {
            Some((uid, _)) if self.cut => uid.get(),
            _ => self.last,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    pub(super) fn into_messages(self) -> impl Iterator<Item = (Uid, Fetch)> {
        self.kept.into_iter()
    }
}

/// Those of `uids` that are not above `last`.
pub(super) fn up_to(uids: &UidSet, last: u32) -> UidSet {
    let ranges = uids.ranges().iter().filter(|range| *range.start() <= last);
    let text: Vec<String> =
        ranges.map(|range| format!("{}:{}", range.start(), range.end().min(&last))).collect();
    UidSet::parse(&text.join(",")).unwrap_or_default()
}

/// What names a message of a folder: the folder's UIDVALIDITY and its UID.
pub(super) fn id_of(validity: Uid, uid: Uid) -> ItemId {
    ItemId(format!("{validity}/{uid}"))
}

/// The UIDVALIDITY and UID that a name is made of.
pub(crate) fn uid_of(id: &ItemId) -> Option<(u32, Uid)> {
    let (validity, uid) = id.0.split_once('/')?;
    Some((validity.parse().ok()?, uid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uid(number: u32) -> Uid {
        Uid::new(number).unwrap()
    }

    fn state(uid_next: u32, modseq: u64) -> State {
        State { validity: uid(9), uid_next: Uid::new(uid_next), modseq }
    }

    #[test]
    fn a_cursor_survives_writing_and_tells_when_it_cannot_be_used() {
        let mut position = Position::start(&state(100, 5));
        position.read_to(99, &state(100, 5));
        assert_eq!(position.cursor().0, r#"{"validity":9,"uid":99,"modseq":5}"#);
        position.swept_to(40, &state(100, 7));
        assert_eq!(position.cursor().0, r#"{"validity":9,"uid":99,"modseq":5,"sweep":[40,7,99]}"#);
        assert_eq!(Position::read(&position.cursor(), &state(100, 7)), Ok(position));
        let other = State { validity: uid(8), ..state(100, 7) };
        assert!(Position::read(&position.cursor(), &other).unwrap_err().contains("UIDVALIDITY was 9, is 8"));
        for text in ["", "x", "{}", r#"{"validity":0,"uid":1}"#, r#"{"validity":9,"uid":-1}"#] {
            assert!(Position::read(&Cursor(text.into()), &state(100, 7)).is_err(), "{text}");
        }
    }

    /// Goal: UIDs that are given out again are noticed, whether or not the server tells UIDNEXT.
    #[test]
    fn a_uidnext_that_goes_back_begins_anew() {
        let position = Position { validity: uid(9), uid: 99, modseq: 5, sweep: None };
        let read = |uid_next| Position::read(&position.cursor(), &state(uid_next, 5));
        assert!(read(90).unwrap_err().contains("UIDNEXT went back from 100 or more to 90"));
        assert!(read(99).is_err() && read(100).is_ok() && read(101).is_ok() && read(0).is_ok());
    }

    #[test]
    fn new_messages_come_first_then_changed_flags_then_nothing() {
        let now = state(21, 8);
        let mut position = Position { validity: uid(9), uid: 10, modseq: 5, sweep: None };
        assert!(!position.is_at(&now));
        assert_eq!(position.next(&now, 6), Next::New(11, 16));
        position.read_to(16, &now);
        assert_eq!(position.next(&now, 6), Next::New(17, 20));
        position.read_to(20, &now);
        // Of those that were there before only; and as after a crash.
        position = Position::read(&position.cursor(), &now).unwrap();
        assert_eq!(position.next(&now, 6), Next::Changed(1, 6, 5));
        position.swept_to(6, &now);
        // Between two pages more flags change: they are told by the next sweep.
        assert_eq!(position.next(&state(21, 9), 6), Next::Changed(7, 10, 5));
        position.swept_to(10, &state(21, 9));
        assert_eq!(position.modseq, 8);
        assert!(position.is_at(&now) && !position.is_at(&state(21, 9)) && !position.is_at(&state(22, 8)));
        assert_eq!(position.next(&state(21, 9), 99), Next::Changed(1, 20, 8));
        assert!(position.is_at(&state(21, 0)), "a server that keeps none any more");
        assert_eq!(position.next(&state(0, 8), u32::MAX), Next::New(21, u32::MAX), "UIDNEXT is not told");
        let mut empty = Position { uid: 0, ..position };
        assert_eq!(empty.next(&state(1, 90), 9), Next::Nothing, "a folder without messages");
        empty.read_to(4, &state(5, 90));
        assert!(empty.is_at(&state(5, 90)), "the flags of its first messages came with them");
    }

    /// Goal: what is left out of a page shows in the numbers of the others, wherever it stood.
    #[test]
    fn numbers_tell_what_is_left_out() {
        let page = |numbers: &[u32]| {
            let mut page = Page::new(9, 1, 99);
            for number in numbers {
                page.take(Fetch { number: *number, uid: Uid::new(number + 10), ..Fetch::default() });
            }
            page
        };
        assert_eq!(page(&[1, 2, 3]).number(Some(0)), Some(3));
        assert_eq!(page(&[]).number(Some(3)), Some(3));
        assert_eq!(page(&[5]).number(Some(4)), Some(5));
        for (numbers, before) in [(&[1, 3][..], Some(0)), (&[2, 3], Some(0)), (&[1], None), (&[], None)] {
            assert_eq!(page(numbers).number(before), None, "{numbers:?}");
        }
        let mut found = page(&[1, 3]);
        found.add(uid(12));
        found.add(uid(13));
        let told: Vec<_> = found.into_messages().map(|(uid, fetch)| (uid.get(), fetch.number)).collect();
        assert_eq!(told, [(11, 1), (12, 0), (13, 3)]);
    }

    #[test]
    fn what_vanished_is_told_up_to_the_pages_end() {
        let set = UidSet::parse("1:5,7,9:12").unwrap();
        assert_eq!(up_to(&set, 10).to_string(), "1:5,7,9:10");
        assert!(up_to(&set, 0).is_empty());
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!(uid_of(&id_of(uid(7), uid(3))), Some((7, uid(3))));
        for text in ["", "7", "7/", "7/0", "/3", "7/3/1"] {
            assert_eq!(uid_of(&ItemId(text.into())), None, "{text}");
        }
    }

    proptest! {
        /// Goal: pages of any width and bound tell of every message once, lowest first, whatever order answers come in.
        #[test]
        fn pages_pass_nothing_over(
            uids in proptest::collection::btree_set(1..500_u32, 0..200),
            width in 1..300_u32, max in 1..50_usize, mix in any::<u64>(),
        ) {
            let now = state(500, 0);
            let mut position = Position::start(&now);
            let mut told = Vec::new();
            while let Next::New(first, last) = position.next(&now, width) {
                let mut page = Page::new(max, first, last);
                let mut answers: Vec<u32> = uids.range(first..=last).copied().collect();
                answers.sort_by_key(|uid| u64::from(*uid).wrapping_mul(mix | 1));
                // The last message comes though it is not asked for.
                answers.extend(uids.last().copied().filter(|_| mix % 2 == 0));
                answers.into_iter().for_each(|number| page.take(Fetch { uid: Uid::new(number), ..Fetch::default() }));
                prop_assert!(page.len() <= max);
                position.read_to(page.complete_to(), &now);
                told.extend(page.into_messages().map(|(uid, _)| uid.get()));
                // As after a crash.
                position = Position::read(&position.cursor(), &now).unwrap();
            }
            prop_assert_eq!(told, uids.into_iter().collect::<Vec<_>>());
        }
    }
}
