//! One machine: its engines, what waits for each of them, and the lanes between its cores. Plain state; the world moves
//! it on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use roomring::base::counters::CoreCounters;
use roomring::base::ids::CoreId;
use roomring::base::places::Places;
use roomring::base::time::Now;
use roomring::engine::Engine;
use roomring::engine::hop::Hop;
use roomring::engine::link_port::LinkEvent;
use roomring::engine::output::Output;
use roomring::engine::store_port::StoreEvent;

use super::canary::Canary;
use super::profile::Profile;
use super::rng::Rng;
use super::store::Store;

/// The run's wall clock at its start, Unix milliseconds.
pub const UNIX_MS: u64 = 1_700_000_000_000;

/// What waits for an engine from one socket.
#[derive(Debug)]
pub enum FromSocket {
    /// It was accepted.
    Accepted,
    /// Bytes.
    Bytes(Vec<u8>),
    /// The last send was taken whole.
    Sent,
    /// Its peer has ended its stream.
    Ended,
    /// It has failed.
    Disconnected,
}

/// Hops on their way.
#[derive(Debug)]
pub struct Batch {
    /// Not to be handled before.
    pub ready_us: u64,
    /// What.
    pub hops: Vec<Hop>,
}

/// One core.
pub struct Core {
    /// Its engine.
    pub engine: Engine,
    /// Its numbers.
    pub counters: Arc<CoreCounters>,
    /// Which connection each slot holds.
    pub slots: Vec<Option<usize>>,
    /// From sockets, by slot, each in order.
    pub sockets: BTreeMap<u32, VecDeque<FromSocket>>,
    /// From other cores, each in order.
    pub lanes: Vec<VecDeque<Batch>>,
    /// From the link.
    pub link: VecDeque<LinkEvent>,
    /// From the store.
    pub store: VecDeque<StoreEvent>,
    /// A planned stop is asked for.
    pub drain: Option<u64>,
    /// A tick is due.
    pub tick: bool,
    /// The tick that is scheduled.
    pub tick_at_us: Option<u64>,
    /// The turn that is scheduled.
    pub turn_at_us: Option<u64>,
    /// No turn before this.
    pub stalled_until_us: u64,
    /// Calls of the control address that have not been answered.
    pub asked: BTreeSet<u64>,
    /// Carried out and emptied after each turn.
    pub output: Output,
}

impl Core {
    /// Batches that wait in this core's lanes.
    pub fn batches(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Whether anything waits that a turn could handle now.
    pub fn is_ready(&self, now_us: u64) -> bool {
        let lanes = self.lanes.iter().any(|lane| lane.front().is_some_and(|batch| batch.ready_us <= now_us));
        lanes
            || self.tick
            || self.drain.is_some()
            || !self.sockets.is_empty()
            || !self.link.is_empty()
            || !self.store.is_empty()
    }

    /// The lowest slot that is free, as the kernel hands them out.
    pub fn take_slot(&mut self, conn: usize) -> u32 {
        let free = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[free] = Some(conn);
        free as u32
    }
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It serves.
    Up,
    /// It is being drained; then it starts again.
    Draining,
    /// It is down.
    Down,
}

/// One machine.
pub struct Node {
    /// Where it stands.
    pub standing: Standing,
    /// How often it was started.
    pub life: u32,
    /// When it was started last.
    pub started_us: u64,
    /// How far its wall clock is off.
    pub wall_offset_ms: i64,
    /// Its cores; none while it is down.
    pub cores: Vec<Core>,
    /// Its store.
    pub store: Store,
    /// When a drain must have come to its end.
    pub drained_by_us: u64,
}

impl Node {
    /// A machine that has not been started.
    pub fn new(profile: &Profile, index: usize, canary: Option<Canary>) -> Self {
        Self {
            standing: Standing::Down,
            life: 0,
            started_us: 0,
            wall_offset_ms: 0,
            cores: Vec::new(),
            store: Store::new(profile, index, canary),
            drained_by_us: 0,
        }
    }

    /// Starts it: new engines that know nothing.
    pub fn start(&mut self, profile: &Profile, index: usize, now_us: u64) {
        self.standing = Standing::Up;
        self.life += 1;
        self.started_us = now_us;
        let settings = profile.settings(index);
        let places: Arc<Places> = Arc::default();
        let mut seeds = Rng::salted(profile.seed, "engine", (index as u64) << 32 | u64::from(self.life));
        let core = |core| {
            let counters = Arc::new(CoreCounters::default());
            let engine = Engine::new(settings.clone(), CoreId(core), seeds.next(), counters.clone());
            Core {
                engine: engine.sharing(places.clone()),
                counters,
                slots: Vec::new(),
                sockets: BTreeMap::new(),
                lanes: (0..profile.cores).map(|_| VecDeque::new()).collect(),
                link: VecDeque::new(),
                store: VecDeque::new(),
                drain: None,
                tick: false,
                tick_at_us: None,
                turn_at_us: None,
                stalled_until_us: 0,
                asked: BTreeSet::new(),
                output: Output::default(),
            }
        };
        self.cores = (0..profile.cores).map(core).collect();
    }

    /// What its clocks say.
    pub fn now(&self, now_us: u64) -> Now {
        let unix_ms = (UNIX_MS + now_us / 1_000).saturating_add_signed(self.wall_offset_ms);
        Now { mono_us: now_us - self.started_us, unix_ms }
    }
}
