//! A log in a file that does not grow without end.
//!
//! ```text
//! gateway.log                            being written
//! gateway.log.20261121T073049.123Z       closed at that time (UTC); the newest few are kept
//! ```
//!
//! Promises
//! - Each line is written by one call at the end of the file, wherever that is now: it may be cut from outside.
//! - A disk that is full or fails costs log lines, which go to standard error instead, and nothing else.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, UnixMillis};
use crate::disk::{Disk, DiskFile};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// When a new file is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Before it would have more than so many bytes.
    Bytes(u64),
    /// At midnight UTC.
    Daily,
}

/// A log file and those before it.
#[derive(Debug)]
pub struct LogFile {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    rotation: Rotation,
    keep: usize,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    file: Arc<dyn DiskFile>,
    /// The day it was begun or opened, counted from 1970.
    day: u64,
}

impl LogFile {
    /// Opens the file, which is created when missing, as is its directory. `keep` closed files are kept.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        path: &Path,
        rotation: Rotation,
        keep: usize,
    ) -> io::Result<Self> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            disk.create_dir_all(dir)?;
        }
        let file = open_or_create(&*disk, path)?;
        let day = clock.wall().0 / DAY_MS;
        let current = Mutex::new(Current { file, day });
        Ok(Self { disk, clock, path: path.into(), rotation, keep, current })
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.wall();
        let len = current.file.len()?;
        let due = match self.rotation {
            Rotation::Bytes(max) => len.saturating_add(line.len() as u64) > max,
            Rotation::Daily => now.0 / DAY_MS != current.day,
        };
        if !due || len == 0 {
            return current.file.write_all_at(&[line], len);
        }
        current.day = now.0 / DAY_MS;
        match self.rotate(now) {
            Ok(file) => current.file = file,
            // Better a long file than a lost line.
            Err(error) => eprintln!("cannot begin a new log file {}: {error}", self.path.display()),
        }
        let len = current.file.len()?;
        current.file.write_all_at(&[line], len)
    }

    fn rotate(&self, now: UnixMillis) -> io::Result<Arc<dyn DiskFile>> {
        let mut at = now.0;
        let mut closed = self.closed_path(at);
        while self.disk.exists(&closed)? {
            at += 1;
            closed = self.closed_path(at);
        }
        self.disk.rename(&self.path, &closed)?;
        let file = open_or_create(&*self.disk, &self.path)?;
        for old in self.superfluous()? {
            self.disk.remove(&old)?;
        }
        Ok(file)
    }

    fn closed_path(&self, at: u64) -> PathBuf {
        let seconds = UnixMillis(at / 1000 * 1000).rfc3339();
        let digits: String = seconds.chars().filter(|c| !matches!(c, '-' | ':' | 'Z')).collect();
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{digits}.{:03}Z", at % 1000));
        name.into()
    }

    /// All closed files but the newest, oldest first.
    fn superfluous(&self) -> io::Result<Vec<PathBuf>> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_closed = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let rest = file.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
            rest.is_some_and(|rest| rest.len() == 20 && rest.starts_with("20") && rest.ends_with('Z'))
        };
        let mut closed: Vec<PathBuf> = self.disk.files(dir)?.into_iter().filter(is_closed).collect();
        closed.sort();
        closed.truncate(closed.len().saturating_sub(self.keep));
        Ok(closed)
    }
}

fn open_or_create(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    if disk.exists(path)? { disk.open(path) } else { disk.create(path) }
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.append(line).is_err() {
            io::stderr().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::disk::{Fault, FaultyDisk, RealDisk, Step};

    struct Log {
        dir: tempfile::TempDir,
        clock: Arc<ManualClock>,
        file: LogFile,
    }

    fn log(disk: impl Disk, rotation: Rotation, keep: usize) -> Log {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
        let path = dir.path().join("new/gateway.log");
        let file = LogFile::open(Arc::new(disk), clock.clone(), &path, rotation, keep).unwrap();
        Log { dir, clock, file }
    }

    impl Log {
        fn files(&self) -> Vec<String> {
            let paths = RealDisk.files(&self.dir.path().join("new")).unwrap();
            paths.iter().map(|path| String::from_utf8(RealDisk.read(path, 1000).unwrap()).unwrap()).collect()
        }

        fn write(&self, line: &str) {
            (&self.file).write_all(line.as_bytes()).unwrap();
        }
    }

    /// Goal: a file never grows past its bound, and so many closed ones are kept. The one being written sorts first.
    #[test]
    fn files_rotate_by_size_and_the_oldest_go() {
        let log = log(RealDisk, Rotation::Bytes(8), 2);
        for line in ["one\n", "two\n", "three\n", "four\n", "a line longer than a file\n", "six\n"] {
            log.write(line);
            log.clock.advance(Duration::from_millis(1));
        }
        assert_eq!(log.files(), ["six\n", "four\n", "a line longer than a file\n"]);
    }

    #[test]
    fn files_rotate_at_midnight() {
        let log = log(RealDisk, Rotation::Daily, 9);
        log.write("monday\n");
        log.clock.advance(Duration::from_secs(3600));
        log.write("still monday\n");
        log.clock.advance(Duration::from_secs(24 * 3600));
        log.write("tuesday\n");
        assert_eq!(log.files(), ["tuesday\n", "monday\nstill monday\n"]);
    }

    #[test]
    fn an_existing_file_is_continued_also_when_it_was_cut() {
        let log = log(RealDisk, Rotation::Daily, 9);
        log.write("one\n");
        let path = log.dir.path().join("new/gateway.log");
        let again = LogFile::open(Arc::new(RealDisk), log.clock.clone(), &path, Rotation::Daily, 9).unwrap();
        (&again).write_all(b"two\n").unwrap();
        log.write("three\n");
        assert_eq!(log.files(), ["one\ntwo\nthree\n"]);
        RealDisk.open(&path).unwrap().set_len(0).unwrap();
        log.write("four\n");
        assert_eq!(log.files(), ["four\n"]);
    }

    /// Goal: when the file cannot be rotated, lines go on into the old one.
    #[test]
    fn a_failing_rotation_loses_no_line() {
        let disk = FaultyDisk::new(
            Arc::new(RealDisk),
            Fault::from(Step::Rename, 0, io::ErrorKind::PermissionDenied),
        );
        let log = log(disk, Rotation::Bytes(4), 1);
        log.write("one\n");
        log.write("two\n");
        assert_eq!(log.files(), ["one\ntwo\n"]);
    }
}
