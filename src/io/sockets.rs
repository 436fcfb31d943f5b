//! Owns the sockets of one core as slot states: the operations of each, the inputs for the engine, and the reuse of
//! slots. Decides how a socket waits; never what its bytes mean.
//!
//! An idle socket waits by a one-shot poll, which needs no buffer and a third of the kernel memory of a waiting
//! receive. A receive follows each poll. A new socket, and one that receives repeatedly, gets a multishot receive, and
//! returns to the poll after two quiet seconds. This costs a few bytes per slot and no timer: a sweep visits all slots
//! once a second, and only while some socket has a multishot receive.
//!
//! A slot is free when every operation of its socket has ended and its close is queued. The kernel reuses it only after
//! that close, so a completion of an earlier socket never reaches a later one. An assertion on the generation of each
//! completion checks this.

mod accept;
mod slot;
#[cfg(test)]
mod tests;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::accept::Acceptor;
use self::slot::{ReceiveMode, Slot};
use super::error::{StartError, files_limit};
use super::ring::{Completion, Operation, OperationKind, RECEIVE_BUFFERS, Ring};
use super::wake::Wake;
use crate::base::counters::CoreCounters;
use crate::engine::input::Input;

/// Maximum slots of a core's table of direct descriptors, set by the kernel.
const SLOTS_MAX: u64 = 1 << 20;

/// Slots beyond those for open connections: for sockets that get a 503, or are closing.
const SLOTS_SPARE: u64 = 1024;

/// Time between steps of a sweep, and the number of steps that visit all slots.
const SWEEP_US: u64 = 50_000;
const SWEEP_STEPS: usize = 20;

/// Seconds without input after which a poll replaces a multishot receive.
const QUIET_SECONDS: u8 = 2;

/// Size of the socket table of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Slots of the table.
    pub slots: u32,
    /// Open connections that leave some slots spare; at most the requested number.
    pub connections_max: u32,
}

impl Capacity {
    /// The table for `connections_max` connections on one core, within `RLIMIT_NOFILE`, which bounds each core's table,
    /// not their sum.
    #[must_use]
    pub fn of(connections_max: u32) -> Capacity {
        Capacity::under(connections_max, files_limit())
    }

    /// The table without a limit.
    #[must_use]
    pub fn unlimited(connections_max: u32) -> Capacity {
        Capacity::under(connections_max, u64::MAX)
    }

    fn under(connections_max: u32, files_limit: u64) -> Capacity {
        let slots = (u64::from(connections_max) + SLOTS_SPARE).min(files_limit).clamp(1, SLOTS_MAX);
        // Under a low limit only a sixteenth is spare, so that most slots serve connections.
        let spare = SLOTS_SPARE.min(slots / 16);
        Capacity { slots: slots as u32, connections_max: connections_max.min((slots - spare) as u32) }
    }
}

/// The result of a completion.
enum Happened {
    Nothing,
    Accepted(u32),
    Received(u32),
    Sent(u32),
    Ended(u32),
    Disconnected(u32),
}

/// The sockets of one core.
pub struct Sockets {
    ring: Ring,
    /// Grows with the highest slot that the kernel has used.
    slots: Vec<Slot>,
    capacity: u32,
    open: u32,
    /// Slots with a multishot receive.
    streaming: u32,
    /// Slots that wait for a receive buffer.
    starved: Vec<u32>,
    /// Returned buffers that no starved slot has claimed.
    buffers: usize,
    acceptor: Acceptor,
    wake: Arc<Wake>,
    sweep_at: usize,
    sweep_due_us: u64,
    now_us: u64,
}

impl Sockets {
    /// Creates a table of `capacity` slots that accepts from `listeners`. The ring waits on `wake` and writes its bell.
    ///
    /// # Errors
    /// The reason why the kernel refuses the ring.
    pub fn new(
        capacity: u32,
        listeners: Vec<TcpListener>,
        wake: Arc<Wake>,
        counters: Arc<CoreCounters>,
    ) -> Result<Sockets, StartError> {
        Sockets::on(Ring::new(capacity, counters)?, capacity, listeners, wake)
    }

    fn on(mut ring: Ring, capacity: u32, listeners: Vec<TcpListener>, wake: Arc<Wake>) -> Result<Sockets, StartError> {
        ring.watch(&wake.ring(), WAKE);
        ring.register_bell(&wake.bell())?;
        let mut acceptor = Acceptor::new(listeners);
        acceptor.resume(&mut ring, 0, capacity);
        Ok(Sockets {
            ring,
            slots: Vec::new(),
            capacity,
            open: 0,
            streaming: 0,
            starved: Vec::new(),
            buffers: 0,
            acceptor,
            wake,
            sweep_at: 0,
            sweep_due_us: 0,
            now_us: 0,
        })
    }

    /// Slots in use, closing ones included.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open
    }

    /// The ring below.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Sets the time, and runs the next step of a sweep if it is due.
    pub fn advance(&mut self, now_us: u64) {
        self.now_us = now_us;
        if self.streaming > 0 && now_us >= self.sweep_due_us {
            self.sweep();
            self.sweep_due_us = now_us + SWEEP_US;
        }
    }

    /// When to call [`Sockets::advance`] next, in monotonic microseconds.
    #[must_use]
    pub fn next_due_us(&self) -> Option<u64> {
        let sweep = (self.streaming > 0).then_some(self.sweep_due_us);
        [sweep, self.acceptor.due_us()].into_iter().flatten().min()
    }

    /// Takes the next input for the engine. Received bytes are valid until the next call.
    #[inline]
    pub fn take_input(&mut self) -> Option<Input<'_>> {
        loop {
            let completion = self.ring.take_completion()?;
            match self.absorb(completion) {
                Happened::Nothing => {}
                Happened::Accepted(slot) => return Some(Input::Accepted { slot, peer: self.ring.peer() }),
                Happened::Received(slot) => return Some(Input::Received { slot, bytes: self.ring.received() }),
                Happened::Sent(slot) => return Some(Input::Sent { slot }),
                Happened::Ended(slot) => return Some(Input::Ended { slot }),
                Happened::Disconnected(slot) => return Some(Input::Disconnected { slot }),
            }
        }
    }

    /// Sends all of `bytes`. A slot has at most one send in flight. See [`Ring::send`] for `is_last`.
    pub fn send(&mut self, slot: u32, bytes: Bytes, is_last: bool) {
        let state = &mut self.slots[slot as usize];
        assert!(state.mode != ReceiveMode::Free && state.send.is_none(), "slot {slot} cannot send now: {state:?}");
        state.operations += 1;
        state.send =
            Some(self.ring.send(slot, Operation::new(OperationKind::Send, state.generation, slot), bytes, is_last));
    }

    /// Half-closes a slot, after its send in flight if there is one.
    pub fn shutdown(&mut self, slot: u32) {
        let state = &mut self.slots[slot as usize];
        assert!(state.mode != ReceiveMode::Free, "slot {slot} is free and cannot be shut down");
        if state.send.is_some() {
            state.shutdown_after_send = true;
        } else {
            state.operations += 1;
            self.ring.shutdown(slot, Operation::new(OperationKind::Shutdown, state.generation, slot));
        }
    }

    /// Stops inputs for a slot.
    pub fn mute(&mut self, slot: u32) {
        self.slots[slot as usize].muted = true;
    }

    /// Cancels a slot's operations and closes it. The next accept may get the slot.
    pub fn close(&mut self, slot: u32) {
        let state = &mut self.slots[slot as usize];
        assert!(state.mode != ReceiveMode::Free && !state.closing, "slot {slot} cannot be closed twice: {state:?}");
        state.muted = true;
        state.closing = true;
        if let Some(send) = state.send {
            self.ring.cancel_send(send);
        }
        match state.mode {
            ReceiveMode::Polling => self.ring.cancel(Operation::new(OperationKind::Poll, state.generation, slot)),
            ReceiveMode::Receiving | ReceiveMode::Streaming => {
                self.ring.cancel(Operation::new(OperationKind::Receive, state.generation, slot))
            }
            ReceiveMode::Cooling | ReceiveMode::Starved | ReceiveMode::Silent | ReceiveMode::Free => {}
        }
        self.free_if_over(slot);
    }

    /// Stops accepting for good. The kernel sends later connections to other listeners of the port, if there are any.
    pub fn stop_accepting(&mut self) {
        self.acceptor.close(&mut self.ring);
    }

    /// Whether accepts are still in flight after [`Sockets::stop_accepting`].
    #[must_use]
    pub fn is_stopping_to_accept(&self) -> bool {
        self.acceptor.is_closing()
    }

    /// Submits operations and collects completions without waiting. Returns whether completions wait.
    pub fn submit(&mut self) -> bool {
        self.start_what_waits();
        self.ring.submit();
        self.ring.is_ready()
    }

    /// Submits, then waits for a completion, at most for `timeout`. Returns whether completions wait.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        self.start_what_waits();
        self.ring.wait(timeout);
        self.ring.is_ready()
    }

    /// See [`Ring::set_bell`].
    pub fn set_bell(&mut self, on: bool) {
        self.ring.set_bell(on);
    }

    fn absorb(&mut self, completion: Completion) -> Happened {
        let operation = completion.operation;
        match operation.kind {
            OperationKind::Accept => return self.accepted(completion),
            OperationKind::Wake => {
                if !completion.more {
                    self.ring.watch(&self.wake.ring(), WAKE);
                }
                return Happened::Nothing;
            }
            OperationKind::Cancel => return Happened::Nothing,
            OperationKind::Poll
            | OperationKind::Receive
            | OperationKind::Send
            | OperationKind::Shutdown
            | OperationKind::Close => {}
        }
        let slot = operation.index;
        let state = &mut self.slots[slot as usize];
        assert!(operation.kind != OperationKind::Close, "slot {slot} could not be closed: {}", completion.result);
        assert_eq!(
            state.generation, operation.generation,
            "a completion of an earlier use of slot {slot}: {completion:?}"
        );
        state.operations -= u8::from(!completion.more);
        let happened = match operation.kind {
            OperationKind::Poll => self.polled(slot, completion.result),
            OperationKind::Receive => self.received(slot, &completion),
            OperationKind::Send => self.sent(slot, completion.whole),
            _ => Happened::Nothing,
        };
        self.free_if_over(slot);
        happened
    }

    fn accepted(&mut self, completion: Completion) -> Happened {
        let Some(slot) = self.acceptor.completed(&completion, self.now_us) else { return Happened::Nothing };
        if self.slots.len() <= slot as usize {
            self.slots.resize(slot as usize + 1, Slot::FREE);
        }
        let second = self.second();
        let state = &mut self.slots[slot as usize];
        assert!(state.mode == ReceiveMode::Free, "the kernel handed out slot {slot}, which is in use: {state:?}");
        *state = Slot::opened(state.generation.wrapping_add(1), second);
        self.open += 1;
        // The request head and the first commands follow at once: one operation receives them all.
        self.receive(slot, true);
        Happened::Accepted(slot)
    }

    fn polled(&mut self, slot: u32, result: i32) -> Happened {
        let second = self.second();
        let state = &mut self.slots[slot as usize];
        state.mode = ReceiveMode::Silent;
        if state.closing {
            return Happened::Nothing;
        }
        if result < 0 && result != -libc::EINTR {
            return self.disconnected(slot);
        }
        // The receive reports everything that the poll saw, even an end or a failure.
        let many = state.is_busy(second);
        self.receive(slot, many);
        Happened::Nothing
    }

    fn received(&mut self, slot: u32, completion: &Completion) -> Happened {
        let second = self.second();
        let state = &mut self.slots[slot as usize];
        let before = state.mode;
        if !completion.more {
            self.streaming -= u32::from(matches!(before, ReceiveMode::Streaming | ReceiveMode::Cooling));
            state.mode = ReceiveMode::Silent;
        }
        if state.closing {
            return Happened::Nothing;
        }
        match completion.result {
            // No receive follows the end of the stream; sends show whether the peer is still there.
            0 => return if state.muted { Happened::Nothing } else { Happened::Ended(slot) },
            1.. => {
                state.note_received(second);
                let busy = state.is_busy(second);
                if !completion.more {
                    match before {
                        // A full completion queue ended it, not the socket.
                        ReceiveMode::Streaming => self.receive(slot, true),
                        _ if completion.nonempty => self.receive(slot, busy),
                        _ => self.poll(slot),
                    }
                }
                return if self.slots[slot as usize].muted { Happened::Nothing } else { Happened::Received(slot) };
            }
            _ => {}
        }
        match -completion.result {
            libc::ENOBUFS => {
                state.mode = ReceiveMode::Starved;
                self.starved.push(slot);
            }
            libc::ECANCELED if before == ReceiveMode::Cooling => self.poll(slot),
            libc::EINTR | libc::EAGAIN => self.poll(slot),
            _ => return self.disconnected(slot),
        }
        Happened::Nothing
    }

    fn sent(&mut self, slot: u32, whole: bool) -> Happened {
        let state = &mut self.slots[slot as usize];
        state.send = None;
        if state.closing {
            return Happened::Nothing;
        }
        if !whole {
            return self.disconnected(slot);
        }
        if state.shutdown_after_send {
            state.shutdown_after_send = false;
            state.operations += 1;
            self.ring.shutdown(slot, Operation::new(OperationKind::Shutdown, state.generation, slot));
        }
        if state.muted { Happened::Nothing } else { Happened::Sent(slot) }
    }

    /// Reports a disconnect once, as the last input of the slot.
    fn disconnected(&mut self, slot: u32) -> Happened {
        let state = &mut self.slots[slot as usize];
        if std::mem::replace(&mut state.muted, true) { Happened::Nothing } else { Happened::Disconnected(slot) }
    }

    fn poll(&mut self, slot: u32) {
        let state = &mut self.slots[slot as usize];
        state.mode = ReceiveMode::Polling;
        state.operations += 1;
        self.ring.poll(slot, Operation::new(OperationKind::Poll, state.generation, slot));
    }

    fn receive(&mut self, slot: u32, many: bool) {
        let state = &mut self.slots[slot as usize];
        state.operations += 1;
        let operation = Operation::new(OperationKind::Receive, state.generation, slot);
        if many {
            state.mode = ReceiveMode::Streaming;
            self.streaming += 1;
            self.ring.receive_many(slot, operation);
        } else {
            state.mode = ReceiveMode::Receiving;
            self.ring.receive(slot, operation);
        }
    }

    /// Starts operations that waited: accepts for a free slot or for time, receives for a buffer. Completions that have
    /// not been taken hold the other buffers.
    fn start_what_waits(&mut self) {
        self.acceptor.resume(&mut self.ring, self.now_us, self.capacity - self.open);
        self.buffers = (self.buffers + self.ring.take_given()).min(usize::from(RECEIVE_BUFFERS));
        while self.buffers > 0
            && let Some(slot) = self.starved.pop()
        {
            self.buffers -= 1;
            let state = &self.slots[slot as usize];
            if state.mode == ReceiveMode::Starved && !state.closing {
                let many = state.is_busy(self.second());
                self.receive(slot, many);
            }
        }
    }

    fn sweep(&mut self) {
        let second = self.second();
        let step = self.slots.len() / SWEEP_STEPS + 1;
        for _ in 0..step.min(self.slots.len()) {
            self.sweep_at = if self.sweep_at + 1 < self.slots.len() { self.sweep_at + 1 } else { 0 };
            let state = &mut self.slots[self.sweep_at];
            if state.mode == ReceiveMode::Streaming && !state.closing && state.quiet_seconds(second) >= QUIET_SECONDS {
                state.mode = ReceiveMode::Cooling;
                self.ring.cancel(Operation::new(OperationKind::Receive, state.generation, self.sweep_at as u32));
            }
        }
    }

    fn free_if_over(&mut self, slot: u32) {
        let state = &mut self.slots[slot as usize];
        if state.closing && state.operations == 0 {
            self.ring.close(slot, Operation::new(OperationKind::Close, state.generation, slot));
            *state = Slot::freed(state.generation);
            self.open -= 1;
        }
    }

    /// The time in seconds, modulo 256.
    fn second(&self) -> u8 {
        (self.now_us / 1_000_000) as u8
    }
}

const WAKE: Operation = Operation::new(OperationKind::Wake, 0, 0);
