//! What is counted. `docs/monitoring.md` tells operators what each means.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postern_shared::telemetry::metrics::{Counter, Counters, Gauge, Histogram};

use super::{Proxied, ProxyMetrics, ProxyProtocol};
use crate::listen::Entrance;

/// The listeners that have sessions, as in `[listen]`.
const LISTENERS: [&str; 5] = {
    let [a, b, c, d, e] = Entrance::ALL;
    [a.name(), b.name(), c.name(), d.name(), e.name()]
};

/// Why a sender was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such mailbox.
    UnknownMailbox,
    /// The mailbox is suspended, or its file is damaged.
    Suspended,
    /// Another domain's address.
    Relay,
    /// The message is longer than allowed.
    TooLarge,
    /// The disk, or the mailbox's quota.
    Full,
    /// Our own trouble.
    LocalError,
    /// Too many sessions, in all or from one address.
    TooManySessions,
    /// Too many recipients, or mailboxes, in one transaction.
    TooManyRecipients,
    /// Too many refused commands in one session.
    TooManyErrors,
    /// The mailbox's or the gateway's policy: client network, TLS.
    Policy,
    /// No command, or not in its place.
    Protocol,
    /// Nothing came for too long.
    Idle,
    /// The gateway is stopping.
    Shutdown,
    /// Anything else.
    Other,
}

pub(super) const REFUSALS: [&str; 14] = [
    "unknown_mailbox",
    "suspended",
    "relay",
    "too_large",
    "full",
    "local_error",
    "too_many_sessions",
    "too_many_recipients",
    "too_many_errors",
    "policy",
    "protocol",
    "idle",
    "shutdown",
    "other",
];

impl Refusal {
    /// What it is counted as.
    pub fn name(self) -> &'static str {
        REFUSALS[self as usize]
    }
}

/// What came of a POP3 login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// A maildrop was opened.
    Ok,
    /// Wrong user name or password.
    WrongPassword,
    /// Another session holds the maildrop.
    InUse,
    /// It could not be checked, or too many wait to be.
    Unavailable,
    /// Too many from there failed; the password was not looked at.
    MustWait,
}

const LOGINS: [&str; 5] = ["ok", "wrong_password", "in_use", "unavailable", "must_wait"];
/// What came of asking an OAuth provider for an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// It came.
    Ok,
    /// The consent is gone: somebody must bind the account anew.
    ConsentGone,
    /// The provider refuses this gateway: its registration, its secret.
    Refused,
    /// The provider could not be reached, or did not speak sense.
    Unreachable,
    /// It came and could not be kept.
    LocalError,
}

const REFRESHES: [&str; 5] = ["ok", "consent_gone", "refused", "unreachable", "local_error"];
const TLS_VERSIONS: [&str; 3] = ["1.2", "1.3", "other"];

/// Microseconds: from a fast SSD's sync to a disk that is about to fail.
const LATENCIES: [u64; 16] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Everything counted since the process started.
#[derive(Debug)]
pub struct Metrics {
    pub(super) accepted: Counter,
    pub(super) copies: Counter,
    pub(super) content_bytes: Counter,
    pub(super) commit: Histogram<16>,
    pub(super) refusals: Counters<14>,
    pub(super) group: Histogram<16>,
    pub(super) group_records: Histogram<11>,
    pub(super) group_bytes: Counter,
    pub(super) group_failures: Counter,
    pub(super) last_group_failed: AtomicBool,
    pub(super) sessions: Counters<5>,
    pub(super) sessions_refused: Counters<5>,
    pub(super) sessions_open: [Gauge; 5],
    pub(super) tls: Counters<3>,
    pub(super) tls_failures: Counter,
    pub(super) logins: Counters<5>,
    pub(super) served: Counter,
    pub(super) served_bytes: Counter,
    pub(super) not_served: Counter,
    pub(super) deleted: Counter,
    pub(super) refreshes: Counters<5>,
    /// Of the proxy.
    pub proxy: ProxyMetrics,
}

static METRICS: Metrics = Metrics {
    accepted: Counter::new(),
    copies: Counter::new(),
    content_bytes: Counter::new(),
    commit: Histogram::new(LATENCIES, 1_000_000),
    refusals: Counters::new("reason", REFUSALS),
    group: Histogram::new(LATENCIES, 1_000_000),
    group_records: Histogram::new([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], 1),
    group_bytes: Counter::new(),
    group_failures: Counter::new(),
    last_group_failed: AtomicBool::new(false),
    sessions: Counters::new("listener", LISTENERS),
    sessions_refused: Counters::new("listener", LISTENERS),
    sessions_open: [const { Gauge::new() }; 5],
    tls: Counters::new("version", TLS_VERSIONS),
    tls_failures: Counter::new(),
    logins: Counters::new("result", LOGINS),
    served: Counter::new(),
    served_bytes: Counter::new(),
    not_served: Counter::new(),
    deleted: Counter::new(),
    refreshes: Counters::new("result", REFRESHES),
    proxy: ProxyMetrics::new(),
};

/// This process's metrics.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

impl Metrics {
    /// A message is on disk, in so many copies, after its sender has waited so long for it.
    pub fn message_accepted(&self, copies: usize, content_bytes: u64, waited: Duration) {
        self.accepted.add(1);
        self.copies.add(copies as u64);
        self.content_bytes.add(content_bytes);
        self.commit.observe_duration(waited);
    }

    /// A sender was refused.
    pub fn refused(&self, why: Refusal) {
        self.refusals.at(why as usize).add(1);
    }

    /// The spool has written a group of records as one, or failed to.
    pub fn group_committed(&self, records: usize, bytes: u64, took: Duration, ok: bool) {
        if ok {
            self.group.observe_duration(took);
            self.group_records.observe(records as u64);
            self.group_bytes.add(bytes);
        } else {
            self.group_failures.add(1);
        }
        self.last_group_failed.store(!ok, Ordering::Relaxed);
    }

    /// A session begins; it lasts as long as the value.
    pub fn session(&'static self, entrance: Entrance) -> impl Drop + Send {
        self.sessions.at(entrance as usize).add(1);
        self.sessions_open[entrance as usize].hold()
    }

    /// A connection was beyond the limits.
    pub fn session_refused(&self, entrance: Entrance) {
        self.sessions_refused.at(entrance as usize).add(1);
        if !entrance.is_pop3() {
            self.refused(Refusal::TooManySessions);
        }
    }

    /// Sessions open now, by listener.
    pub fn sessions_open(&self) -> impl Iterator<Item = (&'static str, i64)> {
        LISTENERS.into_iter().zip(self.sessions_open.iter().map(Gauge::value))
    }

    /// A TLS handshake was completed, with a version as `TLSv1.3`, or failed.
    pub fn tls_handshake(&self, version: Option<&str>) {
        match version {
            Some(version) => {
                let known =
                    TLS_VERSIONS.iter().position(|known| version.strip_prefix("TLSv") == Some(*known));
                self.tls.at(known.unwrap_or(TLS_VERSIONS.len())).add(1);
            }
            None => self.tls_failures.add(1),
        }
    }

    /// Somebody tried to log in.
    pub fn login(&self, outcome: Login) {
        self.logins.at(outcome as usize).add(1);
    }

    /// A message was sent to an archiver, whole or its beginning (`TOP`).
    pub fn message_served(&self, bytes: u64) {
        self.served.add(1);
        self.served_bytes.add(bytes);
    }

    /// A message was asked for and could not be sent.
    pub fn message_not_served(&self) {
        self.not_served.add(1);
    }

    /// An archiver has deleted messages.
    pub fn messages_deleted(&self, messages: usize) {
        self.deleted.add(messages as u64);
    }

    /// A message passed the proxy.
    pub fn proxied(&self, protocol: ProxyProtocol, outcome: Proxied) {
        self.proxy.message(protocol, outcome);
    }

    /// An OAuth provider was asked for an access token.
    pub fn oauth_refreshed(&self, outcome: Refresh) {
        self.refreshes.at(outcome as usize).add(1);
    }

    /// Whether the spool's last group could not be written.
    pub fn last_group_failed(&self) -> bool {
        self.last_group_failed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a refusal, a login and a version are each counted under their own name.
    #[test]
    fn names_and_kinds_are_in_the_same_order() {
        assert_eq!(REFUSALS[Refusal::TooManySessions as usize], "too_many_sessions");
        assert_eq!(REFUSALS[Refusal::Other as usize], "other");
        assert_eq!(LOGINS[Login::Unavailable as usize], "unavailable");
        assert_eq!(LOGINS[Login::MustWait as usize], "must_wait");
        assert_eq!(REFRESHES[Refresh::LocalError as usize], "local_error");
        metrics().tls_handshake(Some("TLSv1.3"));
        metrics().tls_handshake(Some("TLS"));
        metrics().tls_handshake(None);
        assert_eq!([0, 1, 2].map(|at| metrics().tls.at(at).value()), [0, 1, 1]);
        assert_eq!(metrics().tls_failures.value(), 1);
    }

    #[test]
    fn a_session_is_open_until_it_is_dropped() {
        let open = || metrics().sessions_open().find(|(name, _)| *name == "pop3s").unwrap().1;
        let session = metrics().session(Entrance::Pop3s);
        assert_eq!(open(), 1);
        drop(session);
        assert_eq!(open(), 0);
        metrics().session_refused(Entrance::Pop3s);
        assert_eq!(metrics().refusals.at(Refusal::TooManySessions as usize).value(), 0, "POP3 is no sender");
        metrics().session_refused(Entrance::Smtp);
        assert_eq!(metrics().refusals.at(Refusal::TooManySessions as usize).value(), 1);
    }
}
