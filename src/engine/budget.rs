//! One core's share of the memory budget: what outsiders can make grow is charged here. Says whether it is used up; what
//! goes first is decided by whoever holds it.
//!
//! Three kinds are told apart. What *stands* stays until its owner lets go of it: connections, rooms, memberships, users,
//! idempotency keys, numberings. *History* gives way to it. What *passes* is freed by itself or by shedding: queued
//! frames, partial messages, hops. Standing things are refused where they and history would leave nothing to what
//! passes ([`Budget::is_tight`]), so that shedding always helps.

/// The part of the budget (one in so many) that standing things leave to what passes.
const RESERVE_DIVISOR: u64 = 8;

/// The budget is nearly used up when less than one in so many parts of what passing things may take is left.
const NEAR_DIVISOR: u64 = 4;

/// Bytes charged against a bound.
#[derive(Debug)]
pub struct Budget {
    used: u64,
    /// The part of `used` that stands.
    standing: u64,
    /// The part of `used` that is history.
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

    /// Charges what passes.
    pub fn charge(&mut self, bytes: usize) {
        self.used += bytes as u64;
    }

    /// Gives back what was charged before.
    pub fn release(&mut self, bytes: usize) {
        debug_assert!(self.used >= bytes as u64, "released more than was charged");
        self.used = self.used.saturating_sub(bytes as u64);
    }

    /// Charges what stands.
    pub fn charge_standing(&mut self, bytes: usize) {
        self.charge(bytes);
        self.standing += bytes as u64;
    }

    /// Gives back what was charged as standing before.
    pub fn release_standing(&mut self, bytes: usize) {
        self.release(bytes);
        debug_assert!(self.standing >= bytes as u64, "released more than stands");
        self.standing = self.standing.saturating_sub(bytes as u64);
    }

    /// Charges history.
    pub fn charge_history(&mut self, bytes: usize) {
        self.charge(bytes);
        self.history += bytes as u64;
    }

    /// Gives back what was charged as history before.
    pub fn release_history(&mut self, bytes: usize) {
        self.release(bytes);
        debug_assert!(self.history >= bytes as u64, "released more than is history");
        self.history = self.history.saturating_sub(bytes as u64);
    }

    /// Bytes charged.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// The part of them that stands.
    #[must_use]
    pub const fn standing(&self) -> u64 {
        self.standing
    }

    /// Whether more is charged than the bound.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.used > self.max
    }

    /// Whether nothing more that stands may be added. Those who read slowly keep nobody out: they are shed.
    #[must_use]
    pub const fn is_tight(&self) -> bool {
        self.standing + self.history > self.standing_max() || self.is_over()
    }

    /// The most that what stands and history may take together.
    #[must_use]
    pub const fn standing_max(&self) -> u64 {
        self.max - self.max / RESERVE_DIVISOR
    }

    /// Whether most of what standing things and history leave is used: there is no more patience with slow readers.
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
        assert!(!budget.is_tight() && !budget.is_over(), "what passes keeps nobody out");
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
