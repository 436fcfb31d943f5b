//! Owns the readings of the server during a run: its process, its memory, its metrics. Never starts a server.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::measure::host::{self, MemorySample, ProcessSample, ProgramInfo};
use crate::measure::metrics::Metrics;
use crate::measure::threads::ThreadTimes;
use crate::plan::options::Options;
use crate::results::outcome::ServerFigures;
use crate::server::floor::{self, FloorCounters};

/// A reading at one end of the measured time.
#[derive(Clone, Debug, Default)]
pub struct ServerReading {
    /// The server's process.
    pub process: Option<ProcessSample>,
    /// CPU time of its threads.
    pub threads: ThreadTimes,
    /// Bytes that it has written to files.
    pub written: Option<u64>,
    /// Metrics of Roomring.
    pub metrics: Option<Metrics>,
    /// Counters of a floor server.
    pub floor: Option<FloorCounters>,
}

impl ServerReading {
    /// Requests metrics or counters from the server, which costs it CPU. Does not read its process.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn ask(options: &Options) -> anyhow::Result<Self> {
        let metrics = options.control.map(Metrics::of).transpose()?;
        let floor = options.floor.map(floor::counters).transpose()?;
        Ok(ServerReading { metrics, floor, ..ServerReading::default() })
    }

    /// Reads the server's process, which costs the server nothing.
    pub fn look_at(&mut self, pid: u32) {
        self.process = ProcessSample::of(pid);
        self.threads = ThreadTimes::of(pid);
        self.written = host::written(pid);
    }

    /// The change since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &ServerReading) -> ServerReading {
        let process = earlier.process.as_ref().zip(self.process.as_ref());
        let metrics = earlier.metrics.as_ref().zip(self.metrics.as_ref());
        let floor = earlier.floor.as_ref().zip(self.floor.as_ref());
        ServerReading {
            process: process.map(|(from, to)| to.since(from)),
            threads: self.threads.since(&earlier.threads),
            written: earlier.written.zip(self.written).map(|(from, to)| to.saturating_sub(from)),
            metrics: metrics.map(|(from, to)| to.since(from)),
            floor: floor.map(|(from, to)| to.since(from)),
        }
    }
}

/// The server's program, with its version if it reports one.
///
/// # Errors
/// The server does not answer.
pub fn program(pid: Option<u32>, control: Option<SocketAddr>) -> anyhow::Result<Option<ProgramInfo>> {
    let version = control.map(Metrics::of).transpose()?.and_then(|metrics| metrics.version);
    let program = pid.and_then(ProgramInfo::of);
    Ok(match (program, version) {
        (None, None) => None,
        (program, version) => Some(ProgramInfo { version, ..program.unwrap_or_default() }),
    })
}

/// Counters of Roomring that are shown per unit of work, if it has them.
const PER_UNIT: [&str; 12] = [
    "submissions",
    "operations",
    "completions",
    "sends",
    "turns",
    "wakes",
    "hops",
    "hop_batches",
    "bytes_sent",
    "bytes_received",
    "allocations",
    "cpu_us",
];

/// Growth of the server's counters per unit of `work`, by name; empty without metrics.
#[must_use]
pub fn per_unit(metrics: Option<&Metrics>, work: u64) -> BTreeMap<String, f64> {
    let Some(metrics) = metrics.filter(|_| work > 0) else { return BTreeMap::new() };
    let told = |name: &&str| Some(((*name).to_owned(), *metrics.values.get(*name)? / work as f64));
    PER_UNIT.iter().filter_map(told).collect()
}

impl ServerFigures {
    /// The figures of a server that did `work` units in `measured_s` seconds for `connections` clients.
    #[must_use]
    pub fn of(
        change: &ServerReading,
        memory: [Option<MemorySample>; 3],
        work: u64,
        connections: u32,
        measured_s: f64,
    ) -> Option<Self> {
        let sample = change.process?;
        let (work, connections) = (work as f64, f64::from(connections));
        let per_unit = |value: f64| if work > 0.0 { value / work } else { 0.0 };
        let (ticks, cpu) = ((sample.user_ns + sample.system_ns).max(1) as f64, sample.cpu_ns as f64);
        let system_share = sample.system_ns as f64 / ticks;
        let [empty, full, loaded] = memory.map(Option::unwrap_or_default);
        let growth = |later: u64, earlier: u64| (later as f64 - earlier as f64) / connections;
        Some(ServerFigures {
            busy: cpu / 1e9 / measured_s,
            system_share,
            per_cpu_second: work / (cpu / 1e9).max(1e-9),
            cpu_ns: per_unit(cpu),
            user_ns: per_unit(cpu * (1.0 - system_share)),
            system_ns: per_unit(cpu * system_share),
            switches_per_1000: per_unit((sample.switches_voluntary + sample.switches_involuntary) as f64 * 1e3),
            cpu_us_per_connection_second: cpu / 1e3 / connections / measured_s,
            memory,
            private_per_connection: [growth(full.private, empty.private), growth(loaded.private, empty.private)],
            pss_per_connection: [growth(full.pss, empty.pss), growth(loaded.pss, empty.pss)],
            slab_per_connection: growth(full.slab, empty.slab),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_per_unit_of_work() {
        let metrics = |submissions: u64, deliveries: u64| {
            Metrics::parse(&format!(
                "# TYPE roomring_submissions_total counter\nroomring_submissions_total{{core=\"0\"}} {submissions}\n\
                 # TYPE roomring_deliveries_total counter\nroomring_deliveries_total{{core=\"0\"}} {deliveries}\n"
            ))
        };
        let process = |cpu_ns, system_ns, switches| ProcessSample {
            cpu_ns,
            user_ns: 10_000_000,
            system_ns,
            switches_voluntary: switches,
            switches_involuntary: 0,
        };
        let from = ServerReading {
            process: Some(process(0, 0, 5)),
            metrics: Some(metrics(10, 0)),
            written: Some(1_000),
            ..ServerReading::default()
        };
        let to = ServerReading {
            process: Some(process(40_000_000, 30_000_000, 55)),
            metrics: Some(metrics(60, 1_000)),
            written: Some(5_000),
            ..ServerReading::default()
        };
        let mut change = to.since(&from);
        assert_eq!(change.written, Some(4_000));
        change.process.as_mut().expect("read").user_ns = 10_000_000;
        let memory = |private| Some(MemorySample { private, pss: 2 * private, slab: 0, rss: 0 });
        let memory = [memory(1_000), memory(31_000), memory(61_000)];
        let figures = ServerFigures::of(&change, memory, 1_000, 100, 2.0).expect("a process");
        assert_eq!((figures.cpu_ns, figures.user_ns, figures.system_ns), (40_000.0, 10_000.0, 30_000.0));
        assert_eq!((figures.busy, figures.per_cpu_second, figures.switches_per_1000), (0.02, 25_000.0, 50.0));
        assert_eq!((figures.private_per_connection, figures.pss_per_connection), ([300.0, 600.0], [600.0, 1_200.0]));
        let told = per_unit(change.metrics.as_ref(), 1_000);
        assert_eq!(told.get("submissions"), Some(&0.05));
        assert_eq!(told.get("allocations"), None, "not reported");
        assert!(per_unit(change.metrics.as_ref(), 0).is_empty() && per_unit(None, 1_000).is_empty());
        assert!(ServerFigures::of(&ServerReading::default(), memory, 1, 1, 1.0).is_none());
    }
}
