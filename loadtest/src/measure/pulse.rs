//! Owns recent durations: a coarse histogram that one thread writes while another reads it. Costs the writer one
//! relaxed load and store; the reader takes the durations since its last read. Precision is 3 %: for live display and
//! time series, never for the percentiles of a run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

/// Buckets per power of two, as bits: 32.
const SUB_BITS: u32 = 5;

/// Maximum duration in nanoseconds (137 s).
const HIGHEST_NS: u64 = (1 << 37) - 1;

/// Number of buckets up to the maximum duration.
const BUCKETS: usize = 33 << SUB_BITS;

/// The writing side.
#[derive(Debug)]
pub struct Pulse {
    buckets: Box<[AtomicU32]>,
}

/// The reading side, with the counts read so far.
#[derive(Debug)]
pub struct PulseReader {
    seen: Vec<u32>,
}

/// Durations of one interval: nonzero counts by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    buckets: BTreeMap<u16, u64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse { buckets: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect() }
    }
}

impl Pulse {
    /// Records a duration. Call it on one thread only: concurrent additions are lost.
    #[inline]
    pub fn record(&self, ns: u64) {
        let bucket = &self.buckets[bucket_of(ns)];
        bucket.store(bucket.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

impl Default for PulseReader {
    fn default() -> Self {
        PulseReader { seen: vec![0; BUCKETS] }
    }
}

impl PulseReader {
    /// Takes the durations since the last call.
    pub fn take(&mut self, pulse: &Pulse) -> Interval {
        let mut interval = Interval::default();
        for (index, (seen, bucket)) in (0u16..).zip(self.seen.iter_mut().zip(&pulse.buckets)) {
            let now = bucket.load(Ordering::Relaxed);
            // The counts wrap, so only differences are meaningful.
            let new = now.wrapping_sub(*seen);
            if new > 0 {
                interval.buckets.insert(index, u64::from(new));
                *seen = now;
            }
        }
        interval
    }
}

impl Interval {
    /// Adds all durations of `other`.
    pub fn merge(&mut self, other: &Interval) {
        for (&index, count) in &other.buckets {
            *self.buckets.entry(index).or_default() += count;
        }
    }

    /// Number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// The value at a quantile (0 … 1), in microseconds; `None` without durations.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let wanted = ((self.count() as f64 * quantile).ceil() as u64).max(1);
        let mut reached = 0;
        for (&index, count) in &self.buckets {
            reached += count;
            if reached >= wanted {
                return Some(middle_of(index) / 1_000.0);
            }
        }
        None
    }
}

#[inline]
fn bucket_of(ns: u64) -> usize {
    let ns = ns.min(HIGHEST_NS);
    let shift = (63 - (ns | 1).leading_zeros()).saturating_sub(SUB_BITS);
    ((shift as usize) << SUB_BITS) + (ns >> shift) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle_of(index: u16) -> f64 {
    let shift = (u32::from(index) >> SUB_BITS).saturating_sub(1);
    let low = (u64::from(index) - (u64::from(shift) << SUB_BITS)) << shift;
    low as f64 + ((1u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_narrow() {
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        let mut last = 0;
        for ns in (0..4_096).chain((12..37).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 77])) {
            let bucket = bucket_of(ns);
            assert!(bucket >= last && bucket < BUCKETS, "{ns}");
            last = bucket;
            let middle = middle_of(bucket as u16);
            assert!((middle - ns as f64).abs() <= ns as f64 * 0.02 + 0.5, "{ns} is counted as {middle}");
        }
    }

    #[test]
    fn a_reader_takes_each_duration_once() {
        let (pulse, mut reader) = (Pulse::default(), PulseReader::default());
        (1..=1_000).for_each(|us| pulse.record(us * 1_000));
        let mut first = reader.take(&pulse);
        assert_eq!(first.count(), 1_000);
        let near = |value: Option<f64>, wanted: f64| (value.expect("some") / wanted - 1.0).abs() < 0.03;
        assert!(near(first.quantile_us(0.5), 500.0) && near(first.quantile_us(0.99), 990.0), "{first:?}");
        assert!(near(first.quantile_us(1.0), 1_000.0));
        assert_eq!(reader.take(&pulse), Interval::default());
        assert_eq!(Interval::default().quantile_us(0.5), None);
        pulse.record(5_000_000);
        first.merge(&reader.take(&pulse));
        assert_eq!(first.count(), 1_001);
        assert!(near(first.quantile_us(1.0), 5_000.0));
    }
}
