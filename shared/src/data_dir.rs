//! One process a data directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{Disk, DiskLock};

/// Why a data directory cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process works on it.
    #[error("{holder} uses the data directory {data_dir}; stop it first, or give this one its own data_dir", data_dir = .data_dir.display())]
    InUse {
        /// The directory.
        data_dir: PathBuf,
        /// Who holds the lock.
        holder: String,
    },
    /// It cannot be created, or the lock not taken.
    #[error("cannot use the data directory {data_dir}: {source}", data_dir = .data_dir.display())]
    Unusable {
        /// The directory.
        data_dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

const NOTE_BYTES_MAX: u64 = 200;
/// How long a daemon waits for commands to end.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// What a process works on the directory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// To serve, for as long as it runs.
    Daemon,
    /// For one command, which is over soon.
    Command,
}

/// Takes the lock of `data_dir`, which is created when missing, for `program`. It ends with the value. A daemon waits
/// for a command that holds it: an operator who asks for the status must not keep a gateway from starting.
pub fn lock(
    disk: &dyn Disk,
    data_dir: &Path,
    program: &str,
    holder: Holder,
) -> Result<DiskLock, DataDirError> {
    let unusable = |source| DataDirError::Unusable { data_dir: data_dir.into(), source };
    disk.create_dir_all(data_dir).map_err(unusable)?;
    let path = data_dir.join(format!("{program}.lock"));
    let command = format!("a command of {program}, process ");
    let note = match holder {
        Holder::Daemon => format!("{program}, process {}", std::process::id()),
        Holder::Command => format!("{command}{}", std::process::id()),
    };
    let mut waited = Duration::ZERO;
    loop {
        if let Some(lock) = disk.lock(&path, &note).map_err(unusable)? {
            return Ok(lock);
        }
        let found = disk.read(&path, NOTE_BYTES_MAX).ok().and_then(|note| String::from_utf8(note).ok());
        let found = found.unwrap_or_default();
        // An empty note is just being written, or the lock just free.
        let is_over_soon = found.is_empty() || found.starts_with(&command);
        if holder == Holder::Command || !is_over_soon || waited >= PATIENCE {
            let holder = if found.is_empty() { format!("another {program}") } else { found };
            return Err(DataDirError::InUse { data_dir: data_dir.into(), holder });
        }
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn the_second_is_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let lock = |holder| lock(&RealDisk, dir.path(), "postern-test", holder);
        let held = lock(Holder::Daemon).unwrap();
        let said = lock(Holder::Daemon).unwrap_err().to_string();
        assert!(said.contains(&format!("postern-test, process {}", std::process::id())), "{said}");
        drop(held);
        assert!(lock(Holder::Command).is_ok());
    }

    /// Method: a command that ends once the daemon's attempt has begun, more or less; both orders are right.
    #[test]
    fn a_daemon_waits_for_a_command() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(&RealDisk, dir.path(), "postern-test", Holder::Command).unwrap();
        let daemon = std::thread::spawn({
            let dir = dir.path().to_path_buf();
            move || lock(&RealDisk, &dir, "postern-test", Holder::Daemon)
        });
        std::thread::yield_now();
        drop(held);
        assert!(daemon.join().unwrap().is_ok());
    }
}
