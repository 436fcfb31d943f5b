//! Owns a generator process on the parent's side. Never runs clients.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;

use crate::plan::WorkerPlan;
use crate::worker::{Order, WorkerReport};

/// A running generator process; killed on drop.
pub struct Shard {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shard {
    /// Starts a process with a plan. Its clients start to connect.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(plan: &WorkerPlan) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the path of this program")?;
        let mut child = Command::new(program)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches only the foreground group: the parent ends the run, then its workers.
            .process_group(0)
            .spawn()
            .context("cannot start a generator process")?;
        let mut orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        writeln!(orders, "{}", serde_json::to_string(plan)?)?;
        Ok(Shard { child, orders, answers })
    }

    /// Sends an order.
    ///
    /// # Errors
    /// The process has ended.
    pub fn give(&mut self, order: Order) -> anyhow::Result<()> {
        let line = serde_json::to_string(&order)?;
        writeln!(self.orders, "{line}").context("a generator process has ended")
    }

    /// Waits for the report that answers an order.
    ///
    /// # Errors
    /// The process has ended, or the report is invalid.
    pub fn take_answer(&mut self) -> anyhow::Result<WorkerReport> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "a generator process has ended; see its output above");
        serde_json::from_str(&line).context("invalid report of a generator process")
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // Fails if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
