//! The file of a catalog: opened, put aside when it is damaged.

use std::path::{Path, PathBuf};

use postern_shared::disk::Disk;

use crate::archive::ArchiveError;
use crate::archive::catalog::{Catalog as _, SqliteCatalog};

/// Opens a catalog; one that is damaged, or was found so while it served, is put aside, and an empty one takes its place.
pub(super) fn open_catalog(disk: &dyn Disk, path: &Path) -> Result<SqliteCatalog, ArchiveError> {
    if disk.exists(&mark_of(path)).map_err(ArchiveError::file(path))? {
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
        opened => Ok(opened?),
    }
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
