//! What a run is to do, checked, and how it is divided among generator processes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{MixedLoad, PublishPace, Scenario, SoakLoad, StormLoad, WorkerPlan};
use crate::dialect::Dialect;
use crate::edge::Edge;
use crate::fleet::address::Target;
use crate::payload::PayloadKind;

/// Clients of one process: below the usual hard limit of 20,000 open files.
pub const CLIENTS_PER_PROCESS_MAX: u32 = 19_900;

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// A name for the server, in tables.
    pub name: String,
    /// Servers; clients take turns among them.
    pub targets: Vec<Target>,
    /// How they are spoken to.
    pub dialect: Dialect,
    /// What the clients do; rates are of the whole run.
    pub scenario: Scenario,
    /// Clients.
    pub connections: u32,
    /// Members of a room.
    pub room_size: u32,
    /// Bytes of payload in a publication.
    pub payload_bytes: usize,
    /// What they are.
    #[serde(default)]
    pub payload: PayloadKind,
    /// What stands between clients and rooms.
    #[serde(default)]
    pub edge: Edge,
    /// Signs the clients' tokens; not kept.
    #[serde(skip)]
    pub secret: Option<String>,
    /// Before anything is recorded.
    pub warmup: Duration,
    /// What is recorded.
    pub duration: Duration,
    /// Between the last join and the warm-up, and before memory is read.
    pub settle: Duration,
    /// CPUs for the generator's processes, in turn; empty: not pinned.
    pub cores: Vec<usize>,
    /// Generator processes; more are used when the clients do not fit.
    pub processes: u32,
    /// The server's process on this host.
    pub pid: Option<u32>,
    /// The server is a floor server, and tells at this address what its sends cost.
    pub floor: Option<SocketAddr>,
    /// The server's `/stats` are at this address.
    pub control: Option<SocketAddr>,
    /// Source addresses per process.
    pub sources: u32,
    /// Connection attempts under way at a time, of the whole run.
    pub connecting_max: usize,
    /// Decides every random choice.
    pub seed: u64,
}

impl Options {
    /// The plans of the generator's processes: whole rooms each.
    ///
    /// # Errors
    /// The numbers do not fit each other.
    pub fn plans(&self) -> anyhow::Result<Vec<WorkerPlan>> {
        ensure!(self.connections > 0, "--connections must be at least 1");
        ensure!(self.room_size > 0, "--room-size must be at least 1");
        ensure!(
            self.room_size <= CLIENTS_PER_PROCESS_MAX,
            "--room-size must be at most {CLIENTS_PER_PROCESS_MAX}: one generator process checks a whole room"
        );
        let rooms = self.connections.div_ceil(self.room_size);
        let rooms_per_process_max = (CLIENTS_PER_PROCESS_MAX / self.room_size).max(1);
        let cores = u32::try_from(self.cores.len()).unwrap_or(1);
        let wanted = self.processes.max(cores).max(1).min(rooms);
        let processes = wanted.max(rooms.div_ceil(rooms_per_process_max));
        let mut plans = Vec::new();
        let (mut room, mut left) = (0, self.connections);
        for shard in 0..processes {
            let rooms_here = (rooms - room).div_ceil(processes - shard);
            let clients = left.min(rooms_here * self.room_size);
            let share = f64::from(clients) / f64::from(self.connections);
            plans.push(WorkerPlan {
                targets: self.targets.clone(),
                dialect: self.dialect.clone(),
                scenario: share_of(self.scenario, share),
                shard,
                core: self.cores.get(shard as usize % self.cores.len().max(1)).copied(),
                clients,
                room_size: self.room_size,
                payload_bytes: self.payload_bytes,
                payload: self.payload,
                edge: self.edge,
                secret: self.secret.clone(),
                sources: self.sources,
                connecting_max: self.connecting_max.div_ceil(processes as usize),
                run: run_number(self.seed),
                seed: self.seed.wrapping_add(u64::from(shard)),
                pid: self.pid,
            });
            room += rooms_here;
            left -= clients;
        }
        Ok(plans)
    }
}

/// A number for names that differs between runs with the same seed: they may meet the same server.
fn run_number(seed: u64) -> u32 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mixed = (seed ^ u64::from(clock.subsec_nanos())).wrapping_add(clock.as_secs() << 20);
    (mixed ^ (mixed >> 32)) as u32
}

fn share_of(scenario: Scenario, share: f64) -> Scenario {
    let pace = |pace| match pace {
        PublishPace::InFlight(count) => PublishPace::InFlight(count),
        PublishPace::Poisson { per_second } => PublishPace::Poisson { per_second: per_second * share },
        PublishPace::Even { per_second } => PublishPace::Even { per_second: per_second * share },
    };
    let part = |rooms: u32| ((f64::from(rooms) * share).round() as u32).max(1);
    match scenario {
        Scenario::Idle | Scenario::Churn => scenario,
        Scenario::Fanout { pace: whole, stalled_per_mille } => {
            Scenario::Fanout { pace: pace(whole), stalled_per_mille }
        }
        Scenario::Echo { pace: whole } => Scenario::Echo { pace: pace(whole) },
        Scenario::Soak(soak) => {
            Scenario::Soak(SoakLoad { rooms: part(soak.rooms), actions_per_second: soak.actions_per_second * share })
        }
        Scenario::Storm(storm) => Scenario::Storm(StormLoad { pace: pace(storm.pace), ..storm }),
        Scenario::Mixed(mixed) => Scenario::Mixed(MixedLoad {
            rooms: part(mixed.rooms),
            publishes_per_second: mixed.publishes_per_second * share,
            reads_per_second: mixed.reads_per_second * share,
            moves_per_second: mixed.moves_per_second * share,
            ..mixed
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(connections: u32, room_size: u32) -> Options {
        Options {
            name: "test".into(),
            targets: vec![Target::parse("ws://127.0.0.1:1/").expect("good")],
            dialect: Dialect::json(),
            scenario: Scenario::Fanout { pace: PublishPace::Even { per_second: 100.0 }, stalled_per_mille: 0 },
            connections,
            room_size,
            payload_bytes: 128,
            payload: PayloadKind::default(),
            edge: Edge::default(),
            secret: None,
            warmup: Duration::ZERO,
            duration: Duration::from_secs(1),
            settle: Duration::ZERO,
            cores: vec![1],
            processes: 1,
            pid: None,
            floor: None,
            control: None,
            sources: 64,
            connecting_max: 128,
            seed: 1,
        }
    }

    #[test]
    fn rooms_are_whole_and_clients_all_there() {
        for (connections, room_size, processes) in [(1_000, 100, 1), (50_000, 100, 3), (50_001, 7_000, 4), (3, 100, 1)]
        {
            let plans = options(connections, room_size).plans().expect("fits");
            assert_eq!(plans.len(), processes, "{connections} in rooms of {room_size}");
            assert_eq!(plans.iter().map(|plan| plan.clients).sum::<u32>(), connections);
            assert!(plans.iter().all(|plan| plan.clients <= CLIENTS_PER_PROCESS_MAX));
            assert!(plans[..plans.len() - 1].iter().all(|plan| plan.clients % room_size == 0));
            let rate: f64 = plans
                .iter()
                .map(|plan| match plan.scenario {
                    Scenario::Fanout { pace: PublishPace::Even { per_second }, .. } => per_second,
                    _ => 0.0,
                })
                .sum();
            assert!((rate - 100.0).abs() < 1e-6);
        }
        assert!(options(50_000, 20_000).plans().is_err());
    }
}
