//! Owns HTML and SVG elements as values. Writing escapes every text and closes every element, so that a page is always
//! well-formed, as HTML and as XML. Never knows the contents.

use std::fmt::Write as _;

/// An element.
#[derive(Clone, Debug)]
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Child>,
}

#[derive(Clone, Debug)]
enum Child {
    Element(Element),
    Text(String),
    /// A style sheet of this program, which is not escaped.
    Raw(&'static str),
}

/// Elements without an end tag in HTML.
const VOID: [&str; 3] = ["meta", "br", "col"];

/// An empty element.
#[must_use]
pub fn element(name: &'static str) -> Element {
    Element { name, attributes: Vec::new(), children: Vec::new() }
}

/// An empty element with a class.
#[must_use]
pub fn classed(name: &'static str, class: &str) -> Element {
    element(name).with("class", class)
}

impl Element {
    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// Adds a coordinate, rounded to a tenth.
    #[must_use]
    pub fn at(self, name: &'static str, value: f64) -> Self {
        self.with(name, coordinate(value))
    }

    /// Appends a child element.
    #[must_use]
    pub fn child(mut self, child: Element) -> Self {
        self.children.push(Child::Element(child));
        self
    }

    /// Appends child elements.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children.into_iter().map(Child::Element));
        self
    }

    /// Appends text.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.children.push(Child::Text(text.into()));
        self
    }

    /// Appends a style sheet without `<` and `&`.
    #[must_use]
    pub fn raw(mut self, text: &'static str) -> Self {
        self.children.push(Child::Raw(text));
        self
    }

    /// Appends the element to `out`.
    pub fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(self.name);
        for (name, value) in &self.attributes {
            write!(out, " {name}=\"").expect("a String takes all writes");
            escape(value, out);
            out.push('"');
        }
        if VOID.contains(&self.name) {
            out.push_str(" />");
            return;
        }
        out.push('>');
        for child in &self.children {
            match child {
                Child::Element(element) => element.write(out),
                Child::Text(text) => escape(text, out),
                Child::Raw(text) => out.push_str(text),
            }
        }
        write!(out, "</{}>", self.name).expect("a String takes all writes");
        if matches!(self.name, "section" | "figure" | "table" | "tr" | "svg" | "head" | "header" | "style" | "g") {
            out.push('\n');
        }
    }
}

/// A coordinate, rounded to a tenth, without `.0`.
#[must_use]
pub fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// Escapes text. Replaces characters that XML forbids by U+FFFD.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' => out.push(character),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            character if character.is_control() => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_element() {
        let mut out = String::new();
        let hostile = "</p><script>alert('1')</script> & \"\u{0}\u{1b}\u{ffff}";
        element("p").with("title", hostile).text(hostile).child(element("br")).write(&mut out);
        assert!(!out.contains("<script") && out.matches("</p>").count() == 1, "{out}");
        let parsed = roxmltree::Document::parse(&out).expect("well-formed");
        let shown = hostile.replace(['\u{0}', '\u{1b}', '\u{ffff}'], "\u{fffd}");
        assert_eq!(parsed.root_element().attribute("title"), Some(shown.as_str()));
        assert_eq!(parsed.root_element().text(), Some(shown.as_str()));
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!([0.0, 12.04, 12.05001, -3.26].map(coordinate), ["0", "12", "12.1", "-3.3"]);
    }
}
