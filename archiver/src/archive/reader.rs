//! Reading: messages byte for byte, and journal reports.

use std::io;
use std::sync::Arc;

use postern_shared::id::MessageId;

use super::ArchiveError;
use super::instance::Instance;
use super::message::Kept;
use super::stores::{Attached, Store};

impl Instance {
    /// A message, byte for byte.
    #[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "of these it is one itself"))]
    pub fn message(&self, id: &str) -> Result<Vec<u8>, ArchiveError> {
        let mut content = Vec::new();
        self.copy_message(id, &mut |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(content)
    }

    /// Hands a message on, byte for byte, stretch by stretch. What was handed on counts only when this returns `Ok`: damage in
    /// a later stretch is found when it is reached.
    pub fn copy_message(
        &self,
        id: &str,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ArchiveError> {
        let (attached, id) = self.holder(id)?;
        copy_content(&attached.store, id, take)
    }

    /// The journal report it came in first, byte for byte.
    pub fn report(&self, id: &str) -> Result<Vec<u8>, ArchiveError> {
        let (attached, id) = self.holder(id)?;
        report_of(&attached.store, id)?.ok_or_else(|| ArchiveError::NoReport(id.to_string()))
    }

    /// Reads what the archive relies on for a message that arrived, its content and the journal report that it came in, and compares it with
    /// what arrived: whoever deletes it elsewhere asks this before.
    pub fn check_arrival(&self, kept: &Kept) -> Result<(), ArchiveError> {
        let (attached, _) = self.holder(&kept.id.to_string())?;
        match attached.store.check_arrival(kept)? {
            true => Ok(()),
            false => Err(ArchiveError::NoMessage(kept.id.to_string())),
        }
    }

    /// The store that has a message.
    fn holder(&self, id: &str) -> Result<(Arc<Attached>, MessageId), ArchiveError> {
        let unknown = || ArchiveError::NoMessage(id.chars().take(64).collect());
        let id: MessageId = id.parse().map_err(|_| unknown())?;
        Ok((self.stores.with_message(id)?.ok_or_else(unknown)?, id))
    }
}

pub(super) fn copy_content(
    store: &Store,
    id: MessageId,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ArchiveError> {
    let opened = store.opened(id)?.ok_or_else(|| ArchiveError::NoMessage(id.to_string()))?;
    store.copy_content(&opened, take)
}

fn report_of(store: &Store, id: MessageId) -> Result<Option<Vec<u8>>, ArchiveError> {
    let opened = store.opened(id)?.ok_or_else(|| ArchiveError::NoMessage(id.to_string()))?;
    let mut report = Vec::new();
    let found = store.copy_report(&opened, &mut |piece| {
        report.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(found.then_some(report))
}
