//! Which directories of this machine may be read at all: whoever may write a profile is not thereby somebody who may read and
//! remove whatever the archiver's user can.

use std::path::{Path, PathBuf};

use crate::sources::SourceError;

/// Refuses a path that does not lie within one of `roots`, symbolic links resolved.
///
/// # Errors
/// Saying which setting must name it; or when it does not exist.
pub fn check_within(path: &Path, roots: &[PathBuf]) -> Result<(), SourceError> {
    let failed = |text: String| SourceError::Files { path: path.to_owned(), text };
    let found = path.canonicalize().map_err(|error| failed(error.to_string()))?;
    if roots.iter().filter_map(|root| root.canonicalize().ok()).any(|root| found.starts_with(root)) {
        return Ok(());
    }
    Err(failed(
        "file_roots in [sources] of the archiver's configuration names no directory that it lies in; name one there, and start \
         the archiver again"
            .into(),
    ))
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::{Disk as _, RealDisk};

    use super::*;

    /// Goal: nothing is read outside, neither by `..` nor by a link, nor when nothing was named.
    #[test]
    fn paths_outside_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["mail/anna", "mail2", "other/bob"] {
            RealDisk.create_dir_all(&at(name)).unwrap();
        }
        std::os::unix::fs::symlink(at("other/bob"), at("mail/link")).unwrap();
        std::os::unix::fs::symlink(at("mail"), at("root")).unwrap();
        let roots = [at("missing"), at("root")];
        for good in ["mail", "mail/anna", "root/anna", "other/../mail/anna"] {
            check_within(&at(good), &roots).unwrap();
        }
        for bad in ["mail2", "other/bob", "mail/link", "mail/../other", "", "mail/none"] {
            let error = check_within(&at(bad), &roots).unwrap_err().to_string();
            assert!(error.contains("file_roots") || bad == "mail/none", "{bad}: {error}");
        }
        assert!(check_within(&at("mail"), &[]).is_err());
    }
}
