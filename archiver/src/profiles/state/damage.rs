//! A file that SQLite makes no sense of.

use std::path::{Path, PathBuf};

use postern_shared::disk::Disk;
use rusqlite::{Connection, OpenFlags};

use super::{StateError, remove_beside};

/// Damaged files that are kept; the last one is replaced.
const KEPT_MAX: u32 = 10;

/// Renames the file to one beside it that nobody opens.
pub(super) fn put_aside(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<(), StateError> {
    let io = |error: std::io::Error| StateError::io(path, &error);
    let mut aside = PathBuf::new();
    for number in 1..=KEPT_MAX {
        aside = path.with_extension(format!("sqlite.damaged-{number}"));
        if !disk.exists(&aside).map_err(io)? {
            break;
        }
    }
    if disk.exists(path).map_err(io)? {
        disk.rename(path, &aside).and_then(|()| disk.sync_dir(dir)).map_err(io)?;
    }
    remove_beside(disk, path).map_err(io)?;
    tracing::error!(aside = %aside.display(), "put aside; everything at the source is listed again, and folds");
    Ok(())
}

/// The refresh tokens that the file still tells, when it does.
pub(super) fn tokens(path: &Path) -> Option<Vec<(String, Vec<u8>)>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    let mut statement = connection.prepare("SELECT account, sealed FROM tokens").ok()?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    rows.collect::<rusqlite::Result<_>>().ok()
}
