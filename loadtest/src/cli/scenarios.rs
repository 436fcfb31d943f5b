//! Owns the options of scenarios, and turns them into a run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

use super::edge::EdgeArgs;
use super::keep::KeepArgs;
use super::values::{core_list, duration};
use crate::dialect::Dialect;
use crate::dialect::raw::{self, Templates};
use crate::edge::Edge;
use crate::fleet::address::Target;
use crate::plan::options::Options;
use crate::plan::{MixedLoad, PublishPace, Scenario, SoakLoad, StormLoad};
use crate::run::single::SingleRun;
use crate::server::launch::{Conditions, Spec};
use crate::store::StoreMode;

/// Options of scenarios that publish.
#[derive(Debug, Args)]
pub struct PacedArgs {
    /// Closed loop: publishes in flight per room (echo: messages per client).
    #[arg(long, default_value_t = 1, value_name = "W", conflicts_with = "rate")]
    pub in_flight: u32,
    /// Open loop: publishes per second in all rooms together. Latency counts from the scheduled time.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Open loop: distribution of publishes over time.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    pub arrivals: Arrivals,
    /// Share of each room's members that stall.
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub stalled: f64,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Options of `soak`.
#[derive(Debug, Args)]
pub struct SoakArgs {
    /// Actions of all clients per second; most are publishes.
    #[arg(long, default_value_t = 500.0, value_name = "PER_SECOND")]
    pub actions: f64,
    /// Rooms [default: one per 25 clients].
    #[arg(long)]
    pub rooms: Option<u32>,
    #[command(flatten)]
    pub run: RunArgs,
}

impl SoakArgs {
    /// The load.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn load(&self) -> anyhow::Result<SoakLoad> {
        ensure!(self.actions > 0.0, "--actions must be above 0");
        let rooms = self.rooms.unwrap_or(self.run.connections / 25).max(1);
        Ok(SoakLoad { rooms, actions_per_second: self.actions })
    }
}

/// Options of `storm`.
#[derive(Debug, Args)]
pub struct StormArgs {
    /// Publishes per second in all rooms together. Latency counts from the scheduled time.
    #[arg(long, default_value_t = 100.0, value_name = "PER_SECOND")]
    pub rate: f64,
    /// Distribution of publishes over time.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    pub arrivals: Arrivals,
    /// Share of readers that lose their connections. Publishers, one per room, keep theirs.
    #[arg(long, default_value_t = 100.0, value_name = "PERCENT")]
    pub share: f64,
    /// Time between storms; the first comes after half of it.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub every: Duration,
    /// Spreads reconnects at random over this time, doubled after each failure; 0s reconnects at once.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub backoff: Duration,
    #[command(flatten)]
    pub run: RunArgs,
}

impl StormArgs {
    /// The load.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn load(&self) -> anyhow::Result<StormLoad> {
        ensure!(self.share > 0.0 && self.share <= 100.0, "--share must be a percentage above 0 and at most 100");
        ensure!(self.every >= Duration::from_millis(10), "--every must be at least 10ms");
        ensure!(
            self.every / 2 < self.run.duration,
            "--every must be less than twice --duration: otherwise no storm comes"
        );
        ensure!(
            self.run.room_size.min(self.run.connections) > 1,
            "--room-size must be at least 2: a storm needs readers"
        );
        Ok(StormLoad {
            pace: open_loop(self.rate, self.arrivals)?,
            share_per_mille: (self.share * 10.0).round().max(1.0) as u32,
            every_ns: nanoseconds(self.every)?,
            backoff_ns: nanoseconds(self.backoff)?,
        })
    }
}

/// Options of `mixed`.
#[derive(Debug, Args)]
pub struct MixedArgs {
    /// Publishes per second in all rooms together. Latency counts from the scheduled time.
    #[arg(long, default_value_t = 200.0, value_name = "PER_SECOND")]
    pub rate: f64,
    /// Rooms [default: one per 10 clients].
    #[arg(long)]
    pub rooms: Option<u32>,
    /// Zipf exponent of room sizes: the k-th largest room has a share of 1 / k to this power.
    #[arg(long, default_value_t = 1.1, value_name = "EXPONENT")]
    pub zipf: f64,
    /// Average rooms per client.
    #[arg(long, default_value_t = 2.0)]
    pub memberships: f64,
    /// Average publishes per burst of a client, half a second apart.
    #[arg(long, default_value_t = 4.0)]
    pub burst: f64,
    /// Presence queries and history reads per second, half of each [default: a tenth of `--rate`].
    #[arg(long, value_name = "PER_SECOND")]
    pub reads: Option<f64>,
    /// Room changes and lost connections per second, half of each [default: one per client in 100 s].
    #[arg(long, value_name = "PER_SECOND")]
    pub moves: Option<f64>,
    #[command(flatten)]
    pub run: RunArgs,
}

impl MixedArgs {
    /// The load.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn load(&self) -> anyhow::Result<MixedLoad> {
        let clients = self.run.connections;
        ensure!((1.0..1e8).contains(&self.rate), "--rate must be from 1 to 100,000,000");
        ensure!((0.0..=4.0).contains(&self.zipf), "--zipf must be from 0 to 4");
        ensure!((1.0..=16.0).contains(&self.memberships), "--memberships must be from 1 to 16");
        ensure!((1.0..=1_000.0).contains(&self.burst), "--burst must be from 1 to 1000");
        let rooms = self.rooms.unwrap_or(clients / 10).max(1);
        ensure!(f64::from(rooms) >= self.memberships, "--memberships must be at most --rooms");
        let reads_per_second = self.reads.unwrap_or(self.rate / 10.0);
        let moves_per_second = self.moves.unwrap_or(f64::from(clients) / 100.0);
        ensure!((0.0..1e8).contains(&reads_per_second), "--reads must be below 100,000,000");
        ensure!((0.0..1e8).contains(&moves_per_second), "--moves must be below 100,000,000");
        let (zipf, memberships, burst) = (self.zipf, self.memberships, self.burst);
        let publishes_per_second = self.rate;
        Ok(MixedLoad { rooms, zipf, memberships, publishes_per_second, burst, reads_per_second, moves_per_second })
    }
}

pub(super) fn open_loop(per_second: f64, arrivals: Arrivals) -> anyhow::Result<PublishPace> {
    ensure!(per_second > 0.0 && per_second < 1e8, "--rate must be above 0 and below 100,000,000");
    Ok(match arrivals {
        Arrivals::Poisson => PublishPace::Poisson { per_second },
        Arrivals::Even => PublishPace::Even { per_second },
    })
}

pub(super) fn nanoseconds(time: Duration) -> anyhow::Result<u64> {
    u64::try_from(time.as_nanos()).context("too long")
}

/// Distribution of open-loop publishes over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// Poisson process: independent times, some close together.
    Poisson,
    /// Even intervals in each room, shifted between rooms.
    Even,
}

/// Names of dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DialectName {
    /// Roomring's JSON form.
    Json,
    /// Roomring's binary form.
    Binary,
    /// Any server, by templates (`--raw-…`; the defaults suit the servers of `peers/`).
    Raw,
}

/// Options of every scenario.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// URL of the server. Repeat it to spread clients over several servers.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: Vec<String>,
    /// Starts a server instead of using `--url` and `--pid`: `roomring`, `roomring=PATH`, `floor`, or a server of
    /// `peers/` (`uws`, `bun`, `ws`, `socketio`, `gorilla`, `nchan`, `tungstenite`).
    #[arg(long, conflicts_with_all = ["url", "pid"])]
    pub server: Option<Spec>,
    /// CPUs of the server that `--server` starts: `0` or `0,2-5`.
    #[arg(long, value_name = "LIST")]
    pub server_cores: Option<String>,
    /// Configuration of the Roomring that `--server` starts.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub server_set: Vec<String>,
    /// Store of the Roomring that `--server` starts: none, the embedded one written after the answer to a publish, or
    /// written before it [default: memory; `durable`: commit; `chat`: behind].
    #[arg(long, value_enum)]
    pub store: Option<StoreMode>,
    /// Folder in which that store gets an empty folder of its own, removed afterwards [default: the folder for
    /// temporary files].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Protocol of the server.
    #[arg(long, value_enum, default_value_t = DialectName::Json)]
    pub dialect: DialectName,
    /// Number of clients.
    #[arg(long, short, default_value_t = 1_000)]
    pub connections: u32,
    /// Members per room.
    #[arg(long, short, default_value_t = 100)]
    pub room_size: u32,
    /// Bytes of payload per publication.
    #[arg(long, default_value_t = 128)]
    pub size: usize,
    /// Measured time.
    #[arg(long, short, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Warm-up: time under load before measuring.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub warmup: Duration,
    /// Time between the last join and the load. Memory is read at its end.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub settle: Duration,
    /// CPUs of the generator, with one pinned process each: `1` or `2,4-7`.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Generator processes; more start if the clients do not fit.
    #[arg(long, default_value_t = 1)]
    pub processes: u32,
    /// Process of the server on this host, to measure its CPU time and memory.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Control address of Roomring. The result includes its `/metrics`, and after a soak its `/stats` must be back at
    /// zero.
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<SocketAddr>,
    /// Source addresses per process on loopback.
    #[arg(long, default_value_t = 64)]
    pub sources: u32,
    /// Maximum connection attempts in flight.
    #[arg(long, default_value_t = 128)]
    pub connecting: usize,
    /// Seed of all random choices [default: random].
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub edge: EdgeArgs,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Shows no progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
    /// Raw dialect: template appended to the URL's path.
    #[arg(long, default_value = "/room/{room}", value_name = "TEMPLATE")]
    pub raw_target: String,
    /// Raw dialect: template of the join message.
    #[arg(long, default_value = "", value_name = "TEMPLATE")]
    pub raw_join: String,
    /// Raw dialect: text in the reply to a join.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub raw_joined: String,
    /// Raw dialect: template of a publish.
    #[arg(long, default_value = "{data}", value_name = "TEMPLATE")]
    pub raw_publish: String,
    /// Raw dialect: sends binary frames instead of text.
    #[arg(long)]
    pub raw_binary: bool,
    /// Raw dialect: answers a whole message, such as Socket.IO's ping with `2=3`. May be repeated.
    #[arg(long, value_name = "MESSAGE=ANSWER", value_parser = raw::answer_rule)]
    pub raw_answer: Vec<(String, String)>,
    /// Raw dialect: each line of a server message is a message.
    #[arg(long)]
    pub raw_lines: bool,
}

impl PacedArgs {
    /// The pace of publishes.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn pace(&self) -> anyhow::Result<PublishPace> {
        ensure!(self.in_flight > 0, "--in-flight must be at least 1");
        let Some(per_second) = self.rate else { return Ok(PublishPace::InFlight(self.in_flight)) };
        open_loop(per_second, self.arrivals)
    }

    /// The share of stalled readers, in thousandths.
    ///
    /// # Errors
    /// The option is out of range.
    pub fn stalled_per_mille(&self) -> anyhow::Result<u32> {
        ensure!((0.0..100.0).contains(&self.stalled), "--stalled must be a percentage below 100");
        Ok((self.stalled * 10.0).round() as u32)
    }
}

impl RunArgs {
    /// The run that these options describe.
    ///
    /// # Errors
    /// An option is invalid.
    pub fn single(&self, scenario: Scenario) -> anyhow::Result<SingleRun> {
        let (options, conditions) = (self.options(scenario)?, self.conditions(scenario)?);
        Ok(SingleRun { options, conditions, shows_progress: !self.quiet })
    }

    fn options(&self, scenario: Scenario) -> anyhow::Result<Options> {
        let targets = self.url.iter().map(|url| Target::parse(url)).collect::<anyhow::Result<Vec<_>>>()?;
        let edge = self.edge(&targets)?;
        let (payload, size_min) = (self.edge.payload, self.edge.payload.bytes_min());
        ensure!(self.size >= size_min, "--size must be at least {size_min}");
        Ok(Options {
            name: self.url[0].clone(),
            targets,
            dialect: self.dialect(),
            scenario,
            connections: self.connections,
            room_size: self.room_size.min(self.connections),
            payload_bytes: self.size,
            payload,
            edge,
            store: None,
            secret: self.edge.jwt_secret.clone(),
            warmup: self.warmup,
            duration: self.duration,
            settle: self.settle,
            cores: self.cores.as_deref().map_or(Ok(Vec::new()), core_list).context("--cores")?,
            processes: self.processes,
            pid: self.pid,
            floor: None,
            control: self.control,
            sources: self.sources,
            connecting_max: self.connecting.max(1),
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..1 << 48)),
        })
    }

    /// Conditions for a server that is started for this run.
    fn conditions(&self, scenario: Scenario) -> anyhow::Result<Conditions> {
        Ok(Conditions {
            cores: self.server_cores.as_deref().map_or(Ok(Vec::new()), core_list).context("--server-cores")?,
            needs: scenario.needs(),
            set: self.server_set.clone(),
            store: self.store.or(scenario.store()),
            data: self.data.clone(),
            follows: None,
            echo: matches!(scenario, Scenario::Echo { .. }),
            edge: self.edge.edge(),
            secret: self.edge.jwt_secret.clone(),
            binary: self.dialect == DialectName::Binary || self.raw_binary,
        })
    }

    /// TLS, compression, tokens and limits for these targets.
    fn edge(&self, targets: &[Target]) -> anyhow::Result<Edge> {
        let secure = targets.iter().filter(|target| target.secure).count();
        ensure!(secure == 0 || secure == targets.len(), "--url: expected wss:// in all URLs or in none");
        let edge = self.edge.edge();
        Ok(Edge { tls: edge.tls || secure > 0, ..edge })
    }

    fn dialect(&self) -> Dialect {
        match self.dialect {
            DialectName::Json => Dialect::json(),
            DialectName::Binary => Dialect::Binary,
            DialectName::Raw => Dialect::Raw(Templates {
                target: self.raw_target.clone(),
                join: self.raw_join.clone(),
                joined: self.raw_joined.clone(),
                publish: self.raw_publish.clone(),
                binary: self.raw_binary,
                answers: self.raw_answer.clone(),
                lines: self.raw_lines,
                hint: 0,
            }),
        }
    }
}
