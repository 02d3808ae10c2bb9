//! A query over the indexes of all stores.

use std::cmp::Reverse;
use std::sync::Arc;

use postern_shared::clock::UnixMillis;
use tantivy::Searcher;
use tantivy::query::Query as IndexQuery;

use super::cursor::{Cursor, CursorKey, Reckoned};
use super::fields::Shown;
use super::generation::Generation;
use super::page::{Key, Order, Page};
use super::parse::{Condition, Now, QueryError, parse};
use super::query::build;
use super::snippet::{Marker, Snippet};
use super::{Query, failed_in};
use crate::archive::ArchiveError;
use crate::archive::side_by_side::side_by_side;

/// Hits of a page that are shown with the places where something was found.
const SNIPPETS_OF_HITS_MAX: usize = 1000;

/// A hit: which of the indexes has it, and its number in that catalog.
#[derive(Debug)]
pub(in crate::archive) struct Place {
    pub(in crate::archive) index: usize,
    pub(in crate::archive) seq: u64,
    /// The message's id, in halves: a catalog that was made anew may have another message under that number.
    pub(in crate::archive) id: [u64; 2],
    pub(in crate::archive) snippets: Vec<Snippet>,
    /// Attachments whose text could not be had, and why.
    pub(in crate::archive) missing: Vec<(String, String)>,
}

/// What was found.
#[derive(Debug)]
pub(in crate::archive) struct Found {
    pub(in crate::archive) total: u64,
    pub(in crate::archive) places: Vec<Place>,
    /// Goes on behind the last of them.
    pub(in crate::archive) next: Option<String>,
}

/// What a search needs beside the indexes.
pub(in crate::archive) struct Search<'s> {
    /// Today, for dates that are told from it.
    pub(in crate::archive) now: UnixMillis,
    pub(in crate::archive) key: CursorKey,
    /// Whether it takes too long.
    pub(in crate::archive) late: &'s (dyn Fn() -> bool + Sync),
}

/// The page of hits that is asked for, over all indexes.
pub(in crate::archive) fn search(
    query: &Query,
    indexes: &[Arc<Generation>],
    search: &Search<'_>,
) -> Result<Found, ArchiveError> {
    if query.offset.saturating_add(query.limit) > Query::REACH_MAX {
        let what = format!(
            "a page reaches to hit {} at most; ask for the next one with the cursor that comes with each page",
            Query::REACH_MAX
        );
        return Err(QueryError::whole(what).into());
    }
    let condition = parse(&query.text, Now(i64::try_from(search.now.0 / 1000).unwrap_or(i64::MAX)))?;
    let cursor = query.cursor.as_deref().map(|text| Cursor::open(text, &search.key, query)).transpose()?;
    let Some(fields) = indexes.first().map(|index| *index.fields()) else {
        return Ok(Found { total: 0, places: Vec::new(), next: None });
    };
    let searchers: Vec<Searcher> = indexes.iter().map(|index| index.searcher()).collect();
    let built = build(&condition, query.archive.as_deref(), &fields, &searchers)?;
    let reckoned = match (query.order, cursor.as_ref()) {
        (Order::Relevance, Some(cursor)) => cursor.reckoned.clone(),
        (Order::Relevance, None) => Some(Reckoned::now(&*built, &searchers).map_err(failed_in)?),
        _ => None,
    };
    let asked = Asked { query, built: &*built, reckoned: reckoned.as_ref(), late: search.late };
    let (total, mut hits) = asked.hits(&searchers, cursor.map(|cursor| cursor.after))?;
    let more = hits.len() > query.offset + query.limit;
    hits.truncate(query.offset + query.limit);
    let next = hits.last().filter(|_| more).map(|(key, ..)| Cursor::behind(query, *key, reckoned));
    let next = next.map(|cursor| cursor.sealed(&search.key));
    let hits = hits.into_iter().skip(query.offset);
    let places = places(hits, &condition, query, indexes, &searchers, search.late)?;
    Ok(Found { total, places, next })
}

type HitAt = (Key, usize, tantivy::DocAddress);

struct Asked<'a> {
    query: &'a Query,
    built: &'a dyn IndexQuery,
    reckoned: Option<&'a Reckoned>,
    late: &'a (dyn Fn() -> bool + Sync),
}

impl Asked<'_> {
    /// All that match, and the first of them behind `after`: one more than is wanted, to know whether there are more.
    fn hits(&self, searchers: &[Searcher], after: Option<Key>) -> Result<(u64, Vec<HitAt>), ArchiveError> {
        let limit = self.query.limit + self.query.offset + 1;
        let page = Page { order: self.query.order, after, limit, late: self.late };
        let scale = self.reckoned.map(|reckoned| reckoned.scale(self.built));
        let (mut total, mut hits) = (0, Vec::new());
        for (number, searcher) in searchers.iter().enumerate() {
            let collected = match &scale {
                Some(scale) => searcher.search_with_statistics_provider(self.built, &page, scale),
                None => searcher.search(self.built, &page),
            };
            let collected = collected.map_err(|error| match (self.late)() {
                true => QueryError::whole("it takes too long; ask for rarer words, or for fewer days").into(),
                false => failed_in(error),
            })?;
            total += collected.total;
            hits.extend(collected.hits.into_iter().map(|(key, at)| (key, number, at)));
        }
        hits.sort_by_key(|(key, ..)| Reverse(*key));
        hits.truncate(limit);
        Ok((total, hits))
    }
}

fn places(
    hits: impl Iterator<Item = HitAt>,
    condition: &Condition,
    query: &Query,
    indexes: &[Arc<Generation>],
    searchers: &[Searcher],
    late: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Place>, ArchiveError> {
    let marker = Marker::new(condition);
    let place = |(number, (_, index, at)): (usize, HitAt)| {
        let (generation, searcher) = (&indexes[index], &searchers[index]);
        // Reading what a hit says takes longer than finding it.
        let shows = number < SNIPPETS_OF_HITS_MAX && !late();
        let shown = shows.then(|| generation.shown(searcher, at)).transpose()?;
        Ok(Place {
            index,
            seq: generation.seq(searcher, at)?,
            id: generation.id(searcher, at)?,
            snippets: shown
                .as_ref()
                .map(|shown| marker.places(shown, query.archive.as_deref()))
                .unwrap_or_default(),
            missing: shown.as_ref().map(Shown::missing).unwrap_or_default(),
        })
    };
    side_by_side(hits.enumerate().collect(), place).into_iter().collect()
}
