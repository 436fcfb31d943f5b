//! Owns the options of a run, and divides it among generator processes. Never executes it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{DurableLoad, MixedLoad, PublishPace, Scenario, SoakLoad, StormLoad, WorkerPlan};
use crate::dialect::Dialect;
use crate::edge::Edge;
use crate::fleet::address::Target;
use crate::payload::PayloadKind;
use crate::store::StoreInUse;

/// Maximum clients of one process, below the usual hard limit of 20,000 open files.
pub const CLIENTS_PER_PROCESS_MAX: u32 = 19_900;

/// The options of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// Name of the server, for tables.
    pub name: String,
    /// Servers; clients are spread over them.
    pub targets: Vec<Target>,
    /// Protocol of the servers.
    pub dialect: Dialect,
    /// Behavior of the clients, with rates of the whole run.
    pub scenario: Scenario,
    /// Number of clients.
    pub connections: u32,
    /// Members per room.
    pub room_size: u32,
    /// Bytes of payload per publication.
    pub payload_bytes: usize,
    /// Kind of payload.
    #[serde(default)]
    pub payload: PayloadKind,
    /// TLS, compression, tokens and limits.
    #[serde(default)]
    pub edge: Edge,
    /// The server's store, if the server was started for the run and has one.
    #[serde(default)]
    pub store: Option<StoreInUse>,
    /// Secret of the clients' tokens; never saved.
    #[serde(skip)]
    pub secret: Option<String>,
    /// Warm-up before measuring.
    pub warmup: Duration,
    /// Measured time.
    pub duration: Duration,
    /// Time between the last join and the warm-up. Memory is read at its end.
    pub settle: Duration,
    /// CPUs of the generator's processes; not pinned if empty.
    pub cores: Vec<usize>,
    /// Generator processes; more start if the clients do not fit.
    pub processes: u32,
    /// The server's process on this host.
    pub pid: Option<u32>,
    /// Address of a floor server's counters.
    pub floor: Option<SocketAddr>,
    /// Control address of Roomring.
    pub control: Option<SocketAddr>,
    /// Source addresses per process.
    pub sources: u32,
    /// Maximum connection attempts in flight, of the whole run.
    pub connecting_max: usize,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Options {
    /// Divides the run into plans of whole rooms, one per generator process.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn plans(&self) -> anyhow::Result<Vec<WorkerPlan>> {
        ensure!(self.connections > 0, "--connections must be at least 1");
        ensure!(self.room_size > 0, "--room-size must be at least 1");
        ensure!(
            self.room_size <= CLIENTS_PER_PROCESS_MAX,
            "--room-size must be at most {CLIENTS_PER_PROCESS_MAX}: a generator process checks whole rooms"
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

/// A number for names that differs between runs with the same seed, which may use the same server.
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
        Scenario::Durable(durable) => Scenario::Durable(DurableLoad { pace: pace(durable.pace), ..durable }),
        // Its rates are per user.
        Scenario::Chat(_) => scenario,
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
            store: None,
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
    fn plans_have_whole_rooms_and_all_clients() {
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
