//! Floor 0: words and numbers. Never knows sockets, protocol bytes or clocks.

pub mod breaker;
pub mod causes;
pub mod chat;
pub mod codes;
pub mod counter;
pub mod counters;
pub mod ids;
pub mod limits;
pub mod log_gate;
pub mod places;
pub mod time;
