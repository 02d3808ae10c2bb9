//! What was promised.

use std::collections::BTreeMap;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::seal::ReadSealed;
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::mime::trace::UNCONFIRMED;

use crate::spool::Spool;

pub(super) type Key = (MailboxId, MessageId);

/// What must be found of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was acknowledged, or confirmed.
    Stored,
    /// It was prepared, and nobody is left to decide on it.
    Unconfirmed,
    /// It was prepared, and waits for a decision. A spool that is opened anew finds it unconfirmed.
    Undecided,
    /// Its deletion was acknowledged, or it was refused.
    Absent,
    /// The power went before an answer came: any of these.
    InDoubt(&'static [Fate]),
}

/// What a job does to its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Store,
    Prepare,
    Confirm,
    Delete,
}

impl Deed {
    fn done(self) -> Fate {
        match self {
            Self::Store | Self::Confirm => Fate::Stored,
            Self::Prepare => Fate::Undecided,
            Self::Delete => Fate::Absent,
        }
    }

    /// What may be found when nobody knows whether it was done to a message that was `before`.
    pub(super) fn doubt(self, before: Fate) -> Fate {
        use Fate::{Absent, InDoubt, Stored, Unconfirmed};
        match (self, before) {
            (Self::Store, _) | (Self::Delete, Stored) => InDoubt(&[Absent, Stored]),
            (Self::Confirm, _) => InDoubt(&[Unconfirmed, Stored]),
            (Self::Prepare | Self::Delete, _) => InDoubt(&[Absent, Unconfirmed]),
        }
    }
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
    /// What came of a job with messages that were `before`.
    pub(super) fn answered(
        &mut self,
        keys: &[(Key, Fate)],
        deed: Deed,
        result: Result<(), ()>,
        powered: bool,
    ) {
        for (key, before) in keys {
            let Some(message) = self.messages.get_mut(key) else { continue };
            message.fate = match result {
                Ok(()) => deed.done(),
                // What was refused did not happen.
                Err(()) if powered => *before,
                Err(()) => deed.doubt(*before),
            };
        }
        if result.is_err() && !powered {
            self.records_under_way += keys.len();
        }
    }

    /// The group that is being written is a sweep's, of any number of records.
    pub(super) fn moving_when_power_is_lost(&mut self) {
        self.records_under_way = usize::MAX / 2;
    }

    pub(super) fn power_is_lost(&mut self) {
        self.power_lost = true;
    }

    pub(super) fn lost_power_is_noted(&self) -> bool {
        self.power_lost || self.messages.is_empty()
    }

    /// What has one of these fates, in order of arrival.
    pub(super) fn all(&self, fates: &[Fate]) -> Vec<Key> {
        let all = self.messages.iter().filter(|(_, message)| fates.contains(&message.fate));
        all.map(|(key, _)| *key).collect()
    }

    /// Compares with what `spool`, opened anew, serves. What was in doubt must stay as it is found.
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
            let entry = found.remove(key);
            let is = match entry {
                None => Fate::Absent,
                Some(entry) if entry.unconfirmed => Fate::Unconfirmed,
                Some(_) => Fate::Stored,
            };
            let right = match message.fate {
                Fate::InDoubt(fates) => fates.contains(&is),
                Fate::Undecided => is == Fate::Unconfirmed,
                fate => is == fate,
            };
            assert!(right, "{context}: {key:?} is {is:?}, and should be {:?}", message.fate);
            message.fate = is;
            let Some(entry) = entry else { continue };
            let field_bytes = if entry.unconfirmed { UNCONFIRMED.len() as u64 } else { 0 };
            let listed = (entry.received, entry.served_bytes - field_bytes);
            assert_eq!(listed, (message.received, message.served_bytes));
            let body = spool.open(key.0, key.1).unwrap_or_else(|error| panic!("{context}: {error}"));
            let mut bytes = vec![0; usize::try_from(body.expected().sealed_bytes).unwrap()];
            body.read_exact_at(&mut bytes, 0).unwrap_or_else(|error| panic!("{context}: {key:?}: {error}"));
            assert!(bytes == message.body, "{context}: {key:?} is served, but not as it was stored");
        }
        assert!(found.is_empty(), "{context}: nobody stored {found:?}");
        // Of a group that was being written a later record may be whole and an earlier one torn: that looks like damage.
        if self.records_under_way < 2 {
            assert_eq!(spool.damage(), [], "{context}");
        }
    }
}
