//! Owns the counters of one core: the core writes them, any thread reads them. Never sums over cores.

use super::causes::Causes;
pub use super::counter::Counter;

/// Upper bounds of a histogram's buckets, in microseconds. One more bucket holds larger values.
pub const BOUNDS_US: [u64; 16] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// A histogram with fixed bounds ([`BOUNDS_US`]).
#[derive(Debug, Default)]
pub struct Histogram {
    /// Samples per bucket, not cumulative. The last bucket holds values over every bound.
    pub buckets: [Counter; BOUNDS_US.len() + 1],
    /// Sum of all samples, in microseconds.
    pub sum_us: Counter,
}

impl Histogram {
    /// Records `count` samples of one value.
    #[inline]
    pub fn record(&self, value_us: u64, count: u64) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < value_us);
        self.buckets[bucket].add(count);
        self.sum_us.add(value_us.saturating_mul(count));
    }
}

macro_rules! counters {
    ($(#[doc = $help:literal] $name:ident: $kind:ident,)*) => {
        /// The counters of one core. Aligned so that two cores never write the same cache line.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct CoreCounters {
            $(#[doc = $help] pub $name: Counter,)*
            /// Time from a publication's arrival to the flush that hands it to the kernel, per delivery.
            pub publish_to_flush: Histogram,
            /// Round-trip time of WebSocket pings.
            pub round_trip: Histogram,
            /// Time from a socket's acceptance to its WebSocket's opening.
            pub upgrade: Histogram,
            /// Duration of one turn of the engine, from its first input to its end.
            pub turn: Histogram,
            /// Closes, refusals and commands by their causes.
            pub causes: Causes,
        }

        /// The kind of a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum CounterKind {
            /// Only grows.
            Total,
            /// Grows and shrinks.
            Gauge,
        }

        /// Name, kind and help text of each counter, in the order of [`CoreCounters::values`].
        pub const COUNTERS: &[(&str, CounterKind, &str)] = &[
            $((stringify!($name), CounterKind::$kind, $help),)*
        ];

        impl CoreCounters {
            /// The current values, in the order of [`COUNTERS`].
            #[must_use]
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name.get(),)*]
            }
        }
    };
}

counters! {
    #[doc = "Open WebSocket connections."]
    connections: Gauge,
    #[doc = "Accepted sockets with an incomplete upgrade."]
    upgrading: Gauge,
    #[doc = "Accepted sockets."]
    accepted: Total,
    #[doc = "Upgrades refused before the WebSocket opened (any HTTP status from 400)."]
    refused: Total,
    #[doc = "Connections of trusted proxies closed for a missing or malformed PROXY protocol header."]
    refused_preface: Total,
    #[doc = "Sockets closed before their upgrade or TLS handshake was complete, because too many others waited."]
    refused_crowded: Total,
    #[doc = "Upgrades and token refreshes refused for an invalid token."]
    auth_refused: Total,
    #[doc = "Signature checks of tokens: one for each key that may have signed the token."]
    auth_checks: Total,
    #[doc = "TLS handshakes completed."]
    tls_handshakes: Total,
    #[doc = "TLS handshakes completed by resuming an earlier session."]
    tls_resumed: Total,
    #[doc = "TLS handshakes that failed."]
    tls_handshakes_failed: Total,
    #[doc = "Accepted sockets with an incomplete TLS handshake."]
    tls_handshaking: Gauge,
    #[doc = "Ended WebSocket connections."]
    closed: Total,
    #[doc = "Connections closed as slow consumers (4413)."]
    closed_slow: Total,
    #[doc = "Connections closed by the heartbeat timeout (4408)."]
    closed_heartbeat: Total,
    #[doc = "Connections closed for violating the protocol (1002, 1003, 1007, 1009)."]
    closed_protocol: Total,
    #[doc = "Connections closed because the memory budget was used up (1013)."]
    closed_overloaded: Total,
    #[doc = "Connections closed because they kept exceeding a rate limit (4429)."]
    closed_rate: Total,
    #[doc = "Connections closed by the idle timeout (1001)."]
    closed_idle: Total,
    #[doc = "Upgrades refused by a limit on connections or connection rate (429)."]
    refused_limit: Total,
    #[doc = "Commands refused by a rate limit."]
    rate_limited: Total,
    #[doc = "Connections closed because their token expired or several invalid tokens came in a row (4401)."]
    closed_token: Total,
    #[doc = "Connections closed by an operator (4403)."]
    closed_forbidden: Total,
    #[doc = "Members removed from a room by an operator."]
    kicked: Total,
    #[doc = "Rooms owned by this core that have members."]
    rooms: Gauge,
    #[doc = "Rooms owned by this core that are in memory, with members or for their history."]
    rooms_held: Gauge,
    #[doc = "Memberships (a connection in a room) of this core's connections."]
    members: Gauge,
    #[doc = "WebSocket messages received."]
    messages_received: Total,
    #[doc = "WebSocket messages handed to the kernel."]
    messages_sent: Total,
    #[doc = "Bytes received from sockets."]
    bytes_received: Total,
    #[doc = "Bytes handed to the kernel."]
    bytes_sent: Total,
    #[doc = "Compressed messages. A broadcast counts once for each form and window of its readers."]
    compressed_messages: Total,
    #[doc = "Bytes of those messages before they were compressed, with their frame headers."]
    compressed_bytes_before: Total,
    #[doc = "Bytes of those messages after they were compressed, with their frame headers."]
    compressed_bytes_after: Total,
    #[doc = "Publications numbered by rooms of this core, and ephemeral ones."]
    broadcasts: Total,
    #[doc = "Publications queued for members, one per member."]
    deliveries: Total,
    #[doc = "Error replies to commands."]
    errors: Total,
    #[doc = "Messages dropped from outboxes by the slow-consumer policies skip and latest."]
    dropped_slow: Total,
    #[doc = "Deliveries to another core delayed because its lane was full; repaired from history."]
    dropped_lane: Total,
    #[doc = "Publications lost to a core that fell behind because history no longer held them; members get a gap."]
    dropped_gap: Total,
    #[doc = "Unnumbered pushes (ephemeral messages, status) to another core dropped because its lane was full."]
    dropped_push: Total,
    #[doc = "Events of the link and the store dropped because this core took none; rooms read again what they missed."]
    dropped_service: Total,
    #[doc = "Hops sent to other cores."]
    hops: Total,
    #[doc = "Batches of hops sent to other cores."]
    hop_batches: Total,
    #[doc = "Hops staged for other cores that their lanes have not taken."]
    lane_depth: Gauge,
    #[doc = "Wake-ups of sleeping cores."]
    wakes: Total,
    #[doc = "Turns of the engine."]
    turns: Total,
    #[doc = "Submissions to the ring (io_uring_enter calls)."]
    submissions: Total,
    #[doc = "Operations submitted to the ring."]
    operations: Total,
    #[doc = "Completions taken from the ring."]
    completions: Total,
    #[doc = "Sends submitted to the ring."]
    sends: Total,
    #[doc = "Bytes held for clients (connections, rooms, queues, history), as charged to the memory budget."]
    memory_charged: Gauge,
    #[doc = "Thread CPU time of this core, in microseconds."]
    cpu_us: Total,
    #[doc = "This core's share of the memory budget, in bytes."]
    memory_budget_bytes: Gauge,
    #[doc = "Members of the largest room owned by this core."]
    room_members_max: Gauge,
    #[doc = "Bytes queued for the slowest consumer of this core, sampled once per heartbeat interval."]
    outbox_bytes_max: Gauge,
    #[doc = "Spans of sampled publishes dropped because too many waited for export."]
    spans_dropped: Total,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_puts_each_value_under_its_bound() {
        let histogram = Histogram::default();
        histogram.record(10, 1);
        histogram.record(11, 2);
        histogram.record(u64::MAX, 1);
        assert_eq!(histogram.buckets[0].get(), 1);
        assert_eq!(histogram.buckets[1].get(), 2);
        assert_eq!(histogram.buckets[BOUNDS_US.len()].get(), 1);
    }

    #[test]
    fn every_counter_is_listed() {
        let counters = CoreCounters::default();
        counters.rooms.add(3);
        let at = COUNTERS.iter().position(|(name, ..)| *name == "rooms").expect("listed");
        assert_eq!(counters.values()[at], 3);
        assert_eq!(counters.values().len(), COUNTERS.len());
    }
}
