//! What goes wrong with an index: what the operating system refuses passes; all else is damage, and another index must be made.

use std::io;

use tantivy::TantivyError;
use tantivy::directory::error::{LockError, OpenDirectoryError, OpenReadError, OpenWriteError};

use crate::archive::ArchiveError;

/// It cannot do what it should; making another one helps.
pub(super) fn failed(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Index(error.to_string())
}

/// The same, unless it was the system that could not: no room, too many open files, no right, a disk that does not answer.
pub(super) fn failed_in(error: impl Into<TantivyError>) -> ArchiveError {
    let error = error.into();
    match &error {
        TantivyError::LockFailure(LockError::LockBusy, _) => ArchiveError::IndexWaits(error.to_string()),
        _ if system(&error).is_some_and(passes) => ArchiveError::IndexWaits(error.to_string()),
        _ => failed(error),
    }
}

/// What the disk could not do for it.
#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
pub(super) fn waits(error: io::Error) -> ArchiveError {
    ArchiveError::IndexWaits(error.to_string())
}

/// A file that is gone comes not back, and what is read wrongly is no error of the system's.
fn passes(error: &io::Error) -> bool {
    error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound
}

fn system(error: &TantivyError) -> Option<&io::Error> {
    match error {
        TantivyError::IoError(error)
        | TantivyError::LockFailure(LockError::IoError(error), _)
        | TantivyError::OpenReadError(OpenReadError::IoError { io_error: error, .. })
        | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error: error, .. })
        | TantivyError::OpenDirectoryError(
            OpenDirectoryError::IoError { io_error: error, .. }
            | OpenDirectoryError::FailedToCreateTempDir(error),
        ) => Some(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_damage() {
        for (code, wanted) in [(28, true), (24, true), (13, true), (5, true), (2, false)] {
            let error = failed_in(io::Error::from_raw_os_error(code));
            assert_eq!(matches!(error, ArchiveError::IndexWaits(_)), wanted, "{code}: {error}");
        }
        let cut = failed_in(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(matches!(cut, ArchiveError::Index(_)), "{cut}");
        let write = OpenWriteError::wrap_io_error(io::Error::from_raw_os_error(28), "x".into());
        assert!(matches!(failed_in(write), ArchiveError::IndexWaits(_)));
        let busy = TantivyError::LockFailure(LockError::LockBusy, None);
        assert!(matches!(failed_in(busy), ArchiveError::IndexWaits(_)));
    }
}
