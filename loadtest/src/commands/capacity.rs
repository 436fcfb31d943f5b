//! Owns `capacity`: estimates what this host holds from short runs against Roomring. Starts the runs and reads the
//! host's limits; [`model`] does the arithmetic.

mod model;
mod show;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail, ensure};
use clap::Parser as _;
use serde::Serialize;

use crate::cli::{CapacityArgs, Cli, core_list, scenario_of};
use crate::results::document::write_json;
use crate::results::outcome::Outcome;
use crate::text::grouped;
use model::{CostRange, Costs, Estimate, HostLimits, IdleRun, Pattern, bytes_per_connection};

/// A run has merged sends above this many messages per read. Below this many publishes per second and room, only a host
/// that delayed the server explains them.
const MERGED: f64 = 1.5;
const MERGED_RATE: f64 = 100.0;

/// Time between pings in idle runs, in seconds, so that a short run has enough pings.
const PING_S: f64 = 2.0;

/// Measurements of one round.
struct Round {
    bytes: (f64, f64),
    ping_ns: f64,
    delivery_ns: f64,
    connect_ns: f64,
}

/// Contents of the `--json` file.
#[derive(Serialize)]
struct Kept<'a> {
    loadtest: &'static str,
    pattern: Pattern,
    payload_bytes: usize,
    costs: Costs,
    host: HostLimits,
    estimate: &'a Estimate,
    about: &'a [String],
    doubts: &'a [String],
}

/// Measures, estimates and prints. Returns whether the measurements are valid.
///
/// # Errors
/// An option is invalid, the server cannot be started, or a run fails.
pub fn run(args: &CapacityArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let mut runs = Runs::new(args, stop)?;
    let host = runs.host()?;
    let pattern = runs.pattern()?;
    let mut rounds = Vec::new();
    for round in 0..args.rounds {
        if !args.quiet {
            eprintln!("round {} of {}", round + 1, args.rounds);
        }
        rounds.push(runs.round()?);
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let of =
        |read: fn(&Round) -> f64| CostRange::of(rounds.iter().map(read).collect()).context("no round was completed");
    let costs = Costs {
        user_bytes: of(|round| round.bytes.0)?,
        kernel_bytes: of(|round| round.bytes.1)?,
        delivery_ns: of(|round| round.delivery_ns)?,
        ping_ns: of(|round| round.ping_ns)?,
        connect_ns: of(|round| round.connect_ns)?,
        cores: runs.server_cores.len(),
    };
    runs.doubts.extend(costs.doubts());
    let estimate = Estimate::of(&costs, &pattern, &host);
    let about = runs.about();
    print!("{}", show::text(&costs, &pattern, &host, &estimate, &about));
    let valid = runs.doubts.is_empty();
    for doubt in &runs.doubts {
        println!("INVALID       {doubt}");
    }
    if valid {
        println!("VALID");
    }
    if let Some(path) = &args.json {
        let (loadtest, payload_bytes, doubts) = (env!("CARGO_PKG_VERSION"), args.payload, &runs.doubts[..]);
        let kept = Kept { loadtest, pattern, payload_bytes, costs, host, estimate: &estimate, about: &about, doubts };
        write_json(path, &kept)?;
    }
    Ok(valid)
}

/// The runs and their common state.
struct Runs<'a> {
    args: &'a CapacityArgs,
    stop: &'a Arc<AtomicBool>,
    server_cores: Vec<usize>,
    generator_cores: String,
    /// Publishes per second: those of the pattern, or fewer if they would exceed `--busy`.
    rate: Option<f64>,
    /// CPU use of a core during the fan-out of each round, in percent.
    busy: Vec<f64>,
    doubts: Vec<String>,
}

impl<'a> Runs<'a> {
    fn new(args: &'a CapacityArgs, stop: &'a Arc<AtomicBool>) -> anyhow::Result<Self> {
        ensure!(args.rounds > 0, "--rounds must be at least 1");
        ensure!(args.connections >= 100, "--connections must be at least 100");
        ensure!(args.busy > 0.0 && args.busy <= 100.0, "--busy must be a percentage above 0 and at most 100");
        ensure!((0.0..=100.0).contains(&args.stalled), "--stalled must be a percentage");
        ensure!(args.rate_per_user >= 0.0, "--rate-per-user must be at least 0");
        ensure!(
            args.room_size > 0 && args.room_size <= args.connections,
            "--room-size must be from 1 to --connections"
        );
        ensure!(args.duration.as_secs_f64() >= 1.0, "--duration must be at least 1s");
        ensure!(args.heartbeat.as_secs_f64() > 0.0, "--heartbeat must be above 0");
        ensure!(args.for_cores != Some(0), "--for-cores must be at least 1");
        let server_cores = core_list(&args.server_cores).context("--server-cores")?;
        let there = std::thread::available_parallelism().map_or(1, usize::from);
        let free = (0..there).find(|cpu| !server_cores.contains(cpu)).unwrap_or(0);
        let generator_cores = args.cores.clone().unwrap_or_else(|| free.to_string());
        let (rate, busy, doubts) = (None, Vec::new(), Vec::new());
        Ok(Runs { args, stop, server_cores, generator_cores, rate, busy, doubts })
    }

    fn round(&mut self) -> anyhow::Result<Round> {
        let large = self.args.connections;
        let (small_run, _) = self.idle(large / 5)?;
        let (large_run, ping_ns) = self.idle(large)?;
        let delivery_ns = self.fanout()?;
        let connect_ns = self.churn()?;
        Ok(Round { bytes: bytes_per_connection(small_run, large_run), ping_ns, delivery_ns, connect_ns })
    }

    /// Measures memory with this many clients, and CPU time per ping.
    fn idle(&mut self, connections: u32) -> anyhow::Result<(IdleRun, f64)> {
        let interval = format!("heartbeat.interval={}ms", (PING_S * 1e3) as u64);
        let count = connections.to_string();
        // Pings are spread evenly only after one interval.
        let warmup = format!("{}ms", (PING_S * 1e3) as u64);
        let outcome = self.measure(&["idle", "-c", &count, "--warmup", &warmup, "--server-set", &interval])?;
        let figures = outcome.server.as_ref().context("the server's figures are missing")?;
        let [Some(empty), Some(full), _] = figures.memory else { bail!("the server's memory cannot be read") };
        let ping_ns = figures.cpu_us_per_connection_second * 1e3 * PING_S;
        let slab = full.slab as f64 - empty.slab as f64;
        Ok((IdleRun { connections: f64::from(connections), private: full.private as f64, slab }, ping_ns))
    }

    /// Measures CPU time per delivery at the rate of the pattern. A busier core spends less per delivery, so the
    /// estimate is on the safe side. A closed loop, or a higher rate in the same rooms, would merge messages.
    fn fanout(&mut self) -> anyhow::Result<f64> {
        let (count, size, payload) =
            (self.args.connections.to_string(), self.args.room_size.to_string(), self.args.payload.to_string());
        let common = ["fanout", "-c", &count, "--room-size", &size, "--size", &payload];
        let rate = match self.rate {
            Some(rate) => rate,
            None => {
                let cost = cpu_ns(&self.measure(&common)?)?;
                let budget = self.args.busy / 100.0 * self.server_cores.len() as f64 * 1e9;
                let affordable = budget / cost / f64::from(self.args.room_size);
                let asked = self.args.rate_per_user * f64::from(self.args.connections);
                *self.rate.insert(asked.min(affordable).clamp(1.0, 1e7))
            }
        };
        let outcome = self.measure(&[&common[..], &["--rate", &format!("{rate:.2}")]].concat())?;
        let rooms = f64::from(self.args.connections.div_ceil(self.args.room_size));
        self.doubts.extend(starved(&outcome, rate / rooms).map(|doubt| format!("fanout: {doubt}")));
        let figures = outcome.server.as_ref().context("the server's figures are missing")?;
        self.busy.push(figures.busy * 100.0 / self.server_cores.len() as f64);
        cpu_ns(&outcome)
    }

    fn churn(&mut self) -> anyhow::Result<f64> {
        let outcome = self.measure(&["churn", "-c", "128", "--room-size", "16"])?;
        cpu_ns(&outcome)
    }

    /// Runs once with these arguments and the common ones.
    fn measure(&mut self, words: &[&str]) -> anyhow::Result<Outcome> {
        let duration = format!("{}ms", self.args.duration.as_millis());
        let common =
            ["--duration", &duration, "--server-cores", &self.args.server_cores, "--cores", &self.generator_cores];
        let line = std::iter::once("loadtest").chain(words.iter().copied()).chain(common).chain(["--quiet"]);
        let cli = Cli::try_parse_from(line)?;
        let (scenario, run_args) = scenario_of(&cli.command)?;
        if !self.args.quiet {
            eprintln!("  {}", words.join(" "));
        }
        let outcome = run_args.single(scenario)?.start(Some(&self.args.server), self.stop)?;
        self.doubts.extend(doubts(&outcome).into_iter().map(|doubt| format!("{}: {doubt}", words[0])));
        Ok(outcome)
    }

    fn pattern(&self) -> anyhow::Result<Pattern> {
        Ok(Pattern {
            room_size: f64::from(self.args.room_size),
            rate_per_user: self.args.rate_per_user,
            heartbeat_s: self.args.heartbeat.as_secs_f64(),
            stalled_share: self.args.stalled / 100.0,
            busy: self.args.busy / 100.0,
            cores: self.args.for_cores.unwrap_or(self.server_cores.len()),
        })
    }

    fn host(&self) -> anyhow::Result<HostLimits> {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = self.args.memory.map(|gib| gib * f64::from(1 << 30));
        let memory = memory.or_else(|| number_of(&text("/proc/meminfo"), "MemTotal:", 0).map(|kib| kib * 1024.0));
        let files = self.args.open_files.map(|files| files as f64);
        let sysctl = |name: &str, index| {
            text(&format!("/proc/sys/net/ipv4/{name}")).split_whitespace().nth(index)?.parse::<f64>().ok()
        };
        let page = number_of(&text("/proc/self/smaps"), "KernelPageSize:", 0).unwrap_or(4.0) * 1024.0;
        Ok(HostLimits {
            memory_bytes: memory.context("cannot read the memory of this host: use --memory")?,
            open_files: files
                .or_else(|| number_of(&text("/proc/self/limits"), "Max open files", 1))
                .context("cannot read the limit of open files: use --open-files")?,
            tcp_bytes: sysctl("tcp_mem", 2).map(|pages| pages * page),
            send_buffer_bytes: sysctl("tcp_wmem", 2),
            unsent_bytes: sysctl("tcp_notsent_lowat", 0),
        })
    }

    /// Assumptions behind the figures, beyond those of the model.
    fn about(&self) -> Vec<String> {
        let busy = CostRange::of(self.busy.clone()).unwrap_or(CostRange::exactly(0.0));
        vec![
            format!(
                "deliveries of {} B cost as measured with {} connections and cores {:.0} to {:.0} % busy",
                self.args.payload,
                grouped(u64::from(self.args.connections)),
                busy.low,
                busy.high
            ),
            "a busier core spends less per delivery; one with many more connections spends more (caches)".into(),
            "limits.connect_rate, server.max_connections and the network allow it".into(),
        ]
    }
}

/// CPU time per unit of work, in nanoseconds.
fn cpu_ns(outcome: &Outcome) -> anyhow::Result<f64> {
    let figures = outcome.server.as_ref().context("the server's figures are missing")?;
    ensure!(figures.cpu_ns > 0.0, "no work was done in {:.1} s", outcome.measured_s);
    Ok(figures.cpu_ns)
}

/// Reasons to doubt a run's costs. A late or busy generator is none: it affects latencies only.
fn doubts(outcome: &Outcome) -> Vec<String> {
    let total = &outcome.total;
    let counts = [
        (total.lost(), "publications lost"),
        (total.duplicated, "publications received twice"),
        (total.out_of_order, "publications received out of order"),
        (total.wrong + total.misrouted, "wrong messages"),
        (total.disconnected, "connections ended by the server or broken"),
        (total.errors, "commands refused"),
    ];
    counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
}

/// Whether messages arrived merged although the pattern separates them: server or generator waited for a CPU.
fn starved(outcome: &Outcome, rate_per_room: f64) -> Option<String> {
    let merged = outcome.measured.delivered as f64 / outcome.measured.receives.max(1) as f64;
    (merged > MERGED && rate_per_room < MERGED_RATE)
        .then(|| format!("{merged:.1} messages arrived at once: this host is too busy to be measured"))
}

/// The number at word `index` after a name at the start of a line. `unlimited` is `f64::MAX`.
fn number_of(text: &str, name: &str, index: usize) -> Option<f64> {
    let word = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().nth(index)?;
    if word == "unlimited" { Some(f64::MAX) } else { word.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let limits =
            "Limit  Soft Limit Hard Limit Units\nMax open files            1024                 20000  files\n";
        assert_eq!(number_of(limits, "Max open files", 1), Some(20_000.0));
        assert_eq!(number_of("MemTotal:   8192 kB\n", "MemTotal:", 0), Some(8_192.0));
        assert_eq!(number_of("Max open files unlimited unlimited\n", "Max open files", 1), Some(f64::MAX));
        assert_eq!(number_of("", "MemTotal:", 0), None);
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for wrong in ["--rounds 0", "--busy 0", "--busy 101", "--room-size 0", "--for-cores 0", "--connections 5"] {
            let words = ["loadtest", "capacity"].into_iter().chain(wrong.split(' '));
            let cli = Cli::try_parse_from(words).expect("clap takes it");
            let crate::cli::LoadtestCommand::Capacity(args) = cli.command else { panic!("another command") };
            assert!(Runs::new(&args, &Arc::default()).is_err(), "{wrong}");
        }
    }
}
