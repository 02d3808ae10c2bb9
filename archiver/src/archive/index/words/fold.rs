//! Case, accents and compatibility forms.

use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

const DECOMPOSED: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();
const COMPOSED: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();
const COMBINING: CanonicalCombiningClassMapBorrowed<'static> = CanonicalCombiningClassMapBorrowed::new();

/// Whether it belongs to the letter before it.
pub(super) fn is_mark(character: char) -> bool {
    character >= '\u{300}' && COMBINING.get_u8(character) != 0
}

/// Accents, and the points of Hebrew and Arabic; not what makes a letter another one in the scripts of India and Indochina.
fn is_accent(character: char) -> bool {
    let class = COMBINING.get_u8(character);
    class >= 200 || (10..=36).contains(&class)
}

/// Whether its script is written without spaces between words, or glues much to them, as Korean does.
pub(super) fn is_unspaced(character: char) -> bool {
    matches!(u32::from(character),
        0x0E00..=0x0EFF                             // Thai, Lao
        | 0x1000..=0x109F | 0xA9E0..=0xA9FF | 0xAA60..=0xAA7F   // Burmese
        | 0x1100..=0x11FF | 0xA960..=0xA97F | 0xAC00..=0xD7FF   // Hangul
        | 0x1780..=0x17FF                           // Khmer
        | 0x3005..=0x3007                           // 々〆〇
        | 0x3041..=0x30FF | 0x31F0..=0x31FF         // kana
        | 0x3105..=0x312F | 0x3131..=0x318E         // Bopomofo, Hangul letters
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF         // Han
        | 0xF900..=0xFAFF
        | 0xFF66..=0xFFDC                           // half-width kana and Hangul
        | 0x1B000..=0x1B16F
        | 0x20000..=0x3FFFF)
        && !matches!(character, '฿' | '\u{30A0}' | '\u{30FB}' | '๏' | '๚' | '๛')
}

/// Whether it makes one character with what stands before it: voiced marks of kana, vowels and finals of Hangul.
pub(super) fn joins(character: char) -> bool {
    matches!(character, '\u{FF9E}' | '\u{FF9F}' | '\u{1160}'..='\u{11FF}') || is_mark(character)
}

/// The form of one character, with what joins it, that is looked up.
pub(super) fn unspaced_form(character: &str) -> impl Iterator<Item = char> {
    COMPOSED.normalize_iter(character.chars())
}

/// Appends the folded form of a word.
pub(super) fn fold_word(word: &str, out: &mut String) {
    let lower = word.chars().flat_map(char::to_lowercase);
    for character in DECOMPOSED.normalize_iter(lower) {
        if character.is_ascii() {
            if character.is_ascii_alphanumeric() {
                out.push(character.to_ascii_lowercase());
            }
        } else if let Some(plain) = plain(character) {
            out.push_str(plain);
        } else if is_mark(character) {
            if !is_accent(character) {
                out.push(character);
            }
        } else if character.is_alphanumeric() {
            out.extend(character.to_lowercase());
        }
    }
}

/// Letters that are no letter with an accent to Unicode.
fn plain(character: char) -> Option<&'static str> {
    Some(match character {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ı' => "i",
        'ł' => "l",
        'ŋ' => "n",
        'þ' => "th",
        'ŧ' => "t",
        'ς' => "σ",
        'ѐ' => "е",
        'ـ' => "",
        _ => return None,
    })
}
