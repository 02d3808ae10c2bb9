//! Who may read what, and how old a program is; for checks of an installation.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Uid};

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

/// Gives `path`, which root has just made, to whom `like` belongs. Without being root there is nothing to give.
pub fn give_to_owner_of(like: &Path, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let whose = rustix::fs::stat(like)?;
    let (owner, group) = (Uid::from_raw(whose.st_uid), Gid::from_raw(whose.st_gid));
    Ok(rustix::fs::chownat(CWD, path, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?)
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
        rustix::fs::chmod(dir.path(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        let other = rustix::process::geteuid().is_root().then(|| Uid::from_raw(65_534));
        rustix::fs::chown(dir.path(), other, None).unwrap();
        give_to_owner_of(dir.path(), &path).unwrap();
        assert_eq!(super::access(&path).unwrap().owner, super::access(dir.path()).unwrap().owner);
        assert!(program_written().unwrap() > UnixMillis(1_600_000_000_000));
    }
}
