//! Owns the section of a growth: a table, and a plot per figure with a line per server over the option's values. Never
//! judges.

use super::axis::Axis;
use super::blocks;
use super::chart::{Chart, PlotLine};
use super::markup::{Element, classed, element};
use super::run::capitalized;
use crate::report::figures::Figure;
use crate::report::growth::{rows, shown};
use crate::report::unit::Unit;
use crate::report::{facts, title};
use crate::results::comparison::Growth;
use crate::text::{bytes, micros, number};

/// The section of a growth.
#[must_use]
pub fn section(growth: &Growth) -> Element {
    let Some(first) = growth.runs().next() else {
        return classed("section", "result").child(blocks::heading("Growth", "No run was completed.", false));
    };
    let (scenario, what) = title::scenario(&first.options);
    let title = format!("{} by {}", capitalized(&scenario), growth.option);
    let rounds = growth.steps.iter().flat_map(|step| &step.compared.servers).map(|server| server.runs.len()).max();
    let subtitle =
        format!("First: {what}. Medians of {} rounds of {:.1} s.", rounds.unwrap_or_default(), first.measured_s);
    let reasons: Vec<String> = growth.reasons().collect();
    let (heading, lines) = rows(growth);
    let figures = shown(growth);
    let plots = figures.iter().filter_map(|figure| plot(growth, figure)).map(|chart| chart.draw());
    classed("section", "result")
        .child(blocks::heading(&title, &subtitle, reasons.is_empty()))
        .child(blocks::remarks(reasons.iter().map(String::as_str), std::iter::empty()))
        .child(blocks::table("figures", &heading, &lines))
        .child(element("h2").text("Figures"))
        .child(classed("div", "plots").children(plots))
        .child(element("h2").text("Host, versions, flags, seed"))
        .child(blocks::facts(&[facts::conditions(first)]))
}

/// A plot of a figure over the values; `None` if they are not numbers, or too few for a line.
fn plot(growth: &Growth, figure: &Figure) -> Option<Chart> {
    let values: Vec<f64> = growth.steps.iter().map(|step| step.value.parse().ok()).collect::<Option<_>>()?;
    let servers = &growth.steps.first()?.compared.servers;
    let line = |(index, name): (usize, &str)| {
        let at = |(step, x): (&crate::results::comparison::GrowthStep, &f64)| {
            (*x, figure.spread(&step.compared.servers[index].runs).map(|spread| spread.median))
        };
        PlotLine {
            name: name.to_owned(),
            color: index,
            points: growth.steps.iter().zip(&values).map(at).collect(),
            tell: |x, y| format!("{} at {}", number(y), number(x)),
        }
    };
    let lines: Vec<PlotLine> = servers.iter().map(|server| server.label.as_str()).enumerate().map(line).collect();
    let heights: Vec<f64> = lines.iter().flat_map(|line| &line.points).filter_map(|(_, y)| *y).collect();
    let bounds = |all: &[f64]| (all.iter().copied().fold(f64::MAX, f64::min), all.iter().copied().fold(0.0, f64::max));
    let ((left, right), (low, high)) = (bounds(&values), bounds(&heights));
    let (show, unit): (fn(f64) -> String, &str) = match figure.unit {
        Unit::Micros => (micros, ""),
        Unit::Bytes => (bytes, ""),
        Unit::Plain(unit) => (number, unit),
    };
    let label = if unit.is_empty() { figure.name.clone() } else { format!("{}, {unit}", figure.name) };
    (values.len() > 1 && right > left && !heights.is_empty()).then(|| Chart {
        title: capitalized(&figure.name),
        caption: String::new(),
        x: Axis::fitting(&growth.option, left, right, number),
        y: Axis::fitting(&label, low, high, show),
        lines,
        bands: Vec::new(),
    })
}
