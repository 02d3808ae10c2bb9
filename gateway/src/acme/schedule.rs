//! When to ask for a certificate; pure.

use std::time::Duration;

use postern_shared::clock::UnixMillis;
use postern_shared::tls::server::Leaf;
use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 3600);
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
const WAIT_FIRST: Duration = Duration::from_secs(15 * 60);
const WAIT_MAX: Duration = Duration::from_secs(12 * 3600);

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Attempts that failed since the last that did not.
    pub failures: u32,
    /// Before that none is made.
    pub not_before: Option<UnixMillis>,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// When the last one ended, however.
    pub last_attempt: Option<UnixMillis>,
    /// When a certificate was issued last.
    pub last_issued: Option<UnixMillis>,
    /// For which certificate the authority has named a time for renewal (SHA-256), and that time (RFC 9773).
    pub suggested: Option<(String, UnixMillis)>,
    /// When to ask for that time again.
    pub ask_again: Option<UnixMillis>,
    /// Which directory and names all this is about.
    pub about: Option<String>,
}

/// When a certificate should be renewed by its dates: 30 days before its end, or when a third of its life is left.
pub fn renewal_time(leaf: &Leaf) -> UnixMillis {
    let life = leaf.not_after.since(leaf.not_before);
    let before = RENEW_BEFORE.min(life / 3);
    UnixMillis(leaf.not_after.0.saturating_sub(u64::try_from(before.as_millis()).unwrap_or(u64::MAX)))
}

/// How long to wait after so many failures: 15 minutes, then each time twice as long, up to half a day.
pub fn wait_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    WAIT_FIRST.saturating_mul(1 << doublings).min(WAIT_MAX)
}

impl State {
    /// When to ask: now or later. `current`: the issued certificate and its SHA-256, when there is one.
    pub fn due(&self, current: Option<(&Leaf, &str)>, names: &[String]) -> UnixMillis {
        let wanted = match current {
            Some((leaf, fingerprint)) if names.iter().all(|name| leaf.covers(name)) => {
                let by_dates = renewal_time(leaf);
                match &self.suggested {
                    // Never later than by the dates: an authority's mistake must not let it run out.
                    Some((of, suggested)) if of == fingerprint => by_dates.min(*suggested),
                    _ => by_dates,
                }
            }
            // None, or one for other names.
            _ => UnixMillis(0),
        };
        wanted.max(self.not_before.unwrap_or_default())
    }

    /// The same for `about`: what was known about another directory or other names says nothing about these, so an
    /// operator who has mended the configuration waits for nothing.
    #[must_use]
    pub fn about(self, about: &str) -> Self {
        match self.about.as_deref() {
            Some(known) if known == about => self,
            _ => Self { about: Some(about.to_owned()), ..Self::default() },
        }
    }

    /// Whether a certificate that is there was issued for this.
    pub fn has_issued(&self) -> bool {
        self.last_issued.is_some()
    }

    /// An attempt failed. `told`: how long the authority says to wait; `jitter`: so that many gateways do not come at once.
    pub fn failed(&mut self, now: UnixMillis, error: String, told: Option<Duration>, jitter: u8) {
        self.failures = self.failures.saturating_add(1);
        let wait = wait_after(self.failures).max(told.unwrap_or_default().min(7 * DAY));
        let wait = wait.saturating_add(wait / 2560 * u32::from(jitter));
        self.not_before = Some(now.plus(wait));
        self.last_error = Some(error);
        self.last_attempt = Some(now);
    }

    /// A certificate was issued.
    pub fn issued(&mut self, now: UnixMillis) {
        let about = self.about.take();
        *self = Self { last_attempt: Some(now), last_issued: Some(now), about, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn leaf(days: u32) -> Leaf {
        Leaf { names: vec!["a.example.com".into()], not_before: NOW, not_after: NOW.plus(DAY * days) }
    }

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn short_lives_are_renewed_at_a_third() {
        assert_eq!(renewal_time(&leaf(90)), NOW.plus(DAY * 60));
        assert_eq!(renewal_time(&leaf(365)), NOW.plus(DAY * 335));
        assert_eq!(renewal_time(&leaf(6)), NOW.plus(DAY * 4));
    }

    #[test]
    fn waits_double_up_to_half_a_day() {
        let minutes: Vec<u64> = (0..9).map(|failures| wait_after(failures).as_secs() / 60).collect();
        assert_eq!(minutes, [15, 15, 30, 60, 120, 240, 480, 720, 720]);
        assert_eq!(wait_after(u32::MAX), WAIT_MAX);
    }

    #[test]
    fn a_failure_is_waited_out_whatever_is_due() {
        let mut state = State::default();
        assert!(state.due(None, &names("a.example.com")) <= NOW);
        state.failed(NOW, "no".into(), None, 0);
        assert_eq!(state.due(None, &names("a.example.com")), NOW.plus(WAIT_FIRST));
        state.failed(NOW, "no".into(), Some(DAY), 255);
        let due = state.due(None, &names("a.example.com"));
        assert!(due >= NOW.plus(DAY) && due <= NOW.plus(DAY + DAY / 9), "a tenth later at most: {due}");
        assert_eq!(state.clone().about("a").not_before, None, "nothing was known about it");
        let state_of_a = State { about: Some("a".into()), ..state.clone() };
        assert_eq!(state_of_a.clone().about("a"), state_of_a);
        assert_eq!(state_of_a.about("b").failures, 0);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        state.issued(NOW);
        assert_eq!((state.failures, state.not_before, state.last_error), (0, None, None));
    }

    #[test]
    fn other_names_and_the_authoritys_hint_bring_it_forward_only() {
        let (leaf, now) = (leaf(90), NOW);
        let mut state = State::default();
        let due = |state: &State, wanted: &str| state.due(Some((&leaf, "ab")), &names(wanted));
        assert_eq!(due(&state, "a.example.com"), now.plus(DAY * 60));
        assert!(due(&state, "a.example.com b.example.com") <= now);
        state.suggested = Some(("ab".into(), now.plus(DAY * 10)));
        assert_eq!(due(&state, "a.example.com"), now.plus(DAY * 10));
        state.suggested = Some(("ab".into(), now.plus(DAY * 80)));
        assert_eq!(due(&state, "a.example.com"), now.plus(DAY * 60));
        state.suggested = Some(("of another".into(), now));
        assert_eq!(due(&state, "a.example.com"), now.plus(DAY * 60));
    }
}
