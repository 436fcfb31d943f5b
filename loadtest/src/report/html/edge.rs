//! Owns the section of `edge`: a table for each scenario, then all figures. Never judges.

use super::blocks;
use super::comparison;
use super::markup::{Element, classed, element};
use super::run::capitalized;
use crate::report::edge::rows;
use crate::results::edge::EdgeResult;

/// The section of a result.
///
/// # Errors
/// A saved histogram is invalid.
pub fn section(all: &EdgeResult) -> anyhow::Result<Element> {
    let reasons = all.reasons();
    let subtitle = format!("Each part of the edge against plain, payloads of {} B of JSON.", all.payload_bytes);
    let mut section = classed("section", "result")
        .child(blocks::heading(&format!("{}: cost of the edge", all.server), &subtitle, all.valid()))
        .child(blocks::remarks(reasons.iter().map(String::as_str), std::iter::empty()));
    for scenario in &all.scenarios {
        let Some((what, heading, lines)) = rows(scenario) else { continue };
        section = section
            .child(element("h2").text(capitalized(&scenario.name)))
            .child(element("p").text(capitalized(&what) + "."))
            .child(blocks::table("figures", &heading, &lines))
            .child(classed("p", "command").child(element("code").text(scenario.command.join(" "))));
    }
    for scenario in &all.scenarios {
        section = section.child(comparison::section(&capitalized(&scenario.name), &scenario.compared)?);
    }
    Ok(section)
}
