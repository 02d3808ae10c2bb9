//! Changes of the set: stores made, given another state, detached, attached.
//!
//! A store that is to be closed is closed when nothing writes to it: no commit and no maintenance. Whoever still reads it holds its
//! lock, and until that is free nobody opens it a second time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};

use super::file::{Entry, FORMAT, RollOver, State, StoreFile, StoresFile};
use super::set::{Attached, Member, Stores};
use crate::archive::{ArchiveError, check_id};

/// Nobody writes to any store while this is held.
struct Still<'s> {
    _maintaining: MutexGuard<'s, ()>,
    _grouping: MutexGuard<'s, ()>,
}

impl Stores {
    /// Sets when another store becomes the current one.
    pub(in crate::archive) fn set_roll_over(&self, roll_over: RollOver) -> Result<(), ArchiveError> {
        self.change(|file, _| {
            file.0 = roll_over;
            Ok(())
        })
    }

    /// Changes the set: first on disk, then here.
    fn change(
        &self,
        change: impl FnOnce(&mut (RollOver, Vec<Member>), &Self) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.change_held(change)
    }

    fn change_held(
        &self,
        change: impl FnOnce(&mut (RollOver, Vec<Member>), &Self) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut next = self.set.read().unwrap_or_else(PoisonError::into_inner).clone();
        change(&mut next, self)?;
        let stores = next.1.iter().map(|member| member.entry.clone()).collect();
        StoresFile { format: FORMAT, roll_over: next.0, stores }.write(&*self.disk, &self.dir)?;
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Waits for the commit that is being written; refused while a maintenance runs.
    fn still(&self) -> Result<Still<'_>, ArchiveError> {
        let maintaining = match self.maintaining().try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(ArchiveError::Busy),
        };
        Ok(Still { _maintaining: maintaining, _grouping: self.grouping() })
    }

    /// Makes another store and makes it the current one; its id. One that was made before and could not be entered is used.
    pub(in crate::archive) fn create_next(&self) -> Result<String, ArchiveError> {
        let mut begun = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let entries: Vec<Entry> = self.members().into_iter().map(|member| member.entry).collect();
        let file = StoresFile { format: FORMAT, roll_over: self.roll_over(), stores: entries };
        let id = match begun.take() {
            Some(id) if file.stores.iter().all(|entry| entry.id != id) => id,
            _ => file.next_id(&*self.disk, &self.dir)?,
        };
        *begun = Some(id.clone());
        let entry = Entry { id: id.clone(), state: State::Current, dir: None };
        let dir = self.dir_of(&entry);
        if !StoreFile::exists(&*self.disk, &dir)? {
            StoreFile::create(&*self.disk, &dir, &id, self.clock.wall(), self.master())?;
        }
        self.change_held(|set, stores| {
            let made = stores.member(entry)?;
            stores.keep_folders(&set.1, made.open.as_deref())?;
            retire(&mut set.1);
            set.1.push(made);
            Ok(())
        })?;
        *begun = None;
        tracing::info!(store = id, "new messages go to another store");
        Ok(id)
    }

    /// Makes another store when the current one is full.
    pub(super) fn roll_over_when_full(&self) -> Result<(), ArchiveError> {
        let (limits, current) = (self.roll_over(), self.current()?);
        let messages = current.store.catalog().counts()?.messages;
        if messages >= limits.messages || current.store.packs.total_bytes() >= limits.bytes {
            self.create_next()?;
        }
        Ok(())
    }

    /// Gives a store another state. The current one cannot be given any: make another one current.
    pub(in crate::archive) fn set_state(&self, id: &str, state: State) -> Result<(), ArchiveError> {
        let takes_less = matches!(state, State::Disabled | State::WriteProtected);
        let opens_anew = !takes_less && self.get(id).is_ok_and(|open| !open.store.is_writable);
        let _still = (takes_less || opens_anew).then(|| self.still()).transpose()?;
        self.change(|set, stores| {
            let at = position(&set.1, id)?;
            if set.1[at].entry.state == State::Current && state != State::Current {
                return Err(ArchiveError::CurrentStore(id.into()));
            }
            let entry = Entry { state, ..set.1[at].entry.clone() };
            let changed = if state == State::Disabled {
                stores.member(entry)?
            } else if opens_anew {
                stores.open_writable(set, at, entry)?
            } else if set.1[at].open.is_some() {
                Member { entry, ..set.1[at].clone() }
            } else {
                match stores.open_store(&entry) {
                    Err(error @ ArchiveError::StoreInUse { .. }) => return Err(error),
                    Err(error) if !takes_less => return Err(error),
                    opened => Member::of(entry, opened),
                }
            };
            match state {
                State::Current => {
                    stores.keep_folders(&set.1, changed.open.as_deref())?;
                    retire(&mut set.1);
                }
                State::Disabled => stores.keep_folders(&set.1[at..=at], stores.current().ok().as_deref())?,
                State::Normal | State::WriteProtected => {}
            }
            set.1[at] = changed;
            Ok(())
        })
    }

    /// Closes a store that is only read and opens it as one that is written: what a crash left is seen to before anything is appended. When that
    /// fails, it is read as before.
    fn open_writable(
        &self,
        next: &mut (RollOver, Vec<Member>),
        at: usize,
        entry: Entry,
    ) -> Result<Member, ArchiveError> {
        let before = next.1[at].clone();
        let closed = Member { open: None, ..before.clone() };
        next.1[at] = closed.clone();
        let held = before.open.as_ref().map(Arc::downgrade);
        let entry_before = before.entry.clone();
        drop(before);
        self.put(closed);
        let error = match self.open_store(&entry) {
            Ok(opened) => return Ok(Member { entry, open: Some(Arc::new(opened)), error: None }),
            Err(error) => error,
        };
        // Whoever still reads it has it open.
        let again = match held.and_then(|held| held.upgrade()) {
            Some(open) => Member { entry: entry_before, open: Some(open), error: None },
            None => {
                let opened = self.open_store(&entry_before);
                Member::of(entry_before, opened)
            }
        };
        self.put(again);
        Err(error)
    }

    fn put(&self, member: Member) {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = set.1.iter_mut().find(|here| here.entry.id == member.entry.id) {
            *here = member;
        }
    }

    /// Takes a store out of the set; its directory stays as it is. Returns where it is.
    pub(in crate::archive) fn detach(&self, id: &str) -> Result<PathBuf, ArchiveError> {
        let _still = self.still()?;
        let mut dir = PathBuf::new();
        self.change(|set, stores| {
            let at = position(&set.1, id)?;
            if set.1[at].entry.state == State::Current {
                return Err(ArchiveError::CurrentStore(id.into()));
            }
            stores.keep_folders(&set.1[at..=at], stores.current().ok().as_deref())?;
            let member = set.1.remove(at);
            dir = stores.dir_of(&member.entry);
            if let Some(open) = member.open {
                open.store.catalog().settle()?;
            }
            Ok(())
        })?;
        Ok(dir)
    }

    /// Adds a store of this instance that lies in `dir`; its id.
    pub(in crate::archive) fn attach(&self, dir: &Path) -> Result<String, ArchiveError> {
        let file = StoreFile::read(&*self.disk, dir)?;
        file.key(dir, self.master())?;
        check_id(&file.id)?;
        let is_at_home = dir == self.dir.join("stores").join(&file.id);
        let dir = (!is_at_home).then(|| dir.to_path_buf());
        let entry = Entry { id: file.id.clone(), state: State::WriteProtected, dir };
        self.change(|set, stores| {
            let same = |member: &Member| {
                member.entry.id == file.id
                    || member.open.as_ref().is_some_and(|open| open.store.uid == file.uid)
            };
            if set.1.iter().any(same) {
                return Err(ArchiveError::StoreExists(file.id.clone()));
            }
            let attached = stores.member(entry)?;
            if let Some(error) = attached.error {
                return Err(ArchiveError::File { path: stores.dir_of(&attached.entry), reason: error });
            }
            stores.keep_folders(std::slice::from_ref(&attached), stores.current().ok().as_deref())?;
            // Newer stores come later.
            let at = set.1.iter().position(|member| member.entry.id > file.id).unwrap_or(set.1.len());
            set.1.insert(at, attached);
            Ok(())
        })?;
        Ok(file.id)
    }

    /// Lets the current store's catalog know the folders of others, so that no UID is given twice while one of them is away.
    pub(super) fn keep_folders(
        &self,
        others: &[Member],
        current: Option<&Attached>,
    ) -> Result<(), ArchiveError> {
        let Some(current) = current else { return Ok(()) };
        for other in others.iter().filter_map(|member| member.open.as_deref()) {
            if std::ptr::eq(other, current) {
                continue;
            }
            if let Some(folders) = self.asked(other, other.store.catalog().known_folders())? {
                current.store.catalog().keep_folders(&folders)?;
            }
        }
        Ok(())
    }
}

fn retire(members: &mut [Member]) {
    for member in members.iter_mut().filter(|member| member.entry.state == State::Current) {
        member.entry.state = State::Normal;
    }
}

fn position(members: &[Member], id: &str) -> Result<usize, ArchiveError> {
    let found = members.iter().position(|member| member.entry.id == id);
    found.ok_or_else(|| ArchiveError::NoStore(id.chars().take(64).collect()))
}
