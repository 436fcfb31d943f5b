//! Owns open-loop arrivals: the next publish of each stream, independent of the server. Never publishes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

use crate::clock::SECOND;
use crate::plan::PublishPace;

/// The next arrival of each stream, earliest first.
#[derive(Debug, Default)]
pub struct ArrivalSchedule {
    arrivals: BinaryHeap<Reverse<(u64, u32)>>,
    gap_ns: f64,
    poisson: bool,
}

impl ArrivalSchedule {
    /// Starts `streams` streams that share the rate, from `now` on. Empty for a closed loop.
    #[must_use]
    pub fn start(pace: PublishPace, streams: u32, rng: &mut Rng, now: u64) -> Self {
        let (per_second, poisson) = match pace {
            PublishPace::InFlight(_) => return ArrivalSchedule::default(),
            PublishPace::Poisson { per_second } => (per_second, true),
            PublishPace::Even { per_second } => (per_second, false),
        };
        let gap_ns = f64::from(streams) / per_second * NS;
        let mut schedule = ArrivalSchedule { arrivals: BinaryHeap::new(), gap_ns, poisson };
        for stream in 0..streams {
            // Even arrivals start at random times within the first gap, so that rooms are shifted.
            let first = if poisson { schedule.gap(rng) } else { nanoseconds(gap_ns * rng.f64()) };
            schedule.arrivals.push(Reverse((now + first, stream)));
        }
        schedule
    }

    /// Time of the next arrival; `u64::MAX` for never.
    #[must_use]
    pub fn next_at(&self) -> u64 {
        self.arrivals.peek().map_or(u64::MAX, |Reverse((at, _))| *at)
    }

    /// Takes a due arrival and schedules the stream's next one relative to it, so that delays do not reduce the load.
    pub fn take_due(&mut self, rng: &mut Rng, now: u64) -> Option<(u64, u32)> {
        let Reverse((at, stream)) = self.arrivals.peek().copied().filter(|Reverse((at, _))| *at <= now)?;
        self.arrivals.pop();
        let gap = if self.poisson { self.gap(rng) } else { nanoseconds(self.gap_ns) };
        self.arrivals.push(Reverse((at + gap, stream)));
        Some((at, stream))
    }

    fn gap(&self, rng: &mut Rng) -> u64 {
        nanoseconds(-(1.0 - rng.f64()).ln() * self.gap_ns)
    }
}

#[expect(clippy::cast_precision_loss, reason = "10^9 is exact")]
const NS: f64 = SECOND as f64;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "gaps are positive and far below 2^63 ns")]
fn nanoseconds(value: f64) -> u64 {
    value.max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(pace: PublishPace, seconds: u64) -> Vec<u64> {
        let mut rng = Rng::with_seed(7);
        let mut schedule = ArrivalSchedule::start(pace, 10, &mut rng, 0);
        let mut per_stream = vec![0; 10];
        while let Some((_, stream)) = schedule.take_due(&mut rng, seconds * SECOND) {
            per_stream[stream as usize] += 1;
        }
        per_stream
    }

    #[test]
    fn delays_do_not_reduce_the_rate() {
        let even = count(PublishPace::Even { per_second: 1_000.0 }, 10);
        assert!(even.iter().all(|&count| (999..=1_001).contains(&count)), "{even:?}");
        let poisson: u64 = count(PublishPace::Poisson { per_second: 1_000.0 }, 10).iter().sum();
        assert!((9_600..=10_400).contains(&poisson), "four standard deviations: {poisson}");
        assert!(count(PublishPace::InFlight(1), 10).iter().all(|&count| count == 0));
    }
}
