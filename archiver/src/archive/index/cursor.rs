//! What a page says of how to go on: the last hit's place in the order, and what its order was reckoned with.
//!
//! How well a message fits depends on how rare its words are in the whole archive, and that changes with every message that
//! arrives. So the numbers that the first page was reckoned with travel in the cursor, and later pages are reckoned with them too.
//!
//! They are numbers of all archives: how often a word stands in other people's mail. So a cursor is sealed under a key of the
//! instance; nobody reads it, and nobody makes one. It opens nothing: whoever hands one in is asked for their rights as with any query.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::digest::sha256;
use serde::{Deserialize, Serialize};
use tantivy::query::{Bm25StatisticsProvider, Query as IndexQuery};
use tantivy::schema::Field as IndexField;
use tantivy::{Searcher, Term as IndexTerm};

use super::Query;
use super::page::{Key, Order};

const VERSION: u32 = 2;
const SEALED_AS: &[u8] = b"postern cursor v2";
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

    /// As it is handed out.
    pub(in crate::archive) fn sealed(&self, key: &CursorKey) -> String {
        URL_SAFE_NO_PAD.encode(key.0.wrap(SEALED_AS, &serde_json::to_vec(self).unwrap_or_default()))
    }

    pub(in crate::archive) fn open(text: &str, key: &CursorKey, query: &Query) -> Result<Self, CursorError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(CursorError);
        }
        let sealed = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| CursorError)?;
        let json = key.0.unwrap(SEALED_AS, &sealed).map_err(|_| CursorError)?;
        let cursor: Self = serde_json::from_slice(&json).map_err(|_| CursorError)?;
        let scored = query.order == Order::Relevance;
        let whole = cursor.version == VERSION
            && cursor.query == fingerprint(query)
            && cursor.reckoned.is_some() == scored;
        if whole { Ok(cursor) } else { Err(CursorError) }
    }
}

/// Seals an instance's cursors.
#[derive(Debug)]
pub(in crate::archive) struct CursorKey(AeadKey);

impl CursorKey {
    /// What keys of an instance are derived for.
    pub(in crate::archive) const PURPOSE: &[u8] = b"postern search cursors";

    pub(in crate::archive) fn new(derived: &SecretBytes) -> Self {
        Self(AeadKey::new(derived))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: nobody learns from a cursor how often a word stands in mail they may not read, and nobody makes one.
    #[test]
    fn a_cursor_tells_nothing() {
        let [key, other] = [1, 2].map(|octet| CursorKey(AeadKey::new(&[octet; 32])));
        let query = Query { text: "merger".into(), order: Order::Relevance, ..Query::default() };
        let reckoned = Reckoned { messages: 1_234_567, words: vec![7_654_321], having: vec![4_711] };
        let cursor = Cursor::behind(&query, Key::default(), Some(reckoned.clone()));
        let sealed = cursor.sealed(&key);
        let octets = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for number in [&b"1234567"[..], b"7654321", b"4711", b"messages"] {
            assert!(memchr::memmem::find(&octets, number).is_none());
        }
        assert_eq!(Cursor::open(&sealed, &key, &query).unwrap().reckoned, Some(reckoned));
        assert!(Cursor::open(&sealed, &other, &query).is_err());
        let forged = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap());
        assert!(Cursor::open(&forged, &key, &query).is_err());
    }
}
