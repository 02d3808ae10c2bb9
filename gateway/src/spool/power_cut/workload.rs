//! Random work on a spool.

use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, ManualClock};
use postern_shared::crypto::seal::Sealed;
use postern_shared::disk::simulated::Dice;
use postern_shared::id::{MailboxId, MessageId};

use super::ledger::{Fate, Key, Ledger, Message};
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
    keys: Vec<Key>,
    stores: bool,
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
                let _ = spool.sweep();
            }
            let mut under_way: Vec<Job> =
                (0..jobs).filter_map(|_| self.hand_over(spool, ledger, powered)).collect();
            spool.step();
            for Job { keys, stores, receipt } in under_way.drain(..) {
                let result = receipt.wait().map_err(|_| ());
                ledger.answered(&keys, stores, result, powered());
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
        while let Some(Job { keys, stores, receipt }) = self.delete(spool, ledger) {
            spool.step();
            ledger.answered(&keys, stores, receipt.wait().map_err(|_| ()), powered());
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
        let mut batch = Vec::new();
        let mut keys = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let key = self.new_message(ledger);
            keys.push(key);
            match self.record(spool, key, &ledger.messages[&key]) {
                Ok(record) => batch.push(record),
                Err(_) => {
                    drop(batch);
                    ledger.answered(&keys, true, Err(()), powered());
                    return None;
                }
            }
        }
        Some(Job { keys, stores: true, receipt: spool.append(batch) })
    }

    fn delete(&mut self, spool: &SegmentSpool, ledger: &mut Ledger) -> Option<Job> {
        let stored = ledger.stored();
        let (mailbox, _) = *stored.get(self.dice.index(stored.len()))?;
        let mut keys: Vec<Key> = stored.into_iter().filter(|key| key.0 == mailbox).collect();
        keys.truncate(1 + self.dice.index(4));
        for key in &keys {
            // Nobody deletes it a second time before this is answered.
            ledger.messages.get_mut(key).expect("it is stored").fate = Fate::InDoubt;
        }
        let ids: Vec<MessageId> = keys.iter().map(|(_, message)| *message).collect();
        Some(Job { receipt: spool.delete(mailbox, &ids), keys, stores: false })
    }

    fn new_message(&mut self, ledger: &mut Ledger) -> Key {
        self.messages += 1;
        let mailbox = MailboxId::from_bytes((1 + self.dice.below(MAILBOXES)).to_be_bytes());
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.messages.to_be_bytes());
        let len = [0, 60, 700, 3000, 5000][self.dice.index(5)] + self.dice.index(500);
        let mut filling = self.dice.clone();
        let body = (0..len).map(|_| filling.roll().to_be_bytes()[0]).collect();
        let key = (mailbox, MessageId::from_bytes(id));
        let (received, served_bytes) = (self.clock.wall(), self.messages * 1000);
        ledger.messages.insert(key, Message { body, received, served_bytes, fate: Fate::InDoubt });
        key
    }

    fn record(
        &mut self,
        spool: &SegmentSpool,
        (mailbox, message): Key,
        new: &Message,
    ) -> Result<NewRecord, SpoolError> {
        let Message { received, served_bytes, .. } = *new;
        let sealed = Sealed { served_bytes, trailer_bytes: 7 };
        let body = if self.dice.once_in(3) {
            let mut file = spool.large_file(mailbox, message)?;
            for piece in new.body.chunks(1500) {
                file.write(&[piece])?;
            }
            file.finish(mailbox, message, received, sealed, false)?;
            NewBody::Large(file)
        } else {
            NewBody::inline(vec![new.body.clone()])
        };
        Ok(NewRecord { mailbox, message, received, sealed, body, prepared: false })
    }
}
