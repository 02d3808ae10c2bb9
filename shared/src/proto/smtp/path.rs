//! Reverse-paths and forward-paths: `<local-part@domain>`.

use std::fmt;

/// The longest local part. RFC 5321 §4.5.3.1.1 speaks of 64 octets, but sub-addresses, SRS and VERP carry a whole address in
/// theirs.
const LOCAL_BYTES_MAX: usize = 320;
const DOMAIN_BYTES_MAX: usize = 255;

/// A mailbox in a path. The domain is empty for `<postmaster>` alone (RFC 5321 §4.1.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Unquoted.
    pub local: String,
    /// A domain name or an address literal in brackets; empty for `<postmaster>`.
    pub domain: String,
    /// As it was written, source route cut off.
    pub written: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// What begins a MAIL or RCPT argument: the path, and what follows it.
pub(super) fn split_path(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('<')?;
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some((&inside[..at], &inside[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Parses what stands between `<` and `>`; `None` when it is no mailbox.
pub(super) fn parse(path: &str) -> Option<Address> {
    let written = without_source_route(path)?;
    let (local_written, domain) = match split_at_sign(written) {
        Some((local, domain)) => (local, domain),
        None if written.eq_ignore_ascii_case("postmaster") => (written, ""),
        None => return None,
    };
    let local = parse_local(local_written)?;
    if !domain.is_empty() && !is_domain(domain) && !is_literal(domain) {
        return None;
    }
    Some(Address { local, domain: domain.to_owned(), written: written.to_owned() })
}

/// `@a,@b:user@c` names the same mailbox as `user@c`: "SHOULD ignore" (RFC 5321 §4.1.1.3, appendix C).
fn without_source_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let (route, mailbox) = path.split_once(':')?;
    route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(is_domain)).then_some(mailbox)
}

fn split_at_sign(text: &str) -> Option<(&str, &str)> {
    let at = text.rfind('@')?;
    Some((&text[..at], &text[at + 1..])).filter(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

fn parse_local(written: &str) -> Option<String> {
    if written.len() > LOCAL_BYTES_MAX {
        return None;
    }
    let Some(inner) = written.strip_prefix('"') else {
        // Dot-string, except that dots may stand anywhere: providers hand out such addresses.
        let atom = |c: char| c == '.' || is_atext(c);
        return written.chars().all(atom).then(|| written.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut local = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            _ if escaped => {
                local.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return None,
            _ => local.push(c),
        }
    }
    (!escaped && !local.chars().any(char::is_control)).then_some(local)
}

/// RFC 5322 §3.2.3; anything beyond ASCII is allowed in it by RFC 6531 §3.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || !c.is_ascii())
    };
    text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(label)
}

fn is_literal(text: &str) -> bool {
    text.len() <= DOMAIN_BYTES_MAX
        && text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).is_some_and(|inside| {
            !inside.is_empty() && inside.chars().all(|c| c.is_ascii_graphic() && !"[]\\".contains(c))
        })
}
