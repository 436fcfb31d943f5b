//! The report as one HTML file: no script, nothing loaded from elsewhere, readable on paper and in the dark. Draws what
//! results hold and judges nothing.

mod axis;
mod bars;
mod blocks;
mod chart;
mod comparison;
mod edge;
mod growth;
mod markup;
mod run;
mod suite;
#[cfg(test)]
mod tests;

use self::markup::element;
use super::title;
use crate::results::comparison::{Compared, Comparison};
use crate::results::document::Document;
use crate::results::outcome::Outcome;

/// The page of some results, one after another; several single runs of one scenario are compared as well.
///
/// # Errors
/// A kept histogram cannot be read.
pub fn page(documents: &[Document]) -> anyhow::Result<String> {
    let mut sections = Vec::new();
    let together = together(documents);
    if let Some(together) = &together {
        sections.push(comparison::section("Comparison", together)?);
    }
    for document in documents {
        sections.push(match document {
            Document::Run(outcome) => run::section(outcome, None)?,
            Document::Compare(all) => comparison::section("Comparison", all)?,
            Document::Grow(all) => growth::section(all),
            Document::Slow(slow) => comparison::slow_section(slow)?,
            Document::Suite(all) => suite::section(all)?,
            Document::Edge(all) => edge::section(all)?,
        });
    }
    let head = element("head")
        .child(element("meta").with("charset", "utf-8"))
        .child(element("meta").with("name", "viewport").with("content", "width=device-width, initial-scale=1"))
        .child(element("meta").with("name", "color-scheme").with("content", "light dark"))
        .child(element("title").text(page_title(documents)))
        .child(element("style").raw(include_str!("style.css")));
    let made = format!(
        "Made by loadtest {}. Latency counts per receiver, in an open loop from the scheduled time.",
        env!("CARGO_PKG_VERSION")
    );
    let body = element("body").child(element("main").children(sections)).child(element("footer").text(made));
    let mut out = String::from("<!DOCTYPE html>\n");
    element("html").with("lang", "en").child(head).child(body).write(&mut out);
    out.push('\n');
    Ok(out)
}

fn page_title(documents: &[Document]) -> String {
    match documents {
        [Document::Run(outcome)] => format!("loadtest: {}", title::title(&outcome.options)),
        [Document::Compare(all)] => {
            let names: Vec<&str> = all.servers.iter().map(|server| server.label.as_str()).collect();
            format!("loadtest: {}", names.join(" and "))
        }
        [Document::Grow(all)] => format!("loadtest: growth by {}", all.option),
        [Document::Slow(_)] => "loadtest: slow readers".to_owned(),
        [Document::Suite(all)] => format!("loadtest: suite of {}", all.server),
        [Document::Edge(all)] => format!("loadtest: the edge of {}", all.server),
        _ => "loadtest: results".to_owned(),
    }
}

/// Single runs of one scenario, by the server's name; `None` when there are none to compare.
fn together(documents: &[Document]) -> Option<Comparison> {
    let runs = || {
        documents.iter().filter_map(|document| match document {
            Document::Run(outcome) => Some(outcome.as_ref()),
            _ => None,
        })
    };
    let scenario = |run: &Outcome| title::scenario(&run.options);
    let first = runs().next()?;
    if runs().count() < 2 || runs().any(|run| scenario(run) != scenario(first)) {
        return None;
    }
    let mut servers: Vec<Compared> = Vec::new();
    for run in runs() {
        let label = &run.options.name;
        match servers.iter_mut().find(|server| server.label == *label) {
            Some(server) => server.runs.push(run.clone()),
            None => servers.push(Compared { label: label.clone(), runs: vec![run.clone()] }),
        }
    }
    (servers.len() > 1).then_some(Comparison { servers })
}
