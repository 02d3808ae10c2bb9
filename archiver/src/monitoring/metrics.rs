//! What is counted. `docs/archiver.md` tells operators what each means.

use postern_shared::telemetry::metrics::{Counter, Counters};

const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];

/// Everything counted since the process started.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(super) answers: Counters<5>,
    pub(super) wrong_tokens: Counter,
}

static METRICS: Metrics = Metrics { answers: Counters::new("status", CLASSES), wrong_tokens: Counter::new() };

/// This process's metrics.
pub(crate) fn metrics() -> &'static Metrics {
    &METRICS
}

impl Metrics {
    /// The API has answered with that status.
    pub(crate) fn answered(&self, status: u16) {
        let class = match status / 100 {
            class @ 2..=5 => usize::from(class) - 2,
            _ => CLASSES.len() - 1,
        };
        self.answers.at(class).add(1);
    }

    /// A token was sent that is not good.
    pub(crate) fn wrong_token(&self) {
        self.wrong_tokens.add(1);
    }
}
