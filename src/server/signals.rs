//! The signals of the process, and requests to drain, in one queue. Decides nothing about them.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Signals and requests to drain that wait for the service thread.
const SIGNALS_MAX: usize = 16;

/// What the server is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Terminate,
    /// SIGHUP.
    Hangup,
    /// A drain asked for through the control address. Not counted as a [`Signal::Terminate`]: a service manager drains
    /// first and sends SIGTERM then.
    Drain,
}

/// Receives signals from now on. The sender is for requests to drain.
///
/// # Errors
/// The system refuses.
pub fn listen() -> std::io::Result<(mpsc::Sender<Signal>, mpsc::Receiver<Signal>)> {
    let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
    for (kind, meaning) in [
        (SignalKind::terminate(), Signal::Terminate),
        (SignalKind::interrupt(), Signal::Terminate),
        (SignalKind::hangup(), Signal::Hangup),
    ] {
        let (mut stream, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                // Waits for room: a termination must not be lost behind many of another kind. Meanwhile more of its own
                // kind count as one, as signals do.
                if sender.send(meaning).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok((sender, receiver))
}
