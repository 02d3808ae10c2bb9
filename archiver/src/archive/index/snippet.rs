//! Where in a message a hit is: the field, the attachment, the text with what was found marked.

use serde::{Deserialize, Serialize};
use tantivy::tokenizer::TokenStream as _;

use super::fields::{Hidden, Shown};
use super::parse::{Condition, Field, Text};
use super::words::{Asked, WordStream, asked};

/// Places shown of one hit.
const SNIPPETS_MAX: usize = 3;
/// Characters before the first mark, and of all.
const BEFORE_CHARS: usize = 40;
const TEXT_CHARS: usize = 160;

/// A place of a hit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippet {
    /// from, to, cc, bcc, subject, body, filename or attachment.
    pub field: String,
    /// The attachment's name, when it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<String>,
    /// The text around it, on one line.
    pub text: String,
    /// What was found: from and to, in characters of `text`.
    pub marks: Vec<(usize, usize)>,
}

/// What is looked for, ready to be found in text.
#[derive(Debug)]
pub(super) struct Marker {
    wanted: Vec<(&'static [Field], Vec<Asked>)>,
}

impl Marker {
    /// All words that a hit has because of the query.
    pub(super) fn new(condition: &Condition) -> Self {
        let mut wanted = Vec::new();
        collect(condition, &mut wanted);
        Self { wanted }
    }

    /// The places in a message; `archive` is whose archive is searched.
    pub(super) fn places(&self, shown: &Shown, archive: Option<&str>) -> Vec<Snippet> {
        let mut places = Vec::new();
        let mut look = |field: Field, attachment: Option<&str>, text: &str| {
            if places.len() < SNIPPETS_MAX {
                places.extend(self.place(field, text).map(|(text, marks)| Snippet {
                    field: field.name().into(),
                    attachment: attachment.map(str::to_owned),
                    text,
                    marks,
                }));
            }
        };
        look(Field::Subject, None, &shown.subject);
        look(Field::Body, None, &shown.body);
        for attachment in &shown.attachments {
            look(Field::Filename, None, &attachment.name);
            look(Field::Attachment, Some(&attachment.name), &attachment.text);
        }
        look(Field::From, None, &shown.from);
        look(Field::To, None, &shown.to);
        look(Field::Cc, None, &shown.cc);
        let known = |hidden: &&Hidden| archive.is_none_or(|archive| hidden.known_to.contains(archive));
        for hidden in shown.bcc.iter().filter(known) {
            look(Field::Bcc, None, &hidden.address);
        }
        places
    }

    /// The first place in a text, and how it is shown.
    fn place(&self, field: Field, text: &str) -> Option<(String, Vec<(usize, usize)>)> {
        let here = |fields: &[Field]| match fields {
            [] => Field::ANYWHERE.contains(&field),
            named => named.contains(&field),
        };
        let wanted: Vec<&[Asked]> =
            self.wanted.iter().filter(|(fields, _)| here(fields)).map(|(_, words)| &words[..]).collect();
        if wanted.is_empty() || text.is_empty() {
            return None;
        }
        let marks = marks(text, &wanted);
        (!marks.is_empty()).then(|| around(text, &marks))
    }
}

fn collect(condition: &Condition, wanted: &mut Vec<(&'static [Field], Vec<Asked>)>) {
    match condition {
        Condition::All(all) | Condition::Any(all) => all.iter().for_each(|one| collect(one, wanted)),
        Condition::Not(_) => {}
        Condition::Is(super::parse::Term::Text(Text { fields, text, begins })) => {
            wanted.push((fields, asked(text, *begins)));
        }
        Condition::Is(_) => {}
    }
}

/// Where the wanted words stand, in octets; only as far as is shown behind the first.
fn marks(text: &str, wanted: &[&[Asked]]) -> Vec<(usize, usize)> {
    let mut stream = WordStream::new(text);
    let mut marks: Vec<(usize, usize)> = Vec::new();
    // How far each of them has been met: the words that are next, and where it began.
    let mut met: Vec<Vec<(usize, usize, usize)>> = vec![Vec::new(); wanted.len()];
    while stream.advance() {
        let token = stream.token();
        if marks.first().is_some_and(|(first, _)| token.offset_from > first + 4 * TEXT_CHARS) {
            break;
        }
        for (words, met) in wanted.iter().zip(&mut met) {
            let position = token.position;
            met.push((0, position, token.offset_from));
            met.retain_mut(|(next, began, from)| {
                let Some(word) = words.get(*next) else { return false };
                let due = began.wrapping_add(word.at);
                if position < due {
                    return true;
                }
                let fits = match word.begins {
                    true => token.text.starts_with(&word.text),
                    false => token.text == word.text,
                };
                if position != due || !fits {
                    return false;
                }
                *next += 1;
                if *next == words.len() {
                    marks.push((*from, token.offset_to));
                    return false;
                }
                true
            });
        }
    }
    marks.sort_unstable();
    let mut whole: Vec<(usize, usize)> = Vec::new();
    for (from, to) in marks {
        match whole.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => whole.push((from, to)),
        }
    }
    whole
}

/// The text around the first mark, on one line, with the marks that lie in it, in characters.
fn around(text: &str, marks: &[(usize, usize)]) -> (String, Vec<(usize, usize)>) {
    let first = marks.first().map_or(0, |mark| mark.0);
    let mut start = text[..first].char_indices().rev().take(BEFORE_CHARS).last().map_or(first, |(at, _)| at);
    // Not amid a word, when one begins soon.
    if start > 0 {
        let space = text[start..first].find(char::is_whitespace);
        start +=
            space.map_or(0, |space| space + text[start + space..].chars().next().map_or(0, char::len_utf8));
    }
    let mut out = String::new();
    let mut shown: Vec<(usize, usize)> = Vec::new();
    let mut count = 0;
    if start > 0 {
        out.push('…');
        count += 1;
    }
    let mut space = true;
    let mut left = text[start..].char_indices();
    for (at, character) in left.by_ref() {
        let at = start + at;
        let plain = character.is_whitespace() || character.is_control();
        if count >= TEXT_CHARS && plain || count >= 2 * TEXT_CHARS {
            out.push('…');
            break;
        }
        if plain && space {
            continue;
        }
        space = plain;
        let inside = marks.iter().any(|(from, to)| (*from..*to).contains(&at));
        match (inside && !plain, shown.last_mut()) {
            (true, Some(last)) if last.1 == count => last.1 = count + 1,
            (true, Some(last)) if plain_between(&out, last.1, count) && same_mark(marks, text, start, at) => {
                last.1 = count + 1;
            }
            (true, _) => shown.push((count, count + 1)),
            (false, _) => {}
        }
        out.push(if plain { ' ' } else { character });
        count += 1;
    }
    let trimmed = out.trim_end().len();
    out.truncate(trimmed);
    (out, shown)
}

/// Whether only a space stands between two characters of what is shown.
fn plain_between(out: &str, from: usize, to: usize) -> bool {
    to == from + 1 && out.ends_with(' ')
}

/// Whether the character before the space before `at` belongs to the same mark.
fn same_mark(marks: &[(usize, usize)], text: &str, start: usize, at: usize) -> bool {
    let before = text[start..at].trim_end_matches(|c: char| c.is_whitespace() || c.is_control());
    let end = start + before.len();
    marks.iter().any(|(from, to)| (*from..*to).contains(&at) && *from < end)
}

#[cfg(test)]
mod tests {
    use super::super::parse::{Now, parse};
    use super::*;

    fn places(query: &str, shown: &Shown, archive: Option<&str>) -> Vec<String> {
        let marker = Marker::new(&parse(query, Now(0)).unwrap());
        let marked = |snippet: Snippet| {
            let mut text = String::new();
            for (at, character) in snippet.text.chars().enumerate() {
                text.extend(snippet.marks.iter().any(|(from, _)| *from == at).then_some('['));
                text.push(character);
                text.extend(snippet.marks.iter().any(|(_, to)| *to == at + 1).then_some(']'));
            }
            let place =
                snippet.attachment.map_or(snippet.field.clone(), |name| format!("{}={name}", snippet.field));
            format!("{place}: {text}")
        };
        marker.places(shown, archive).into_iter().map(marked).collect()
    }

    fn shown(body: &str) -> Shown {
        Shown { subject: "Annual Report".into(), body: body.into(), ..Shown::default() }
    }

    #[test]
    fn the_place_is_shown_with_what_was_found() {
        let body =
            format!("{}the Größe of\r\n  things, and größe again{}", "word ".repeat(50), " more".repeat(100));
        let found = places("grosse", &shown(&body), None);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("body: …word word"), "{found:?}");
        assert!(found[0].contains("the [Größe] of things, and [größe] again more"), "{found:?}");
        assert!(found[0].ends_with('…') && found[0].chars().count() < 220, "{found:?}");
        assert_eq!(places("subject:\"annual report\"", &shown(""), None), ["subject: [Annual Report]"]);
        assert_eq!(places("annual -report", &shown("report"), None), ["subject: [Annual] Report"]);
        assert_eq!(places("rep*", &shown("a repo"), None), ["subject: Annual [Report]", "body: a [repo]"]);
        assert_eq!(places("\"a repo\"", &shown("a a\n\trepo x"), None), ["body: a [a repo] x"]);
        assert_eq!(places("報告", &shown("年次報告書"), None), ["body: 年次[報告]書"]);
    }

    #[test]
    fn an_attachment_is_named() {
        let attachment = super::super::fields::ShownAttachment {
            name: "budget.pdf".into(),
            text: "the budget of 2026".into(),
            missing: None,
        };
        let shown = Shown { attachments: vec![attachment], ..Shown::default() };
        assert_eq!(places("2026", &shown, None), ["attachment=budget.pdf: the budget of [2026]"]);
        assert_eq!(places("filename:pdf", &shown, None), ["filename: budget.[pdf]"]);
    }

    /// Goal: who may not know a Bcc recipient is not shown one.
    #[test]
    fn bcc_is_shown_to_those_who_may_know() {
        let hidden = Hidden { address: "carol@example.com".into(), known_to: ["carol".to_owned()].into() };
        let shown = Shown { bcc: vec![hidden], ..Shown::default() };
        assert_eq!(places("carol", &shown, Some("anna")).len(), 0);
        assert_eq!(places("carol", &shown, Some("carol")).len(), 1);
        assert_eq!(places("bcc:carol", &shown, None).len(), 1);
    }
}
