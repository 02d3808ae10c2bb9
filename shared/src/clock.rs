//! The only door to time.
//!
//! Machines take the time as a value; whoever drives them holds a [`Clock`]. So a test can let a year
//! pass between two lines.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// `Tue, 17 Jul 2018 12:13:28 +0000`, as header fields want it (RFC 5322 §3.3).
    pub fn rfc5322(self) -> String {
        self.date_time().format(&Rfc2822).unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 +0000".into())
    }

    /// `2018-07-17T12:13:28.5Z`, as logs and JSON want it (RFC 3339).
    pub fn rfc3339(self) -> String {
        self.date_time().format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".into())
    }

    /// This time moved by `delta`, later.
    #[must_use]
    pub fn plus(self, delta: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delta.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// A point on a clock that never goes backwards; only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `elapsed` after the clock's start.
    pub fn after_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `delta` later.
    #[must_use]
    pub fn plus(self, delta: Duration) -> Self {
        Self(self.0.saturating_add(delta))
    }
}

/// Reads the time. Real in the daemons, driven by hand in tests and simulations.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The calendar time, which an operator may set back.
    fn wall(&self) -> UnixMillis;
    /// The time for measuring durations.
    fn moment(&self) -> Moment;
}

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose moments count from now.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn wall(&self) -> UnixMillis {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn moment(&self) -> Moment {
        Moment(self.start.elapsed())
    }
}

/// A clock that stands still until it is told to move; for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    elapsed_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `wall`.
    pub fn at(wall: UnixMillis) -> Self {
        Self { wall_ms: AtomicU64::new(wall.0), elapsed_ms: AtomicU64::new(0) }
    }

    /// Lets `delta` pass.
    pub fn advance(&self, delta: Duration) {
        let ms = u64::try_from(delta.as_millis()).unwrap_or(u64::MAX);
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.elapsed_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> UnixMillis {
        UnixMillis(self.wall_ms.load(Ordering::SeqCst))
    }

    fn moment(&self) -> Moment {
        Moment(Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_follow_the_standards() {
        let t = UnixMillis(1_531_829_608_500);
        assert_eq!(t.rfc5322(), "Tue, 17 Jul 2018 12:13:28 +0000");
        assert_eq!(t.rfc3339(), "2018-07-17T12:13:28.5Z");
    }

    #[test]
    fn durations_never_go_negative() {
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
        assert_eq!(UnixMillis(5).plus(Duration::from_secs(1)), UnixMillis(1005));
    }
}
