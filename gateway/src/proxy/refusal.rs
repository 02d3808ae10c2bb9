//! Why a client's login comes to nothing, and how that is said: one text for the log, one sentence for the client.

use std::time::Duration;

use postern_shared::id::MailboxId;
use postern_shared::proto::pop3::{self, ResponseCode};
use postern_shared::proto::smtp::reply::Reply;

use super::BadRoute;
use super::targets::Forbidden;
use super::tokens::NoToken;
use super::upstream::{LoginError, RefusalKind, UpstreamError};
use crate::monitoring::ProxyLogin;

/// Why a client's login comes to nothing. Its text is for the log; it holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum LoginRefusal {
    /// The operator wants no proxy.
    #[error("the proxy is off")]
    Off,
    /// The user name is no route.
    #[error("{0}")]
    Route(BadRoute),
    /// There is no such mailbox.
    #[error("there is no mailbox {0}")]
    UnknownMailbox(MailboxId),
    /// The mailbox takes nothing for now.
    #[error("mailbox {0} is suspended")]
    Suspended(MailboxId),
    /// The mailbox's file cannot be read.
    #[error("mailbox {0} cannot be used")]
    Damaged(MailboxId),
    /// The mailbox takes nothing from the client's network.
    #[error("mailbox {0} takes nothing from that network")]
    Network(MailboxId),
    /// Too many wrong passwords.
    #[error("too many failed logins; the next is looked at in {} s", .0.as_secs() + 1)]
    MustWait(Duration),
    /// Too many logins in progress from the client's network.
    #[error("too many logins in progress from that network")]
    TooManyLogins,
    /// Too many sessions of the account.
    #[error("too many sessions of the account at once")]
    TooManySessions,
    /// The server said "not now" a moment ago.
    #[error("not tried: the server said {words:?}, and is asked again in {} s", left.as_secs() + 1)]
    Throttled {
        /// How long it is left alone.
        left: Duration,
        /// What it said.
        words: String,
    },
    /// No access token.
    #[error("{0}")]
    Token(NoToken),
    /// The server takes the account's access tokens no more, not even a fresh one.
    #[error("a fresh access token was not taken: {0}")]
    TokenNotTaken(UpstreamError),
    /// A password that some gateway made, for an account that none is bound to.
    #[error("the password is one that a gateway made, and the account is not bound: it was not sent")]
    GeneratedPassword,
    /// What the client sent cannot be sent on.
    #[error("{0}")]
    Credentials(LoginError),
    /// The server.
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
}

/// What a line of 512 octets has room for behind its codes (RFC 5321 §4.5.3.1.5).
const TEXT_OCTETS_MAX: usize = 490;

/// What kind of no it is, in both protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What the user sent is wrong.
    Credentials,
    /// It may work later.
    Temporary,
    /// Another session holds the maildrop.
    InUse,
    /// It works never.
    Permanent,
}

impl LoginRefusal {
    /// Whether somebody guesses, or may.
    pub fn is_wrong_credentials(&self) -> bool {
        match self {
            Self::Token(NoToken::WrongPassword) => true,
            Self::Upstream(error) => error.refusal().is_some_and(|no| no.kind == RefusalKind::Credentials),
            _ => false,
        }
    }

    /// For an SMTP client (RFC 4954 §6).
    pub fn smtp_reply(&self) -> Reply {
        let (code, enhanced) = match self.kind() {
            Kind::Credentials => (535, "5.7.8"),
            Kind::Permanent => (535, "5.7.1"),
            Kind::Temporary | Kind::InUse => (454, "4.7.0"),
        };
        // A server's words may be in any script; a reply is ASCII (RFC 5321 §2.4), and a line of it not endless.
        let ascii = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let text: String = self.sentence().chars().map(ascii).take(TEXT_OCTETS_MAX).collect();
        Reply::new(code, enhanced, text)
    }

    /// For a POP3 client (RFC 2449 §8, RFC 3206).
    pub fn pop3_reply(&self) -> pop3::Reply {
        let code = match self.kind() {
            Kind::Credentials => ResponseCode::Auth,
            Kind::Temporary => ResponseCode::SysTemp,
            Kind::InUse => ResponseCode::InUse,
            Kind::Permanent => ResponseCode::SysPerm,
        };
        pop3::Reply::err(self.sentence()).with(code)
    }

    /// What it is counted as.
    pub(super) fn counted(&self) -> ProxyLogin {
        match self {
            _ if self.is_wrong_credentials() => ProxyLogin::WrongCredentials,
            Self::MustWait(_) | Self::Token(NoToken::MustWait) => ProxyLogin::MustWait,
            Self::TooManyLogins | Self::TooManySessions => ProxyLogin::TooManySessions,
            _ if matches!(self.kind(), Kind::Temporary | Kind::InUse) => ProxyLogin::Unavailable,
            _ => ProxyLogin::NotAllowed,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Route(_)
            | Self::UnknownMailbox(_)
            | Self::Credentials(_)
            | Self::Token(NoToken::WrongPassword) => Kind::Credentials,
            Self::Off
            | Self::Network(_)
            | Self::GeneratedPassword
            | Self::TokenNotTaken(_)
            | Self::Token(NoToken::Revoked(_)) => Kind::Permanent,
            Self::Suspended(_)
            | Self::Damaged(_)
            | Self::MustWait(_)
            | Self::TooManyLogins
            | Self::TooManySessions
            | Self::Throttled { .. }
            | Self::Token(NoToken::MustWait | NoToken::Unavailable(_)) => Kind::Temporary,
            Self::Upstream(error) => kind_of(error),
        }
    }

    /// One sentence that somebody who set up a mail client can act on. Replies have room for some 400 octets of ASCII.
    fn sentence(&self) -> String {
        match self {
            Self::Off => "this gateway is no proxy for mail clients; ask its operator".into(),
            Self::Route(bad) => bad.to_string(),
            Self::UnknownMailbox(id) => {
                format!("there is no mailbox {id} on this gateway: check the end of the user name")
            }
            Self::Suspended(id) => format!("mailbox {id} is suspended; ask the gateway's operator"),
            Self::Damaged(id) => format!("mailbox {id} cannot be used just now; ask the gateway's operator"),
            Self::Network(id) => {
                format!("mailbox {id} takes nothing from your network; ask the gateway's operator")
            }
            Self::MustWait(left) => {
                format!(
                    "too many failed logins: check the password and try again in {} s",
                    left.as_secs() + 1
                )
            }
            Self::TooManyLogins => {
                "too many logins from your network are in progress: try again in a minute".into()
            }
            Self::TooManySessions => {
                "too many sessions of this account at once: close a mail program, or try again later".into()
            }
            Self::Throttled { left, words } => {
                format!("your provider said {words:?}; the gateway asks it again in {} s", left.as_secs() + 1)
            }
            Self::Token(NoToken::WrongPassword) => {
                "wrong password: this account wants the proxy password that the gateway's operator gave out"
                    .into()
            }
            Self::Token(NoToken::MustWait) => {
                "too many wrong passwords for this account: check the password, and try again later".into()
            }
            Self::Token(NoToken::Revoked(_)) => {
                "your provider no longer accepts the gateway's consent for this account; ask the gateway's \
                 operator to bind it again"
                    .into()
            }
            Self::Token(NoToken::Unavailable(_)) => {
                "your provider gives the gateway no access token just now; try again later".into()
            }
            Self::TokenNotTaken(error) => {
                let words = error.refusal().map_or_else(|| error.to_string(), |no| no.words.clone());
                format!(
                    "your provider does not let the gateway in for this account: {words}; ask the gateway's operator"
                )
            }
            Self::GeneratedPassword => {
                "this is a password that a gateway made, and no provider's: it was not sent there. Use your \
                 provider's password, or ask the gateway's operator to bind this account"
                    .into()
            }
            Self::Credentials(error) => error.to_string(),
            Self::Upstream(error) => sentence_of(error),
        }
    }
}

fn kind_of(error: &UpstreamError) -> Kind {
    match error {
        UpstreamError::Forbidden { .. } => Kind::Permanent,
        UpstreamError::Login { source, .. } => match source {
            LoginError::Refused(no) => match no.kind {
                RefusalKind::Credentials => Kind::Credentials,
                RefusalKind::Busy => Kind::Temporary,
                RefusalKind::InUse => Kind::InUse,
                RefusalKind::Permanent => Kind::Permanent,
            },
            LoginError::BadCredentials | LoginError::NoMechanism { .. } => Kind::Credentials,
            LoginError::NoTls(_) => Kind::Permanent,
            _ => Kind::Temporary,
        },
        _ => Kind::Temporary,
    }
}

fn sentence_of(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Forbidden { server, why } => match why {
            Forbidden::Denied | Forbidden::NotAllowed => {
                format!("this gateway does not connect to {server}; ask its operator to allow it")
            }
            Forbidden::Reserved(kind) => {
                format!(
                    "{server} has {kind}, and this gateway does not connect there; ask its operator to allow it"
                )
            }
            Forbidden::Itself => {
                format!("{server} is this gateway: name your provider's server in the user name")
            }
        },
        UpstreamError::Resolve { server, .. } => {
            format!("the address of {server} cannot be found: check the server in the user name")
        }
        UpstreamError::Connect { server, .. } => {
            format!("{server} does not answer: check the server in the user name, or try again later")
        }
        UpstreamError::Tls { server, .. } if error.not_trusted().is_some() => {
            format!("the server's certificate is not trusted ({server}); ask the gateway's operator")
        }
        UpstreamError::Tls { server, .. } => format!("no secure connection with {server}: TLS failed"),
        UpstreamError::Trust(_) => "this gateway cannot verify any server; ask its operator".into(),
        UpstreamError::Login { server, source, .. } => match source {
            LoginError::Refused(no) => format!("{server} refuses {}: {}", no.to, no.words),
            LoginError::NoTls(_) => {
                format!("{server} offers no encryption on this port, and so gets no password")
            }
            LoginError::NoMechanism { .. } => format!("{server}: {source}"),
            LoginError::BadCredentials => source.to_string(),
            _ => format!("{server} does not answer as a mail server should; try again later"),
        },
        UpstreamError::Broken { server, at, .. } => {
            format!("{server} broke off, or said nothing, when it was to answer {at}; try again later")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::upstream::ServerRefusal;
    use super::*;

    fn no(kind: RefusalKind, words: &str) -> UpstreamError {
        let refusal = ServerRefusal { kind, to: "the login", words: words.into() };
        let server = "mail.example.com:587".into();
        UpstreamError::Login { server, at: "the login", source: refusal.into() }
    }

    fn refused(kind: RefusalKind, words: &str) -> LoginRefusal {
        LoginRefusal::Upstream(no(kind, words))
    }

    fn not_taken() -> UpstreamError {
        no(RefusalKind::Credentials, "-ERR [AUTH] no mailbox licence")
    }

    fn pop3(refusal: &LoginRefusal) -> String {
        let mut line = Vec::new();
        refusal.pop3_reply().write(&mut line);
        String::from_utf8(line).unwrap()
    }

    /// Goal: every refusal has its code in both protocols and one line that fits; only wrong credentials count as such.
    #[test]
    fn each_refusal_has_its_words_in_both_protocols() {
        let server = || "mail.example.com:995".to_owned();
        let id: MailboxId = "mbx-000000000000000a".parse().unwrap();
        let upstream = LoginRefusal::Upstream;
        let login = |source| upstream(UpstreamError::Login { server: server(), at: "x", source });
        for (refusal, smtp, pop3_code, wrong) in [
            (LoginRefusal::Off, 535, "SYS/PERM", false),
            (LoginRefusal::Route(BadRoute::Target), 535, "AUTH", false),
            (LoginRefusal::UnknownMailbox(id), 535, "AUTH", false),
            (LoginRefusal::Suspended(id), 454, "SYS/TEMP", false),
            (LoginRefusal::Damaged(id), 454, "SYS/TEMP", false),
            (LoginRefusal::Network(id), 535, "SYS/PERM", false),
            (LoginRefusal::MustWait(Duration::from_secs(3)), 454, "SYS/TEMP", false),
            (LoginRefusal::TooManyLogins, 454, "SYS/TEMP", false),
            (LoginRefusal::TooManySessions, 454, "SYS/TEMP", false),
            (LoginRefusal::GeneratedPassword, 535, "SYS/PERM", false),
            (LoginRefusal::TokenNotTaken(not_taken()), 535, "SYS/PERM", false),
            (LoginRefusal::Token(NoToken::WrongPassword), 535, "AUTH", true),
            (LoginRefusal::Token(NoToken::MustWait), 454, "SYS/TEMP", false),
            (LoginRefusal::Token(NoToken::Revoked("x".into())), 535, "SYS/PERM", false),
            (LoginRefusal::Token(NoToken::Unavailable("x".into())), 454, "SYS/TEMP", false),
            (refused(RefusalKind::Credentials, "535 5.7.8 no"), 535, "AUTH", true),
            (refused(RefusalKind::Busy, "421 no"), 454, "SYS/TEMP", false),
            (refused(RefusalKind::InUse, "-ERR [IN-USE]"), 454, "IN-USE", false),
            (refused(RefusalKind::Permanent, "534 5.7.9 no"), 535, "SYS/PERM", false),
            (login(LoginError::NoTls("STLS")), 535, "SYS/PERM", false),
            (login(LoginError::Injected), 454, "SYS/TEMP", false),
            (login(LoginError::NoMechanism { token: true, offered: Vec::new() }), 535, "AUTH", false),
            (
                upstream(UpstreamError::Forbidden { server: server(), why: Forbidden::Denied }),
                535,
                "SYS/PERM",
                false,
            ),
            (
                upstream(UpstreamError::Connect { server: server(), source: io::ErrorKind::TimedOut.into() }),
                454,
                "SYS/TEMP",
                false,
            ),
        ] {
            let reply = refusal.smtp_reply();
            assert_eq!(reply.code, smtp, "{refusal}");
            assert_eq!(reply.enhanced.as_bytes()[0], b'0' + u8::try_from(smtp / 100).unwrap());
            assert!(reply.lines.len() == 1 && reply.to_bytes().len() < 512);
            assert!(pop3(&refusal).starts_with(&format!("-ERR [{pop3_code}] ")), "{}", pop3(&refusal));
            assert_eq!(refusal.is_wrong_credentials(), wrong, "{refusal}");
        }
    }

    #[test]
    fn no_words_break_a_reply() {
        let no = refused(RefusalKind::Credentials, &"é\u{202e}".repeat(300));
        let line = no.smtp_reply().to_bytes();
        assert!(line.len() <= 512 && line.is_ascii(), "{}", line.len());
        assert!(pop3(&no).len() <= 512 && pop3(&no).is_ascii());
    }

    #[test]
    fn a_servers_words_are_passed_on() {
        let no = refused(RefusalKind::Credentials, "534 5.7.9 Application-specific password required");
        assert!(no.smtp_reply().lines[0].ends_with("Application-specific password required"));
        assert!(pop3(&no).contains("mail.example.com:587 refuses the login: 534 5.7.9"));
    }
}
