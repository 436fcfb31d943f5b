//! Owns the accepts in flight for each listener, and decides when to start more. Never touches accepted sockets.
//!
//! At most as many accepts are in flight as slots are free, so that the kernel has a slot for every connection that it
//! accepts. With a full table, clients wait in the listener's backlog and none is accepted only to be closed.

use std::net::TcpListener;

use super::super::ring::{Completion, Operation, OperationKind, Ring};

/// Accepts in flight per listener: one turn takes this many connections without another system call. Measured with
/// clients that connect, join and close: with 1, a cycle takes a fifth more CPU time than with a multishot accept; with
/// 8 to 128, the difference is noise (0 to 3 % more).
const ACCEPTS: u32 = 64;

/// Pause after a failure that lasts a while (no file table entry, no memory).
const PAUSE_US: u64 = 100_000;

struct ArmedListener {
    /// `None`: closed.
    socket: Option<TcpListener>,
    /// Accepts in flight.
    armed: u32,
    /// Accepts to have in flight: one after a failure, until an accept succeeds.
    wanted: u32,
    /// No accept starts before this time, in monotonic microseconds.
    paused_until_us: u64,
}

/// The listeners of one core.
pub struct Acceptor {
    listeners: Vec<ArmedListener>,
    /// Accepts in flight on all listeners.
    armed: u32,
    closing: bool,
}

impl Acceptor {
    /// Accepts from `listeners` after the first [`Acceptor::resume`].
    pub fn new(listeners: Vec<TcpListener>) -> Acceptor {
        let listener = |socket| ArmedListener { socket: Some(socket), armed: 0, wanted: ACCEPTS, paused_until_us: 0 };
        Acceptor { listeners: listeners.into_iter().map(listener).collect(), armed: 0, closing: false }
    }

    /// Whether accepts are still in flight after [`Acceptor::close`].
    pub fn is_closing(&self) -> bool {
        self.closing && self.armed > 0
    }

    /// Accepts in flight.
    #[cfg(test)]
    pub fn armed(&self) -> u32 {
        self.armed
    }

    /// Starts missing accepts, as many as `free` slots allow. Cheap to call often.
    #[inline]
    pub fn resume(&mut self, ring: &mut Ring, now_us: u64, free: u32) {
        if !self.closing && self.listeners.iter().any(|listener| listener.armed < listener.wanted) {
            self.start(ring, now_us, free);
        }
    }

    fn start(&mut self, ring: &mut Ring, now_us: u64, free: u32) {
        // One accept per listener, then a second one, so that the first listener does not take all free slots.
        for listener in self.listeners.iter_mut().filter(|listener| now_us >= listener.paused_until_us) {
            listener.paused_until_us = 0;
        }
        for round in 0..ACCEPTS {
            for (index, listener) in self.listeners.iter_mut().enumerate() {
                let is_due = listener.armed <= round && listener.armed < listener.wanted;
                if is_due
                    && self.armed < free
                    && listener.paused_until_us == 0
                    && let Some(socket) = &listener.socket
                {
                    ring.accept(socket, operation(index));
                    listener.armed += 1;
                    self.armed += 1;
                }
            }
        }
    }

    /// When the next pause ends.
    pub fn due_us(&self) -> Option<u64> {
        if self.closing {
            return None;
        }
        let waits = |listener: &&ArmedListener| listener.armed == 0 && listener.paused_until_us > 0;
        self.listeners.iter().filter(waits).map(|listener| listener.paused_until_us).min()
    }

    /// Takes a completion. Returns the slot of an accepted connection.
    pub fn completed(&mut self, completion: &Completion, now_us: u64) -> Option<u32> {
        let listener = &mut self.listeners[completion.operation.index as usize];
        listener.armed -= 1;
        self.armed -= 1;
        if self.closing && listener.armed == 0 {
            listener.socket = None;
        }
        if let Ok(slot) = u32::try_from(completion.result) {
            listener.wanted = ACCEPTS;
            listener.paused_until_us = 0;
            return Some(slot);
        }
        if is_lasting(-completion.result) {
            listener.wanted = 1;
            listener.paused_until_us = now_us + PAUSE_US;
        }
        None
    }

    /// Stops for good and closes the listeners. Accepts in flight still complete.
    pub fn close(&mut self, ring: &mut Ring) {
        self.closing = true;
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            ring.cancel_accepts(operation(index));
            if listener.armed == 0 {
                listener.socket = None;
            }
        }
    }
}

/// Whether a new accept would also fail.
fn is_lasting(errno: i32) -> bool {
    match errno {
        // The system has no file or memory left.
        libc::ENFILE | libc::EMFILE | libc::ENOMEM | libc::ENOBUFS => true,
        // The listener is at fault: retry slowly rather than stop serving.
        libc::EINVAL | libc::EBADF | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::ECANCELED | libc::EAGAIN => true,
        // The connection ended before the accept, its network failed, or the call was interrupted.
        _ => false,
    }
}

fn operation(index: usize) -> Operation {
    Operation::new(OperationKind::Accept, 0, index as u32)
}
