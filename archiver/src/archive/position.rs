//! How far the logs of an archive are, in a word that others keep, and whether it is still the archive that said so.

use postern_shared::crypto::digest::Digest;

use super::{ArchiveError, Instance};

impl Instance {
    /// How far the logs of the stores are: `0001:812:<hex of leaf 811>`, one behind the other.
    pub(crate) fn position(&self) -> Result<String, ArchiveError> {
        let mut words = Vec::new();
        for attached in self.stores.open_stores() {
            let count = attached.store.leaves();
            if let Some(last) = count.checked_sub(1)
                && let Some(leaf) = attached.store.leaf(last)?
            {
                words.push(format!("{}:{count}:{}", attached.store.id, hex::encode(leaf.0)));
            }
        }
        Ok(words.join(" "))
    }

    /// Whether the archive holds all that it held when it said that of itself. A store that is known and not open is believed.
    pub(crate) fn holds(&self, position: &str) -> Result<bool, ArchiveError> {
        let shown = self.stores.shown()?;
        let open = self.stores.open_stores();
        for word in position.split_whitespace() {
            let Some((id, last, leaf)) = parsed(word) else { return Ok(false) };
            match open.iter().find(|attached| attached.store.id == id) {
                // What lies behind the count was written by a commit that was never acknowledged.
                Some(attached) if last >= attached.store.leaves() => return Ok(false),
                Some(attached) if attached.store.leaf(last)? != Some(leaf) => return Ok(false),
                Some(_) => {}
                None if shown.iter().any(|shown| shown.id == id) => {}
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// A store, the number of its last leaf, and that leaf.
fn parsed(word: &str) -> Option<(&str, u64, Digest)> {
    let (id, rest) = word.split_once(':')?;
    let (count, leaf) = rest.split_once(':')?;
    let leaf: [u8; 32] = hex::decode(leaf).ok()?.try_into().ok()?;
    Some((id, count.parse::<u64>().ok()?.checked_sub(1)?, Digest(leaf)))
}
