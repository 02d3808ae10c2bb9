//! What was promised.

use std::collections::BTreeMap;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::seal::ReadSealed;
use postern_shared::id::{MailboxId, MessageId};

use crate::spool::Spool;

pub(super) type Key = (MailboxId, MessageId);

/// What must be found of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was acknowledged.
    Stored,
    /// Its deletion was acknowledged, or it was refused.
    Absent,
    /// The power went before an answer came.
    InDoubt,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) body: Vec<u8>,
    pub(super) received: UnixMillis,
    pub(super) served_bytes: u64,
    pub(super) fate: Fate,
}

/// All messages there ever were.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) messages: BTreeMap<Key, Message>,
    /// The power went while something was under way, or nothing was.
    power_lost: bool,
    /// Records of the group that was being written then.
    records_under_way: usize,
}

impl Ledger {
    /// What came of a job that stores (`stored`) or deletes those messages.
    pub(super) fn answered(&mut self, keys: &[Key], stores: bool, result: Result<(), ()>, powered: bool) {
        let fate = match (result, powered) {
            (Ok(()), _) if stores => Fate::Stored,
            (Ok(()), _) => Fate::Absent,
            (Err(()), true) if stores => Fate::Absent,
            // A deletion that was refused did not happen.
            (Err(()), true) => Fate::Stored,
            (Err(()), false) => Fate::InDoubt,
        };
        if fate == Fate::InDoubt {
            self.records_under_way += keys.len();
        }
        for key in keys {
            if let Some(message) = self.messages.get_mut(key) {
                message.fate = fate;
            }
        }
    }

    pub(super) fn power_is_lost(&mut self) {
        self.power_lost = true;
    }

    pub(super) fn lost_power_is_noted(&self) -> bool {
        self.power_lost || self.messages.is_empty()
    }

    /// What waits for certain, in order of arrival.
    pub(super) fn stored(&self) -> Vec<Key> {
        self.messages
            .iter()
            .filter(|(_, message)| message.fate == Fate::Stored)
            .map(|(key, _)| *key)
            .collect()
    }

    /// Compares with what `spool` serves. What was in doubt must stay as it is found.
    pub(super) fn check(&mut self, spool: &dyn Spool, context: &str) {
        let mailboxes: std::collections::BTreeSet<_> =
            self.messages.keys().map(|(mailbox, _)| *mailbox).collect();
        let mut found = BTreeMap::new();
        for mailbox in mailboxes {
            for entry in spool.entries(mailbox) {
                let twice = found.insert((mailbox, entry.message), entry).is_some();
                assert!(!twice, "{context}: {} is listed twice", entry.message);
            }
        }
        for (key, message) in &mut self.messages {
            match (found.remove(key), message.fate) {
                (None, Fate::Stored) => panic!("{context}: {key:?} was acknowledged and is lost"),
                (Some(_), Fate::Absent) => panic!("{context}: {key:?} was deleted or refused and is back"),
                (None, _) => message.fate = Fate::Absent,
                (Some(entry), _) => {
                    assert_eq!(
                        (entry.received, entry.served_bytes),
                        (message.received, message.served_bytes)
                    );
                    let body = spool.open(key.0, key.1).unwrap_or_else(|error| panic!("{context}: {error}"));
                    let mut bytes = vec![0; usize::try_from(body.expected().sealed_bytes).unwrap()];
                    body.read_exact_at(&mut bytes, 0)
                        .unwrap_or_else(|error| panic!("{context}: {key:?}: {error}"));
                    assert!(bytes == message.body, "{context}: {key:?} is served, but not as it was stored");
                    message.fate = Fate::Stored;
                }
            }
        }
        assert!(found.is_empty(), "{context}: nobody stored {found:?}");
        // Of a group that was being written a later record may be whole and an earlier one torn: that looks like damage.
        if self.records_under_way < 2 {
            assert_eq!(spool.damage(), [], "{context}");
        }
    }
}
