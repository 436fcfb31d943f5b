//! Owns axes: the positions of values and ticks. Never knows the meaning of values.

/// An axis of a plot.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The label, with the unit.
    pub label: String,
    /// Ticks: value and text.
    pub ticks: Vec<(f64, String)>,
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// A linear axis from 0 to somewhat above `high`, with round ticks.
    #[must_use]
    pub fn linear(label: &str, high: f64, show: fn(f64) -> String) -> Self {
        let high = if high.is_finite() && high > 0.0 { high } else { 1.0 };
        let step = round_step(high / 4.5);
        let end = high * 1.12;
        let count = (end / step + 1e-9).floor() as u32;
        let ticks =
            (0..=count).map(|index| f64::from(index) * step).map(|value| (value, trimmed(&show(value)))).collect();
        Axis { label: label.to_owned(), ticks, low: 0.0, high: end, logarithmic: false }
    }

    /// A time axis from 0 to exactly `high`, with round ticks.
    #[must_use]
    pub fn time(label: &str, high: f64, show: fn(f64) -> String) -> Self {
        let high = high.max(1e-3);
        let mut axis = Axis::linear(label, high, show);
        axis.ticks.retain(|(value, _)| *value <= high);
        Axis { high, ..axis }
    }

    /// A logarithmic axis between 1, 2 or 5 times powers of ten around `low` and `high`.
    #[must_use]
    pub fn logarithmic(label: &str, low: f64, high: f64, show: fn(f64) -> String) -> Self {
        let low = if low.is_finite() && low > 0.0 { low } else { 1.0 };
        let high = if high.is_finite() && high > low { high } else { low * 2.0 };
        let exponents = low.log10().floor() as i32 - 1..=high.log10().ceil() as i32;
        let all: Vec<f64> =
            exponents.flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(exponent))).collect();
        let first = all.iter().rposition(|value| *value <= low * (1.0 + 1e-9)).unwrap_or(0);
        let last = all.iter().position(|value| *value >= high * (1.0 - 1e-9)).unwrap_or(all.len() - 1);
        let (low, high) = (all[first], all[last.max(first + 1).min(all.len() - 1)]);
        // Over many decades there is room for powers of ten only.
        let crowded = (high / low).log10() > 3.2;
        let is_power = |value: f64| (value.log10() - value.log10().round()).abs() < 1e-9;
        let ticks = all[first..].iter().copied().filter(|value| *value <= high * (1.0 + 1e-9));
        let ticks =
            ticks.filter(|value| !crowded || is_power(*value)).map(|value| (value, trimmed(&show(value)))).collect();
        Axis { label: label.to_owned(), ticks, low, high, logarithmic: true }
    }

    /// A linear axis from 0, or a logarithmic one if the values are far apart.
    #[must_use]
    pub fn fitting(label: &str, low: f64, high: f64, show: fn(f64) -> String) -> Self {
        if low > 0.0 && high / low > 12.0 {
            Axis::logarithmic(label, low, high, show)
        } else {
            Axis::linear(label, high, show)
        }
    }

    /// An axis of percentiles up to 1 − 1 ÷ `inverse`. Values are 1 ÷ (1 − quantile), which gives each nine the same
    /// width.
    #[must_use]
    pub fn percentiles(inverse: f64) -> Self {
        let high = inverse.max(10.0);
        let name = |exponent: u32| match exponent {
            0 => "0 %".to_owned(),
            1 => "90 %".to_owned(),
            2 => "99 %".to_owned(),
            more => format!("99.{} %", "9".repeat(more as usize - 2)),
        };
        let last = high.log10().floor() as u32;
        // Over many nines there is no room for both 0 and 50.
        let first = u32::from(high > 5e3);
        let powers = (first..=last).map(|exponent| (10f64.powi(exponent as i32), name(exponent)));
        let mut ticks: Vec<(f64, String)> = powers.chain([(2.0, "50 %".to_owned())]).collect();
        ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
        Axis { label: "percentile".to_owned(), ticks, low: 1.0, high, logarithmic: true }
    }

    /// The position of a value, from 0 to 1. Values outside are at the ends.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }
}

/// Turns `10.0 ms` into `10 ms`, since ticks are round.
fn trimmed(text: &str) -> String {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && !".,-".contains(letter)).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if !number.contains('.') {
        return text.to_owned();
    }
    number.trim_end_matches('0').trim_end_matches('.').to_owned() + unit
}

/// The smallest of 1, 2 or 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<f64> {
        axis.ticks.iter().map(|(value, _)| *value).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let show = |value: f64| value.to_string();
        assert_eq!(ticks(&Axis::linear("", 23_900.0, show)), [0.0, 10_000.0, 20_000.0]);
        assert_eq!(ticks(&Axis::linear("", 0.0, show)).last(), Some(&1.0), "works without values");
        let place = Axis::linear("", 10_000.0, show).place(10_000.0);
        assert!(place > 0.85 && place < 0.95, "leaves room above the highest: {place}");
        let axis = Axis::time("", 7.3, show);
        assert_eq!((ticks(&axis), axis.place(7.3)), (vec![0.0, 2.0, 4.0, 6.0], 1.0));
        let axis = Axis::logarithmic("", 300.0, 4_000.0, show);
        assert_eq!(ticks(&axis), [200.0, 500.0, 1_000.0, 2_000.0, 5_000.0]);
        assert!((axis.place(1_000.0) - 0.5).abs() < 1e-9 && axis.place(0.0) == 0.0);
        assert!(ticks(&Axis::logarithmic("", 1.0, 1e6, show)).len() == 7);
        assert!(ticks(&Axis::logarithmic("", f64::NAN, 0.0, show)).len() >= 2);
    }

    #[test]
    fn round_numbers_need_no_decimals() {
        let all = ["10.0 ms", "0.500", "100 µs", "2.50 s", "1,000", "0 %"].map(trimmed);
        assert_eq!(all, ["10 ms", "0.5", "100 µs", "2.5 s", "1,000", "0 %"]);
    }

    #[test]
    fn each_nine_has_the_same_width() {
        let axis = Axis::percentiles(10_000.0);
        let names: Vec<&str> = axis.ticks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        assert_eq!(Axis::percentiles(1_000.0).ticks[0].1, "0 %");
        assert!((axis.place(100.0) - 0.5).abs() < 1e-9 && axis.place(1.0) == 0.0);
    }
}
