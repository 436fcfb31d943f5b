//! What one generator process is to do: the parent writes it, the worker reads it.

pub mod options;

use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::edge::Edge;
use crate::fleet::address::Target;
use crate::payload::{Payload, PayloadKind};

/// A worker's orders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerPlan {
    /// Servers; clients take turns among them.
    pub targets: Vec<Target>,
    /// How they are spoken to.
    pub dialect: Dialect,
    /// What the clients do.
    pub scenario: Scenario,
    /// Which of the generator's processes this is, from 0.
    pub shard: u32,
    /// The CPU to be pinned to.
    pub core: Option<usize>,
    /// Clients of this process.
    pub clients: u32,
    /// Members of a room.
    pub room_size: u32,
    /// Bytes of payload in a publication.
    pub payload_bytes: usize,
    /// What they are.
    pub payload: PayloadKind,
    /// What stands between clients and rooms.
    pub edge: Edge,
    /// Signs the clients' tokens, where they have any.
    pub secret: Option<String>,
    /// Source addresses in use by this process.
    pub sources: u32,
    /// Connection attempts under way at a time.
    pub connecting_max: usize,
    /// Distinguishes this run's rooms and users from those of other runs against the same server.
    pub run: u32,
    /// Seed of this process.
    pub seed: u64,
    /// The server's process, when it is on this host.
    pub pid: Option<u32>,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scenario {
    /// Join and stay.
    Idle,
    /// One publisher per room, every member receives.
    Fanout {
        /// When publishes happen.
        pace: PublishPace,
        /// Members of each room, of 1,000, that stop reading when publishing begins.
        stalled_per_mille: u32,
    },
    /// Every client sends and gets the same back.
    Echo {
        /// When messages are sent; a rate is that of all clients of this process together.
        pace: PublishPace,
    },
    /// Connect, join, close, again.
    Churn,
    /// Random clients, faults and recoveries.
    Soak(SoakLoad),
    /// Readers lose their connections all at once and come back.
    Storm(StormLoad),
    /// A chat: rooms of all sizes, bursts, reads, comings and goings.
    Mixed(MixedLoad),
}

/// When publishes happen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PublishPace {
    /// Closed loop: so many publishes per room (or client) are under way at any time.
    InFlight(u32),
    /// Open loop: arrivals of a Poisson process, whatever the server does.
    Poisson {
        /// Publishes per second of this process.
        per_second: f64,
    },
    /// Open loop: evenly spaced in each room, the rooms out of step.
    Even {
        /// Publishes per second of this process.
        per_second: f64,
    },
}

/// The mixture of a soak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoakLoad {
    /// Rooms of this process.
    pub rooms: u32,
    /// Actions per second of this process.
    pub actions_per_second: f64,
}

/// The weather of a run with storms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StormLoad {
    /// When publishes happen.
    pub pace: PublishPace,
    /// Members, of 1,000 that do not publish, that each storm hits.
    pub share_per_mille: u32,
    /// From one storm to the next, in nanoseconds.
    pub every_ns: u64,
    /// Reconnects are spread over this, in nanoseconds, and over twice as much after each failure; 0: at once.
    pub backoff_ns: u64,
}

/// The mixture of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixedLoad {
    /// Rooms of this process.
    pub rooms: u32,
    /// Room `k`, from 1, has a share of the memberships of `1 / k` to the power of this.
    pub zipf: f64,
    /// Memberships of a client, on average.
    pub memberships: f64,
    /// Publishes per second of this process.
    pub publishes_per_second: f64,
    /// Publishes of a client in one go, on average.
    pub burst: f64,
    /// Presence queries and history reads per second of this process.
    pub reads_per_second: f64,
    /// Changes of room and reconnects per second of this process.
    pub moves_per_second: f64,
}

/// What the parent wants now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum RunPhase {
    /// Clients connect and join.
    Connect = 0,
    /// They do what the scenario says; nothing is recorded yet.
    Warm = 1,
    /// The same, recorded.
    Measure = 2,
    /// No new publishes; what is under way arrives.
    Drain = 3,
    /// Close all.
    Leave = 4,
}

impl RunPhase {
    /// The phase with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        [RunPhase::Connect, RunPhase::Warm, RunPhase::Measure, RunPhase::Drain, RunPhase::Leave]
            [usize::from(number).min(4)]
    }

    /// Whether clients do what the scenario says.
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(self, RunPhase::Warm | RunPhase::Measure)
    }
}

impl WorkerPlan {
    /// A room's name: the same length for all of a run, so that messages look alike.
    #[must_use]
    pub fn room_name(&self, room: u32) -> String {
        format!("lt-{:08x}-{:02x}-{room:05}", self.run, self.shard)
    }

    /// What a publication carries, beside its stamp.
    #[must_use]
    pub fn payload(&self) -> Payload {
        Payload { bytes: self.payload_bytes, kind: self.payload, seed: self.seed }
    }

    /// Which target a client of a room connects to, and the path and query that it asks for.
    #[must_use]
    pub fn target_of(&self, client: u32, room: u32) -> (usize, String) {
        let target = client as usize % self.targets.len();
        let path = &self.targets[target].path;
        let path = match (&self.dialect, self.edge.jwt) {
            // A token says who the user is.
            (Dialect::Json(_) | Dialect::Binary, true) => path.clone(),
            (dialect, _) => dialect.request_target(path, &self.room_name(room), &self.user_name(client)),
        };
        (target, path)
    }

    /// A user's name.
    #[must_use]
    pub fn user_name(&self, client: u32) -> String {
        format!("u{:08x}-{:02x}-{client:05}", self.run, self.shard)
    }
}
