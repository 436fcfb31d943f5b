//! Accepting: one multishot accept for each listener, and when to start it again. Never touches accepted sockets.

use std::net::TcpListener;

use super::super::ring::{Completion, Kind, Ring, Token};

/// After a failure that only time mends (the system's file table, memory), accepting pauses this long.
const PAUSE_US: u64 = 100_000;

#[derive(Debug)]
enum State {
    /// Under way.
    Armed(TcpListener),
    /// To be started again at this time, monotonic microseconds.
    Paused(TcpListener, u64),
    /// To be started again when slots are free.
    Full(TcpListener),
    /// Cancelled; ends with the last completion.
    Closing(TcpListener),
    /// Never again.
    Closed,
}

/// The listeners of one core.
pub struct Acceptor {
    listeners: Vec<State>,
}

impl Acceptor {
    /// Accepts from `listeners` from the first [`Acceptor::resume`] on.
    pub fn new(listeners: Vec<TcpListener>) -> Acceptor {
        Acceptor { listeners: listeners.into_iter().map(|listener| State::Paused(listener, 0)).collect() }
    }

    /// Starts again whatever is due. A full table waits for a few free slots and not for one, because each start that
    /// finds the table full costs a client its connection.
    pub fn resume(&mut self, ring: &mut Ring, now_us: u64, open: u32, capacity: u32) {
        for (index, state) in self.listeners.iter_mut().enumerate() {
            let is_due = match state {
                State::Paused(_, until_us) => now_us >= *until_us,
                State::Full(_) => open <= capacity - (capacity / 64).max(1),
                State::Armed(_) | State::Closing(_) | State::Closed => false,
            };
            if is_due && let State::Paused(listener, _) | State::Full(listener) = take(state) {
                ring.accept(&listener, token(index));
                *state = State::Armed(listener);
            }
        }
    }

    /// When [`Acceptor::resume`] has something to do for the time alone.
    pub fn due_us(&self) -> Option<u64> {
        let until = |state: &State| if let State::Paused(_, until_us) = state { Some(*until_us) } else { None };
        self.listeners.iter().filter_map(until).min()
    }

    /// Takes a completion; gives the slot that a connection was accepted into.
    pub fn completed(&mut self, ring: &mut Ring, completion: Completion, now_us: u64, has_room: bool) -> Option<u32> {
        let index = completion.token.index as usize;
        if !completion.more {
            let state = &mut self.listeners[index];
            *state = match take(state) {
                State::Armed(listener) => ended(ring, index, listener, -completion.result, now_us, has_room),
                _ => State::Closed,
            };
        }
        u32::try_from(completion.result).ok()
    }

    /// Stops for good and closes the listeners.
    pub fn close(&mut self, ring: &mut Ring) {
        for (index, state) in self.listeners.iter_mut().enumerate() {
            *state = match take(state) {
                State::Armed(listener) => {
                    ring.cancel(token(index));
                    State::Closing(listener)
                }
                State::Closing(listener) => State::Closing(listener),
                State::Paused(..) | State::Full(_) | State::Closed => State::Closed,
            };
        }
    }
}

/// What follows the end of a multishot accept; `errno` is not above 0 when it ended by accepting.
fn ended(ring: &mut Ring, index: usize, listener: TcpListener, errno: i32, now_us: u64, has_room: bool) -> State {
    match errno {
        // The table is full.
        libc::ENFILE if !has_room => State::Full(listener),
        // The whole system is out of files or memory.
        libc::ENFILE | libc::EMFILE | libc::ENOMEM | libc::ENOBUFS => State::Paused(listener, now_us + PAUSE_US),
        // The listener itself is at fault: keep trying, slowly, rather than stop serving for good.
        libc::EINVAL | libc::EBADF | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::ECANCELED => {
            State::Paused(listener, now_us + PAUSE_US)
        }
        // A connection that was gone before it was accepted, an error of its network, an interruption, a full
        // completion queue.
        _ => {
            ring.accept(&listener, token(index));
            State::Armed(listener)
        }
    }
}

fn take(state: &mut State) -> State {
    std::mem::replace(state, State::Closed)
}

fn token(index: usize) -> Token {
    Token::new(Kind::Accept, 0, index as u32)
}
