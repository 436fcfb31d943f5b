//! Owns the table of a comparison on a terminal: medians, ranges, and ratios to the first server. Never judges.

use super::figures::{Spread, bytes_each, figures, floor_ratios};
use super::title;
use crate::results::comparison::{Compared, Comparison};
use crate::text;

/// The table: a row per figure, with median, range and ratio for each server.
#[must_use]
pub fn table(all: &Comparison) -> String {
    let Some(first) = all.servers.iter().flat_map(|server| &server.runs).next() else {
        return "no run was completed\n".to_owned();
    };
    let (name, what) = title::scenario(&first.options);
    let rounds = all.servers.iter().map(|server| server.runs.len()).max().unwrap_or(0);
    let seconds = first.options.duration.as_secs_f64();
    let mut shown = text::bold(&format!("{name}: {what}")) + "\n";
    shown.push_str(&format!("medians of {rounds} interleaved rounds of {seconds:.1} s, with lowest to highest\n"));
    if all.servers.iter().any(|server| server.name() != server.label) {
        let names: Vec<String> = all.servers.iter().map(Compared::name).collect();
        shown.push_str(&format!("servers: {}\n", names.join(", ")));
    }
    shown.push_str(&stores(all));
    shown.push('\n');
    let mut heading = vec![String::new()];
    for (index, server) in all.servers.iter().enumerate() {
        heading.extend([server.label.clone(), "range".to_owned()]);
        heading.extend((index > 0).then(|| "ratio".to_owned()));
    }
    let mut lines = Vec::new();
    for figure in figures(first) {
        let spreads: Vec<Option<Spread>> = all.servers.iter().map(|server| figure.spread(&server.runs)).collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        let base = spreads[0].map(|spread| spread.median);
        let mut cells = vec![figure.name.clone()];
        for (index, spread) in spreads.iter().enumerate() {
            let shown = spread.map(|spread| (figure.unit.show(spread.median), spread.range(figure.unit)));
            let (median, range) = shown.unwrap_or_else(|| ("-".to_owned(), String::new()));
            cells.extend([median, range]);
            cells.extend((index > 0).then(|| ratio(spread.map(|spread| spread.median), base)));
        }
        lines.push(cells);
    }
    shown.push_str(&text::table("l", &heading, &lines));
    shown.push_str(&floor_lines(all));
    for (label, reason) in all.reasons() {
        shown.push_str(&format!("{} {label}: {reason}\n", text::bad("INVALID")));
    }
    if all.valid() {
        shown.push_str(&(text::good("VALID") + "\n"));
    }
    shown
}

/// A line about the store of each server that has one.
#[must_use]
pub fn stores(all: &Comparison) -> String {
    let store = |server: &Compared| Some((server.label.clone(), server.runs.first()?.options.store.clone()?));
    let stores: Vec<_> = all.servers.iter().filter_map(store).collect();
    match stores.first() {
        None => String::new(),
        Some((_, first)) if stores.iter().all(|(_, store)| store == first) => format!("store: {first}\n"),
        Some(_) => {
            let told = stores.iter().map(|(label, store)| format!("{label} {store}"));
            format!("stores: {}\n", told.collect::<Vec<_>>().join("; "))
        }
    }
}

fn ratio(value: Option<f64>, base: Option<f64>) -> String {
    match (value, base) {
        (Some(value), Some(base)) if base != 0.0 => format!("x{:.2}", value / base),
        _ => String::new(),
    }
}

fn floor_lines(all: &Comparison) -> String {
    let Some(ratios) = floor_ratios(all) else { return String::new() };
    let ratios = all.servers.iter().zip(ratios).filter_map(|(server, ratio)| Some((&server.label, ratio?)));
    let ratios: Vec<String> = ratios.map(|(label, ratio)| format!("{label} {ratio:.2}")).collect();
    let mut shown = format!("\nfloor ratio (CPU ÷ CPU of a bare send): {}\n", ratios.join(", "));
    let first = &all.servers[0];
    if let Some(bytes) = first.runs.first().and_then(bytes_each) {
        shown.push_str(&format!("the floor sends frames of {} B, like {}\n", bytes + 4, first.label));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::store::{StoreInUse, StoreMode};

    #[test]
    fn medians_ranges_and_ratios_are_shown() {
        let server = |label: &str, factors: &[f64]| Compared {
            label: label.to_owned(),
            runs: factors.iter().map(|factor| samples::fanout(label, *factor)).collect(),
        };
        let mut all = Comparison { servers: vec![server("new", &[1.0, 1.1, 0.9]), server("old", &[2.0, 2.0, 2.0])] };
        let text = table(&all);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        assert!(line("latency p50").contains("x2.00"), "{text}");
        assert!(line("deliveries per CPU-second").contains("x0.50"), "{text}");
        assert!(line("latency p99 ").contains('…') && text.ends_with("VALID\n"), "{text}");
        assert!(text.contains("\nstore: memory\n"), "{text}");
        let commit = StoreInUse { mode: StoreMode::Commit, filesystem: Some("ext4".into()), overrides: Vec::new() };
        all.servers[1].runs[0].options.store = Some(commit);
        assert!(table(&all).contains("\nstores: new memory; old commit (embedded, durability = store) on ext4\n"));
        all.servers[1].runs[0].verdict.valid = false;
        all.servers[1].runs[0].verdict.reasons = vec!["3 publications lost".into()];
        assert!(table(&all).contains("INVALID old: 3 publications lost"));
        assert!(table(&Comparison { servers: Vec::new() }).contains("no run"));
    }
}
