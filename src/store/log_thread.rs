//! The thread of the log: appends one group after the other, and reports each. Decides nothing: the keeper does. The simulation
//! carries its jobs out without the thread, over a model of a disk.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Receiver;
use tokio::sync::mpsc::UnboundedSender;

use super::fault_log::FaultLog;
use super::figures::StoreFigures;
use super::group::Group;
use super::log::disk::Disk;
use super::log::error::AppendError;
use super::log::real::RealDisk;
use super::log::writer::Log;
use super::messages::{LogJob, Report};
use crate::io::clock;

/// Bytes of the buffer that is kept from one group to the next.
const BUFFER_KEPT: usize = 1024 * 1024;

/// What the thread works with.
pub struct LogThread<D: Disk = RealDisk> {
    log: Log<D>,
    reports: UnboundedSender<Report>,
    /// The last group that the index has on disk: the log may forget it.
    checkpoint: Arc<AtomicU64>,
    figures: Arc<StoreFigures>,
    /// Kept to reuse its memory.
    buffer: Vec<u8>,
    /// The checkpoint up to which the log has forgotten.
    forgotten: u64,
    lines: FaultLog,
}

impl<D: Disk + Clone> LogThread<D> {
    /// Over an open log. `reports` gets the results.
    pub fn new(
        log: Log<D>,
        reports: UnboundedSender<Report>,
        checkpoint: Arc<AtomicU64>,
        figures: Arc<StoreFigures>,
    ) -> Self {
        Self { log, reports, checkpoint, figures, buffer: Vec::new(), forgotten: 0, lines: FaultLog::default() }
    }

    /// Works until the keeper has ended, then ends the log.
    pub fn run(mut self, jobs: &Receiver<LogJob<D>>) {
        self.note_size();
        while let Ok(job) = jobs.recv() {
            self.carry_out(job);
        }
        self.end();
    }

    /// Does one thing.
    pub fn carry_out(&mut self, job: LogJob<D>) {
        match job {
            LogJob::Append(group) => self.append(group),
            // The index no longer waits if it has ended.
            LogJob::Lend { after, to } => drop(to.send(self.log.groups(after))),
        }
    }

    fn append(&mut self, group: Arc<Group>) {
        self.buffer.clear();
        group.encode(&mut self.buffer);
        let began_us = clock::now().mono_us;
        let appended = self.log.append(&[IoSlice::new(&self.buffer)]);
        let took_us = clock::now().mono_us - began_us;
        let (changes, is_kept) = (group.entries.len() as u64, appended.is_ok());
        // The keeper takes a failed group apart, which nobody else may hold then.
        drop(group);
        if is_kept {
            self.figures.groups.add(1);
            self.figures.changes.add(changes);
            self.figures.bytes.add(self.buffer.len() as u64);
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
        if checkpoint > self.forgotten {
            self.forgotten = checkpoint;
            if let Err(error) = self.log.truncate_to(checkpoint) {
                tracing::warn!(%error, "cannot remove old segments of the log; they are kept");
            }
        }
        self.note_size();
        self.buffer.shrink_to(BUFFER_KEPT);
    }

    /// Ends the log.
    pub fn end(self) {
        if let Err(error) = self.log.close() {
            tracing::warn!(%error, "cannot end the log; the next start checks it as after a crash");
        }
    }

    /// Notes a failure, or that there is none.
    fn note(&mut self, appended: Result<(), AppendError>) {
        let fault = appended.err().map(|error| error.to_string());
        let has_failed = fault.is_some();
        if has_failed {
            self.figures.failures.add(1);
        }
        if !self.figures.set_log_fault(fault.clone()) {
            return;
        }
        match fault {
            Some(error) => {
                if let Some(held_back) = self.lines.failed(clock::now().mono_ms()) {
                    let words = "the store cannot write; publishes that it must keep are refused";
                    tracing::error!(error, held_back, "{words}");
                }
            }
            None if self.lines.works() => tracing::info!("the store writes again"),
            None => {}
        }
    }

    fn note_size(&self) {
        let figures = self.log.figures();
        self.figures.segments.set(figures.segments as u64);
        self.figures.log_bytes.set(figures.bytes);
    }
}
