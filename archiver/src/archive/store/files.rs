//! A series of numbered append-only files: packs and key tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::disk::{Disk, DiskFile};

use super::StoreError;
use super::format::{FILE_HEADER_BYTES, FileKind};

/// Only the newest file is written to; all others never change again.
#[derive(Debug)]
pub(super) struct Series {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    kind: FileKind,
    files: BTreeMap<u64, OpenFile>,
}

/// One file of a series.
#[derive(Debug, Clone)]
pub(super) struct OpenFile {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
    /// Octets that count.
    pub(super) bytes: u64,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::archive) struct ReadOnlyFrom {
    /// The file's number.
    pub(in crate::archive) file: u64,
    /// The first octet.
    pub(in crate::archive) offset: u64,
}

impl Series {
    pub(super) fn open(disk: Arc<dyn Disk>, dir: PathBuf, kind: FileKind) -> Result<Self, StoreError> {
        disk.create_dir_all(&dir).map_err(StoreError::io(&dir))?;
        let mut files = BTreeMap::new();
        for path in disk.files(&dir).map_err(StoreError::io(&dir))? {
            let Some(number) = number_of(&path, kind) else { continue };
            let file = disk.open(&path).map_err(StoreError::io(&path))?;
            let bytes = file.len().map_err(StoreError::io(&path))?;
            files.insert(number, OpenFile { file, path, bytes });
        }
        Ok(Self { disk, dir, kind, files })
    }

    pub(super) fn get(&self, number: u64) -> Option<&OpenFile> {
        self.files.get(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &OpenFile)> {
        self.files.iter().map(|(number, file)| (*number, file))
    }

    pub(super) fn newest(&self) -> Option<(u64, &OpenFile)> {
        self.files.last_key_value().map(|(number, file)| (*number, file))
    }

    /// The file to append to: the newest, or a new one when that has reached `bytes_max` or has no whole header.
    pub(super) fn writable(&mut self, bytes_max: u64) -> Result<(u64, OpenFile), StoreError> {
        let newest = self.newest().map(|(number, file)| (number, file.clone()));
        match newest {
            Some((number, file)) if (FILE_HEADER_BYTES as u64..bytes_max).contains(&file.bytes) => {
                Ok((number, file))
            }
            newest => self.create(newest.map_or(1, |(number, _)| number + 1)),
        }
    }

    fn create(&mut self, number: u64) -> Result<(u64, OpenFile), StoreError> {
        let path = self.dir.join(format!("{number:016x}.{}", self.kind.extension()));
        let made = self.disk.create(&path).and_then(|file| {
            file.write_all_at(&[&self.kind.header(number)], 0)?;
            file.sync_data()?;
            self.disk.sync_dir(&self.dir)?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                let open = OpenFile { file, path, bytes: FILE_HEADER_BYTES as u64 };
                self.files.insert(number, open.clone());
                Ok((number, open))
            }
            Err(error) => {
                // Else the next attempt could not create it.
                let _ = self.disk.remove(&path);
                Err(StoreError::io(&path)(error))
            }
        }
    }

    /// Tells how much of a file counts now.
    pub(super) fn set_bytes(&mut self, number: u64, bytes: u64) {
        if let Some(file) = self.files.get_mut(&number) {
            file.bytes = bytes;
        }
    }

    /// Cuts a file to what counts.
    pub(super) fn cut(&mut self, number: u64, bytes: u64) -> Result<(), StoreError> {
        let Some(open) = self.files.get_mut(&number) else { return Ok(()) };
        let cut = open.file.set_len(bytes).and_then(|()| open.file.sync_data());
        cut.map_err(StoreError::io(&open.path))?;
        open.bytes = bytes;
        Ok(())
    }

    pub(super) fn has_header(&self, number: u64) -> bool {
        let mut bytes = [0; FILE_HEADER_BYTES];
        self.files.get(&number).is_some_and(|open| {
            open.file.read_exact_at(&mut bytes, 0).is_ok() && self.kind.is_header(&bytes, number)
        })
    }
}

fn number_of(path: &Path, kind: FileKind) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(kind.extension())?.strip_suffix('.')?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}
