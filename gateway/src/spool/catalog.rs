//! What the spool holds, in memory: rebuilt by scanning at start, changed by the writer alone.
//!
//! Copies that are prepared and undecided are in it as well, for their octets hold their segment and they can be deleted;
//! but nobody is shown them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use postern_shared::clock::{Moment, UnixMillis};
use postern_shared::disk::DiskFile;
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::mime::trace;

use super::layout::{Kind, RecordHeader};
use super::{Damage, Entry, Usage};

/// Where a record lies and what its header said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) received: UnixMillis,
    pub(super) served_bytes: u64,
    pub(super) sealed_bytes: u64,
    pub(super) trailer_bytes: u32,
    pub(super) standing: Standing,
    /// The message is in a file of its own; the record only refers to it.
    pub(super) large: bool,
    pub(super) place: Option<Place>,
}

/// A record's place; `None` for an adopted large file, which no record refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What is known of a message; it only ever rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Undecided: whoever prepared it will say.
    Prepared,
    /// Undecided, and nobody is left to say.
    Unconfirmed,
    Committed,
}

impl Located {
    /// As its writer enters it.
    pub(super) fn new(header: &RecordHeader, place: Option<Place>) -> Self {
        let standing = if header.prepared { Standing::Prepared } else { Standing::Committed };
        Self {
            received: header.received,
            served_bytes: header.served_bytes,
            sealed_bytes: header.sealed_bytes,
            trailer_bytes: header.trailer_bytes,
            standing,
            large: header.kind == Kind::Large,
            place,
        }
    }

    /// As a scan enters it: whoever prepared it is gone.
    pub(super) fn found(header: &RecordHeader, place: Option<Place>, committed: bool) -> Self {
        let found = Self::new(header, place);
        let least = if committed { Standing::Committed } else { Standing::Unconfirmed };
        Self { standing: found.standing.max(least), ..found }
    }

    fn is_served(&self) -> bool {
        self.standing != Standing::Prepared
    }

    fn is_unconfirmed(&self) -> bool {
        self.standing == Standing::Unconfirmed
    }

    /// With the field that an unconfirmed message is served with.
    fn listed_bytes(&self) -> u64 {
        let field_bytes = if self.is_unconfirmed() { trace::UNCONFIRMED.len() as u64 } else { 0 };
        self.served_bytes.saturating_add(field_bytes)
    }

    fn record_bytes(&self) -> u64 {
        super::layout::RECORD_HEADER_BYTES as u64 + if self.large { 0 } else { self.sealed_bytes }
    }
}

/// A segment as the spool knows it.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
    /// Octets that count.
    pub(super) bytes: u64,
    /// Octets of records that are still served.
    pub(super) live_bytes: u64,
    /// Records that say something of messages in older segments, maybe: tombstones, and that they are committed.
    pub(super) notes: u64,
    /// Nothing in it is needed any more, since then.
    pub(super) retired: Option<Moment>,
}

/// A file that nobody needs any more but a copy that is just being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grave {
    pub(super) since: Moment,
    pub(super) path: PathBuf,
}

/// What is in one mailbox. What of it waits is kept count of: a quota asks for it at every recipient.
#[derive(Debug, Default)]
struct Held {
    entries: BTreeMap<MessageId, Located>,
    served: u64,
    unconfirmed: u64,
    /// Wraps around when headers tell nonsense, and back.
    served_bytes: u64,
}

impl Held {
    /// Enters a message; returns what was known of it. Its standing never sinks.
    fn put(&mut self, message: MessageId, located: Located) -> Option<Located> {
        let previous = self.entries.insert(message, located);
        match previous {
            None => self.count(&located),
            Some(known) => {
                let standing = known.standing.max(located.standing);
                self.discount(&known);
                self.count(&Located { standing, ..located });
                self.entries.insert(message, Located { standing, ..located });
            }
        }
        previous
    }

    fn take(&mut self, message: MessageId) -> Option<Located> {
        let located = self.entries.remove(&message)?;
        self.discount(&located);
        Some(located)
    }

    fn count(&mut self, located: &Located) {
        if located.is_served() {
            self.served += 1;
            self.unconfirmed += u64::from(located.is_unconfirmed());
            self.served_bytes = self.served_bytes.wrapping_add(located.listed_bytes());
        }
    }

    fn discount(&mut self, located: &Located) {
        if located.is_served() {
            self.served -= 1;
            self.unconfirmed -= u64::from(located.is_unconfirmed());
            self.served_bytes = self.served_bytes.wrapping_sub(located.listed_bytes());
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Catalog {
    mailboxes: HashMap<MailboxId, Held>,
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) graves: Vec<Grave>,
    pub(super) damage: Vec<Damage>,
}

/// Damage is reported, not collected without end.
const DAMAGE_MAX: usize = 1000;

impl Catalog {
    /// Enters a record; one that is known already moves to the new place.
    pub(super) fn insert(&mut self, mailbox: MailboxId, message: MessageId, located: Located) {
        let held = self.mailboxes.entry(mailbox).or_default();
        if let Some(previous) = held.put(message, located) {
            self.forget_bytes(&previous);
        }
        if let Some(segment) = located.place.and_then(|place| self.segments.get_mut(&place.segment)) {
            segment.live_bytes += located.record_bytes();
        }
    }

    /// Raises a message's standing, when it is there.
    pub(super) fn raise(&mut self, mailbox: MailboxId, message: MessageId, standing: Standing) {
        let Some(held) = self.mailboxes.get_mut(&mailbox) else { return };
        if let Some(located) = held.entries.get(&message).copied() {
            held.put(message, Located { standing, ..located });
        }
    }

    pub(super) fn remove(&mut self, mailbox: MailboxId, message: MessageId) -> Option<Located> {
        let held = self.mailboxes.get_mut(&mailbox)?;
        let located = held.take(message)?;
        if held.entries.is_empty() {
            self.mailboxes.remove(&mailbox);
        }
        self.forget_bytes(&located);
        Some(located)
    }

    fn forget_bytes(&mut self, located: &Located) {
        if let Some(segment) = located.place.and_then(|place| self.segments.get_mut(&place.segment)) {
            segment.live_bytes = segment.live_bytes.saturating_sub(located.record_bytes());
        }
    }

    /// Where a message is, undecided or not.
    pub(super) fn located(&self, mailbox: MailboxId, message: MessageId) -> Option<&Located> {
        self.mailboxes.get(&mailbox)?.entries.get(&message)
    }

    /// Where a message is that waits.
    pub(super) fn served(&self, mailbox: MailboxId, message: MessageId) -> Option<&Located> {
        self.located(mailbox, message).filter(|located| located.is_served())
    }

    pub(super) fn entries(&self, mailbox: MailboxId) -> Vec<Entry> {
        let entries = self.mailboxes.get(&mailbox).map(|held| &held.entries);
        let served = entries.into_iter().flatten().filter(|(_, located)| located.is_served());
        served.map(|(message, located)| entry(*message, located)).collect()
    }

    pub(super) fn usage(&self, mailbox: MailboxId) -> Usage {
        self.mailboxes.get(&mailbox).map_or_else(Usage::default, |held| Usage {
            messages: held.served,
            served_bytes: held.served_bytes,
            // Ids sort by arrival.
            oldest: held.entries.values().find(|located| located.is_served()).map(|located| located.received),
            unconfirmed: held.unconfirmed,
            undecided: held.entries.len() as u64 - held.served,
        })
    }

    /// Every message in a file of its own.
    pub(super) fn large(&self) -> Vec<(MailboxId, MessageId, Located)> {
        let all = self
            .mailboxes
            .iter()
            .flat_map(|(mailbox, held)| held.entries.iter().map(move |entry| (*mailbox, entry)));
        all.filter(|(_, (_, located))| located.large)
            .map(|(mailbox, (id, located))| (mailbox, *id, *located))
            .collect()
    }

    pub(super) fn newest(&self) -> Option<MessageId> {
        self.mailboxes.values().filter_map(|held| Some(*held.entries.last_key_value()?.0)).max()
    }

    /// Keeps the finding for `doctor` and logs it.
    pub(super) fn report(&mut self, damage: Damage) {
        tracing::error!(path = %damage.path.display(), offset = damage.offset, what = %damage.what, "the spool is damaged");
        if self.damage.len() < DAMAGE_MAX && !self.damage.contains(&damage) {
            self.damage.push(damage);
        }
    }
}

fn entry(message: MessageId, located: &Located) -> Entry {
    Entry {
        message,
        served_bytes: located.listed_bytes(),
        received: located.received,
        unconfirmed: located.is_unconfirmed(),
    }
}
