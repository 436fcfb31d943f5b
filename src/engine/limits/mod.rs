//! How much one connection, user, address, room and the whole server may do in a time. Token buckets and sliding windows
//! with time as an argument, and the [`Limiter`]: the part that is counted where its key hashes to. Closes nothing and
//! answers nobody but homes.

mod bucket;
mod limiter;
#[cfg(test)]
mod tests;
mod window;

pub use self::bucket::{Bucket, Rate};
pub use self::limiter::{ConnectRefusal, Limiter, LimiterEffects, USER_TOO_OFTEN, core_of_address, core_of_user};
pub use self::window::SlidingWindow;

/// The limits that are not a room's. `None` and 0 mean no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Upgrades of the whole server: a token bucket.
    pub connect_rate: Option<Rate>,
    /// Upgrades of one address: a token bucket.
    pub connect_rate_per_address: Option<Rate>,
    /// Connections of one address.
    pub connections_per_address_max: u32,
    /// Connections of one user.
    pub connections_per_user_max: u32,
    /// Publishes of one connection: a token bucket.
    pub message_rate: Option<Rate>,
    /// Commands of one connection, publishes included: a token bucket.
    pub command_rate: Option<Rate>,
    /// Publishes of one user on all connections: a sliding window.
    pub user_message_rate: Option<Rate>,
    /// A connection without a message in either direction for this long is closed.
    pub idle_timeout_ms: u64,
}

impl Limits {
    /// Whether an upgrade has to be asked for where its address and the server are counted.
    #[must_use]
    pub fn gates_connects(&self) -> bool {
        self.connect_rate.is_some() || self.connect_rate_per_address.is_some() || self.connections_per_address_max > 0
    }
}
