//! The listeners that have sessions.

use std::fmt;

/// Which listener a client came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entrance {
    /// SMTP with STARTTLS, port 25.
    Smtp,
    /// SMTP with implicit TLS, port 465.
    Smtps,
    /// Message submission with STARTTLS, port 587.
    Submission,
    /// POP3 with STLS, port 110.
    Pop3,
    /// POP3 with implicit TLS, port 995.
    Pop3s,
}

impl Entrance {
    /// All, in the order in which sessions are counted.
    pub const ALL: [Self; 5] = [Self::Smtp, Self::Smtps, Self::Submission, Self::Pop3, Self::Pop3s];

    /// The key in `[listen]`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Smtps => "smtps",
            Self::Submission => "submission",
            Self::Pop3 => "pop3",
            Self::Pop3s => "pop3s",
        }
    }

    /// The port that this service has by convention (RFC 5321, 8314, 6409, 1939).
    pub const fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Smtps => 465,
            Self::Submission => 587,
            Self::Pop3 => 110,
            Self::Pop3s => 995,
        }
    }

    /// Whether TLS begins with the first octet.
    pub const fn has_implicit_tls(self) -> bool {
        matches!(self, Self::Smtps | Self::Pop3s)
    }

    /// Whether POP3 is spoken there; else SMTP is.
    pub const fn is_pop3(self) -> bool {
        matches!(self, Self::Pop3 | Self::Pop3s)
    }
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
