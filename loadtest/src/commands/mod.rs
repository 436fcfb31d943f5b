//! The commands: each does what its options say, prints what came of it, and says whether that can be believed.

pub mod capacity;
pub mod compare;
pub mod edge;
pub mod grow;
pub mod keep;
pub mod single;
pub mod slow;
mod standard;
pub mod suite;
