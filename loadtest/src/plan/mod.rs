//! Owns the plan of a generator process: the parent writes it, the worker reads it. Never acts.

pub mod options;

use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::edge::Edge;
use crate::fleet::address::Target;
use crate::payload::{Payload, PayloadKind};
use crate::store::StoreMode;

/// The plan of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerPlan {
    /// Servers; clients are spread over them.
    pub targets: Vec<Target>,
    /// Protocol of the servers.
    pub dialect: Dialect,
    /// Behavior of the clients.
    pub scenario: Scenario,
    /// Number of this generator process, from 0.
    pub shard: u32,
    /// The CPU to pin to.
    pub core: Option<usize>,
    /// Clients of this process.
    pub clients: u32,
    /// Members of a room.
    pub room_size: u32,
    /// Bytes of payload per publication.
    pub payload_bytes: usize,
    /// Kind of payload.
    pub payload: PayloadKind,
    /// TLS, compression, tokens and limits.
    pub edge: Edge,
    /// Secret of the clients' tokens, if they use any.
    pub secret: Option<String>,
    /// Source addresses of this process.
    pub sources: u32,
    /// Maximum connection attempts in flight.
    pub connecting_max: usize,
    /// Distinguishes the rooms and users of runs against the same server.
    pub run: u32,
    /// Seed of this process.
    pub seed: u64,
    /// The server's process, if it is on this host.
    pub pid: Option<u32>,
}

/// The behavior of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scenario {
    /// Join and wait.
    Idle,
    /// One publisher per room, every member receives.
    Fanout {
        /// Pace of publishes.
        pace: PublishPace,
        /// Thousandths of each room's members that stall when publishing begins.
        stalled_per_mille: u32,
    },
    /// Every client sends messages and gets them back.
    Echo {
        /// Pace of messages. A rate is the sum over all clients of this process.
        pace: PublishPace,
    },
    /// Connect, join, close, repeatedly.
    Churn,
    /// Random actions, faults and recoveries.
    Soak(SoakLoad),
    /// Readers lose their connections at once and reconnect.
    Storm(StormLoad),
    /// A chat: rooms of all sizes, bursts, reads, joins and leaves.
    Mixed(MixedLoad),
    /// Publishes whose replies promise that they outlive the server's process.
    Durable(DurableLoad),
    /// People: private and public rooms, typing, receipts, presence, absences and inboxes.
    Chat(ChatLoad),
}

impl Scenario {
    /// The store of a Roomring started for it, unless the user chooses another one.
    #[must_use]
    pub fn store(&self) -> Option<StoreMode> {
        match self {
            Scenario::Durable(_) => Some(StoreMode::Commit),
            // The default of Roomring.
            Scenario::Chat(_) => Some(StoreMode::Behind),
            _ => None,
        }
    }

    /// Roomring's `--set` values that it needs.
    #[must_use]
    pub fn needs(&self) -> Vec<String> {
        match self {
            Scenario::Durable(load) => vec![format!("rooms.history_size={}", load.history)],
            Scenario::Chat(_) => vec!["rooms.inboxes=true".to_owned()],
            _ => Vec::new(),
        }
    }

    /// Whether only a server with Roomring's protocol can run it.
    #[must_use]
    pub fn is_roomring_only(&self) -> bool {
        matches!(self, Scenario::Soak(_) | Scenario::Mixed(_) | Scenario::Durable(_) | Scenario::Chat(_))
    }
}

/// The pace of publishes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PublishPace {
    /// Closed loop: this many publishes per room (or client) are in flight.
    InFlight(u32),
    /// Open loop: a Poisson process, independent of the server.
    Poisson {
        /// Publishes per second of this process.
        per_second: f64,
    },
    /// Open loop: even intervals in each room, shifted between rooms.
    Even {
        /// Publishes per second of this process.
        per_second: f64,
    },
}

/// The load of a soak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoakLoad {
    /// Rooms of this process.
    pub rooms: u32,
    /// Actions per second of this process.
    pub actions_per_second: f64,
}

/// The load of a run with storms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StormLoad {
    /// The pace of publishes.
    pub pace: PublishPace,
    /// Thousandths of the readers that each storm disconnects.
    pub share_per_mille: u32,
    /// Time between storms, in nanoseconds.
    pub every_ns: u64,
    /// Reconnects spread over this time in nanoseconds, doubled after each failure; 0 reconnects at once.
    pub backoff_ns: u64,
}

/// The load of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixedLoad {
    /// Rooms of this process.
    pub rooms: u32,
    /// Zipf exponent: room `k`, from 1, has a share of the memberships of `1 / k` to this power.
    pub zipf: f64,
    /// Average memberships of a client.
    pub memberships: f64,
    /// Publishes per second of this process.
    pub publishes_per_second: f64,
    /// Average publishes per burst of a client.
    pub burst: f64,
    /// Presence queries and history reads per second of this process.
    pub reads_per_second: f64,
    /// Room changes and reconnects per second of this process.
    pub moves_per_second: f64,
}

/// The load of a run with kills.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DurableLoad {
    /// The pace of publishes.
    pub pace: PublishPace,
    /// How often the server is killed.
    pub kills: u32,
    /// Time under load before each kill after the first, in nanoseconds.
    pub between_ns: u64,
    /// Messages that the server keeps per room. Older ones may be gone.
    pub history: u64,
}

/// The load of a chat with people. Rates are per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatLoad {
    /// Messages of a user.
    pub messages_per_user: f64,
    /// Rooms that a user reads to the end, with a receipt.
    pub reads_per_user: f64,
    /// Absences of a user.
    pub absences_per_user: f64,
    /// Longest absence, in nanoseconds.
    pub gone_ns: u64,
    /// Average messages to the inbox of a user who is away.
    pub inbox: f64,
}

/// A phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum RunPhase {
    /// Clients connect and join.
    Connect = 0,
    /// Clients follow the scenario; nothing is measured.
    Warm = 1,
    /// Clients follow the scenario; everything is measured.
    Measure = 2,
    /// No new publishes; messages in flight arrive.
    Drain = 3,
    /// The server is killed under load, and started again (only `durable`).
    Kill = 4,
    /// Clients connect again and read back what the server has kept (only `durable`).
    Check = 5,
    /// Clients close their connections.
    Leave = 6,
}

impl RunPhase {
    /// The phase with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        use RunPhase::{Check, Connect, Drain, Kill, Leave, Measure, Warm};
        [Connect, Warm, Measure, Drain, Kill, Check, Leave][usize::from(number).min(6)]
    }

    /// Whether clients follow the scenario.
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(self, RunPhase::Warm | RunPhase::Measure)
    }
}

impl WorkerPlan {
    /// The name of a room. All names of a run have the same length, so that messages look alike.
    #[must_use]
    pub fn room_name(&self, room: u32) -> String {
        format!("lt-{:08x}-{:02x}-{room:05}", self.run, self.shard)
    }

    /// The payload of publications, without stamp.
    #[must_use]
    pub fn payload(&self) -> Payload {
        Payload { bytes: self.payload_bytes, kind: self.payload, seed: self.seed }
    }

    /// The target of a client, and the path and query of its request.
    #[must_use]
    pub fn target_of(&self, client: u32, room: u32) -> (usize, String) {
        let target = client as usize % self.targets.len();
        let path = &self.targets[target].path;
        let path = match (&self.dialect, self.edge.jwt) {
            // The token names the user.
            (Dialect::Json(_) | Dialect::Binary, true) => path.clone(),
            (dialect, _) => dialect.request_target(path, &self.room_name(room), &self.user_name(client)),
        };
        (target, path)
    }

    /// The name of a user.
    #[must_use]
    pub fn user_name(&self, client: u32) -> String {
        format!("u{:08x}-{:02x}-{client:05}", self.run, self.shard)
    }
}
