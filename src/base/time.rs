//! Time as plain values. Never reads a clock: `io::clock` does, and the simulation makes its own.

/// One reading of both clocks, taken once at the start of a turn and handed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic microseconds since the process started. All deadlines and durations use it.
    pub mono_us: u64,
    /// Wall clock in Unix milliseconds: what clients see as `at`. May jump; never compared with a deadline.
    pub unix_ms: u64,
}

impl Now {
    /// Monotonic milliseconds since the process started.
    #[must_use]
    pub const fn mono_ms(self) -> u64 {
        self.mono_us / 1_000
    }
}
