//! Owns the common elements of sections: headings, remarks, tables. Never chooses their contents.

use super::markup::{Element, classed, element};
use crate::report::section::Section;

/// The heading of a result, with its verdict.
pub fn heading(title: &str, subtitle: &str, valid: bool) -> Element {
    let badge =
        if valid { classed("span", "badge good").text("VALID") } else { classed("span", "badge bad").text("INVALID") };
    element("header")
        .child(element("h1").text(title).text(" ").child(badge))
        .child(classed("p", "subtitle").text(subtitle))
}

/// Reasons against a result, and notes.
pub fn remarks<'a>(reasons: impl Iterator<Item = &'a str>, notes: impl Iterator<Item = &'a str>) -> Element {
    let items = reasons.map(|reason| classed("li", "reason").text(reason));
    let notes = notes.map(|note| classed("li", "note").text(note));
    classed("ul", "remarks").children(items.chain(notes))
}

/// A table with labels in the first column and figures in the others.
pub fn table(class: &str, heading: &[String], lines: &[Vec<String>]) -> Element {
    let row = |cell: &'static str, cells: &[String]| {
        element("tr").children(cells.iter().map(|text| element(cell).text(text)))
    };
    let head = element("thead").child(row("th", heading));
    let body = element("tbody").children(lines.iter().map(|cells| row("td", cells)));
    classed("div", "scroll").child(classed("table", class).child(head).child(body))
}

/// Sections of labeled values.
pub fn facts(sections: &[Section]) -> Element {
    let section = |section: &Section| {
        let rows = section.rows.iter().map(|row| {
            element("tr")
                .child(element("td").text(&row.label))
                .child(element("td").text(&row.value))
                .child(element("td").text(&row.note))
        });
        let table = classed("table", "facts").child(element("tbody").children(rows));
        element("section").child(element("h3").text(&section.title)).child(classed("div", "scroll").child(table))
    };
    classed("div", "facts-grid").children(sections.iter().map(section))
}
