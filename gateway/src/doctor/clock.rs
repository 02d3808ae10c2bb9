//! The machine's clock: trace fields, certificates and message ids depend on it.

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::disk::program_written;
use serde_json::Value;

use super::Finding;

const CHECK: &str = "clock";
const MOVED_WARN_MS: u64 = 5_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

pub(super) fn check(clock: &dyn Clock, status: &Value) -> Finding {
    judge(clock.wall(), program_written().ok(), status["clock_moved_ms"].as_i64())
}

/// `built`: when this program was. `moved_ms`: by how much the clock was set since the daemon started.
fn judge(now: UnixMillis, built: Option<UnixMillis>, moved_ms: Option<i64>) -> Finding {
    let synchronise = "let the machine keep time, with systemd-timesyncd or chrony";
    if let Some(built) = built.filter(|built| now.0.saturating_add(DAY_MS) < built.0) {
        return Finding::fail(
            CHECK,
            format!("it says {now}, but this program was made on {built}"),
            synchronise,
        );
    }
    match moved_ms {
        Some(moved) if moved.unsigned_abs() > MOVED_WARN_MS => {
            let found = format!("it was moved by {} s since the daemon started", moved / 1000);
            Finding::warn(CHECK, found, synchronise)
        }
        _ => Finding::ok(CHECK, format!("it says {now}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_before_the_program_or_moved_is_told() {
        let now = UnixMillis(1_800_000_000_000);
        let judged = |built, moved| judge(now, built, moved).verdict;
        assert_eq!(judged(None, None), Verdict::Ok);
        assert_eq!(judged(Some(UnixMillis(now.0 + DAY_MS / 2)), Some(-4000)), Verdict::Ok);
        assert_eq!(judged(Some(UnixMillis(now.0 + 2 * DAY_MS)), None), Verdict::Fail);
        assert_eq!(judged(Some(now), Some(-6000)), Verdict::Warn);
        assert_eq!(judged(Some(now), Some(3_600_000)), Verdict::Warn);
    }
}
