//! Text that compresses and is indexed as text does: few words are frequent, most are rare.

/// Words that there are.
const VOCABULARY: u64 = 60_000;
/// Words of a line.
const LINE_WORDS: usize = 10;

/// Text that is the same for the same number.
#[derive(Debug)]
pub(super) struct Words(u64);

impl Words {
    /// The text of that number.
    pub(super) fn new(number: usize) -> Self {
        Self(number as u64 ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below another.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Adds a line.
    pub(super) fn line(&mut self, text: &mut String, end: &str) {
        for place in 0..LINE_WORDS {
            if place > 0 {
                text.push(' ');
            }
            // The smaller a number, the more often it comes.
            let (one, other) = (self.below(VOCABULARY) + 1, self.below(VOCABULARY) + 1);
            let bound = (one * other / VOCABULARY).max(1);
            text.push_str(&word(self.below(bound)));
        }
        text.push_str(end);
    }
}

/// A word of the vocabulary.
pub(super) fn word(number: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "ke", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "wo", "zu", "cha"];
    let mut rest = number + 16;
    let mut text = String::new();
    while rest > 0 {
        text.push_str(SYLLABLES[(rest % 16) as usize]);
        rest /= 16;
    }
    text
}
