//! Whose archives a message is in.

use std::collections::BTreeSet;

use postern_shared::id::MessageId;

use super::ArchiveError;
use super::instance::Instance;

impl Instance {
    /// The archives that hold a message; an error when there is no such message.
    pub(crate) fn archives_of(&self, id: &str) -> Result<BTreeSet<String>, ArchiveError> {
        let unknown = || ArchiveError::NoMessage(id.chars().take(64).collect());
        let message: MessageId = id.parse().map_err(|_| unknown())?;
        let mut archives = BTreeSet::new();
        let mut is_here = false;
        for attached in self.stores.open_stores() {
            let known = self.stores.asked(&attached, attached.store.catalog().known(message))?;
            let Some(known) = known.flatten() else { continue };
            is_here = true;
            archives.extend(known.placements.into_iter().map(|placement| placement.archive));
        }
        if is_here { Ok(archives) } else { Err(unknown()) }
    }
}
