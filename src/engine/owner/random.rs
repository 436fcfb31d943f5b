//! The owner half's own randomness: epochs and the hashing of names, all from the engine's seed.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use crate::base::ids::Epoch;

/// How tables hash names that outsiders choose.
pub(super) type NameHashing = SeedableRandomState;

/// A splitmix64 sequence: every state is visited once, so that epochs of one seed do not repeat.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An epoch for a new numbering: never [`Epoch::UNKNOWN`].
    pub fn epoch(&mut self) -> Epoch {
        loop {
            let epoch = Epoch(self.next());
            if epoch != Epoch::UNKNOWN {
                return epoch;
            }
        }
    }

    /// Hashing that outsiders cannot predict. Called once for each core: the seed it shares lives as long as the process.
    pub fn name_hashing(&mut self) -> NameHashing {
        // A secret seed per table alone would not do: names that collide under foldhash's fixed shared seed collide
        // under every table's seed.
        let shared: &'static SharedSeed = Box::leak(Box::new(SharedSeed::from_u64(self.next())));
        NameHashing::with_seed(self.next(), shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        let first = [random.next(), random.next(), random.next()];
        // Test values published with Vigna's reference implementation.
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn an_epoch_is_never_the_unknown_one() {
        // The state whose mix is 0 is the state 0.
        let mut random = Random::new(0_u64.wrapping_sub(0x9e37_79b9_7f4a_7c15));
        assert_ne!(random.epoch(), Epoch::UNKNOWN);
    }
}
