//! What a source of the archiver hands over, kept in memory.

use std::io;

use postern_archiver::sources::account::{Item, Sink};
use postern_archiver::sources::{ItemId, NotFetched};

/// What came, in order.
#[derive(Debug, Default)]
pub struct Kept {
    begun: Vec<u8>,
    /// Whole messages.
    pub whole: Vec<(Item, Vec<u8>)>,
    /// What did not come, and why.
    pub missing: Vec<(ItemId, NotFetched)>,
}

impl Sink for Kept {
    async fn begins(&mut self, _octets: u64) -> io::Result<()> {
        self.begun.clear();
        Ok(())
    }

    async fn piece(&mut self, octets: &[u8]) -> io::Result<()> {
        self.begun.extend_from_slice(octets);
        Ok(())
    }

    async fn ends(&mut self, item: Item) -> io::Result<()> {
        assert_eq!(item.octets, self.begun.len() as u64, "{item:?}");
        self.whole.push((item, std::mem::take(&mut self.begun)));
        Ok(())
    }

    async fn missing(&mut self, id: ItemId, why: NotFetched) -> io::Result<()> {
        self.missing.push((id, why));
        Ok(())
    }
}

impl Kept {
    /// The contents, sorted.
    pub fn contents(&self) -> Vec<Vec<u8>> {
        sorted(self.whole.iter().map(|(_, content)| content.clone()).collect())
    }

    /// Why things are missing, sorted.
    pub fn whys(&self) -> Vec<String> {
        sorted(self.missing.iter().map(|(_, why)| why.to_string()).collect())
    }
}

/// The same in order.
pub fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}
