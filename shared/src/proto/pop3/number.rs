//! Message numbers and unique-ids.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// A message's number within one session, from 1 (RFC 1939 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNumber(NonZeroU32);

impl MessageNumber {
    /// The number of the message at `index` (from 0); `None` past `u32::MAX`.
    pub fn from_index(index: usize) -> Option<Self> {
        u32::try_from(index).ok()?.checked_add(1).and_then(NonZeroU32::new).map(Self)
    }

    /// The place (from 0) of the message in its listing.
    pub fn index(self) -> usize {
        // A u32 fits a usize on every machine this runs on.
        self.0.get() as usize - 1
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is no message number: decimal digits, 1 to 4,294,967,295.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message number")]
pub struct BadNumber;

impl FromStr for MessageNumber {
    type Err = BadNumber;

    fn from_str(text: &str) -> Result<Self, BadNumber> {
        decimal(text).and_then(NonZeroU32::new).map(Self).ok_or(BadNumber)
    }
}

/// A `u32` in decimal digits only: `u32::from_str` would also take `+1`.
pub(super) fn decimal(text: &str) -> Option<u32> {
    decimal_u64(text).and_then(|value| u32::try_from(value).ok())
}

/// A `u64` in decimal digits only.
pub(super) fn decimal_u64(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// What names a message across sessions: 1 to 70 characters from 0x21 to 0x7E (RFC 1939 §7, UIDL).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidlToken(Box<str>);

impl UidlToken {
    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UidlToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no unique-id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a unique-id (1 to 70 printable ASCII characters)")]
pub struct BadUidl;

impl FromStr for UidlToken {
    type Err = BadUidl;

    fn from_str(text: &str) -> Result<Self, BadUidl> {
        if (1..=70).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(BadUidl)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_digits_from_one() {
        assert_eq!("1".parse::<MessageNumber>().unwrap().index(), 0);
        assert_eq!("007".parse::<MessageNumber>().unwrap().to_string(), "7");
        assert_eq!(MessageNumber::from_index(41).unwrap().to_string(), "42");
        for text in ["", "0", "+1", "-1", "1 ", "1.0", "x", "4294967296", "99999999999999999999", "\u{0661}"]
        {
            assert!(text.parse::<MessageNumber>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn unique_ids_are_bounded_printable_ascii() {
        let longest = "~".repeat(70);
        assert_eq!(longest.parse::<UidlToken>().unwrap().as_str(), longest);
        for text in ["", "a b", "a\u{7f}", "é", "a\r", &"x".repeat(71)] {
            assert!(text.parse::<UidlToken>().is_err(), "{text:?}");
        }
    }
}
