//! Which messages of a maildrop were read: a POP3 cursor.
//!
//! ```text
//! {"seen":"<base64>"}     12 octets a message: the first of SHA-256(unique-id, zero octet, size in decimal digits)
//! ```
//!
//! A million messages take 16 MB; two of them are taken for one with a probability of 2^-57.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use postern_shared::crypto::digest::Sha256;
use postern_shared::proto::pop3::client::Listed;
use serde::{Deserialize, Serialize};

use crate::sources::{Cursor, ItemId};

type Mark = [u8; 12];

/// Messages, by their marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen(HashSet<Mark>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    seen: String,
}

impl Seen {
    /// `None` when it is no cursor of this kind.
    pub(super) fn read(cursor: &Cursor) -> Option<Self> {
        let written: Written = serde_json::from_str(&cursor.0).ok()?;
        let octets = STANDARD_NO_PAD.decode(written.seen).ok()?;
        let (marks, rest) = octets.as_chunks::<12>();
        rest.is_empty().then(|| Self(marks.iter().copied().collect()))
    }

    /// Always the same text for the same messages.
    pub(super) fn cursor(&self) -> Cursor {
        let mut marks: Vec<Mark> = self.0.iter().copied().collect();
        marks.sort_unstable();
        let seen = STANDARD_NO_PAD.encode(marks.as_flattened());
        Cursor(serde_json::to_string(&Written { seen }).unwrap_or_default())
    }

    /// Forgets those of these names that are made of a unique-id and a size.
    pub(super) fn remove(&mut self, names: &[ItemId]) {
        for name in names {
            if let Some((uidl, octets)) = name.0.split_once(' ') {
                self.0.remove(&mark_of(uidl, octets));
            }
        }
    }

    pub(super) fn has(&self, message: &Listed) -> bool {
        self.0.contains(&mark(message))
    }

    pub(super) fn add(&mut self, message: &Listed) {
        self.0.insert(mark(message));
    }

    /// Those of them that are among `messages`.
    pub(super) fn only<'m>(&self, messages: impl Iterator<Item = &'m Listed>) -> Self {
        Self(messages.map(mark).filter(|mark| self.0.contains(mark)).collect())
    }
}

fn mark(message: &Listed) -> Mark {
    mark_of(message.uidl.as_str(), &message.octets.to_string())
}

fn mark_of(uidl: &str, octets: &str) -> Mark {
    let mut hash = Sha256::new();
    hash.update(uidl.as_bytes());
    hash.update(&[0]);
    hash.update(octets.as_bytes());
    let mut mark = Mark::default();
    mark.copy_from_slice(&hash.finish().0[..12]);
    mark
}
