//! `make bench`: Postern beside its peers and beside what the disk allows, as ratios from one run.
//!
//! | module | what |
//! |---|---|
//! | [`intake`] | SMTP intake: ours, Postfix's hold queue, a raw group commit |
//! | [`download`] | POP3S download: ours and Dovecot |
//! | [`imap`] | IMAP pull: the archiver's source and mbsync |
//! | [`pull`] | pulls into an archive: ours, mbsync, mpop, getmail6, a raw POP3S reader |
//! | [`proxy`] | mail clients through the recording proxy and straight to the same servers |
//! | [`console`] | the console's answers, and what it costs intake |
//! | [`memory`] | what the gateway's process takes |
//! | [`search`] | archive, seal and index a Maildir, and search it: ours, mu and notmuch |
//! | [`archive_scale`] | whether an archive's cost grows with what is in it |
//! | [`scale`] | whether cost grows with what waits |
//! | [`load`], [`reader`] | the generator of SMTP load, the raw POP3 reader |
//! | `words`, `anonymous` | text that is like text; memory of a process that no file stands behind |
//! | [`raw_disk`] | what the disk does without any mail program |
//!
//! Promises
//! - Every figure is measured in rounds in which the peers take turns, so that drift of the machine meets all of them.
//! - All data is on one disk, below the directory of [`Plan::dir`].
//! - A peer that is missing is named, never silently left out.

mod anonymous;
pub mod archive_scale;
pub mod console;
pub mod download;
pub mod imap;
pub mod intake;
pub mod load;
pub mod memory;
pub mod proxy;
pub mod pull;
pub mod raw_disk;
pub mod reader;
pub mod scale;
pub mod search;
mod words;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::foreign;

/// How much is measured, and where the data lies.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Turns that each peer takes per row.
    pub rounds: usize,
    /// How long one turn of intake lasts, its warm-up not counted.
    pub turn: Duration,
    /// How many messages one download takes.
    pub download_messages: usize,
    /// A directory on a real disk.
    pub dir: PathBuf,
    /// Sessions with long messages at once.
    pub memory_sessions: usize,
    /// The most messages that wait in the spool.
    pub scale_messages: usize,
    /// Messages that are archived, indexed and searched.
    pub search_messages: usize,
    /// Mailboxes that the console shows.
    pub console_mailboxes: usize,
    /// Measures only rows whose name holds this.
    pub only: Option<String>,
}

impl Plan {
    /// The plan that `make bench` follows.
    pub fn full(dir: PathBuf) -> Self {
        Self {
            rounds: 3,
            turn: Duration::from_secs(2),
            download_messages: 2000,
            dir,
            memory_sessions: 1000,
            scale_messages: 1_000_000,
            search_messages: 25_000,
            console_mailboxes: 1000,
            only: None,
        }
    }

    /// One round of short turns: shows that everything runs, the figures are rough.
    pub fn quick(dir: PathBuf) -> Self {
        Self {
            rounds: 1,
            turn: Duration::from_millis(800),
            download_messages: 1000,
            dir,
            memory_sessions: 50,
            scale_messages: 10_000,
            search_messages: 1000,
            console_mailboxes: 20,
            only: None,
        }
    }

    /// Whether the row of that name is asked for.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.only.as_ref().is_none_or(|part| row.contains(part.as_str()))
    }
}

/// Rates of one row, messages per second, one for each round.
#[derive(Debug, Clone, Default)]
pub struct Rates(Vec<f64>);

impl Rates {
    /// Adds the rate of a round.
    pub fn push(&mut self, rate: f64) {
        self.0.push(rate);
    }

    fn sorted(&self) -> Vec<f64> {
        let mut rates = self.0.clone();
        rates.sort_by(f64::total_cmp);
        rates
    }

    /// The median; the mean of the middle two when their number is even; not a number without any.
    pub fn median(&self) -> f64 {
        let rates = self.sorted();
        let middle = rates.len() / 2;
        match (rates.get(middle), rates.len() % 2) {
            (Some(rate), 1) => *rate,
            (Some(rate), _) => (rates[middle - 1] + rate) / 2.0,
            (None, _) => f64::NAN,
        }
    }
}

/// `median (min–max)`
impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = self.sorted();
        match (rates.first(), rates.last()) {
            (Some(min), Some(max)) => f.pad(&format!("{:.0} ({min:.0}–{max:.0})", self.median())),
            _ => f.pad("-"),
        }
    }
}

/// Says on stderr what goes on.
pub(crate) fn progress(what: &str) {
    eprintln!("  {what}");
}

/// Brings to disk what earlier turns wrote and removed, so that it burdens no later one.
pub(crate) fn settle() -> Result<()> {
    foreign::run(&mut Command::new("sync")).map(drop)
}

/// A rate from a count and the time it took.
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::Rates;

    /// Goal: the printed figure is the median with its spread.
    /// Method: rates in no order, odd and even in number, and none.
    #[test]
    fn rates_show_the_median_and_the_spread() {
        assert_eq!(Rates(vec![30.0, 10.0, 20.0]).to_string(), "20 (10–30)");
        assert_eq!(Rates(vec![30.0, 10.0]).to_string(), "20 (10–30)");
        assert_eq!(Rates::default().to_string(), "-");
    }
}
