//! A backup that is there, whatever it lies in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::disk::Disk;

use super::BackupError;
use super::archive::ArchiveDisk;
use super::manifest::{self, Manifest};
use super::place::{CURRENT, OUTGOING, PREVIOUS, is_archive};

/// A whole backup: where it can be read, and what belongs to it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) root: PathBuf,
    pub(super) manifest: Manifest,
}

impl Source {
    /// Opens the newest whole backup at `place`: where `backup` was told to put it, or one of the directories in there.
    pub(super) fn open(disk: &Arc<dyn Disk>, place: &Path) -> Result<Self, BackupError> {
        let (disk, root) = find(disk, place)?;
        let manifest = Manifest::read(&*disk, &root)?;
        Ok(Self { disk, root, manifest })
    }
}

fn find(disk: &Arc<dyn Disk>, place: &Path) -> Result<(Arc<dyn Disk>, PathBuf), BackupError> {
    let look = || BackupError::io("look for", place);
    if is_archive(place) && disk.exists(place).map_err(look())? {
        let archive = ArchiveDisk::open(&**disk, place).map_err(BackupError::io("read", place))?;
        let has_manifest = archive.exists(&place.join(manifest::NAME)).map_err(look())?;
        let none = BackupError::None { place: place.into() };
        return if has_manifest { Ok((Arc::new(archive), place.into())) } else { Err(none) };
    }
    let roots = [place.to_path_buf(), place.join(CURRENT), place.join(OUTGOING), place.join(PREVIOUS)];
    for root in roots {
        if disk.exists(&root.join(manifest::NAME)).map_err(look())? {
            return Ok((Arc::clone(disk), root));
        }
    }
    Err(BackupError::None { place: place.into() })
}
