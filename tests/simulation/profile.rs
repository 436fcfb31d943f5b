//! What one run is like: which faults are on and how strong, how many of everything, and the engines' settings.
//! Drawn from the seed ("swarm": a run with few faults on explores deeper than one with all of them). Decides nothing
//! while the run goes.

use std::sync::Arc;

use roomring::engine::hosts::AllowedHosts;
use roomring::engine::rates::Rate;
use roomring::engine::settings::Limits;
use roomring::engine::settings::{
    Compression, CreationPolicy, KeepingMode, NumberingMode, RoomClass, RoomSettings, Settings, SlowPolicy,
};
use roomring::engine::trusted::Trusted;
use roomring::wire::handshake::ForwardedHeader;

use super::canary::Canary;
use super::rng::Rng;

/// Who numbers and who keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One node, everything in memory.
    Memory,
    /// Several nodes whose rooms a link numbers.
    Linked,
    /// One node with a store; publishers wait for it.
    Durable,
    /// One node with a store that is written behind.
    Behind,
    /// Several nodes whose rooms a link numbers, and a database that they share.
    LinkedKept,
}

impl Mode {
    /// Every one.
    pub const ALL: [Mode; 5] = [Mode::Memory, Mode::Linked, Mode::Durable, Mode::Behind, Mode::LinkedKept];

    /// Its name in `SIM_SEED`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Memory => "memory",
            Mode::Linked => "linked",
            Mode::Durable => "durable",
            Mode::Behind => "behind",
            Mode::LinkedKept => "linked-kept",
        }
    }

    /// Whether the link numbers.
    pub fn is_linked(self) -> bool {
        matches!(self, Mode::Linked | Mode::LinkedKept)
    }

    /// Whether a publication is at the link or on disk before anybody sees it.
    pub fn keeps_first(self) -> bool {
        matches!(self, Mode::Linked | Mode::LinkedKept | Mode::Durable)
    }

    fn keeping(self, rng: &mut Rng) -> KeepingMode {
        match self {
            Mode::Memory | Mode::Linked => KeepingMode::None,
            Mode::Durable => KeepingMode::Commit,
            Mode::Behind => KeepingMode::Behind,
            Mode::LinkedKept => *rng.pick(&[KeepingMode::Commit, KeepingMode::Behind]),
        }
    }
}

/// How strong each fault is. Zero is off; rates are per draw or per fault step as named.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Part of the writes that arrive cut in random pieces; the rest arrive whole.
    pub split: f64,
    /// Part of the writes that arrive byte by byte.
    pub dribble: f64,
    /// Part of a client's steps that reset its connection.
    pub reset: f64,
    /// Part of a client's steps after which nothing is heard of it and nothing tells the server.
    pub vanish: f64,
    /// Part of a client's steps after which it stops taking bytes for a while.
    pub stuck: f64,
    /// Part of a client's steps that break the protocol.
    pub garbage: f64,
    /// Longest delay of a batch of hops in a lane.
    pub lane_delay_us: u64,
    /// Batches that a core's lanes hold; then they are full.
    pub lane_batches: usize,
    /// Part of the fault steps that stall a core.
    pub stall: f64,
    /// Longest stall.
    pub stall_us: u64,
    /// Longest lateness of a tick.
    pub tick_late_us: u64,
    /// Part of the fault steps that crash a node.
    pub crash: f64,
    /// Part of the fault steps that drain a node and start it again.
    pub drain: f64,
    /// Part of the fault steps that set a node's wall clock.
    pub wall_jump: f64,
    /// Longest delay of anything from or to the link or the store.
    pub service_delay_us: u64,
    /// Part of the link's publications, and of the answers that may be lost, that are.
    pub service_loss: f64,
    /// Part of the link's publications that come twice.
    pub link_duplicate: f64,
    /// Part of the link's publishes answered as failed.
    pub link_fail: f64,
    /// Part of the fault steps that cut a node from the link for a while.
    pub link_cut: f64,
    /// Part of the fault steps that restart the link without its data.
    pub link_forget: f64,
    /// Part of the fault steps in which the link fails over to a replica that lacks the newest records.
    pub link_rollback: f64,
    /// Part of the store's commits that fail.
    pub store_fail: f64,
}

/// How clients behave beside the faults.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Mean time between a client's steps.
    pub step_us: u64,
    /// Most commands written at once.
    pub pipeline_max: u64,
    /// Part of the commands in the other form than the connection's pushes.
    pub mixed: f64,
    /// Part of the publishes with a key.
    pub keyed: f64,
    /// Part of the publishes with `echo:false`.
    pub silent: f64,
    /// Part of the publishes that are ephemeral.
    pub ephemeral: f64,
    /// Part of the publishes with much data.
    pub large: f64,
    /// How much that is.
    pub large_bytes: u64,
    /// Part of a client's steps that end its connection in order.
    pub close: f64,
    /// Part of the commands cut into several WebSocket frames.
    pub fragment: f64,
    /// Part of the commands that are wrong.
    pub wrong: f64,
    /// Part of the connections that ask for something else than a WebSocket.
    pub plain_http: f64,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What all randomness of the run comes from.
    pub seed: u64,
    /// Who numbers and who keeps.
    pub mode: Mode,
    /// Machines.
    pub nodes: usize,
    /// Cores of each.
    pub cores: u16,
    /// Clients that come and go.
    pub clients: usize,
    /// Rooms they use.
    pub rooms: usize,
    /// How long clients act and faults happen.
    pub chaos_us: u64,
    /// Faults.
    pub faults: Faults,
    /// Habits.
    pub habits: Habits,
    /// Records that the link holds of each room.
    pub link_records: usize,
    /// Bytes the kernel takes for a socket before its reader has.
    pub kernel_bytes: usize,
    /// The engines' settings, node name aside.
    pub settings: Settings,
}

impl Profile {
    /// The run of a seed in a mode.
    pub fn draw(seed: u64, mode: Mode) -> Self {
        let mut rng = Rng::salted(seed, "profile", 0);
        let nodes = if mode.is_linked() { rng.range(1, 3) as usize } else { 1 };
        let cores = *rng.pick(&[1, 2, 2, 3, 4]);
        let calm = rng.chance(0.1);
        let faults = if calm { Faults { lane_batches: 256, ..Faults::default() } } else { draw_faults(&mut rng, mode) };
        let clients = rng.range(4, 24) as usize;
        Self {
            seed,
            mode,
            nodes,
            cores,
            clients,
            rooms: rng.range(1, 6) as usize,
            chaos_us: rng.range(3, 9) * 1_000_000,
            habits: draw_habits(&mut rng),
            link_records: if calm { 4_096 } else { *rng.pick(&[8, 64, 4_096]) },
            kernel_bytes: *rng.pick(&[0, 100, 4_096, 65_536]),
            settings: Settings { compression: draw_compression(seed), ..draw_settings(&mut rng, mode, cores, calm) },
            faults,
        }
        .with_names()
        .with_rollbacks()
        .with_stuck_readers()
        .with_crashes()
    }

    /// A node with a store of its own crashes more often: that is when the store matters. Where many readers are stuck, those of
    /// `disconnect` rooms would then hardly ever live to see a gap, so these rooms skip.
    fn with_crashes(mut self) -> Self {
        if !matches!(self.mode, Mode::Durable | Mode::Behind) {
            return self;
        }
        self.faults.crash *= 3.0;
        let settings = &mut self.settings;
        for rooms in settings.classes.iter_mut().map(|class| &mut class.settings).chain([&mut settings.rooms]) {
            if self.faults.stuck > 0.2 && rooms.slow_policy == SlowPolicy::Disconnect {
                Arc::make_mut(rooms).slow_policy = SlowPolicy::Skip;
            }
        }
        self
    }

    /// In some runs that are not calm the link fails over and loses records.
    fn with_rollbacks(mut self) -> Self {
        let mut rng = Rng::salted(self.seed, "rollback", 0);
        if self.mode == Mode::Linked && !self.is_calm() {
            self.faults.link_rollback = rate(&mut rng, 0.05);
        }
        self
    }

    /// Without a link alone readers seldom fall behind by themselves: in some of those runs many are stuck.
    fn with_stuck_readers(mut self) -> Self {
        let is_rare = self.mode != Mode::Linked;
        if is_rare && self.faults.lane_batches < 256 && Rng::salted(self.seed, "stuck", 0).chance(0.5) {
            self.faults.stuck = 0.3;
            self.settings.outbox_bytes = 2_000;
        }
        self
    }

    /// In every other run rooms with more than a few members are told totals.
    fn with_names(mut self) -> Self {
        let names_max = *Rng::salted(self.seed, "names", 0).pick(&[1_000, 3]);
        let settings = &mut self.settings;
        for rooms in settings.classes.iter_mut().map(|class| &mut class.settings).chain([&mut settings.rooms]) {
            Arc::make_mut(rooms).presence_names_max = names_max;
        }
        self
    }

    /// Nothing goes wrong, several cores: what canaries are put into.
    pub fn calm(seed: u64, mode: Mode) -> Self {
        let mut rng = Rng::salted(seed, "profile", 0);
        let mut profile = Self::draw(seed, mode);
        profile.cores = 3;
        profile.nodes = if mode.is_linked() { 2 } else { 1 };
        profile.rooms = 3;
        profile.clients = 10;
        profile.link_records = 4_096;
        profile.faults = Faults { lane_batches: 256, ..Faults::default() };
        profile.settings = Settings { compression: draw_compression(seed), ..draw_settings(&mut rng, mode, 3, true) };
        profile
    }

    /// A run in which only this defect goes wrong, and what it needs.
    pub fn with_canary(seed: u64, canary: Canary) -> Self {
        let mode = match canary {
            Canary::ForgetfulStore | Canary::HolePage | Canary::AckBeforeSync | Canary::TornGroup => Mode::Durable,
            Canary::EarlyRead | Canary::ReplayedGroup => Mode::Durable,
            Canary::FalseEnd => Mode::Behind,
            Canary::RepeatingLink | Canary::ForgottenKey | Canary::HiddenRollback | Canary::EndlessLease => {
                Mode::Linked
            }
            _ => Mode::Memory,
        };
        let mut profile = Self::calm(seed, mode);
        profile.habits = Habits { step_us: 100_000, pipeline_max: 3, close: 0.0, ..profile.habits };
        // Canaries look for what they spoil in the frames.
        profile.settings.compression = None;
        if matches!(canary, Canary::HolePage | Canary::EarlyRead) {
            let settings = &mut profile.settings;
            for rooms in settings.classes.iter_mut().map(|class| &mut class.settings).chain([&mut settings.rooms]) {
                Arc::make_mut(rooms).history_size = 5;
            }
            profile.chaos_us = 8_000_000;
        }
        let crashes = [Canary::ForgetfulStore, Canary::EndlessLease, Canary::AckBeforeSync];
        if crashes.contains(&canary) || matches!(canary, Canary::TornGroup | Canary::ReplayedGroup) {
            profile.faults.crash = 0.05;
            profile.chaos_us = if canary == Canary::TornGroup { 15_000_000 } else { 6_000_000 };
        }
        if matches!(canary, Canary::TornGroup | Canary::EarlyRead | Canary::FalseEnd) {
            profile.faults.service_delay_us = 100_000;
        }
        if canary == Canary::FalseEnd {
            profile.faults.drain = 0.1;
            profile.chaos_us = 8_000_000;
        }
        if canary == Canary::ForgottenKey {
            profile.habits.keyed = 1.0;
        }
        if canary == Canary::EndlessLease {
            for class in &mut profile.settings.classes {
                Arc::make_mut(&mut class.settings).presence = true;
            }
            Arc::make_mut(&mut profile.settings.rooms).presence = true;
        }
        profile
    }

    /// Thousands of clients on many cores, for a short time each.
    pub fn soak(seed: u64, clients: usize) -> Self {
        let mut profile = Self::draw(seed, Mode::Memory);
        profile.cores = 4;
        profile.clients = clients;
        profile.rooms = 60;
        profile.chaos_us = 6_000_000;
        profile.faults = Faults {
            split: 0.05,
            reset: 0.02,
            vanish: 0.02,
            stuck: 0.01,
            garbage: 0.01,
            lane_delay_us: 500,
            lane_batches: 64,
            ..Faults::default()
        };
        profile.habits = Habits { step_us: 1_500_000, pipeline_max: 3, large: 0.01, close: 0.1, ..profile.habits };
        profile.settings = Settings {
            max_connections: 1_000_000,
            memory_budget_bytes: 1 << 30,
            cores: 4,
            ..draw_settings(&mut Rng::salted(seed, "soak", 0), Mode::Memory, 4, false)
        };
        profile
    }

    /// Whether nothing can go wrong but by a defect.
    pub fn is_calm(&self) -> bool {
        let faults = &self.faults;
        let rates =
            [faults.reset, faults.vanish, faults.stuck, faults.garbage, faults.stall, faults.crash, faults.drain];
        let services = [
            faults.service_loss,
            faults.link_fail,
            faults.link_cut,
            faults.link_forget,
            faults.link_rollback,
            faults.store_fail,
        ];
        rates.iter().chain(&services).all(|rate| *rate == 0.0) && faults.lane_batches == 256 && !self.is_tight()
    }

    /// Whether memory or connections are so scarce that the server may refuse or shed.
    pub fn is_tight(&self) -> bool {
        self.settings.memory_budget_bytes < 1 << 28 || (self.settings.max_connections as usize) < 2 * self.clients
    }

    /// Whether upgrades may be refused for how many there are.
    pub fn limits_connects(&self) -> bool {
        self.settings.limits.gates_connects() || self.settings.limits.connections_per_user > 0
    }

    /// Whether a command may be refused for its rate; a publish, for that of publishes too.
    pub fn limits_rate(&self, publishes: bool) -> bool {
        let limits = &self.settings.limits;
        let publish_rates = limits.message_rate.is_some() || limits.message_rate_per_user.is_some();
        limits.command_rate.is_some() || (publishes && publish_rates)
    }

    /// More bytes than any message of the run needs in a frame.
    pub fn frame_bytes_max(&self) -> usize {
        let large = if self.habits.large > 0.0 { self.habits.large_bytes as usize } else { 0 };
        // Each of so many words or bytes takes at most 6 in either form; names and the rest take the remainder.
        6 * large.max(60) + 1_000
    }

    /// The settings of one node's engines.
    pub fn settings(&self, node: usize) -> Arc<Settings> {
        Arc::new(Settings { node: format!("node-{node}"), ..self.settings.clone() })
    }

    /// The name of a room of the run.
    pub fn room_name(index: usize) -> String {
        match index {
            0 => "lobby".to_owned(),
            1 => "skip:räume/ü 1".to_owned(),
            2 => "latest:\"quoted\\\"".to_owned(),
            3 => "x".repeat(128),
            _ => format!("room-{index:05}"),
        }
    }
}

/// A rate that is off half of the time, else up to `max`.
fn rate(rng: &mut Rng, max: f64) -> f64 {
    if rng.chance(0.5) { 0.0 } else { max * (rng.range(1, 100) as f64) / 100.0 }
}

fn draw_faults(rng: &mut Rng, mode: Mode) -> Faults {
    let linked = mode.is_linked();
    let kept = matches!(mode, Mode::Durable | Mode::Behind | Mode::LinkedKept);
    let only = |on: bool, value: f64| if on { value } else { 0.0 };
    Faults {
        split: rate(rng, 0.5),
        dribble: rate(rng, 0.1),
        reset: rate(rng, 0.05),
        vanish: rate(rng, 0.03),
        stuck: rate(rng, 0.05),
        garbage: rate(rng, 0.05),
        lane_delay_us: *rng.pick(&[0, 0, 300, 3_000, 50_000]),
        lane_batches: *rng.pick(&[256, 256, 16, 3, 1]),
        stall: rate(rng, 0.3),
        stall_us: *rng.pick(&[5_000, 100_000, 1_500_000]),
        tick_late_us: *rng.pick(&[0, 1_000, 300_000]),
        crash: rate(rng, 0.02),
        drain: rate(rng, 0.01),
        wall_jump: rate(rng, 0.02),
        service_delay_us: *rng.pick(&[200, 2_000, 30_000, 300_000]),
        service_loss: rate(rng, 0.1),
        link_duplicate: only(linked, rate(rng, 0.3)),
        link_fail: only(linked, rate(rng, 0.05)),
        link_cut: only(linked, rate(rng, 0.05)),
        link_forget: only(linked, rate(rng, 0.01)),
        link_rollback: 0.0,
        store_fail: only(kept, rate(rng, 0.2)),
    }
}

fn draw_habits(rng: &mut Rng) -> Habits {
    Habits {
        step_us: *rng.pick(&[30_000, 100_000, 200_000, 400_000]),
        pipeline_max: *rng.pick(&[1, 3, 16]),
        mixed: rate(rng, 0.5),
        keyed: rate(rng, 0.6),
        silent: rate(rng, 0.3),
        ephemeral: rate(rng, 0.2),
        large: rate(rng, 0.1),
        large_bytes: *rng.pick(&[300, 3_000, 20_000]),
        close: rate(rng, 0.05),
        fragment: rate(rng, 0.2),
        wrong: rate(rng, 0.1),
        plain_http: rate(rng, 0.1),
    }
}

fn draw_rooms(rng: &mut Rng, slow_policy: SlowPolicy) -> RoomSettings {
    let history_on_join_max = *rng.pick(&[0, 10, 300]);
    RoomSettings {
        history_size: *rng.pick(&[0, 5, 40, 1_000]),
        history_ttl_ms: *rng.pick(&[2_000, 20_000, 60_000]),
        numbering_ttl_ms: *rng.pick(&[0, 3_000, 60_000]),
        history_on_join: history_on_join_max.min(*rng.pick(&[0, 5, 50])),
        history_on_join_max,
        recovery_max: *rng.pick(&[3, 50, 1_000]),
        slow_policy,
        presence: rng.chance(0.8),
        presence_names_max: 1_000,
        presence_grace_ms: *rng.pick(&[0, 200, 2_000]),
        room_message_rate: None,
        create: CreationPolicy::Anyone,
    }
}

/// Mostly on, from so few bytes on that it is used.
fn draw_compression(seed: u64) -> Option<Compression> {
    let mut rng = Rng::salted(seed, "compression", 0);
    let (min_bytes, level) = (rng.index(150), rng.range(1, 9) as u8);
    rng.chance(0.7).then_some(Compression { min_bytes, level })
}

fn draw_settings(rng: &mut Rng, mode: Mode, cores: u16, calm: bool) -> Settings {
    let tight = !calm && rng.chance(0.15);
    let outbox_bytes = if calm { 1 << 28 } else { *rng.pick(&[2_000, 20_000, 200_000, 1 << 20]) };
    let class =
        |pattern: &str, rooms: RoomSettings| RoomClass { pattern: pattern.to_owned(), settings: Arc::new(rooms) };
    Settings {
        node: String::new(),
        cores,
        max_connections: if tight && rng.chance(0.5) { 5 * u32::from(cores) } else { 10_000 },
        max_connections_per_core: 1_000_000,
        sockets_max: u32::MAX,
        warm_connections: *rng.pick(&[0, 3]),
        max_message_bytes: 65_536,
        echo_path: "/echo".to_owned(),
        allowed_origins: Vec::new(),
        allowed_hosts: AllowedHosts::any(),
        forwarded_header: ForwardedHeader::default(),
        trusted_proxies: Trusted::default(),
        outbox_bytes,
        rooms_per_connection: if calm { 0 } else { *rng.pick(&[0, 0, 2, 128]) },
        limits: if calm || rng.chance(0.6) { Limits::default() } else { draw_limits(rng) },
        memory_budget_bytes: if tight { 200_000 } else { 1 << 30 },
        io_bytes_per_connection: 0,
        heartbeat_interval_ms: *rng.pick(&[2_000, 5_000]),
        heartbeat_timeout_ms: 9_000,
        compression: None,
        rooms: Arc::new(draw_rooms(rng, SlowPolicy::Disconnect)),
        classes: vec![
            class("skip:*", draw_rooms(rng, SlowPolicy::Skip)),
            class("latest:*", draw_rooms(rng, SlowPolicy::Latest)),
        ],
        dialects: &roomring::wire::dialect::DIALECTS,
        trace_sample: u64::MAX / 8,
        numbering: if mode.is_linked() { NumberingMode::Link } else { NumberingMode::Own },
        keeping: mode.keeping(rng),
        rooms_are_administered: false,
        accounts: None,
    }
}

fn draw_limits(rng: &mut Rng) -> Limits {
    let rate = |rng: &mut Rng, counts: &[u64], per_ms: u64| Rate::new(*rng.pick(counts), per_ms);
    Limits {
        connect_rate: rate(rng, &[0, 1_000], 1_000),
        connect_rate_per_ip: rate(rng, &[0, 1_000], 1_000),
        connections_per_ip: *rng.pick(&[0, 10_000]),
        connections_per_user: *rng.pick(&[0, 2, 16]),
        message_rate: rate(rng, &[0, 0, 2, 50], 1_000),
        command_rate: rate(rng, &[0, 1_000], 1_000),
        message_rate_per_user: rate(rng, &[0, 3, 200, 200], 2_000),
        // Clients that have caught up say nothing more, and are still to be there when the auditors come.
        idle_timeout_ms: 0,
    }
}
