//! The control address: monitoring, and operations for operators and application backends. Reads the cores' counters and
//! asks the cores by calls. Never blocks a core; knows no configuration and no socket of a client.

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
pub use self::operations::{
    CallCores, ListedAccount, ManageAccounts, ManageDeadLetters, Managed, OperationError, OperationErrorCode,
};
pub use self::router::router;
pub use self::serve::serve;
pub use self::traces::{Exported, Exporter, TraceSettings, is_endpoint};
pub use self::watched::{Metric, Observed, Readiness, Watched};
