//! Owns time as plain values. Never reads a clock: `io::clock` does, and the simulation makes its own.

/// One reading of both clocks, taken at the start of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic microseconds since the process started, for all deadlines and durations.
    pub mono_us: u64,
    /// Wall clock in Unix milliseconds, which clients see as `at`. May jump; never used for deadlines.
    pub unix_ms: u64,
}

impl Now {
    /// Monotonic milliseconds since the process started.
    #[must_use]
    pub const fn mono_ms(self) -> u64 {
        self.mono_us / 1_000
    }
}
