//! Reading: messages byte for byte, journal reports, search.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError};

use postern_shared::clock::UnixMillis;
use postern_shared::id::MessageId;

use super::ArchiveError;
use super::catalog::Row;
use super::index::Query;
use super::instance::Instance;
use super::message::Hit;
use super::stores::{Attached, Store};

/// Changes indexed before the index commits.
const INDEX_BATCH: usize = 500;

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

    /// Reads a message and compares it with what was archived: whoever deletes it elsewhere asks this before.
    pub fn check_message(&self, id: MessageId) -> Result<(), ArchiveError> {
        let (attached, _) = self.holder(&id.to_string())?;
        match attached.store.check_message(id)? {
            true => Ok(()),
            false => Err(ArchiveError::NoMessage(id.to_string())),
        }
    }

    /// The store that has a message.
    fn holder(&self, id: &str) -> Result<(Arc<Attached>, MessageId), ArchiveError> {
        let unknown = || ArchiveError::NoMessage(id.chars().take(64).collect());
        let id: MessageId = id.parse().map_err(|_| unknown())?;
        Ok((self.stores.with_message(id)?.ok_or_else(unknown)?, id))
    }

    /// Finds messages, newest first. Lets the indexes catch up before.
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>, ArchiveError> {
        self.catch_up(|_| ())?;
        let stores = self.stores.open_stores();
        let mut found: Vec<Row> = Vec::new();
        // Each store may have all of the page that is wanted.
        let wanted = Query { limit: query.limit.saturating_add(query.offset), offset: 0, ..query.clone() };
        let one = stores.len() == 1;
        for attached in &stores {
            let (catalog, index) = (attached.store.catalog(), attached.index()?);
            for seq in index.search(if one { query } else { &wanted })? {
                // The catalog has the last word on who may see what.
                found.extend(catalog.row(seq, query.archive.as_deref())?);
            }
        }
        if one {
            return Ok(found.into_iter().map(hit).collect());
        }
        found.sort_by_key(|row| std::cmp::Reverse(seconds(row)));
        Ok(found.into_iter().skip(query.offset).take(query.limit).map(hit).collect())
    }

    /// Indexes what was archived since; tells how many messages are done.
    pub fn catch_up(&self, mut progress: impl FnMut(u64)) -> Result<(), ArchiveError> {
        if self.is_safe() {
            // What was indexed before is found.
            return Ok(());
        }
        let mut before = 0;
        for attached in self.stores.open_stores() {
            let mut in_store = 0;
            self.catch_up_store(&attached, |done| {
                in_store = done;
                progress(before + done);
            })?;
            before += in_store;
        }
        Ok(())
    }

    fn catch_up_store(&self, attached: &Attached, mut progress: impl FnMut(u64)) -> Result<(), ArchiveError> {
        let _one = attached.catching_up.lock().unwrap_or_else(PoisonError::into_inner);
        let catalog = attached.store.catalog();
        let (index, epoch) = (attached.index()?, catalog.epoch()?);
        let watermark = index.watermark(&epoch)?;
        let last = catalog.last_change()?;
        if (watermark == 0 && last > 0) || watermark > last {
            // It followed another catalog, or this one before it was put back to an earlier day.
            index.clear()?;
        }
        let mut done = 0;
        loop {
            let changed = catalog.changed(index.watermark(&epoch)?, INDEX_BATCH)?;
            let Some((watermark, ..)) = changed.last().copied() else { return Ok(()) };
            let mut latest: HashMap<u64, MessageId> = HashMap::new();
            latest.extend(changed.iter().map(|(_, seq, id)| (*seq, *id)));
            let count = latest.len() as u64;
            let documents =
                latest.into_iter().filter_map(|(seq, id)| self.document(attached, seq, id).transpose());
            index.update(documents.collect::<Result<_, _>>()?, (&epoch, watermark))?;
            done += count;
            progress(done);
        }
    }

    /// What the index gets of a message; one that cannot be read is still found by its place and date.
    fn document(
        &self,
        attached: &Attached,
        seq: u64,
        id: MessageId,
    ) -> Result<Option<super::index::Document>, ArchiveError> {
        let Some(row) = attached.store.catalog().row(seq, None)? else { return Ok(None) };
        let fields = match attached.take_fresh(id) {
            Some(fields) => fields,
            None => self.extracted(&attached.store, id).unwrap_or_else(|error| {
                tracing::error!(id = %id, %error, "a message cannot be indexed");
                super::IndexFields::default()
            }),
        };
        let mut archives: Vec<String> =
            row.folders.iter().map(|placement| placement.archive.clone()).collect();
        archives.dedup();
        Ok(Some(super::index::Document { seq, archives, date: seconds(&row), fields }))
    }

    fn extracted(&self, store: &Store, id: MessageId) -> Result<super::IndexFields, ArchiveError> {
        let mut content = Vec::new();
        copy_content(store, id, &mut |piece| {
            // More is not looked at; see `intake::extract`.
            let room = EXTRACTED_BYTES_MAX.saturating_sub(content.len());
            content.extend_from_slice(&piece[..piece.len().min(room)]);
            Ok(())
        })?;
        let report = report_of(store, id)?;
        Ok((self.extract)(&content, report.as_deref()))
    }
}

/// A longer message is indexed by its beginning.
const EXTRACTED_BYTES_MAX: usize = 64 * 1024 * 1024;

fn copy_content(
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

/// The message's date, or when it was captured.
fn seconds(row: &Row) -> i64 {
    let captured = i64::try_from(row.received.unwrap_or(row.archived).0 / 1000).unwrap_or(i64::MAX);
    row.date.unwrap_or(captured)
}

fn hit(row: Row) -> Hit {
    let folders: Vec<String> =
        row.folders.iter().map(|placement| format!("{}/{}", placement.archive, placement.folder)).collect();
    let millis = u64::try_from(seconds(&row)).unwrap_or(0).saturating_mul(1000);
    Hit {
        id: row.id,
        date: UnixMillis(millis).rfc3339(),
        from: row.from,
        to: row.to,
        subject: row.subject,
        folder: folders.first().cloned().unwrap_or_default(),
        folders,
        size: row.bytes,
        quarantined: row.quarantined,
    }
}
