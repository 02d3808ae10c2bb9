//! Conditions to tantivy queries.

use std::cell::Cell;
use std::ops::Bound;

use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, Occur, PhrasePrefixQuery, PhraseQuery,
    Query as IndexQuery, RangeQuery, RegexQuery, TermQuery,
};
use tantivy::schema::{Field as IndexField, IndexRecordOption};
use tantivy::{Searcher, Term as IndexTerm};

use super::fields::{Fields, scoped_word};
use super::not::Not;
use super::parse::{Condition, Field, QueryError, Term, Text};
use super::words::{Asked, asked};

/// Words that all beginnings of a query may become, in all fields and segments together: each is looked up by itself.
const BEGINNINGS_MAX: u32 = 50_000;
/// How much more a word in the subject counts.
const SUBJECT_BOOST: f32 = 2.0;

/// What a query becomes for one who searches `archive`, or all of them.
pub(super) fn build(
    condition: &Condition,
    archive: Option<&str>,
    fields: &Fields,
    searchers: &[Searcher],
) -> Result<Box<dyn IndexQuery>, QueryError> {
    let builder = Builder { archive, fields, searchers, beginnings_left: Cell::new(BEGINNINGS_MAX) };
    let built = builder.condition(condition)?;
    let Some(archive) = archive else { return Ok(built) };
    let filed = TermQuery::new(IndexTerm::from_field_text(fields.archive, archive), IndexRecordOption::Basic);
    Ok(Box::new(BooleanQuery::new(vec![(Occur::Must, unscored(filed)), (Occur::Must, built)])))
}

/// What says nothing of how well a message fits.
fn unscored(query: impl IndexQuery) -> Box<dyn IndexQuery> {
    Box::new(ConstScoreQuery::new(Box::new(query), 0.0))
}

struct Builder<'b> {
    archive: Option<&'b str>,
    fields: &'b Fields,
    searchers: &'b [Searcher],
    beginnings_left: Cell<u32>,
}

impl Builder<'_> {
    fn condition(&self, condition: &Condition) -> Result<Box<dyn IndexQuery>, QueryError> {
        Ok(match condition {
            Condition::All(all) => {
                let all = all.iter().map(|one| Ok((Occur::Must, self.condition(one)?)));
                Box::new(BooleanQuery::new(all.collect::<Result<_, _>>()?))
            }
            Condition::Any(any) => {
                let any = any.iter().map(|one| self.condition(one)).collect::<Result<_, _>>()?;
                Box::new(BooleanQuery::union(any))
            }
            Condition::Not(not) => Box::new(Not(self.condition(not)?)),
            Condition::Is(term) => self.term(term)?,
        })
    }

    fn term(&self, term: &Term) -> Result<Box<dyn IndexQuery>, QueryError> {
        let fields = self.fields;
        let flag = |field| {
            let term = IndexTerm::from_field_bool(field, true);
            unscored(TermQuery::new(term, IndexRecordOption::Basic))
        };
        Ok(match term {
            Term::Everything => Box::new(AllQuery),
            Term::Text(text) => self.text(text)?,
            Term::Date(from, to) => {
                let bound = |seconds: &i64| IndexTerm::from_field_i64(fields.date, *seconds);
                let from = from.as_ref().map_or(Bound::Unbounded, |from| Bound::Included(bound(from)));
                let to = to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(bound(to)));
                unscored(RangeQuery::new(from, to))
            }
            Term::Size(from, to) => {
                let bound = |octets: u64| Bound::Included(IndexTerm::from_field_u64(fields.size, octets));
                unscored(RangeQuery::new(bound(*from), bound(*to)))
            }
            Term::HasAttachment => flag(fields.has_attachment),
            Term::TextMissing => flag(fields.text_missing),
            Term::Id(id) => {
                let whole = |id: &str| IndexTerm::from_field_text(fields.ids, id);
                let both = vec![whole(id), whole(&id.to_ascii_uppercase())];
                unscored(BooleanQuery::new_multiterms_query(both))
            }
            Term::Archive(name) => {
                if self.archive.is_some() {
                    let what =
                        "archive: is for searches of all archives; this one is of a single archive already";
                    return Err(QueryError::new(0, what));
                }
                let term = IndexTerm::from_field_text(fields.archive, name);
                unscored(TermQuery::new(term, IndexRecordOption::Basic))
            }
        })
    }

    fn text(&self, text: &Text) -> Result<Box<dyn IndexQuery>, QueryError> {
        let words = asked(&text.text, text.begins);
        let wanted = if text.fields.is_empty() { &Field::ANYWHERE[..] } else { text.fields };
        let mut places: Vec<Box<dyn IndexQuery>> =
            wanted.iter().map(|field| self.words_in(*field, &words)).collect::<Result<_, _>>()?;
        Ok(match places.len() {
            1 => places.remove(0),
            _ => Box::new(BooleanQuery::union(places)),
        })
    }

    /// One word, or words one behind the other: `anna@example.com` is three of them.
    fn words_in(&self, field: Field, words: &[Asked]) -> Result<Box<dyn IndexQuery>, QueryError> {
        let scope = self.archive.filter(|_| matches!(field, Field::Bcc | Field::Folder));
        let at = self.fields.of(field);
        let term = |word: &Asked| IndexTerm::from_field_text(at, &scoped_word(scope, &word.text));
        if let Some(last) = words.last().filter(|last| last.begins) {
            self.count_beginnings(at, &scoped_word(scope, &last.text), &last.text)?;
        }
        let query: Box<dyn IndexQuery> = match words {
            [] => Box::new(EmptyQuery),
            [word] if word.begins => beginning(at, &scoped_word(scope, &word.text)),
            [word] => Box::new(TermQuery::new(term(word), IndexRecordOption::WithFreqs)),
            several => {
                let begins = several.last().is_some_and(|last| last.begins);
                let terms = several.iter().map(|word| (word.at, term(word))).collect();
                if begins {
                    let mut query = PhrasePrefixQuery::new_with_offset(terms);
                    query.set_max_expansions(BEGINNINGS_MAX);
                    Box::new(query)
                } else {
                    Box::new(PhraseQuery::new_with_offset(terms))
                }
            }
        };
        Ok(match field {
            Field::Subject => Box::new(BoostQuery::new(query, SUBJECT_BOOST)),
            _ => query,
        })
    }

    /// Refuses a beginning that is that of too many words: all of them would be looked up.
    fn count_beginnings(&self, field: IndexField, beginning: &str, asked: &str) -> Result<(), QueryError> {
        let mut left = self.beginnings_left.get();
        for segment in self.searchers.iter().flat_map(Searcher::segment_readers) {
            // What cannot be read is told when it is searched.
            let Ok(inverted) = segment.inverted_index(field) else { continue };
            let Ok(mut words) = inverted.terms().range().ge(beginning).into_stream() else { continue };
            while words.advance() && words.key().starts_with(beginning.as_bytes()) {
                left = left.checked_sub(1).ok_or_else(|| {
                    let what = format!("too many words begin with {asked}; write more of it: {asked}…*");
                    QueryError::whole(what)
                })?;
            }
        }
        self.beginnings_left.set(left);
        Ok(())
    }
}

fn beginning(field: IndexField, text: &str) -> Box<dyn IndexQuery> {
    // Words have letters, digits and marks only; ids of archives hyphens, underscores and dots besides.
    let pattern = text.replace('.', "\\.");
    match RegexQuery::from_pattern(&format!("{pattern}.*"), field) {
        Ok(query) => Box::new(query),
        Err(_) => Box::new(EmptyQuery),
    }
}
