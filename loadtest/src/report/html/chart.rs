//! Owns line plots as inline SVG: axes, lines, bands, a legend. Colors come from the style sheet, by class. Never knows
//! the meaning of values.

use super::axis::Axis;
use super::markup::{Element, classed, coordinate, element};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// Maximum points of a line with a tooltip; more would make the page heavy.
const HITS_MAX: usize = 120;

/// Number of colors in the style sheet for lines and bars.
pub const COLORS: usize = 9;

/// A plot.
pub struct Chart {
    /// The heading.
    pub title: String,
    /// A sentence below it; may be empty.
    pub caption: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<PlotLine>,
    /// Named bands behind the lines: from, to, name.
    pub bands: Vec<(f64, f64, String)>,
}

/// A line of a plot.
pub struct PlotLine {
    /// Name in the legend.
    pub name: String,
    /// Number of the color, from 0.
    pub color: usize,
    /// Points; `None` interrupts the line.
    pub points: Vec<(f64, Option<f64>)>,
    /// Tooltip of a point.
    pub tell: fn(f64, f64) -> String,
}

impl Chart {
    /// Draws the plot with heading and legend.
    #[must_use]
    pub fn draw(&self) -> Element {
        let mut svg = element("svg")
            .with("viewBox", format!("0 0 {WIDTH} {HEIGHT}"))
            .with("role", "img")
            .with("aria-label", &self.title);
        svg = svg.children(self.bands.iter().flat_map(|band| self.band(band)));
        svg = svg.child(self.grid());
        svg = svg.children(self.lines.iter().map(|line| self.line(line)));
        svg = svg.children(self.lines.iter().map(|line| self.hits(line)));
        let mut figure = classed("figure", "chart").child(element("figcaption").text(&self.title));
        if !self.caption.is_empty() {
            figure = figure.child(classed("p", "caption").text(&self.caption));
        }
        figure = figure.child(svg);
        if self.lines.len() > 1 {
            figure.child(legend(self.lines.iter().map(|line| (line.name.as_str(), line.color))))
        } else {
            figure
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn grid(&self) -> Element {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let mut grid = classed("g", "axis");
        for (value, text) in &self.y.ticks {
            let y = self.y(*value);
            grid = grid.child(rule([LEFT, y, right, y])).child(label(LEFT - 8.0, y + 4.0, "end", text));
        }
        for (value, text) in &self.x.ticks {
            let x = self.x(*value);
            let mark = classed("line", "mark").at("x1", x).at("x2", x).at("y1", bottom).at("y2", bottom + 5.0);
            // A letter takes about seven units: the last label must not leave the picture.
            let is_last = x + 3.5 * text.chars().count() as f64 > WIDTH;
            let (place, anchor) = if is_last { (WIDTH - 1.0, "end") } else { (x, "middle") };
            grid = grid.child(mark).child(label(place, bottom + 18.0, anchor, text));
        }
        let x_label = label(f64::midpoint(LEFT, right), HEIGHT - 8.0, "middle", &self.x.label);
        let (x, y) = (13.0, f64::midpoint(TOP, bottom));
        let turned = format!("rotate(-90 {} {})", coordinate(x), coordinate(y));
        let y_label = label(x, y, "middle", &self.y.label).with("transform", turned);
        let base = rule([LEFT, bottom, right, bottom]).with("class", "base");
        grid.child(base).child(x_label.with("class", "name")).child(y_label.with("class", "name"))
    }

    fn band(&self, (from, to, name): &(f64, f64, String)) -> Vec<Element> {
        let (x, end) = (self.x(*from), self.x(*to));
        let mut drawn = vec![
            classed("rect", "band")
                .at("x", x)
                .at("y", TOP)
                .at("width", (end - x).max(0.0))
                .at("height", HEIGHT - TOP - BOTTOM),
        ];
        // A letter takes about six units: a name that does not fit is left out.
        if end - x > 6.0 * name.chars().count() as f64 {
            drawn.push(label(f64::midpoint(x, end), TOP + 12.0, "middle", name).with("class", "band-name"));
        }
        drawn
    }

    fn line(&self, line: &PlotLine) -> Element {
        let mut path = String::new();
        let mut drawing = false;
        for (x, y) in &line.points {
            let Some(y) = y else {
                drawing = false;
                continue;
            };
            path.push(if drawing { 'L' } else { 'M' });
            path.push_str(&format!("{} {}", coordinate(self.x(*x)), coordinate(self.y(*y))));
            drawing = true;
        }
        classed("path", &format!("line c{}", line.color % COLORS)).with("d", path)
    }

    /// Transparent points with tooltips.
    fn hits(&self, line: &PlotLine) -> Element {
        let every = line.points.len().div_ceil(HITS_MAX).max(1);
        let points = line.points.iter().step_by(every).filter_map(|(x, y)| Some((*x, (*y)?)));
        let hit = |(x, y): (f64, f64)| {
            let title = element("title").text(format!("{}: {}", line.name, (line.tell)(x, y)));
            element("circle").at("cx", self.x(x)).at("cy", self.y(y)).with("r", 6).child(title)
        };
        classed("g", &format!("hits c{}", line.color % COLORS)).children(points.map(hit))
    }
}

/// A legend: names with their colors.
pub fn legend<'a>(names: impl Iterator<Item = (&'a str, usize)>) -> Element {
    let entry = |(name, color): (&str, usize)| {
        element("span").child(classed("i", &format!("swatch c{}", color % COLORS))).text(name)
    };
    classed("div", "legend").children(names.map(entry))
}

fn rule([x1, y1, x2, y2]: [f64; 4]) -> Element {
    element("line").at("x1", x1).at("y1", y1).at("x2", x2).at("y2", y2)
}

/// Text at a place; `anchor` is `start`, `middle` or `end`.
#[must_use]
pub fn label(x: f64, y: f64, anchor: &str, text: &str) -> Element {
    element("text").at("x", x).at("y", y).with("text-anchor", anchor).text(text)
}
