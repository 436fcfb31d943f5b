//! What the owner half draws from the engine's randomness: epochs, and the hashing of names.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use crate::base::ids::Epoch;
use crate::engine::random::Random;

/// How tables hash names that outsiders choose.
pub(super) type NameHashing = SeedableRandomState;

/// An epoch for a new numbering: never [`Epoch::UNKNOWN`].
pub(super) fn new_epoch(random: &mut Random) -> Epoch {
    loop {
        let epoch = Epoch(random.next_u64());
        if epoch != Epoch::UNKNOWN {
            return epoch;
        }
    }
}

/// Hashing that outsiders cannot predict. Called once for each core: the seed it shares lives as long as the process.
pub(super) fn name_hashing(random: &mut Random) -> NameHashing {
    // A secret seed per table alone would not do: names that collide under foldhash's fixed shared seed collide under
    // every table's seed.
    let shared: &'static SharedSeed = Box::leak(Box::new(SharedSeed::from_u64(random.next_u64())));
    NameHashing::with_seed(random.next_u64(), shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_never_the_unknown_one() {
        // The only state whose number is 0 is the one before 0.
        let before_zero = 0_u64.wrapping_sub(0x9e37_79b9_7f4a_7c15);
        assert_eq!(Random::new(before_zero, 0).next_u64(), Epoch::UNKNOWN.0);
        assert_ne!(new_epoch(&mut Random::new(before_zero, 0)), Epoch::UNKNOWN);
    }
}
