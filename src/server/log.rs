//! The log of the process: lines on standard error, written by a separate thread so that no core waits for a terminal or a
//! pipe. Owns format and level; never logs itself.

use std::io::IsTerminal;
use std::sync::Arc;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use super::config::choices::LogFormat;
use crate::control::{Metric, Observed};

/// Lines in the queue to the writing thread; lines beyond it are lost and counted.
const LINES_MAX: usize = 8_192;

/// The log of this process. Dropping it writes the rest of the queue.
pub struct Log {
    level: reload::Handle<Targets, Registry>,
    lost: ErrorCounter,
    /// Ends the writing thread.
    _writer: WorkerGuard,
}

impl Log {
    /// Starts logging for the whole process.
    ///
    /// # Errors
    /// The process has a log already.
    pub fn install(level: Targets, format: LogFormat) -> Result<Log, tracing::subscriber::SetGlobalDefaultError> {
        let terminal = std::io::stderr().is_terminal();
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES_MAX)
            .thread_name("roomring-log")
            .finish(std::io::stderr());
        let lost = writer.error_counter();
        let (filter, level) = reload::Layer::new(level);
        let subscriber = tracing_subscriber::registry().with(filter).with(lines(writer, format, terminal));
        tracing::subscriber::set_global_default(subscriber)?;
        Ok(Log { level, lost, _writer: guard })
    }

    /// Replaces the level.
    pub fn set_level(&self, level: Targets) {
        // Fails only without the subscriber, which lives as long as the process.
        let _ = self.level.reload(level);
    }

    /// The metrics of the log.
    #[must_use]
    pub fn observed(&self) -> Arc<dyn Observed> {
        Arc::new(LostLines(self.lost.clone()))
    }
}

/// Counts the lines that did not fit into the queue.
struct LostLines(ErrorCounter);

impl Observed for LostLines {
    fn metrics(&self) -> Vec<Metric> {
        let help = "Log lines lost because the queue to standard error was full.";
        vec![Metric::counter("roomring_log_lines_lost", help, self.0.dropped_lines() as u64)]
    }
}

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<Targets, Registry>, Registry>;

fn lines(writer: NonBlocking, format: LogFormat, terminal: bool) -> Box<dyn Layer<Filtered> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Auto if !terminal => layer.json().flatten_event(true).boxed(),
        LogFormat::Auto | LogFormat::Text => layer.with_ansi(terminal).boxed(),
    }
}
