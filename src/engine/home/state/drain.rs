//! The progress of a planned stop: how many connections have been told to reconnect, and how many should have been. Never
//! closes one.

use crate::base::ids::CoreId;

/// A drain that has begun.
#[derive(Debug)]
pub struct Drain {
    pub started_ms: u64,
    pub window_ms: u64,
    /// A successor takes new connections, so this core refuses none of those that it has.
    pub hands_over: bool,
    /// Connections at its start.
    pub total: u64,
    /// Connections that were told to go.
    pub told: u64,
    pub next_slot: u32,
}

impl Drain {
    /// How many connections should have been told by now.
    pub fn due(&self, now_ms: u64) -> u64 {
        let elapsed = now_ms.saturating_sub(self.started_ms);
        if elapsed >= self.window_ms { u64::MAX } else { self.total * elapsed / self.window_ms + 1 }
    }

    /// When the next connection is told to reconnect. Reconnects are spread over the time that the closes take, at least a
    /// second, each at its own millisecond: those of a core are the ones that leave its number as the remainder.
    pub fn after_ms(&self, core: CoreId, cores: u16) -> u64 {
        let (cores, core) = (u64::from(cores), u64::from(core.0));
        let total = self.total.max(1);
        let steps = (self.window_ms.max(1_000) / cores).max(total);
        100 + self.told * steps / total * cores + core
    }
}
