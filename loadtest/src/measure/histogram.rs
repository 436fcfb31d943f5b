//! Owns latency histograms: three significant digits from 100 ns to 2 minutes, mergeable across processes. Never knows
//! what is measured.

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

/// Percentiles of a histogram, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurationSummary {
    /// Number of values.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// 99.99th percentile.
    pub p9999: f64,
    /// Maximum.
    pub max: f64,
}

impl Default for Durations {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 3).expect("the bounds are valid");
        Durations { histogram }
    }
}

impl Durations {
    /// Records a duration, at most two minutes.
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Durations) {
        self.histogram.add(&other.histogram).expect("all histograms here have the same bounds");
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The value at a quantile (0 … 1), in nanoseconds.
    #[must_use]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile)
    }

    /// The percentiles.
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

    /// The distribution as a curve: pairs of 1 ÷ (1 − quantile) and microseconds, evenly spaced on a logarithmic axis,
    /// from the minimum (1) to the maximum (the number of values). Empty without values.
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

    /// The histogram in HdrHistogram V2 format, base64.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.histogram, &mut bytes).expect("a Vec takes all writes");
        STANDARD.encode(bytes)
    }

    /// Parses the output of [`Durations::encode`].
    ///
    /// # Errors
    /// The text is not a histogram with these bounds.
    pub fn decode(text: &str) -> anyhow::Result<Self> {
        let bytes = STANDARD.decode(text).context("histogram: expected base64")?;
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).context("histogram: expected HdrHistogram V2")?;
        let mut durations = Durations::default();
        durations.histogram.add(&histogram).context("histogram: unexpected bounds")?;
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
    fn quantiles_survive_encoding() {
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
    fn a_curve_goes_from_minimum_to_maximum() {
        let mut durations = Durations::default();
        assert!(durations.curve().is_empty());
        durations.record(7_000);
        assert_eq!(durations.curve().len(), 2, "one value is minimum and maximum");
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
