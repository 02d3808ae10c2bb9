//! Full-text search: follows the catalog, is disposable, and never stands in the way of archiving.
//!
//! | file | what |
//! |---|---|
//! | `words/` | text to words: folded, and pairs of characters where there are no spaces |
//! | `parse/`, `query` | what is asked, and what tantivy makes of it |
//! | `fields` | what a message becomes, and who finds it by what |
//! | `generation`, `flow` | one index on disk; what is on its way into it is bounded |
//! | `files`, `merging` | how its files are read, and which of its parts are merged, in bounded memory |
//! | `store_index` | the index of a store: which one serves, which one is being built |
//! | `trouble` | what passes, and what is damage |
//! | `page`, `cursor`, `snippet` | the order of hits, how a page goes on, where the hit is |
//!
//! Promises
//! - What it has indexed up to is a change number in its last commit. It goes on from there after a crash, in order, without
//!   doubles; a missing or damaged index is begun anew, or built beside the one that serves.
//! - A page behind a cursor shows what is behind it, once, whatever arrived since the first page.
//! - Nobody finds a message by what only another archive's owner may know of it: its Bcc, its folder there.
//! - Memory is bounded by [`generation`] and [`flow`], whatever the messages hold; a search by [`Query::REACH_MAX`], by the words that
//!   beginnings may become, and by a deadline, past which hits come without the places where something was found.
//! - What the operating system refuses is no damage: the index waits. Only what is damaged is begun anew.
//!
//! Not here: reading documents (`documents`), following and searching all stores of an instance (`archive/follow`,
//! `archive/search`).

mod cursor;
mod fields;
mod files;
mod flow;
mod generation;
mod merging;
mod not;
mod page;
mod parse;
mod query;
mod search;
mod snippet;
mod store_index;
mod trouble;
mod words;

pub use cursor::CursorError;
pub(super) use cursor::CursorKey;
pub(super) use fields::{Document, Hidden, halves};
pub(super) use generation::Generation;
pub use page::Order;
pub use parse::QueryError;
pub(super) use search::{Search, search};
pub use snippet::Snippet;
pub(super) use store_index::{StoreIndex, guarded};

use trouble::{failed, failed_in, waits};

use super::message::IndexFields;

/// Makes a message's fields out of its octets and, when it came in one, its journal report. With its documents, whose text is
/// to be had elsewhere.
pub type Extract = fn(content: &[u8], report: Option<&[u8]>) -> IndexFields;

/// What to find.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Words, phrases, fields; see docs/search.md.
    pub text: String,
    /// Only in this archive.
    pub archive: Option<String>,
    /// The most hits. With those passed over at most [`Query::REACH_MAX`].
    pub limit: usize,
    /// Hits passed over; a cursor goes on at no cost, and has no end.
    pub offset: usize,
    /// In which order.
    pub order: Order,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl Query {
    /// Hits that one page may reach to: all before it are held in memory to be put in order.
    pub const REACH_MAX: usize = 10_000;
}
