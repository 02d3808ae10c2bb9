//! Backups: a copy of the data directory with the SHA-256 of each file, made while the gateway runs or not, checked, and
//! restored.
//!
//! # On disk
//!
//! ```text
//! <place>/postern-backup.lock        held by whoever makes a backup there
//! <place>/current/                   the backup
//! <place>/current/manifest.json      what belongs to it; written last
//! <place>/current/data/…             the data directory, file by file
//! <place>/current/configuration/…    the configuration file, for reference
//! <place>/previous/                  the last one without damage, while what the gateway has is damaged
//! <place>/incoming/                  one being made; worth nothing
//! <place>/outgoing/                  what `current` was a moment ago, should the program die in that moment
//! ```
//!
//! A place that ends with `.tar` is one file instead (POSIX ustar) that holds what `current/` does, `manifest.json` last.
//!
//! # What is copied when
//!
//! No file needs another one of the same moment, but some must not be newer than others:
//!
//! | in turn | because |
//! |---|---|
//! | `proxy/` | it says which messages were recorded: never more than the spool that follows |
//! | `spool/segments/`, oldest first | a record that moves meanwhile moves towards the newest |
//! | `spool/large/` | a record that refers to a large file was written after it |
//! | everything else | a mailbox with messages is not deleted |
//!
//! The newest segment is copied up to its last whole record, so nothing is in a backup in half. When a segment that was
//! listed vanishes before it is copied (after the grace period, or on a disk that is nearly full), the segments are listed
//! anew. Not copied: locks, the control socket, temporary files, prepared segments.
//!
//! Promises
//! - What was acknowledged before the backup began, and not deleted since, is in it; what was deleted before is not.
//! - `current` is whole and was read back, or is not there: it gets its name at the end, and until then the one before has it.
//! - Closed segments and large files that the backup has already are not copied again: they get a second name there.
//! - A backup is restored into an empty directory only, and no gateway starts on it before all of it was compared with the
//!   manifest ([`RESTORING`] is in the way).
//! - Files 0600, directories 0700. Mail in them is sealed; keys of certificates and accounts are not.
//!
//! Not here: the data directory's own formats (each in its room), the archiver's data.

mod archive;
mod check;
mod copy;
mod error;
mod inventory;
mod make;
mod manifest;
mod place;
mod read_only;
mod restore;
mod source;
#[cfg(test)]
mod tests;

use postern_shared::shutdown::Shutdown;
use postern_shared::telemetry::Progress;

pub use check::{Checked, Contents, check};
pub use error::BackupError;
pub use make::{Made, Plan, make};
pub use restore::{Restored, restore};

/// A file in a data directory that is being restored. While it is there no gateway starts.
pub const RESTORING: &str = "restore-is-not-finished";

/// How the work goes on, and whether it should.
pub struct Work<'w> {
    stop: &'w Shutdown,
    tell: &'w mut dyn FnMut(&Progress),
    what: &'static str,
    done: u64,
    total: u64,
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("what", &self.what).field("done", &self.done).finish_non_exhaustive()
    }
}

impl<'w> Work<'w> {
    /// Work that ends when `stop` says so, and tells how far it is.
    pub fn new(stop: &'w Shutdown, tell: &'w mut dyn FnMut(&Progress)) -> Self {
        Self { stop, tell, what: "", done: 0, total: 0 }
    }

    fn begin(&mut self, what: &'static str, total: u64) {
        (self.what, self.done, self.total) = (what, 0, total);
    }

    /// So many octets more are done.
    fn advance(&mut self, bytes: u64) -> Result<(), BackupError> {
        self.done += bytes;
        let (done, total) = (self.done >> 20, Some(self.total.max(self.done) >> 20));
        (self.tell)(&Progress { what: format!("{} (MiB)", self.what), done, total });
        if self.stop.is_requested() { Err(BackupError::Cancelled) } else { Ok(()) }
    }
}
