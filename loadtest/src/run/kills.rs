//! Owns the kills of `durable`: kills the server under load, starts it again on the same files, and lets the clients read
//! back what it has kept. Never judges.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{ActiveRun, STUCK};
use crate::plan::{DurableLoad, RunPhase};
use crate::results::durable::KillFigures;
use crate::results::outcome::RunStage;
use crate::server::launch::Launched;
use crate::store::DataFolder;

/// Interval at which the parent asks for the progress of a check.
const ASK: Duration = Duration::from_millis(20);

impl ActiveRun<'_> {
    /// Kills the server as often as the load says, each time under load, and checks what it has kept.
    ///
    /// # Errors
    /// The server does not start again, or the clients cannot read.
    pub fn kill_and_check(&mut self, load: &DurableLoad, server: &mut Launched) -> anyhow::Result<Vec<KillFigures>> {
        let mut kills = Vec::new();
        for kill in 0..load.kills {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if kill > 0 {
                self.enter(RunPhase::Warm)?;
                self.pause(Duration::from_nanos(load.between_ns), RunStage::Warming)?;
            }
            self.enter(RunPhase::Kill)?;
            server.kill();
            let freed = server.wait_for_address()?;
            let store_bytes = server.folder.as_ref().map_or(0, DataFolder::bytes);
            let again = server.start_again().with_context(|| format!("start after kill {}", kill + 1))?;
            kills.push(KillFigures { freed_s: freed.as_secs_f64(), ready_s: again.as_secs_f64(), store_bytes });
            self.check()?;
        }
        Ok(kills)
    }

    /// Lets the clients read back what the server has kept, to the end.
    ///
    /// # Errors
    /// They make no progress.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.enter(RunPhase::Check)?;
        let begun = Instant::now();
        let (mut before, mut since) = (None, begun);
        loop {
            let counters = self.tell()?;
            self.look(RunStage::Checking, begun, None, &counters);
            // Even if `stop` is set: messages that were not read must not count as lost.
            if counters.outstanding == 0 {
                return Ok(());
            }
            let progress = Some((counters.outstanding, counters.read_back, counters.joins));
            if progress != before {
                (before, since) = (progress, Instant::now());
            }
            if since.elapsed() > STUCK {
                let why = self.failure.as_deref().unwrap_or("the server does not answer");
                bail!("the messages of {} clients could not be read back; last failure: {why}", counters.outstanding);
            }
            std::thread::sleep(ASK);
        }
    }
}
