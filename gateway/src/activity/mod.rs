//! What happened lately: sessions, captures, pulls, refusals. Only what is visible outside the seal: time, listener, peer,
//! mailbox, size, result; no address of a person, no subject, no content.
//!
//! It is process-wide, as the log and the metrics are: whoever does something says so with [`activity()`].
//!
//! - The last [`EVENTS_MAX`] events are in memory, in the order in which they came, to be searched at once. What is older
//!   stands in the files only: a search that reads files would take as long as they are, and its time could be chosen by
//!   whoever asks.
//! - `activity/activity.jsonl` in the data directory takes them once a second, an object a line, not synced: this is no
//!   evidence (the trace in each message is), and must cost intake next to nothing. At 16 MiB another file is begun, eight
//!   closed ones are kept. At start the end of the last file is read back, so that a restart does not forget the day.
//! - More than [`EVENTS_A_SECOND`] of one second are not listed one by one, but in one line that counts them.
//! - Telling it delays no `250`. Behind a message that is on disk it costs two short locks and no disk, file or channel
//!   (about a microsecond, where a sync takes hundreds): [`Activity::tell`] puts the event into the ring, and when that is
//!   full the oldest goes, so there is no queue to be full. Whoever reads (a search, the writer) holds the ring only while
//!   copying: 256 events of a search, what is unwritten of the last second (some 500). A disk that hangs holds the writer's
//!   thread and nobody else; what it has not written by the time the ring has gone round is missing in the file.
//! - Each mailbox has its pulse: messages of each of the last 24 hours, last delivery, last pull. That counts everything.
//!
//! Not here: counters for monitoring systems (`monitoring`), who may see it (`console`).

mod file;
mod pulse;
mod ring;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use postern_shared::clock::UnixMillis;
use postern_shared::id::{MailboxId, MessageId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use file::{ActivityFile, keep};
pub use pulse::{HOURS, Pulse};
use ring::Ring;
pub use ring::{EVENTS_A_SECOND, EVENTS_MAX};

/// Events that are taken out of the ring at once to be searched.
const SEARCHED_AT_ONCE: usize = 256;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A session of a listener ended.
    Session,
    /// A message was stored.
    Capture,
    /// An archiver opened a mailbox.
    Pull,
    /// An archiver deleted what it has.
    Delete,
    /// A sender or a login was refused.
    Refusal,
    /// More of them than are listed one by one.
    More,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows with each event.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub at: UnixMillis,
    /// What kind.
    pub kind: Kind,
    /// The listener, like `smtp`; of a capture the protocol, like `ESMTPS`.
    pub listener: String,
    /// The other side's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub peer: Option<IpAddr>,
    /// Which mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub mailbox: Option<MailboxId>,
    /// Which message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub message: Option<MessageId>,
    /// Octets that serving it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What came of it.
    pub result: String,
}

/// An event to be told; what does not apply stays out.
#[derive(Debug, Clone)]
pub struct New {
    /// What kind.
    pub kind: Kind,
    /// The listener or protocol.
    pub listener: &'static str,
    /// The other side.
    pub peer: Option<IpAddr>,
    /// Which mailbox.
    pub mailbox: Option<MailboxId>,
    /// Which message.
    pub message: Option<MessageId>,
    /// How long it is.
    pub bytes: Option<u64>,
    /// What came of it.
    pub result: String,
}

impl New {
    /// An event of `kind` at `listener` with that result.
    pub fn of(kind: Kind, listener: &'static str, result: impl Into<String>) -> Self {
        let result = result.into();
        Self { kind, listener, peer: None, mailbox: None, message: None, bytes: None, result }
    }

    /// From there.
    #[must_use]
    pub fn from(self, peer: IpAddr) -> Self {
        Self { peer: Some(peer.to_canonical()), ..self }
    }

    /// About that mailbox.
    #[must_use]
    pub fn about(self, mailbox: MailboxId) -> Self {
        Self { mailbox: Some(mailbox), ..self }
    }

    /// That message.
    #[must_use]
    pub fn message(self, message: MessageId, bytes: u64) -> Self {
        Self { message: Some(message), bytes: Some(bytes), ..self }
    }
}

/// Everything that happened lately.
#[derive(Debug, Default)]
pub struct Activity {
    ring: Mutex<Ring>,
    pulses: Mutex<HashMap<MailboxId, Pulse>>,
}

static ACTIVITY: LazyLock<Activity> = LazyLock::new(Activity::default);

/// This process's activity.
pub fn activity() -> &'static Activity {
    &ACTIVITY
}

impl Activity {
    /// Something happened.
    pub fn tell(&self, now: UnixMillis, new: New) {
        if let Some(mailbox) = new.mailbox {
            let mut pulses = lock(&self.pulses);
            let pulse = pulses.entry(mailbox).or_default();
            match new.kind {
                Kind::Capture => pulse.delivered(now, 1),
                Kind::Pull => pulse.pulled(now),
                _ => {}
            }
        }
        lock(&self.ring).push(now, new);
    }

    /// A mailbox's pulse.
    pub fn pulse(&self, mailbox: MailboxId) -> Pulse {
        lock(&self.pulses).get(&mailbox).cloned().unwrap_or_default()
    }

    /// Forgets the pulses of mailboxes that are gone.
    pub fn retain(&self, mailboxes: &BTreeSet<MailboxId>) {
        lock(&self.pulses).retain(|mailbox, _| mailboxes.contains(mailbox));
    }

    /// Events that `which` is true of, the newest first, older than `before`, at most `limit`.
    pub fn search(
        &self,
        before: Option<u64>,
        limit: usize,
        mut which: impl FnMut(&Event) -> bool,
    ) -> Vec<Event> {
        let (mut before, mut found) = (before, Vec::new());
        // Piece by piece: whoever has something to tell must not wait until all of it is searched.
        loop {
            let piece = lock(&self.ring).older(before, SEARCHED_AT_ONCE);
            let Some(oldest) = piece.last() else { return found };
            before = Some(oldest.sequence);
            let wanted = piece.into_iter().filter(|event| which(event)).take(limit - found.len());
            found.extend(wanted.map(Arc::unwrap_or_clone));
            if found.len() >= limit {
                return found;
            }
        }
    }

    /// What an earlier run has written, in its order.
    fn remember(&self, events: Vec<Event>) {
        let mut pulses = lock(&self.pulses);
        for event in &events {
            let Some(mailbox) = event.mailbox else { continue };
            match event.kind {
                Kind::Capture => pulses.entry(mailbox).or_default().delivered(event.at, 1),
                Kind::Pull => pulses.entry(mailbox).or_default().pulled(event.at),
                _ => {}
            }
        }
        drop(pulses);
        lock(&self.ring).remember(events);
    }

    /// What has not been written yet.
    fn unwritten(&self, now: UnixMillis) -> Vec<Event> {
        lock(&self.ring).take_unwritten(now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a search finds what is there across pieces, the newest first, and tells where to go on.
    #[test]
    fn a_search_goes_through_all_of_it() {
        let activity = Activity::default();
        for n in 0..1000u64 {
            let result = if n % 100 == 0 { "refused" } else { "stored" };
            activity.tell(UnixMillis(n * 1000), New::of(Kind::Capture, "ESMTP", result));
        }
        let refused = |before, limit| {
            let found = activity.search(before, limit, |event| event.result == "refused");
            found.iter().map(|event| event.sequence).collect::<Vec<_>>()
        };
        assert_eq!(refused(None, 3), [901, 801, 701]);
        assert_eq!(refused(Some(701), 100), [601, 501, 401, 301, 201, 101, 1]);
        assert!(refused(Some(1), 100).is_empty());
    }

    /// Goal: a disk that hangs delays nobody who has something to tell, and costs no more memory.
    /// Method: nobody takes what is unwritten, as when the writer's thread hangs; a queue in between would fill, and either
    /// block here or grow.
    #[test]
    fn nobody_waits_for_a_writer_that_hangs() {
        let (activity, mailbox) = (Activity::default(), MailboxId::random());
        let told = 3 * EVENTS_MAX as u64;
        let at = |n: u64| UnixMillis(1_800_000_000_000 + n * 10);
        for n in 0..told {
            activity.tell(at(n), New::of(Kind::Capture, "ESMTP", "stored").about(mailbox));
        }
        let counted: u32 = activity.pulse(mailbox).hours(at(told)).iter().sum();
        assert_eq!(u64::from(counted), told, "the pulse counts everything");
        let newest = activity.search(None, 1, |_| true);
        assert_eq!(newest[0].sequence, told);
        assert_eq!(activity.unwritten(at(told)).len(), EVENTS_MAX, "the oldest have made room");
    }

    #[test]
    fn a_mailbox_has_its_pulse_until_it_is_gone() {
        let (activity, mailbox) = (Activity::default(), MailboxId::random());
        let now = UnixMillis(1_800_000_000_000);
        activity.tell(now, New::of(Kind::Capture, "ESMTP", "stored").about(mailbox));
        activity.tell(now, New::of(Kind::Pull, "pop3", "opened").about(mailbox));
        let pulse = activity.pulse(mailbox);
        assert_eq!((pulse.last_delivery, pulse.last_pull, pulse.hours(now)[23]), (Some(now), Some(now), 1));
        activity.retain(&BTreeSet::new());
        assert_eq!(activity.pulse(mailbox), Pulse::default());
    }
}
