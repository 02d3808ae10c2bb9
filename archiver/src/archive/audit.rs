//! The audit log: who did what and when. Append-only, a JSON object a line, synced line by line.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use postern_shared::clock::Clock;
use postern_shared::disk::{Disk, DiskFile};
use serde_json::{Value, json};

use super::ArchiveError;

/// An instance's audit log.
#[derive(Debug)]
pub struct Audit {
    clock: Arc<dyn Clock>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    end: Mutex<u64>,
}

impl Audit {
    pub(super) fn open(disk: &dyn Disk, clock: Arc<dyn Clock>, path: &Path) -> Result<Self, ArchiveError> {
        let file = if disk.exists(path).map_err(ArchiveError::file(path))? {
            disk.open(path)
        } else {
            disk.create(path)
        };
        let file = file.map_err(ArchiveError::file(path))?;
        let end = file.len().map_err(ArchiveError::file(path))?;
        Ok(Self { clock, path: path.into(), file, end: Mutex::new(end) })
    }

    /// Records that `what` was done, with its particulars. What cannot be recorded must not be done.
    pub fn record(&self, what: &str, particulars: &Value) -> Result<(), ArchiveError> {
        let line = json!({ "time": self.clock.wall().rfc3339(), "what": what, "particulars": particulars });
        let line = format!("{line}\n");
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.file.write_all_at(&[line.as_bytes()], *end).and_then(|()| self.file.sync_data());
        written.map_err(ArchiveError::file(&self.path))?;
        *end += line.len() as u64;
        Ok(())
    }
}
