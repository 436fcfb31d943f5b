//! Shows results as tables on standard output and as HTML. Never measures or judges.

pub mod comparison;
pub mod edge;
mod facts;
pub mod figures;
pub mod goal;
pub mod growth;
pub mod html;
pub mod run;
#[cfg(test)]
pub mod samples;
mod section;
pub mod suite;
pub mod title;
pub mod unit;
