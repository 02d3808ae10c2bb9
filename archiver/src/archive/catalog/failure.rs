//! What SQLite's errors mean: a catalog that is to be made anew, or a disk that is full or fails.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_DATA, SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ};

use super::CatalogError;

pub(super) fn failure(path: &Path, error: &rusqlite::Error) -> CatalogError {
    let extended = match error {
        rusqlite::Error::SqliteFailure(error, _) => error.extended_code,
        _ => 0,
    };
    let code = error.sqlite_error_code();
    let cannot_be_read =
        [SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_DATA];
    let rebuild = matches!(code, Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
        || cannot_be_read.contains(&extended);
    let cannot_be_written =
        !rebuild && matches!(code, Some(ErrorCode::SystemIoFailure | ErrorCode::DiskFull));
    let reason = match (rebuild, cannot_be_written) {
        (true, _) => {
            format!("{error}; nothing is lost: rebuild --store with this store's id makes another one")
        }
        (_, true) => format!("{error}: its disk is full or fails; nothing is lost, make room there"),
        _ => error.to_string(),
    };
    CatalogError { path: path.into(), reason, rebuild, lasting: rebuild }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{SQLITE_CORRUPT, SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_SHMSIZE};

    use super::*;

    /// Goal: what cannot be read is made anew, and nobody is told to make anew what is whole on a disk that is full.
    #[test]
    fn a_full_disk_is_no_damage() {
        let told = |code| {
            failure(Path::new("c"), &rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
        };
        for code in [SQLITE_CORRUPT, SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_CORRUPTFS] {
            let error = told(code);
            assert!(error.rebuild && error.lasting && error.reason.contains("rebuild"), "{error}");
        }
        for code in [SQLITE_FULL, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_FSYNC] {
            let error = told(code);
            assert!(!error.rebuild && !error.lasting, "{error}");
            assert!(error.reason.contains("make room") && !error.reason.contains("rebuild"), "{error}");
        }
    }
}
