//! docs/proxy.md beside the code: what clients are told is in it, and its numbers are the ones that count.

use std::io;
use std::path::Path;
use std::time::Duration;

use postern_shared::disk::RealDisk;
use postern_shared::id::MailboxId;

use super::route::BadRoute;
use super::targets::Forbidden;
use super::tokens::NoToken;
use super::turns::LOGINS_PER_NETWORK;
use super::upstream::{LoginError, RefusalKind, ServerRefusal, UpstreamError};
use super::{LoginRefusal, Route};
use crate::listen::Entrance;
use crate::settings::Settings;
use crate::spool::INLINE_BYTES_MAX;

const MANUAL: &str = include_str!("../../../docs/proxy.md");

fn defaults() -> Settings {
    Settings::load(&RealDisk, Some(Path::new("/dev/null")), Vec::new()).unwrap()
}

/// Goal: every sentence by which a login is refused is in the manual, so that whoever reads it in a mail client finds it there.
#[test]
fn every_refusal_is_in_the_manual() {
    let server = || "mail.example.com:995".to_owned();
    let id: MailboxId = "mbx-000000000000000a".parse().unwrap();
    let forbidden = |why| LoginRefusal::Upstream(UpstreamError::Forbidden { server: server(), why });
    let login = |source| LoginRefusal::Upstream(UpstreamError::Login { server: server(), at: "x", source });
    let refused = || {
        let words = "535 5.7.8 wrong".to_owned();
        LoginError::from(ServerRefusal { kind: RefusalKind::Credentials, to: "the login", words })
    };
    let not_taken = UpstreamError::Login { server: server(), at: "the login", source: refused() };
    let source = || io::Error::from(io::ErrorKind::TimedOut);
    for (refusal, words) in [
        (LoginRefusal::Off, "this gateway is no proxy for mail clients"),
        (LoginRefusal::Route(BadRoute::Parts('%')), "the user name must be remote_user%server%mailbox-id"),
        (LoginRefusal::Route(BadRoute::Mailbox), "must end in the id of a gateway mailbox"),
        (LoginRefusal::UnknownMailbox(id), "there is no mailbox"),
        (LoginRefusal::Suspended(id), "is suspended"),
        (LoginRefusal::Damaged(id), "cannot be used just now"),
        (LoginRefusal::Network(id), "takes nothing from your network"),
        (LoginRefusal::MustWait(Duration::ZERO), "too many failed logins"),
        (LoginRefusal::TooManyLogins, "too many logins from your network"),
        (LoginRefusal::TooManySessions, "too many sessions of this account"),
        (LoginRefusal::Throttled { left: Duration::ZERO, words: "x".into() }, "your provider said"),
        (LoginRefusal::Throttled { left: Duration::ZERO, words: "x".into() }, "the gateway asks it again in"),
        (
            LoginRefusal::Token(NoToken::WrongPassword),
            "wrong password: this account wants the proxy password",
        ),
        (LoginRefusal::Token(NoToken::MustWait), "too many wrong passwords"),
        (
            LoginRefusal::Token(NoToken::Revoked("x".into())),
            "your provider no longer accepts the gateway's consent",
        ),
        (
            LoginRefusal::Token(NoToken::Unavailable("x".into())),
            "your provider gives the gateway no access token just now",
        ),
        (LoginRefusal::TokenNotTaken(not_taken), "your provider does not let the gateway in"),
        (LoginRefusal::GeneratedPassword, "this is a password that a gateway made"),
        (forbidden(Forbidden::Denied), "this gateway does not connect to"),
        (forbidden(Forbidden::Reserved("a private address")), "this gateway does not connect there"),
        (forbidden(Forbidden::Itself), "is this gateway"),
        (
            LoginRefusal::Upstream(UpstreamError::Resolve { server: server(), source: source() }),
            "cannot be found",
        ),
        (
            LoginRefusal::Upstream(UpstreamError::Connect { server: server(), source: source() }),
            "does not answer",
        ),
        (
            LoginRefusal::Upstream(UpstreamError::Tls { server: server(), source: source() }),
            "no secure connection with",
        ),
        (
            LoginRefusal::Upstream(UpstreamError::Broken { server: server(), at: "x", source: source() }),
            "broke off, or said nothing",
        ),
        (login(refused()), "refuses the login:"),
        (login(LoginError::NoTls("STLS")), "offers no encryption on this port"),
        (login(LoginError::NoMechanism { token: false, offered: Vec::new() }), "takes no passwords"),
    ] {
        let said = refusal.smtp_reply().lines.concat();
        assert!(said.contains(words), "{said:?} does not say {words:?}");
        assert!(MANUAL.contains(words), "the manual does not have {words:?}");
    }
}

fn period(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// Goal: the manual's numbers are the defaults.
#[test]
fn the_manuals_numbers_are_the_defaults() {
    let Settings { proxy, limits, .. } = defaults();
    for row in [
        format!("| logins in progress from one network | {LOGINS_PER_NETWORK}, the next wait |"),
        format!("| {} | `sessions_per_account` |", proxy.sessions_per_account),
        format!("| {}; {} | `pop3_sessions_per_address`", limits.pop3.per_address, limits.smtp.per_address),
        format!("| {} | `connect_deadline` |", period(proxy.connect_deadline)),
        format!("| {} | `login_deadline` |", period(proxy.login_deadline)),
        format!(
            "| {}; {} | `reply_deadline`, `end_of_data_deadline` |",
            period(proxy.reply_deadline),
            period(proxy.end_of_data_deadline)
        ),
        format!(
            "| {}; {} | `smtp_idle_deadline`, `pop3_idle_deadline` |",
            period(proxy.smtp_idle_deadline),
            period(proxy.pop3_idle_deadline)
        ),
        format!("| {} MiB | `limits.max_message_size` |", limits.message_bytes_max / (1024 * 1024)),
        format!("up to {} minutes (`login_wait_max`)", limits.back_off.longest.as_secs() / 60),
        format!("A message of up to {} KiB is held back", INLINE_BYTES_MAX / 1024),
    ] {
        assert!(MANUAL.contains(&row), "{row}");
    }
}

/// Goal: the port, when none is given, is the listener's own, and the manual's examples of servers are what a user name may hold.
#[test]
fn the_manuals_servers_and_ports_are_taken() {
    let proxy = defaults().proxy;
    let examples = MANUAL.lines().find_map(|line| line.strip_prefix("| `target_server` | ")).unwrap();
    let mut servers = 0;
    for server in examples.split('`').skip(1).step_by(2) {
        let user = format!("anna@example.com%{server}%mbx-dead1234beef5678");
        let route = Route::parse(&user, proxy.divider).unwrap().unwrap();
        servers += 1;
        for entrance in Entrance::ALL {
            let port = proxy.targets.target(entrance, &route).port;
            assert_eq!(port, route.port.unwrap_or(entrance.port()), "{server}");
            let of_its_own = entrance.port();
            assert!(MANUAL.contains(&format!("{of_its_own} → {of_its_own}")), "{of_its_own}");
        }
    }
    assert!(servers >= 6, "{examples}");
}
