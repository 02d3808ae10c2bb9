//! Where a client's session goes: `remote_user%target_server%mailbox_id`.
//!
//! ```text
//! route  = remote_user DIVIDER target DIVIDER mailbox_id      split from the right
//! target = host [":" port] / IPv4 [":" port] / "[" IPv6 "]" [":" port]
//! ```
//!
//! The divider is `%` unless configured. A remote user may hold it, for the route is split from the right; where that is
//! not enough (a name that ends in what looks like a target), it is written as its percent-escape: `%25` for `%`. Only the
//! escapes of the divider and of `%` are undone, so that `info%cafe.example` stays what it is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use postern_shared::id::MailboxId;

/// The longest part of a route; user names have no end of their own.
const USER_OCTETS_MAX: usize = 320;
const HOST_OCTETS_MAX: usize = 253;

/// A route, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// Whose mail it is, and where.
    pub account: Account,
    /// The port, when the name gives one.
    pub port: Option<u16>,
    /// Where copies go.
    pub mailbox: MailboxId,
}

/// An account at a mail server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account {
    /// As the server knows it.
    pub user: String,
    /// The server.
    pub host: Host,
}

/// A server's name or address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name, lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a user name is no route. The words are for whoever configured the mail client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRoute {
    /// Fewer than three parts.
    #[error("the user name must be remote_user{0}server{0}mailbox-id: a part is missing")]
    Parts(char),
    /// No user, or one with control characters, or far too long.
    #[error("the user name must begin with the user name at your provider")]
    User,
    /// Not a host with perhaps a port.
    #[error(
        "the server in the user name is neither a host name nor an IP address (an IPv6 address stands in brackets)"
    )]
    Target,
    /// Not a mailbox id.
    #[error("the user name must end in the id of a gateway mailbox, mbx- and 16 digits")]
    Mailbox,
}

impl Route {
    /// Reads a user name; `None` when it holds no divider, and so is no route.
    pub fn parse(name: &str, divider: char) -> Option<Result<Self, BadRoute>> {
        name.contains(divider).then(|| Self::split(name, divider))
    }

    fn split(name: &str, divider: char) -> Result<Self, BadRoute> {
        let mut parts = name.rsplitn(3, divider);
        let (Some(mailbox), Some(target), Some(user)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadRoute::Parts(divider));
        };
        let mailbox = mailbox.trim().parse().map_err(|_| BadRoute::Mailbox)?;
        let (host, port) = target_of(target).ok_or(BadRoute::Target)?;
        // Mail clients' forms let spaces in at both ends, and no user name has any there.
        let user = unescape(user, divider).trim().to_owned();
        if user.is_empty() || user.len() > USER_OCTETS_MAX || user.chars().any(char::is_control) {
            return Err(BadRoute::User);
        }
        Ok(Self { account: Account { user, host }, port, mailbox })
    }
}

/// `user%host`: what logs, metrics and bindings call it. Never a secret, and the same for every port and mailbox.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%{}", self.user, self.host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn target_of(target: &str) -> Option<(Host, Option<u16>)> {
    if let Some(rest) = target.strip_prefix('[') {
        let (address, behind) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = match behind {
            "" => None,
            behind => Some(port_of(behind.strip_prefix(':')?)?),
        };
        return Some((Host::Address(address.into()), port));
    }
    let (host, port) = match target.split_once(':') {
        Some((host, port)) => (host, Some(port_of(port)?)),
        None => (target, None),
    };
    Some((Host::parse(host)?, port))
}

impl Host {
    /// A domain name, or an IPv4 address; `None` for everything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        // What looks like an address in any of the ways that resolvers know (`127.1`, `0x7f.1`, `2130706433`) is one or nothing.
        if text.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit())) {
            return text.parse().ok().map(|address| Host::Address(IpAddr::V4(address)));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        (text.len() <= HOST_OCTETS_MAX && text.split('.').all(label))
            .then(|| Host::Name(text.to_ascii_lowercase()))
    }
}

fn port_of(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// Undoes the escapes of the divider and of `%`.
fn unescape(text: &str, divider: char) -> String {
    let escape = |c: char| c.is_ascii().then(|| format!("%{:02X}", u32::from(c)));
    let escapes = [escape(divider).zip(Some(divider)), Some(("%25".to_owned(), '%'))];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let here = rest.get(..3).unwrap_or_default();
        let found = escapes.iter().flatten().find(|(written, _)| here.eq_ignore_ascii_case(written));
        let (decoded, octets) = found.map_or((c, c.len_utf8()), |(_, meant)| (*meant, 3));
        out.push(decoded);
        rest = &rest[octets..];
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAILBOX: &str = "mbx-000000000000000a";

    fn shown(name: &str, divider: char) -> String {
        match Route::parse(name, divider) {
            None => "no route".into(),
            Some(Err(error)) => format!("{error:?}"),
            Some(Ok(Route { account: Account { user, host }, port, mailbox })) => {
                format!("{user} at {host} port {port:?} into {mailbox}")
            }
        }
    }

    #[test]
    fn routes_are_split_from_the_right() {
        for (name, expected) in [
            ("anna@example.com%pop.example.com", "anna@example.com at pop.example.com port None"),
            ("anna%Pop.Example.COM:9955", "anna at pop.example.com port Some(9955)"),
            ("a%b@c%mail.example.com.", "a%b@c at mail.example.com port None"),
            ("info%cafe.example%h", "info%cafe.example at h port None"),
            ("a%25host%h", "a%host at h port None"),
            ("anna%192.0.2.1:25", "anna at 192.0.2.1 port Some(25)"),
            ("anna%192.0.2.1.", "anna at 192.0.2.1 port None"),
            (" anna\u{a0}%h", "anna at h port None"),
            ("anna%[2001:db8::1]", "anna at [2001:db8::1] port None"),
            ("anna%[2001:DB8::1]:110", "anna at [2001:db8::1] port Some(110)"),
            ("änna%h", "änna at h port None"),
        ] {
            assert_eq!(
                shown(&format!("{name}%{MAILBOX}"), '%'),
                format!("{expected} into {MAILBOX}"),
                "{name}"
            );
        }
        let upper = format!("a#25#h#{}", MAILBOX.to_uppercase());
        assert_eq!(shown(&upper, '#'), format!("a#25 at h port None into {MAILBOX}"));
        let escaped = format!("a%23b%25#h#{MAILBOX}");
        assert_eq!(shown(&escaped, '#'), format!("a#b% at h port None into {MAILBOX}"));
    }

    #[test]
    fn what_is_no_route_says_why() {
        for (name, expected) in [
            ("mbx-000000000000000a", "no route"),
            ("anna%mbx-000000000000000a", "Parts('%')"),
            ("%h%mbx-000000000000000a", "User"),
            ("a\u{7f}%h%mbx-000000000000000a", "User"),
            ("a%%mbx-000000000000000a", "Target"),
            ("a%h:%mbx-000000000000000a", "Target"),
            ("a%h:0%mbx-000000000000000a", "Target"),
            ("a%h:+25%mbx-000000000000000a", "Target"),
            ("a%h:70000%mbx-000000000000000a", "Target"),
            ("a%-h%mbx-000000000000000a", "Target"),
            ("a%[::1%mbx-000000000000000a", "Target"),
            ("a%::1%mbx-000000000000000a", "Target"),
            (" %h%mbx-000000000000000a", "User"),
            ("a%127.1%mbx-000000000000000a", "Target"),
            ("a%127.1.%mbx-000000000000000a", "Target"),
            ("a%h..%mbx-000000000000000a", "Target"),
            ("a%2130706433%mbx-000000000000000a", "Target"),
            ("a%0x7f.0.0.1%mbx-000000000000000a", "Target"),
            ("a%h%anna", "Mailbox"),
            ("a%h%", "Mailbox"),
        ] {
            assert_eq!(shown(name, '%'), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_a_route_or_an_error(name in ".{0,80}", divider in prop::char::any()) {
            let _ = Route::parse(&name, divider);
        }

        /// Goal: whatever a user is called, there is a way to write it.
        #[test]
        fn escaped_users_come_back(user in "[!-~é]([ -~é]{0,58}[!-~é])?", divider in "[%#+!|é]") {
            let divider = divider.chars().next().unwrap();
            let mut written = user.replace('%', "%25");
            if divider != '%' && divider.is_ascii() {
                written = written.replace(divider, &format!("%{:02X}", u32::from(divider)));
            }
            let route = Route::parse(&format!("{written}{divider}h{divider}{MAILBOX}"), divider);
            prop_assert_eq!(route.unwrap().unwrap().account.user, user);
        }
    }
}
