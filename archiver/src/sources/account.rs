//! A mail account that keeps its mail, opened for one run: folders, what is new in each, content on demand, deletion on
//! order only. What profiles drive.
//!
//! A run:
//!
//! 1. [`Account::folders`];
//! 2. for each folder that is wanted, [`Account::changes`] behind the cursor that the last run left, page by page while
//!    [`Changes::more`] says so;
//! 3. [`Account::fetch`] those items of the page that are wanted. When all of them are archived or on the list of what is
//!    to be tried again, and that is on disk, keep [`Changes::cursor`]. Not before: a run that dies is repeated from the
//!    last cursor kept, so a message can come twice and never be missed;
//! 4. if the profile says so, [`Account::look`] whether what was archived and read back is there still, and [`Account::delete`] it;
//! 5. [`Account::finish`]; or [`Account::wait`] for more.
//!
//! A page is bounded whatever the folder holds, and so is its cursor but for POP3's, which names every message that is still
//! there.
//!
//! When a folder's items can no longer be told from those of earlier runs (another UIDVALIDITY, a cursor that makes no
//! sense), everything in it is listed again and [`Changes::restarted`] says why: the archive folds what it has.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use postern_shared::clock::UnixMillis;
use postern_shared::proto::imap::UidSet;
use serde::{Deserialize, Serialize};

use super::{Cursor, ItemId, NotFetched, SourceError};

/// What names a folder at its source, across runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FolderId(pub String);

impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a folder is for (RFC 6154, RFC 8457).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Where mail arrives.
    Inbox,
    /// All messages there are.
    All,
    /// What was put aside.
    Archive,
    /// What is being written.
    Drafts,
    /// What was marked.
    Flagged,
    /// What the server takes for important.
    Important,
    /// Spam.
    Junk,
    /// What was sent.
    Sent,
    /// What was thrown away.
    Trash,
}

/// Whose a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The account's own.
    Own,
    /// Another user's.
    Other,
    /// Nobody's in particular.
    Shared,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Which.
    pub id: FolderId,
    /// The names from the root to it, in UTF-8.
    pub path: Vec<String>,
    /// What it is for.
    pub role: Option<Role>,
    /// Whose it is.
    pub owner: Owner,
    /// Whether it can hold messages; else only folders.
    pub holds_messages: bool,
    /// How many it holds, when the source told.
    pub messages: Option<u64>,
}

/// A message at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Which.
    pub id: ItemId,
    /// Its flags and keywords, as the source writes them: `\Seen`, `$Forwarded`.
    pub flags: Vec<String>,
    /// When it came to the source.
    pub internal_date: Option<UnixMillis>,
    /// Its size in octets: as the source claims in [`Changes`], as counted at [`Sink::ends`].
    pub octets: u64,
}

/// Items, named shortly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemSet {
    pub(super) validity: u32,
    pub(super) uids: UidSet,
    /// Those of a source that has no numbers.
    pub(super) names: BTreeSet<ItemId>,
}

impl ItemSet {
    /// Whether that one is among them.
    pub fn contains(&self, id: &ItemId) -> bool {
        let numbered = super::imap::uid_of(id)
            .is_some_and(|(validity, uid)| validity == self.validity && self.uids.contains(uid));
        numbered || self.names.contains(id)
    }

    /// Adds one by its name.
    pub(super) fn add(&mut self, id: ItemId) {
        self.names.insert(id);
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.uids.len() + self.names.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.names.is_empty()
    }
}

/// One page of what happened in a folder behind a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// New messages, oldest first.
    pub items: Vec<Item>,
    /// Messages of earlier pages that have other flags now. A source that cannot tell says nothing.
    pub flags: Vec<(ItemId, Vec<String>)>,
    /// Messages of earlier pages that are gone. A source that cannot tell says nothing.
    pub vanished: ItemSet,
    /// Why everything is listed again.
    pub restarted: Option<String>,
    /// Behind this page.
    pub cursor: Cursor,
    /// Whether another page follows.
    pub more: bool,
}

/// Takes what [`Account::fetch`] brings: for each message [`Sink::begins`], [`Sink::piece`] any number of times and
/// [`Sink::ends`], or [`Sink::missing`]. While a call has not returned, the source reads no further.
///
/// A message that began and did not end is worth nothing: the connection broke within it. It may begin again.
/// An error ends the fetch with [`SourceError::Sink`].
pub trait Sink: Send {
    /// A message begins, of so many octets as the source claims. Messages longer than the source's bound never begin.
    fn begins(&mut self, octets: u64) -> impl Future<Output = io::Result<()>> + Send;

    /// The next octets of its content, exactly as the source has them.
    fn piece(&mut self, octets: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// It is whole, and this is which it was.
    fn ends(&mut self, item: Item) -> impl Future<Output = io::Result<()>> + Send;

    /// It does not come, and why: for the list of what is to be tried again, unless it is [`NotFetched::Gone`].
    fn missing(&mut self, id: ItemId, why: NotFetched) -> impl Future<Output = io::Result<()>> + Send;
}

/// What became of a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deleted {
    /// What is gone at the source, as far as it confirmed.
    pub deleted: Vec<ItemId>,
    /// What is not, and why.
    pub kept: Vec<(ItemId, String)>,
    /// What is no longer what was archived, so it stays; and what it is called now, if it is to be fetched again.
    pub changed: Vec<(ItemId, Option<ItemId>)>,
}

/// Why [`Account::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Something happened in the folder.
    Changed,
    /// Nothing, for as long as was to be waited.
    Quiet,
}

/// An account, opened for one run; see the module for the order of calls. After an error it must not be used any more, but for
/// [`SourceError::Folder`]: other folders are none the worse for it.
pub trait Account: Send {
    /// All folders, parents before what is in them.
    fn folders(&mut self) -> impl Future<Output = Result<Vec<Folder>, SourceError>> + Send;

    /// Folders whose own folders [`Account::folders`] could not list, and why: it did not tell of all there are.
    fn unlisted(&self) -> Vec<String> {
        Vec::new()
    }

    /// The next page of what happened behind `after`; everything there is when that is none.
    fn changes(
        &mut self,
        folder: &FolderId,
        after: Option<&Cursor>,
    ) -> impl Future<Output = Result<Changes, SourceError>> + Send;

    /// Brings these items, in any order, each once: whole or as missing.
    fn fetch(
        &mut self,
        folder: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// What the source has under these names now; those that are gone are left out. A source that never gives a name out again
    /// may say what it was told.
    fn look(
        &mut self,
        _folder: &FolderId,
        items: &[Item],
    ) -> impl Future<Output = Result<Vec<Item>, SourceError>> + Send {
        let items = items.to_vec();
        async move { Ok(items) }
    }

    /// After [`Account::fetch`] failed: the message at which it happened, as far as that can be told.
    fn suspect(&self) -> Option<ItemId> {
        None
    }

    /// Whether what comes shorter than [`Item::octets`] claims was cut.
    fn claims_exact_sizes(&self) -> bool {
        false
    }

    /// Whether names may become another message's between two sessions, so that only what this one fetched is deleted.
    fn deletes_only_what_it_fetched(&self) -> bool {
        false
    }

    /// Whether a name may be another message's by now, so that one is deleted only where its size or date is known to be the same.
    fn names_come_again(&self) -> bool {
        true
    }

    /// Those of a folder's items that were not fetched in this session, where that matters.
    fn to_fetch_before_deletion(&self, _folder: &FolderId, _items: &[ItemId]) -> Vec<Item> {
        Vec::new()
    }

    /// What a cursor becomes when these were deleted, where it names what was read: their names may come again, as others'.
    fn cursor_without(_cursor: &Cursor, _deleted: &[ItemId]) -> Option<Cursor> {
        None
    }

    /// What people should know of the account, told once each.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Deletes these items and no others. At a source that deletes at the end, [`Account::finish`] tells what became of it.
    fn delete(
        &mut self,
        folder: &FolderId,
        items: &[ItemId],
    ) -> impl Future<Output = Result<Deleted, SourceError>> + Send;

    /// Waits until something happens in the folder, for `limit` at most; [`SourceError::CannotWait`] where there is no way.
    fn wait(
        &mut self,
        folder: &FolderId,
        limit: Duration,
    ) -> impl Future<Output = Result<Woken, SourceError>> + Send;

    /// Ends the run in good order.
    fn finish(self) -> impl Future<Output = Result<Deleted, SourceError>> + Send;
}
