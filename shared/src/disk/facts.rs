//! What a listing of files does not tell: when they were written, and what lies there that is no file.

use std::io;
use std::path::{Path, PathBuf};

/// When the file was last written, in nanoseconds since 1970.
pub fn modified_ns(path: &Path) -> io::Result<i64> {
    let stat = rustix::fs::stat(path)?;
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The file itself, when `path` is a link to it: what is renamed over a link takes the link's place, not the file's.
pub fn resolved(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}

/// What lies directly inside `dir` and is neither file nor directory (links, sockets, devices), sorted by name.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn others(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if !kind.is_file() && !kind.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, RealDisk};

    #[test]
    fn links_are_others_and_files_have_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        RealDisk.create(&path).unwrap().write_all_at(&[b"x"], 0).unwrap();
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert_eq!(others(dir.path()).unwrap(), [dir.path().join("link")]);
        assert_eq!(resolved(&dir.path().join("link")).unwrap(), resolved(&path).unwrap());
        assert!(resolved(&path).unwrap().ends_with("file") && resolved(&dir.path().join("none")).is_err());
        assert!(modified_ns(&path).unwrap() > 1_600_000_000_000_000_000);
    }

    #[test]
    fn a_second_name_is_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        RealDisk.create(&one).unwrap().write_all_at(&[b"x"], 0).unwrap();
        RealDisk.link(&one, &two).unwrap();
        RealDisk.remove(&one).unwrap();
        assert_eq!(RealDisk.read(&two, 9).unwrap(), b"x");
        assert!(RealDisk.link(&one, &two).is_err());
    }
}
