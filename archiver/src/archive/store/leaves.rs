//! The log's leaves: one hash for each message, in order, so that later heads can prove that nothing was altered or
//! left out.

use std::path::PathBuf;
use std::sync::Arc;

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::{Digest, Sha256};
use postern_shared::disk::{Disk, DiskFile};
use postern_shared::id::MessageId;

use super::{StoreError, is_unreadable};

pub(in crate::archive) const LEAF_BYTES: u64 = 32;

#[derive(Debug)]
pub(in crate::archive) struct Leaves {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    count: u64,
}

impl Leaves {
    pub(in crate::archive) fn open(disk: &dyn Disk, dir: &std::path::Path) -> Result<Self, StoreError> {
        let path = dir.join("leaves");
        disk.create_dir_all(dir).map_err(StoreError::io(dir))?;
        let file = if disk.exists(&path).map_err(StoreError::io(&path))? {
            disk.open(&path).or_else(|_| disk.open_read(&path))
        } else {
            disk.create(&path).and_then(|file| disk.sync_dir(dir).map(|()| file))
        };
        let file = file.map_err(StoreError::io(&path))?;
        let count = file.len().map_err(StoreError::io(&path))? / LEAF_BYTES;
        Ok(Self { path, file, count })
    }

    pub(in crate::archive) fn count(&self) -> u64 {
        self.count
    }

    /// Gives out no number below `count`: the file lost leaves that it had.
    pub(in crate::archive) fn at_least(&mut self, count: u64) {
        self.count = self.count.max(count);
    }

    pub(in crate::archive) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Writes leaves from number `first` on, over whatever an interrupted commit left there, and syncs.
    pub(in crate::archive) fn write(&mut self, first: u64, leaves: &[Digest]) -> Result<(), StoreError> {
        if leaves.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
        let written =
            self.file.write_all_at(&[&bytes], first * LEAF_BYTES).and_then(|()| self.file.sync_data());
        written.map_err(StoreError::io(&self.path))?;
        self.count = self.count.max(first + leaves.len() as u64);
        Ok(())
    }

    /// Counts only the first `count` leaves; what lies behind them is written over.
    pub(in crate::archive) fn forget_from(&mut self, count: u64) {
        self.count = self.count.min(count);
    }

    /// A leaf; `None` when there are not so many.
    pub(in crate::archive) fn get(&self, number: u64) -> Result<Option<Digest>, StoreError> {
        let mut leaf = [0; 32];
        match self.file.read_exact_at(&mut leaf, number * LEAF_BYTES) {
            Ok(()) => Ok(Some(Digest(leaf))),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(StoreError::io(&self.path)(error)),
        }
    }

    /// Whether that leaf stands there. One that cannot be read does not.
    pub(in crate::archive) fn is(&self, number: u64, leaf: Digest) -> Result<bool, StoreError> {
        match self.get(number) {
            Ok(found) => Ok(found == Some(leaf)),
            Err(StoreError::Io { source, .. }) if is_unreadable(&source) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a leaf where it belongs unless it stands there already. Nothing is synced.
    pub(in crate::archive) fn restore(&mut self, number: u64, leaf: Digest) -> Result<bool, StoreError> {
        self.count = self.count.max(number + 1);
        if self.is(number, leaf)? {
            return Ok(false);
        }
        self.file.write_all_at(&[&leaf.0], number * LEAF_BYTES).map_err(StoreError::io(&self.path))?;
        Ok(true)
    }

    /// Makes what was restored durable.
    pub(in crate::archive) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::io(&self.path))
    }

    /// Cuts what lies behind the first `count` leaves.
    pub(in crate::archive) fn cut(&mut self, count: u64) -> Result<(), StoreError> {
        let cut = self.file.set_len(count * LEAF_BYTES).and_then(|()| self.file.sync_data());
        cut.map_err(StoreError::io(&self.path))?;
        self.count = count;
        Ok(())
    }
}

/// The leaf hash of a message; see the room's header.
pub(in crate::archive) fn leaf(
    message: MessageId,
    archived: UnixMillis,
    content: Digest,
    envelope: Digest,
    source: Digest,
) -> Digest {
    let mut hash = Sha256::new();
    hash.update(&[0]);
    hash.update(b"postern leaf v2");
    hash.update(&message.to_bytes());
    hash.update(&archived.0.to_be_bytes());
    hash.update(&content.0);
    hash.update(&envelope.0);
    hash.update(&source.0);
    hash.finish()
}
