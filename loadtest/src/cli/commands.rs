//! Options of the commands that run several scenarios, or none.

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
    /// Servers, `[LABEL:]KIND[=PATH][+PART…]` with kinds roomring, floor and those of `peers/`, and for a roomring the
    /// parts tls, tls-resume, deflate, jwt, limits, all; ratios are to the first.
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<Spec>,
    /// How often each server is run.
    #[arg(long, default_value_t = 5)]
    pub rounds: u32,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// The scenario with its options, as `fanout --in-flight 16`.
    #[arg(last = true, required = true, value_name = "SCENARIO")]
    pub scenario: Vec<String>,
}

/// Options of `grow`: those of `compare`, and what grows.
#[derive(Debug, Args)]
pub struct GrowArgs {
    /// The option and its values, as `connections=1000,5000,20000` or `server-cores=0,0-1`.
    #[arg(long, value_name = "OPTION=VALUE,…")]
    pub over: String,
    #[command(flatten)]
    pub compare: CompareArgs,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Results that `--json` has kept; several single runs are compared as well.
    #[arg(required = true, value_name = "FILE")]
    pub results: Vec<PathBuf>,
    /// Where the report goes.
    #[arg(long, value_name = "FILE")]
    pub html: PathBuf,
}

/// Options of the suite.
#[derive(Clone, Debug, Args)]
pub struct SuiteArgs {
    /// The server that is started for each part: `[LABEL:]KIND[=PATH]` as in `compare`.
    #[arg(long, default_value = "roomring")]
    pub server: Spec,
    /// CPUs of the server; by default the first one, when there are two.
    #[arg(long, value_name = "LIST")]
    pub server_cores: Option<String>,
    /// Configuration of a Roomring.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub server_set: Vec<String>,
    /// CPUs of the generator; by default the second one, when there are two.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// How a Roomring is spoken to: `json` or `binary`.
    #[arg(long, value_enum, default_value_t = DialectName::Json)]
    pub dialect: DialectName,
    /// A quarter of the time: to see that all works, not for figures.
    #[arg(long)]
    pub quick: bool,
    /// Repeats the random choices of another suite.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// No progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Options of `edge`.
#[derive(Clone, Debug, Args)]
pub struct EdgeCommandArgs {
    /// The server: `roomring` or `roomring=PATH`.
    #[arg(long, default_value = "roomring")]
    pub server: Spec,
    /// What is measured beside plain: of tls, tls-resume, deflate, jwt, limits and all, or several with + between.
    #[arg(long, value_delimiter = ',', default_value = "tls,deflate,jwt,limits,all", value_name = "LIST")]
    pub parts: Vec<String>,
    /// Only the scenarios whose name holds this.
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// How often each is run.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Bytes of payload in a publication, JSON of a chat; compression leaves small messages alone.
    #[arg(long, default_value_t = 512)]
    pub size: usize,
    /// CPUs of the server; by default the first one, when there are two.
    #[arg(long, value_name = "LIST")]
    pub server_cores: Option<String>,
    /// Configuration of the server, with and without the parts.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub server_set: Vec<String>,
    /// CPUs of the generator; by default the second one, when there are two.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// How it is spoken to: `json` or `binary`.
    #[arg(long, value_enum, default_value_t = DialectName::Json)]
    pub dialect: DialectName,
    /// One short round: to see that all works, not for figures.
    #[arg(long)]
    pub quick: bool,
    /// Repeats the random choices of another run.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// No progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Options of `capacity`.
#[derive(Debug, Args)]
pub struct CapacityArgs {
    /// Cores of the server to estimate for; by default as many as are measured.
    #[arg(long, value_name = "N")]
    pub for_cores: Option<usize>,
    /// Share of each core that may be used.
    #[arg(long, default_value_t = 60.0, value_name = "PERCENT")]
    pub busy: f64,
    /// Members of a room.
    #[arg(long, short, default_value_t = 100)]
    pub room_size: u32,
    /// Messages that each connection publishes, per second.
    #[arg(long, default_value_t = 0.02, value_name = "PER_SECOND")]
    pub rate_per_user: f64,
    /// Bytes of payload in a message.
    #[arg(long, default_value_t = 128, value_name = "BYTES")]
    pub payload: usize,
    /// Time between two pings of a connection (`heartbeat.interval`).
    #[arg(long, default_value = "25s", value_parser = duration)]
    pub heartbeat: Duration,
    /// Share of the readers that stop reading at the same time.
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    pub stalled: f64,
    /// `RLIMIT_NOFILE` that the server will have; by default this process's hard limit.
    #[arg(long, value_name = "N")]
    pub open_files: Option<u64>,
    /// Memory to estimate for, in GiB; by default this host's.
    #[arg(long, value_name = "GIB")]
    pub memory: Option<f64>,
    /// The server's program: `roomring` or `roomring=PATH`.
    #[arg(long, default_value = "roomring")]
    pub server: Spec,
    /// CPUs of the server while it is measured.
    #[arg(long, default_value = "0", value_name = "LIST")]
    pub server_cores: String,
    /// CPUs of the generator; by default the first one that the server does not use.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Connections of the larger runs; the smaller idle run has a fifth of them.
    #[arg(long, short, default_value_t = 10_000)]
    pub connections: u32,
    /// Time that each run records.
    #[arg(long, short, default_value = "4s", value_parser = duration)]
    pub duration: Duration,
    /// How often everything is measured; the range is over these.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Writes costs, bounds and assumptions to a file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}
