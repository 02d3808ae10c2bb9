//! What the spool holds, in memory: rebuilt by scanning at start, changed by the writer alone.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use postern_shared::clock::{Moment, UnixMillis};
use postern_shared::disk::DiskFile;
use postern_shared::id::{MailboxId, MessageId};

use super::layout::{Kind, RecordHeader};
use super::{Damage, Entry, Usage};

/// Where a record lies and what its header said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) received: UnixMillis,
    pub(super) served_bytes: u64,
    pub(super) sealed_bytes: u64,
    pub(super) trailer_bytes: u32,
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

impl Located {
    pub(super) fn new(header: &RecordHeader, place: Option<Place>) -> Self {
        Self {
            received: header.received,
            served_bytes: header.served_bytes,
            sealed_bytes: header.sealed_bytes,
            trailer_bytes: header.trailer_bytes,
            large: header.kind == Kind::Large,
            place,
        }
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
    pub(super) tombstones: u64,
    /// Nothing in it is needed any more, since then.
    pub(super) retired: Option<Moment>,
}

/// A file that nobody needs any more but a copy that is just being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grave {
    pub(super) since: Moment,
    pub(super) path: PathBuf,
}

/// What waits in one mailbox. Its octets are kept count of: a quota asks for them at every recipient.
#[derive(Debug, Default)]
struct Waiting {
    entries: BTreeMap<MessageId, Located>,
    served_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Catalog {
    mailboxes: HashMap<MailboxId, Waiting>,
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) graves: Vec<Grave>,
    pub(super) damage: Vec<Damage>,
}

/// Damage is reported, not collected without end.
const DAMAGE_MAX: usize = 1000;

impl Catalog {
    /// Enters a record; one that is known already moves to the new place.
    pub(super) fn insert(&mut self, mailbox: MailboxId, message: MessageId, located: Located) {
        let waiting = self.mailboxes.entry(mailbox).or_default();
        waiting.served_bytes += located.served_bytes;
        if let Some(previous) = waiting.entries.insert(message, located) {
            waiting.served_bytes = waiting.served_bytes.saturating_sub(previous.served_bytes);
            self.forget_bytes(&previous);
        }
        if let Some(segment) = located.place.and_then(|place| self.segments.get_mut(&place.segment)) {
            segment.live_bytes += located.record_bytes();
        }
    }

    pub(super) fn remove(&mut self, mailbox: MailboxId, message: MessageId) -> Option<Located> {
        let waiting = self.mailboxes.get_mut(&mailbox)?;
        let located = waiting.entries.remove(&message)?;
        waiting.served_bytes = waiting.served_bytes.saturating_sub(located.served_bytes);
        if waiting.entries.is_empty() {
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

    pub(super) fn located(&self, mailbox: MailboxId, message: MessageId) -> Option<&Located> {
        self.mailboxes.get(&mailbox)?.entries.get(&message)
    }

    pub(super) fn entries(&self, mailbox: MailboxId) -> Vec<Entry> {
        let entries = self.mailboxes.get(&mailbox).map(|waiting| &waiting.entries);
        entries.into_iter().flatten().map(|(message, located)| entry(*message, located)).collect()
    }

    pub(super) fn usage(&self, mailbox: MailboxId) -> Usage {
        self.mailboxes.get(&mailbox).map_or_else(Usage::default, |waiting| Usage {
            messages: waiting.entries.len() as u64,
            served_bytes: waiting.served_bytes,
            // Ids sort by arrival.
            oldest: waiting.entries.first_key_value().map(|(_, located)| located.received),
        })
    }

    /// Every message in a file of its own.
    pub(super) fn large(&self) -> Vec<(MailboxId, MessageId, Located)> {
        let all = self
            .mailboxes
            .iter()
            .flat_map(|(mailbox, waiting)| waiting.entries.iter().map(move |entry| (*mailbox, entry)));
        all.filter(|(_, (_, located))| located.large)
            .map(|(mailbox, (id, located))| (mailbox, *id, *located))
            .collect()
    }

    pub(super) fn newest(&self) -> Option<MessageId> {
        self.mailboxes.values().filter_map(|waiting| Some(*waiting.entries.last_key_value()?.0)).max()
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
    Entry { message, served_bytes: located.served_bytes, received: located.received }
}
