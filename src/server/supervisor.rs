//! What a service manager is told (sd_notify(3)): ready, reloading, stopping, and that the server lives. Tells nobody
//! where nobody asked to be told; decides nothing.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, if there is one that listens (`NOTIFY_SOCKET`).
#[derive(Debug, Default)]
pub struct Supervisor {
    /// Never waits: a manager that has stopped reading must not stop the server.
    socket: Option<UnixDatagram>,
    /// It takes the server for dead that is silent for so long.
    watchdog: Option<Duration>,
    /// It could not be told something, which is said once.
    deaf: Cell<bool>,
}

impl Supervisor {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let connected = socket.map(|name| connect(&name)).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager that NOTIFY_SOCKET names cannot be told anything");
            None
        });
        Self {
            watchdog: connected.as_ref().and_then(|_| sd_notify::watchdog_enabled()),
            socket: connected,
            ..Self::default()
        }
    }

    /// How often [`Supervisor::beat`] is wanted, if at all: twice in the time allowed.
    #[must_use]
    pub fn beat_every(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| (watchdog / 2).max(Duration::from_millis(1)))
    }

    /// Connections are accepted; a reload has ended.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is read again, until [`Supervisor::ready`].
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            // A manager that is told of a reload without its time takes that for a failure.
            Err(error) => tracing::debug!(%error, "the service manager is not told of a reload"),
        }
    }

    /// The server ends.
    pub fn stopping(&self, status: &str) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// The server lives.
    pub fn beat(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = socket.send(lines.as_bytes())
            && !self.deaf.replace(true)
        {
            tracing::warn!(%error, "the service manager that NOTIFY_SOCKET names does not take what it is told");
        }
    }
}

/// A path, or `@` and an abstract name (unix(7)).
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
    fn a_manager_that_does_not_read_stops_nobody() {
        let name = format!("@roomring-supervisor-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("nobody has it");
        let socket = connect(OsStr::new(&name)).expect("connects");
        let supervisor = Supervisor { socket: Some(socket), ..Supervisor::default() };
        supervisor.ready("fine");
        (0..10_000).for_each(|_| supervisor.beat());
        assert!(supervisor.deaf.get());
        let mut buffer = [0; 64];
        let count = manager.recv(&mut buffer).expect("the first has arrived");
        assert_eq!(buffer[..count], *b"READY=1\nSTATUS=fine\n");
    }
}
