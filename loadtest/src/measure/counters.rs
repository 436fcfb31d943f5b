//! Counters of a generator process: plain integers in its thread, mirrored to atomics that the control thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Counts since the process began, except where "now" is said.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counters {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Field by field: this much more than `earlier`.
            #[must_use]
            pub fn since(&self, earlier: &Counters) -> Counters {
                Counters { $($name: self.$name.saturating_sub(earlier.$name),)+ }
            }

            /// Every field by its name.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }

            /// Field by field: the sum.
            #[must_use]
            pub fn plus(&self, other: &Counters) -> Counters {
                Counters { $($name: self.$name + other.$name,)+ }
            }
        }

        /// The latest counters, readable by another thread. Fields may be one turn apart from each other.
        #[derive(Debug, Default)]
        pub struct SharedCounters {
            $($name: AtomicU64,)+
        }

        impl SharedCounters {
            /// Shows `counters` to readers.
            pub fn store(&self, counters: &Counters) {
                $(self.$name.store(counters.$name, Ordering::Relaxed);)+
            }

            /// The counters last shown.
            #[must_use]
            pub fn load(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// WebSockets opened.
    opened,
    /// WebSockets open, now.
    open,
    /// Attempts that did not become a WebSocket.
    connect_failures,
    /// WebSockets that ended although the scenario did not end them.
    disconnected,
    /// Stalled readers that the server closed: what a slow consumer may expect.
    stalled_closed,
    /// Clients that are connected and joined, now.
    ready,
    /// Messages published (in `echo`: sent).
    published,
    /// Publishes that were due while there was nobody connected to send them, or went with their publisher's connection.
    unsent,
    /// Deliveries that those publishes owe to receivers.
    expected,
    /// Publications received.
    delivered,
    /// Received again.
    duplicated,
    /// Received after a later one.
    out_of_order,
    /// Received by a client that is not in the room.
    misrouted,
    /// Received with a content or a seq that cannot be right.
    wrong,
    /// Deliveries owed and not yet received, now.
    outstanding,
    /// Publications that the server announced by `gap` to clients that had stopped reading.
    gaps_announced,
    /// Publications that a client which reads was told of by `gap` in place of getting them.
    skipped,
    /// Missing publications that no `gap` announced (receivers that check by seq alone).
    holes,
    /// Publications that a client missed while it was away and will not get: the server did not recover them.
    missed,
    /// Deliveries that a lost connection explains: owed to a client that lost its own, or of a publish that was under way
    /// when its publisher lost its own and of which nobody has heard.
    cut_off,
    /// Publications received in answer to a join: by recovery, or as history.
    replayed,
    /// Error replies.
    errors,
    /// Messages that are neither publications nor replies.
    other_messages,
    /// Joins answered.
    joins,
    /// Joins by position that the server recovered whole.
    recovered,
    /// Joins by position that the server could not recover.
    not_recovered,
    /// Connect + join + close cycles completed.
    cycles,
    /// Storms.
    storms,
    /// Storms that were due while the one before was not over.
    storms_put_off,
    /// Clients that came back after a storm.
    returned,
    /// Clients that waited in vain for the server at the end: to be back after a storm, or to end a cycle.
    stranded,
    /// Time that storms took until everyone was back, in nanoseconds.
    storm_ns,
    /// CPU time of the generator's thread meanwhile, in nanoseconds.
    storm_cpu_ns,
    /// CPU time of the server meanwhile, in nanoseconds.
    storm_server_ns,
    /// Presence queries and history reads answered.
    reads,
    /// Connections left by the client without a close frame.
    vanished,
    /// TLS handshakes with a key exchange that the server's certificate signed.
    tls_full,
    /// TLS handshakes that resumed a session.
    tls_resumed,
    /// Messages that came compressed.
    compressed,
    /// Bytes that they became.
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
    /// Time that the generator's thread was runnable without a CPU, in nanoseconds.
    waited_ns,
}

impl Counters {
    /// Deliveries that never came, out of those expected so far, and that no `gap` told of.
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
