//! Accepting: some accepts under way for each listener, and when to start more. Never touches accepted sockets.
//!
//! There are never more accepts under way than slots free, so that the kernel always has a slot for whom it accepts: with
//! a full table clients wait in the listener's backlog, and none is accepted only to be thrown out.

use std::net::TcpListener;

use super::super::ring::{Completion, Operation, OperationKind, Ring};

/// Accepts under way for one listener: so many connections are taken in one turn without a further system call. Measured
/// by clients that connect, join and close: with one, a life costs a fifth more CPU time than with a multishot accept; with
/// 8 to 128, the same within the noise (0 to 3 % more).
const ACCEPTS: u32 = 64;

/// After a failure that only time mends (the system's file table, memory), accepting pauses this long.
const PAUSE_US: u64 = 100_000;

struct ArmedListener {
    /// `None`: closed.
    socket: Option<TcpListener>,
    /// Accepts under way.
    armed: u32,
    /// How many there should be: one after a failure, until an accept succeeds.
    wanted: u32,
    /// None is started before this, monotonic microseconds.
    paused_until_us: u64,
}

/// The listeners of one core.
pub struct Acceptor {
    listeners: Vec<ArmedListener>,
    /// Accepts under way, of all listeners.
    armed: u32,
    closing: bool,
}

impl Acceptor {
    /// Accepts from `listeners` from the first [`Acceptor::resume`] on.
    pub fn new(listeners: Vec<TcpListener>) -> Acceptor {
        let listener = |socket| ArmedListener { socket: Some(socket), armed: 0, wanted: ACCEPTS, paused_until_us: 0 };
        Acceptor { listeners: listeners.into_iter().map(listener).collect(), armed: 0, closing: false }
    }

    /// Whether it has been told to stop, and accepts are still under way.
    pub fn is_closing(&self) -> bool {
        self.closing && self.armed > 0
    }

    /// Accepts under way.
    #[cfg(test)]
    pub fn armed(&self) -> u32 {
        self.armed
    }

    /// Starts whatever is due, as far as `free` slots go. To be called often: it costs nothing when nothing is missing.
    #[inline]
    pub fn resume(&mut self, ring: &mut Ring, now_us: u64, free: u32) {
        if !self.closing && self.listeners.iter().any(|listener| listener.armed < listener.wanted) {
            self.start(ring, now_us, free);
        }
    }

    fn start(&mut self, ring: &mut Ring, now_us: u64, free: u32) {
        // One for each listener, then a second one, so that the last free slots are not all for the first listener.
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

    /// When [`Acceptor::resume`] has something to do for the time alone.
    pub fn due_us(&self) -> Option<u64> {
        if self.closing {
            return None;
        }
        let waits = |listener: &&ArmedListener| listener.armed == 0 && listener.paused_until_us > 0;
        self.listeners.iter().filter(waits).map(|listener| listener.paused_until_us).min()
    }

    /// Takes a completion; gives the slot that a connection was accepted into.
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

    /// Stops for good and closes the listeners. What was accepted before still completes.
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

/// Whether a new accept would fail as well.
fn is_lasting(errno: i32) -> bool {
    match errno {
        // The whole system is out of files or memory.
        libc::ENFILE | libc::EMFILE | libc::ENOMEM | libc::ENOBUFS => true,
        // The listener itself is at fault: keep trying, slowly, rather than stop serving for good.
        libc::EINVAL | libc::EBADF | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::ECANCELED | libc::EAGAIN => true,
        // A connection that was gone before it was accepted, an error of its network, an interruption.
        _ => false,
    }
}

fn operation(index: usize) -> Operation {
    Operation::new(OperationKind::Accept, 0, index as u32)
}
