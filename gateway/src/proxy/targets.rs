//! Which servers the proxy connects to, on which port, how TLS begins there, and whom it trusts.
//!
//! The port: the route's, else the first matching `[[proxy.target]]`'s, else the one of the client's own entrance. How TLS
//! begins: as a matching `[[proxy.target]]` says for this port, else as the port does by convention (465 and 995 implicit;
//! 25, 587 and 110 by STARTTLS or STLS), else as at the client's own entrance.
//!
//! Addresses are judged after names are resolved, and the connection goes to the very address that was judged: a name whose
//! records change in between leads nowhere else.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use postern_shared::tls::client::Trust;
use serde::Deserialize;

use super::ranges::{meant, reserved};
use super::{Host, Route};
use crate::listen::Entrance;

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Before the first octet (RFC 8314).
    Implicit,
    /// By STARTTLS (RFC 3207) or STLS (RFC 2595).
    StartTls,
}

/// Hosts, or networks: `mail.example.com`, `*.example.com` (every name below it), `192.0.2.0/24`, `2001:db8::1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// That name.
    Name(String),
    /// Every name below that one.
    Below(String),
    /// Every address in it.
    Network(IpNet),
}

/// The text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of: a host name, *.example.com, an address, a network like 192.0.2.0/24")]
pub struct BadPattern(String);

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        if let Ok(network) = network {
            return Ok(Self::Network(plain(network)));
        }
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        match Host::parse(name) {
            Some(Host::Name(name)) if below => Ok(Self::Below(name)),
            Some(Host::Name(name)) => Ok(Self::Name(name)),
            _ => Err(BadPattern(text.chars().take(100).collect())),
        }
    }
}

/// Host bits cleared, mapped IPv4 as IPv4.
fn plain(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => v6.addr().to_ipv4_mapped().zip(Some(v6.prefix_len() - 96)),
        _ => None,
    };
    mapped.and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok()).unwrap_or(network).trunc()
}

impl Pattern {
    fn holds_host(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Name(known), Host::Name(name)) => name == known,
            (Self::Below(parent), Host::Name(name)) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (Self::Network(_), Host::Address(address)) => self.holds_address(*address),
            _ => false,
        }
    }

    /// In whichever way it is written.
    fn holds_address(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(&address) || network.contains(&meant(address)))
    }
}

/// What is different at some servers; `None` leaves it as it is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Which servers.
    pub host: Pattern,
    /// Only for POP3 or only for SMTP.
    pub pop3: Option<bool>,
    /// The port, when the route names none.
    pub port: Option<u16>,
    /// How TLS begins: at that port, or at every one when there is none.
    pub tls: Option<TlsMode>,
    /// Whom to trust: at that port, or at every one when there is none.
    pub trust: Option<Trust>,
}

/// The operator's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Whether servers may have addresses that are not public.
    pub allow_private: bool,
    /// Only these, when there are any; those of them that are named may have private addresses.
    pub allow: Vec<Pattern>,
    /// None of these.
    pub deny: Vec<Pattern>,
    /// Whom to trust.
    pub trust: Trust,
    /// In the order in which they are looked at.
    pub exceptions: Vec<Exception>,
}

/// A server to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name or address.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// How TLS begins.
    pub tls: TlsMode,
    /// Whom to trust.
    pub trust: Trust,
}

/// `host:port`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why there is no connecting to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It is in the operator's list of those that are not.
    #[error("it is among those that this gateway denies")]
    Denied,
    /// It is not in the operator's list of those that are.
    #[error("it is not among those that this gateway allows")]
    NotAllowed,
    /// A range that is not public.
    #[error("it has {0}")]
    Reserved(&'static str),
    /// It would connect to itself.
    #[error("it is this gateway itself")]
    Itself,
}

impl Targets {
    /// Where a route leads, for a client that came through `entrance`.
    pub fn target(&self, entrance: Entrance, route: &Route) -> Target {
        let host = &route.account.host;
        let matching = || {
            let here = self.exceptions.iter().filter(|exception| exception.host.holds_host(host));
            here.filter(|exception| exception.pop3.is_none_or(|pop3| pop3 == entrance.is_pop3()))
        };
        let port = route.port.or_else(|| matching().find_map(|exception| exception.port));
        let port = port.unwrap_or(entrance.port());
        let at_port = || matching().filter(|exception| exception.port.is_none_or(|other| other == port));
        // A trust that was meant for one port must not weaken the others.
        let trust = at_port().find_map(|exception| exception.trust.clone());
        Target {
            host: host.clone(),
            port,
            tls: at_port().find_map(|exception| exception.tls).unwrap_or_else(|| mode(port, entrance)),
            trust: trust.unwrap_or_else(|| self.trust.clone()),
        }
    }

    /// Whether the host may be looked up at all.
    pub fn judge_host(&self, host: &Host) -> Result<(), Forbidden> {
        if self.deny.iter().any(|pattern| pattern.holds_host(host)) {
            return Err(Forbidden::Denied);
        }
        // A name may have an address in a network that is allowed.
        let by_address = matches!(host, Host::Name(_))
            && self.allow.iter().any(|pattern| matches!(pattern, Pattern::Network(_)));
        let allowed = self.allow.is_empty() || self.names(host) || by_address;
        if allowed { Ok(()) } else { Err(Forbidden::NotAllowed) }
    }

    /// Whether an address that the host has may be connected to. `own` are the gateway's listeners.
    pub fn judge_address(
        &self,
        host: &Host,
        address: SocketAddr,
        own: &[SocketAddr],
    ) -> Result<(), Forbidden> {
        let ip = address.ip();
        if self.deny.iter().any(|pattern| pattern.holds_address(ip)) {
            return Err(Forbidden::Denied);
        }
        if own.iter().any(|own| is_own(address, *own)) {
            return Err(Forbidden::Itself);
        }
        let named = self.names(host) || self.allow.iter().any(|pattern| pattern.holds_address(ip));
        match reserved(ip) {
            _ if !self.allow.is_empty() && !named => Err(Forbidden::NotAllowed),
            Some(kind) if !named && !self.allow_private => Err(Forbidden::Reserved(kind)),
            _ => Ok(()),
        }
    }

    fn names(&self, host: &Host) -> bool {
        self.allow.iter().any(|pattern| pattern.holds_host(host))
    }
}

fn mode(port: u16, entrance: Entrance) -> TlsMode {
    let known = Entrance::ALL.into_iter().find(|known| known.port() == port);
    if known.unwrap_or(entrance).has_implicit_tls() { TlsMode::Implicit } else { TlsMode::StartTls }
}

/// Whether a listener at `own` takes what is sent to `address`.
fn is_own(address: SocketAddr, own: SocketAddr) -> bool {
    let (ip, own_ip) = (meant(address.ip()), own.ip().to_canonical());
    // Only an address of this machine can be bound to.
    let is_local = || std::net::UdpSocket::bind((ip, 0)).is_ok();
    address.port() == own.port() && (ip == own_ip || own_ip.is_unspecified() && is_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn targets(allow: &[&str], deny: &[&str]) -> Targets {
        Targets {
            allow_private: false,
            allow: patterns(allow),
            deny: patterns(deny),
            trust: Trust::System,
            exceptions: Vec::new(),
        }
    }

    fn judged(targets: &Targets, host: &str, address: &str) -> Result<(), Forbidden> {
        let host = Host::parse(host).unwrap();
        let address: IpAddr = address.parse().unwrap();
        targets.judge_host(&host)?;
        targets.judge_address(&host, (address, 995).into(), &["127.0.0.1:25".parse().unwrap()])
    }

    #[test]
    fn private_addresses_are_refused_unless_allowed() {
        let (plain, private) = (targets(&[], &[]), Forbidden::Reserved("a private address"));
        assert_eq!(judged(&plain, "mail.example.com", "1.1.1.1"), Ok(()));
        assert_eq!(judged(&plain, "mail.example.com", "10.0.0.1"), Err(private));
        assert_eq!(judged(&plain, "10.0.0.1", "10.0.0.1"), Err(private));
        assert_eq!(judged(&plain, "mail.example.com", "::ffff:10.0.0.1"), Err(private));
        assert_eq!(judged(&Targets { allow_private: true, ..plain }, "mail.example.com", "10.0.0.1"), Ok(()));
        for allow in ["mail.example.com", "*.example.com", "10.0.0.0/8", "::ffff:10.0.0.0/104"] {
            assert_eq!(judged(&targets(&[allow], &[]), "mail.example.com", "10.0.0.1"), Ok(()), "{allow}");
        }
    }

    #[test]
    fn lists_hold_and_deny_wins() {
        let listed =
            targets(&["*.example.com", "192.0.2.0/24"], &["bad.example.com", "1.1.1.0/24", "*.bad.example"]);
        for (host, address, expected) in [
            ("mail.example.com", "1.2.3.4", Ok(())),
            ("a.b.example.com", "1.2.3.4", Ok(())),
            ("example.com", "1.2.3.4", Err(Forbidden::NotAllowed)),
            ("badexample.com", "1.2.3.4", Err(Forbidden::NotAllowed)),
            ("bad.example.com", "1.2.3.4", Err(Forbidden::Denied)),
            ("mail.example.com", "1.1.1.1", Err(Forbidden::Denied)),
            ("mail.example.com", "64:ff9b::1.1.1.1", Err(Forbidden::Denied)),
            ("mail.bad.example", "1.2.3.4", Err(Forbidden::Denied)),
            ("other.example", "192.0.2.9", Ok(())),
            ("other.example", "192.0.3.9", Err(Forbidden::NotAllowed)),
            ("192.0.2.9", "192.0.2.9", Ok(())),
            ("192.0.3.9", "192.0.3.9", Err(Forbidden::NotAllowed)),
        ] {
            assert_eq!(judged(&listed, host, address), expected, "{host} at {address}");
        }
    }

    /// Goal: no loop through the gateway, by whichever address it listens on, even where all addresses are allowed.
    #[test]
    fn the_gateway_is_no_target() {
        let all = Targets { allow_private: true, ..targets(&[], &[]) };
        let host = Host::parse("mail.example.com").unwrap();
        let own = ["0.0.0.0:2525".parse().unwrap(), "127.0.0.7:110".parse().unwrap()];
        for (address, expected) in [
            ("127.0.0.1:2525", Err(Forbidden::Itself)),
            ("[::ffff:127.0.0.1]:2525", Err(Forbidden::Itself)),
            ("127.0.0.1:2526", Ok(())),
            ("1.1.1.1:2525", Ok(())),
            ("127.0.0.7:110", Err(Forbidden::Itself)),
            ("127.0.0.8:110", Ok(())),
        ] {
            assert_eq!(all.judge_address(&host, address.parse().unwrap(), &own), expected, "{address}");
        }
    }

    #[test]
    fn ports_and_tls_follow_route_exception_and_entrance() {
        let exception = |host: &str, pop3, port, tls| Exception {
            host: host.parse().unwrap(),
            pop3,
            port,
            tls,
            trust: None,
        };
        let rules = Targets {
            exceptions: vec![
                Exception { trust: Some(Trust::Any), ..exception("a.example", None, None, None) },
                exception("a.example", Some(true), Some(1995), Some(TlsMode::Implicit)),
                exception("*.example", Some(false), Some(465), None),
                exception("b.example", None, None, Some(TlsMode::StartTls)),
                Exception { trust: Some(Trust::Any), ..exception("c.example", None, Some(1995), None) },
            ],
            ..targets(&[], &[])
        };
        let shown = |entrance, target: &str| {
            let name = format!("anna%{target}%mbx-000000000000000a");
            let Target { host, port, tls, trust } =
                rules.target(entrance, &Route::parse(&name, '%').unwrap().unwrap());
            format!("{host}:{port} {tls:?} {trust}")
        };
        for (entrance, target, expected) in [
            (Entrance::Smtp, "x.org", "x.org:25 StartTls system"),
            (Entrance::Submission, "x.org", "x.org:587 StartTls system"),
            (Entrance::Smtps, "x.org", "x.org:465 Implicit system"),
            (Entrance::Pop3, "x.org", "x.org:110 StartTls system"),
            (Entrance::Pop3s, "x.org", "x.org:995 Implicit system"),
            (Entrance::Pop3s, "x.org:110", "x.org:110 StartTls system"),
            (Entrance::Pop3, "x.org:995", "x.org:995 Implicit system"),
            (Entrance::Submission, "x.org:465", "x.org:465 Implicit system"),
            (Entrance::Smtps, "x.org:587", "x.org:587 StartTls system"),
            (Entrance::Smtps, "x.org:2465", "x.org:2465 Implicit system"),
            (Entrance::Submission, "x.org:2465", "x.org:2465 StartTls system"),
            (Entrance::Pop3, "a.example", "a.example:1995 Implicit any"),
            (Entrance::Pop3, "a.example:110", "a.example:110 StartTls any"),
            (Entrance::Pop3, "a.example:1995", "a.example:1995 Implicit any"),
            (Entrance::Submission, "a.example", "a.example:465 Implicit any"),
            (Entrance::Submission, "b.example", "b.example:465 StartTls system"),
            (Entrance::Pop3s, "c.example", "c.example:1995 Implicit any"),
            (Entrance::Pop3s, "c.example:995", "c.example:995 Implicit system"),
            (Entrance::Pop3s, "b.example", "b.example:995 StartTls system"),
        ] {
            assert_eq!(shown(entrance, target), expected, "{entrance} {target}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for text in ["", "*", "*.", "a b", "*.*.example.com", "192.0.2.0/33", "127.1", "-a.example"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
        assert_eq!("Mail.Example.COM.".parse(), Ok(Pattern::Name("mail.example.com".into())));
    }
}
