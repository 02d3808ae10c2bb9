//! Text to what is looked up: words, their accents and case folded, and pairs of characters where words have no spaces.
//!
//! The same for what is indexed and for what is asked, so that both meet.
//!
//! * Scripts with spaces: letters and digits that stand together are a word. Lower case; compatibility forms, ligatures and accents
//!   folded (Unicode NFKD without its accents; ß, æ, ø and their like as they are written without them). A word goes on for 64
//!   characters; what is longer is several words, one behind the other.
//! * Han, kana, Hangul, Thai, Lao, Khmer, Burmese: each two neighbouring characters, and the last one of a run alone, so that
//!   one character is found wherever it stands: 年次報告 is 年次, 次報, 報告, 告.
//!
//! Not here: what a query makes of them (`query`).

mod fold;

use fold::{fold_word, is_mark, is_unspaced, joins, unspaced_form};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// A word goes on for so many characters.
const WORD_CHARS_MAX: usize = 64;
/// A run of an unspaced script goes on for so many characters; what follows is another one.
const RUN_CHARS_MAX: usize = 4096;
/// Marks that are read with one character; what follows is read by itself.
const JOINED_MAX: usize = 32;

/// Makes words of text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Words;

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        WordStream::new(text)
    }
}

/// The words of a text.
#[derive(Debug)]
pub(super) struct WordStream<'a> {
    text: &'a str,
    at: usize,
    /// A run of an unspaced script: where each character stands.
    run: Vec<(usize, usize, char)>,
    run_at: usize,
    token: Token,
}

impl<'a> WordStream<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, run: Vec::new(), run_at: 0, token: Token::default() }
    }

    /// The next pair of a run.
    fn advance_in_run(&mut self) -> bool {
        let Some(&(from, to, first)) = self.run.get(self.run_at) else { return false };
        self.run_at += 1;
        self.begin(from);
        self.token.offset_to = to;
        self.token.text.push(first);
        if let Some(&(_, to, second)) = self.run.get(self.run_at) {
            self.token.offset_to = to;
            self.token.text.push(second);
        }
        true
    }

    fn begin(&mut self, from: usize) {
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = from;
        self.token.text.clear();
    }

    /// Takes the run that begins here.
    fn read_run(&mut self) {
        self.run.clear();
        self.run_at = 0;
        while self.run.len() < RUN_CHARS_MAX {
            let from = self.at;
            let rest = &self.text[from..];
            let mut characters = rest.chars();
            let Some(first) = characters.next().filter(|first| is_unspaced(*first) || is_mark(*first)) else {
                break;
            };
            let joined: usize =
                characters.take(JOINED_MAX).take_while(|next| joins(*next)).map(char::len_utf8).sum();
            self.at += first.len_utf8() + joined;
            let form = unspaced_form(&self.text[from..self.at]);
            self.run.extend(form.map(|character| (from, self.at, character)));
        }
    }

    /// Takes the word that begins here; `false` when nothing of it can be looked up.
    fn read_word(&mut self) -> bool {
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut at = start;
        while at < bytes.len() && at - start < WORD_CHARS_MAX && bytes[at].is_ascii_alphanumeric() {
            at += 1;
        }
        let ascii = at == bytes.len() || bytes[at].is_ascii() || at - start == WORD_CHARS_MAX;
        self.begin(start);
        if ascii {
            self.token.text.push_str(&self.text[start..at]);
            self.token.text.make_ascii_lowercase();
        } else {
            let rest = self.text[start..].char_indices().take(WORD_CHARS_MAX);
            let mut inside = rest.take_while(|(_, c)| is_word(*c)).map(|(at, c)| at + c.len_utf8());
            at = start + inside.by_ref().last().unwrap_or(0);
            fold_word(&self.text[start..at], &mut self.token.text);
        }
        self.at = at;
        self.token.offset_to = at;
        let found = !self.token.text.is_empty();
        if !found {
            self.token.position = self.token.position.wrapping_sub(1);
        }
        found
    }
}

fn is_word(character: char) -> bool {
    match character.is_ascii() {
        true => character.is_ascii_alphanumeric(),
        false => (character.is_alphanumeric() || is_mark(character)) && !is_unspaced(character),
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        loop {
            if self.advance_in_run() {
                return true;
            }
            let bytes = self.text.as_bytes();
            while self.at < bytes.len()
                && bytes[self.at].is_ascii()
                && !bytes[self.at].is_ascii_alphanumeric()
            {
                self.at += 1;
            }
            let Some(character) = self.text[self.at..].chars().next() else { return false };
            if is_unspaced(character) {
                self.read_run();
            } else if is_word(character) {
                if self.read_word() {
                    return true;
                }
            } else {
                self.at += character.len_utf8();
            }
        }
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

/// A word as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Where it stands among the others.
    pub(super) at: usize,
    pub(super) text: String,
    /// What is looked up only begins so.
    pub(super) begins: bool,
}

/// The words of what is asked. `begins`: the last one is only the beginning of a word. They stand one behind the other.
pub(super) fn asked(text: &str, begins: bool) -> Vec<Asked> {
    let mut stream = WordStream::new(text);
    let mut words: Vec<Asked> = Vec::new();
    while stream.advance() {
        let token = stream.token();
        words.push(Asked { at: token.position, text: token.text.clone(), begins: false });
    }
    let first = words.first().map_or(0, |word| word.at);
    words.iter_mut().for_each(|word| word.at = word.at.wrapping_sub(first));
    let unspaced = |word: &Asked| word.text.chars().next().is_some_and(is_unspaced);
    if words.last().is_some_and(unspaced) {
        // The run may go on where it is found: what stands alone only because it is the last is left out, or is a beginning.
        let alone = words.len() < 2 || !unspaced(&words[words.len() - 2]);
        let spread = words.len() >= 2 && words[words.len() - 2].text.chars().count() < 2;
        if alone || spread {
            words.last_mut().into_iter().for_each(|word| word.begins = true);
        } else {
            words.pop();
        }
    } else if let Some(last) = words.last_mut() {
        last.begins = begins;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut stream = WordStream::new(text);
        let mut words = Vec::new();
        while stream.advance() {
            let token = stream.token();
            assert_eq!(token.position, words.len());
            assert!(text.is_char_boundary(token.offset_from) && text.is_char_boundary(token.offset_to));
            words.push(token.text.clone());
        }
        words
    }

    #[test]
    fn words_are_folded() {
        assert_eq!(words("Anna.Müller@Example.COM"), ["anna", "muller", "example", "com"]);
        assert_eq!(words("Größe GRÖSSE ﬁnance Ærø Łódź"), ["grosse", "grosse", "finance", "aero", "lodz"]);
        assert_eq!(words("naïve e\u{301}te\u{301} ＡＢＣ１２"), ["naive", "ete", "abc12"]);
        assert_eq!(words("Отчёт за ΟΔΟΣ οδός"), ["отчет", "за", "οδοσ", "οδοσ"]);
        assert_eq!(words("Tiếng Việt İstanbul"), ["tieng", "viet", "istanbul"]);
        assert_eq!(words("שָׁלוֹם مُحَمَّد"), ["שלום", "محمد"]);
        assert_eq!(words("हिन्दी"), ["हिन्दी"]);
        assert_eq!(words(" – \u{301} … "), Vec::<String>::new());
        assert_eq!(words("don't 3,14"), ["don", "t", "3", "14"]);
    }

    #[test]
    fn unspaced_scripts_become_pairs() {
        assert_eq!(words("年次報告"), ["年次", "次報", "報告", "告"]);
        assert_eq!(words("A社の2026年"), ["a", "社の", "の", "2026", "年"]);
        assert_eq!(words("ﾌﾞﾗｳｻﾞ"), words("ブラウザ"));
        assert_eq!(words("보고서 확인"), ["보고", "고서", "서", "확인", "인"]);
        assert_eq!(words("รายงาน")[0], "รา");
    }

    #[test]
    fn long_words_go_on_as_others() {
        let long = "a".repeat(150);
        assert_eq!(words(&long).iter().map(String::len).collect::<Vec<_>>(), [64, 64, 22]);
        assert_eq!(words(&"ä".repeat(65)).len(), 2);
    }

    #[test]
    fn what_is_asked_meets_what_is_there() {
        let asked_words = |text: &str, begins| {
            let asked = asked(text, begins);
            asked.into_iter().map(|word| (word.at, word.text, word.begins)).collect::<Vec<_>>()
        };
        assert_eq!(asked_words("Annual Rep", true), [(0, "annual".into(), false), (1, "rep".into(), true)]);
        assert_eq!(asked_words("報告", false), [(0, "報告".into(), false)]);
        assert_eq!(asked_words("報", false), [(0, "報".into(), true)]);
        assert_eq!(
            asked_words("報告 2026", false),
            [(0, "報告".into(), false), (1, "告".into(), false), (2, "2026".into(), false)]
        );
        assert!(asked("...", false).is_empty());
    }
}
