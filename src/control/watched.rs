//! What the control address shows of the process: the cores' counters, and the parts of the server beside them. Reads
//! everything when it is asked for; keeps no history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::metrics::MetricType;

use crate::base::breaker::BreakerState;
use crate::base::counters::CoreCounters;
use crate::io::clock;

/// A part of the server beside the cores, as `/ready` and `/metrics` show it. Asked at any time, so it answers at once.
pub trait Observed: Send + Sync {
    /// Whether the part works; `None` where readiness does not depend on it.
    fn readiness(&self) -> Option<Readiness> {
        None
    }

    /// Its circuit breakers, each by the target that it protects.
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
    /// What keeps it from working, in plain words.
    pub fault: Option<String>,
}

/// A metric of one part, with its values of now. Without a value it is left out.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name, without the `_total` of a counter.
    pub name: &'static str,
    /// Its description.
    pub help: &'static str,
    pub(super) kind: MetricType,
    /// A label and its value, and the number.
    pub(super) samples: Vec<(Option<(&'static str, &'static str)>, u64)>,
}

impl Metric {
    /// A number that only grows.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: MetricType::Counter, samples: vec![(None, value)] }
    }

    /// Numbers that only grow, by the values of one label.
    #[must_use]
    pub fn counters(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: &[(&'static str, u64)],
    ) -> Self {
        let samples = values.iter().map(|(value, number)| (Some((label, *value)), *number)).collect();
        Self { name, help, kind: MetricType::Counter, samples }
    }

    /// A number that goes up and down, where there is one.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: Option<u64>) -> Self {
        Self { name, help, kind: MetricType::Gauge, samples: value.map(|value| (None, value)).into_iter().collect() }
    }
}

/// What is watched of the process.
pub struct Watched {
    /// This machine's name.
    pub node: String,
    /// One for each core, in their order.
    pub cores: Arc<[Arc<CoreCounters>]>,
    /// Whether the process is about to end: not ready for traffic.
    pub draining: AtomicBool,
    /// The parts beside the cores.
    pub parts: Vec<Arc<dyn Observed>>,
}

impl Watched {
    /// Of a process that is not draining.
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
