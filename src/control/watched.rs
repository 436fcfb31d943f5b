//! The state that the control address shows: the cores' counters, and the server's parts beside the cores. Keeps no
//! history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::breaker::BreakerState;
use crate::base::counters::{BOUNDS_US, CoreCounters, Counter, Histogram};
use crate::io::clock;

/// A part of the server, as `/ready` and `/metrics` show it. Every method returns at once.
pub trait Observed: Send + Sync {
    /// Whether the part works; `None` if the server's readiness does not depend on it.
    fn readiness(&self) -> Option<Readiness> {
        None
    }

    /// Its circuit breakers, each with the name of its target.
    fn breakers(&self) -> Vec<(&'static str, BreakerState)> {
        Vec::new()
    }

    /// Its own metrics.
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }
}

/// Whether a part of the server works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Its name in `/ready`.
    pub part: &'static str,
    /// Why it does not work; `None` if it does.
    pub fault: Option<String>,
}

/// A metric of one part with its current values. Left out if it has none.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name, without the `_total` of a counter.
    pub name: &'static str,
    /// Its description.
    pub help: &'static str,
    pub(super) values: MetricValues,
}

/// Label with its value, and the number.
pub(super) type Sample = (Option<(&'static str, &'static str)>, u64);

/// The current values of a metric.
#[derive(Clone, Debug)]
pub(super) enum MetricValues {
    Counter(Vec<Sample>),
    Gauge(Vec<Sample>),
    /// Sum in seconds, and buckets (upper bound in seconds, samples; not cumulative).
    Histogram(f64, Vec<(f64, u64)>),
}

impl Metric {
    /// A counter.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, values: MetricValues::Counter(vec![(None, value)]) }
    }

    /// A counter with one label.
    #[must_use]
    pub fn counters(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: &[(&'static str, u64)],
    ) -> Self {
        let samples = values.iter().map(|(value, number)| (Some((label, *value)), *number)).collect();
        Self { name, help, values: MetricValues::Counter(samples) }
    }

    /// A histogram of times, in seconds.
    #[must_use]
    pub fn histogram(name: &'static str, help: &'static str, histogram: &Histogram) -> Self {
        let (sum, buckets) = read_histogram(histogram);
        Self { name, help, values: MetricValues::Histogram(sum, buckets) }
    }

    /// A gauge, left out without a value.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: Option<u64>) -> Self {
        let samples = value.map(|value| (None, value)).into_iter().collect();
        Self { name, help, values: MetricValues::Gauge(samples) }
    }
}

/// Sum in seconds and buckets (upper bound in seconds, samples; not cumulative) of a histogram.
pub(super) fn read_histogram(histogram: &Histogram) -> (f64, Vec<(f64, u64)>) {
    let bounds = BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
    let buckets = bounds.zip(histogram.buckets.iter().map(Counter::get)).collect();
    (histogram.sum_us.get() as f64 / 1e6, buckets)
}

/// The state that the control address shows.
pub struct Watched {
    /// This machine's name.
    pub node: String,
    /// The counters of each core, by its number.
    pub cores: Arc<[Arc<CoreCounters>]>,
    /// Whether the server drains: it is not ready for traffic then.
    pub draining: AtomicBool,
    /// The parts beside the cores.
    pub parts: Vec<Arc<dyn Observed>>,
}

impl Watched {
    /// The state of a server that is not draining.
    #[must_use]
    pub fn new(node: String, cores: Arc<[Arc<CoreCounters>]>, parts: Vec<Arc<dyn Observed>>) -> Self {
        Self { node, cores, draining: AtomicBool::new(false), parts }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Since the process began.
pub(super) fn uptime() -> Duration {
    Duration::from_micros(clock::now().mono_us)
}
