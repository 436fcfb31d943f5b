//! Owns the units of figures. Never computes a figure.

use crate::text::{bytes, micros, number};

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number, with this suffix.
    Plain(&'static str),
    /// Microseconds.
    Micros,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// A value with its unit.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Plain("") => number(value),
            Unit::Plain(unit) => format!("{} {unit}", number(value)),
            Unit::Micros => micros(value),
            Unit::Bytes => bytes(value),
        }
    }
}
