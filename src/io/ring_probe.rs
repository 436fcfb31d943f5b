//! Owns the probe of io_uring: tries every operation that the server needs once, on loopback, so that the operator
//! learns of missing kernel features before clients do. Never serves clients and leaves nothing behind.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::StartError;
use super::ring::{Completion, Operation, OperationKind, Ring};
use super::sockets::Capacity;
use super::wake::Wake;

/// The bytes sent both ways.
const WORD: &[u8] = b"roomring";

/// An operation counts as failed after this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// io_uring features of this kernel, as a core would use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingSupport {
    /// Size of the socket table.
    pub slots: u32,
    /// Connections that a core can hold, at most the requested number.
    pub connections: u32,
    /// Whether completions are deferred (`IORING_SETUP_DEFER_TASKRUN`), which is faster.
    pub deferred: bool,
    /// Operations that fail, with the system's errors.
    pub missing: Vec<(&'static str, String)>,
}

/// Creates a ring for a core with `connections` connections and tries its operations.
///
/// # Errors
/// The reason why a core cannot have a ring, with the limit or sysctl at fault.
pub fn run(connections: u32) -> Result<RingSupport, StartError> {
    let capacity = Capacity::of(connections);
    let ring = Ring::new(capacity.slots, Arc::default())?;
    StartError::check_memlock()?;
    let mut support = RingSupport {
        slots: capacity.slots,
        connections: capacity.connections_max,
        deferred: ring.is_deferred(),
        missing: Vec::new(),
    };
    if let Err((operation, error)) = (RingProbe { ring }).operations() {
        support.missing.push((operation, error.to_string()));
    }
    Ok(support)
}

struct RingProbe {
    ring: Ring,
}

/// An operation that failed.
type ProbeError = (&'static str, io::Error);

impl RingProbe {
    /// Tries all operations. Each depends on the one before, so the first failure ends the probe.
    fn operations(&mut self) -> Result<(), ProbeError> {
        let wake = Wake::new().map_err(|error| ("an eventfd", io::Error::other(error.to_string())))?;
        self.ring.register_bell(&wake.bell()).map_err(|error| ("an eventfd", io::Error::other(error.to_string())))?;
        let (mut client, slot) = self.accept()?;
        let socket = |error| ("a loopback connection", error);
        client.set_read_timeout(Some(PATIENCE)).map_err(socket)?;

        client.write_all(WORD).map_err(socket)?;
        self.ring.poll(slot, Operation::new(OperationKind::Poll, 0, slot));
        self.wait("poll")?;
        self.ring.receive(slot, Operation::new(OperationKind::Receive, 0, slot));
        self.wait("receive into a provided buffer")?;
        self.expect_word("receive into a provided buffer")?;

        self.ring.receive_many(slot, Operation::new(OperationKind::Receive, 0, slot));
        client.write_all(WORD).map_err(socket)?;
        let received = self.wait("multishot receive")?;
        self.expect_word("multishot receive")?;
        if !received.more {
            return Err(("multishot receive", io::Error::other("ended after one receive")));
        }

        self.ring.send(slot, Operation::new(OperationKind::Send, 0, slot), Bytes::from_static(WORD), false);
        let sent = self.wait("send with MSG_WAITALL")?;
        let mut echoed = [0; WORD.len()];
        client.read_exact(&mut echoed).map_err(|error| ("send with MSG_WAITALL", error))?;
        if !sent.whole || echoed != WORD {
            return Err(("send with MSG_WAITALL", io::Error::other("not all bytes arrived")));
        }

        // The end of the stream ends the multishot receive, after which the slot can be freed.
        client.shutdown(Shutdown::Write).map_err(socket)?;
        self.wait("multishot receive")?;
        self.ring.shutdown(slot, Operation::new(OperationKind::Shutdown, 0, slot));
        self.wait("shutdown")?;
        self.ring.close(slot, Operation::new(OperationKind::Close, 0, slot));
        self.ring.submit();
        client.read_to_end(&mut Vec::new()).map_err(|error| ("close of a direct descriptor", error))?;
        Ok(())
    }

    fn accept(&mut self) -> Result<(TcpStream, u32), ProbeError> {
        let socket = |error| ("a loopback listener", error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(socket)?;
        let address = listener.local_addr().map_err(socket)?;
        self.ring.accept(&listener, Operation::new(OperationKind::Accept, 0, 0));
        self.ring.submit();
        let client = TcpStream::connect_timeout(&address, PATIENCE).map_err(socket)?;
        let accepted = self.wait("accept into a direct descriptor")?;
        match u32::try_from(accepted.result) {
            Ok(slot) if self.ring.peer() == Ipv4Addr::LOCALHOST => Ok((client, slot)),
            _ => Err(("accept into a direct descriptor", io::Error::other("the peer's address is missing"))),
        }
    }

    fn expect_word(&mut self, operation: &'static str) -> Result<(), ProbeError> {
        if self.ring.received() == WORD { Ok(()) } else { Err((operation, io::Error::other("wrong bytes arrived"))) }
    }

    /// Waits for the next completion, which must be a success.
    fn wait(&mut self, operation: &'static str) -> Result<Completion, ProbeError> {
        match self.completion() {
            Some(completion) if completion.result >= 0 => Ok(completion),
            Some(completion) => Err((operation, io::Error::from_raw_os_error(-completion.result))),
            None => Err((operation, io::Error::from(io::ErrorKind::TimedOut))),
        }
    }

    fn completion(&mut self) -> Option<Completion> {
        self.ring.take_completion().or_else(|| {
            self.ring.wait(PATIENCE);
            self.ring.take_completion()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_can_run_the_tests_of_the_ring() {
        let support = run(100).expect("a ring");
        assert_eq!(support.missing, []);
        assert_eq!(support.connections, 100);
        assert!(support.slots >= 100, "{support:?}");
    }

    #[test]
    fn an_operation_that_fails_is_named() {
        let mut probe = RingProbe { ring: Ring::new(4, Arc::default()).expect("a ring") };
        probe.ring.poll(3, Operation::new(OperationKind::Poll, 0, 3));
        let (operation, error) = probe.wait("poll").expect_err("the slot has no socket");
        assert_eq!((operation, error.raw_os_error()), ("poll", Some(libc::EBADF)));
    }
}
