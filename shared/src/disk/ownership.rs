//! Whose files are, and giving them to somebody else; only root can.

use std::io;
use std::path::Path;

use rustix::fs::{Gid, Uid};

/// A user and a group, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// Whose a file or directory is.
pub fn owner(path: &Path) -> io::Result<Owner> {
    let stat = rustix::fs::stat(path)?;
    Ok(Owner { user: stat.st_uid, group: stat.st_gid })
}

/// Gives a file or directory to `to`.
pub fn give(path: &Path, to: Owner) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(to.user), Gid::from_raw(to.group));
    // Of a link, not of what it leads to.
    let here = rustix::fs::CWD;
    Ok(rustix::fs::chownat(here, path, Some(user), Some(group), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether this process may give files away.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_root_can_give_to_itself_only() {
        let dir = tempfile::tempdir().unwrap();
        let ours = owner(dir.path()).unwrap();
        assert_eq!(ours.user, rustix::process::geteuid().as_raw());
        give(dir.path(), ours).unwrap();
        let given = give(dir.path(), Owner { user: ours.user + 1, ..ours });
        assert_eq!(given.is_ok(), is_root());
        assert_eq!(owner(dir.path()).unwrap() == ours, !is_root());
    }
}
