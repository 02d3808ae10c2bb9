//! How much of the messages on their way may lie in memory, all sessions together.
//!
//! A message of a few chunks is quicker in memory until it is committed. When many such messages come at once, those
//! that find no room go to files of their own, as long messages do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What whole sealed chunks of all sessions may take.
pub(crate) const MEMORY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is left.
#[derive(Debug, Clone)]
pub struct Memory(Arc<AtomicUsize>);

/// What one message took; given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    from: Option<Memory>,
    bytes: usize,
}

impl Memory {
    /// So much is left.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }
}

impl Share {
    /// Takes as much as is missing to `bytes`; `false` when there is not enough, and nothing is taken.
    pub(crate) fn grow_to(&mut self, memory: &Memory, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let taken = memory
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(more))
            .is_ok();
        if taken {
            self.bytes += more;
            self.from = Some(memory.clone());
        }
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(memory) = &self.from {
            memory.0.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_and_given_back() {
        let memory = Memory::new(100);
        let (mut first, mut second) = (Share::default(), Share::default());
        assert!(first.grow_to(&memory, 60));
        assert!(first.grow_to(&memory, 60), "it has that already");
        assert!(!second.grow_to(&memory, 41));
        assert!(second.grow_to(&memory, 40));
        drop(first);
        assert!(second.grow_to(&memory, 100));
    }
}
