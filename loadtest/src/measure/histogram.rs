//! Latency histograms: three significant digits from 100 ns to 2 minutes, mergeable across processes.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

const LOWEST_NS: u64 = 100;
const HIGHEST_NS: u64 = 120_000_000_000;

/// Durations in nanoseconds.
#[derive(Clone, Debug)]
pub struct Durations {
    histogram: Histogram<u64>,
}

/// The figures of a histogram that a person reads, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurationSummary {
    /// How many were recorded.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 % are at or below.
    pub p90: f64,
    /// 99 % are at or below.
    pub p99: f64,
    /// 99.9 % are at or below.
    pub p999: f64,
    /// 99.99 % are at or below.
    pub p9999: f64,
    /// The largest.
    pub max: f64,
}

impl Default for Durations {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 3).expect("the bounds are valid");
        Durations { histogram }
    }
}

impl Durations {
    /// Records one duration; above two minutes it counts as two minutes.
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Durations) {
        self.histogram.add(&other.histogram).expect("all histograms here have the same bounds");
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The value that a share of `quantile` (0 … 1) is at or below, in nanoseconds.
    #[must_use]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile)
    }

    /// The figures to show.
    #[must_use]
    pub fn summary(&self) -> DurationSummary {
        let at = |quantile: f64| microseconds(self.quantile_ns(quantile));
        DurationSummary {
            count: self.count(),
            mean: self.histogram.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: microseconds(self.histogram.max()),
        }
    }

    /// The distribution as a line: pairs of 1 ÷ (1 − quantile) and microseconds, evenly spaced on a logarithmic axis,
    /// from the smallest value (1) to the largest (the number of values). Empty when nothing was recorded.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        const PER_DECADE: f64 = 24.0;
        let count = self.count();
        if count == 0 {
            return Vec::new();
        }
        let last = (count as f64).log10();
        let steps = (last * PER_DECADE).ceil().max(1.0);
        let place = |step: u32| 10f64.powf(last * f64::from(step) / steps);
        let value = |inverse: f64| microseconds(self.quantile_ns(1.0 - 1.0 / inverse));
        let mut points: Vec<_> = (0..steps as u32).map(place).map(|inverse| (inverse, value(inverse))).collect();
        points.push((count as f64, microseconds(self.histogram.max())));
        points
    }

    /// The histogram in HdrHistogram's V2 format, base64.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.histogram, &mut bytes).expect("a Vec takes all writes");
        STANDARD.encode(bytes)
    }

    /// Reads what [`Durations::encode`] wrote.
    ///
    /// # Errors
    /// The text is not such a histogram, or one with other bounds.
    pub fn decode(text: &str) -> anyhow::Result<Self> {
        let bytes = STANDARD.decode(text).context("histogram is not base64")?;
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).context("not an HdrHistogram")?;
        let mut durations = Durations::default();
        durations.histogram.add(&histogram).context("histogram has other bounds")?;
        Ok(durations)
    }
}

#[expect(clippy::cast_precision_loss, reason = "durations up to two minutes are far below 2^53 ns")]
fn microseconds(ns: u64) -> f64 {
    ns as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_survive_the_wire() {
        let mut durations = Durations::default();
        for microsecond in 1..=10_000 {
            durations.record(microsecond * 1_000);
        }
        let mut copy = Durations::decode(&durations.encode()).expect("own format");
        copy.merge(&durations);
        let summary = copy.summary();
        assert_eq!(summary.count, 20_000);
        assert!((summary.p50 - 5_000.0).abs() < 10.0, "{summary:?}");
        assert!((summary.p999 - 9_990.0).abs() < 20.0, "{summary:?}");
        assert!((summary.max - 10_000.0).abs() < 20.0, "{summary:?}");
        assert!(Durations::decode("bm90IG9uZQ==").is_err());
    }

    #[test]
    fn a_curve_goes_from_the_smallest_to_the_largest() {
        let mut durations = Durations::default();
        assert!(durations.curve().is_empty());
        durations.record(7_000);
        assert_eq!(durations.curve().len(), 2, "one value is its own smallest and largest");
        for microsecond in 1..=10_000 {
            durations.record(microsecond * 1_000);
        }
        let curve = durations.curve();
        let near = |(inverse, value): (f64, f64), wanted: (f64, f64)| {
            (inverse / wanted.0 - 1.0).abs() < 0.05 && (value / wanted.1 - 1.0).abs() < 0.05
        };
        assert!(near(curve[0], (1.0, 1.0)) && near(curve[curve.len() - 1], (10_001.0, 10_000.0)), "{curve:?}");
        assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{curve:?}");
        assert!(near(curve[curve.len() / 2], (100.0, 9_900.0)), "{:?}", curve[curve.len() / 2]);
    }
}
