//! What a person reads at the end: tables on standard output and HTML. Shows results; measures and judges nothing.

pub mod comparison;
pub mod edge;
mod facts;
pub mod figures;
pub mod growth;
pub mod html;
pub mod run;
#[cfg(test)]
pub mod samples;
mod section;
pub mod suite;
pub mod title;
