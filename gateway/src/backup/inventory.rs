//! What a data directory holds that belongs into a backup, and in which turn.

use std::path::{Path, PathBuf};

use postern_shared::disk::{Disk, others};

use super::{BackupError, RESTORING};

/// What is copied before everything else, in this order. The room's header says why.
pub(super) const FIRST: [&str; 3] = ["proxy", SEGMENTS, LARGE];
pub(super) const SEGMENTS: &str = "spool/segments";
pub(super) const LARGE: &str = "spool/large";

const LOCK: &str = "postern-gateway.lock";
const CONTROL_SOCKET: &str = "control.sock";

/// The files below `dir`, sorted by path, but for the trees in `except`.
pub(super) fn files(disk: &dyn Disk, dir: &Path, except: &[PathBuf]) -> Result<Vec<PathBuf>, BackupError> {
    let (mut found, mut left) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = left.pop() {
        let list = BackupError::io("list", &dir);
        let (files, dirs) = disk.files(&dir).and_then(|files| Ok((files, disk.dirs(&dir)?))).map_err(list)?;
        found.extend(files.into_iter().filter(|path| belongs(path)));
        left.extend(dirs.into_iter().filter(|dir| !except.contains(dir)));
    }
    found.sort();
    Ok(found)
}

fn belongs(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return true };
    let is_prepared =
        name.starts_with("prepared.") && path.parent().is_some_and(|dir| dir.ends_with(SEGMENTS));
    !(is_prepared || name == LOCK || name == RESTORING || name.ends_with(".tmp"))
}

/// What lies below `dir` and is neither file nor directory: it is not copied, and told.
pub(super) fn strangers(disk: &dyn Disk, dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = left.pop() {
        // What cannot be listed has failed already where it matters.
        found.extend(others(&dir).unwrap_or_default());
        left.extend(disk.dirs(&dir).unwrap_or_default());
    }
    found.retain(|path| path.file_name().is_none_or(|name| name != CONTROL_SOCKET));
    found.sort();
    found
}
