//! The engine's only source of randomness: seeded, so that a run can be repeated. Not for secrets.

/// SplitMix64 (Steele, Lea, Flood 2014): one addition and two multiplications a number, any seed is good.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator; `salt` tells apart those of one seed.
    #[must_use]
    pub const fn new(seed: u64, salt: u64) -> Self {
        Self(seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15))
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
}
