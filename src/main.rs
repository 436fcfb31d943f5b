//! The `roomring` program.
fn main() {}
