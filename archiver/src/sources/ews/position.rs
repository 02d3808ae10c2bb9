//! Where a folder was read to: values only.
//!
//! A cursor is JSON, opaque to everybody else. Of a folder in a mailbox or its archive, and of a public folder:
//!
//! ```text
//! {"sync":"H4sI…","stamp":{"commit":"2026-01-02T03:04:05Z","deleted":7},"total":9,"asked":1767323045000}
//! {"scan":7046029254386353131,"seen":"<base64>"}        12 octets an item: the first of SHA-256(its name)
//! {"seen":"<base64>","stamp":…,"total":…,"asked":…}
//! ```
//!
//! `sync` is the server's own state. `stamp`, `total` and `asked` are there when the folder was read to its end: what it showed
//! *before* that, and when. While it shows the same, there is nothing to ask for.
//!
//! Public folders cannot be synchronised, so each item is named: what another client inserts or removes while pages are read
//! hides nothing for good. A million items take 16 MB in a cursor and some 30 MB while they are read; two of them are taken for
//! one with a probability of 2^-57. While a folder is read a cursor is written when an eighth more is known than the last one
//! says, or 100,000 items: all cursors of a folder of a million items together take ten times the last one. `scan` tells that one
//! from those of other readings.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::sha256;
use serde::{Deserialize, Serialize};

use super::soap::Stamp;
use crate::sources::Cursor;

/// Items that are in no cursor yet, at most and about.
const UNWRITTEN_MAX: usize = 100_000;

/// How far a folder was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scan: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sync: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<UnixMillis>,
}

/// What a list of folders told of one.
pub(super) type Shown = (Stamp, Option<u64>);

impl Position {
    /// From a cursor; why it is of no use when it is not.
    pub(super) fn read(cursor: &Cursor) -> Result<Self, String> {
        let position = serde_json::from_str(&cursor.0).ok();
        let position = position.filter(|position: &Self| position.sync.is_some() || position.seen.is_some());
        position.ok_or_else(|| "the cursor of the last run is no cursor".to_owned())
    }

    pub(super) fn cursor(&self) -> Cursor {
        // Texts and numbers only: there is nothing that could fail.
        Cursor(serde_json::to_string(self).unwrap_or_default())
    }

    /// The folder was read to its end, and showed this before.
    pub(super) fn ends(&mut self, shown: Option<Shown>, now: UnixMillis) {
        // A server that tells no times could change anything unnoticed.
        let shown = shown.filter(|(stamp, _)| !stamp.commit.is_empty());
        self.asked = shown.as_ref().map(|_| now);
        (self.stamp, self.total) = shown.map_or((None, None), |(stamp, total)| (Some(stamp), total));
    }

    /// Whether the folder shows what it showed when it was read to its end, not longer ago than `believe`.
    pub(super) fn is_at(&self, shown: &Shown, now: UnixMillis, believe: Duration) -> bool {
        let fresh = self.asked.is_some_and(|asked| asked <= now && now.since(asked) < believe);
        fresh && self.stamp.as_ref() == Some(&shown.0) && self.total == shown.1
    }
}

/// Items, by their marks; and whether they were listed since this was read or made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    marks: HashMap<[u8; 12], bool>,
    /// How many no cursor names yet.
    unwritten: usize,
}

impl Seen {
    /// `None` when it is no such text.
    pub(super) fn read(text: &str) -> Option<Self> {
        let octets = STANDARD_NO_PAD.decode(text).ok()?;
        let (marks, rest) = octets.as_chunks::<12>();
        let marks = marks.iter().map(|mark| (*mark, false)).collect();
        rest.is_empty().then_some(Self { marks, unwritten: 0 })
    }

    /// All of them. Always the same text for the same items.
    pub(super) fn write(&mut self) -> String {
        self.unwritten = 0;
        text(self.marks.keys().copied().collect())
    }

    /// Those that were listed.
    pub(super) fn write_listed(&self) -> String {
        text(self.marks.iter().filter(|(_, listed)| **listed).map(|(mark, _)| *mark).collect())
    }

    /// Whether so many are in no cursor that it is worth to write one.
    pub(super) fn is_due(&self) -> bool {
        self.unwritten.saturating_mul(8) >= self.marks.len() || self.unwritten >= UNWRITTEN_MAX
    }

    /// One is listed; whether it was not known yet.
    pub(super) fn list(&mut self, name: &str) -> bool {
        let known = self.marks.insert(mark(name), true).is_some();
        self.unwritten += usize::from(!known);
        !known
    }
}

fn text(mut marks: Vec<[u8; 12]>) -> String {
    marks.sort_unstable();
    STANDARD_NO_PAD.encode(marks.as_flattened())
}

fn mark(id: &str) -> [u8; 12] {
    let mut mark = [0; 12];
    let hash = sha256(id.as_bytes());
    mark.copy_from_slice(&hash.0[..12]);
    mark
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_folder_that_shows_no_change_is_believed_for_a_while() {
        let shown = |commit: &str, deleted| (Stamp { commit: commit.into(), deleted }, Some(3));
        let day = Duration::from_secs(24 * 3600);
        let then = UnixMillis(1_000_000_000_000);
        let mut position = Position { sync: Some("H4sI".into()), ..Position::default() };
        assert!(!position.is_at(&shown("a", 1), then, day), "not read to its end");
        position.ends(Some(shown("a", 1)), then);
        let position = Position::read(&position.cursor()).unwrap();
        assert!(position.is_at(&shown("a", 1), then.plus(day / 2), day));
        assert!(!position.is_at(&shown("b", 1), then.plus(day / 2), day));
        assert!(!position.is_at(&shown("a", 2), then.plus(day / 2), day));
        assert!(!position.is_at(&(shown("a", 1).0, Some(4)), then.plus(day / 2), day));
        assert!(!position.is_at(&shown("a", 1), then.plus(day), day), "too long ago");
        assert!(!position.is_at(&shown("a", 1), UnixMillis(5), day), "a clock set back");
        let mut silent = position.clone();
        silent.ends(Some((Stamp::default(), Some(3))), then);
        assert!(!silent.is_at(&(Stamp::default(), Some(3)), then, day), "the server tells no times");
        for text in ["", "x", "[]", r#"{"validity":9}"#] {
            assert!(Position::read(&Cursor(text.into())).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn items_that_were_seen_survive_writing(ids in proptest::collection::hash_set("[A-Za-z0-9+/=]{1,40}", 0..40)) {
            let mut seen = Seen::default();
            for id in &ids {
                prop_assert!(seen.list(id) && !seen.list(id));
            }
            let whole = seen.write();
            prop_assert_eq!(&seen.write_listed(), &whole);
            let mut read = Seen::read(&whole).unwrap();
            prop_assert_eq!(read.write_listed(), "", "none was listed since");
            prop_assert!(ids.iter().all(|id| !read.list(id)));
            prop_assert_eq!(read.write_listed(), whole);
            prop_assert!(read.list("another one"));
        }
    }

    /// Goal: what is written of a folder while it is read grows with the folder, and not with its square.
    #[test]
    fn cursors_are_written_seldom() {
        let (mut seen, mut written, mut last) = (Seen::default(), 0, 0);
        for page in 0..500 {
            (0..100).for_each(|item| assert!(seen.list(&format!("{page} {item}"))));
            if seen.is_due() {
                last = seen.write().len();
                written += last;
            }
        }
        let whole = seen.write().len();
        assert!(written < 11 * whole && last * 9 > whole * 7, "{written} {last} {whole}");
    }
}
