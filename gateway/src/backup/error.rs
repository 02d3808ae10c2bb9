//! Why there is no backup, or no restored gateway, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use postern_shared::data_dir::DataDirError;

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Somebody asked for the end.
    #[error("cancelled; nothing of it is kept, and what was there before is as it was")]
    Cancelled,
    /// The disk, or the system.
    #[error("cannot {doing} {}: {source}{}", .path.display(), advice(.source.kind()))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is known beforehand that there is no room.
    #[error(
        "{} MiB are needed in {}, and {} MiB are free: make room there, or choose another place",
        .needed.div_ceil(1 << 20), .place.display(), .free >> 20
    )]
    Full {
        /// Where.
        place: PathBuf,
        /// Octets to be written.
        needed: u64,
        /// Octets that can be.
        free: u64,
    },
    /// There is nothing to back up.
    #[error("there is no data directory {}: is this the right configuration (--config)?", .0.display())]
    NoData(PathBuf),
    /// The backup would hold itself.
    #[error("{} lies in the data directory: choose a place outside, best on another disk", .0.display())]
    Inside(PathBuf),
    /// Somebody's files are there.
    #[error("{} is not empty and holds no backup of a gateway: choose an empty directory, or one that is not there yet", .0.display())]
    Foreign(PathBuf),
    /// Another gateway's backup is there.
    #[error("{} holds the backup of the gateway for {domain:?}: choose another place for this one", .place.display())]
    OtherGateway {
        /// Where.
        place: PathBuf,
        /// Its e-mail domain.
        domain: String,
    },
    /// Two at once.
    #[error("another backup is being made in {}: wait until it is done", .0.display())]
    Busy(PathBuf),
    /// A file that can be in no backup.
    #[error("the name of {} is not text: it is none of the gateway's files; move it out of the data directory", .0.display())]
    Name(PathBuf),
    /// No backup, or half a one.
    #[error("{} holds no whole backup (there is no {}): one that was interrupted is worth nothing, make it again", .place.display(), super::manifest::NAME)]
    None {
        /// Where it was looked for.
        place: PathBuf,
    },
    /// The list of files cannot be trusted.
    #[error("{} cannot be used: {what}; take another backup", .path.display())]
    Manifest {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Files of a backup are not what they were.
    #[error("the backup in {} is damaged: {}. {advice}", .place.display(), list(.findings))]
    Damaged {
        /// Where.
        place: PathBuf,
        /// Which files, and how.
        findings: Vec<String>,
        /// What to do.
        advice: String,
    },
    /// What was written is not what is read back.
    #[error("what was written to {} is read back otherwise: that disk, or this machine's memory, cannot be trusted; choose another place", .0.display())]
    ReadBack(PathBuf),
    /// Somebody's data are there.
    #[error("the data directory {dir} is not empty, and nothing in it is overwritten: move it away first (mv {dir} {dir}.old)", dir = .0.display())]
    NotEmpty(PathBuf),
    /// A daemon, or a command, uses the directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

impl BackupError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room there, or choose another place"
        }
        io::ErrorKind::PermissionDenied => "; run this as the user that the daemon runs as, or as root",
        io::ErrorKind::ReadOnlyFilesystem => "; it is mounted read-only",
        io::ErrorKind::NotFound => "; it was there a moment ago",
        _ => "",
    }
}

/// The first few; the rest is counted.
fn list(findings: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = findings.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if let Some(more) = findings.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("; and {more} more files"));
    }
    text
}
