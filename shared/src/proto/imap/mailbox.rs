//! LIST, STATUS and NAMESPACE (RFC 3501 §7.2, RFC 2342, RFC 5258, RFC 5819, RFC 6154).

use super::set::Uid;
use super::tokens::Tokens;

/// A mailbox, as LIST tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// `\NoSelect`, `\Sent`, and so on, as the server writes them.
    pub attributes: Vec<String>,
    /// What separates the levels of its name; none when there are no levels.
    pub delimiter: Option<char>,
    /// Its name, as the server writes it: modified UTF-7, or UTF-8 when that was accepted. Names that are neither are
    /// kept too: they can be asked for again.
    pub name: Vec<u8>,
}

impl ListEntry {
    pub(super) fn read(tokens: &mut Tokens<'_>) -> Option<Self> {
        let attributes = tokens.list(|flag| flag.flag().map(str::to_owned))?;
        tokens.space()?;
        let delimiter = tokens.nstring()?;
        let delimiter = delimiter.and_then(|text| std::str::from_utf8(&text).ok()?.chars().next());
        tokens.space()?;
        // Extended data may follow (RFC 5258 §6).
        let name = tokens.astring()?.into_owned();
        Some(Self { attributes, delimiter, name })
    }

    /// Whether it bears that attribute: `\NoSelect`.
    pub fn is(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|found| found.eq_ignore_ascii_case(attribute))
    }
}

/// What STATUS tells of a mailbox; what was not told is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailboxStatus {
    /// Its name, as in [`ListEntry::name`].
    pub name: Vec<u8>,
    /// How many messages it has.
    pub messages: Option<u64>,
    /// The next message gets this UID or a higher one.
    pub uid_next: Option<Uid>,
    /// Its UIDs hold for as long as this number stays.
    pub uid_validity: Option<Uid>,
    /// Its highest modification sequence; 0 when it keeps none.
    pub highest_modseq: Option<u64>,
}

impl MailboxStatus {
    pub(super) fn read(tokens: &mut Tokens<'_>) -> Option<Self> {
        let name = tokens.astring()?.into_owned();
        tokens.space()?;
        let mut status = Self { name, ..Self::default() };
        tokens.list(|item| {
            let name = item.atom()?.to_ascii_uppercase();
            item.space()?;
            match name.as_str() {
                "MESSAGES" => status.messages = Some(item.number()?),
                "UIDNEXT" => status.uid_next = Uid::new(u32::try_from(item.number()?).ok()?),
                "UIDVALIDITY" => status.uid_validity = Uid::new(u32::try_from(item.number()?).ok()?),
                "HIGHESTMODSEQ" => status.highest_modseq = Some(item.number()?),
                _ => item.skip()?,
            }
            Some(())
        })?;
        Some(status)
    }
}

/// Whose mailboxes begin how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// What their names begin with.
    pub prefix: Vec<u8>,
    /// What separates their levels.
    pub delimiter: Option<char>,
}

impl Namespace {
    /// One of the three lists: own, other users', shared ones.
    pub(super) fn read(tokens: &mut Tokens<'_>) -> Option<Vec<Self>> {
        if tokens.nil().is_some() {
            return Some(Vec::new());
        }
        let mut ahead = tokens.clone();
        ahead.octet(b'(')?;
        let mut found = Vec::new();
        while ahead.octet(b')').is_none() {
            ahead.octet(b'(')?;
            let prefix = ahead.string()?.into_owned();
            ahead.space()?;
            let delimiter = ahead.nstring()?;
            let delimiter = delimiter.and_then(|text| std::str::from_utf8(&text).ok()?.chars().next());
            // Extensions.
            while ahead.octet(b')').is_none() {
                ahead.space()?;
                ahead.skip()?;
            }
            found.push(Self { prefix, delimiter });
            let _ = ahead.space();
        }
        *tokens = ahead;
        Some(found)
    }
}
