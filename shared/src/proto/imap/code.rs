//! Response codes in brackets (RFC 3501 §7.1, RFC 5530, RFC 7162 §7).

use super::capability::Capabilities;
use super::set::Uid;
use super::tokens::Tokens;

/// A machine-readable reason or value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// What the server can do from now on.
    Capability(Capabilities),
    /// The folder's UIDs hold for as long as this number stays.
    UidValidity(Uid),
    /// The next message gets this UID or a higher one.
    UidNext(Uid),
    /// The highest modification sequence of the folder.
    HighestModSeq(u64),
    /// The folder keeps no modification sequences.
    NoModSeq,
    /// UIDs of the folder do not hold.
    UidNotSticky,
    /// The folder cannot be changed.
    ReadOnly,
    /// It can.
    ReadWrite,
    /// User name or password is wrong.
    AuthenticationFailed,
    /// The user may not log in, or not act for whom he named.
    AuthorizationFailed,
    /// The password or token ran out.
    Expired,
    /// Trouble that will pass.
    Unavailable,
    /// Another session is in the way.
    InUse,
    /// Too many sessions, or too much traffic.
    Limit,
    /// There is no such folder.
    NonExistent,
    /// The server is broken.
    ServerBug,
    /// Compression goes on already.
    CompressionActive,
    /// The old session's data end here (RFC 7162 §3.2.11).
    Closed,
    /// Another one, by its name in capital letters.
    Other(String),
}

impl Code {
    /// Reads one behind `[`, and passes over the `]`; `None` when it has no end. Values that make no sense make it
    /// [`Code::Other`]: servers put much into brackets, and few codes are needed.
    pub(super) fn read(tokens: &mut Tokens<'_>) -> Option<Self> {
        let end = closing_bracket(tokens.rest())?;
        let mut inner = Tokens::new(&tokens.rest()[..end]);
        let mut after = tokens.clone();
        (0..=end).try_for_each(|_| after.rest().first().copied().and_then(|octet| after.octet(octet)))?;
        *tokens = after;
        let name = inner.atom().unwrap_or_default().to_ascii_uppercase();
        let _ = inner.space();
        Some(Self::known(&name, &mut inner).unwrap_or(Self::Other(name)))
    }

    fn known(name: &str, value: &mut Tokens<'_>) -> Option<Self> {
        Some(match name {
            "CAPABILITY" => Self::Capability(Capabilities::read(value)),
            "UIDVALIDITY" => Self::UidValidity(Uid::new(value.number32()?)?),
            "UIDNEXT" => Self::UidNext(Uid::new(value.number32()?)?),
            "HIGHESTMODSEQ" => Self::HighestModSeq(value.number()?),
            "NOMODSEQ" => Self::NoModSeq,
            "UIDNOTSTICKY" => Self::UidNotSticky,
            "READ-ONLY" => Self::ReadOnly,
            "READ-WRITE" => Self::ReadWrite,
            "AUTHENTICATIONFAILED" => Self::AuthenticationFailed,
            "AUTHORIZATIONFAILED" => Self::AuthorizationFailed,
            "EXPIRED" => Self::Expired,
            "UNAVAILABLE" => Self::Unavailable,
            "INUSE" => Self::InUse,
            "LIMIT" => Self::Limit,
            "NONEXISTENT" => Self::NonExistent,
            "SERVERBUG" => Self::ServerBug,
            "COMPRESSIONACTIVE" => Self::CompressionActive,
            "CLOSED" => Self::Closed,
            _ => return None,
        })
    }

    /// Whether the same may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable | Self::InUse | Self::Limit | Self::ServerBug)
    }
}

/// Where the bracket is closed; one within quotes is text.
fn closing_bracket(text: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (at, octet) in text.iter().enumerate() {
        match octet {
            b'"' => quoted = !quoted,
            b']' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}
