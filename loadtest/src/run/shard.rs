//! A generator process, as its parent sees it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;

use crate::plan::WorkerPlan;
use crate::worker::{Order, WorkerReport};

/// A running generator process; ended when dropped.
pub struct Shard {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shard {
    /// Starts a process with its plan. Its clients begin to connect.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(plan: &WorkerPlan) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the path of this program")?;
        let mut child = Command::new(program)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C goes to the foreground group: the parent ends the run, then its workers.
            .process_group(0)
            .spawn()
            .context("cannot start a generator process")?;
        let mut orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        writeln!(orders, "{}", serde_json::to_string(plan)?)?;
        Ok(Shard { child, orders, answers })
    }

    /// Gives an order.
    ///
    /// # Errors
    /// The process has ended.
    pub fn give(&mut self, order: Order) -> anyhow::Result<()> {
        let line = serde_json::to_string(&order)?;
        writeln!(self.orders, "{line}").context("a generator process has ended")
    }

    /// Takes the answer to an order that was given.
    ///
    /// # Errors
    /// The process has ended, or does not make sense.
    pub fn take_answer(&mut self) -> anyhow::Result<WorkerReport> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "a generator process has ended; its last words are above");
        serde_json::from_str(&line).context("a generator process answers nonsense")
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
