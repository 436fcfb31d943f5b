//! Owns the figures that compare servers: their values in a run, their spread over runs, and whether more is better.
//! Never formats tables.

use super::facts::{are_connected, histogram_label, histogram_names};
use super::unit::Unit;
use crate::measure::histogram::DurationSummary;
use crate::plan::Scenario;
use crate::results::comparison::Comparison;
use crate::results::outcome::{Outcome, ServerFigures, plural};

/// One figure of a run.
pub struct Figure {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// Whether more is better.
    pub better: Better,
    read: Read,
}

/// Computes a figure from a run.
type Read = Box<dyn Fn(&Outcome) -> Option<f64>>;

/// Reads a percentile.
type Quantile = fn(&DurationSummary) -> f64;

/// Whether more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// Median and range of one figure over several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Minimum.
    pub low: f64,
    /// Median.
    pub median: f64,
    /// Maximum.
    pub high: f64,
}

impl Spread {
    /// The spread of these values; `None` without any.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Spread { low, median, high })
    }
}

impl Spread {
    /// The range as text, with a common unit once; empty if all values are equal.
    #[must_use]
    pub fn range(self, unit: Unit) -> String {
        if self.low >= self.high {
            return String::new();
        }
        let (low, high) = (unit.show(self.low), unit.show(self.high));
        let same = |text: &str| text.split_once(' ').map(|(_, unit)| unit.to_owned());
        let low = if same(&low) == same(&high) { low.split(' ').next().unwrap_or(&low) } else { &low };
        format!("{low} … {high}")
    }
}

impl Figure {
    fn new(name: &str, unit: Unit, better: Better, read: impl Fn(&Outcome) -> Option<f64> + 'static) -> Self {
        Figure { name: name.to_owned(), unit, better, read: Box::new(read) }
    }

    /// Its value in a run, if it has one.
    #[must_use]
    pub fn value(&self, outcome: &Outcome) -> Option<f64> {
        (self.read)(outcome)
    }

    /// Its spread over runs.
    #[must_use]
    pub fn spread(&self, runs: &[Outcome]) -> Option<Spread> {
        Spread::of(runs.iter().filter_map(|run| self.value(run)).collect())
    }
}

/// The figures of runs of the same scenario as `like`. A run may lack some.
#[must_use]
pub fn figures(like: &Outcome) -> Vec<Figure> {
    use Better::{Higher, Lower};
    let unit = like.work().1;
    let units = plural(unit);
    let mut all = vec![
        Figure::new(&format!("{units} per CPU-second"), Unit::Plain(""), Higher, |run| {
            working(run).map(|server| server.per_cpu_second)
        }),
        Figure::new(&format!("CPU per {unit}"), Unit::Plain("ns"), Lower, |run| {
            working(run).map(|server| server.cpu_ns)
        }),
        Figure::new("of it user", Unit::Plain("ns"), Lower, |run| working(run).map(|server| server.user_ns)),
        Figure::new("of it kernel", Unit::Plain("ns"), Lower, |run| working(run).map(|server| server.system_ns)),
        Figure::new(&format!("bare send, per {unit}"), Unit::Plain("ns"), Lower, floor_ns),
        Figure::new(&format!("{units} per second"), Unit::Plain(""), Higher, |run| {
            worked(run).map(|work| work / run.measured_s)
        }),
    ];
    all.extend(on_the_wire(unit));
    let names = histogram_names(like).into_iter().filter(|name| !name.starts_with("lag")).map(str::to_owned);
    for name in names {
        let label = histogram_label(&name);
        let quantiles: [(&str, Quantile); 3] =
            [("p50", |summary| summary.p50), ("p99", |summary| summary.p99), ("p99.9", |summary| summary.p999)];
        for (quantile, read) in quantiles {
            let name = name.clone();
            all.push(Figure::new(&format!("{label} {quantile}"), Unit::Micros, Lower, move |run| {
                run.durations.get(&name).map(read)
            }));
        }
    }
    all.extend([
        Figure::new(&format!("context switches per 1,000 {units}"), Unit::Plain(""), Lower, |run| {
            working(run).map(|server| server.switches_per_1000)
        }),
        Figure::new(&format!("ring submissions per {unit}"), Unit::Plain(""), Lower, |run| {
            run.per_unit.get("submissions").copied()
        }),
        Figure::new("private memory per connection", Unit::Bytes, Lower, |run| {
            connected(run).map(|server| server.private_per_connection[0])
        }),
        Figure::new("kernel slab per connection", Unit::Bytes, Lower, |run| {
            connected(run).map(|server| server.slab_per_connection)
        }),
        Figure::new("server CPU per reconnect", Unit::Micros, Lower, |run| run.storm?.server_us_per_reconnect),
        Figure::new("CPU per idle connection and second", Unit::Micros, Lower, idle_us),
    ]);
    all
}

/// Bytes on the wire per unit of work, and their cost for the generator.
fn on_the_wire(unit: &str) -> [Figure; 3] {
    let each = |count: fn(&Outcome) -> u64| {
        move |run: &Outcome| {
            let work = worked(run).filter(|_| run.storm.is_none())?;
            Some(count(run) as f64 / work).filter(|each| *each > 0.0)
        }
    };
    let compressed = |run: &Outcome| {
        let share = run.measured.compressed as f64 * 100.0 / worked(run)?;
        run.options.edge.deflate.then_some(share)
    };
    [
        Figure::new(
            &format!("received per {unit}"),
            Unit::Bytes,
            Better::Lower,
            each(|run| run.measured.bytes_received),
        ),
        Figure::new("compressed", Unit::Plain("%"), Better::Higher, compressed),
        Figure::new(
            &format!("generator's CPU per {unit}"),
            Unit::Plain("ns"),
            Better::Lower,
            each(|run| run.measured.cpu_ns),
        ),
    ]
}

/// CPU time per frame of the bare send loop, in nanoseconds.
#[must_use]
pub fn floor_ns(outcome: &Outcome) -> Option<f64> {
    outcome.floor.filter(|floor| floor.frames > 0).map(|floor| floor.send_cpu_ns as f64 / floor.frames as f64)
}

/// Units of work, if the scenario has any.
fn worked(run: &Outcome) -> Option<f64> {
    Some(run.work().0 as f64).filter(|work| *work > 0.0)
}

/// The server's figures, if they are per unit of work.
fn working(run: &Outcome) -> Option<&ServerFigures> {
    // In storms they include the publications.
    worked(run).and(run.server.as_ref()).filter(|_| run.storm.is_none())
}

/// The server's figures, if clients stay connected.
fn connected(run: &Outcome) -> Option<&ServerFigures> {
    run.server.as_ref().filter(|_| are_connected(run))
}

fn idle_us(run: &Outcome) -> Option<f64> {
    let idle = run.options.scenario == Scenario::Idle;
    run.server.as_ref().filter(|_| idle).map(|server| server.cpu_us_per_connection_second)
}

/// Payload size for which a bare send has as many bytes as a delivery of `run`. Both have a frame header of at most 4
/// bytes.
pub fn bytes_each(run: &Outcome) -> Option<usize> {
    let Scenario::Fanout { .. } = run.options.scenario else { return None };
    let bytes = run.measured.bytes_received.checked_div(run.measured.delivered)?;
    usize::try_from(bytes).ok().map(|bytes| bytes.saturating_sub(4).max(run.options.payload_bytes))
}

/// CPU per unit of each server ÷ CPU of a bare send in the same rounds; `None` without a floor server.
#[must_use]
pub fn floor_ratios(all: &Comparison) -> Option<Vec<Option<f64>>> {
    let of = |runs: &[Outcome], read: fn(&Outcome) -> Option<f64>| {
        Spread::of(runs.iter().filter_map(read).collect()).map(|spread| spread.median)
    };
    let floor = all.servers.iter().find_map(|server| of(&server.runs, floor_ns))?;
    let cpu = |run: &Outcome| run.server.as_ref().map(|server| server.cpu_ns);
    Some(all.servers.iter().map(|server| of(&server.runs, cpu).map(|cpu| cpu / floor)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 9.0]), Some(Spread { low: 1.0, median: 3.0, high: 9.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 9.0]).map(|spread| spread.median), Some(3.0));
        assert_eq!(Spread::of(vec![f64::NAN]), None);
        let range = |low, high| Spread { low, median: low, high }.range(Unit::Micros);
        assert_eq!(range(1_200.0, 3_000.0), "1.20 … 3.00 ms");
        assert_eq!((range(200.0, 3_000.0).as_str(), range(5.0, 5.0).as_str()), ("200 µs … 3.00 ms", ""));
    }

    #[test]
    fn a_histogram_with_a_name_of_its_own_has_figures() {
        let mut run = samples::fanout("roomring", 1.0);
        let copy = run.durations["latency"];
        run.durations.insert("presence_seen".into(), copy);
        let all = figures(&run);
        let value = |name: &str| all.iter().find(|figure| figure.name == name).and_then(|figure| figure.value(&run));
        assert_eq!(value("presence seen p99"), Some(copy.p99));
        assert_eq!(value("deliveries per CPU-second"), run.server.as_ref().map(|server| server.per_cpu_second));
        assert!(value("ring submissions per delivery").is_some());
        assert_eq!(value("CPU per idle connection and second"), None, "a fan-out is not idle");
    }
}
