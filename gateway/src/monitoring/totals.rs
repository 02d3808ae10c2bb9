//! The counters whose course the console shows.

use super::Metrics;
use super::metrics::REFUSALS;

/// Where the counters stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages acknowledged.
    pub accepted: u64,
    /// Their content, in octets.
    pub accepted_bytes: u64,
    /// Messages sent to archivers.
    pub served: u64,
    /// Octets of messages sent whole.
    pub served_bytes: u64,
    /// Messages that archivers have deleted.
    pub deleted: u64,
    /// Refusals to senders, by reason.
    pub refusals: [u64; REFUSALS.len()],
}

impl Totals {
    /// The reasons for refusals, in the order of [`Totals::refusals`].
    pub const REASONS: [&str; REFUSALS.len()] = REFUSALS;
}

impl Metrics {
    /// Where the counters stand now.
    pub fn totals(&self) -> Totals {
        Totals {
            accepted: self.accepted.value(),
            accepted_bytes: self.content_bytes.value(),
            served: self.served.value(),
            served_bytes: self.served_bytes.value(),
            deleted: self.deleted.value(),
            refusals: std::array::from_fn(|at| self.refusals.at(at).value()),
        }
    }
}
