//! The file of a catalog: opened, put aside when it is damaged.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use postern_shared::crypto::random;
use postern_shared::disk::Disk;

use super::file::{Entry, State};
use crate::archive::ArchiveError;
use crate::archive::catalog::{Catalog as _, SqliteCatalog};

/// Opens a catalog; one that is damaged, or was found so while it served, is put aside until the next time, and an empty one takes its
/// place.
pub(super) fn open_catalog(disk: &dyn Disk, path: &Path) -> Result<SqliteCatalog, ArchiveError> {
    let is_marked = disk.exists(&mark_of(path)).map_err(ArchiveError::file(path))?;
    if is_marked {
        tracing::error!(path = %path.display(), "the catalog is damaged; it is rebuilt from packs and keys");
        put_aside(disk, path, "damaged")?;
        remove_mark(disk, path)?;
    }
    let opened = SqliteCatalog::open(path).and_then(|catalog| catalog.watermark().map(|_| catalog));
    match opened {
        Err(error) if error.rebuild => {
            tracing::error!(%error, "the catalog is rebuilt from packs and keys");
            put_aside(disk, path, "damaged")?;
            Ok(SqliteCatalog::open(path)?)
        }
        opened => {
            let catalog = opened?;
            for ending in ["old", "damaged"].iter().filter(|_| !is_marked) {
                // Mail's subjects and addresses are not to lie about. What cannot be written can keep it.
                let _ = remove(disk, &path.with_extension(ending));
            }
            Ok(catalog)
        }
    }
}

/// Removes a catalog's files.
fn remove(disk: &dyn Disk, path: &Path) -> Result<(), ArchiveError> {
    for suffix in ["", "-wal", "-shm"] {
        let file = with_suffix(path, suffix);
        if disk.exists(&file).map_err(ArchiveError::file(&file))? {
            disk.remove(&file).map_err(ArchiveError::file(&file))?;
        }
    }
    Ok(())
}

/// Removes what is made again when the store is opened: catalogs, also those put aside or half made, and the index.
pub(in crate::archive) fn remove_derived(disk: &dyn Disk, dir: &Path) -> Result<(), ArchiveError> {
    for name in [
        "catalog.sqlite",
        "catalog.rebuilt.sqlite",
        "catalog.old",
        "catalog.damaged",
        "catalog.rebuilt.damaged",
    ] {
        remove(disk, &dir.join(name))?;
    }
    remove_mark(disk, &dir.join("catalog.sqlite"))?;
    let index = dir.join("index");
    if disk.exists(&index).map_err(ArchiveError::file(&index))? {
        disk.remove_dir_all(&index).map_err(ArchiveError::file(&index))?;
    }
    // It is not the end of the world when they come back; on some media there is nothing to sync.
    let _ = disk.sync_dir(dir);
    Ok(())
}

/// Where catalog and index of a store in another place are, when that is a medium which cannot be written: `away/<id>` in the instance's
/// directory.
pub(super) fn away(
    disk: &dyn Disk,
    instance: &Path,
    entry: &Entry,
    safe: bool,
) -> Result<Option<PathBuf>, ArchiveError> {
    let Some(dir) = entry.dir.as_ref().filter(|_| entry.state == State::WriteProtected) else {
        return Ok(None);
    };
    let away = away_dir(instance, &entry.id);
    if safe {
        let is_there = disk.exists(&away).map_err(ArchiveError::file(&away))?;
        return Ok(is_there.then_some(away));
    }
    let probe = dir.join(format!("probe-{}.tmp", hex::encode(random::<6>())));
    match disk.create(&probe) {
        Ok(_) => {
            disk.remove(&probe).map_err(ArchiveError::file(&probe))?;
            Ok(None)
        }
        Err(error) if matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
            Ok(Some(away))
        }
        Err(error) => Err(ArchiveError::file(&probe)(error)),
    }
}

pub(in crate::archive) fn away_dir(instance: &Path, id: &str) -> PathBuf {
    instance.join("away").join(id)
}

/// Opens a catalog that is whole, and makes none.
pub(super) fn open_catalog_as_it_is(disk: &dyn Disk, path: &Path) -> Result<SqliteCatalog, ArchiveError> {
    if !disk.exists(path).map_err(ArchiveError::file(path))? {
        let reason = "it is missing; it is made anew when the instance is started without --safe".into();
        return Err(ArchiveError::File { path: path.into(), reason });
    }
    let catalog = SqliteCatalog::open(path)?;
    catalog.watermark()?;
    Ok(catalog)
}

/// The file that says that a catalog is damaged.
pub(super) fn mark_of(path: &Path) -> PathBuf {
    path.with_extension("is-damaged")
}

/// The catalog at `path` is gone, or another one is there.
pub(super) fn remove_mark(disk: &dyn Disk, path: &Path) -> Result<(), ArchiveError> {
    let mark = mark_of(path);
    if disk.exists(&mark).map_err(ArchiveError::file(&mark))? {
        disk.remove(&mark).map_err(ArchiveError::file(&mark))?;
    }
    Ok(())
}

/// Renames a catalog's files.
pub(super) fn put_aside(disk: &dyn Disk, path: &Path, ending: &str) -> Result<(), ArchiveError> {
    for suffix in ["", "-wal", "-shm"] {
        let from = with_suffix(path, suffix);
        if disk.exists(&from).map_err(ArchiveError::file(&from))? {
            let to = with_suffix(&path.with_extension(ending), suffix);
            disk.rename(&from, &to).map_err(ArchiveError::file(&from))?;
        }
    }
    Ok(())
}

/// A file that SQLite keeps beside its database.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
