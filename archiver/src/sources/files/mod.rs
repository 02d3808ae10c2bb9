//! Mail in files: Maildir and mbox, in a directory of this machine.
//!
//! | what lies there | folders |
//! |---|---|
//! | a Maildir (`cur` and `new`) | INBOX; `.A.B` beside them is A/B (Maildir++), as are Maildirs within directories |
//! | mbox files | one each, named as the file and the directories it lies in |
//!
//! Lines end with CRLF in a message, whatever they end with in a file: so a message that is pulled from a server too is the same.
//! Whoever wants the octets as they lie there asks for it.
//!
//! Promises
//! - Files are read, and changed in no way but by [`Account::delete`], which removes files of a Maildir alone.
//! - A message of a Maildir is known by its unique name, whatever its flags; one of an mbox file by where it begins. A file that
//!   was not only written behind its end is read again from the beginning.
//! - A file that is there and cannot be opened is not taken for gone: it is told of, and missing with the system's words.
//! - A directory or file within that cannot be looked into is named, and keeps no other one.
//! - A symbolic link that leads out of the directory is not followed to folders; see also [`check_within`].
//! - The files of a folder are listed once a run, on threads that may wait.
//! - Memory: names and marks of a folder's files, and a piece of a message.
//!
//! Not here: mail servers' own formats beside these.

mod maildir;
mod mbox;
mod names;
mod roots;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postern_shared::disk::Disk;

use super::account::{Account, Changes, Deleted, Folder, FolderId, Item, ItemSet, Owner, Role, Sink, Woken};
use super::{Cursor, ItemId, NotFetched, SourceError};
use maildir::Listing;
pub use roots::check_within;

/// Folders within folders.
const DEPTH_MAX: usize = 32;
const FOLDERS_MAX: usize = 100_000;
const PIECE: usize = 256 * 1024;

/// What is read.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A Maildir, an mbox file, or a directory that holds some.
    pub path: PathBuf,
    /// Whether octets are taken as they lie there.
    pub verbatim: bool,
}

/// Mail in files, opened for a run.
pub struct FilesSource {
    disk: Arc<dyn Disk>,
    settings: Settings,
    message_octets_max: u64,
    /// Of the Maildir that was looked at last.
    listing: Option<Listing>,
    /// What could not be looked into when folders were listed, and why.
    unlisted: Vec<String>,
}

/// What a folder is made of.
enum Form {
    Maildir(PathBuf),
    Mbox(PathBuf),
}

/// What lies in the directory.
#[derive(Default)]
struct Found {
    folders: Vec<Folder>,
    /// What could not be looked into, and why; at most [`FOLDERS_MAX`].
    unlisted: Vec<String>,
}

impl Found {
    /// What a look at `path` gave; that it failed is kept in mind. What went away meanwhile is nothing.
    fn looked<T>(&mut self, path: &Path, look: io::Result<T>) -> Option<T> {
        match look {
            Ok(looked) => Some(looked),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound && self.unlisted.len() < FOLDERS_MAX {
                    self.unlisted.push(format!("{} cannot be looked into: {error}", path.display()));
                }
                None
            }
        }
    }
}

impl FilesSource {
    /// Opens what `settings` names.
    ///
    /// # Errors
    /// When there is nothing, or it cannot be read.
    pub fn open(
        disk: Arc<dyn Disk>,
        settings: Settings,
        message_octets_max: u64,
    ) -> Result<Self, SourceError> {
        let source = Self { disk, settings, message_octets_max, listing: None, unlisted: Vec::new() };
        match source.disk.exists(&source.settings.path) {
            Ok(true) => Ok(source),
            Ok(false) => Err(source.failed(&source.settings.path, &io::ErrorKind::NotFound.into())),
            Err(error) => Err(source.failed(&source.settings.path, &error)),
        }
    }

    fn failed(&self, path: &Path, error: &io::Error) -> SourceError {
        SourceError::Files { path: path.to_owned(), text: error.to_string() }
    }

    fn list(&self) -> Result<Found, SourceError> {
        let root = &self.settings.path;
        let mut found = Found::default();
        match self.disk.files(root) {
            Ok(_) => self.find(root, &mut Vec::new(), &mut found)?,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                let name = root.file_name().map(|name| name.to_string_lossy().into_owned());
                self.enter(vec![name.unwrap_or_default()], &Form::Mbox(root.clone()), &mut found)?;
            }
            Err(error) => return Err(self.failed(root, &error)),
        }
        found.folders.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn leads_out(&self, path: &Path) -> io::Result<bool> {
        let root = self.settings.path.canonicalize()?;
        Ok(!path.canonicalize()?.starts_with(root))
    }

    fn is_maildir(&self, dir: &Path) -> io::Result<bool> {
        Ok(self.disk.exists(&dir.join("cur"))? && self.disk.exists(&dir.join("new"))?)
    }

    fn find(&self, dir: &Path, path: &mut Vec<String>, found: &mut Found) -> Result<(), SourceError> {
        let Some(maildir) = found.looked(dir, self.is_maildir(dir)) else { return Ok(()) };
        if maildir {
            let names = if path.is_empty() { vec!["INBOX".to_owned()] } else { path.clone() };
            self.enter(names, &Form::Maildir(dir.into()), found)?;
        }
        if path.len() >= DEPTH_MAX {
            return Ok(());
        }
        for sub in found.looked(dir, self.disk.dirs(dir)).unwrap_or_default() {
            let Some(leads_out) = found.looked(&sub, self.leads_out(&sub)) else { continue };
            if leads_out {
                tracing::warn!(path = %sub.display(), "a link that leads out of the directory is not followed");
                continue;
            }
            let name = sub.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if maildir && ["cur", "new", "tmp"].contains(&name.as_str()) {
                continue;
            }
            let before = path.len();
            // Maildir++: `.Projects.Alpha`, in IMAP's own encoding of names.
            match name.strip_prefix('.').filter(|_| maildir) {
                Some(names) => path.extend(names.split('.').map(decoded)),
                None => path.push(name),
            }
            self.find(&sub, path, found)?;
            path.truncate(before);
        }
        if !maildir {
            for file in found.looked(dir, self.disk.files(dir)).unwrap_or_default() {
                let is_mbox =
                    |within: bool| if within { mbox::is_mbox(&*self.disk, &file) } else { Ok(false) };
                let is_mbox = self.leads_out(&file).and_then(|out| is_mbox(!out));
                if found.looked(&file, is_mbox).unwrap_or(false) {
                    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
                    path.push(name.unwrap_or_default());
                    self.enter(path.clone(), &Form::Mbox(file), found)?;
                    path.pop();
                }
            }
        }
        Ok(())
    }

    fn enter(&self, path: Vec<String>, form: &Form, found: &mut Found) -> Result<(), SourceError> {
        if found.folders.len() == FOLDERS_MAX {
            let host = self.settings.path.display().to_string();
            return Err(SourceError::TooMany { host, what: "folders", max: FOLDERS_MAX });
        }
        let role = match path.last().map(|name| name.trim_end_matches(".mbox").to_lowercase()).as_deref() {
            Some("inbox") if path.len() == 1 => Some(Role::Inbox),
            Some("drafts") => Some(Role::Drafts),
            Some("junk" | "spam") => Some(Role::Junk),
            Some("sent") => Some(Role::Sent),
            Some("trash") => Some(Role::Trash),
            _ => None,
        };
        let (Form::Maildir(at) | Form::Mbox(at)) = form;
        let within = at.strip_prefix(&self.settings.path).unwrap_or(at);
        let id = FolderId(names::text_of(within.as_os_str().as_bytes()));
        let (owner, messages) = (Owner::Own, None);
        found.folders.push(Folder { id, path, role, owner, holds_messages: true, messages });
        Ok(())
    }

    fn form(&self, folder: &FolderId) -> Form {
        let within = names::octets_of(&folder.0);
        let at = match within.is_empty() {
            true => self.settings.path.clone(),
            false => self.settings.path.join(OsStr::from_bytes(&within)),
        };
        if self.is_maildir(&at).unwrap_or(false) { Form::Maildir(at) } else { Form::Mbox(at) }
    }
}

/// Waits for the disk where nobody else waits with it.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<R> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn decoded(name: &str) -> String {
    postern_shared::proto::imap::utf7::decode(name).unwrap_or_else(|| name.to_owned())
}

/// LF to CRLF, piece by piece.
#[derive(Default)]
struct LineEnds {
    after_cr: bool,
    out: Vec<u8>,
}

impl LineEnds {
    fn push(&mut self, piece: &[u8]) -> &[u8] {
        self.out.clear();
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', piece) {
            let has_cr = if at == 0 { self.after_cr } else { piece[at - 1] == b'\r' };
            self.out.extend_from_slice(&piece[from..at]);
            self.out.extend_from_slice(if has_cr { b"\n" } else { b"\r\n" });
            from = at + 1;
        }
        self.out.extend_from_slice(&piece[from..]);
        self.after_cr = piece.last().map_or(self.after_cr, |last| *last == b'\r');
        &self.out
    }
}

impl FilesSource {
    /// Does something with the files of a Maildir; they are listed anew unless `keep` says that they need not be.
    async fn with_listing<R: Send + 'static>(
        &mut self,
        dir: PathBuf,
        keep: impl FnOnce(&Listing) -> bool,
        work: impl FnOnce(&dyn Disk, &mut Listing) -> io::Result<R> + Send + 'static,
    ) -> Result<R, SourceError> {
        let kept = self.listing.take().filter(|listing| listing.is_of(&dir) && keep(listing));
        let (disk, at) = (Arc::clone(&self.disk), dir.clone());
        let done = blocking(move || {
            let mut listing = kept.map_or_else(|| Listing::read(&*disk, &at), Ok)?;
            let done = work(&*disk, &mut listing)?;
            Ok((listing, done))
        });
        let (listing, done) = done.await.map_err(|error| self.failed(&dir, &error))?;
        self.listing = Some(listing);
        Ok(done)
    }

    /// Where these messages lie. A file whose flags changed since it was listed has another name, so it is looked for once more.
    async fn places(
        &mut self,
        folder: &FolderId,
        items: &[Item],
    ) -> Result<Vec<io::Result<Option<Place>>>, SourceError> {
        let wanted = items.to_vec();
        match self.form(folder) {
            Form::Maildir(dir) => {
                self.with_listing(
                    dir,
                    |_| true,
                    move |disk, listing| {
                        let places = listing.places(disk, &wanted);
                        if !places.iter().any(|place| matches!(place, Ok(None))) {
                            return Ok(places);
                        }
                        listing.renew(disk)?;
                        Ok(listing.places(disk, &wanted))
                    },
                )
                .await
            }
            Form::Mbox(file) => {
                let (disk, path) = (Arc::clone(&self.disk), file.clone());
                let places = blocking(move || mbox::places(&*disk, &path, &wanted)).await;
                places.map_err(|error| self.failed(&file, &error))
            }
        }
    }
}

impl Account for FilesSource {
    async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        let (disk, settings) = (Arc::clone(&self.disk), self.settings.clone());
        let (message_octets_max, unlisted) = (self.message_octets_max, Vec::new());
        let finder = Self { disk, settings, message_octets_max, listing: None, unlisted };
        let listed = tokio::task::spawn_blocking(move || finder.list()).await;
        let listed = listed.map_err(|error| self.failed(&self.settings.path, &io::Error::other(error)))??;
        self.unlisted = listed.unlisted;
        Ok(listed.folders)
    }

    fn unlisted(&self) -> Vec<String> {
        self.unlisted.clone()
    }

    async fn changes(&mut self, folder: &FolderId, after: Option<&Cursor>) -> Result<Changes, SourceError> {
        let behind = after.cloned();
        match self.form(folder) {
            Form::Maildir(dir) => {
                let keep = |listing: &Listing| listing.goes_on_behind(after);
                self.with_listing(dir, keep, move |disk, listing| Ok(listing.page(disk, behind.as_ref())))
                    .await
            }
            Form::Mbox(file) => {
                let (disk, path) = (Arc::clone(&self.disk), file.clone());
                let changes = blocking(move || mbox::changes(&*disk, &path, behind.as_ref())).await;
                changes.map_err(|error| self.failed(&file, &error))
            }
        }
    }

    async fn fetch(
        &mut self,
        folder: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        let octets_max = self.message_octets_max;
        let verbatim = self.settings.verbatim;
        let places = self.places(folder, items).await?;
        for (item, place) in items.iter().zip(places) {
            let why = match place {
                Ok(None) => NotFetched::Gone,
                Err(error) => NotFetched::Refused(error.to_string()),
                Ok(Some(place)) if place.octets > octets_max => {
                    NotFetched::TooLong { octets: place.octets, octets_max }
                }
                Ok(Some(place)) => {
                    let (disk, path) = (Arc::clone(&self.disk), place.path.clone());
                    match blocking(move || disk.open_read(&path)).await {
                        Ok(file) => {
                            let whole = hand_on(&file, &place, verbatim, item, sink).await;
                            match whole.map_err(SourceError::Sink)? {
                                Ok(()) => continue,
                                Err(error) => NotFetched::Refused(error.to_string()),
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::NotFound => NotFetched::Gone,
                        Err(error) => NotFetched::Refused(error.to_string()),
                    }
                }
            };
            sink.missing(item.id.clone(), why).await.map_err(SourceError::Sink)?;
        }
        Ok(())
    }

    async fn look(&mut self, folder: &FolderId, items: &[Item]) -> Result<Vec<Item>, SourceError> {
        let places = self.places(folder, items).await?;
        let there = items.iter().zip(places).filter_map(|(item, place)| {
            // One that cannot be opened now is no other by that, and not gone.
            let Ok(place) = place else { return Some(item.clone()) };
            let place = place?;
            Some(place.item.unwrap_or_else(|| Item { octets: place.octets, ..item.clone() }))
        });
        Ok(there.collect())
    }

    async fn delete(&mut self, folder: &FolderId, items: &[ItemId]) -> Result<Deleted, SourceError> {
        let wanted = items.to_vec();
        match self.form(folder) {
            Form::Maildir(dir) => {
                self.with_listing(dir, |_| true, move |disk, listing| listing.delete(disk, &wanted)).await
            }
            Form::Mbox(_) => {
                let why = "messages are not taken out of mbox files";
                let kept = wanted.into_iter().map(|item| (item, why.to_owned())).collect();
                Ok(Deleted { kept, ..Deleted::default() })
            }
        }
    }

    async fn wait(&mut self, _folder: &FolderId, _limit: Duration) -> Result<Woken, SourceError> {
        Err(SourceError::CannotWait)
    }

    async fn finish(self) -> Result<Deleted, SourceError> {
        Ok(Deleted::default())
    }
}

/// Where a message lies.
struct Place {
    path: PathBuf,
    start: u64,
    octets: u64,
    /// `>From ` at the beginning of a line was `From ` (mboxrd).
    quoted: bool,
    item: Option<Item>,
}

/// The outer error is the sink's, the inner one the file's.
async fn hand_on(
    file: &Arc<dyn postern_shared::disk::DiskFile>,
    place: &Place,
    verbatim: bool,
    item: &Item,
    sink: &mut (impl Sink + ?Sized),
) -> io::Result<io::Result<()>> {
    sink.begins(place.octets).await?;
    let (mut at, end, mut octets) = (place.start, place.start + place.octets, 0);
    let left = usize::try_from(place.octets).unwrap_or(PIECE);
    let mut piece = vec![0; left.clamp(1, PIECE)];
    let (mut ends, mut quotes) = (LineEnds::default(), mbox::Quotes::default());
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(PIECE).min(piece.len());
        let (reader, from) = (Arc::clone(file), at);
        let mut room = std::mem::take(&mut piece);
        let read = blocking(move || reader.read_exact_at(&mut room[..len], from).map(|()| room)).await;
        piece = match read {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        at += len as u64;
        let read = &piece[..len];
        let plain = if place.quoted { quotes.push(read, at == end) } else { read };
        let plain = if verbatim { plain } else { ends.push(plain) };
        octets += plain.len() as u64;
        sink.piece(plain).await?;
    }
    let item = place.item.clone().unwrap_or_else(|| item.clone());
    sink.ends(Item { octets, ..item }).await.map(Ok)
}

fn nothing(cursor: Cursor) -> Changes {
    Changes {
        items: Vec::new(),
        flags: Vec::new(),
        vanished: ItemSet::default(),
        restarted: None,
        cursor,
        more: false,
    }
}
