//! The queue of signals and of requests to drain. Acts on none of them.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Signals and requests in the queue.
const SIGNALS_MAX: usize = 16;

/// An instruction to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Terminate,
    /// SIGHUP.
    Hangup,
    /// A drain requested through the control address. Does not count as [`Signal::Terminate`]: a service manager may drain
    /// first and then send SIGTERM.
    Drain,
}

/// Starts to receive signals. The sender is for requests to drain.
///
/// # Errors
/// The system refuses a signal handler.
pub fn listen() -> std::io::Result<(mpsc::Sender<Signal>, mpsc::Receiver<Signal>)> {
    let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
    // A write beyond the limit on the size of files (RLIMIT_FSIZE) then fails as on a full disk. Without a handler, which
    // stays, the signal would end the process.
    drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
    for (kind, meaning) in [
        (SignalKind::terminate(), Signal::Terminate),
        (SignalKind::interrupt(), Signal::Terminate),
        (SignalKind::hangup(), Signal::Hangup),
    ] {
        let (mut stream, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                // Waits for room, so that no termination is lost behind other signals. Further signals of the same kind
                // count as one meanwhile, as signals do.
                if sender.send(meaning).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok((sender, receiver))
}
