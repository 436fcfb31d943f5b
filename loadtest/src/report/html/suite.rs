//! Owns the section of a suite: the table of figures and targets, then each part. Never judges.

use super::blocks;
use super::comparison;
use super::markup::{Element, classed, element};
use super::run;
use crate::results::suite::{PartResult, SuiteResult};

/// The section of a suite.
///
/// # Errors
/// A saved histogram is invalid.
pub fn section(all: &SuiteResult) -> anyhow::Result<Element> {
    let goals = all.parts.iter().flat_map(|part| part.goals.iter().map(move |goal| (part, goal)));
    let met = goals.filter_map(|(part, goal)| goal.met.map(|met| met && part.reasons().is_empty()));
    let (met, of) = met.fold((0, 0), |(met, of), one| (met + u32::from(one), of + 1));
    let short = if all.quick { " Too short for figures (--quick)." } else { "" };
    let subtitle = format!("{met} of {of} targets met.{short}");
    let reasons: Vec<String> = all
        .parts
        .iter()
        .flat_map(|part| part.reasons().into_iter().map(|reason| format!("{}: {reason}", part.name)))
        .collect();
    let mut section = classed("section", "result suite")
        .child(blocks::heading(&format!("{}: the suite", all.server), &subtitle, all.valid()))
        .child(blocks::remarks(reasons.iter().map(String::as_str), std::iter::empty()))
        .child(table(all));
    for part in &all.parts {
        let command = classed("p", "command").child(element("code").text(part.command.join(" ")));
        if let Some(slow) = &part.slow {
            section = section.child(comparison::slow_section(slow)?).child(command);
        } else if let Some(run) = &part.run {
            section = section.child(run::section(run, Some(&part.name))?).child(command);
        }
    }
    Ok(section)
}

fn table(all: &SuiteResult) -> Element {
    let heading = ["part", "figure", "measured", "target", "verdict"].map(|name| element("th").text(name));
    let rows = all.parts.iter().flat_map(rows);
    let table = classed("table", "figures goals")
        .child(element("thead").child(element("tr").children(heading)))
        .child(element("tbody").children(rows));
    classed("div", "scroll").child(table)
}

fn rows(part: &PartResult) -> Vec<Element> {
    let row = |cells: [&str; 4], verdict: Element| {
        element("tr").children(cells.map(|text| element("td").text(text))).child(element("td").child(verdict))
    };
    let valid = part.reasons().is_empty();
    if let Some(why) = &part.skipped {
        return vec![row([&part.name, "", "", ""], classed("span", "note").text(format!("not run: {why}")))];
    }
    let goals = part.goals.iter().enumerate().map(|(index, goal)| {
        let name = if index == 0 { part.name.as_str() } else { "" };
        let verdict = match (valid, goal.met) {
            (false, _) => classed("span", "badge bad").text("INVALID"),
            (true, Some(true)) => classed("span", "badge good").text("met"),
            (true, Some(false)) => classed("span", "badge bad").text("missed"),
            (true, None) => element("span"),
        };
        row([name, &goal.figure, &goal.shown, goal.target.as_deref().unwrap_or("")], verdict)
    });
    goals.collect()
}
