//! The result of one run: what was asked, what was measured, whether it can be believed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// What was asked.
    pub options: Options,
    /// Where it was run.
    pub host: HostInfo,
    /// From the first connect to the last join.
    pub connected_in_s: f64,
    /// Length of the measured time.
    pub measured_s: f64,
    /// In the measured time.
    pub measured: Counters,
    /// In the whole run, drained.
    pub total: Counters,
    /// Busiest generator thread in the measured time, as a share of its CPU.
    pub generator_busy: f64,
    /// Largest share of the measured time that a generator thread waited for a CPU.
    pub generator_waited: f64,
    /// Percentiles, in microseconds.
    pub durations: BTreeMap<String, DurationSummary>,
    /// The same as HdrHistogram V2, base64.
    pub histograms: BTreeMap<String, String>,
    /// The server's program, when it is known.
    #[serde(default)]
    pub program: Option<ProgramInfo>,
    /// The server's process, when it is known.
    pub server: Option<ServerFigures>,
    /// The server's process in the measured time.
    pub server_sample: Option<ProcessSample>,
    /// What a Roomring told about the measured time: counters by how much they grew, the rest as it was at its end.
    #[serde(default)]
    pub metrics: Option<Metrics>,
    /// Of these, what grew with the work, per unit of it: `submissions`, `operations`, `turns`, `hops` …
    #[serde(default)]
    pub per_unit: BTreeMap<String, f64>,
    /// What a floor server did in the measured time.
    pub floor: Option<FloorCounters>,
    /// What storms cost.
    #[serde(default)]
    pub storm: Option<StormFigures>,
    /// What the server still counted when all clients had gone.
    pub left_behind: Option<String>,
    /// Whether it can be believed.
    pub verdict: Verdict,
    /// Plain sentences about what went wrong.
    pub complaints: Vec<String>,
    /// How it went over time.
    #[serde(default)]
    pub series: Vec<Sample>,
}

/// Whether a run can be believed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// No reason against it.
    pub valid: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// Worth knowing.
    pub notes: Vec<String>,
}

/// What a unit of a scenario's work is called, and what counts it.
#[must_use]
pub fn unit_of(scenario: Scenario) -> (&'static str, fn(&Counters) -> u64) {
    match scenario {
        Scenario::Echo { .. } => ("echo", |counters| counters.delivered),
        Scenario::Churn => ("cycle", |counters| counters.cycles),
        Scenario::Storm(_) => ("reconnect", |counters| counters.returned),
        Scenario::Idle | Scenario::Fanout { .. } | Scenario::Soak(_) | Scenario::Mixed(_) => {
            ("delivery", |counters| counters.delivered)
        }
    }
}

/// The plural of a unit of work.
#[must_use]
pub fn plural(unit: &str) -> String {
    match unit.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if unit.ends_with("ho") => format!("{unit}es"),
        None => format!("{unit}s"),
    }
}

impl Outcome {
    /// Units of work in the measured time, and what they are called.
    #[must_use]
    pub fn work(&self) -> (u64, &'static str) {
        let (unit, count) = unit_of(self.options.scenario);
        (count(&self.measured), unit)
    }
}

/// Figures of the server's process, per unit of work: a delivery, an echo, a cycle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerFigures {
    /// Share of one CPU in the measured time.
    pub busy: f64,
    /// Share of its CPU time spent in the kernel.
    pub system_share: f64,
    /// Units of work per CPU-second.
    pub per_cpu_second: f64,
    /// CPU time per unit, in nanoseconds.
    pub cpu_ns: f64,
    /// Its user part.
    pub user_ns: f64,
    /// Its kernel part.
    pub system_ns: f64,
    /// Context switches per 1,000 units.
    pub switches_per_1000: f64,
    /// CPU time per connection and second, in microseconds.
    pub cpu_us_per_connection_second: f64,
    /// Memory before the first client, with all of them joined, and at the end of the measured time.
    pub memory: [Option<MemorySample>; 3],
    /// Private user-space memory per connection, in bytes: all joined, and at the end of the measured time.
    pub private_per_connection: [f64; 2],
    /// The same by the proportional share of what the process maps (PSS).
    #[serde(default)]
    pub pss_per_connection: [f64; 2],
    /// Kernel slab per connection, both ends when they share this host, in bytes.
    pub slab_per_connection: f64,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStage {
    /// Clients connect and join.
    Connecting,
    /// Nothing; memory is read at the end of it.
    Settling,
    /// Load, not recorded.
    Warming,
    /// Load, recorded.
    Measuring,
    /// What is under way arrives.
    Draining,
}

/// One interval. Rates are per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Its end, in seconds since the first connect.
    pub at_s: f64,
    /// Its length, in seconds.
    pub seconds: f64,
    /// What the run was doing at its end.
    pub stage: RunStage,
    /// Clients connected and joined at its end.
    pub ready: u64,
    /// Publishes.
    pub published: f64,
    /// Units of work: deliveries, echoes, cycles.
    pub done: f64,
    /// Median latency, in microseconds; none when nothing came.
    pub p50: Option<f64>,
    /// 99 % were at or below.
    pub p99: Option<f64>,
    /// 99.9 % were at or below.
    pub p999: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// CPUs that the generator's threads used, all together.
    pub generator_cpus: f64,
    /// CPUs that the server used, when its process is known.
    pub server_cpus: Option<f64>,
    /// The server's resident memory at the end, in bytes.
    pub server_resident: Option<u64>,
}
