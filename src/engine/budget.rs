//! One core's share of the memory budget. Everything that clients can make grow is charged here. Reports whether it is
//! used up; the callers decide what to free.
//!
//! There are three kinds of charge. *Standing* bytes stay until their owner releases them: connections, rooms,
//! memberships, users, idempotency keys, numberings. *History* is dropped to make room for them. *Passing* bytes are
//! freed by themselves or by shedding: queued frames, partial messages, hops. New standing things are refused before
//! they and history use the share of passing bytes ([`Budget::is_tight`]), so shedding always helps.

/// The share of the budget left to passing bytes: one in this many parts.
const RESERVE_DIVISOR: u64 = 8;

/// The budget is nearly used up when less than one in this many parts of the passing bytes' share is left.
const NEAR_DIVISOR: u64 = 4;

/// Bytes charged against a bound.
#[derive(Debug)]
pub struct Budget {
    used: u64,
    /// Standing bytes among `used`.
    standing: u64,
    /// History bytes among `used`.
    history: u64,
    max: u64,
}

impl Budget {
    /// Nothing charged.
    #[must_use]
    pub const fn new(max: u64) -> Self {
        Self { used: 0, standing: 0, history: 0, max }
    }

    /// Sets the bound.
    pub fn set_max(&mut self, max: u64) {
        self.max = max;
    }

    /// Charges passing bytes.
    pub fn charge(&mut self, bytes: usize) {
        self.used += bytes as u64;
    }

    /// Releases passing bytes charged before.
    pub fn release(&mut self, bytes: usize) {
        debug_assert!(self.used >= bytes as u64, "released more than was charged");
        self.used = self.used.saturating_sub(bytes as u64);
    }

    /// Charges standing bytes.
    pub fn charge_standing(&mut self, bytes: usize) {
        self.charge(bytes);
        self.standing += bytes as u64;
    }

    /// Releases standing bytes charged before.
    pub fn release_standing(&mut self, bytes: usize) {
        self.release(bytes);
        debug_assert!(self.standing >= bytes as u64, "released more than was charged as standing");
        self.standing = self.standing.saturating_sub(bytes as u64);
    }

    /// Charges history bytes.
    pub fn charge_history(&mut self, bytes: usize) {
        self.charge(bytes);
        self.history += bytes as u64;
    }

    /// Releases history bytes charged before.
    pub fn release_history(&mut self, bytes: usize) {
        self.release(bytes);
        debug_assert!(self.history >= bytes as u64, "released more than was charged as history");
        self.history = self.history.saturating_sub(bytes as u64);
    }

    /// All bytes charged.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Standing bytes charged.
    #[must_use]
    pub const fn standing(&self) -> u64 {
        self.standing
    }

    /// Whether more is charged than the bound.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.used > self.max
    }

    /// Whether nothing standing may be added. Slow readers do not cause this: they are shed.
    #[must_use]
    pub const fn is_tight(&self) -> bool {
        self.standing + self.history > self.standing_max() || self.is_over()
    }

    /// The maximum of standing and history bytes together.
    #[must_use]
    pub const fn standing_max(&self) -> u64 {
        self.max - self.max / RESERVE_DIVISOR
    }

    /// Whether passing bytes have used most of their share: slow readers get less time.
    #[must_use]
    pub const fn is_near(&self) -> bool {
        let lasting = self.standing + self.history;
        let left = self.max.saturating_sub(lasting);
        self.used.saturating_sub(lasting) > left - left / NEAR_DIVISOR
    }

    /// The bound.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_leaves_room_for_what_passes() {
        let mut budget = Budget::new(800);
        budget.charge_standing(600);
        budget.charge_history(100);
        budget.charge(100);
        assert!(!budget.is_tight() && !budget.is_over(), "passing bytes refuse no one");
        budget.charge(1);
        assert!(budget.is_tight() && budget.is_over());
        budget.release(101);
        budget.charge_standing(1);
        assert!(budget.is_tight() && !budget.is_over());
        budget.release_history(1);
        assert!(!budget.is_tight());
        budget.release_standing(601);
        budget.release_history(99);
        assert_eq!((budget.used(), budget.standing()), (0, 0));
    }
}
