//! Full-text search: follows the catalog, is disposable, and never stands in the way of archiving.
//!
//! tantivy with its own files. What it has indexed up to is the change number in the payload of its last commit; a
//! missing or damaged index is simply begun again from there: 0.

mod not;
mod parse;
mod query;
mod text;

pub use parse::QueryError;
pub(super) use text::{Document, TextIndex};

use super::message::IndexFields;

/// Makes a message's fields out of its octets and, when it came in one, its journal report.
pub type Extract = fn(content: &[u8], report: Option<&[u8]>) -> IndexFields;

/// What to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Words, phrases, fields; see `search --help`.
    pub text: String,
    /// Only in this archive.
    pub archive: Option<String>,
    /// The most hits.
    pub limit: usize,
    /// Hits passed over.
    pub offset: usize,
}
