//! Seeded randomness: one stream per concern, so that a change in one concern leaves the draws of the others alone.
//! Never reads entropy: everything follows from the seed and the salt.

use super::random::Random;

/// The stream of one concern.
#[derive(Clone, Debug)]
pub struct Rng(Random);

impl Rng {
    /// The stream of one concern under a seed.
    pub fn salted(seed: u64, salt: &str, index: u64) -> Self {
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        for byte in salt.bytes().chain(index.to_le_bytes()) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        }
        let mut random = Random(state);
        random.next();
        Self(random)
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// An index of something with `len` elements.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A waiting time with this mean: mostly short, sometimes several times the mean, at most ten times.
    pub fn wait(&mut self, mean: u64) -> u64 {
        let uniform = ((self.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        (-uniform.ln() * mean as f64).min(10.0 * mean as f64) as u64
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// One of these, each with its weight.
    pub fn weighted<T: Copy>(&mut self, from: &[(u32, T)]) -> T {
        let total: u32 = from.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(u64::from(total)) as u32;
        for (weight, item) in from {
            if at < *weight {
                return *item;
            }
            at -= weight;
        }
        from[from.len() - 1].1
    }

    /// Bytes of any value.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.0.bytes(len)
    }
}
