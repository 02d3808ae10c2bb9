//! Counters, gauges and histograms, and the text in which Prometheus reads them (exposition format 0.0.4).
//!
//! Counting is one or two relaxed atomic additions: nothing is allocated, locked or formatted until somebody asks. So
//! a program keeps its metrics in a `static`, as it does its log.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Goes up only.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// At zero.
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// One more, until what is returned is dropped.
    pub fn hold(&self) -> Held<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    /// Where it stands.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of what a gauge counts; given back when dropped.
#[derive(Debug)]
pub struct Held<'g>(&'g Gauge);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counters told apart by one label, whose values are known beforehand: no label can be made up by a peer.
#[derive(Debug)]
pub struct Counters<const N: usize> {
    label: &'static str,
    values: [&'static str; N],
    counters: [Counter; N],
}

impl<const N: usize> Counters<N> {
    /// A counter for each value of `label`.
    pub const fn new(label: &'static str, values: [&'static str; N]) -> Self {
        Self { label, values, counters: [const { Counter::new() }; N] }
    }

    /// The counter of the `index`-th value; the last one's when there are not so many.
    pub fn at(&self, index: usize) -> &Counter {
        &self.counters[index.min(N - 1)]
    }
}

/// How often a value fell below each of some bounds.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [u64; N],
    /// What one of the shown unit has in the counted one: a million, when microseconds are shown as seconds.
    per_unit: u32,
    buckets: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// `bounds` ascend; they are counted in `per_unit`-ths of the unit shown.
    pub const fn new(bounds: [u64; N], per_unit: u32) -> Self {
        Self {
            bounds,
            per_unit,
            buckets: [const { AtomicU64::new(0) }; N],
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts `value`.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        bucket.map_or(&self.above, |at| &self.buckets[at]).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a duration, in a histogram of microseconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn shown(&self, raw: u64) -> f64 {
        // Past 2^53 a sum loses its last digits, which nobody will miss.
        #[expect(clippy::cast_precision_loss, reason = "as said")]
        let raw = raw as f64;
        raw / f64::from(self.per_unit)
    }
}

/// What a family's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// Text for Prometheus, family by family.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Media type of the text.
    pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.0, name }
    }

    /// A family of one counter.
    pub fn counter(&mut self, name: &'static str, help: &str, counter: &Counter) {
        self.family(name, Kind::Counter, help).sample(&[], counter.value());
    }

    /// A family of one gauge.
    pub fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// A family of counters told apart by a label.
    pub fn counters<const N: usize>(&mut self, name: &'static str, help: &str, counters: &Counters<N>) {
        let mut family = self.family(name, Kind::Counter, help);
        for (value, counter) in counters.values.iter().zip(&counters.counters) {
            family.sample(&[(counters.label, value)], counter.value());
        }
    }

    /// A family of one histogram.
    pub fn histogram<const N: usize>(&mut self, name: &'static str, help: &str, histogram: &Histogram<N>) {
        let family = self.family(name, Kind::Histogram, help);
        let sum = histogram.shown(histogram.sum.load(Ordering::Relaxed));
        let mut count = 0;
        for (bound, bucket) in histogram.bounds.iter().zip(&histogram.buckets) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(family.text, "{name}_bucket{{le=\"{}\"}} {count}", histogram.shown(*bound));
        }
        count += histogram.above.load(Ordering::Relaxed);
        let _ = writeln!(
            family.text,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}"
        );
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// The samples of one family.
#[derive(Debug)]
pub struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_as_prometheus_wants_it() {
        let counters = Counters::new("reason", ["full", "other"]);
        counters.at(0).add(2);
        counters.at(7).add(1);
        let gauge = Gauge::new();
        let _held = gauge.hold();
        drop(gauge.hold());
        let mut out = Exposition::default();
        out.counters("refusals_total", "What was\nrefused.", &counters);
        out.gauge("sessions", "Open \\ now.", gauge.value());
        out.family("waiting", Kind::Gauge, "Odd labels.").sample(&[("a", "x\"\\\n"), ("b", "")], 0.5);
        let expected = "# HELP refusals_total What was\\nrefused.\n# TYPE refusals_total counter\n\
             refusals_total{reason=\"full\"} 2\nrefusals_total{reason=\"other\"} 1\n\
             # HELP sessions Open \\\\ now.\n# TYPE sessions gauge\nsessions 1\n\
             # HELP waiting Odd labels.\n# TYPE waiting gauge\nwaiting{a=\"x\\\"\\\\\\n\",b=\"\"} 0.5\n";
        assert_eq!(out.finish(), expected);
    }

    /// Goal: buckets add up, each value is in the bucket whose bound it does not exceed, units are converted.
    #[test]
    fn a_histogram_counts_cumulatively() {
        let histogram = Histogram::new([500, 1_000, 1_000_000], 1_000_000);
        histogram.observe(500);
        histogram.observe(501);
        histogram.observe_duration(Duration::from_secs(2));
        let mut out = Exposition::default();
        out.histogram("commit_seconds", "Commits.", &histogram);
        let text = out.finish();
        let samples: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            samples,
            [
                "commit_seconds_bucket{le=\"0.0005\"} 1",
                "commit_seconds_bucket{le=\"0.001\"} 2",
                "commit_seconds_bucket{le=\"1\"} 2",
                "commit_seconds_bucket{le=\"+Inf\"} 3",
                "commit_seconds_sum 2.001001",
                "commit_seconds_count 3",
            ]
        );
    }
}
