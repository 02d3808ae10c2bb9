//! Pages of hits: in which order they come, and how the next one goes on.
//!
//! A hit's place in the order is its [`Key`]: nothing that arrives later changes it. So a page goes on behind the last key of
//! the page before, in every store, and whatever arrived meanwhile moves nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::ColumnValues;
use tantivy::query::Weight;
use tantivy::{
    DocAddress, DocId, DocSet as _, Score, SegmentOrdinal, SegmentReader, TERMINATED, TantivyError,
};

/// In which order hits come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By date, the newest first.
    #[default]
    Newest,
    /// By date, the oldest first.
    Oldest,
    /// By how well they fit; what fits equally, the newest first.
    Relevance,
}

impl std::str::FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "newest" | "date" => Ok(Self::Newest),
            "oldest" => Ok(Self::Oldest),
            "relevance" => Ok(Self::Relevance),
            _ => Err("the order is newest, oldest or relevance".into()),
        }
    }
}

/// A hit's place in the order; the greatest comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::archive) struct Key {
    /// How well it fits, in steps wide enough that no rounding moves it; 0 in orders by date.
    fits: u32,
    /// The date; turned over when the oldest come first.
    date: i64,
    /// The id, in halves; turned over likewise.
    id: [u64; 2],
}

const STEPS_PER_POINT: f32 = 1024.0;

impl Key {
    fn fits(score: Score) -> u32 {
        // Scores are small and not negative; the conversion saturates.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let steps = (score * STEPS_PER_POINT).round() as u32;
        steps
    }
}

/// What one index found.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Everything that matches, on whatever page.
    pub(super) total: u64,
    /// The first hits behind the page before, in order.
    pub(super) hits: Vec<(Key, DocAddress)>,
}

/// Collects the first `limit` hits behind `after`.
pub(super) struct Page<'p> {
    pub(super) order: Order,
    pub(super) after: Option<Key>,
    pub(super) limit: usize,
    /// Whether it takes too long; asked before each segment and every [`GLANCE`] of its matches, for one segment may be the whole archive.
    pub(super) late: &'p (dyn Fn() -> bool + Sync),
}

/// Matches between two looks at the clock.
const GLANCE: usize = 64 * 1024;

impl Page<'_> {
    fn in_time(&self) -> tantivy::Result<()> {
        match (self.late)() {
            true => Err(TantivyError::InternalError("the search takes too long".into())),
            false => Ok(()),
        }
    }
}

impl Collector for Page<'_> {
    type Fruit = Collected;
    type Child = PageOfSegment;

    fn for_segment(&self, number: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<PageOfSegment> {
        self.in_time()?;
        let columns = segment.fast_fields();
        Ok(PageOfSegment {
            number,
            order: self.order,
            after: self.after,
            limit: self.limit,
            date: columns.i64("date")?.first_or_default_col(0),
            id: [
                columns.u64("id_upper")?.first_or_default_col(0),
                columns.u64("id_lower")?.first_or_default_col(0),
            ],
            total: 0,
            first: BinaryHeap::new(),
        })
    }

    fn requires_scoring(&self) -> bool {
        self.order == Order::Relevance
    }

    /// As tantivy does it, and with an end.
    fn collect_segment(
        &self,
        weight: &dyn Weight,
        number: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<Collected> {
        let mut page = self.for_segment(number, segment)?;
        let alive = segment.alive_bitset();
        let is_alive = |document: DocId| alive.is_none_or(|alive| alive.is_alive(document));
        let mut found = weight.scorer(segment, 1.0)?;
        let mut seen = 0;
        if self.requires_scoring() {
            while found.doc() != TERMINATED {
                if is_alive(found.doc()) {
                    page.collect(found.doc(), found.score());
                }
                found.advance();
                seen += 1;
                if seen % GLANCE == 0 {
                    self.in_time()?;
                }
            }
            return Ok(page.harvest());
        }
        let mut some = [0; 64];
        loop {
            let count = found.fill_buffer(&mut some);
            some[..count].iter().filter(|document| is_alive(**document)).for_each(|document| {
                page.collect(*document, 0.0);
            });
            if count < some.len() {
                return Ok(page.harvest());
            }
            seen += count;
            if seen % GLANCE == 0 {
                self.in_time()?;
            }
        }
    }

    fn merge_fruits(&self, segments: Vec<Collected>) -> tantivy::Result<Collected> {
        let mut all = Collected::default();
        for segment in segments {
            all.total += segment.total;
            all.hits.extend(segment.hits);
        }
        all.hits.sort_unstable_by_key(|(key, _)| Reverse(*key));
        all.hits.truncate(self.limit);
        Ok(all)
    }
}

/// The same in one segment.
pub(super) struct PageOfSegment {
    number: SegmentOrdinal,
    order: Order,
    after: Option<Key>,
    limit: usize,
    date: Arc<dyn ColumnValues<i64>>,
    id: [Arc<dyn ColumnValues<u64>>; 2],
    total: u64,
    /// The last of them on top.
    first: BinaryHeap<Reverse<(Key, DocId)>>,
}

impl SegmentCollector for PageOfSegment {
    type Fruit = Collected;

    fn collect(&mut self, document: DocId, score: Score) {
        self.total += 1;
        let date = self.date.get_val(document);
        let (fits, date) = match self.order {
            Order::Newest => (0, date),
            Order::Oldest => (0, !date),
            Order::Relevance => (Key::fits(score), date),
        };
        // Most hits are behind the page already by what is known here.
        let last = self.first.peek().filter(|_| self.first.len() >= self.limit).map(|Reverse((key, _))| *key);
        if last.is_some_and(|last| (fits, date) < (last.fits, last.date)) || self.limit == 0 {
            return;
        }
        let id = [self.id[0].get_val(document), self.id[1].get_val(document)];
        let id = if self.order == Order::Oldest { id.map(|half| !half) } else { id };
        let key = Key { fits, date, id };
        if self.after.is_some_and(|after| key >= after) || last.is_some_and(|last| key <= last) {
            return;
        }
        if last.is_some() {
            self.first.pop();
        }
        self.first.push(Reverse((key, document)));
    }

    fn harvest(self) -> Collected {
        let hits = self
            .first
            .into_iter()
            .map(|Reverse((key, document))| (key, DocAddress { segment_ord: self.number, doc_id: document }));
        Collected { total: self.total, hits: hits.collect() }
    }
}
