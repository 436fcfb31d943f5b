//! The engine's only source of randomness: seeded, so that a run can be repeated. Not for secrets.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use crate::base::ids::Epoch;

/// How tables hash names that outsiders choose.
pub type NameHashing = SeedableRandomState;

/// SplitMix64 (Steele, Lea, Flood 2014): every state is visited once, so that epochs of one seed do not repeat.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence; the same seed gives the same one.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for one purpose among those of a seed.
    #[must_use]
    pub fn salted(seed: u64, salt: u64) -> Self {
        Self(Self(seed ^ salt).next_u64())
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        let scaled = (u128::from(self.next_u64()) * u128::from(bound.max(1))) >> 64;
        scaled as u64
    }

    /// An epoch for a new numbering: never [`Epoch::UNKNOWN`].
    pub fn epoch(&mut self) -> Epoch {
        loop {
            let epoch = Epoch(self.next_u64());
            if epoch != Epoch::UNKNOWN {
                return epoch;
            }
        }
    }

    /// Hashing that outsiders cannot predict. Called once for each core: the seed it shares lives as long as the process.
    pub fn name_hashing(&mut self) -> NameHashing {
        // A secret seed per table alone would not do: names that collide under foldhash's fixed shared seed collide
        // under every table's seed.
        let shared: &'static SharedSeed = Box::leak(Box::new(SharedSeed::from_u64(self.next_u64())));
        NameHashing::with_seed(self.next_u64(), shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        let first = [random.next_u64(), random.next_u64(), random.next_u64()];
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
