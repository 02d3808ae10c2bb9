//! Reading: messages byte for byte, journal reports, search.

use std::collections::HashMap;
use std::sync::PoisonError;

use postern_shared::clock::UnixMillis;
use postern_shared::id::MessageId;

use super::ArchiveError;
use super::catalog::Row;
use super::index::Query;
use super::instance::Instance;
use super::message::{Evidence, Hit};
use super::store::manifest::{Encoding, EvidenceParts, Manifest};
use super::store::{ObjectId, ObjectStore};

/// Messages indexed before the index commits.
const INDEX_BATCH: usize = 500;

impl Instance {
    /// A message, byte for byte.
    pub fn message(&self, id: &str) -> Result<Vec<u8>, ArchiveError> {
        let (manifest, _) = self.manifest(id)?;
        self.content(&manifest)
    }

    /// The journal report it came in first, byte for byte.
    pub fn report(&self, id: &str) -> Result<Vec<u8>, ArchiveError> {
        let (manifest, id) = self.manifest(id)?;
        let content = self.content(&manifest)?;
        self.report_of(&manifest, &content)?.ok_or_else(|| ArchiveError::NoReport(id.to_string()))
    }

    fn manifest(&self, id: &str) -> Result<(Manifest, MessageId), ArchiveError> {
        let unknown = || ArchiveError::NoMessage(id.chars().take(64).collect());
        let id: MessageId = id.parse().map_err(|_| unknown())?;
        let place = self.catalog.manifest(id)?.ok_or_else(unknown)?;
        let bytes = self.objects(|objects| {
            // A manifest's object id is in its header alone.
            objects.read_any(place)
        })?;
        let manifest =
            serde_json::from_slice(&bytes).map_err(|error| ArchiveError::Index(error.to_string()))?;
        Ok((manifest, id))
    }

    fn objects<R>(
        &self,
        read: impl FnOnce(&ObjectStore) -> Result<R, super::StoreError>,
    ) -> Result<R, ArchiveError> {
        let writing = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(read(&writing.objects)?)
    }

    fn object(&self, id: ObjectId) -> Result<Vec<u8>, ArchiveError> {
        let place = self.catalog.object(id)?.ok_or_else(|| ArchiveError::NoMessage(id.to_string()))?;
        self.objects(|objects| objects.read(id, place))
    }

    fn content(&self, manifest: &Manifest) -> Result<Vec<u8>, ArchiveError> {
        let mut content = Vec::new();
        for segment in &manifest.content.segments {
            match segment.encoding {
                Encoding::Verbatim if content.is_empty() => content = self.object(segment.object)?,
                Encoding::Verbatim => content.extend_from_slice(&self.object(segment.object)?),
            }
        }
        Ok(content)
    }

    fn report_of(&self, manifest: &Manifest, content: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some(stored) = &manifest.arrival.evidence else { return Ok(None) };
        let evidence = match &stored.parts {
            EvidenceParts::Around { prefix, suffix } => {
                Evidence::Report { prefix: self.object(*prefix)?, suffix: self.object(*suffix)? }
            }
            EvidenceParts::Raw { report } => Evidence::Raw { report: self.object(*report)? },
        };
        Ok(Some(evidence.report(content)))
    }

    /// Finds messages, newest first. Lets the index catch up before.
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>, ArchiveError> {
        self.catch_up(|_| ())?;
        let mut hits = Vec::new();
        for seq in self.index.search(query)? {
            // The catalog has the last word on who may see what.
            if let Some(row) = self.catalog.row(seq, query.archive.as_deref())? {
                hits.push(hit(row));
            }
        }
        Ok(hits)
    }

    /// Indexes what was archived since; tells how many messages are done.
    pub fn catch_up(&self, mut progress: impl FnMut(u64)) -> Result<(), ArchiveError> {
        let _one = self.catching_up.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.catalog.epoch()?;
        let watermark = self.index.watermark(&epoch)?;
        if watermark == 0 || watermark > self.catalog.last_change()? {
            // It followed another catalog, or this one before it was put back to an earlier day.
            self.index.clear()?;
        }
        let mut done = 0;
        loop {
            let changed = self.catalog.changed(self.index.watermark(&epoch)?, INDEX_BATCH)?;
            let Some((watermark, ..)) = changed.last().copied() else { return Ok(()) };
            let mut latest: HashMap<u64, MessageId> = HashMap::new();
            latest.extend(changed.iter().map(|(_, seq, id)| (*seq, *id)));
            let count = latest.len() as u64;
            let documents = latest.into_iter().filter_map(|(seq, id)| self.document(seq, id).transpose());
            self.index.update(documents.collect::<Result<_, _>>()?, (&epoch, watermark))?;
            done += count;
            progress(done);
        }
    }

    /// What the index gets of a message; one that cannot be read is still found by its place and date.
    fn document(&self, seq: u64, id: MessageId) -> Result<Option<super::index::Document>, ArchiveError> {
        let Some(row) = self.catalog.row(seq, None)? else { return Ok(None) };
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let fields = match fresh {
            Some(fields) => fields,
            None => self.extracted(id).unwrap_or_else(|error| {
                tracing::error!(id = %id, %error, "a message cannot be indexed");
                super::IndexFields::default()
            }),
        };
        let mut archives: Vec<String> =
            row.folders.iter().map(|placement| placement.archive.clone()).collect();
        archives.dedup();
        Ok(Some(super::index::Document { seq, archives, date: seconds(&row), fields }))
    }

    fn extracted(&self, id: MessageId) -> Result<super::IndexFields, ArchiveError> {
        let (manifest, _) = self.manifest(&id.to_string())?;
        let content = self.content(&manifest)?;
        let report = self.report_of(&manifest, &content)?;
        Ok((self.extract)(&content, report.as_deref()))
    }
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
