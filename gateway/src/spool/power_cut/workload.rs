//! Random work on a spool.

use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, ManualClock};
use postern_shared::crypto::seal::Sealed;
use postern_shared::disk::simulated::Dice;
use postern_shared::id::{MailboxId, MessageId};

use super::ledger::{Deed, Fate, Key, Ledger, Message};
use crate::spool::{NewBody, NewRecord, Receipt, SegmentSpool, Spool, SpoolError};

const MAILBOXES: u64 = 3;

/// Whether jobs are handed over singly or several at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    OneByOne,
    InGroups,
}

/// A job that was handed over.
struct Job {
    deed: Deed,
    /// And what they were before.
    keys: Vec<(Key, Fate)>,
    receipt: Receipt,
}

/// Random work; the same for the same seed.
pub(super) struct Workload {
    dice: Dice,
    clock: Arc<ManualClock>,
    messages: u64,
}

impl Workload {
    pub(super) fn new(seed: u64, clock: Arc<ManualClock>) -> Self {
        Self { dice: Dice::new(seed), clock, messages: 0 }
    }

    /// Does `steps` things, or as many as there is power for, and notes in `ledger` what came of them.
    pub(super) fn run(
        &mut self,
        spool: &SegmentSpool,
        pace: Pace,
        steps: usize,
        ledger: &mut Ledger,
        powered: &dyn Fn() -> bool,
    ) {
        for _ in 0..steps {
            let jobs = match pace {
                Pace::OneByOne => 1,
                Pace::InGroups => 1 + self.dice.below(4),
            };
            if self.dice.once_in(6) {
                self.clock.advance(Duration::from_secs(self.dice.below(100)));
                // It may fail; what it must not do shows in the end.
                if spool.sweep().is_err() && !powered() {
                    ledger.moving_when_power_is_lost();
                }
            }
            let mut under_way: Vec<Job> =
                (0..jobs).filter_map(|_| self.hand_over(spool, ledger, powered)).collect();
            spool.step();
            for Job { deed, keys, receipt } in under_way.drain(..) {
                let result = receipt.wait().map_err(|_| ());
                ledger.answered(&keys, deed, result, powered());
            }
            if !powered() {
                return ledger.power_is_lost();
            }
        }
    }

    /// Deletes whatever is there.
    pub(super) fn delete_everything(
        &mut self,
        spool: &SegmentSpool,
        ledger: &mut Ledger,
        powered: &dyn Fn() -> bool,
    ) {
        while let Some(Job { deed, keys, receipt }) = self.delete(spool, ledger) {
            spool.step();
            ledger.answered(&keys, deed, receipt.wait().map_err(|_| ()), powered());
        }
    }

    fn hand_over(
        &mut self,
        spool: &SegmentSpool,
        ledger: &mut Ledger,
        powered: &dyn Fn() -> bool,
    ) -> Option<Job> {
        if self.dice.once_in(3) {
            return self.delete(spool, ledger);
        }
        if self.dice.once_in(3) {
            return self.decide(spool, ledger);
        }
        let deed = if self.dice.once_in(2) { Deed::Prepare } else { Deed::Store };
        let mut batch = Vec::new();
        let mut keys = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let key = self.new_message(deed, ledger);
            keys.push((key, Fate::Absent));
            match self.record(spool, key, &ledger.messages[&key], deed == Deed::Prepare) {
                Ok(record) => batch.push(record),
                Err(_) => {
                    drop(batch);
                    ledger.answered(&keys, deed, Err(()), powered());
                    return None;
                }
            }
        }
        Some(Job { deed, keys, receipt: spool.append(batch) })
    }

    fn decide(&mut self, spool: &SegmentSpool, ledger: &mut Ledger) -> Option<Job> {
        let undecided = ledger.all(&[Fate::Undecided]);
        let key = *undecided.get(self.dice.index(undecided.len()))?;
        let message = ledger.messages.get_mut(&key).expect("it is prepared");
        if self.dice.once_in(4) {
            spool.keep_unconfirmed(key.0, key.1);
            message.fate = Fate::Unconfirmed;
            return None;
        }
        // Nobody decides a second time before this is answered.
        message.fate = Fate::InDoubt(&[]);
        let receipt = spool.confirm(key.0, key.1);
        Some(Job { deed: Deed::Confirm, keys: vec![(key, Fate::Undecided)], receipt })
    }

    fn delete(&mut self, spool: &SegmentSpool, ledger: &mut Ledger) -> Option<Job> {
        let there = ledger.all(&[Fate::Stored, Fate::Unconfirmed, Fate::Undecided]);
        let (mailbox, _) = *there.get(self.dice.index(there.len()))?;
        let mut keys: Vec<Key> = there.into_iter().filter(|key| key.0 == mailbox).collect();
        keys.truncate(1 + self.dice.index(4));
        let ids: Vec<MessageId> = keys.iter().map(|(_, message)| *message).collect();
        let doomed = keys.into_iter().map(|key| {
            let fate = &mut ledger.messages.get_mut(&key).expect("it is there").fate;
            // Nobody deletes it a second time before this is answered.
            (key, std::mem::replace(fate, Fate::InDoubt(&[])))
        });
        let keys = doomed.collect();
        Some(Job { deed: Deed::Delete, keys, receipt: spool.delete(mailbox, &ids) })
    }

    fn new_message(&mut self, deed: Deed, ledger: &mut Ledger) -> Key {
        self.messages += 1;
        let mailbox = MailboxId::from_bytes((1 + self.dice.below(MAILBOXES)).to_be_bytes());
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.messages.to_be_bytes());
        let len = [0, 60, 700, 3000, 5000][self.dice.index(5)] + self.dice.index(500);
        let mut filling = self.dice.clone();
        let body = (0..len).map(|_| filling.roll().to_be_bytes()[0]).collect();
        let key = (mailbox, MessageId::from_bytes(id));
        let (received, served_bytes) = (self.clock.wall(), self.messages * 1000);
        // Should the power go before it is handed over.
        let fate = deed.doubt(Fate::Absent);
        ledger.messages.insert(key, Message { body, received, served_bytes, fate });
        key
    }

    fn record(
        &mut self,
        spool: &SegmentSpool,
        (mailbox, message): Key,
        new: &Message,
        prepared: bool,
    ) -> Result<NewRecord, SpoolError> {
        let Message { received, served_bytes, .. } = *new;
        let sealed = Sealed { served_bytes, trailer_bytes: 7 };
        let body = if self.dice.once_in(3) {
            let mut file = spool.large_file(mailbox, message)?;
            for piece in new.body.chunks(1500) {
                file.write(&[piece])?;
            }
            file.finish(mailbox, message, received, sealed, prepared)?;
            NewBody::Large(file)
        } else {
            NewBody::inline(vec![new.body.clone()])
        };
        Ok(NewRecord { mailbox, message, received, sealed, body, prepared })
    }
}
