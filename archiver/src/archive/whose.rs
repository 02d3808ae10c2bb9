//! Whose archives a message is in.

use std::collections::BTreeSet;

use postern_shared::id::MessageId;

use super::ArchiveError;
use super::instance::Instance;

impl Instance {
    /// The archives that hold a message; an error when there is no such message, or when it may be in a store whose catalog is damaged.
    pub(crate) fn archives_of(&self, id: &str) -> Result<BTreeSet<String>, ArchiveError> {
        let unknown = || ArchiveError::NoMessage(id.chars().take(64).collect());
        let message: MessageId = id.parse().map_err(|_| unknown())?;
        let mut archives = BTreeSet::new();
        let (mut is_here, mut failed) = (false, None);
        for attached in self.stores.open_stores() {
            match attached.store.catalog().known(message) {
                Ok(Some(known)) => {
                    is_here = true;
                    archives.extend(known.placements.into_iter().map(|placement| placement.archive));
                }
                Ok(None) => {}
                // Another store may have it.
                Err(error) => {
                    attached.store.catalog_failed(&error);
                    failed = Some(error);
                }
            }
        }
        match (is_here, failed) {
            (true, _) => Ok(archives),
            (false, None) => Err(unknown()),
            (false, Some(error)) => Err(error.into()),
        }
    }
}
