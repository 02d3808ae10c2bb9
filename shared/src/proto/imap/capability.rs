//! What a server can do (RFC 3501 §7.2.1).

use std::collections::BTreeSet;

use super::tokens::Tokens;

/// Capabilities that are kept of a server's list.
const CAPABILITIES_MAX: usize = 512;

/// A server's capabilities, in capital letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities(BTreeSet<String>);

impl Capabilities {
    /// Reads what is left of a list.
    pub fn read(tokens: &mut Tokens<'_>) -> Self {
        let mut names = BTreeSet::new();
        while names.len() < CAPABILITIES_MAX {
            let _ = tokens.space();
            let Some(name) = tokens.atom() else { break };
            names.insert(name.to_ascii_uppercase());
        }
        Self(names)
    }

    /// Whether that one is among them: `UIDPLUS`, `AUTH=PLAIN`.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Whether nothing was offered at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// CONDSTORE, which QRESYNC means too (RFC 7162 §3.2.3).
    pub fn condstore(&self) -> bool {
        self.has("CONDSTORE") || self.has("QRESYNC")
    }

    /// How long a literal may be that is sent without waiting: any (LITERAL+), 4096 octets (LITERAL-, which IMAP4rev2
    /// means too), or none (RFC 7888).
    pub fn literal_octets_unasked(&self) -> usize {
        if self.has("LITERAL+") {
            usize::MAX
        } else if self.has("LITERAL-") || self.has("IMAP4REV2") {
            4096
        } else {
            0
        }
    }

    /// The names, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<'n> FromIterator<&'n str> for Capabilities {
    fn from_iter<I: IntoIterator<Item = &'n str>>(names: I) -> Self {
        Self(names.into_iter().map(str::to_ascii_uppercase).collect())
    }
}
