//! The last events, in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use postern_shared::clock::UnixMillis;

use super::{Event, Kind, New};

/// Events that are kept in memory, some 4 MB of them.
pub const EVENTS_MAX: usize = 20_000;
/// Events of one second that are listed one by one.
pub const EVENTS_A_SECOND: u32 = 500;

/// The last events.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    last: u64,
    /// How many of the newest are not written yet.
    unwritten: usize,
    second: u64,
    in_second: u32,
    /// Those of the present second that are not listed.
    more: u64,
}

impl Ring {
    pub(super) fn push(&mut self, now: UnixMillis, new: New) {
        self.turn(now);
        self.in_second = self.in_second.saturating_add(1);
        if self.in_second > EVENTS_A_SECOND {
            self.more += 1;
            return;
        }
        let New { kind, listener, peer, mailbox, message, bytes, result } = new;
        let listener = listener.to_owned();
        self.add(Event { sequence: 0, at: now, kind, listener, peer, mailbox, message, bytes, result });
    }

    /// Another second begins: those of the last one that were not listed are counted.
    fn turn(&mut self, now: UnixMillis) {
        let second = now.0 / 1000;
        if second == self.second {
            return;
        }
        if self.more > 0 {
            let at = UnixMillis(self.second * 1000 + 999);
            let result = format!("{} more in this second", self.more);
            let listener = String::new();
            let (peer, mailbox, message, bytes) = (None, None, None, None);
            self.add(Event {
                sequence: 0,
                at,
                kind: Kind::More,
                listener,
                peer,
                mailbox,
                message,
                bytes,
                result,
            });
        }
        (self.second, self.in_second, self.more) = (second, 0, 0);
    }

    fn add(&mut self, mut event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.last += 1;
        event.sequence = self.last;
        self.events.push_back(Arc::new(event));
        self.unwritten = (self.unwritten + 1).min(self.events.len());
    }

    /// What an earlier run has written stands before all that happened since.
    pub(super) fn remember(&mut self, events: Vec<Event>) {
        let base = events.iter().map(|event| event.sequence).max().unwrap_or(0);
        for event in &mut self.events {
            Arc::make_mut(event).sequence += base;
        }
        self.last += base;
        for event in events.into_iter().rev() {
            if self.events.len() >= EVENTS_MAX {
                break;
            }
            self.events.push_front(Arc::new(event));
        }
    }

    /// The newest events older than `before`, the newest first.
    pub(super) fn older(&self, before: Option<u64>, count: usize) -> Vec<Arc<Event>> {
        let before = before.unwrap_or(u64::MAX);
        let end = self.events.partition_point(|event| event.sequence < before);
        self.events.range(end.saturating_sub(count)..end).rev().cloned().collect()
    }

    pub(super) fn take_unwritten(&mut self, now: UnixMillis) -> Vec<Event> {
        self.turn(now);
        let from = self.events.len() - std::mem::take(&mut self.unwritten);
        self.events.range(from..).map(|event| Event::clone(event)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> UnixMillis {
        UnixMillis(1_800_000_000_000 + ms)
    }

    fn results<E: std::borrow::Borrow<Event>>(events: &[E]) -> Vec<&str> {
        events.iter().map(|event| event.borrow().result.as_str()).collect()
    }

    #[test]
    fn events_are_bounded_found_and_written_once() {
        let mut ring = Ring::default();
        for n in 0..EVENTS_MAX as u64 + 5 {
            ring.push(at(n * 10), New::of(Kind::Session, "smtp", n.to_string()));
        }
        assert_eq!(ring.events.len(), EVENTS_MAX);
        let newest = ring.older(None, 2);
        assert_eq!(results(&newest), ["20004", "20003"]);
        assert_eq!(results(&ring.older(Some(newest[1].sequence), 1)), ["20002"]);
        assert!(ring.older(Some(1), 9).is_empty());
        assert_eq!(ring.take_unwritten(at(0)).len(), EVENTS_MAX);
        assert!(ring.take_unwritten(at(0)).is_empty());
    }

    /// Goal: a flood costs a line, and is counted.
    #[test]
    fn a_flood_is_counted_in_one_line() {
        let mut ring = Ring::default();
        for n in 0..EVENTS_A_SECOND + 7 {
            ring.push(at(0), New::of(Kind::Capture, "ESMTP", n.to_string()));
        }
        let written = ring.take_unwritten(at(1000));
        assert_eq!(written.len(), EVENTS_A_SECOND as usize + 1);
        assert_eq!(written.last().unwrap().result, "7 more in this second");
        ring.push(at(1000), New::of(Kind::Capture, "ESMTP", "next"));
        assert_eq!(results(&ring.take_unwritten(at(1500))), ["next"]);
    }

    #[test]
    fn what_an_earlier_run_wrote_comes_first() {
        let mut earlier = Ring::default();
        earlier.push(at(0), New::of(Kind::Pull, "", "a"));
        earlier.push(at(1), New::of(Kind::Pull, "", "b"));
        let mut ring = Ring::default();
        ring.push(at(2), New::of(Kind::Pull, "", "c"));
        ring.remember(earlier.take_unwritten(at(1)));
        ring.push(at(3), New::of(Kind::Pull, "", "d"));
        let all = ring.older(None, 9);
        assert_eq!(results(&all), ["d", "c", "b", "a"]);
        assert_eq!(all.iter().map(|event| event.sequence).collect::<Vec<_>>(), [4, 3, 2, 1]);
        assert_eq!(results(&ring.take_unwritten(at(3))), ["c", "d"]);
    }
}
