//! One mailbox's file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::disk::{Disk, DiskFile};

use super::Entry;

/// Octets of a record.
pub(super) const RECORD_BYTES: usize = 20;
/// In place of the first entry.
const MARK: Entry = Entry(u128::from_be_bytes(*b"PSTNSEEN00000001"));
const RECORDS_AT_ONCE: usize = 4096;

#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    /// Where the next record goes.
    len: u64,
}

impl Log {
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path, file: None, len: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands every whole record to `found`. A file that does not begin as it should holds none, and is written over.
    pub(super) fn read(&mut self, mut found: impl FnMut(Entry)) -> io::Result<()> {
        if !self.disk.exists(&self.path)? {
            return Ok(());
        }
        let file = self.disk.open(&self.path)?;
        let whole = file.len()? / RECORD_BYTES as u64 * RECORD_BYTES as u64;
        let mut at = 0;
        let mut records = vec![0; RECORDS_AT_ONCE * RECORD_BYTES];
        while at < whole {
            let bytes = usize::try_from(whole - at).unwrap_or(usize::MAX).min(records.len());
            if let Err(error) = file.read_exact_at(&mut records[..bytes], at) {
                // What could not be read is not written over.
                self.len = whole;
                return Err(error);
            }
            for record in records[..bytes].chunks_exact(RECORD_BYTES) {
                let entry = entry_of(record);
                if at == 0 && self.len == 0 {
                    if entry != Some(MARK) {
                        tracing::warn!(path = %self.path.display(), "this is no table of recorded messages; it begins anew");
                        file.set_len(0)?;
                        self.file = Some(file);
                        return Ok(());
                    }
                } else if let Some(entry) = entry {
                    found(entry);
                }
                self.len += RECORD_BYTES as u64;
            }
            at += bytes as u64;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Appends a record. When that fails, the next one goes to its place.
    pub(super) fn append(&mut self, entry: Entry) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                let made = if self.disk.exists(&self.path)? {
                    self.disk.open(&self.path)?
                } else {
                    self.disk.create(&self.path)?
                };
                self.file.insert(made)
            }
        };
        let mark = record_of(MARK);
        let record = record_of(entry);
        let (records, bytes) = match self.len {
            0 => (&[&mark[..], &record[..]][..], 2 * RECORD_BYTES),
            _ => (&[&record[..]][..], RECORD_BYTES),
        };
        file.write_all_at(records, self.len)?;
        self.len += bytes as u64;
        Ok(())
    }

    /// Forgets all.
    pub(super) fn begin_anew(&mut self) -> io::Result<()> {
        self.len = 0;
        self.file.as_ref().map_or(Ok(()), |file| file.set_len(0))
    }
}

fn record_of(Entry(entry): Entry) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(&entry.to_be_bytes());
    let crc = crc32c::crc32c(&record[..16]);
    record[16..].copy_from_slice(&crc.to_be_bytes());
    record
}

fn entry_of(record: &[u8]) -> Option<Entry> {
    let (entry, crc) = record.split_first_chunk::<16>()?;
    (crc32c::crc32c(entry).to_be_bytes() == crc).then(|| Entry(u128::from_be_bytes(*entry)))
}
