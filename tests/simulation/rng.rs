//! Owns seeded randomness with one stream per concern, so that a change in one concern does not affect the others.
//! Never reads entropy: all numbers derive from seed and salt.

use super::random::Random;

/// The stream of one concern.
#[derive(Clone, Debug)]
pub struct Rng(Random);

impl Rng {
    /// Creates the stream of one concern for a seed.
    pub fn salted(seed: u64, salt: &str, index: u64) -> Self {
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        for byte in salt.bytes().chain(index.to_le_bytes()) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        }
        let mut random = Random(state);
        random.next();
        Self(random)
    }

    /// Draws any number.
    pub fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// Draws a number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Draws a number in `low..=high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Draws an index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Returns true with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// Draws an exponential waiting time with this mean, at most ten times the mean.
    pub fn wait(&mut self, mean: u64) -> u64 {
        let uniform = ((self.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        (-uniform.ln() * mean as f64).min(10.0 * mean as f64) as u64
    }

    /// Draws an element.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// Draws an element by weight.
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

    /// Draws bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.0.bytes(len)
    }
}
