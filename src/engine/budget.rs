//! One core's share of the memory budget: what outsiders can make grow is charged here (queued frames, partial messages,
//! history). Says whether it is used up; what goes first is decided by whoever holds it.

/// The budget is nearly used up when less than one in so many parts is left.
const NEAR_DIVISOR: u64 = 4;

/// Bytes charged against a bound.
#[derive(Debug)]
pub struct Budget {
    used: u64,
    max: u64,
}

impl Budget {
    /// Nothing charged.
    #[must_use]
    pub const fn new(max: u64) -> Self {
        Self { used: 0, max }
    }

    /// Another bound.
    pub fn set_max(&mut self, max: u64) {
        self.max = max;
    }

    /// Charges.
    pub fn charge(&mut self, bytes: usize) {
        self.used += bytes as u64;
    }

    /// Gives back what was charged before.
    pub fn release(&mut self, bytes: usize) {
        debug_assert!(self.used >= bytes as u64, "released more than was charged");
        self.used = self.used.saturating_sub(bytes as u64);
    }

    /// Bytes charged.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Whether more is charged than the bound.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.used > self.max
    }

    /// Whether most of the bound is used: there is no more patience with slow readers.
    #[must_use]
    pub const fn is_near(&self) -> bool {
        self.used > self.max - self.max / NEAR_DIVISOR
    }

    /// The bound.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }
}
