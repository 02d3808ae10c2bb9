//! `[limits]`: how much, how many, how often, how long. docs/operating.md says what each is for.

use std::time::Duration;

use postern_shared::config::{ByteSize, Period};

use super::reference::table;
use super::{Wrong, at_least, count, count_up_to};
use crate::listen::{HANDSHAKE_DEADLINE, HANDSHAKES_AT_ONCE, Handshakes, Patience, Quota};
use crate::login::{BackOff, LOGINS_AT_ONCE, LOGINS_WAITING};
use crate::pop3_server;
use crate::smtp_receiver::SessionLimits;

/// Each takes a thread and 64 MiB.
const LOGINS_AT_ONCE_MAX: usize = 1000;
/// Nobody sends such a thing; sums with it stay numbers.
const MESSAGE_BYTES_MAX: u64 = 1 << 40;

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

/// A minute's worth of the smallest interval that is still counted, in microseconds.
const CONNECTIONS_PER_MINUTE_MAX: u32 = 60_000_000;

const fn seconds(seconds: u64) -> Period {
    Period(Duration::from_secs(seconds))
}

table! {
    /// `[limits]`
    pub(super) struct RawLimits {
        /// The longest message accepted, at least 64 KiB. Microsoft 365 sends up to 150 MiB.
        [Reload] max_message_size: ByteSize = ByteSize(200 << 20),
        /// Sessions of senders at once, over smtp, smtps and submission together.
        [Reload] sessions: usize = 2000,
        /// Sessions of senders at once from one address (an IPv6 /64 counts as one).
        [Reload] sessions_per_address: usize = 1000,
        /// Sessions of archivers and of mail clients behind the proxy at once, over pop3 and pop3s together.
        [Reload] pop3_sessions: usize = 1000,
        /// Sessions of archivers and of mail clients behind the proxy at once from one address.
        [Reload] pop3_sessions_per_address: usize = 100,
        /// Connections a minute from one address, on average; 0 for no limit.
        [Reload] connections_per_minute: u32 = 6000,
        /// Connections that one address may make at once before that average counts.
        [Reload] connection_burst: u32 = 2000,
        /// TLS handshakes computed at once, over all listeners.
        [Reload] handshakes_at_once: usize = HANDSHAKES_AT_ONCE,
        /// How long a TLS handshake may take.
        [Reload] handshake_deadline: Period = Period(HANDSHAKE_DEADLINE),
        /// How long a peer may take to receive an answer (16 KiB of it at most).
        [Reload] answer_deadline: Period = seconds(120),
        /// Senders: how long until a command is there whole, and between two packets of a message (RFC 5321 asks for
        /// 5 min or more).
        [Reload] command_deadline: Period = Period(Patience::default().command),
        /// Senders: what a message must bring a second on average, once it takes longer than command_deadline; 0 for no
        /// limit.
        [Reload] message_rate_min: ByteSize = ByteSize(Patience::default().octets_per_second_min),
        /// Senders: how long a message may take.
        [Reload] message_deadline: Period = Period(Patience::default().message),
        /// Senders: how long a session may take.
        [Reload] session_deadline: Period = Period(Patience::default().session),
        /// Senders: messages of one session; then 421, and they may come again.
        [Reload] messages_per_session: u64 = SessionLimits::default().messages_max,
        /// Senders: refused commands and recipients of one session; then 421, and they may come again.
        [Reload] errors_per_session: u32 = SessionLimits::default().errors_max,
        /// Archivers: how long they may be silent (RFC 1939 asks for 10 min or more).
        [Reload] pop3_idle_deadline: Period = Period(pop3_server::Settings::default().idle),
        /// Archivers: how long until they have logged in.
        [Reload] pop3_login_deadline: Period = Period(pop3_server::Settings::default().login_deadline),
        /// Passwords checked at once; each takes 64 MiB of memory meanwhile.
        [Reload] logins_at_once: usize = LOGINS_AT_ONCE,
        /// Logins that may wait until their password is checked.
        [Reload] logins_waiting: usize = LOGINS_WAITING,
        /// A failed login is answered so much later.
        [Reload] login_failure_pause: Period = Period(pop3_server::Settings::default().failure_pause),
        /// Failed logins of an address without a wait before its next one.
        [Reload] login_failures_free: u32 = BackOff::default().free,
        /// The first such wait; each further failure doubles it.
        [Reload] login_wait: Period = Period(BackOff::default().first),
        /// The longest such wait.
        [Reload] login_wait_max: Period = Period(BackOff::default().longest),
        /// Failures are forgotten so long after the last.
        [Reload] login_failures_forgotten: Period = Period(BackOff::default().forget),
    }
}

impl RawLimits {
    pub(super) fn check(self) -> Result<Limits, Wrong> {
        let connections_per_minute = self.connections_per_minute;
        if connections_per_minute > CONNECTIONS_PER_MINUTE_MAX {
            let message = format!("{CONNECTIONS_PER_MINUTE_MAX} is the most; 0 is for no limit");
            return Err(("limits.connections_per_minute", message));
        }
        let connection_burst = at_least("limits.connection_burst", 1, self.connection_burst)?;
        let quota =
            |sessions, per_address| Quota { sessions, per_address, connections_per_minute, connection_burst };
        let message_bytes_max = at_least("limits.max_message_size", 64 * 1024, self.max_message_size.0)?;
        if message_bytes_max > MESSAGE_BYTES_MAX {
            return Err(("limits.max_message_size", format!("{} GiB is the most", MESSAGE_BYTES_MAX >> 30)));
        }
        Ok(Limits {
            message_bytes_max,
            smtp: quota(
                count("limits.sessions", self.sessions)?,
                count("limits.sessions_per_address", self.sessions_per_address)?,
            ),
            pop3: quota(
                count("limits.pop3_sessions", self.pop3_sessions)?,
                count("limits.pop3_sessions_per_address", self.pop3_sessions_per_address)?,
            ),
            handshakes_at_once: count("limits.handshakes_at_once", self.handshakes_at_once)?,
            handshake_deadline: self.handshake_deadline.0,
            answer_deadline: self.answer_deadline.0,
            patience: Patience {
                command: self.command_deadline.0,
                octets_per_second_min: self.message_rate_min.0,
                message: self.message_deadline.0,
                session: self.session_deadline.0,
            },
            session: SessionLimits {
                messages_max: at_least("limits.messages_per_session", 1, self.messages_per_session)?,
                errors_max: self.errors_per_session,
            },
            pop3_idle: self.pop3_idle_deadline.0,
            pop3_login: self.pop3_login_deadline.0,
            logins_at_once: count_up_to(LOGINS_AT_ONCE_MAX, "limits.logins_at_once", self.logins_at_once)?,
            logins_waiting: count("limits.logins_waiting", self.logins_waiting)?,
            login_failure_pause: self.login_failure_pause.0,
            back_off: BackOff {
                free: at_least("limits.login_failures_free", 1, self.login_failures_free)?,
                first: self.login_wait.0,
                longest: self.login_wait_max.0,
                forget: self.login_failures_forgotten.0,
            },
        })
    }
}
