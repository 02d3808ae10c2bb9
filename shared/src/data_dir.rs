//! One process a data directory.

use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskLock};

/// Why a data directory cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process works on it.
    #[error("{holder} uses the data directory {data_dir}; stop it first, or give this one its own data_dir", data_dir = .data_dir.display())]
    InUse {
        /// The directory.
        data_dir: PathBuf,
        /// Who holds the lock.
        holder: String,
    },
    /// It cannot be created, or the lock not taken.
    #[error("cannot use the data directory {data_dir}: {source}", data_dir = .data_dir.display())]
    Unusable {
        /// The directory.
        data_dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

const NOTE_BYTES_MAX: u64 = 200;

/// Takes the lock of `data_dir`, which is created when missing, for `program`. It ends with the value.
pub fn lock(disk: &dyn Disk, data_dir: &Path, program: &str) -> Result<DiskLock, DataDirError> {
    let unusable = |source| DataDirError::Unusable { data_dir: data_dir.into(), source };
    disk.create_dir_all(data_dir).map_err(unusable)?;
    let path = data_dir.join(format!("{program}.lock"));
    let note = format!("{program}, process {}", std::process::id());
    let holder = || {
        let note = disk.read(&path, NOTE_BYTES_MAX).ok().and_then(|note| String::from_utf8(note).ok());
        note.filter(|note| !note.is_empty()).unwrap_or_else(|| format!("another {program}"))
    };
    let lock = disk.lock(&path, &note).map_err(unusable)?;
    lock.ok_or_else(|| DataDirError::InUse { data_dir: data_dir.into(), holder: holder() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn the_second_is_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(&RealDisk, dir.path(), "postern-test").unwrap();
        let said = lock(&RealDisk, dir.path(), "postern-test").unwrap_err().to_string();
        assert!(said.contains(&format!("postern-test, process {}", std::process::id())), "{said}");
        drop(held);
        assert!(lock(&RealDisk, dir.path(), "postern-test").is_ok());
    }
}
