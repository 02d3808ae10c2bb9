//! The two ids that travel through the whole gateway: a mailbox's and a message's.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;

/// A journal mailbox: 64 random bits, written `mbx-dead1234beef5678`.
///
/// The id is also the local part of the mailbox's address, so it is compared without regard to case and
/// cannot hold anything that SMTP or a file name would have to quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailboxId(u64);

impl MailboxId {
    /// A fresh id from the system's random numbers.
    pub fn random() -> Self {
        Self(u64::from_be_bytes(crate::crypto::random()))
    }

    /// The eight bytes stored in records, most significant first.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The id those eight bytes stand for.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mbx-{:016x}", self.0)
    }
}

/// The text is no id of the expected shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct BadId {
    text: String,
    expected: &'static str,
}

impl FromStr for MailboxId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId {
            text: text.chars().take(64).collect(),
            expected: "a mailbox id (mbx- and 16 hexadecimal digits)",
        };
        let (prefix, digits) = text.split_at_checked(4).ok_or_else(bad)?;
        if !prefix.eq_ignore_ascii_case("mbx-")
            || digits.len() != 16
            || !digits.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(bad());
        }
        u64::from_str_radix(digits, 16).map(Self).map_err(|_| bad())
    }
}

impl TryFrom<String> for MailboxId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<MailboxId> for String {
    fn from(id: MailboxId) -> Self {
        id.to_string()
    }
}

/// A message: a ULID, so ids sort by arrival and are unique without asking anybody.
///
/// Its 26 characters are the message's POP3 unique-id (RFC 1939 §7: 1 to 70 characters in 0x21..0x7E).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(u128);

impl MessageId {
    /// The sixteen bytes stored in records, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id those sixteen bytes stand for.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ulid::Ulid(self.0).fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        ulid::Ulid::from_string(text).map(|ulid| Self(ulid.0)).map_err(|_| BadId {
            text: text.chars().take(64).collect(),
            expected: "a message id (26 characters, a ULID)",
        })
    }
}

impl TryFrom<String> for MessageId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> Self {
        id.to_string()
    }
}

/// Hands out message ids that only ever grow, also when the wall clock is set back.
#[derive(Debug, Default)]
pub struct MessageIds {
    last: Mutex<u128>,
}

impl MessageIds {
    /// The next id, for a message that arrived `now`.
    pub fn next(&self, now: UnixMillis) -> MessageId {
        let random = u128::from_be_bytes(crate::crypto::random());
        let fresh = (u128::from(now.0) << 80) | (random >> 48);
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // By chance, not by one: after a restart with a clock that lags, the ids of messages deleted since the last that
        // is stored would be given again, to messages that their tombstones then speak of.
        *last = if fresh > *last { fresh } else { *last + 1 + (random >> 64) };
        MessageId(*last)
    }

    /// Makes every later id greater than `id`; called for what an earlier run stored.
    pub fn at_least(&self, id: MessageId) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = (*last).max(id.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailbox_ids_are_read_in_any_case_and_written_in_lower() {
        let id: MailboxId = "MBX-DEAD1234beef5678".parse().unwrap();
        assert_eq!(id.to_string(), "mbx-dead1234beef5678");
        assert_eq!(MailboxId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn what_is_no_mailbox_id_is_refused() {
        for text in [
            "",
            "mbx-",
            "mbx-dead1234beef567",
            "mbx-dead1234beef56789",
            "mbx-+ead1234beef5678",
            "mbé-dead1234beef5678",
        ] {
            assert!(text.parse::<MailboxId>().is_err(), "{text}");
        }
    }

    /// Goal: UIDLs sort by arrival even when the clock is set back an hour.
    #[test]
    fn message_ids_only_grow() {
        let ids = MessageIds::default();
        let first = ids.next(UnixMillis(3_600_000));
        let second = ids.next(UnixMillis(0));
        assert!(second > first);
        assert_eq!(first.to_string().parse::<MessageId>().unwrap(), first);
        assert_eq!(first.to_string().len(), 26);
    }

    /// Goal: an id whose message was deleted is not given again, for its tombstone would delete the new message.
    /// Method: the clock is set back; a second message comes, is fetched and deleted; the gateway restarts and finds the
    /// first one only.
    #[test]
    fn a_restart_with_a_lagging_clock_gives_no_id_again() {
        let ids = MessageIds::default();
        let kept = ids.next(UnixMillis(3_600_000));
        let deleted = ids.next(UnixMillis(0));
        let ids = MessageIds::default();
        ids.at_least(kept);
        assert_ne!(ids.next(UnixMillis(0)), deleted);
    }
}
