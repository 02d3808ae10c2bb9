//! What FETCH tells of a message (RFC 3501 §7.4.2, RFC 7162 §3.1.4).

use super::date;
use super::set::Uid;
use super::tokens::Tokens;
use crate::clock::UnixMillis;

/// Flags that are kept of a message.
const FLAGS_MAX: usize = 256;

/// A message's whole content, `BODY[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// It was handed on before this response.
    HandedOn,
    /// It came as a string.
    Short(Vec<u8>),
    /// The server has none.
    Nil,
}

/// One FETCH response; what was not told is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetch {
    /// The message's number in the folder, from 1.
    pub number: u32,
    /// Its UID.
    pub uid: Option<Uid>,
    /// Its flags, as the server writes them.
    pub flags: Option<Vec<String>>,
    /// When it came to the server.
    pub internal_date: Option<UnixMillis>,
    /// Its size in octets, as the server claims.
    pub size: Option<u64>,
    /// When it was changed last.
    pub modseq: Option<u64>,
    /// Its content.
    pub body: Option<Body>,
}

impl Fetch {
    /// Reads the list behind `* 5 FETCH `; `None` when it is none. Items nobody asked for are passed over.
    pub(super) fn read(number: u32, tokens: &mut Tokens<'_>) -> Option<Self> {
        let mut fetch = Self { number, ..Self::default() };
        tokens.list(|item| fetch.item(item))?;
        Some(fetch)
    }

    fn item(&mut self, tokens: &mut Tokens<'_>) -> Option<()> {
        let name = tokens.atom()?.to_ascii_uppercase();
        if tokens.octet(b'[').is_some() {
            // What a section's name may hold: `HEADER.FIELDS (FROM "]")`. Only whole contents are asked for.
            let whole = name == "BODY" && tokens.octet(b']').is_some();
            while !whole && tokens.octet(b']').is_none() {
                if tokens.atom().is_none() && tokens.space().is_none() {
                    tokens.list(|name| name.astring().map(drop))?;
                }
            }
            if let Some(part) = tokens.clone().atom().filter(|part| part.starts_with('<')) {
                tokens.word(part)?;
            }
            tokens.space()?;
            if whole {
                self.body = Some(body(tokens)?);
                return Some(());
            }
            return tokens.skip();
        }
        tokens.space()?;
        match name.as_str() {
            "UID" => self.uid = Some(Uid::new(tokens.number32()?)?),
            "RFC822.SIZE" => self.size = Some(tokens.number()?),
            "MODSEQ" => self.modseq = Some(*tokens.list(Tokens::number)?.first()?),
            "FLAGS" => {
                let mut flags = tokens.list(|flag| flag.flag().map(str::to_owned))?;
                flags.truncate(FLAGS_MAX);
                self.flags = Some(flags);
            }
            "INTERNALDATE" => {
                let text = tokens.nstring()?;
                self.internal_date = text.and_then(|text| date::parse(&String::from_utf8_lossy(&text)));
            }
            _ => tokens.skip()?,
        }
        Some(())
    }

    /// The UID in a FETCH response of which only the beginning came, when it is told before the content.
    pub fn uid_in(begun: &[u8]) -> Option<Uid> {
        let text = begun.strip_prefix(b"* ")?;
        let at = memchr::memmem::find(text, b"UID ").filter(|&at| {
            matches!(at.checked_sub(1).and_then(|before| text.get(before)), Some(b'(' | b' '))
        })?;
        let before = std::str::from_utf8(&text[..at]).ok()?;
        // In a string it would be anything.
        if before.contains('"') && before.matches('"').count() % 2 != 0 {
            return None;
        }
        Uid::new(Tokens::new(&text[at + 4..]).number32()?)
    }
}

fn body(tokens: &mut Tokens<'_>) -> Option<Body> {
    if tokens.handed_on().is_some() {
        return Some(Body::HandedOn);
    }
    Some(tokens.nstring()?.map_or(Body::Nil, |text| Body::Short(text.into_owned())))
}
