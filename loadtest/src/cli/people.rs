//! Owns the options of `durable` and `chat`, and turns them into loads.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use super::scenarios::{Arrivals, RunArgs, nanoseconds, open_loop};
use super::values::duration;
use crate::plan::{ChatLoad, DurableLoad};

/// Most messages per room that Roomring can keep.
const HISTORY_MAX: f64 = 1_000_000.0;

/// Options of `durable`.
#[derive(Debug, Args)]
#[command(mut_arg("room_size", |arg| arg.default_value("1")))]
#[command(mut_arg("duration", |arg| arg.default_value("60s")))]
pub struct DurableArgs {
    /// Publishes per second in all rooms together. Latency counts from the scheduled time until the answer.
    #[arg(long, default_value_t = 50_000.0, value_name = "PER_SECOND")]
    pub rate: f64,
    /// Distribution of publishes over time.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    pub arrivals: Arrivals,
    /// How often the server is killed with `kill -9` under load and started again; each time, everything that is new is
    /// read back. 0 reads it back without a kill.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub kills: u32,
    /// Time under load before each kill after the first.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub between: Duration,
    /// Messages that the server keeps per room (`rooms.history_size`) [default: enough for all].
    #[arg(long, value_name = "N")]
    pub history: Option<u64>,
    #[command(flatten)]
    pub run: RunArgs,
}

impl DurableArgs {
    /// The load.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn load(&self) -> anyhow::Result<DurableLoad> {
        let rooms = self.run.connections.div_ceil(self.run.room_size.max(1)).max(1);
        // With a margin for chance, and for the time that a kill takes.
        let kills = f64::from(self.kills) * (self.between.as_secs_f64() + 1.0);
        let seconds = self.run.warmup.as_secs_f64() + self.run.duration.as_secs_f64() + kills;
        let needed = (self.rate * seconds / f64::from(rooms) * 1.3 + 200.0).ceil();
        ensure!(self.history.is_none_or(|history| history > 0), "--history must be at least 1");
        ensure!(
            self.history.is_some() || needed <= HISTORY_MAX,
            "--history: a room gets about {needed} messages, more than Roomring can keep: choose more --connections, or \
             the number to keep"
        );
        Ok(DurableLoad {
            pace: open_loop(self.rate, self.arrivals)?,
            kills: self.kills,
            between_ns: nanoseconds(self.between)?,
            history: self.history.unwrap_or(needed as u64),
        })
    }
}

/// Options of `chat`. The rates are assumptions about people, because no measurement of rates per connected user is
/// public. WhatsApp told of 100 billion messages a day by 2 billion users in October 2020: 50 a day. If a user spends an
/// hour a day connected, that is 0.014 per second; the default is above it.
#[derive(Debug, Args)]
#[command(mut_arg("connections", |arg| arg.default_value("5000")))]
#[command(mut_arg("duration", |arg| arg.default_value("30s")))]
#[command(mut_arg("warmup", |arg| arg.default_value("5s")))]
pub struct ChatArgs {
    /// Messages per user and second. The default is an assumption: 50 messages a day, as WhatsApp's users sent on
    /// average in 2020, all within three quarters of an hour.
    #[arg(long, default_value_t = 0.02, value_name = "PER_SECOND")]
    pub rate_per_user: f64,
    /// Rooms that a user reads to the end per second, with a receipt (assumption: twice per message written).
    #[arg(long, default_value_t = 0.04, value_name = "PER_SECOND")]
    pub reads_per_user: f64,
    /// Average time between two absences of a user, who loses the connection and resumes the session (assumption).
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub absence_every: Duration,
    /// Longest absence; absences take between a tenth of it and all of it.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub gone: Duration,
    /// Average messages to the inbox of a user who is away.
    #[arg(long, default_value_t = 2.0, value_name = "MESSAGES")]
    pub inbox: f64,
    #[command(flatten)]
    pub run: RunArgs,
}

impl ChatArgs {
    /// The load.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn load(&self) -> anyhow::Result<ChatLoad> {
        let clients = f64::from(self.run.connections);
        ensure!(self.run.connections >= 2, "--connections must be at least 2: a chat needs two users");
        ensure!(
            (1e-6..1e6).contains(&self.rate_per_user) && self.rate_per_user * clients < 1e8,
            "--rate-per-user must be above 0 and below 1,000,000"
        );
        ensure!((0.0..1e6).contains(&self.reads_per_user), "--reads-per-user must be from 0 to 1,000,000");
        ensure!(self.absence_every >= Duration::from_secs(1), "--absence-every must be at least 1s");
        ensure!(
            (Duration::from_millis(100)..=Duration::from_secs(300)).contains(&self.gone),
            "--gone must be from 100ms to 5m: a session ends 10 minutes after its connection"
        );
        ensure!((0.0..=100.0).contains(&self.inbox), "--inbox must be from 0 to 100");
        Ok(ChatLoad {
            messages_per_user: self.rate_per_user,
            reads_per_user: self.reads_per_user,
            absences_per_user: 1.0 / self.absence_every.as_secs_f64(),
            gone_ns: nanoseconds(self.gone)?,
            inbox: self.inbox,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::{Cli, LoadtestCommand, scenario_of};
    use crate::plan::{PublishPace, Scenario};
    use crate::store::StoreMode;

    fn parsed(line: &str) -> LoadtestCommand {
        Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}")).command
    }

    fn refused(line: &str) -> String {
        scenario_of(&parsed(line)).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_defaults_are_those_of_the_targets() {
        let command = parsed("loadtest durable");
        let (scenario, run) = scenario_of(&command).expect("good");
        let options = run.single(scenario).expect("good").options;
        assert_eq!((options.connections, options.room_size, options.payload_bytes), (1_000, 1, 128));
        assert_eq!(options.duration.as_secs(), 60);
        let Scenario::Durable(load) = scenario else { panic!("durable") };
        assert_eq!(load.pace, PublishPace::Poisson { per_second: 50_000.0 });
        assert_eq!((load.kills, scenario.store()), (1, Some(StoreMode::Commit)));
        assert!(load.history > 50 * 62 && load.history < 5_000, "{load:?}");
        let command = parsed("loadtest chat");
        let (scenario, run) = scenario_of(&command).expect("good");
        let options = run.single(scenario).expect("good").options;
        assert_eq!((options.connections, scenario.store()), (5_000, Some(StoreMode::Behind)));
        assert!(scenario.needs().contains(&"rooms.inboxes=true".to_owned()));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for (line, wanted) in [
            ("loadtest durable --rate 0", "--rate"),
            ("loadtest durable --connections 1", "--history"),
            ("loadtest durable --history 0", "--history"),
            ("loadtest chat --connections 1", "--connections"),
            ("loadtest chat --rate-per-user 0", "--rate-per-user"),
            ("loadtest chat --gone 10m", "--gone"),
            ("loadtest chat --absence-every 0s", "--absence-every"),
            ("loadtest chat --inbox 200", "--inbox"),
        ] {
            let said = refused(line);
            assert!(said.contains(wanted), "{line}: {said:?}");
        }
    }

    #[test]
    fn the_store_is_an_option() {
        let command = parsed("loadtest fanout --store behind --data /tmp");
        let (scenario, run) = scenario_of(&command).expect("good");
        assert_eq!(run.single(scenario).expect("good").conditions.store, Some(StoreMode::Behind));
        let command = parsed("loadtest fanout");
        let (scenario, run) = scenario_of(&command).expect("good");
        assert_eq!(run.single(scenario).expect("good").conditions.store, None, "memory, as before");
    }
}
