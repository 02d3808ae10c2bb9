//! Telling the log lines of one session from those of the others.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use postern_shared::crypto::random;

/// Eight hexadecimal digits: counted up from a random start, so that the ids of two runs are unlikely to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(u32);

impl SessionId {
    /// Another one than all before.
    pub fn next() -> Self {
        static START: OnceLock<u32> = OnceLock::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let start = START.get_or_init(|| u32::from_be_bytes(random()));
        Self(start.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_short() {
        let (one, two) = (SessionId::next(), SessionId::next());
        assert_ne!(one, two);
        assert_eq!(one.to_string().len(), 8);
    }
}
