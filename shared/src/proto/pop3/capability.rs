//! The CAPA list (RFC 2449 §5 and §6), written by the server and read by the client.

use std::fmt;

use crate::proto::sasl::Mechanism;

/// What a server can announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// TOP (RFC 2449 §6.1).
    Top,
    /// UIDL (RFC 2449 §6.8).
    Uidl,
    /// USER and PASS (RFC 2449 §6.2).
    User,
    /// AUTH by these mechanisms (RFC 5034 §6).
    Sasl(&'static [Mechanism]),
    /// STLS (RFC 2595 §4).
    Stls,
    /// Commands may be sent without waiting for responses (RFC 2449 §6.6).
    Pipelining,
    /// Response codes in brackets (RFC 2449 §6.4).
    RespCodes,
    /// `AUTH` is among them (RFC 3206 §6).
    AuthRespCode,
    /// UTF8 (RFC 6856 §2).
    Utf8,
    /// Messages stay until the client deletes them (RFC 2449 §6.7).
    ExpireNever,
    /// The server's name (RFC 2449 §6.9).
    Implementation(&'static str),
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Top => "TOP",
            Self::Uidl => "UIDL",
            Self::User => "USER",
            Self::Sasl(mechanisms) => {
                f.write_str("SASL")?;
                return mechanisms.iter().try_for_each(|mechanism| write!(f, " {mechanism}"));
            }
            Self::Stls => "STLS",
            Self::Pipelining => "PIPELINING",
            Self::RespCodes => "RESP-CODES",
            Self::AuthRespCode => "AUTH-RESP-CODE",
            Self::Utf8 => "UTF8",
            Self::ExpireNever => "EXPIRE NEVER",
            Self::Implementation(name) => return write!(f, "IMPLEMENTATION {name}"),
        })
    }
}

/// What a client understood of a server's list. Nothing announced is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// UIDL was announced.
    pub uidl: bool,
    /// USER was announced.
    pub user: bool,
    /// SASL was announced, with PLAIN among its mechanisms.
    pub sasl_plain: bool,
    /// LOGIN is among them.
    pub sasl_login: bool,
    /// XOAUTH2 is.
    pub sasl_xoauth2: bool,
    /// OAUTHBEARER is.
    pub sasl_oauthbearer: bool,
    /// PIPELINING was announced.
    pub pipelining: bool,
}

impl Capabilities {
    /// Takes in one line of the list, without its CRLF. What is unknown is ignored (RFC 2449 §5).
    pub fn read_line(&mut self, line: &[u8]) {
        let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        let Some(name) = words.next() else { return };
        if name.eq_ignore_ascii_case(b"UIDL") {
            self.uidl = true;
        } else if name.eq_ignore_ascii_case(b"USER") {
            self.user = true;
        } else if name.eq_ignore_ascii_case(b"PIPELINING") {
            self.pipelining = true;
        } else if name.eq_ignore_ascii_case(b"SASL") {
            for word in words {
                match std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()) {
                    Some(Mechanism::Plain) => self.sasl_plain = true,
                    Some(Mechanism::Login) => self.sasl_login = true,
                    Some(Mechanism::XOAuth2) => self.sasl_xoauth2 = true,
                    Some(Mechanism::OAuthBearer) => self.sasl_oauthbearer = true,
                    None => {}
                }
            }
        }
    }

    /// Whether AUTH by that mechanism was announced.
    pub fn sasl(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Plain => self.sasl_plain,
            Mechanism::Login => self.sasl_login,
            Mechanism::XOAuth2 => self.sasl_xoauth2,
            Mechanism::OAuthBearer => self.sasl_oauthbearer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_understood() {
        let mut read = Capabilities::default();
        for line in ["TOP", "uidl", "SASL CRAM-MD5 plain", "PIPELINING", "X-ODD user", ""] {
            read.read_line(line.as_bytes());
        }
        let sasl = Capabilities { sasl_plain: true, ..Capabilities::default() };
        assert_eq!(read, Capabilities { uidl: true, pipelining: true, ..sasl });
    }

    #[test]
    fn what_is_written_is_understood() {
        let mut read = Capabilities::default();
        let sasl = Capability::Sasl(&Mechanism::ALL);
        for capability in [Capability::Uidl, Capability::User, sasl, Capability::Pipelining] {
            read.read_line(capability.to_string().as_bytes());
        }
        assert!(read.uidl && read.user && read.pipelining);
        assert!(Mechanism::ALL.into_iter().all(|mechanism| read.sasl(mechanism)));
    }
}
