//! Owns the count of connections that all cores of the process share. Never knows the limit itself, so that a reload
//! can change it.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of taken places. A connection changes it twice, a message never.
#[derive(Debug, Default)]
pub struct Places(AtomicU32);

impl Places {
    /// Takes a place if fewer than `max` are taken. Returns whether it did.
    #[must_use]
    pub fn try_take(&self, max: u32) -> bool {
        // No other memory depends on this number, so no ordering is needed.
        let more = |taken: u32| (taken < max).then(|| taken + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Returns a place.
    pub fn give_back(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "more places returned than taken");
    }

    /// The number of taken places.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn threads_together_never_exceed_the_limit() {
        let places = Places::default();
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..1_000).filter(|_| places.try_take(1_500)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
        });
        assert_eq!((taken, places.taken()), (1_500, 1_500));
        places.give_back();
        assert!(!places.try_take(1_499), "a lowered limit refuses until enough places return");
        assert!(places.try_take(1_500) && !places.try_take(1_500));
        assert!(places.try_take(1_501), "a raised limit applies at once");
    }
}
