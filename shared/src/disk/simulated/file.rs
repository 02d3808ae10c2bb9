//! Files: what is read, what is durable, and what lies between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Dice, FILE_BYTES_MAX, Inode, State, Stopped, crash};
use crate::disk::{DiskFile, Step};

/// A file's octets.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// As they are read.
    cached: Vec<u8>,
    /// As they certainly are on the disk.
    pub(super) durable: Vec<u8>,
    /// What was done since the last sync.
    pub(super) pending: Vec<Change>,
}

/// Something done to a file.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Content {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { cached: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.cached.len() as u64
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.cached, &change);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        self.pending.drain(..).for_each(|change| apply(&mut self.durable, &change));
        // A sync that failed may have lost a length; this one brings it.
        self.durable.resize(self.cached.len(), 0);
    }

    /// A sync fails: some of it is on the disk, the rest never will be.
    fn lose(&mut self, dice: &mut Dice) {
        self.durable = crash::content_after_cut(self, dice);
        self.pending.clear();
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => bytes.resize(*len, 0),
        Change::Write { offset, bytes: new } => {
            let end = offset + new.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(new);
        }
    }
}

/// An open file of a simulated disk.
#[derive(Debug)]
pub(super) struct SimulatedFile {
    state: Arc<Mutex<State>>,
    inode: Inode,
    path: PathBuf,
    writable: bool,
}

impl SimulatedFile {
    pub(super) fn new(state: Arc<Mutex<State>>, inode: Inode, path: &Path, writable: bool) -> Self {
        Self { state, inode, path: path.to_path_buf(), writable }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl DiskFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.state();
        state.check_power()?;
        Ok(content(&mut state, self.inode)?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        state.check_power()?;
        let bytes = &content(&mut state, self.inode)?.cached;
        let start = position(offset)?.min(bytes.len());
        let len = buffer.len().min(bytes.len() - start);
        buffer[..len].copy_from_slice(&bytes[start..start + len]);
        Ok(len)
    }

    fn write_all_at(&self, buffers: &[&[u8]], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut bytes = buffers.concat();
        let mut state = self.state();
        let mut failed = match state.begin(Step::Write, &self.path) {
            Ok(()) => None,
            Err(Stopped::Before(error)) => return Err(error),
            Err(Stopped::Halfway(error)) => {
                bytes.truncate(bytes.len() / 2);
                Some(error)
            }
        };
        let free = state.free_bytes();
        let content = content(&mut state, self.inode)?;
        let offset_in_file = position(offset)?;
        let room =
            position(content.len().max(offset).saturating_add(free).min(FILE_BYTES_MAX))? - offset_in_file;
        if bytes.len() > room {
            bytes.truncate(room);
            failed.get_or_insert_with(|| io::ErrorKind::StorageFull.into());
        }
        if !bytes.is_empty() {
            content.change(Change::Write { offset: offset_in_file, bytes });
        }
        failed.map_or(Ok(()), Err)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        let begun = state.begin(Step::Sync, &self.path);
        let mut dice = state.dice.clone();
        let content = content(&mut state, self.inode)?;
        let result = match begun {
            Ok(()) => {
                content.sync();
                Ok(())
            }
            Err(Stopped::Before(error)) => return Err(error),
            Err(Stopped::Halfway(error)) => {
                content.lose(&mut dice);
                Err(error)
            }
        };
        state.dice = dice;
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.state();
        state.begin_whole(Step::SetLen, &self.path)?;
        let free = state.free_bytes();
        let content = content(&mut state, self.inode)?;
        if len > content.len().saturating_add(free) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.change(Change::SetLen(position(len)?));
        Ok(())
    }
}

fn content(state: &mut State, inode: Inode) -> io::Result<&mut Content> {
    state.contents.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn position(offset: u64) -> io::Result<usize> {
    if offset > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    usize::try_from(offset).map_err(io::Error::other)
}
