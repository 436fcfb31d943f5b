//! Owns the schedule of a chat: clients publish in bursts with pauses in between. All times are scheduled in advance,
//! independent of the server. Never publishes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

use crate::clock::SECOND;
use crate::payload::STAMP_BYTES;

/// Average time between publishes of a burst.
const THINK_NS: f64 = SECOND as f64 / 2.0;

/// Maximum payload, below the default limits of servers.
const PAYLOAD_BYTES_MAX: usize = 32 * 1024;

/// A scheduled publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utterance {
    /// Its time.
    pub at: u64,
    /// Number of its burst.
    pub burst: u64,
    /// Remaining publishes of the burst.
    pub left: u32,
}

/// The schedule of all publishes.
#[derive(Debug)]
pub struct Speech {
    due: BinaryHeap<Reverse<Utterance>>,
    bursts_per_ns: f64,
    burst: f64,
    next_burst: u64,
    bursts: u64,
}

impl Speech {
    /// Starts a schedule of `per_second` publishes from `now` on, in bursts of average length `burst`. Some bursts
    /// started before `now`.
    #[must_use]
    pub fn start(per_second: f64, burst: f64, rng: &mut Rng, now: u64) -> Self {
        let bursts_per_ns = per_second / burst / SECOND as f64;
        let mut speech = Speech { due: BinaryHeap::new(), bursts_per_ns, burst, next_burst: 0, bursts: 0 };
        // Longer than almost all bursts.
        let past = (THINK_NS * burst * 10.0) as u64;
        speech.next_burst = speech.gap(rng);
        while speech.next_burst < past {
            speech.begin_burst(rng);
        }
        let shift = |at: u64| now + at - past;
        let due = std::mem::take(&mut speech.due).into_iter();
        let due = due.flat_map(|Reverse(first)| follow(first, rng)).filter(|utterance| utterance.at >= past);
        // A burst continues with its first publish after `now`.
        let mut ahead: Vec<Utterance> = due.collect();
        ahead.sort_unstable_by_key(|utterance| (utterance.burst, utterance.at));
        ahead.dedup_by_key(|utterance| utterance.burst);
        speech.due = ahead.into_iter().map(|next| Reverse(Utterance { at: shift(next.at), ..next })).collect();
        speech.next_burst = shift(speech.next_burst);
        speech
    }

    fn gap(&self, rng: &mut Rng) -> u64 {
        ((exponential(rng) / self.bursts_per_ns) as u64).max(1)
    }

    fn begin_burst(&mut self, rng: &mut Rng) {
        // Geometric: after each publish the burst ends with a probability of 1 in `burst`.
        let mut left = 0;
        while left < 100_000 && rng.f64() * self.burst >= 1.0 {
            left += 1;
        }
        self.due.push(Reverse(Utterance { at: self.next_burst, burst: self.bursts, left }));
        self.bursts += 1;
        self.next_burst += self.gap(rng);
    }

    /// Time of the next publish.
    #[must_use]
    pub fn next_at(&self) -> u64 {
        self.due.peek().map_or(self.next_burst, |Reverse(next)| next.at.min(self.next_burst))
    }

    /// Takes a due publish.
    pub fn take_due(&mut self, rng: &mut Rng, now: u64) -> Option<Utterance> {
        while self.next_burst <= now {
            self.begin_burst(rng);
        }
        let Reverse(utterance) = self.due.peek().copied().filter(|Reverse(next)| next.at <= now)?;
        self.due.pop();
        if utterance.left > 0 {
            self.due.push(Reverse(after(utterance, rng)));
        }
        Some(utterance)
    }
}

fn after(utterance: Utterance, rng: &mut Rng) -> Utterance {
    let think = (exponential(rng) * THINK_NS) as u64;
    Utterance { at: utterance.at + think.max(1), left: utterance.left - 1, ..utterance }
}

/// A publish and the remaining publishes of its burst.
fn follow(first: Utterance, rng: &mut Rng) -> Vec<Utterance> {
    let mut all = vec![first];
    while let Some(last) = all.last().copied().filter(|last| last.left > 0) {
        all.push(after(last, rng));
    }
    all
}

/// Size of a chat message: log-normal around `median`, mostly between a third and three times the median.
pub fn payload_bytes(median: usize, rng: &mut Rng) -> usize {
    // Box-Muller: a standard normal from two uniforms.
    let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos();
    let most = median.saturating_mul(32).min(PAYLOAD_BYTES_MAX.max(median));
    ((median as f64 * normal.exp()) as usize).clamp(STAMP_BYTES, most)
}

/// An exponential draw with mean 1.
pub fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_constant_from_the_start_despite_delays() {
        let mut rng = Rng::with_seed(3);
        let now = 5 * SECOND;
        let mut speech = Speech::start(1_000.0, 4.0, &mut rng, now);
        let mut per_second = [0u32; 20];
        // Taken once at the end: delays do not reduce the load.
        while let Some(utterance) = speech.take_due(&mut rng, now + 20 * SECOND - 1) {
            per_second[((utterance.at - now) / SECOND) as usize] += 1;
        }
        let sum: u32 = per_second.iter().sum();
        // Bursts of 4 vary more than single arrivals: the standard deviation is about 370.
        assert!((18_500..=21_500).contains(&sum), "{sum}");
        let first: u32 = per_second[..4].iter().sum();
        assert!((3_200..=4_800).contains(&first), "no ramp at the start: {per_second:?}");
    }

    #[test]
    fn bursts_have_the_average_length() {
        let mut rng = Rng::with_seed(3);
        let mut speech = Speech::start(100.0, 5.0, &mut rng, 0);
        let mut of_burst = std::collections::HashMap::<u64, Vec<u64>>::new();
        while let Some(utterance) = speech.take_due(&mut rng, 400 * SECOND) {
            of_burst.entry(utterance.burst).or_default().push(utterance.at);
        }
        let (count, publishes) = (of_burst.len() as f64, of_burst.values().map(Vec::len).sum::<usize>() as f64);
        assert!((4.5..=5.5).contains(&(publishes / count)), "{}", publishes / count);
        assert!(of_burst.values().all(|times| times.is_sorted()));
    }

    #[test]
    fn sizes_are_log_normal() {
        let mut rng = Rng::with_seed(3);
        let mut sizes: Vec<usize> = (0..10_001).map(|_| payload_bytes(128, &mut rng)).collect();
        sizes.sort_unstable();
        assert!((120..=136).contains(&sizes[5_000]), "the median: {}", sizes[5_000]);
        assert!(sizes[0] >= STAMP_BYTES && sizes[10_000] <= 32 * 128 && sizes[10_000] > 1_280);
        assert_eq!(
            payload_bytes(60_000, &mut Rng::with_seed(1)).max(60_000),
            60_000,
            "never above the median if that is large"
        );
    }
}
