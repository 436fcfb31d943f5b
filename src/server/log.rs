//! The process's log: lines on standard error, written by a thread of their own so that no core waits for a terminal or
//! a pipe. Decides what and how, never when to log.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use super::config::choices::LogFormat;

/// Lines that may wait to be written; over it they are lost and counted.
const LINES_MAX: usize = 8_192;

/// The log of this process. Dropping it writes what waits.
pub struct Log {
    level: reload::Handle<Targets, Registry>,
    lost: ErrorCounter,
    /// Ends the writing thread.
    _writer: WorkerGuard,
}

impl Log {
    /// Starts logging, for the whole process; once.
    ///
    /// # Errors
    /// There is a log already.
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

    /// Logs by another level from now on.
    pub fn set_level(&self, level: Targets) {
        // Fails only when the subscriber is gone, which lives as long as the process.
        let _ = self.level.reload(level);
    }

    /// Counts the lines that found no room.
    #[must_use]
    pub fn lost(&self) -> ErrorCounter {
        self.lost.clone()
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
