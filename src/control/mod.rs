//! Control address: what an operator and a monitoring system see, and what they have done. Reads the cores' counters,
//! asks the cores by calls and never stops one; knows no configuration and no socket of a client.

mod accept;
mod api;
mod connection_limit;
mod host;
mod metrics;
mod operations;
mod process;
mod requests;
mod router;
mod sample;
mod serve;
mod stats;
#[cfg(test)]
mod tests;
mod traces;
mod watched;

pub use self::api::{Api, ApiSettings, KEY_FIELD};
pub use self::operations::CallCores;
pub use self::router::router;
pub use self::serve::serve;
pub use self::traces::{Exported, Exporter, TraceSettings, is_endpoint};
pub use self::watched::{Metric, Observed, Readiness, Watched};
