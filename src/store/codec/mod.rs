//! Values of the store as bytes, shared by the log's changes and the rows of the state. Knows neither files nor tables.
//!
//! `bytes` writes and reads integers, texts and options; `values` the values that a change and a row have in common.

pub mod bytes;
#[cfg(test)]
mod tests;
pub mod values;
