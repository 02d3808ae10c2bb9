//! Secrets in the text of a configuration: shown as a mask, and put back when the text comes back with the mask in it.
//!
//! The text is parsed, so a secret is found however it is written: in an inline table, over several lines, under a quoted
//! key. In comments what looks like one is taken for one. Whose secret a mask stands for is told by the tables around it, and
//! where there may be several of them by their `name`; never by how many stand before it. A mask that stands for nothing is
//! refused.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::comments::comments;

/// What is shown instead of a secret.
pub(super) const MASK: &str = "(not shown)";
/// What is shown instead of the rest of a text with a mistake.
const REST: &str =
    "# (not shown): there is a mistake in the file, and secrets may follow here; edit it by hand";
const SECRET: [&str; 2] = ["secret", "password"];

/// A mask came back, and nobody knows what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}: {MASK} stands for no secret that was there under this name; write the secret itself, or take the line out"
)]
pub(in crate::console) struct Unclear(String);

/// Whether a key holds a secret; one that names the file it is in does not.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET.iter().any(|word| key.ends_with(word))
}

/// `text` with its secrets masked. Of one that has a mistake in it no more is shown than what stands before the first line
/// that may have to do with a secret: nobody knows where its values end.
pub(in crate::console) fn masked(text: &str) -> String {
    let Some(secrets) = secrets(text) else { return beginning(text) };
    let masks = secrets.into_iter().map(|secret| {
        let mask = if secret.in_comment { MASK.to_owned() } else { format!("\"{MASK}\"") };
        (secret.span, mask)
    });
    replaced(text, masks.collect())
}

/// `text` with each mask replaced by the secret that it stands for in `before`.
pub(in crate::console) fn unmasked(text: &str, before: &str) -> Result<String, Unclear> {
    if text.contains(REST) {
        return Err(Unclear("the end of the file".into()));
    }
    // With a mistake in it nobody takes it.
    let Some(asked) = secrets(text) else { return Ok(text.to_owned()) };
    let known = by_place(secrets(before).unwrap_or_default());
    let mut put_back = Vec::new();
    for (place, asked) in by_place(asked) {
        if !asked.iter().any(|secret| secret.is_mask) {
            continue;
        }
        let known = known.get(&place).map(Vec::as_slice).unwrap_or_default();
        // Within one place comments go by their order; of values there is one.
        if known.len() != asked.len() || known.len() != 1 && !place.in_comment || !place.is_named() {
            return Err(Unclear(place.to_string()));
        }
        let pairs = asked.into_iter().zip(known).filter(|(asked, _)| asked.is_mask);
        put_back.extend(pairs.map(|(asked, known)| (asked.span, before[known.span.clone()].to_owned())));
    }
    Ok(replaced(text, put_back))
}

/// A secret, and where it stands in the text.
#[derive(Debug, Clone)]
struct Secret {
    place: Place,
    span: Range<usize>,
    in_comment: bool,
    is_mask: bool,
}

/// Tables, names and key around a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    steps: Vec<Step>,
    in_comment: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    /// One of several, by its `name`.
    Of(Option<String>),
}

impl Place {
    fn with(&self, step: Step) -> Self {
        Self { steps: self.steps.iter().cloned().chain([step]).collect(), ..*self }
    }

    /// Whether nothing else can be meant.
    fn is_named(&self) -> bool {
        self.in_comment || !self.steps.contains(&Step::Of(None))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut dot = "";
        for step in &self.steps {
            match step {
                Step::Key(key) => write!(f, "{dot}{}", key.escape_debug())?,
                Step::Of(name) => write!(f, " {:?}", name.as_deref().unwrap_or("without a name"))?,
            }
            dot = if matches!(step, Step::Of(_)) { ", " } else { "." };
        }
        if self.in_comment { f.write_str(" (in a comment)") } else { Ok(()) }
    }
}

fn by_place(secrets: Vec<Secret>) -> BTreeMap<Place, Vec<Secret>> {
    let mut places: BTreeMap<Place, Vec<Secret>> = BTreeMap::new();
    for secret in secrets {
        places.entry(secret.place.clone()).or_default().push(secret);
    }
    places
}

/// All secrets of a text, in its order; nothing when it is not TOML.
fn secrets(text: &str) -> Option<Vec<Secret>> {
    let document = DeTable::parse(text).ok()?;
    let mut found = Found::default();
    found.table(document.get_ref(), &Place::default(), false);
    found.spans.sort_by_key(|(span, _)| span.start);
    let spans: Vec<Range<usize>> = found.spans.iter().map(|(span, _)| span.clone()).collect();
    for comment in comments(text, &spans) {
        // A comment belongs to what stands before it.
        let before = spans.partition_point(|span| span.end <= comment.value.start);
        let owner = before.checked_sub(1).map(|at| found.spans[at].1.clone()).unwrap_or_default();
        let place = Place { in_comment: true, ..owner.with(Step::Key(comment.word)) };
        let is_mask = text[comment.value.clone()].contains(MASK);
        found.secrets.push(Secret { place, span: comment.value, in_comment: true, is_mask });
    }
    found.secrets.sort_by_key(|secret| secret.span.start);
    Some(found.secrets)
}

/// What is found on the way through a document.
#[derive(Default)]
struct Found {
    secrets: Vec<Secret>,
    /// Where keys and values stand, and in which table.
    spans: Vec<(Range<usize>, Place)>,
    /// The table that is looked at.
    table: Place,
}

impl Found {
    fn table(&mut self, table: &DeTable<'_>, place: &Place, is_below: bool) {
        let outer = std::mem::replace(&mut self.table, place.clone());
        for (key, value) in table {
            self.spans.push((key.span(), place.clone()));
            let key = key.get_ref();
            self.value(value.get_ref(), value.span(), place, Some(key), is_below || is_secret(key));
        }
        self.table = outer;
    }

    /// `around` is where it stands, and `key` what it is called there; items of a list have none.
    fn value(
        &mut self,
        value: &DeValue<'_>,
        span: Range<usize>,
        around: &Place,
        key: Option<&str>,
        secret: bool,
    ) {
        let own = || key.map_or_else(|| around.clone(), |key| around.with(Step::Key(key.to_owned())));
        match value {
            DeValue::Table(inner) => {
                let of = match key {
                    Some(_) => own(),
                    None => {
                        let name = inner.get("name").and_then(|name| name.get_ref().as_str());
                        around.with(Step::Of(name.map(str::to_owned)))
                    }
                };
                self.table(inner, &of, secret);
            }
            DeValue::Array(items) => {
                for item in items.iter() {
                    self.value(item.get_ref(), item.span(), &own(), None, secret);
                }
            }
            leaf => {
                self.spans.push((span.clone(), self.table.clone()));
                if secret {
                    let is_mask = leaf.as_str() == Some(MASK);
                    self.secrets.push(Secret { place: own(), span, in_comment: false, is_mask });
                }
            }
        }
    }
}

/// The lines before the first that may have to do with a secret.
fn beginning(text: &str) -> String {
    let may_be = |line: &str| SECRET.iter().any(|word| line.to_ascii_lowercase().contains(word));
    let mut shown = String::new();
    for line in text.split_inclusive('\n') {
        let is_prose = line.trim_start().starts_with('#') && !line.contains(['=', ':']);
        if may_be(line) && !is_prose {
            return format!("{shown}{REST}\n");
        }
        shown.push_str(line);
    }
    shown
}

fn replaced(text: &str, mut pieces: Vec<(Range<usize>, String)>) -> String {
    pieces.sort_by_key(|(span, _)| span.start);
    let (mut out, mut at) = (String::new(), 0);
    for (span, piece) in pieces {
        if span.start < at {
            at = at.max(span.end);
            continue;
        }
        out.push_str(&text[at..span.start]);
        out.push_str(&piece);
        at = span.end;
    }
    out + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = 1\n[[p]]\nname = 'm'\nclient_secret = \"one\"\nclient_secret_file = \"/f\"\n\
        [[p]]\nname = 'g'\nclient_secret=\"two\" # x\n";

    fn is_refused(text: &str, before: &str) -> String {
        unmasked(text, before).expect_err(text).to_string()
    }

    #[test]
    fn secrets_are_masked_and_come_back() {
        let shown = masked(TEXT);
        assert!(!shown.contains("one") && !shown.contains("two") && shown.contains("/f"), "{shown}");
        assert_eq!(unmasked(&shown, TEXT).unwrap(), TEXT);
        let changed = shown.replace("a = 1", "a = 2").replacen(&format!("\"{MASK}\""), "\"new\"", 1);
        let expected = TEXT.replace("a = 1", "a = 2").replace("\"one\"", "\"new\"");
        assert_eq!(unmasked(&changed, TEXT).unwrap(), expected, "one was changed, the other stays");
        let spelled =
            "[[p]]\nname = 'm'\n\"client_Password\" = 'one'\n[x.secret]\ny = 'two'\nz = ['two', 2]\n";
        let shown = masked(spelled);
        assert!(!shown.contains("one") && !shown.contains("two") && !shown.contains('2'), "{shown}");
        let deeper = "[x.secret]\ny = 'two'\n";
        assert_eq!(unmasked(&masked(deeper), deeper).unwrap(), deeper);
    }

    /// Goal: whatever else happens to the text, a provider's secret is never given to another.
    #[test]
    fn a_secret_stays_with_its_table() {
        let shown = masked(TEXT);
        let (first, second) = shown.split_once("client_secret_file = \"/f\"\n").unwrap();
        let (a, first) = first.split_at("a = 1\n".len());
        let turned = unmasked(&format!("{a}{second}{first}"), TEXT).unwrap();
        assert!(turned.contains("name = 'g'\nclient_secret=\"two\""), "{turned}");
        assert!(turned.contains("name = 'm'\nclient_secret = \"one\""), "{turned}");
        let one = unmasked(second, TEXT).unwrap();
        assert_eq!(one, "[[p]]\nname = 'g'\nclient_secret=\"two\" # x\n", "the first was taken out");
        for other in [
            shown.replace("'g'", "'h'"),
            shown.replace("'g'", "'m'"),
            shown.replace("name = 'g'\n", ""),
            shown.replace("[[p]]", "[[q]]"),
            shown.replace("client_secret =", "password ="),
            format!("client_secret = \"{MASK}\"\n{TEXT}"),
        ] {
            let told = is_refused(&other, TEXT);
            assert!(told.contains("write the secret itself") && !told.contains("two"), "{told}");
        }
        let nameless = "[[p]]\nclient_secret = 'one'\n";
        assert_eq!(unmasked(nameless, nameless).unwrap(), nameless);
        is_refused(&masked(nameless), nameless);
    }

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        for text in [
            "p = [{ name = 'm', client_secret = 'hush' }, { name = 'g', client_secret = \"hush hush\" }]\n",
            "p = [\n  { name = 'm', client_id = 'x', client_secret = 'hush' }, # ours\n]\n",
            "[[p]]\nname = 'm'\nclient_secret = \"\"\"\nhush\n  # hush\n\"\"\" # of them\nb = 'c'\n",
            "[[p]]\nname = 'm'\nclient_secret = '''hush\nhush'''\n",
            "[[p]]\nname = 'm'\n'client_secret' = 'hush'\n",
            "p.x.client_secret = 'hush'\n",
            "a = 'é#' # é\np.x.password = 'hush'",
            "[[p]]\nname = 'm'\n# client_secret = \"hush\"\n#password: hush\n",
            "# p = [{ name = 'm', client_secret = 'hush' }]\n",
            "a = 'b' # once client_secret=hush\n",
            "[[p]]\nname = 'm'\n# client_secret = '''\n# hush\n# '''\n# id = 'x'\n",
            "a = 1\r\nclient_secret = 'hush'\r\n# password = 'hush'\r\n",
        ] {
            let shown = masked(text);
            assert!(!shown.contains("hush") && shown.contains(MASK), "{text}: {shown}");
            assert_eq!(unmasked(&shown, text).as_deref(), Ok(text), "{shown}");
        }
        let plain = "# the password is asked for\n# how the gateway proves itself: a secret\na = 'client_secret = x'\n";
        assert_eq!(masked(plain), plain, "nothing is said of one");
    }

    #[test]
    fn a_comment_keeps_its_own_secret() {
        let text = "[[p]]\nname = 'm'\n# client_secret = 'old'\n# client_secret = 'older'\n[[p]]\nname = 'g'\n# client_secret = 'hers'\n";
        let shown = masked(text);
        let (_, second) = shown.rsplit_once("[[p]]").unwrap();
        assert!(unmasked(&format!("[[p]]{second}"), text).unwrap().ends_with("# client_secret = 'hers'\n"));
        is_refused(&shown.replacen(&format!("# client_secret = {MASK}\n"), "", 1), text);
    }

    /// Goal: a file that was spoilt by hand tells nothing either, and what was left out of it is not taken for a new text.
    #[test]
    fn of_a_text_with_a_mistake_only_the_harmless_beginning_is_shown() {
        for broken in [
            "a = 1\n[[p]]\nclient_secret = \"hush\n",
            "a = 1\nclient_secret \"hush\"\n",
            "a = 1\nclient_secret =\n\"hush\"\n",
            "a = 1\np = { client_secret = \"\"\"\nhush\n",
            "a = 1\n# Client_Secret = hush\nb =\n",
        ] {
            let shown = masked(broken);
            assert!(
                shown.starts_with("a = 1\n") && !shown.contains("hush") && shown.contains(MASK),
                "{shown}"
            );
            assert!(unmasked(&shown, broken).is_err(), "{shown}");
        }
        let harmless = "# the password\nb = \n";
        assert_eq!(masked(harmless), harmless);
        assert_eq!(unmasked("b = ", TEXT).unwrap(), "b = ", "whoever loads it says what is wrong");
    }
}
