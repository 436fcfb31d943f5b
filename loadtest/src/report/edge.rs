//! Owns the tables of `edge`: one per scenario, with a line per part and its ratio to plain. Never judges.

use super::figures::{Figure, figures};
use super::{facts, title};
use crate::results::comparison::Compared;
use crate::results::edge::{EdgeResult, EdgeScenario};
use crate::text;

/// The tables on a terminal.
#[must_use]
pub fn table(all: &EdgeResult) -> String {
    let mut shown = String::new();
    for scenario in &all.scenarios {
        let Some((what, heading, lines)) = rows(scenario) else { continue };
        shown.push_str(&format!("{}: {what}\n", text::bold(&scenario.name)));
        shown.push_str(&super::comparison::stores(&scenario.compared));
        shown.push_str(&text::table("l", &heading, &lines));
        shown.push('\n');
    }
    for reason in all.reasons() {
        shown.push_str(&format!("{} {reason}\n", text::bad("INVALID")));
    }
    if shown.is_empty() {
        shown.push_str("no run was completed\n");
    } else if all.valid() {
        shown.push_str(&(text::good("VALID") + "\n"));
    }
    shown
}

/// A description of a scenario, then its table: heading and a line per part. `None` without runs.
#[must_use]
pub fn rows(scenario: &EdgeScenario) -> Option<(String, Vec<String>, Vec<Vec<String>>)> {
    let servers = &scenario.compared.servers;
    let first = servers.first()?.runs.first()?;
    let rounds = servers.iter().map(|server| server.runs.len()).max().unwrap_or(0);
    let what =
        format!("{}; medians of {rounds} rounds of {:.1} s", title::scenario(&first.options).1, first.measured_s);
    let unit = first.work().1;
    // Names of figures, with short names for the heading.
    let mut names = vec![(format!("CPU per {unit}"), "server CPU".to_owned())];
    let histograms = facts::histogram_names(first);
    if let Some(name) = histograms.first().filter(|name| !name.starts_with("lag")) {
        let label = facts::histogram_label(name);
        names.extend(["p50", "p99"].map(|quantile| format!("{label} {quantile}")).map(|name| (name.clone(), name)));
    }
    names.push((format!("received per {unit}"), "received".to_owned()));
    let others = [
        ("compressed", "compressed"),
        ("private memory per connection", "memory/conn"),
        ("kernel slab per connection", "slab/conn"),
        ("CPU per idle connection and second", "CPU/conn and s"),
    ];
    names.extend(others.map(|(name, short)| (name.to_owned(), short.to_owned())));
    names.push((format!("generator's CPU per {unit}"), "generator CPU".to_owned()));
    let all = figures(first);
    let known = |(name, short): &(String, String)| {
        let figure = all.iter().find(|figure| figure.name == *name)?;
        let is_told = servers.iter().any(|server| figure.spread(&server.runs).is_some());
        is_told.then(|| (figure, short.clone()))
    };
    let (shown, names): (Vec<&Figure>, Vec<String>) = names.iter().filter_map(known).unzip();
    let mut heading = vec![if first.work().0 > 0 { format!("per {unit}") } else { String::new() }];
    heading.extend(names.into_iter().flat_map(|name| [name, String::new()]));
    let line = |server: &Compared| {
        let mut cells = vec![server.label.clone()];
        for figure in &shown {
            let of = |runs| figure.spread(runs).map(|spread| spread.median);
            let (value, base) = (of(&server.runs), of(&servers[0].runs));
            cells.push(value.map_or_else(|| "-".to_owned(), |value| figure.unit.show(value)));
            let is_base = std::ptr::eq(server, &raw const servers[0]);
            let base = base.filter(|base| !is_base && *base != 0.0);
            cells.push(value.zip(base).map_or_else(String::new, |(value, base)| format!("x{:.2}", value / base)));
        }
        cells
    };
    Some((what, heading, servers.iter().map(line).collect()))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::report::samples;
    use crate::results::comparison::Comparison;

    /// A sample result of one scenario, plain and with TLS; JWT failed.
    pub fn sample() -> EdgeResult {
        let server = |label: &str, factor| Compared {
            label: label.to_owned(),
            runs: vec![samples::fanout(label, factor), samples::fanout(label, factor * 1.1)],
        };
        let scenario = EdgeScenario {
            name: "fanout, 1 in flight".into(),
            command: vec!["loadtest".into(), "fanout".into()],
            compared: Comparison { servers: vec![server("plain", 1.0), server("tls", 1.5)] },
            failed: vec![("jwt".into(), "the server did not start".into())],
        };
        EdgeResult { server: "roomring".into(), payload_bytes: 512, scenarios: vec![scenario] }
    }

    #[test]
    fn each_part_has_a_line_with_its_ratio_to_plain() {
        let mut all = sample();
        let text = table(&all);
        let line = text.lines().find(|line| line.starts_with("tls ")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("x1.50"), "{text}");
        assert!(text.contains("per delivery  ") && text.contains("server CPU") && text.contains("received"), "{text}");
        assert!(text.contains("INVALID fanout, 1 in flight, jwt: the server did not start"), "{text}");
        all.scenarios[0].failed.clear();
        assert!(table(&all).ends_with("VALID\n"));
        all.scenarios.clear();
        assert_eq!(table(&all), "no run was completed\n");
        assert!(!all.valid());
    }
}
