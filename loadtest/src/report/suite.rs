//! Owns the table of a suite on a terminal: a line per figure, with target and verdict. Never judges.

use std::collections::BTreeMap;

use crate::results::suite::SuiteResult;
use crate::text;

/// The table: part, figure, value, target and verdict in each line.
#[must_use]
pub fn table(all: &SuiteResult) -> String {
    let heading = ["part", "figure", "measured", "target", "verdict"].map(str::to_owned);
    let mut lines: Vec<Vec<String>> = Vec::new();
    for part in &all.parts {
        let valid = part.reasons().is_empty();
        if let Some(why) = &part.skipped {
            lines.push(vec![part.name.clone(), "-".into(), "-".into(), "-".into(), format!("not run: {why}")]);
        }
        for (index, goal) in part.goals.iter().enumerate() {
            let name = if index == 0 { part.name.clone() } else { String::new() };
            let verdict = match (valid, goal.met) {
                (false, _) => "INVALID",
                (true, Some(true)) => "met",
                (true, Some(false)) => "missed",
                (true, None) => "",
            };
            let target = goal.target.clone().unwrap_or_default();
            lines.push(vec![name, goal.figure.clone(), goal.shown.clone(), target, verdict.to_owned()]);
        }
        if part.skipped.is_none() && part.goals.is_empty() {
            let verdict = if valid { "no figure" } else { "INVALID" };
            lines.push(vec![part.name.clone(), "-".into(), "-".into(), "-".into(), verdict.into()]);
        }
    }
    let mut shown = text::table("llrrl", &heading, &lines);
    for part in &all.parts {
        for reason in part.reasons() {
            shown.push_str(&format!("{} {}: {reason}\n", text::bad("INVALID"), part.name));
        }
    }
    let mut stores: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    if let Some(run) = all.parts.iter().find_map(|part| part.run.as_deref()) {
        let host = &run.host;
        shown.push_str(&format!("\n{} x {}, Linux {}, load {} before\n", host.cpus, host.cpu, host.kernel, host.load));
    }
    for part in &all.parts {
        if let Some(store) = part.run.as_ref().and_then(|run| run.options.store.as_ref()) {
            stores.entry(store.to_string()).or_default().push(&part.name);
        }
    }
    for (store, parts) in stores {
        shown.push_str(&format!("store {store}: {}\n", parts.join("; ")));
    }
    if all.quick {
        shown.push_str("quick: too short for figures\n");
    }
    shown.push_str(&if all.valid() { text::good("VALID") } else { text::bad("INVALID") });
    shown.push('\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::results::outcome::Outcome;
    use crate::results::suite::PartResult;

    #[test]
    fn the_table_names_skipped_and_invalid_parts() {
        let part = |name: &str, run: Option<Outcome>, skipped: Option<&str>| PartResult {
            name: name.to_owned(),
            command: Vec::new(),
            skipped: skipped.map(str::to_owned),
            goals: Vec::new(),
            run: run.map(Box::new),
            slow: None,
        };
        let good = samples::fanout("roomring", 1.0);
        let mut bad = good.clone();
        bad.verdict.valid = false;
        bad.verdict.reasons = vec!["3 publications lost".into()];
        let mut all = SuiteResult {
            server: "roomring".into(),
            quick: true,
            parts: vec![part("a", Some(good), None), part("b", None, Some("uws cannot: no recovery"))],
        };
        let text = table(&all);
        assert!(text.contains("\nstore memory: a\n"), "{text}");
        assert!(text.contains("not run: uws cannot: no recovery") && text.ends_with("\nVALID\n"), "{text}");
        all.parts.push(part("c", Some(bad), None));
        let text = table(&all);
        assert!(text.contains("INVALID c: 3 publications lost") && !all.valid(), "{text}");
        all.parts.clear();
        assert!(!all.valid(), "nothing was run");
    }
}
