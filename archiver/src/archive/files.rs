//! Small files, replaced atomically.

use std::path::Path;

use postern_shared::disk::{Disk, write_atomic};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ArchiveError;

const FILE_BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    write_atomic(disk, path, bytes).map_err(ArchiveError::file(path))
}

pub(super) fn write_json(disk: &dyn Disk, path: &Path, value: &impl Serialize) -> Result<(), ArchiveError> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|error| ArchiveError::File { path: path.into(), reason: error.to_string() })?;
    write(disk, path, &json)
}

pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, ArchiveError> {
    disk.read(path, FILE_BYTES_MAX).map_err(ArchiveError::file(path))
}

pub(super) fn read_json<R: DeserializeOwned>(disk: &dyn Disk, path: &Path) -> Result<R, ArchiveError> {
    serde_json::from_slice(&read(disk, path)?)
        .map_err(|error| ArchiveError::File { path: path.into(), reason: error.to_string() })
}
