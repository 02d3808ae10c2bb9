//! Terms to tantivy queries.

use std::ops::Bound;

use tantivy::Term as IndexTerm;
use tantivy::query::{
    AllQuery, BooleanQuery, EmptyQuery, Occur, PhraseQuery, Query as IndexQuery, RangeQuery, RegexQuery,
    TermQuery,
};
use tantivy::schema::{Field as IndexField, IndexRecordOption};
use tantivy::tokenizer::TextAnalyzer;

use super::not::Not;
use super::parse::{Field, Term, What};
use super::text::Fields;

/// All terms must hold; negated ones must not. With `archive`, only what is filed there.
pub(super) fn build(
    terms: &[Term],
    archive: Option<&str>,
    fields: &Fields,
    analyzer: &TextAnalyzer,
) -> Box<dyn IndexQuery> {
    let mut clauses: Vec<(Occur, Box<dyn IndexQuery>)> = Vec::new();
    for term in terms {
        let query = build_term(&term.what, fields, analyzer);
        clauses.push((Occur::Must, if term.negated { Box::new(Not(query)) } else { query }));
    }
    if let Some(archive) = archive {
        let term = IndexTerm::from_field_text(fields.archive, archive);
        clauses.push((Occur::Must, Box::new(TermQuery::new(term, IndexRecordOption::Basic))));
    }
    Box::new(BooleanQuery::new(clauses))
}

fn build_term(what: &What, fields: &Fields, analyzer: &TextAnalyzer) -> Box<dyn IndexQuery> {
    match what {
        What::Everything => Box::new(AllQuery),
        What::Text(field, text) => {
            let tokens = tokens(text, analyzer);
            in_fields(*field, fields, |field| Some(text_query(field, &tokens)))
        }
        What::Prefix(field, text) => {
            let tokens = tokens(text, analyzer);
            in_fields(*field, fields, |field| prefix_query(field, &tokens))
        }
        What::After(seconds) => {
            let from = IndexTerm::from_field_i64(fields.date, *seconds);
            Box::new(RangeQuery::new(Bound::Included(from), Bound::Unbounded))
        }
        What::Before(seconds) => {
            let to = IndexTerm::from_field_i64(fields.date, *seconds);
            Box::new(RangeQuery::new(Bound::Unbounded, Bound::Excluded(to)))
        }
        What::HasAttachment => {
            let term = IndexTerm::from_field_bool(fields.has_attachment, true);
            Box::new(TermQuery::new(term, IndexRecordOption::Basic))
        }
    }
}

fn tokens(text: &str, analyzer: &TextAnalyzer) -> Vec<String> {
    let mut analyzer = analyzer.clone();
    let mut stream = analyzer.token_stream(text);
    let mut tokens = Vec::new();
    while stream.advance() {
        tokens.push(stream.token().text.clone());
    }
    tokens
}

fn in_fields(
    field: Option<Field>,
    fields: &Fields,
    query: impl Fn(IndexField) -> Option<Box<dyn IndexQuery>>,
) -> Box<dyn IndexQuery> {
    match field {
        Some(field) => query(fields.of(field)).unwrap_or_else(|| Box::new(EmptyQuery)),
        None => {
            let all = Field::ALL.into_iter().filter_map(|field| query(fields.of(field)));
            Box::new(BooleanQuery::union(all.collect()))
        }
    }
}

/// One word, or words one behind the other: `anna@example.com` is three of them.
fn text_query(field: IndexField, tokens: &[String]) -> Box<dyn IndexQuery> {
    let mut terms: Vec<IndexTerm> =
        tokens.iter().map(|token| IndexTerm::from_field_text(field, token)).collect();
    match terms.len() {
        0 => Box::new(EmptyQuery),
        1 => Box::new(TermQuery::new(terms.remove(0), IndexRecordOption::WithFreqs)),
        _ => Box::new(PhraseQuery::new(terms)),
    }
}

/// The last word begins so; those before it are there too.
fn prefix_query(field: IndexField, tokens: &[String]) -> Option<Box<dyn IndexQuery>> {
    let (last, before) = tokens.split_last()?;
    // Tokens hold letters and digits only, so nothing in them means anything to a regular expression.
    let begins = RegexQuery::from_pattern(&format!("{last}.*"), field).ok()?;
    let mut clauses: Vec<Box<dyn IndexQuery>> = vec![Box::new(begins)];
    if !before.is_empty() {
        clauses.push(text_query(field, before));
    }
    Some(Box::new(BooleanQuery::intersection(clauses)))
}
