//! Who may read what, and how old a program is; for checks of an installation.

use std::io;
use std::path::Path;

use crate::clock::UnixMillis;

/// Whose a file is, and what others may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// User id.
    pub owner: u32,
    /// Type and permission bits.
    pub mode: u32,
}

/// The access to a file or directory.
pub fn access(path: &Path) -> io::Result<Access> {
    let stat = rustix::fs::lstat(path)?;
    Ok(Access { owner: stat.st_uid, mode: stat.st_mode })
}

/// When the file of the running program was last written: packages keep the time at which it was built.
pub fn program_written() -> io::Result<UnixMillis> {
    let stat = rustix::fs::stat(std::env::current_exe()?)?;
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    Ok(UnixMillis(seconds.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{RealDisk, write_atomic};

    #[test]
    fn what_we_make_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_atomic(&RealDisk, &path, b"x").unwrap();
        let access = access(&path).unwrap();
        assert_eq!(access.mode & 0o7777, 0o600);
        assert_eq!(access.owner, rustix::process::geteuid().as_raw());
        assert!(program_written().unwrap() > UnixMillis(1_600_000_000_000));
    }
}
