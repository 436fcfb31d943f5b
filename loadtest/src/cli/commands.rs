//! Owns the options of commands that run several scenarios, or none.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::keep::KeepArgs;
use super::scenarios::DialectName;
use super::values::duration;
use crate::server::launch::Spec;

/// Options of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Servers as `[LABEL:]KIND[=PATH][+PART…]`. KIND is roomring, floor or a server of `peers/`; PART (roomring only)
    /// is tls, tls-resume, deflate, jwt, limits or all. Ratios are relative to the first server.
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<Spec>,
    /// Runs per server.
    #[arg(long, default_value_t = 5)]
    pub rounds: u32,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// The scenario and its options, such as `fanout --in-flight 16`.
    #[arg(last = true, required = true, value_name = "SCENARIO")]
    pub scenario: Vec<String>,
}

/// Options of `grow`: those of `compare`, and the option that varies.
#[derive(Debug, Args)]
pub struct GrowArgs {
    /// The option to vary and its values, such as `connections=1000,5000,20000`.
    #[arg(long, value_name = "OPTION=VALUE,…")]
    pub over: String,
    #[command(flatten)]
    pub compare: CompareArgs,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Results saved with `--json`. Adds a comparison if several are single runs.
    #[arg(required = true, value_name = "FILE")]
    pub results: Vec<PathBuf>,
    /// Output file.
    #[arg(long, value_name = "FILE")]
    pub html: PathBuf,
}

/// Where several runs of one command take place, and what their clients do.
#[derive(Clone, Debug, Args)]
pub struct PlacementArgs {
    /// CPUs of the server [default: the first, if there are two].
    #[arg(long, value_name = "LIST")]
    pub server_cores: Option<String>,
    /// Configuration of Roomring.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub server_set: Vec<String>,
    /// CPUs of the generator [default: the second, if there are two].
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Form of the protocol that Roomring's clients use: `json` or `binary`.
    #[arg(long, value_enum, default_value_t = DialectName::Json)]
    pub dialect: DialectName,
    /// Seed of all random choices [default: random].
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Options of the suite.
#[derive(Clone, Debug, Args)]
pub struct SuiteArgs {
    /// The server to start for each part: `[LABEL:]KIND[=PATH]` as in `compare`.
    #[arg(long, default_value = "roomring")]
    pub server: Spec,
    #[command(flatten)]
    pub placement: PlacementArgs,
    /// Takes a quarter of the time, to check that everything works; too short for figures.
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Shows no progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Options of `edge`.
#[derive(Clone, Debug, Args)]
pub struct EdgeCommandArgs {
    /// The server: `roomring` or `roomring=PATH`.
    #[arg(long, default_value = "roomring")]
    pub server: Spec,
    /// Parts to measure: tls, tls-resume, deflate, jwt, limits, all; `+` combines parts.
    #[arg(long, value_delimiter = ',', default_value = "tls,deflate,jwt,limits,all", value_name = "LIST")]
    pub parts: Vec<String>,
    /// Runs only the scenarios whose names contain this text.
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Runs of each part.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Bytes of JSON payload per publication. Roomring does not compress small messages.
    #[arg(long, default_value_t = 512)]
    pub size: usize,
    #[command(flatten)]
    pub placement: PlacementArgs,
    /// Runs one short round, to check that everything works; too short for figures.
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Shows no progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Options of `capacity`.
#[derive(Debug, Args)]
pub struct CapacityArgs {
    /// Server cores to estimate for [default: the measured number].
    #[arg(long, value_name = "N")]
    pub for_cores: Option<usize>,
    /// Maximum CPU use of each core.
    #[arg(long, default_value_t = 60.0, value_name = "PERCENT")]
    pub busy: f64,
    /// Members of a room.
    #[arg(long, short, default_value_t = 100)]
    pub room_size: u32,
    /// Messages that each connection publishes per second.
    #[arg(long, default_value_t = 0.02, value_name = "PER_SECOND")]
    pub rate_per_user: f64,
    /// Bytes of payload in a message.
    #[arg(long, default_value_t = 128, value_name = "BYTES")]
    pub payload: usize,
    /// Time between pings of a connection (`heartbeat.interval`).
    #[arg(long, default_value = "25s", value_parser = duration)]
    pub heartbeat: Duration,
    /// Share of readers that stall at the same time.
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    pub stalled: f64,
    /// `RLIMIT_NOFILE` of the server [default: the hard limit of this process].
    #[arg(long, value_name = "N")]
    pub open_files: Option<u64>,
    /// Memory to estimate for, in GiB [default: memory of this host].
    #[arg(long, value_name = "GIB")]
    pub memory: Option<f64>,
    /// The server's program: `roomring` or `roomring=PATH`.
    #[arg(long, default_value = "roomring")]
    pub server: Spec,
    /// CPUs of the server during measurements.
    #[arg(long, default_value = "0", value_name = "LIST")]
    pub server_cores: String,
    /// CPUs of the generator [default: the first CPU without the server].
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Connections per run; a second idle run uses a fifth of them.
    #[arg(long, short, default_value_t = 10_000)]
    pub connections: u32,
    /// Measured time of each run.
    #[arg(long, short, default_value = "4s", value_parser = duration)]
    pub duration: Duration,
    /// Rounds of measurements, which give the ranges.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Writes costs, bounds and assumptions to a JSON file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Shows no progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}
