//! The machine's own file system.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FlockOperation, Gid, OFlags, Uid};

use super::{Disk, DiskFile, DiskLock};

/// The machine's own file system.
///
/// What root makes in somebody else's directory belongs to them: commands that root runs must leave nothing behind that the
/// daemon, which has a user of its own, cannot open. Nor does root follow a link to what it writes into.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

#[expect(clippy::disallowed_methods, reason = "this is the door")]
impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        belong_to_the_directory(&file, path);
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(no_link_for_root());
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(File::open(path)?)))
    }

    fn files(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        entries(dir, |kind| kind.is_file())
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        entries(dir, |kind| kind.is_dir())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        if dir.is_dir() {
            return match parent.map_or(Ok(()), |parent| self.sync_dir(parent)) {
                // Not ours to look into, so it was not we who created `dir` in it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                synced => synced,
            };
        }
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {
                let made = OpenOptions::new().read(true).custom_flags(NO_LINK).open(dir)?;
                belong_to_the_directory(&made, dir);
                parent.map_or(Ok(()), |parent| self.sync_dir(parent))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::link(from, to)?)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(no_link_for_root());
        let mut file = match options.clone().create_new(true).open(path) {
            Ok(made) => {
                belong_to_the_directory(&made, path);
                made
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path)?,
            Err(error) => return Err(error),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.write_all(note.as_bytes())?;
        Ok(Some(DiskLock::holding(file)))
    }
}

/// Reads a whole file of at most `bytes_max` bytes that somebody else named: a regular one, for a device may have no end, and a pipe
/// nobody who writes into it.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe, or some devices, would wait.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let what = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// `open(2)`: nothing but a directory, and no link to one.
const NO_LINK: i32 = (OFlags::DIRECTORY.bits() | OFlags::NOFOLLOW.bits()).cast_signed();

/// Root writes through no link: the directory may be another user's, who could lead it to any file of the machine.
fn no_link_for_root() -> i32 {
    let flags = if rustix::process::geteuid().is_root() { OFlags::NOFOLLOW } else { OFlags::empty() };
    flags.bits().cast_signed()
}

/// Gives what root has just made to whom the directory around it belongs. Where root may not, it stays root's.
fn belong_to_the_directory(made: &File, path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let around = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(stat) = rustix::fs::stat(around)
        && stat.st_uid != 0
    {
        let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        // On some network file systems root may not; the daemon's user is the same there, or is told by `doctor`.
        let _ = rustix::fs::fchown(made, Some(owner), Some(group));
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the door")]
fn entries(dir: &Path, wanted: impl Fn(std::fs::FileType) -> bool) -> io::Result<Vec<PathBuf>> {
    let listing = match std::fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry?;
        if wanted(entry.file_type()?) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_all_at(&self, buffers: &[&[u8]], mut offset: u64) -> io::Result<()> {
        // Linux takes at most 1,024 slices in one call (IOV_MAX).
        for group in buffers.chunks(1024) {
            let mut slices: Vec<IoSlice<'_>> = group.iter().map(|bytes| IoSlice::new(bytes)).collect();
            let mut rest = &mut slices[..];
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.0, rest, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        offset += written as u64;
                        IoSlice::advance_slices(&mut rest, written);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn drop_cache(&self) {
        // A hint; a file system may not know it.
        let _ = rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{access, write_atomic};

    #[test]
    fn slices_are_written_one_behind_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("f")).unwrap();
        let many: Vec<&[u8]> = (0..3000).map(|i| if i % 2 == 0 { &b"ab"[..] } else { &b""[..] }).collect();
        file.write_all_at(&many, 3).unwrap();
        assert_eq!(file.len().unwrap(), 3 + 3000);
        let mut tail = [0; 4];
        file.read_exact_at(&mut tail, 2999).unwrap();
        assert_eq!(&tail, b"abab");
    }

    /// Goal: what has no end, or nobody at its other end, is refused at once; so is what is longer than it says.
    #[test]
    fn a_whole_file_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for endless in [Path::new("/dev/zero"), pipe.as_path(), dir.path()] {
            let error = read_regular(endless, 10).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}: {error}", endless.display());
        }
        let file = dir.path().join("file");
        write_atomic(&RealDisk, &file, b"0123456789").unwrap();
        assert_eq!(read_regular(&file, 10).unwrap(), b"0123456789");
        assert_eq!(read_regular(&file, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // It says that it has no octets, and has some.
        assert!(read_regular(Path::new("/proc/self/maps"), 10).is_err());
    }

    #[test]
    fn a_lock_is_held_once_and_ends_with_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = RealDisk.lock(&path, "first").unwrap().expect("free");
        assert!(RealDisk.lock(&path, "second").unwrap().is_none());
        drop(held);
        assert!(RealDisk.lock(&path, "third").unwrap().is_some());
    }

    #[test]
    fn a_missing_directory_lists_as_empty_and_long_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RealDisk.files(&dir.path().join("none")).unwrap().is_empty());
        let path = dir.path().join("long");
        RealDisk.create(&path).unwrap().write_all_at(&[b"0123456789"], 0).unwrap();
        assert_eq!(RealDisk.read(&path, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(RealDisk.read(&path, 10).unwrap(), b"0123456789");
    }

    /// Goal: a command that root runs leaves nothing that the daemon's user cannot open.
    /// Method: as root, in a directory of another user, each way to make something; without root, all is ours.
    #[test]
    fn what_is_made_belongs_to_whom_the_directory_does() {
        let dir = tempfile::tempdir().unwrap();
        let me = rustix::process::geteuid();
        let owner = if me.is_root() { 65_534 } else { me.as_raw() };
        let other = me.is_root().then(|| Uid::from_raw(owner));
        rustix::fs::chown(dir.path(), other, None).unwrap();
        let (file, deep, lock) = (dir.path().join("file"), dir.path().join("a/b"), dir.path().join("lock"));
        write_atomic(&RealDisk, &file, b"text").unwrap();
        RealDisk.create_dir_all(&deep).unwrap();
        drop(RealDisk.lock(&lock, "note").unwrap().unwrap());
        for path in [&file, &deep, deep.parent().unwrap(), &lock] {
            assert_eq!(access(path).unwrap().owner, owner, "{}", path.display());
        }
        // A lock that is there stays whose it is.
        rustix::fs::chown(&lock, Some(me), None).unwrap();
        drop(RealDisk.lock(&lock, "again").unwrap().unwrap());
        assert_eq!(access(&lock).unwrap().owner, me.as_raw());
    }

    /// Goal: whoever has the data directory leads no command of root's to another file of the machine.
    #[test]
    fn root_writes_through_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (precious, link) = (dir.path().join("precious"), dir.path().join("lock"));
        write_atomic(&RealDisk, &precious, b"precious").unwrap();
        rustix::fs::symlink(&precious, &link).unwrap();
        if !rustix::process::geteuid().is_root() {
            assert!(RealDisk.open(&link).is_ok(), "one's own links lead to one's own files");
            return;
        }
        assert!(RealDisk.lock(&link, "note").is_err() && RealDisk.open(&link).is_err());
        assert_eq!(RealDisk.read(&link, 100).unwrap(), b"precious");
        crate::disk::give(&link, crate::disk::Owner { user: 65_534, group: 65_534 }).unwrap();
        assert_eq!(access(&precious).unwrap().owner, 0);
    }
}
