//! Everything that a query does not match.
//!
//! tantivy's own exclusion moves phrase scorers backwards, which they do not support (0.27: a debug assertion, and
//! nobody's promise in release builds). A set of documents has no such trouble.

use tantivy::query::{
    BitSetDocSet, ConstScorer, EmptyScorer, EnableScoring, Explanation, Query, Scorer, Weight,
};
use tantivy::{BitSet, DocId, DocSet, Score, SegmentReader, TERMINATED};

#[derive(Debug)]
pub(super) struct Not(pub(super) Box<dyn Query>);

impl Clone for Not {
    fn clone(&self) -> Self {
        Self(self.0.box_clone())
    }
}

impl Query for Not {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        // Whether it matches is all that counts, so the inner query need not score.
        let inner = self.0.weight(match scoring {
            EnableScoring::Enabled { searcher, .. } => EnableScoring::disabled_from_searcher(searcher),
            disabled @ EnableScoring::Disabled { .. } => disabled,
        })?;
        Ok(Box::new(NotWeight(inner)))
    }
}

struct NotWeight(Box<dyn Weight>);

impl Weight for NotWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let documents = reader.max_doc();
        if documents == 0 {
            return Ok(Box::new(EmptyScorer));
        }
        let mut left = BitSet::with_max_value_and_full(documents);
        let mut inner = self.0.scorer(reader, 1.0)?;
        let mut document = inner.doc();
        while document != TERMINATED {
            left.remove(document);
            document = inner.advance();
        }
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(left), boost)))
    }

    fn explain(&self, _reader: &SegmentReader, _document: DocId) -> tantivy::Result<Explanation> {
        Ok(Explanation::new("what the inner query does not match", 1.0))
    }
}
