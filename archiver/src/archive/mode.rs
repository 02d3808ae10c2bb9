//! Whether an instance is to be open: `mode.json`, replaced atomically; without it, it is started.

use std::path::{Path, PathBuf};

use postern_shared::disk::Disk;
use serde::{Deserialize, Serialize};

use super::ArchiveError;
use super::files::{read_json, write_json};

/// How an instance is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Whole.
    #[default]
    Started,
    /// For reading only: see [`super::Instance::open_safe`].
    Safe,
    /// Not at all.
    Stopped,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    mode: Mode,
}

fn path(instance: &Path) -> PathBuf {
    instance.join("mode.json")
}

impl Mode {
    /// That of the instance in this directory.
    pub fn read(disk: &dyn Disk, instance: &Path) -> Result<Self, ArchiveError> {
        let path = path(instance);
        if !disk.exists(&path).map_err(ArchiveError::file(&path))? {
            return Ok(Self::default());
        }
        Ok(read_json::<File>(disk, &path)?.mode)
    }

    /// Keeps it.
    pub fn write(self, disk: &dyn Disk, instance: &Path) -> Result<(), ArchiveError> {
        if Self::read(disk, instance).is_ok_and(|now| now == self) {
            return Ok(());
        }
        write_json(disk, &path(instance), &File { mode: self })
    }
}
