//! Entries: what names there are, and which of them are durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::{Dice, EntryOrder, Inode};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(Inode),
    Dir,
}

/// All names, by path.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    cached: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    pending: Vec<Change>,
    changes: u64,
}

/// A name that stands for something else now, or for nothing. A rename is two of them with one number.
#[derive(Debug, Clone)]
struct Change {
    number: u64,
    path: PathBuf,
    entry: Option<Entry>,
}

impl Entries {
    pub(super) fn exists(&self, path: &Path) -> bool {
        is_root(path) || self.cached.contains_key(path)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Inode> {
        match self.cached.get(path) {
            Some(Entry::File(inode)) => Ok(*inode),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn files(&self, dir: &Path) -> Vec<PathBuf> {
        self.inside(dir, |entry| matches!(entry, Entry::File(_)))
    }

    pub(super) fn dirs(&self, dir: &Path) -> Vec<PathBuf> {
        self.inside(dir, |entry| entry == Entry::Dir)
    }

    fn inside(&self, dir: &Path, wanted: impl Fn(Entry) -> bool) -> Vec<PathBuf> {
        let entries =
            self.cached.iter().filter(|(path, entry)| path.parent() == Some(dir) && wanted(**entry));
        entries.map(|(path, _)| path.clone()).collect()
    }

    /// All files that have a name, each once.
    pub(super) fn inodes(&self) -> BTreeSet<Inode> {
        self.cached
            .values()
            .filter_map(|entry| if let Entry::File(inode) = entry { Some(*inode) } else { None })
            .collect()
    }

    pub(super) fn create(&mut self, path: &Path, inode: Inode) -> io::Result<()> {
        self.make(path, Entry::File(inode))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.make(path, Entry::Dir)
    }

    fn make(&mut self, path: &Path, entry: Entry) -> io::Result<()> {
        self.check_parent(path)?;
        if self.exists(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(&[(path, Some(entry))]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.change(&[(path, None)]);
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        if self.cached.get(dir) != Some(&Entry::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        // What is in a directory goes before it.
        let inside: Vec<PathBuf> =
            self.cached.keys().rev().filter(|path| path.starts_with(dir)).cloned().collect();
        inside.iter().for_each(|path| self.change(&[(path, None)]));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.file(from)?;
        self.check_parent(to)?;
        if self.cached.get(to) == Some(&Entry::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.change(&[(from, None), (to, Some(Entry::File(inode)))]);
        Ok(())
    }

    /// Makes the changes in `dir` durable; with a journal, all before them too.
    pub(super) fn sync(&mut self, dir: &Path, order: EntryOrder) -> io::Result<()> {
        if !self.exists(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |change: &Change| change.path.parent() == Some(dir);
        let newest = self.pending.iter().rfind(|change| inside(change)).map(|change| change.number);
        let (synced, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|change| match order {
                EntryOrder::Journal => newest.is_some_and(|newest| change.number <= newest),
                EntryOrder::Any => inside(change),
            });
        self.pending = pending;
        let synced: Vec<Change> = synced;
        synced.into_iter().for_each(|change| apply(&mut self.durable, change));
        Ok(())
    }

    /// What a power cut leaves.
    pub(super) fn after_cut(&self, order: EntryOrder, dice: &mut Dice) -> Self {
        let mut left = self.durable.clone();
        match order {
            EntryOrder::Journal => {
                let first = self.pending.first().map_or(self.changes, |change| change.number);
                let kept_until = first + dice.below(self.changes - first + 1);
                let kept = self.pending.iter().filter(|change| change.number < kept_until);
                kept.for_each(|change| apply(&mut left, change.clone()));
            }
            EntryOrder::Any => {
                let names: BTreeSet<&PathBuf> = self.pending.iter().map(|change| &change.path).collect();
                for name in names {
                    let of_name: Vec<&Change> =
                        self.pending.iter().filter(|change| change.path == *name).collect();
                    let kept = dice.index(of_name.len() + 1);
                    of_name[..kept].iter().for_each(|change| apply(&mut left, (*change).clone()));
                }
            }
        }
        // What is in a directory that is not there cannot be reached.
        let reachable = |path: &PathBuf| {
            path.ancestors().skip(1).all(|dir| is_root(dir) || left.get(dir) == Some(&Entry::Dir))
        };
        let left: BTreeMap<_, _> = left
            .iter()
            .filter(|(path, _)| reachable(path))
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        Self { cached: left.clone(), durable: left, ..Self::default() }
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        if is_root(parent) || self.cached.get(parent) == Some(&Entry::Dir) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn change(&mut self, names: &[(&Path, Option<Entry>)]) {
        for (path, entry) in names {
            let change = Change { number: self.changes, path: path.to_path_buf(), entry: *entry };
            apply(&mut self.cached, change.clone());
            self.pending.push(change);
        }
        self.changes += 1;
    }
}

fn is_root(path: &Path) -> bool {
    path.parent().is_none() || path.as_os_str().is_empty()
}

fn apply(entries: &mut BTreeMap<PathBuf, Entry>, change: Change) {
    match change.entry {
        Some(entry) => entries.insert(change.path, entry),
        None => entries.remove(&change.path),
    };
}
