//! Owns one core's io_uring: operations go out, completions come in. Owns every byte that the kernel may touch, exactly
//! as long as the kernel may touch it, so that no code above needs `unsafe`. Never knows what a slot means: see
//! [`super::sockets`].
//!
//! Sockets live in the ring's table of direct descriptors and are not file descriptors of the process. A send owns its
//! [`Bytes`] from submission to completion; nothing can take them back earlier.

#![expect(unsafe_code, reason = "the kernel reads and writes memory that is named to it by address")]

mod buffers;
mod operation;
mod peer;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use slab::Slab;

use self::buffers::Buffers;
pub use self::buffers::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS};
pub use self::operation::{Operation, OperationKind};
use self::peer::PeerBuffer;
use super::error::StartError;
use crate::base::counters::CoreCounters;

/// Submission entries. A turn with more is submitted in pieces; a larger queue would cost cache.
const SUBMISSIONS: u32 = 1024;

/// Completion entries. Further completions wait in the kernel's overflow list, which is slower.
const COMPLETIONS: u32 = 16 * 1024;

/// Completions copied from the shared queue at once.
const BATCH: usize = 256;

/// The kernel runs about twenty pieces of finished work per call. Calls repeat until this many completions wait, so
/// that one turn can merge more output. Half the buffers, so that receives rarely run out of them.
const GATHER: usize = RECEIVE_BUFFERS as usize / 2;

/// A dropped ring waits this long for completions, and gives up after this many waits without any.
const DROP_WAIT: Duration = Duration::from_millis(50);
const DROP_ROUNDS: usize = 100;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The operation. The index of a send is its slot; the index of an accept is its listener.
    pub operation: Operation,
    /// Bytes or a slot, or a negative `errno`.
    pub result: i32,
    /// Whether the operation continues (multishot).
    pub more: bool,
    /// Whether the socket holds more bytes.
    pub nonempty: bool,
    /// For a send, whether the kernel took all bytes.
    pub whole: bool,
}

/// Identifies a send in flight, to cancel it. One more than its index, so that an `Option` needs no extra byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendId(NonZeroU32);

struct SendInFlight {
    /// The kernel reads from this.
    bytes: Bytes,
    operation: Operation,
}

struct AcceptInFlight {
    /// The kernel writes into this.
    peer: PeerBuffer,
    operation: Operation,
}

struct RawCompletion {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// An io_uring with direct descriptors and provided buffers. Belongs to the thread that created it.
pub struct Ring {
    uring: IoUring,
    /// Never freed while an operation may fill them.
    buffers: mem::ManuallyDrop<Buffers>,
    /// Never freed while the kernel may read them.
    sends: mem::ManuallyDrop<Slab<SendInFlight>>,
    /// Never freed while the kernel may write into them.
    accepts: mem::ManuallyDrop<Slab<AcceptInFlight>>,
    /// Operations whose last completion has not come.
    outstanding: usize,
    /// Entries that did not fit into the submission queue.
    unsubmitted: VecDeque<squeue::Entry>,
    batch: VecDeque<RawCompletion>,
    /// The buffer of the last completion, and its length.
    lent: Option<(u16, usize)>,
    /// Buffers given back to the kernel since [`Ring::take_given`].
    given: usize,
    /// Peer address of the last accepted connection.
    peer: IpAddr,
    deferred: bool,
    counters: Arc<CoreCounters>,
}

impl Ring {
    /// Creates a ring with a table for `slots` sockets.
    ///
    /// # Errors
    /// The reason why the kernel refuses it, with the limit or sysctl at fault.
    pub fn new(slots: u32, counters: Arc<CoreCounters>) -> Result<Ring, StartError> {
        let (uring, deferred) = build()?;
        Ring::on(uring, deferred, slots, counters)
    }

    /// Creates a ring in the mode of kernels without deferred task work.
    #[cfg(test)]
    pub fn cooperative(slots: u32, counters: Arc<CoreCounters>) -> Result<Ring, StartError> {
        let uring = cooperative().map_err(|error| StartError::from_io_uring("a cooperative ring", &error))?;
        Ring::on(uring, false, slots, counters)
    }

    fn on(uring: IoUring, deferred: bool, slots: u32, counters: Arc<CoreCounters>) -> Result<Ring, StartError> {
        let table = |error: io::Error| StartError::from_io_uring("a table of direct descriptors", &error);
        uring.submitter().register_files_sparse(slots).map_err(table)?;
        let group = |error: io::Error| StartError::from_io_uring("a ring of provided buffers", &error);
        let buffers = Buffers::register(&uring).map_err(group)?;
        Ok(Ring {
            uring,
            buffers: mem::ManuallyDrop::new(buffers),
            sends: mem::ManuallyDrop::new(Slab::new()),
            accepts: mem::ManuallyDrop::new(Slab::new()),
            outstanding: 0,
            unsubmitted: VecDeque::new(),
            batch: VecDeque::with_capacity(BATCH),
            lent: None,
            given: 0,
            peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            deferred,
            counters,
        })
    }

    /// Whether completions are deferred (`DEFER_TASKRUN`), which is faster.
    #[must_use]
    pub fn is_deferred(&self) -> bool {
        self.deferred
    }

    /// Operations whose last completion has not been taken.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Sends whose completion has not been taken.
    #[must_use]
    pub fn sends_in_flight(&self) -> usize {
        self.sends.len()
    }

    /// Accepts one connection into a free slot; [`Ring::peer`] then returns its peer. Not a multishot accept, which
    /// would write all addresses to one place.
    pub fn accept(&mut self, listener: &impl AsRawFd, operation: Operation) {
        debug_assert!(operation.kind == OperationKind::Accept);
        let peer = PeerBuffer::new();
        let (address, length) = peer.pointers();
        // The pointers stay valid: the table keeps the block until the completion, and moving its owner does not move
        // it.
        let key = self.accepts.insert(AcceptInFlight { peer, operation }) as u32;
        let accept = opcode::Accept::new(Fd(listener.as_raw_fd()), address, length);
        let accept = accept.file_index(Some(DestinationSlot::auto_target()));
        self.start(accept.build(), Operation::new(OperationKind::Accept, 0, key));
    }

    /// Waits once, without a buffer, until a slot's socket is readable, ended or broken.
    pub fn poll(&mut self, slot: u32, operation: Operation) {
        let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
        self.start(opcode::PollAdd::new(Fixed(slot), events).build(), operation);
    }

    /// Waits repeatedly for a descriptor to become readable, until a completion without `more`.
    pub fn watch(&mut self, descriptor: &impl AsFd, operation: Operation) {
        let descriptor = Fd(descriptor.as_fd().as_raw_fd());
        self.start(opcode::PollAdd::new(descriptor, libc::POLLIN as u32).multi(true).build(), operation);
    }

    /// Receives once into a buffer of the ring.
    pub fn receive(&mut self, slot: u32, operation: Operation) {
        let receive = opcode::Recv::new(Fixed(slot), std::ptr::null_mut(), 0).buf_group(buffers::GROUP);
        self.start(receive.build().flags(squeue::Flags::BUFFER_SELECT), operation);
    }

    /// Receives repeatedly into buffers of the ring, until a completion without `more`.
    pub fn receive_many(&mut self, slot: u32, operation: Operation) {
        self.start(opcode::RecvMulti::new(Fixed(slot), buffers::GROUP).build(), operation);
    }

    /// Sends all of `bytes`, however long the socket has no room. The completion frees them. Pass `is_last` if a close
    /// follows at once: the kernel then holds back the last packet, up to 200 ms, to send the end of the stream with it
    /// (`MSG_MORE`, tcp(7)).
    pub fn send(&mut self, slot: u32, operation: Operation, bytes: Bytes, is_last: bool) -> SendId {
        debug_assert!(operation.kind == OperationKind::Send && operation.index == slot);
        let (address, length) = (bytes.as_ptr(), bytes.len() as u32);
        let key = self.sends.insert(SendInFlight { bytes, operation }) as u32;
        // The address stays valid: the table keeps the bytes until the completion, and moving a `Bytes` does not move
        // its contents.
        let more = if is_last { libc::MSG_MORE } else { 0 };
        let send = opcode::Send::new(Fixed(slot), address, length).flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL | more);
        self.start(send.build(), Operation::new(OperationKind::Send, 0, key));
        self.counters.sends.add(1);
        SendId(NonZeroU32::MIN.saturating_add(key))
    }

    /// Half-closes a slot.
    pub fn shutdown(&mut self, slot: u32, operation: Operation) {
        const _: () = assert!(libc::SHUT_WR == Shutdown::Write as i32);
        self.start(opcode::Shutdown::new(Fixed(slot), libc::SHUT_WR).build(), operation);
    }

    /// Frees a slot that no operation uses any more. Completes only on failure; the next accept may get the slot.
    pub fn close(&mut self, slot: u32, operation: Operation) {
        let entry = opcode::Close::new(Fixed(slot)).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(operation.to_user_data()));
    }

    /// Cancels an operation, which then ends by its own completion. A no-op if it has ended.
    pub fn cancel(&mut self, operation: Operation) {
        self.cancel_user_data(operation.to_user_data());
    }

    /// Cancels a send, which then ends by its own completion.
    pub fn cancel_send(&mut self, send: SendId) {
        self.cancel_user_data(Operation::new(OperationKind::Send, 0, send.0.get() - 1).to_user_data());
    }

    /// Cancels every accept started with `operation`. Each then ends by its own completion.
    pub fn cancel_accepts(&mut self, operation: Operation) {
        let keys = self.accepts.iter().filter(|(_, accept)| accept.operation == operation).map(|(key, _)| key as u32);
        for key in keys.collect::<Vec<_>>() {
            self.cancel_user_data(Operation::new(OperationKind::Accept, 0, key).to_user_data());
        }
    }

    fn cancel_user_data(&mut self, user_data: u64) {
        // By user data, not by descriptor: the kernel finds user data by hash, a descriptor by a walk over all
        // operations.
        let entry = opcode::AsyncCancel::new(user_data).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry.user_data(Operation::new(OperationKind::Cancel, 0, 0).to_user_data()));
    }

    /// Makes the kernel write `eventfd` on each completion while [`Ring::set_bell`] is on.
    ///
    /// # Errors
    /// The reason why the kernel refuses it.
    pub fn register_bell(&mut self, eventfd: &impl AsFd) -> Result<(), StartError> {
        let descriptor = eventfd.as_fd().as_raw_fd();
        let failed = |error: io::Error| StartError::from_io_uring("an eventfd for a ring", &error);
        self.uring.submitter().register_eventfd(descriptor).map_err(failed)?;
        self.set_bell(false);
        Ok(())
    }

    /// Turns the bell on or off. After turning it on, call [`Ring::wait`] with a timeout of 0 and [`Ring::is_ready`] to
    /// find earlier completions.
    pub fn set_bell(&mut self, on: bool) {
        let completions = self.uring.completion();
        if on { completions.enable_eventfd() } else { completions.disable_eventfd() }
    }

    /// Whether completions wait.
    #[must_use]
    pub fn is_ready(&mut self) -> bool {
        !self.batch.is_empty() || !self.uring.completion().is_empty()
    }

    /// Submits operations and collects completions, without waiting.
    pub fn submit(&mut self) {
        self.give_back();
        self.refill_submissions();
        if !self.uring.submission().is_empty() || self.hints_at_work() {
            self.enter(0, None);
        }
        loop {
            let ready = self.uring.completion().len();
            if ready >= GATHER || !self.hints_at_work() {
                break;
            }
            // Asking for as many completions as there are never waits, and makes the kernel run at least that much work
            // again. The hint may be stale: only new completions show that there was work.
            self.enter(ready, None);
            if self.uring.completion().len() == ready {
                break;
            }
        }
    }

    /// Submits, then waits for a completion, at most for `timeout`. With a timeout of 0 this does not wait; unlike
    /// [`Ring::submit`], it leaves unfinished work in the kernel only if there are completions.
    pub fn wait(&mut self, timeout: Duration) {
        self.give_back();
        self.refill_submissions();
        self.enter(1, Some(timeout));
        self.submit();
    }

    /// Takes the next completion that concerns the caller.
    #[inline]
    pub fn take_completion(&mut self) -> Option<Completion> {
        self.give_back();
        loop {
            if self.batch.is_empty() {
                let taken = self.uring.completion().take(BATCH);
                self.batch.extend(taken.map(|entry| RawCompletion {
                    user_data: entry.user_data(),
                    result: entry.result(),
                    flags: entry.flags(),
                }));
                self.counters.completions.add(self.batch.len() as u64);
            }
            let entry = self.batch.pop_front()?;
            if let Some(completion) = self.complete(&entry) {
                return Some(completion);
            }
        }
    }

    /// Bytes received by the last completion, if any. Valid until the next call of another method.
    #[inline]
    pub fn received(&mut self) -> &mut [u8] {
        match self.lent {
            Some((id, length)) => self.buffers.received(id, length),
            None => &mut [],
        }
    }

    /// Peer address of the connection accepted by the last completion. IPv4 addresses are never mapped to IPv6.
    #[inline]
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    fn complete(&mut self, entry: &RawCompletion) -> Option<Completion> {
        let mut operation = Operation::from_user_data(entry.user_data);
        let more = cqueue::more(entry.flags);
        if let Some(id) = cqueue::buffer_select(entry.flags) {
            self.lent = Some((id, entry.result.max(0) as usize));
        }
        let mut whole = false;
        match operation.kind {
            OperationKind::Cancel => return None,
            OperationKind::Close => {}
            _ => self.outstanding -= usize::from(!more),
        }
        if operation.kind == OperationKind::Send {
            // The only place where a send frees its bytes: the kernel is done with them.
            let ended = self.sends.remove(operation.index as usize);
            whole = entry.result >= 0 && entry.result as usize == ended.bytes.len();
            operation = ended.operation;
        }
        if operation.kind == OperationKind::Accept {
            // The same for the block of an accept.
            let ended = self.accepts.remove(operation.index as usize);
            self.peer = ended.peer.into_address();
            operation = ended.operation;
        }
        let nonempty = cqueue::sock_nonempty(entry.flags);
        Some(Completion { operation, result: entry.result, more, nonempty, whole })
    }

    #[inline]
    fn give_back(&mut self) {
        if let Some((id, _)) = self.lent.take() {
            self.buffers.give(id);
            self.given += 1;
        }
    }

    /// Returns how many buffers went back to the kernel since the last call.
    pub fn take_given(&mut self) -> usize {
        self.give_back();
        mem::take(&mut self.given)
    }

    fn start(&mut self, entry: squeue::Entry, operation: Operation) {
        self.outstanding += 1;
        self.push(entry.user_data(operation.to_user_data()));
    }

    #[inline]
    fn push(&mut self, entry: squeue::Entry) {
        self.counters.operations.add(1);
        if !self.unsubmitted.is_empty() || !self.try_push(&entry) {
            self.unsubmitted.push_back(entry);
            self.enter(0, None);
            self.refill_submissions();
        }
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: an entry refers to memory only through `send` and `accept`, whose bytes and blocks stay in their
        // tables until the operation has completed, and through the buffer group, whose memory outlives all operations
        // (see `Ring::drop`).
        unsafe { self.uring.submission().push(entry).is_ok() }
    }

    fn refill_submissions(&mut self) {
        while let Some(entry) = self.unsubmitted.pop_front() {
            if !self.try_push(&entry) {
                self.unsubmitted.push_front(entry);
                break;
            }
        }
    }

    /// Whether the kernel reports finished work or completions that it hands over only on request. The report may be
    /// stale.
    fn hints_at_work(&mut self) -> bool {
        let submissions = self.uring.submission();
        submissions.taskrun() || submissions.cq_overflow()
    }

    /// Calls io_uring_enter once: submits everything, runs finished work, waits for `want` completions.
    fn enter(&mut self, want: usize, timeout: Option<Duration>) {
        self.counters.submissions.add(1);
        let to_submit = self.uring.submission().len() as u32;
        let submitter = self.uring.submitter();
        let result = match timeout {
            None => {
                let flags = EnterFlags::GETEVENTS.bits();
                // SAFETY: no argument is passed that the kernel could read or write through.
                unsafe { submitter.enter::<libc::sigset_t>(to_submit, want as u32, flags, None) }
            }
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                let arguments = SubmitArgs::new().timespec(&timeout);
                submitter.submit_with_args(want, &arguments)
            }
        };
        let Err(error) = result else { return };
        match error.raw_os_error() {
            // Timeout, interruption, or no memory or room for completions for now: the entries stay in the queue, the
            // caller takes completions, and the next call continues.
            Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {}
            _ => panic!("io_uring_enter failed: {error}"),
        }
    }
}

impl Drop for Ring {
    /// Cancels all operations and waits for their end, because the kernel continues to read and fill memory after the
    /// ring is closed. Leaks memory on purpose if they do not end in time: otherwise the kernel could write into memory
    /// that has a new owner.
    fn drop(&mut self) {
        self.give_back();
        let everything = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        let operation = Operation::new(OperationKind::Cancel, 0, 0);
        let mut idle_rounds = 0;
        while idle_rounds < DROP_ROUNDS {
            idle_rounds += 1;
            while self.take_completion().is_some() {
                idle_rounds = 0;
            }
            if self.outstanding == 0 {
                break;
            }
            self.push(everything.clone().user_data(operation.to_user_data()));
            self.wait(DROP_WAIT);
        }
        if self.outstanding == 0 {
            // SAFETY: dropped once, here, and never used again; the kernel has completed every operation.
            unsafe {
                mem::ManuallyDrop::drop(&mut self.sends);
                mem::ManuallyDrop::drop(&mut self.accepts);
                mem::ManuallyDrop::drop(&mut self.buffers);
            }
        }
    }
}

/// Creates a bare ring in the best mode that the kernel supports. Returns whether that is the deferred mode.
fn build() -> Result<(IoUring, bool), StartError> {
    match deferred() {
        Ok(uring) => return Ok((uring, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        Err(error) => return Err(StartError::from_io_uring("a ring", &error)),
    }
    let failed = |error: io::Error| StartError::from_io_uring("a ring with a single issuer", &error);
    cooperative().map(|uring| (uring, false)).map_err(failed)
}

/// Creates a ring that runs finished work only when the thread asks for completions.
fn deferred() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    builder.setup_submit_all().setup_cqsize(COMPLETIONS).build(SUBMISSIONS)
}

/// Creates a ring that runs finished work whenever the thread enters the kernel.
fn cooperative() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
    builder.setup_submit_all().setup_cqsize(COMPLETIONS).build(SUBMISSIONS)
}
