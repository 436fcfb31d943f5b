//! Owns the rows of a growth, for terminal and HTML. Never judges.

use super::figures::{Figure, figures};
use super::{comparison, title};
use crate::results::comparison::Growth;
use crate::text;

/// Prefixes of the names of shown figures: those of fan-out, idle, echo and churn.
const SHOWN: [&str; 6] =
    ["CPU per ", "of it user", "latency p50", "latency p99", "to the last receiver p99", "private memory"];

/// The shown figures of a growth.
#[must_use]
pub fn shown(growth: &Growth) -> Vec<Figure> {
    let Some(first) = growth.runs().next() else { return Vec::new() };
    let is_chosen =
        |figure: &Figure| SHOWN.iter().any(|name| figure.name.starts_with(name)) && !figure.name.ends_with("p99.9");
    let has = |figure: &Figure| growth.runs().any(|run| figure.value(run).is_some());
    figures(first).into_iter().filter(|figure| is_chosen(figure) && has(figure)).collect()
}

/// The heading, and a row of medians per value and server.
#[must_use]
pub fn rows(growth: &Growth) -> (Vec<String>, Vec<Vec<String>>) {
    let all = shown(growth);
    let mut heading = vec![growth.option.clone(), "server".to_owned()];
    heading.extend(all.iter().map(|figure| figure.name.clone()));
    let mut lines = Vec::new();
    for step in &growth.steps {
        for server in &step.compared.servers {
            let mut cells = vec![step.value.clone(), server.label.clone()];
            cells.extend(all.iter().map(|figure| {
                let spread = figure.spread(&server.runs);
                spread.map_or_else(|| "-".to_owned(), |spread| figure.unit.show(spread.median))
            }));
            lines.push(cells);
        }
    }
    (heading, lines)
}

/// The table for a terminal.
#[must_use]
pub fn table(growth: &Growth) -> String {
    let Some(first) = growth.runs().next() else { return "no run was completed\n".to_owned() };
    let (name, what) = title::scenario(&first.options);
    let rounds = growth.steps[0].compared.servers[0].runs.len();
    let seconds = first.options.duration.as_secs_f64();
    let mut table = text::bold(&format!("{name} by {}", growth.option)) + &format!(" (first: {what})\n");
    table.push_str(&format!("medians of {rounds} interleaved rounds of {seconds:.1} s\n"));
    table.push_str(&comparison::stores(&growth.steps[0].compared));
    table.push('\n');
    let (heading, lines) = rows(growth);
    table.push_str(&text::table("rl", &heading, &lines));
    for reason in growth.reasons() {
        table.push_str(&format!("{} {reason}\n", text::bad("INVALID")));
    }
    if growth.reasons().next().is_none() {
        table.push_str(&(text::good("VALID") + "\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::results::comparison::{Compared, Comparison, GrowthStep};

    #[test]
    fn each_value_and_server_has_a_row() {
        let step = |value: &str, factor: f64| GrowthStep {
            value: value.to_owned(),
            compared: Comparison {
                servers: vec![
                    Compared { label: "one".into(), runs: vec![samples::fanout("one", factor)] },
                    Compared { label: "two".into(), runs: Vec::new() },
                ],
            },
        };
        let mut growth = Growth { option: "connections".into(), steps: vec![step("10", 1.0), step("20", 2.0)] };
        let text = table(&growth);
        let (heading, lines) = rows(&growth);
        assert_eq!((lines.len(), lines[1][0].as_str(), lines[1][1].as_str()), (4, "10", "two"));
        assert!(lines[1][2..].iter().all(|cell| cell == "-") && lines[2][2..].iter().all(|cell| cell != "-"));
        assert!(heading.contains(&"latency p99".to_owned()) && text.ends_with("VALID\n"), "{text}");
        growth.steps[1].compared.servers[0].runs[0].verdict.reasons = vec!["3 lost".into()];
        assert!(table(&growth).contains("INVALID connections 20: one: 3 lost"));
    }
}
