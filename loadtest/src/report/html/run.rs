//! Owns the section of one run: key figures, plots, tables, conditions. Never judges.

use super::axis::Axis;
use super::bars::{Bar, bars};
use super::blocks;
use super::chart::{Chart, PlotLine};
use super::markup::{Element, classed, element};
use crate::measure::histogram::Durations;
use crate::report::facts::{self, histogram_label, histogram_names};
use crate::report::title;
use crate::results::outcome::{Outcome, RunStage, Sample, plural};
use crate::text::{self, bytes, micros, number};

/// Minimum values of a curve; with fewer, the table of percentiles says more.
const DRAWN_FROM: u64 = 10;

/// The section of a run. With a `name` it belongs to a larger result, and its details are folded.
///
/// # Errors
/// A saved histogram is invalid.
pub fn section(outcome: &Outcome, name: Option<&str>) -> anyhow::Result<Element> {
    let (scenario, what) = title::scenario(&outcome.options);
    let title = name.map_or_else(|| format!("{}: {scenario}", outcome.options.name), str::to_owned);
    let (measured, seed) = (outcome.measured_s, outcome.options.seed);
    let edge = outcome.options.edge.told();
    let subtitle = format!("{what}. Edge: {edge}. {measured:.1} s measured, seed {seed}.");
    let verdict = &outcome.verdict;
    let strings = |all: &'_ [String]| all.to_vec();
    let (reasons, notes) = (strings(&verdict.reasons), strings(&verdict.notes));
    let mut section = classed("section", "result")
        .child(blocks::heading(&title, &subtitle, verdict.valid))
        .child(blocks::remarks(
            reasons.iter().chain(&outcome.complaints).map(String::as_str),
            notes.iter().map(String::as_str),
        ))
        .child(cards(outcome))
        .child(plots(outcome)?);
    let percentiles = facts::percentiles(outcome);
    let mut details = classed("div", "details");
    if !percentiles.is_empty() {
        let heading: Vec<String> = [""].iter().chain(&facts::PERCENTILES).map(|word| (*word).to_owned()).collect();
        details =
            details.child(element("h2").text("Percentiles")).child(blocks::table("figures", &heading, &percentiles));
    }
    details = details.child(element("h2").text("Figures")).child(blocks::facts(&facts::sections(outcome)));
    details = details.child(element("h2").text("Host, versions, flags, seed"));
    details = details.child(blocks::facts(&[facts::conditions(outcome)]));
    section = match name {
        None => section.child(details),
        Some(_) => section.child(element("details").child(element("summary").text("All figures")).child(details)),
    };
    Ok(section)
}

/// Cards with the key figures.
fn cards(outcome: &Outcome) -> Element {
    let (count, unit) = outcome.work();
    let mut cards = Vec::new();
    let mut card = |value: String, name: &str| {
        cards.push(
            classed("div", "card")
                .child(classed("div", "card-value").text(value))
                .child(classed("div", "card-name").text(name)),
        );
    };
    if count > 0 {
        card(number(count as f64 / outcome.measured_s), &format!("{} per second", plural(unit)));
    }
    if let Some(server) = &outcome.server {
        if let Some(us) = outcome.storm.and_then(|storm| storm.server_us_per_reconnect) {
            card(micros(us), "server CPU per reconnect");
        } else if count > 0 {
            card(number(server.per_cpu_second), &format!("{} per server CPU-second", plural(unit)));
        } else {
            card(format!("{} B", number(server.private_per_connection[0])), "private memory per connection");
            card(bytes(server.slab_per_connection), "kernel slab per connection");
            card(format!("{} %", number(server.busy * 100.0)), "of a CPU");
        }
    }
    if let Some(name) = histogram_names(outcome).first().filter(|name| **name != "lag") {
        let summary = &outcome.durations[*name];
        for (value, quantile) in [(summary.p50, "p50"), (summary.p99, "p99"), (summary.p999, "p99.9")] {
            card(micros(value), &format!("{} {quantile}", histogram_label(name)));
        }
    }
    classed("div", "cards").children(cards)
}

fn plots(outcome: &Outcome) -> anyhow::Result<Element> {
    let mut plots = Vec::new();
    let names = histogram_names(outcome);
    let decoded = |name: &str| Durations::decode(&outcome.histograms[name]);
    let enough = |name: &str| outcome.durations[name].count >= DRAWN_FROM && outcome.histograms.contains_key(name);
    for name in names.iter().filter(|name| **name != "lag" && enough(name)) {
        let mut curves = vec![(histogram_label(name), decoded(name)?)];
        if *name == "latency" && outcome.histograms.contains_key("lag") {
            curves.push((histogram_label("lag"), decoded("lag")?));
        }
        let title = match *name {
            "latency" => "Latency by percentile, per receiver".to_owned(),
            "last_receiver" => "Time to the last receiver of each publish, by percentile".to_owned(),
            _ => format!("{}, by percentile", capitalized(&histogram_label(name))),
        };
        plots.push(percentile_chart(&title, "", &curves).draw());
    }
    plots.extend(series_plots(outcome).iter().map(Chart::draw));
    if let Some(server) = &outcome.server {
        let (count, unit) = outcome.work();
        if count > 0 && outcome.storm.is_none() {
            plots.push(cpu_split(unit, &[(outcome.options.name.clone(), server.user_ns, server.system_ns)]));
        }
        if facts::are_connected(outcome) {
            plots.push(memory(outcome));
        }
    }
    Ok(classed("div", "plots").children(plots))
}

/// Curves over percentiles, with the same width for each nine.
pub fn percentile_chart(title: &str, caption: &str, curves: &[(String, Durations)]) -> Chart {
    let curves: Vec<_> = curves.iter().map(|(name, durations)| (name.as_str(), durations.curve())).collect();
    let points = || curves.iter().flat_map(|(_, curve)| curve);
    let high = points().map(|point| point.1).fold(0.0, f64::max);
    // From the medians on: the smallest values say little, but would set the scale.
    let medians = curves.iter().filter_map(|(_, curve)| curve.iter().find(|point| point.0 >= 2.0));
    let low = medians.map(|point| point.1).fold(f64::INFINITY, f64::min).min(high);
    let tell = |inverse, us| format!("p{} {}", percentile(inverse), micros(us));
    let lines = curves.iter().enumerate().map(|(index, (name, curve))| PlotLine {
        name: (*name).to_owned(),
        color: index,
        points: curve.iter().map(|&(inverse, value)| (inverse, Some(value))).collect(),
        tell,
    });
    let lines = lines.collect();
    Chart {
        title: title.to_owned(),
        caption: caption.to_owned(),
        x: Axis::percentiles(points().map(|point| point.0).fold(10.0, f64::max)),
        y: Axis::fitting("time", low * 0.7, high, micros),
        lines,
        bands: Vec::new(),
    }
}

/// 1 ÷ (1 − quantile) as a percentile, with significant digits only.
fn percentile(inverse: f64) -> String {
    let digits = inverse.log10().floor().max(0.0) as usize;
    format!("{:.digits$}", 100.0 - 100.0 / inverse)
}

/// Plots over time.
fn series_plots(outcome: &Outcome) -> Vec<Chart> {
    let series = &outcome.series;
    let Some(last) = series.last() else { return Vec::new() };
    let plot = |title: &str, y: Axis, lines: Vec<PlotLine>| Chart {
        title: title.to_owned(),
        caption: String::new(),
        x: Axis::time("seconds since the first connect", last.at_s, number),
        y,
        lines,
        bands: bands(series),
    };
    let line = |name: &str, color, tell: fn(f64, f64) -> String, read: &dyn Fn(&Sample) -> Option<f64>| PlotLine {
        name: name.to_owned(),
        color,
        points: series.iter().map(|sample| (sample.at_s, read(sample))).collect(),
        tell,
    };
    let most = |read: &dyn Fn(&Sample) -> Option<f64>| series.iter().filter_map(read).fold(0.0, f64::max);
    let mut charts = Vec::new();
    let units = plural(outcome.work().1);
    let done = |sample: &Sample| Some(sample.done);
    if most(&done) > 0.0 {
        let y = Axis::linear(&format!("{units} per second"), most(&done), thousands);
        let tell = |at, rate| format!("{} per second at {} s", number(rate), number(at));
        charts.push(plot("Throughput over time", y, vec![line(&units, 0, tell, &done)]));
    }
    if series.iter().any(|sample| sample.p50.is_some()) {
        let least = series.iter().filter_map(|sample| sample.p50).fold(f64::INFINITY, f64::min);
        let tell = |at, us| format!("{} at {} s", micros(us), number(at));
        let lines = vec![
            line("p50", 0, tell, &|sample| sample.p50),
            line("p99", 1, tell, &|sample| sample.p99),
            line("p99.9", 2, tell, &|sample| sample.p999),
            line("max", 3, tell, &|sample| sample.max),
        ];
        let y = Axis::fitting("latency of the interval", least, most(&|sample| sample.max), micros);
        charts.push(plot("Latency over time", y, lines));
    }
    let server = |sample: &Sample| sample.server_cpus.map(|cpus| cpus * 100.0);
    let generator = |sample: &Sample| Some(sample.generator_cpus * 100.0);
    let percent = |value: f64| format!("{} %", number(value));
    let tell = |at, share| format!("{} % at {} s", number(share), number(at));
    let y = Axis::linear("share of a CPU", most(&server).max(most(&generator)).max(10.0), percent);
    let mut lines = vec![line("generator", 1, tell, &generator)];
    if series.iter().any(|sample| sample.server_cpus.is_some()) {
        lines.insert(0, line("server", 0, tell, &server));
    }
    charts.push(plot("CPU over time", y, lines));
    let resident = |sample: &Sample| sample.server_resident.map(|size| size as f64 / (1024.0 * 1024.0));
    if most(&resident) > 0.0 {
        let tell = |at, size| format!("{} MiB at {} s", number(size), number(at));
        let y = Axis::linear("resident memory of the server, MiB", most(&resident), number);
        charts.push(plot("Memory over time", y, vec![line("server", 0, tell, &resident)]));
    }
    charts
}

/// Stages outside of the measured time.
fn bands(series: &[Sample]) -> Vec<(f64, f64, String)> {
    let mut bands: Vec<(f64, f64, String)> = Vec::new();
    let mut begun = 0.0;
    for sample in series {
        let name = match sample.stage {
            RunStage::Connecting | RunStage::Settling => "connecting",
            RunStage::Warming => "warm-up",
            RunStage::Measuring => "",
            RunStage::Draining => "draining",
            RunStage::Checking => "checking",
        };
        match bands.last_mut() {
            Some(last) if last.2 == name => last.1 = sample.at_s,
            _ => bands.push((begun, sample.at_s, name.to_owned())),
        }
        begun = sample.at_s;
    }
    bands.retain(|(_, _, name)| !name.is_empty());
    bands
}

/// CPU per unit of work of several servers, split into user and kernel.
pub fn cpu_split(unit: &str, servers: &[(String, f64, f64)]) -> Element {
    let bar = |(name, user, kernel): &(String, f64, f64)| Bar {
        name: name.clone(),
        parts: vec![(*user, 4), (*kernel, 5)],
        range: None,
        shown: format!("{} ns", number(user + kernel)),
        told: format!("{name}: {} ns user, {} ns kernel per {unit}", number(*user), number(*kernel)),
    };
    let all: Vec<Bar> = servers.iter().map(bar).collect();
    bars(&format!("Server CPU per {unit}"), "", &all, &[("user", 4), ("kernel", 5)])
}

fn memory(outcome: &Outcome) -> Element {
    let Some(server) = &outcome.server else { return element("figure") };
    let bar = |name: &str, value: f64, told: &str| Bar {
        name: name.to_owned(),
        parts: vec![(value, 2)],
        range: None,
        shown: bytes(value),
        told: told.to_owned(),
    };
    let all = [
        bar("private, joined", server.private_per_connection[0], "private pages of the server, all clients joined"),
        bar("private, at the end", server.private_per_connection[1], "the same at the end of the measured time"),
        bar("PSS, joined", server.pss_per_connection[0], "proportional set size of the server"),
        bar(
            "kernel slab",
            server.slab_per_connection,
            "of the whole host: includes both ends of each connection if both are here",
        ),
    ];
    let clients = text::grouped(u64::from(outcome.options.connections));
    bars("Memory per connection", &format!("Growth by {clients} connections, per connection."), &all, &[])
}

fn thousands(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", number(value / 1e6)),
        value if value >= 1e4 => format!("{} k", number(value / 1e3)),
        value => number(value),
    }
}

/// The text with a capital first letter.
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
