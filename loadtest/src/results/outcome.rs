//! Owns the result of one run: options, measurements, verdict. Never computes or shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::durable::DurableFigures;
use super::storm::StormFigures;
use crate::measure::counters::Counters;
use crate::measure::histogram::DurationSummary;
use crate::measure::host::{HostInfo, MemorySample, ProcessSample, ProgramInfo};
use crate::measure::metrics::Metrics;
use crate::plan::Scenario;
use crate::plan::options::Options;
use crate::server::floor::FloorCounters;

/// The result of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Version of the generator.
    pub loadtest: String,
    /// The options.
    pub options: Options,
    /// The host.
    pub host: HostInfo,
    /// Seconds from the first connect to the last join.
    pub connected_in_s: f64,
    /// Length of the measured time, in seconds.
    pub measured_s: f64,
    /// Counters of the measured time.
    pub measured: Counters,
    /// Counters of the whole run, after draining.
    pub total: Counters,
    /// CPU use of the busiest generator thread in the measured time, as a share.
    pub generator_busy: f64,
    /// Longest wait of a generator thread for a CPU, as a share of the measured time.
    pub generator_waited: f64,
    /// Percentiles by name, in microseconds.
    pub durations: BTreeMap<String, DurationSummary>,
    /// The same histograms in HdrHistogram V2 format, base64.
    pub histograms: BTreeMap<String, String>,
    /// The server's program, if known.
    #[serde(default)]
    pub program: Option<ProgramInfo>,
    /// Figures of the server's process, if known.
    pub server: Option<ServerFigures>,
    /// CPU time and context switches of the server's process in the measured time.
    pub server_sample: Option<ProcessSample>,
    /// Metrics of Roomring: growth of counters in the measured time, other values at its end.
    #[serde(default)]
    pub metrics: Option<Metrics>,
    /// Growth of some of these metrics per unit of work: `submissions`, `operations`, `turns`, `hops` …
    #[serde(default)]
    pub per_unit: BTreeMap<String, f64>,
    /// Counters of a floor server in the measured time.
    pub floor: Option<FloorCounters>,
    /// Cost of storms.
    #[serde(default)]
    pub storm: Option<StormFigures>,
    /// CPU use of the server's threads in the measured time, by name, as a share of a CPU.
    #[serde(default)]
    pub threads: BTreeMap<String, f64>,
    /// Kills, restarts and writes of `durable`.
    #[serde(default)]
    pub durable: Option<DurableFigures>,
    /// Counts of the server that were not zero after all clients had left.
    pub left_behind: Option<String>,
    /// Whether the run is valid.
    pub verdict: Verdict,
    /// Descriptions of errors.
    pub complaints: Vec<String>,
    /// Samples over time.
    #[serde(default)]
    pub series: Vec<Sample>,
}

/// Whether a run is valid.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// True without reasons against it.
    pub valid: bool,
    /// Reasons against it.
    pub reasons: Vec<String>,
    /// Notes.
    pub notes: Vec<String>,
}

/// The name of a scenario's unit of work, and its counter.
#[must_use]
pub fn unit_of(scenario: Scenario) -> (&'static str, fn(&Counters) -> u64) {
    match scenario {
        Scenario::Echo { .. } => ("echo", |counters| counters.delivered),
        Scenario::Churn => ("cycle", |counters| counters.cycles),
        Scenario::Storm(_) => ("reconnect", |counters| counters.returned),
        Scenario::Durable(_) => ("publish", |counters| counters.expected),
        Scenario::Idle | Scenario::Fanout { .. } | Scenario::Soak(_) | Scenario::Mixed(_) | Scenario::Chat(_) => {
            ("delivery", |counters| counters.delivered)
        }
    }
}

/// The plural of a unit of work.
#[must_use]
pub fn plural(unit: &str) -> String {
    match unit.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if unit.ends_with("ho") || unit.ends_with("sh") => format!("{unit}es"),
        None => format!("{unit}s"),
    }
}

impl Outcome {
    /// Units of work in the measured time, and their name.
    #[must_use]
    pub fn work(&self) -> (u64, &'static str) {
        let (unit, count) = unit_of(self.options.scenario);
        (count(&self.measured), unit)
    }
}

/// Figures of the server's process. A unit of work is a delivery, an echo or a cycle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerFigures {
    /// CPU use in the measured time, as a share of one CPU.
    pub busy: f64,
    /// Share of CPU time spent in the kernel.
    pub system_share: f64,
    /// Units of work per CPU-second.
    pub per_cpu_second: f64,
    /// CPU time per unit, in nanoseconds.
    pub cpu_ns: f64,
    /// The user part, in nanoseconds.
    pub user_ns: f64,
    /// The kernel part, in nanoseconds.
    pub system_ns: f64,
    /// Context switches per 1,000 units.
    pub switches_per_1000: f64,
    /// CPU time per connection and second, in microseconds.
    pub cpu_us_per_connection_second: f64,
    /// Memory before the first client, with all clients joined, and at the end of the measured time.
    pub memory: [Option<MemorySample>; 3],
    /// Private user-space memory per connection in bytes, with all clients joined and at the end of the measured time.
    pub private_per_connection: [f64; 2],
    /// The same for the proportional set size (PSS).
    #[serde(default)]
    pub pss_per_connection: [f64; 2],
    /// Kernel slab per connection in bytes, for both ends if both are on this host.
    pub slab_per_connection: f64,
}

/// The stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStage {
    /// Clients connect and join.
    Connecting,
    /// No load. Memory is read at the end.
    Settling,
    /// Load, not measured.
    Warming,
    /// Load, measured.
    Measuring,
    /// Messages in flight arrive.
    Draining,
    /// Clients read back what the server has kept.
    Checking,
}

/// A sample of one interval. Rates are per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// End of the interval, in seconds since the first connect.
    pub at_s: f64,
    /// Length of the interval, in seconds.
    pub seconds: f64,
    /// Stage at the end of the interval.
    pub stage: RunStage,
    /// Connected and joined clients at the end of the interval.
    pub ready: u64,
    /// Publishes.
    pub published: f64,
    /// Units of work: deliveries, echoes, cycles.
    pub done: f64,
    /// Median latency in microseconds; `None` without deliveries.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// Maximum.
    pub max: Option<f64>,
    /// CPUs used by all threads of the generator.
    pub generator_cpus: f64,
    /// CPUs used by the server, if its process is known.
    pub server_cpus: Option<f64>,
    /// Resident memory of the server at the end of the interval, in bytes.
    pub server_resident: Option<u64>,
}
