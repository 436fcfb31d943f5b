//! Owns the counters of a generator process: plain integers in its thread, copied to atomics that the control thread
//! reads. Never decides what to count.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Counts since the start of the process; fields with "now" hold the current number.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counters {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// The change since `earlier`, by field.
            #[must_use]
            pub fn since(&self, earlier: &Counters) -> Counters {
                Counters { $($name: self.$name.saturating_sub(earlier.$name),)+ }
            }

            /// Names and values of all fields.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }

            /// The sum, by field.
            #[must_use]
            pub fn plus(&self, other: &Counters) -> Counters {
                Counters { $($name: self.$name + other.$name,)+ }
            }
        }

        /// The latest counters, readable by another thread. Fields may differ by one turn.
        #[derive(Debug, Default)]
        pub struct SharedCounters {
            $($name: AtomicU64,)+
        }

        impl SharedCounters {
            /// Publishes `counters` to readers.
            pub fn store(&self, counters: &Counters) {
                $(self.$name.store(counters.$name, Ordering::Relaxed);)+
            }

            /// The counters last published.
            #[must_use]
            pub fn load(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// Opened WebSockets.
    opened,
    /// Open WebSockets, now.
    open,
    /// Failed connection attempts.
    connect_failures,
    /// WebSockets that ended unexpectedly.
    disconnected,
    /// Stalled readers that the server closed as slow consumers.
    stalled_closed,
    /// Connected and joined clients, now.
    ready,
    /// Published messages (in `echo`: sent messages).
    published,
    /// Publishes whose publisher had no connection, or lost it before they were sent.
    unsent,
    /// Deliveries expected for the publishes.
    expected,
    /// Received publications.
    delivered,
    /// Publications received more than once.
    duplicated,
    /// Publications received after a later one.
    out_of_order,
    /// Publications received by a client outside of the room.
    misrouted,
    /// Publications received with wrong content or seq.
    wrong,
    /// Expected deliveries not yet received, now.
    outstanding,
    /// Publications replaced by `gap` for stalled clients.
    gaps_announced,
    /// Publications replaced by `gap` for clients that read.
    skipped,
    /// Missing publications without `gap` (receivers that check by seq only).
    holes,
    /// Publications that a client missed while disconnected and that the server did not recover.
    missed,
    /// Deliveries lost with a connection: of the receiver, or of the publisher if nobody received the publish.
    cut_off,
    /// Publishes without an answer when the server was killed, which it may have kept or not.
    unanswered,
    /// Some of these that the server had kept.
    unanswered_kept,
    /// Acknowledged publishes that the server no longer had to keep when they were read back.
    trimmed,
    /// Messages read back from the server.
    read_back,
    /// Publications received after a join: by recovery or as history.
    replayed,
    /// Error replies.
    errors,
    /// Messages that are neither publications nor replies.
    other_messages,
    /// Answered joins.
    joins,
    /// Joins by position with full recovery.
    recovered,
    /// Joins by position without recovery.
    not_recovered,
    /// Completed cycles of connect, join and close.
    cycles,
    /// Storms.
    storms,
    /// Storms delayed because the one before had not ended.
    storms_put_off,
    /// Clients that reconnected after a storm.
    returned,
    /// Clients that still waited at the end: to reconnect after a storm, or to end a cycle.
    stranded,
    /// Time until all clients were back after storms, in nanoseconds.
    storm_ns,
    /// CPU time of the generator's thread during storms, in nanoseconds.
    storm_cpu_ns,
    /// CPU time of the server during storms, in nanoseconds.
    storm_server_ns,
    /// Answered presence queries and history reads.
    reads,
    /// Messages received in an inbox for the first time.
    inbox_received,
    /// Messages received in an inbox again, before they were acknowledged as delivered.
    inbox_again,
    /// Unread counts that were compared to what was read.
    unread_checked,
    /// Receipts of other members.
    receipts,
    /// Reports that another member types or stops typing.
    typing,
    /// Reports that a member is online, away or offline.
    statuses,
    /// Connections dropped by the client without a close frame.
    vanished,
    /// Full TLS handshakes.
    tls_full,
    /// Resumed TLS handshakes.
    tls_resumed,
    /// Compressed messages received.
    compressed,
    /// Bytes of compressed messages after inflating.
    inflated_bytes,
    /// Bytes read from sockets.
    bytes_received,
    /// Bytes written to sockets.
    bytes_sent,
    /// Reads that returned bytes.
    receives,
    /// Writes.
    sends,
    /// Waits for readiness.
    turns,
    /// CPU time of the generator's thread, in nanoseconds.
    cpu_ns,
    /// Time that the generator's thread waited for a CPU, in nanoseconds.
    waited_ns,
}

impl Counters {
    /// Expected deliveries that did not arrive and that no `gap` replaced.
    #[must_use]
    pub fn lost(&self) -> u64 {
        (self.expected + self.duplicated).saturating_sub(self.delivered + self.skipped + self.missed + self.cut_off)
            + self.holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_do_not_hide_losses() {
        let counters = Counters { expected: 100, delivered: 100, duplicated: 3, ..Counters::default() };
        assert_eq!(counters.lost(), 3);
    }

    #[test]
    fn a_reader_sees_what_was_stored() {
        let shared = SharedCounters::default();
        let counters = Counters { opened: 7, waited_ns: 9, ..Counters::default() };
        shared.store(&counters);
        assert_eq!(shared.load(), counters);
        let later = Counters { opened: 10, ..counters };
        assert_eq!(later.since(&counters).opened, 3);
        assert_eq!(later.plus(&counters).waited_ns, 18);
        assert!(counters.named().contains(&("opened", 7)));
        assert_eq!(serde_json::from_str::<Counters>("{\"opened\": 7, \"waited_ns\": 9}").expect("kept"), counters);
    }
}
