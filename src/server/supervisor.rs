//! Notifications to the service manager (sd_notify(3)): ready, reloading, stopping, watchdog heartbeats. Sends nothing
//! without `NOTIFY_SOCKET`; decides nothing.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, if `NOTIFY_SOCKET` names one.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// Nonblocking: a manager that does not read must not stop the server.
    socket: Option<UnixDatagram>,
    /// The manager restarts a server that sends no heartbeat for this long.
    watchdog: Option<Duration>,
    /// A notification has failed, which is logged once.
    has_failed: Cell<bool>,
}

impl Supervisor {
    /// The service manager of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let connected = socket.map(|name| connect(&name)).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot connect to the service manager named by NOTIFY_SOCKET");
            None
        });
        Self {
            watchdog: connected.as_ref().and_then(|_| sd_notify::watchdog_enabled()),
            socket: connected,
            ..Self::default()
        }
    }

    /// The interval of [`Supervisor::beat`], if the manager has a watchdog: half of its time limit.
    #[must_use]
    pub fn beat_every(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| (watchdog / 2).max(Duration::from_millis(1)))
    }

    /// Notifies that the server accepts connections, also after a reload.
    pub fn ready(&self, status: &str) {
        self.notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Notifies that a reload has begun; [`Supervisor::ready`] ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.notify(&[NotifyState::Reloading, now]),
            // A notification without the time would count as a failure.
            Err(error) => tracing::debug!(%error, "cannot notify the service manager of a reload"),
        }
    }

    /// Notifies that the server is ending.
    pub fn stopping(&self, status: &str) {
        self.notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// Sends a watchdog heartbeat.
    pub fn beat(&self) {
        self.notify(&[NotifyState::Watchdog]);
    }

    fn notify(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = socket.send(lines.as_bytes())
            && !self.has_failed.replace(true)
        {
            tracing::warn!(%error, "cannot notify the service manager named by NOTIFY_SOCKET");
        }
    }
}

/// Connects to a path, or to an abstract name after `@` (unix(7)).
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_does_not_read_does_not_block() {
        let name = format!("@roomring-supervisor-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("nobody has it");
        let socket = connect(OsStr::new(&name)).expect("connects");
        let supervisor = Supervisor { socket: Some(socket), ..Supervisor::default() };
        supervisor.ready("fine");
        (0..10_000).for_each(|_| supervisor.beat());
        assert!(supervisor.has_failed.get());
        let mut buffer = [0; 64];
        let count = manager.recv(&mut buffer).expect("the first has arrived");
        assert_eq!(buffer[..count], *b"READY=1\nSTATUS=fine\n");
    }
}
