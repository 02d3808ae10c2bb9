//! Progress of long work: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Moment};

/// How far a piece of work has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, in a few words: "pulling journal".
    pub what: String,
    /// Pieces done.
    pub done: u64,
    /// Pieces in all, when that is known.
    pub total: Option<u64>,
}

/// Shows progress to a person. Nothing is left behind on a terminal when it is dropped.
#[derive(Debug)]
pub struct ProgressView {
    clock: Arc<dyn Clock>,
    bar: Option<ProgressBar>,
    last_line: Option<Moment>,
    shown: Option<Progress>,
}

/// Plain lines come no more often than this; a log should stay readable.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

impl ProgressView {
    /// A view on standard error.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { clock, bar, last_line: None, shown: None }
    }

    /// Shows `progress` now or, when plain lines would come too fast, leaves it to the next one.
    pub fn show(&mut self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total.unwrap_or(progress.done));
            bar.set_message(progress.what.clone());
            bar.set_position(progress.done);
            return;
        }
        if self.is_due(progress) {
            eprintln!("{}", plain_line(progress));
        }
    }

    /// Whether a plain line is to say so: at the beginning, at the end, and now and then.
    fn is_due(&mut self, progress: &Progress) -> bool {
        let now = self.clock.moment();
        let started = self.shown.as_ref().is_none_or(|shown| shown.what != progress.what);
        // Work whose last pieces are too small to count is finished often.
        let finished = progress.total == Some(progress.done) && self.shown.as_ref() != Some(progress);
        let is_due =
            started || finished || self.last_line.is_none_or(|last| now.since(last) >= LINE_INTERVAL);
        if is_due {
            self.last_line = Some(now);
        }
        self.shown = Some(progress.clone());
        is_due
    }
}

impl Drop for ProgressView {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn plain_line(progress: &Progress) -> String {
    match progress.total {
        Some(total) => format!("{}: {} of {total}", progress.what, progress.done),
        None => format!("{}: {}", progress.what, progress.done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_say_how_much_is_left_when_it_is_known() {
        let progress = Progress { what: "pulling journal".into(), done: 3, total: Some(12) };
        assert_eq!(plain_line(&progress), "pulling journal: 3 of 12");
        assert_eq!(plain_line(&Progress { total: None, ..progress }), "pulling journal: 3");
    }

    /// Goal: the log of a nightly job stays readable: a line at the beginning, one at the end, and few in between.
    #[test]
    fn lines_are_few() {
        let clock = Arc::new(crate::clock::ManualClock::default());
        let mut view = ProgressView { clock: clock.clone(), bar: None, last_line: None, shown: None };
        let mut due =
            |what: &str, done, total| view.is_due(&Progress { what: what.into(), done, total: Some(total) });
        assert!(due("copying", 0, 0), "it begins");
        assert!((0..100).all(|_| !due("copying", 0, 0)), "files too small to count");
        assert!(due("reading back", 0, 3) && !due("reading back", 1, 3));
        clock.advance(LINE_INTERVAL);
        assert!(due("reading back", 2, 3) && due("reading back", 3, 3) && !due("reading back", 3, 3));
    }
}
