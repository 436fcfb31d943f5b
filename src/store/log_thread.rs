//! The thread of the log: appends one group after the other, and reports each. Decides nothing: the keeper does.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Receiver;
use tokio::sync::mpsc::UnboundedSender;

use super::figures::StoreFigures;
use super::log::error::AppendError;
use super::log::real::RealDisk;
use super::log::writer::Log;
use super::messages::{LogJob, Report};
use crate::io::clock;

/// Bytes of the buffer that is kept from one group to the next.
const BUFFER_KEPT: usize = 1024 * 1024;

/// What the thread works with.
pub struct LogThread {
    /// The open log.
    pub log: Log<RealDisk>,
    /// What to do.
    pub jobs: Receiver<LogJob>,
    /// The results.
    pub reports: UnboundedSender<Report>,
    /// The last group that the index has on disk: the log may forget it.
    pub checkpoint: Arc<AtomicU64>,
    /// What an operator sees.
    pub figures: Arc<StoreFigures>,
}

impl LogThread {
    /// Works until the keeper has ended, then ends the log.
    pub fn run(mut self) {
        let mut buffer = Vec::new();
        let mut forgotten = 0;
        self.note_size();
        while let Ok(job) = self.jobs.recv() {
            let group = match job {
                LogJob::Append(group) => group,
                LogJob::Lend { after, to } => {
                    // The index no longer waits if it has ended.
                    let _ = to.send(self.log.groups(after));
                    continue;
                }
            };
            buffer.clear();
            group.encode(&mut buffer);
            let began_us = clock::now().mono_us;
            let appended = self.log.append(&[IoSlice::new(&buffer)]);
            let took_us = clock::now().mono_us - began_us;
            let (changes, is_kept) = (group.entries.len() as u64, appended.is_ok());
            // The keeper takes a failed group apart, which nobody else may hold then.
            drop(group);
            if is_kept {
                self.figures.groups.add(1);
                self.figures.changes.add(changes);
                self.figures.bytes.add(buffer.len() as u64);
                self.figures.commit.record(took_us, 1);
            }
            self.note(appended.map(drop));
            // The keeper ends after this thread only.
            let _ = self.reports.send(Report::Logged { is_kept });
            // Nobody waits from here on.
            if let Err(error) = self.log.prepare() {
                tracing::debug!(%error, "cannot allocate the next segment of the log yet");
            }
            let checkpoint = self.checkpoint.load(Ordering::Relaxed);
            if checkpoint > forgotten {
                forgotten = checkpoint;
                if let Err(error) = self.log.truncate_to(checkpoint) {
                    tracing::warn!(%error, "cannot remove old segments of the log; they are kept");
                }
            }
            self.note_size();
            buffer.shrink_to(BUFFER_KEPT);
        }
        if let Err(error) = self.log.close() {
            tracing::warn!(%error, "cannot end the log; the next start checks it as after a crash");
        }
    }

    /// Logs the first of several equal failures, and that the store writes again.
    fn note(&self, appended: Result<(), AppendError>) {
        let fault = appended.err().map(|error| error.to_string());
        let has_failed = fault.is_some();
        if has_failed {
            self.figures.failures.add(1);
        }
        if !self.figures.set_log_fault(fault.clone()) {
            return;
        }
        match fault {
            Some(error) => tracing::error!(error, "the store cannot write; publishes that it must keep are refused"),
            None => tracing::info!("the store writes again"),
        }
    }

    fn note_size(&self) {
        let figures = self.log.figures();
        self.figures.segments.set(figures.segments as u64);
        self.figures.log_bytes.set(figures.bytes);
    }
}
