//! Owns sections of labeled values, and their form on a terminal. Never computes values.

use crate::text::bold;

/// A section of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// The rows.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The label.
    pub label: String,
    /// The value with its unit.
    pub value: String,
    /// A note.
    pub note: String,
}

impl Section {
    pub fn new(title: &str) -> Self {
        Section { title: title.to_owned(), rows: Vec::new() }
    }

    pub fn add(&mut self, label: impl Into<String>, value: impl Into<String>, note: impl Into<String>) {
        self.rows.push(Row { label: label.into(), value: value.into(), note: note.into() });
    }
}

/// The sections as text, with aligned labels and values.
#[must_use]
pub fn rows(sections: &[Section]) -> String {
    let rows = || sections.iter().flat_map(|section| &section.rows);
    let width = |read: fn(&Row) -> &str| rows().map(|row| read(row).chars().count()).max().unwrap_or(0);
    let (labels, values) = (width(|row| &row.label), width(|row| &row.value).min(24));
    let mut text = String::new();
    for section in sections {
        text.push_str(&bold(&section.title));
        text.push('\n');
        for row in &section.rows {
            let line = format!("  {:<labels$}  {:>values$}  {}", row.label, row.value, row.note);
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}
