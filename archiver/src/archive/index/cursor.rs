//! What a page says of how to go on: the last hit's place in the order, and what its order was reckoned with.
//!
//! How well a message fits depends on how rare its words are in the whole archive, and that changes with every message that
//! arrives. So the numbers that the first page was reckoned with travel in the cursor, and later pages are reckoned with them too.
//!
//! A cursor opens nothing: whoever hands one in is asked for their rights as with any query.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_shared::crypto::digest::sha256;
use serde::{Deserialize, Serialize};
use tantivy::query::{Bm25StatisticsProvider, Query as IndexQuery};
use tantivy::schema::Field as IndexField;
use tantivy::{Searcher, Term as IndexTerm};

use super::Query;
use super::page::{Key, Order};

const VERSION: u32 = 1;
const CURSOR_BYTES_MAX: usize = 64 * 1024;

/// Where a page ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::archive) struct Cursor {
    version: u32,
    /// Tells whether it belongs to the query.
    query: String,
    pub(in crate::archive) after: Key,
    pub(in crate::archive) reckoned: Option<Reckoned>,
}

/// The cursor is not one of this query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this cursor does not belong to this query, order and archive; ask for the first page, without a cursor"
)]
pub struct CursorError;

impl Cursor {
    /// The cursor behind `after`.
    pub(in crate::archive) fn behind(query: &Query, after: Key, reckoned: Option<Reckoned>) -> Self {
        Self { version: VERSION, query: fingerprint(query), after, reckoned }
    }

    pub(in crate::archive) fn read(text: &str, query: &Query) -> Result<Self, CursorError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(CursorError);
        }
        let json = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| CursorError)?;
        let cursor: Self = serde_json::from_slice(&json).map_err(|_| CursorError)?;
        let scored = query.order == Order::Relevance;
        let whole = cursor.version == VERSION
            && cursor.query == fingerprint(query)
            && cursor.reckoned.is_some() == scored;
        if whole { Ok(cursor) } else { Err(CursorError) }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default()))
    }
}

fn fingerprint(query: &Query) -> String {
    let what = serde_json::json!([query.text, query.archive, query.order]).to_string();
    hex::encode(&sha256(what.as_bytes()).0[..8])
}

/// What scores are reckoned with: how many messages there are, how long their fields, how many have each word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::archive) struct Reckoned {
    messages: u64,
    /// Words in each field that is asked for.
    words: Vec<u64>,
    /// Messages with each word that is asked for.
    having: Vec<u64>,
}

/// The words and fields of a query, in an order of their own.
fn parts(query: &dyn IndexQuery) -> (Vec<IndexField>, Vec<IndexTerm>) {
    let (mut fields, mut terms) = (BTreeSet::new(), BTreeSet::new());
    query.query_terms(&mut |term, _| {
        fields.insert(term.field());
        terms.insert(term.clone());
    });
    (fields.into_iter().collect(), terms.into_iter().collect())
}

impl Reckoned {
    /// What it is now, over all stores.
    pub(super) fn now(query: &dyn IndexQuery, searchers: &[Searcher]) -> tantivy::Result<Self> {
        let (fields, terms) = parts(query);
        let mut now = Self { messages: 1, words: vec![1; fields.len()], having: vec![0; terms.len()] };
        for searcher in searchers {
            now.messages += searcher.total_num_docs()?;
            for (words, field) in now.words.iter_mut().zip(&fields) {
                *words += searcher.total_num_tokens(*field)?;
            }
            for (having, term) in now.having.iter_mut().zip(&terms) {
                *having += Searcher::doc_freq(searcher, term)?;
            }
        }
        Ok(now)
    }

    /// Ready to reckon with.
    pub(super) fn scale(&self, query: &dyn IndexQuery) -> Scale {
        let (fields, terms) = parts(query);
        Scale {
            messages: self.messages.max(1),
            words: fields.into_iter().zip(self.words.iter().copied()).collect(),
            having: terms.into_iter().zip(self.having.iter().copied()).collect(),
        }
    }
}

/// Tells tantivy what to reckon with.
#[derive(Debug)]
pub(super) struct Scale {
    messages: u64,
    words: HashMap<IndexField, u64>,
    having: HashMap<IndexTerm, u64>,
}

impl Bm25StatisticsProvider for Scale {
    fn total_num_tokens(&self, field: IndexField) -> tantivy::Result<u64> {
        Ok(self.words.get(&field).copied().unwrap_or(1).max(1))
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.messages)
    }

    fn doc_freq(&self, term: &IndexTerm) -> tantivy::Result<u64> {
        // It never asks for more than there are, whatever a cursor says.
        Ok(self.having.get(term).copied().unwrap_or(0).min(self.messages))
    }
}
