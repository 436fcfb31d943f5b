//! Owns horizontal bars as inline SVG, from zero, with a range at the end or divided into parts. Never knows their
//! meaning.

use super::chart::{COLORS, label, legend};
use super::markup::{Element, classed, element};

const WIDTH: f64 = 560.0;
const NAME: f64 = 130.0;
const VALUE: f64 = 150.0;
const ROW: f64 = 30.0;
const THICK: f64 = 16.0;

/// A bar.
pub struct Bar {
    /// Label on the left.
    pub name: String,
    /// Lengths of its parts, with their colors.
    pub parts: Vec<(f64, usize)>,
    /// Range at its end.
    pub range: Option<(f64, f64)>,
    /// Text on the right.
    pub shown: String,
    /// Tooltip.
    pub told: String,
}

/// Bars under a heading, to one scale. `parts` names the parts of each bar and their colors, if there are several.
#[must_use]
pub fn bars(title: &str, caption: &str, bars: &[Bar], parts: &[(&str, usize)]) -> Element {
    let end = |bar: &Bar| {
        let length: f64 = bar.parts.iter().map(|(length, _)| length.max(0.0)).sum();
        bar.range.map_or(length, |(_, high)| length.max(high))
    };
    let high = bars.iter().map(end).filter(|value| value.is_finite()).fold(0.0, f64::max);
    let scale = if high > 0.0 { (WIDTH - NAME - VALUE) / high } else { 0.0 };
    let height = ROW * bars.len() as f64 + 4.0;
    let mut svg =
        element("svg").with("viewBox", format!("0 0 {WIDTH} {height}")).with("role", "img").with("aria-label", title);
    for (index, bar) in bars.iter().enumerate() {
        let y = ROW * index as f64 + (ROW - THICK) / 2.0;
        svg = svg.child(row(bar, y, scale, end(bar)));
    }
    let mut figure = classed("figure", "bars").child(element("figcaption").text(title));
    if !caption.is_empty() {
        figure = figure.child(classed("p", "caption").text(caption));
    }
    figure = figure.child(svg);
    if parts.len() > 1 { figure.child(legend(parts.iter().copied())) } else { figure }
}

fn row(bar: &Bar, y: f64, scale: f64, end: f64) -> Element {
    let middle = y + THICK / 2.0;
    let name = label(NAME - 10.0, middle + 4.0, "end", &bar.name).with("class", "bar-name");
    let mut group = element("g").child(element("title").text(&bar.told)).child(name);
    let mut x = NAME;
    for (length, color) in &bar.parts {
        let width = (length.max(0.0) * scale).max(0.0);
        let class = format!("bar c{}", color % COLORS);
        let drawn = classed("rect", &class).at("x", x).at("y", y).at("width", width.max(0.5)).at("height", THICK);
        group = group.child(drawn);
        x += width;
    }
    if let Some((low, high)) = bar.range.filter(|(low, high)| high > low) {
        let (from, to) = (NAME + low.max(0.0) * scale, NAME + high.max(0.0) * scale);
        let rule = |x1, y1, x2, y2| classed("line", "range").at("x1", x1).at("y1", y1).at("x2", x2).at("y2", y2);
        let (top, bottom) = (middle - 5.0, middle + 5.0);
        group =
            group.children([rule(from, middle, to, middle), rule(from, top, from, bottom), rule(to, top, to, bottom)]);
    }
    group.child(label(NAME + end * scale + 8.0, middle + 4.0, "start", &bar.shown).with("class", "bar-value"))
}
