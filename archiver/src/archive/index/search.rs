//! A query over the indexes of all stores.

use std::cmp::Reverse;
use std::sync::Arc;

use postern_shared::clock::UnixMillis;
use tantivy::Searcher;
use tantivy::query::Query as IndexQuery;

use super::cursor::{Cursor, Reckoned};
use super::fields::Shown;
use super::generation::Generation;
use super::page::{Key, Order, Page};
use super::parse::{Condition, Now, parse};
use super::query::build;
use super::snippet::{Marker, Snippet};
use super::{Query, failed};
use crate::archive::ArchiveError;

/// A hit: which of the indexes has it, and its number in that catalog.
#[derive(Debug)]
pub(in crate::archive) struct Place {
    pub(in crate::archive) index: usize,
    pub(in crate::archive) seq: u64,
    pub(in crate::archive) snippets: Vec<Snippet>,
    /// Attachments whose text could not be had, and why.
    pub(in crate::archive) missing: Vec<(String, String)>,
}

/// What was found.
#[derive(Debug)]
pub(in crate::archive) struct Found {
    pub(in crate::archive) total: u64,
    pub(in crate::archive) places: Vec<Place>,
    pub(in crate::archive) next: Option<Cursor>,
}

/// The page of hits that is asked for, over all indexes. `now`: for dates that are told from today.
pub(in crate::archive) fn search(
    query: &Query,
    indexes: &[Arc<Generation>],
    now: UnixMillis,
) -> Result<Found, ArchiveError> {
    let condition = parse(&query.text, Now(i64::try_from(now.0 / 1000).unwrap_or(i64::MAX)))?;
    let cursor = query.cursor.as_deref().map(|text| Cursor::read(text, query)).transpose()?;
    let Some(fields) = indexes.first().map(|index| *index.fields()) else {
        return Ok(Found { total: 0, places: Vec::new(), next: None });
    };
    let built = build(&condition, query.archive.as_deref(), &fields)?;
    let searchers: Vec<Searcher> = indexes.iter().map(|index| index.searcher()).collect();
    let reckoned = match (query.order, cursor.as_ref()) {
        (Order::Relevance, Some(cursor)) => cursor.reckoned.clone(),
        (Order::Relevance, None) => Some(Reckoned::now(&*built, &searchers).map_err(failed)?),
        _ => None,
    };
    let asked = Asked { query, built: &*built, reckoned: reckoned.as_ref() };
    let (total, mut hits) = asked.hits(&searchers, cursor.map(|cursor| cursor.after))?;
    let more = hits.len() > query.offset.saturating_add(query.limit);
    hits.truncate(query.offset.saturating_add(query.limit));
    let next = hits.last().filter(|_| more).map(|(key, ..)| Cursor::behind(query, *key, reckoned));
    let hits = hits.into_iter().skip(query.offset);
    let places = places(hits, &condition, query, indexes, &searchers)?;
    Ok(Found { total, places, next })
}

type HitAt = (Key, usize, tantivy::DocAddress);

struct Asked<'a> {
    query: &'a Query,
    built: &'a dyn IndexQuery,
    reckoned: Option<&'a Reckoned>,
}

impl Asked<'_> {
    /// All that match, and the first of them behind `after`: one more than is wanted, to know whether there are more.
    fn hits(&self, searchers: &[Searcher], after: Option<Key>) -> Result<(u64, Vec<HitAt>), ArchiveError> {
        let limit = self.query.limit.saturating_add(self.query.offset).saturating_add(1);
        let page = Page { order: self.query.order, after, limit };
        let scale = self.reckoned.map(|reckoned| reckoned.scale(self.built));
        let (mut total, mut hits) = (0, Vec::new());
        for (number, searcher) in searchers.iter().enumerate() {
            let collected = match &scale {
                Some(scale) => searcher.search_with_statistics_provider(self.built, &page, scale),
                None => searcher.search(self.built, &page),
            };
            let collected = collected.map_err(failed)?;
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
) -> Result<Vec<Place>, ArchiveError> {
    let marker = Marker::new(condition);
    let place = |(_, index, at): HitAt| {
        let (generation, searcher) = (&indexes[index], &searchers[index]);
        let shown: Shown = generation.shown(searcher, at)?;
        Ok(Place {
            index,
            seq: generation.seq(searcher, at)?,
            snippets: marker.places(&shown, query.archive.as_deref()),
            missing: shown.missing(),
        })
    };
    hits.map(place).collect()
}
