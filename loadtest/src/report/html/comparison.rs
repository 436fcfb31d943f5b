//! Owns the section of a comparison: a table, bars with ranges, overlaid curves. Never judges.

use super::bars::{Bar, bars};
use super::blocks;
use super::markup::{Element, classed, element};
use super::run::{capitalized, cpu_split, percentile_chart};
use crate::measure::histogram::Durations;
use crate::report::facts::{self, histogram_label, histogram_names};
use crate::report::figures::{Better, Figure, Spread, figures, floor_ratios};
use crate::report::title;
use crate::results::comparison::{Compared, Comparison, SlowComparison};
use crate::results::outcome::Outcome;
use crate::text::number;

/// The section of a comparison.
///
/// # Errors
/// A saved histogram is invalid.
pub fn section(title: &str, all: &Comparison) -> anyhow::Result<Element> {
    let Some(first) = all.servers.iter().flat_map(|server| &server.runs).next() else {
        return Ok(classed("section", "result").child(blocks::heading(title, "No run was completed.", false)));
    };
    let (scenario, what) = title::scenario(&first.options);
    let rounds = all.servers.iter().map(|server| server.runs.len()).max().unwrap_or(0);
    let names: Vec<String> = all.servers.iter().map(|server| server.name()).collect();
    let mut reasons: Vec<String> = all.reasons().map(|(label, reason)| format!("{label}: {reason}")).collect();
    reasons.dedup();
    let subtitle =
        format!("{}. {scenario}: {what}. Medians of {rounds} rounds of {:.1} s.", names.join(", "), first.measured_s);
    let figures = figures(first);
    let mut section = classed("section", "result")
        .child(blocks::heading(title, &subtitle, all.valid()))
        .child(blocks::remarks(reasons.iter().map(String::as_str), std::iter::empty()))
        .child(summary(all, &figures));
    if let Some(ratios) = floor_ratios(all) {
        let ratios = all.servers.iter().zip(ratios).filter_map(|(server, ratio)| Some((&server.label, ratio?)));
        let ratios: Vec<String> = ratios.map(|(label, ratio)| format!("{label} {}", number(ratio))).collect();
        let line = format!("Floor ratio (CPU ÷ CPU of a bare send of the same bytes): {}.", ratios.join(", "));
        section = section.child(element("p").text(line));
    }
    section = section.child(element("h2").text("Percentiles")).child(curves(all, first)?);
    section = section.child(element("h2").text("Figures")).child(panels(all, first, &figures));
    let mut conditions = vec![facts::conditions(first)];
    // All servers ran on the same host, with different programs.
    for server in all.servers.iter().filter(|server| server.runs.first().is_some_and(|run| run.program.is_some())) {
        conditions.extend(server.runs.first().map(|run| facts::program(&server.label, run)));
    }
    Ok(section.child(element("h2").text("Host, versions, flags, seed")).child(blocks::facts(&conditions)))
}

/// The section of a comparison with and without stalled readers.
///
/// # Errors
/// A saved histogram is invalid.
pub fn slow_section(slow: &SlowComparison) -> anyhow::Result<Element> {
    let runs = |label: &str, read: fn(&crate::results::comparison::SlowRound) -> &Outcome| Compared {
        label: label.to_owned(),
        runs: slow.rounds.iter().map(|round| read(round).clone()).collect(),
    };
    let all = Comparison {
        servers: vec![runs("everyone reads", |round| &round.without), runs("some stall", |round| &round.with)],
    };
    let ratio = slow.median().map_or(f64::NAN, crate::results::comparison::SlowRound::ratio);
    section(&format!("Slow readers: p99.9 with ÷ without {}", number(ratio)), &all)
}

/// The table: median, range and ratio of every figure, with a column per server.
fn summary(all: &Comparison, figures: &[Figure]) -> Element {
    let names = all.servers.iter().map(|server| element("th").text(&server.label));
    let head = element("tr").child(element("th").text("figure")).children(names);
    let rows = known(all, figures).into_iter().map(|(figure, spreads)| {
        let base = spreads[0].map(|spread| spread.median).filter(|median| *median != 0.0);
        let cells = spreads.iter().enumerate().map(|(index, spread)| {
            let Some(spread) = spread else { return element("td").text("-") };
            let ratio = base.filter(|_| index > 0).map(|base| format!(" × {:.2}", spread.median / base));
            element("td")
                .child(element("b").text(figure.unit.show(spread.median)))
                .child(classed("span", "ratio").text(ratio.unwrap_or_default()))
                .child(classed("div", "spread").text(spread.range(figure.unit)))
        });
        element("tr").child(element("td").text(&figure.name)).children(cells)
    });
    let table =
        classed("table", "figures compared").child(element("thead").child(head)).child(element("tbody").children(rows));
    classed("div", "scroll").child(table)
}

/// Figures of at least one server, with the spread of each server.
fn known<'a>(all: &Comparison, figures: &'a [Figure]) -> Vec<(&'a Figure, Vec<Option<Spread>>)> {
    let spreads = figures.iter().map(|figure| {
        let of = all.servers.iter().map(|server| figure.spread(&server.runs)).collect::<Vec<_>>();
        (figure, of)
    });
    spreads.filter(|(_, spreads)| spreads.iter().any(Option::is_some)).collect()
}

/// A plot per histogram, with a line per server over all its rounds.
fn curves(all: &Comparison, first: &Outcome) -> anyhow::Result<Element> {
    let mut plots = Vec::new();
    for name in histogram_names(first).into_iter().filter(|name| !name.starts_with("lag")) {
        let mut curves = Vec::new();
        for server in &all.servers {
            let mut whole = Durations::default();
            for text in server.runs.iter().filter_map(|run| run.histograms.get(name)) {
                whole.merge(&Durations::decode(text)?);
            }
            curves.push((server.label.clone(), whole));
        }
        let title = format!("{}, by percentile", capitalized(&histogram_label(name)));
        plots.push(percentile_chart(&title, "All rounds combined.", &curves).draw());
    }
    Ok(classed("div", "plots").children(plots))
}

/// A panel of bars per figure.
fn panels(all: &Comparison, first: &Outcome, figures: &[Figure]) -> Element {
    let mut panels = Vec::new();
    let unit = first.work().1;
    let split = |server: &Compared| {
        let of = |read: fn(&crate::results::outcome::ServerFigures) -> f64| {
            let values = server.runs.iter().filter_map(|run| run.server.as_ref().map(read)).collect();
            Spread::of(values).map(|spread| spread.median)
        };
        Some((server.label.clone(), of(|server| server.user_ns)?, of(|server| server.system_ns)?))
    };
    let splits: Vec<_> = all.servers.iter().filter_map(split).collect();
    if first.work().0 > 0 && first.storm.is_none() && !splits.is_empty() {
        panels.push(cpu_split(unit, &splits));
    }
    let is_part = |figure: &Figure| figure.name.starts_with("of it ");
    for (figure, spreads) in known(all, figures).into_iter().filter(|(figure, _)| !is_part(figure)) {
        let base = spreads[0].map(|spread| spread.median).filter(|median| *median != 0.0);
        let bar = |(index, (server, spread)): (usize, (&Compared, &Option<Spread>))| {
            let spread = (*spread)?;
            let ratio =
                base.filter(|_| index > 0).map_or_else(String::new, |base| format!("  × {:.2}", spread.median / base));
            let shown = |value: f64| figure.unit.show(value);
            Some(Bar {
                name: server.label.clone(),
                parts: vec![(spread.median, index)],
                range: Some((spread.low, spread.high)),
                shown: format!("{}{ratio}", shown(spread.median)),
                told: format!("{}: {} ({})", server.label, shown(spread.median), spread.range(figure.unit)),
            })
        };
        let rows: Vec<Bar> = all.servers.iter().zip(&spreads).enumerate().filter_map(bar).collect();
        let caption = match figure.better {
            Better::Higher => "More is better.",
            Better::Lower => "Less is better.",
        };
        panels.push(bars(&capitalized(&figure.name), caption, &rows, &[]));
    }
    classed("div", "plots").children(panels)
}
