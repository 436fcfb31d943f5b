//! Owns the cost of storms, computed from the counters of all generator processes. Never counts anything itself.

use serde::{Deserialize, Serialize};

use crate::measure::counters::Counters;

/// Cost of the storms of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StormFigures {
    /// Number of storms: the mean over the generator's processes, where they come at the same times.
    pub storms: f64,
    /// Reconnected clients in all storms.
    pub returned: u64,
    /// CPU use of the generator's threads during storms, as a share of a CPU.
    pub generator_busy: f64,
    /// CPU use of the server during storms, as a share of a CPU; `None` if its process is unknown.
    pub server_busy: Option<f64>,
    /// CPU time of the server per reconnect, in microseconds: its CPU time during storms beyond the cost of
    /// publications, which is measured outside of storms. `None` if its process is unknown, or if the publications hide
    /// the reconnects.
    pub server_us_per_reconnect: Option<f64>,
}

impl StormFigures {
    /// Computes the cost from the counters of the measured time and of the whole run, and from the server's CPU time in
    /// the measured time.
    #[must_use]
    pub fn of(
        measured: &Counters,
        total: &Counters,
        processes: usize,
        measured_s: f64,
        server_cpu_ns: Option<u64>,
    ) -> Self {
        let processes = processes.max(1) as f64;
        let share = |ns: u64| if total.storm_ns == 0 { 0.0 } else { ns as f64 / total.storm_ns as f64 };
        let calm = server_cpu_ns.map(|cpu_ns| {
            let calm_ns = measured_s * 1e9 - measured.storm_ns as f64 / processes;
            let cpu_ns = cpu_ns as f64 - measured.storm_server_ns as f64 / processes;
            if calm_ns > 0.0 { (cpu_ns / calm_ns).max(0.0) } else { 0.0 }
        });
        let per_reconnect = |calm: f64| {
            let beyond = (total.storm_server_ns as f64 - calm * total.storm_ns as f64) / processes;
            (beyond > 0.0 && total.returned > 0).then(|| beyond / 1e3 / total.returned as f64)
        };
        StormFigures {
            storms: total.storms as f64 / processes,
            returned: total.returned,
            generator_busy: share(total.storm_cpu_ns),
            server_busy: server_cpu_ns.map(|_| share(total.storm_server_ns)),
            server_us_per_reconnect: calm.and_then(per_reconnect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reconnect_costs_the_cpu_time_beyond_publications() {
        // Two processes, one storm of 1 s in 11 s. The server uses 0.1 of a CPU in the calm and 0.6 in the storm.
        let counters = Counters {
            storms: 2,
            returned: 1_000,
            storm_ns: 2_000_000_000,
            storm_cpu_ns: 1_000_000_000,
            storm_server_ns: 1_200_000_000,
            ..Counters::default()
        };
        let figures = StormFigures::of(&counters, &counters, 2, 11.0, Some(1_600_000_000));
        assert!((figures.storms - 1.0).abs() < 1e-9);
        assert!((figures.generator_busy - 0.5).abs() < 1e-9);
        assert!(figures.server_busy.is_some_and(|busy| (busy - 0.6).abs() < 1e-9));
        assert!(figures.server_us_per_reconnect.is_some_and(|us| (us - 500.0).abs() < 1e-6), "{figures:?}");
        assert_eq!(StormFigures::of(&counters, &counters, 2, 11.0, None).server_us_per_reconnect, None);
    }
}
