//! Secrets in comments, by their look: a word that ends like the key of one, `=` or `:`, and something behind it.

use std::ops::Range;

use super::secrets::is_secret;

/// What looks like a secret in a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commented {
    /// What stands before the sign.
    pub(super) word: String,
    /// Where its value stands.
    pub(super) value: Range<usize>,
}

/// What looks like a secret in the comments of `text`, whose values stand at `values` (in order): nothing in those is one.
pub(super) fn comments(text: &str, values: &[Range<usize>]) -> Vec<Commented> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(comment) = next(text, values, at) {
        at = comment.end;
        if let Some((word, start)) = secret(&text[comment.clone()]) {
            let start = comment.start + start;
            let end = start + text[start..comment.end].trim_end().len();
            at = end_of(text, start..end);
            found.push(Commented { word, value: start..at });
        }
    }
    found
}

/// The next comment from `at` on, without the end of its line.
fn next(text: &str, values: &[Range<usize>], mut at: usize) -> Option<Range<usize>> {
    loop {
        let start = at + text[at..].find('#')?;
        let value = values.get(values.partition_point(|value| value.end <= start));
        match value.filter(|value| value.start <= start) {
            Some(value) => at = value.end,
            None => {
                let end = text[start..].find('\n').map_or(text.len(), |line| start + line);
                return Some(start..end);
            }
        }
    }
}

/// The word, and where its value begins.
fn secret(comment: &str) -> Option<(String, usize)> {
    comment.match_indices(['=', ':']).find_map(|(sign, _)| {
        let left = comment[..sign].trim_end().trim_end_matches(['"', '\'']);
        let is_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let word = left.rsplit(|c| !is_of_word(c)).next().unwrap_or_default();
        let right = &comment[sign + 1..];
        let value = right.trim_start();
        let is_one = is_secret(word) && !value.is_empty();
        is_one.then(|| (word.to_owned(), comment.len() - value.len()))
    })
}

/// Where a value ends: on its line, or, when it is of several that all are comments, on the last of them.
fn end_of(text: &str, first: Range<usize>) -> usize {
    let value = &text[first.clone()];
    let Some(quotes) = ["\"\"\"", "'''"].into_iter().find(|quotes| value.matches(quotes).count() == 1) else {
        return first.end;
    };
    let (mut end, mut at) = (first.end, first.end);
    for (number, line) in text[first.end..].split_inclusive('\n').enumerate() {
        if number > 0 {
            if !line.trim_start().starts_with('#') {
                break;
            }
            end = at + line.trim_end().len();
            if line.contains(quotes) {
                break;
            }
        }
        at += line.len();
    }
    end
}
