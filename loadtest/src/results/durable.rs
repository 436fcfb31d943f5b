//! Owns the figures of `durable` that are not counters or durations: kills and writes. Never measures them.

use serde::{Deserialize, Serialize};

/// One kill and the start after it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KillFigures {
    /// Time from the end of the killed process until its address was free, in seconds.
    pub freed_s: f64,
    /// Time from the start of the process until it was ready, in seconds.
    pub ready_s: f64,
    /// Bytes of the store's files when it started.
    pub store_bytes: u64,
}

/// Kills and writes of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurableFigures {
    /// The kills, in order.
    pub kills: Vec<KillFigures>,
    /// Bytes written to storage per acknowledged publish in the measured time, if known.
    pub written_per_publish: Option<f64>,
}

impl DurableFigures {
    /// The figures of these kills, and of `written` bytes for `acknowledged` publishes.
    #[must_use]
    pub fn of(kills: Vec<KillFigures>, written: Option<u64>, acknowledged: u64) -> Self {
        let written = written.filter(|_| acknowledged > 0);
        DurableFigures { kills, written_per_publish: written.map(|bytes| bytes as f64 / acknowledged as f64) }
    }

    /// The slowest start.
    #[must_use]
    pub fn slowest(&self) -> Option<KillFigures> {
        self.kills.iter().copied().max_by(|a, b| a.ready_s.total_cmp(&b.ready_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_start_counts() {
        let kill = |ready_s, store_bytes| KillFigures { freed_s: 0.0, ready_s, store_bytes };
        let figures = DurableFigures::of(vec![kill(0.3, 1), kill(1.5, 2), kill(0.4, 3)], Some(3_000), 10);
        assert_eq!((figures.slowest(), figures.written_per_publish), (Some(kill(1.5, 2)), Some(300.0)));
        assert_eq!(DurableFigures::of(Vec::new(), Some(3_000), 0), DurableFigures::default());
    }
}
