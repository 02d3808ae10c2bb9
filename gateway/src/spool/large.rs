//! Messages in files of their own: streamed to disk while they arrive.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::seal::Sealed;
use postern_shared::disk::{Disk, DiskFile};
use postern_shared::id::{MailboxId, MessageId};

use super::layout::{Kind, RecordHeader};
use super::{SpoolError, Step};

/// A large file being written. Unless its record is committed, dropping it removes the file, for good: it is not found
/// again after a power cut. Dropping blocks for the disk.
#[derive(Debug)]
pub struct LargeFile {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    reserve_bytes: u64,
    bytes: u64,
    crc: u32,
    finished: bool,
    kept: bool,
}

impl LargeFile {
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        mailbox: MailboxId,
        message: MessageId,
        reserve_bytes: u64,
    ) -> Result<Self, SpoolError> {
        let path = path(dir, mailbox, message);
        let file = disk.create(&path).map_err(SpoolError::io(Step::Create, &path))?;
        let disk = Arc::clone(disk);
        Ok(Self { disk, file, path, reserve_bytes, bytes: 0, crc: 0, finished: false, kept: false })
    }

    /// Appends sealed bytes, unless they would eat into the reserve. Blocks for the disk.
    pub fn write(&mut self, pieces: &[impl AsRef<[u8]>]) -> Result<(), SpoolError> {
        let pieces: Vec<&[u8]> = pieces.iter().map(AsRef::as_ref).collect();
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        check_space(&*self.disk, &self.path, self.reserve_bytes, bytes)?;
        self.file.write_all_at(&pieces, self.bytes).map_err(SpoolError::io(Step::Write, &self.path))?;
        self.bytes += bytes;
        self.crc = pieces.iter().fold(self.crc, |crc, piece| crc32c::crc32c_append(crc, piece));
        Ok(())
    }

    /// Writes what identifies the message and makes the file durable; must come before its record is appended, and say the
    /// same. Blocks for the disk.
    pub fn finish(
        &mut self,
        mailbox: MailboxId,
        message: MessageId,
        received: UnixMillis,
        sealed: Sealed,
        prepared: bool,
    ) -> Result<(), SpoolError> {
        let header = self.header(mailbox, message, received, sealed, prepared);
        self.file
            .write_all_at(&[&header.to_bytes()], self.bytes)
            .map_err(SpoolError::io(Step::Write, &self.path))?;
        // From here on a restart may find it whole.
        self.finished = true;
        self.file.sync_data().map_err(SpoolError::io(Step::Sync, &self.path))?;
        let dir = self.path.parent().unwrap_or(&self.path);
        self.disk.sync_dir(dir).map_err(SpoolError::io(Step::Sync, dir))?;
        // It is read once, by the archiver; until then it would only push other things out of memory.
        self.file.drop_cache();
        Ok(())
    }

    pub(super) fn header(
        &self,
        mailbox: MailboxId,
        message: MessageId,
        received: UnixMillis,
        sealed: Sealed,
        prepared: bool,
    ) -> RecordHeader {
        RecordHeader::stored(
            Kind::Large,
            prepared,
            (mailbox, message),
            received,
            sealed,
            self.bytes,
            self.crc,
        )
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl LargeFile {
    fn remove(&self) -> io::Result<()> {
        self.disk.remove(&self.path)?;
        // Only a whole one would be adopted by a restart.
        if self.finished { self.disk.sync_dir(self.path.parent().unwrap_or(&self.path)) } else { Ok(()) }
    }
}

impl Drop for LargeFile {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // One that cannot be removed is emptied, so that it is no message at least.
        let emptied = || self.file.set_len(0).and_then(|()| self.file.sync_data());
        if let Err(error) = self.remove().or_else(|error| emptied().and(Err(error))) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an abandoned file");
        }
    }
}

/// Refuses when `needed_bytes` would eat into the reserve of the file system that holds `path`.
pub(super) fn check_space(
    disk: &dyn Disk,
    path: &Path,
    reserve_bytes: u64,
    needed_bytes: u64,
) -> Result<(), SpoolError> {
    let free = disk.free_bytes(path).map_err(SpoolError::io(Step::Write, path))?;
    let free_bytes = free.saturating_sub(reserve_bytes);
    if free_bytes < needed_bytes { Err(SpoolError::Full { free_bytes, needed_bytes }) } else { Ok(()) }
}

pub(super) fn path(dir: &Path, mailbox: MailboxId, message: MessageId) -> PathBuf {
    dir.join(format!("{message}-{mailbox}.msg"))
}

/// The message a large file's name speaks of.
pub(super) fn parse_name(path: &Path) -> Option<(MailboxId, MessageId)> {
    let (message, mailbox) = path.file_name()?.to_str()?.strip_suffix(".msg")?.split_once('-')?;
    Some((mailbox.parse().ok()?, message.parse().ok()?))
}
