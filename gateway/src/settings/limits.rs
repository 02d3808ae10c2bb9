//! `[limits]`: how much, how many, how often, how long. docs/operating.md says what each is for.

use std::time::Duration;

use postern_shared::config::{ByteSize, Period};
use serde::Deserialize;

use super::{Wrong, at_least};
use crate::listen::{HANDSHAKE_DEADLINE, HANDSHAKES_AT_ONCE, Handshakes, Patience, Quota};
use crate::login::{BackOff, LOGINS_AT_ONCE, LOGINS_WAITING};
use crate::pop3_server;
use crate::smtp_receiver::SessionLimits;

/// Checked limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest message accepted, in octets of content.
    pub message_bytes_max: u64,
    /// Places for senders, over all their listeners.
    pub smtp: Quota,
    /// Places for archivers, over all their listeners.
    pub pop3: Quota,
    /// TLS handshakes computed at once, over all listeners.
    pub handshakes_at_once: usize,
    /// How long a handshake may take.
    pub handshake_deadline: Duration,
    /// How long a peer may take to receive an answer.
    pub answer_deadline: Duration,
    /// How long a sender may take.
    pub patience: Patience,
    /// How much a sender may do in one session.
    pub session: SessionLimits,
    /// How long an archiver may be silent.
    pub pop3_idle: Duration,
    /// How long an archiver may take to log in.
    pub pop3_login: Duration,
    /// Passwords checked at once.
    pub logins_at_once: usize,
    /// Logins that may wait for that.
    pub logins_waiting: usize,
    /// What a failed login costs at least.
    pub login_failure_pause: Duration,
    /// What many failed logins cost.
    pub back_off: BackOff,
}

impl Limits {
    /// The limits on handshakes, to be shared by all listeners.
    pub fn handshakes(&self) -> Handshakes {
        Handshakes::new(self.handshakes_at_once, self.handshake_deadline)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    max_message_size: Option<ByteSize>,
    sessions: Option<usize>,
    sessions_per_address: Option<usize>,
    pop3_sessions: Option<usize>,
    pop3_sessions_per_address: Option<usize>,
    connections_per_minute: Option<u32>,
    connection_burst: Option<u32>,
    handshakes_at_once: Option<usize>,
    handshake_deadline: Option<Period>,
    answer_deadline: Option<Period>,
    command_deadline: Option<Period>,
    message_rate_min: Option<ByteSize>,
    message_deadline: Option<Period>,
    session_deadline: Option<Period>,
    messages_per_session: Option<u64>,
    errors_per_session: Option<u32>,
    pop3_idle_deadline: Option<Period>,
    pop3_login_deadline: Option<Period>,
    logins_at_once: Option<usize>,
    logins_waiting: Option<usize>,
    login_failure_pause: Option<Period>,
    login_failures_free: Option<u32>,
    login_wait: Option<Period>,
    login_wait_max: Option<Period>,
    login_failures_forgotten: Option<Period>,
}

const SESSIONS: (usize, usize) = (2000, 1000);
const POP3_SESSIONS: (usize, usize) = (200, 100);
const CONNECTIONS_PER_MINUTE: u32 = 6000;
const CONNECTION_BURST: u32 = 2000;
/// A minute's worth of the smallest interval that is still counted, in microseconds.
const CONNECTIONS_PER_MINUTE_MAX: u32 = 60_000_000;
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);

impl RawLimits {
    pub(super) fn check(self) -> Result<Limits, Wrong> {
        let (patience, session) = (Patience::default(), SessionLimits::default());
        let connections_per_minute = self.connections_per_minute.unwrap_or(CONNECTIONS_PER_MINUTE);
        if connections_per_minute > CONNECTIONS_PER_MINUTE_MAX {
            let message = format!("{CONNECTIONS_PER_MINUTE_MAX} is the most; 0 is for no limit");
            return Err(("limits.connections_per_minute", message));
        }
        let connection_burst =
            at_least("limits.connection_burst", 1, self.connection_burst)?.unwrap_or(CONNECTION_BURST);
        let quota =
            |sessions, per_address| Quota { sessions, per_address, connections_per_minute, connection_burst };
        let some = |key, value: Option<usize>, default| Ok(at_least(key, 1, value)?.unwrap_or(default));
        let pop3 = pop3_server::Settings::default();
        Ok(Limits {
            message_bytes_max: at_least(
                "limits.max_message_size",
                64 * 1024,
                self.max_message_size.map(|size| size.0),
            )?
            .unwrap_or(200 * 1024 * 1024),
            smtp: quota(
                some("limits.sessions", self.sessions, SESSIONS.0)?,
                some("limits.sessions_per_address", self.sessions_per_address, SESSIONS.1)?,
            ),
            pop3: quota(
                some("limits.pop3_sessions", self.pop3_sessions, POP3_SESSIONS.0)?,
                some("limits.pop3_sessions_per_address", self.pop3_sessions_per_address, POP3_SESSIONS.1)?,
            ),
            handshakes_at_once: some(
                "limits.handshakes_at_once",
                self.handshakes_at_once,
                HANDSHAKES_AT_ONCE,
            )?,
            handshake_deadline: or(self.handshake_deadline, HANDSHAKE_DEADLINE),
            answer_deadline: or(self.answer_deadline, ANSWER_DEADLINE),
            patience: Patience {
                command: or(self.command_deadline, patience.command),
                octets_per_second_min: self
                    .message_rate_min
                    .map_or(patience.octets_per_second_min, |rate| rate.0),
                message: or(self.message_deadline, patience.message),
                session: or(self.session_deadline, patience.session),
            },
            session: SessionLimits {
                messages_max: at_least("limits.messages_per_session", 1, self.messages_per_session)?
                    .unwrap_or(session.messages_max),
                errors_max: self.errors_per_session.unwrap_or(session.errors_max),
            },
            pop3_idle: or(self.pop3_idle_deadline, pop3.idle),
            pop3_login: or(self.pop3_login_deadline, pop3.login_deadline),
            logins_at_once: some("limits.logins_at_once", self.logins_at_once, LOGINS_AT_ONCE)?,
            logins_waiting: some("limits.logins_waiting", self.logins_waiting, LOGINS_WAITING)?,
            login_failure_pause: or(self.login_failure_pause, pop3.failure_pause),
            back_off: BackOff {
                free: at_least("limits.login_failures_free", 1, self.login_failures_free)?
                    .unwrap_or(pop3.back_off.free),
                first: or(self.login_wait, pop3.back_off.first),
                longest: or(self.login_wait_max, pop3.back_off.longest),
                forget: or(self.login_failures_forgotten, pop3.back_off.forget),
            },
        })
    }
}

fn or(value: Option<Period>, default: Duration) -> Duration {
    value.map_or(default, |period| period.0)
}
