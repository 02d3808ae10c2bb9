//! Rich Text Format 1.9.1: its text. Destinations that hold no text of the author's are passed over.

use encoding_rs::{Encoding, WINDOWS_1252};

use super::{Stop, Text};

/// Groups within groups.
const DEPTH_MAX: usize = 10_000;
const WORD_BYTES_MAX: usize = 32;

/// Destinations without text.
const SILENT: &[&str] = &[
    "fonttbl",
    "colortbl",
    "stylesheet",
    "info",
    "pict",
    "object",
    "objdata",
    "themedata",
    "colorschememapping",
    "datastore",
    "latentstyles",
    "listtable",
    "listoverridetable",
    "rsidtbl",
    "generator",
    "xmlnstbl",
    "filetbl",
    "revtbl",
    "fldinst",
    "blipuid",
    "bkmkstart",
    "bkmkend",
    "pgptbl",
    "mmathPr",
];

#[derive(Clone, Copy)]
struct Group {
    silent: bool,
    /// Characters that stand for one written in Unicode.
    fallback: usize,
}

struct Rtf<'t> {
    text: &'t mut Text,
    groups: Vec<Group>,
    now: Group,
    encoding: &'static Encoding,
    /// Octets in the document's encoding, not decoded yet: one character may be several.
    octets: Vec<u8>,
    /// Half of a character beyond the sixteen bits.
    surrogate: Option<u16>,
    /// Characters to be passed over.
    passed: usize,
}

pub(super) fn read(octets: &[u8], text: &mut Text) -> Result<(), Stop> {
    let now = Group { silent: false, fallback: 1 };
    let mut rtf = Rtf {
        text,
        groups: Vec::new(),
        now,
        encoding: WINDOWS_1252,
        octets: Vec::new(),
        surrogate: None,
        passed: 0,
    };
    rtf.read(octets)?;
    rtf.flush()
}

impl Rtf<'_> {
    fn read(&mut self, octets: &[u8]) -> Result<(), Stop> {
        let mut at = 0;
        while let Some(&octet) = octets.get(at) {
            at += 1;
            match octet {
                b'{' => {
                    self.flush()?;
                    if self.groups.len() >= DEPTH_MAX {
                        return Err(Stop::new("it is nested too deeply"));
                    }
                    self.groups.push(self.now);
                    self.passed = 0;
                }
                b'}' => {
                    self.flush()?;
                    self.now = self.groups.pop().unwrap_or(self.now);
                    self.passed = 0;
                }
                b'\\' => at = self.control(octets, at)?,
                b'\r' | b'\n' => {}
                other => self.octet(other),
            }
        }
        Ok(())
    }

    fn octet(&mut self, octet: u8) {
        if self.passed > 0 {
            self.passed -= 1;
        } else if !self.now.silent {
            self.octets.push(octet);
        }
    }

    /// A control word or symbol behind its backslash; where it ends.
    fn control(&mut self, octets: &[u8], at: usize) -> Result<usize, Stop> {
        let Some(&first) = octets.get(at) else { return Ok(at) };
        if !first.is_ascii_alphabetic() {
            return self.symbol(octets, at, first);
        }
        let letters =
            octets[at..].iter().take(WORD_BYTES_MAX).take_while(|o| o.is_ascii_alphabetic()).count();
        let word = std::str::from_utf8(&octets[at..at + letters]).unwrap_or_default();
        let mut end = at + letters;
        let sign = usize::from(octets.get(end) == Some(&b'-'));
        let digits = octets[end + sign..].iter().take(10).take_while(|o| o.is_ascii_digit()).count();
        let mut number = None;
        if digits > 0 {
            let text = std::str::from_utf8(&octets[end..end + sign + digits]).unwrap_or_default();
            number = text.parse::<i64>().ok();
            end += sign + digits;
        }
        end += usize::from(octets.get(end) == Some(&b' '));
        if word == "bin" {
            return Ok(end.saturating_add(usize::try_from(number.unwrap_or(0)).unwrap_or(0)));
        }
        self.word(word, number)?;
        Ok(end)
    }

    fn symbol(&mut self, octets: &[u8], at: usize, first: u8) -> Result<usize, Stop> {
        match first {
            b'\'' => {
                let digits = octets.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
                if let Some(octet) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    self.octet(octet);
                }
                return Ok(at + 3);
            }
            // What a reader does not know of may be passed over; what it knows is said by the word behind.
            b'*' => self.now.silent = true,
            b'~' => self.octet(b' '),
            b'_' => self.octet(b'-'),
            b'\\' | b'{' | b'}' => self.octet(first),
            b'\r' | b'\n' => self.divide('\n')?,
            _ => {}
        }
        Ok(at + 1)
    }

    fn word(&mut self, word: &str, number: Option<i64>) -> Result<(), Stop> {
        match word {
            "u" => {
                self.unicode(number.unwrap_or(0))?;
                self.passed = self.now.fallback;
                return Ok(());
            }
            "uc" => self.now.fallback = usize::try_from(number.unwrap_or(1)).unwrap_or(1).min(100),
            "ansicpg" => {
                self.flush()?;
                let label = match number {
                    Some(65001) => "utf-8".to_owned(),
                    Some(932) => "shift_jis".to_owned(),
                    Some(936) => "gbk".to_owned(),
                    Some(949) => "euc-kr".to_owned(),
                    Some(950) => "big5".to_owned(),
                    other => format!("windows-{}", other.unwrap_or(1252)),
                };
                self.encoding = Encoding::for_label(label.as_bytes()).unwrap_or(WINDOWS_1252);
            }
            "par" | "line" | "row" | "page" | "sect" => self.divide('\n')?,
            "tab" | "cell" | "emspace" | "enspace" => self.divide(' ')?,
            "emdash" | "endash" => self.octet(b'-'),
            "lquote" | "rquote" => self.octet(b'\''),
            "ldblquote" | "rdblquote" => self.octet(b'"'),
            silent if SILENT.contains(&silent) => {
                self.flush()?;
                self.now.silent = true;
            }
            // Text that a field shows, and what `\*` hides from old readers but is text.
            "fldrslt" => self.now.silent = self.groups.last().is_some_and(|outer| outer.silent),
            _ => {}
        }
        self.passed = 0;
        Ok(())
    }

    /// One UTF-16 unit, written as a number that may be negative.
    fn unicode(&mut self, number: i64) -> Result<(), Stop> {
        self.flush()?;
        if self.now.silent {
            return Ok(());
        }
        let Ok(unit) = u16::try_from(number.rem_euclid(0x1_0000)) else { return Ok(()) };
        let units = self.surrogate.take().into_iter().chain([unit]);
        let decoded: Vec<_> = char::decode_utf16(units).collect();
        if let [Err(_)] = decoded[..]
            && (0xD800..0xDC00).contains(&unit)
        {
            self.surrogate = Some(unit);
            return Ok(());
        }
        decoded
            .into_iter()
            .flatten()
            .try_for_each(|character| self.text.push(character.encode_utf8(&mut [0; 4])))
    }

    fn divide(&mut self, by: char) -> Result<(), Stop> {
        self.flush()?;
        if self.now.silent { Ok(()) } else { self.text.divide(by) }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        if self.octets.is_empty() {
            return Ok(());
        }
        let octets = std::mem::take(&mut self.octets);
        let (decoded, _) = self.encoding.decode_without_bom_handling(&octets);
        self.text.push(&decoded)
    }
}
