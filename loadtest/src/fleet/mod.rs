//! Owns many client connections on one thread: readiness by epoll, one shared receive buffer, frames decoded in place.
//! An idle connection holds no memory beyond its slot. Knows RFC 6455; never the meaning of messages.

pub mod address;
pub mod handshake;
mod receive;
mod sealed;
mod slot;
#[cfg(test)]
pub mod tests;
mod tls;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fastrand::Rng;
use mio::event::Event;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use roomring::wire::client::{ServerDecoder, append_client_frame, append_compressed_client_frame};
use roomring::wire::deflate::{Compressor, Inflater, Window};
use roomring::wire::frame::Opcode;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::clock::Clock;
use crate::edge::Edge;
use crate::measure::counters::Counters;
use crate::measure::pulse::Pulse;
use address::{SourceAddresses, Target};
use handshake::OpeningRequest;
use slot::{ClientSlot, SlotBuffers, SlotState};

const TIMER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// Size of the shared receive buffer: large enough for a burst, small enough for the second-level cache.
const RECEIVE_BYTES: usize = 256 * 1024;

/// Maximum ready sockets per wait.
const EVENTS_MAX: usize = 512;

/// Typical wake-up delay of a sleeping thread, in nanoseconds. The fleet stays awake this long before a deadline, so
/// that an open loop publishes on time.
const AWAKE_NS: u64 = 80_000;

/// The fleet spends at most one in this many nanoseconds awake for that.
const AWAKE_SHARE: u64 = 16;

/// Compression level of clients, from 1 to 9. The lowest, because the server is measured.
const COMPRESSION_LEVEL: u8 = 1;

/// How a client drops its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// TCP end of stream.
    Fin,
    /// TCP reset.
    Reset,
    /// Half a frame, then the end of stream.
    MidFrame,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// By [`Fleet::close`] and the server's answer.
    Asked,
    /// By a close frame of the server with this code.
    ByServer(Option<u16>),
    /// Without a close frame, for this reason.
    Broken(String),
}

/// The behavior of a scenario's clients. `now` is in nanoseconds of the fleet's clock.
pub trait Behavior {
    /// Returns the request of a client that is about to connect.
    fn request(&mut self, client: u32) -> OpeningRequest;
    /// Handles an opened WebSocket.
    fn opened(&mut self, fleet: &mut Fleet, client: u32, now: u64);
    /// Handles a message.
    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64);
    /// Handles the end of a WebSocket.
    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, now: u64);
    /// Handles a failed connection attempt. The fleet counts it and keeps the reason.
    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64);
    /// Handles the deadline.
    fn due(&mut self, fleet: &mut Fleet, now: u64);
    /// Handles the end of a turn.
    fn turn_ended(&mut self, fleet: &mut Fleet, now: u64);
}

/// How a turn waits for ready sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PollWait {
    /// No wait: there is work.
    Not,
    /// Busy wait: a deadline is near.
    Awake,
    /// Sleep until a socket is ready or a deadline comes.
    Asleep,
}

/// The settings of a fleet.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// Servers.
    pub targets: Vec<Target>,
    /// Clients, numbered from 0.
    pub clients: u32,
    /// Number of this generator process.
    pub shard: u32,
    /// Number of source addresses.
    pub sources: u32,
    /// Maximum connection attempts in flight.
    pub connecting_max: usize,
    /// Seed of masks and of the scenario's choices.
    pub seed: u64,
    /// TLS, compression and tokens.
    pub edge: FleetEdge,
}

/// TLS, compression and tokens of clients; none by default.
#[derive(Clone, Debug, Default)]
pub struct FleetEdge {
    /// Clients use TLS.
    pub tls: bool,
    /// Clients resume TLS sessions.
    pub tls_resume: bool,
    /// Clients offer permessage-deflate.
    pub deflate: bool,
    /// A token per client, or none.
    pub tokens: Vec<String>,
}

impl FleetEdge {
    /// The parts of a plan that concern clients, with their tokens.
    #[must_use]
    pub fn of(edge: Edge, tokens: Vec<String>) -> Self {
        FleetEdge { tls: edge.tls, tls_resume: edge.tls_resume, deflate: edge.deflate, tokens }
    }
}

/// The clients of one thread.
pub struct Fleet {
    poll: Poll,
    events: Option<Events>,
    slots: Vec<ClientSlot>,
    buffer: Vec<u8>,
    /// Shared by all connections without an incomplete frame.
    decoder: ServerDecoder,
    dirty: Vec<u32>,
    /// Clients to read without an event: they resumed, or have more bytes.
    resumed: Vec<u32>,
    waiting: VecDeque<u32>,
    delayed: BinaryHeap<Reverse<(u64, u32)>>,
    connecting: usize,
    #[expect(clippy::vec_box, reason = "they go to and from slots as boxes")]
    spare: Vec<Box<SlotBuffers>>,
    timer: TimerFd,
    armed: u64,
    deadline: u64,
    /// Time spent in busy waits, in nanoseconds.
    awake_ns: u64,
    targets: Vec<Target>,
    sources: SourceAddresses,
    connecting_max: usize,
    tls: Option<tls::TlsClients>,
    tokens: Vec<String>,
    /// Clients offer permessage-deflate.
    deflate: bool,
    inflater: Inflater,
    compressor: Compressor,
    /// Splits messages into lines; a [`Behavior`] gets each line as a message.
    pub lines: bool,
    /// Random numbers for masks and for the scenario.
    pub rng: Rng,
    /// The clock of every `now`.
    pub clock: Clock,
    /// Counters of this fleet.
    pub counters: Counters,
    /// Latencies of all phases, for live display and time series.
    pub pulse: Arc<Pulse>,
    /// Reason of the last failed attempt or broken connection.
    pub last_failure: Option<String>,
}

impl Fleet {
    /// Creates a fleet without connections.
    ///
    /// # Errors
    /// The kernel refuses an epoll instance or a timer, or a target's host is not a valid name for TLS.
    pub fn new(settings: FleetSettings) -> anyhow::Result<Self> {
        let FleetEdge { tls, tls_resume, deflate, tokens } = settings.edge;
        let tls = tls.then(|| tls::TlsClients::new(&settings.targets, settings.clients, tls_resume)).transpose()?;
        let poll = Poll::new().context("epoll")?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).context("timerfd")?;
        let raw = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&timer));
        poll.registry().register(&mut SourceFd(&raw), TIMER, Interest::READABLE).context("timerfd in epoll")?;
        Ok(Fleet {
            poll,
            events: Some(Events::with_capacity(EVENTS_MAX)),
            slots: (0..settings.clients).map(|_| ClientSlot::default()).collect(),
            buffer: vec![0; RECEIVE_BYTES],
            decoder: ServerDecoder::default(),
            dirty: Vec::new(),
            resumed: Vec::new(),
            waiting: VecDeque::new(),
            delayed: BinaryHeap::new(),
            connecting: 0,
            spare: Vec::new(),
            timer,
            armed: u64::MAX,
            deadline: u64::MAX,
            awake_ns: 0,
            targets: settings.targets,
            sources: SourceAddresses::new(settings.shard, settings.sources),
            connecting_max: settings.connecting_max,
            tls,
            tokens,
            deflate,
            inflater: Inflater::default(),
            compressor: Compressor::new(COMPRESSION_LEVEL),
            rng: Rng::with_seed(settings.seed),
            clock: Clock::start(),
            counters: Counters::default(),
            pulse: Arc::default(),
            lines: false,
            last_failure: None,
        })
    }

    /// Creates a handle that ends a wait of [`Fleet::turn`] from another thread.
    ///
    /// # Errors
    /// The kernel refuses an eventfd.
    pub fn waker(&self) -> io::Result<Arc<Waker>> {
        Waker::new(self.poll.registry(), WAKER).map(Arc::new)
    }

    /// Connects a client as soon as the limit on attempts allows.
    pub fn connect(&mut self, client: u32) {
        self.waiting.push_back(client);
    }

    /// Connects a client at `at`.
    pub fn connect_at(&mut self, client: u32, at: u64) {
        self.delayed.push(Reverse((at, client)));
    }

    /// Calls [`Behavior::due`] once at `at` or soon after it; never for `u64::MAX`.
    pub fn set_deadline(&mut self, at: u64) {
        self.deadline = at;
    }

    /// Whether a client's WebSocket is open.
    #[must_use]
    pub fn is_open(&self, client: u32) -> bool {
        self.slots[client as usize].state == SlotState::Open
    }

    /// Queues a frame, which is sent at the end of the turn or by [`Fleet::flush`].
    pub fn queue(&mut self, client: u32, opcode: Opcode, payload: &[u8]) {
        let slot = &mut self.slots[client as usize];
        if slot.state == SlotState::Empty {
            return;
        }
        let held = slot.held.get_or_insert_with(|| self.spare.pop().unwrap_or_default());
        if held.output.is_empty() {
            self.dirty.push(client);
        }
        let mask = self.rng.u32(..).to_ne_bytes();
        // As in browsers: compresses a message of any size if it gets smaller.
        if slot.deflate
            && !opcode.is_control()
            && let Some(payload) = self.compressor.compress(Window::Bits15, payload)
        {
            return append_compressed_client_frame(&mut held.output, opcode, payload, mask);
        }
        append_client_frame(&mut held.output, opcode, payload, mask);
    }

    /// Sends queued bytes, as far as the socket takes them.
    pub fn flush(&mut self, client: u32) {
        if self.tls.is_some() {
            return self.flush_sealed(client);
        }
        let slot = &mut self.slots[client as usize];
        let (Some(stream), Some(held)) = (&mut slot.stream, &mut slot.held) else { return };
        if slot.state == SlotState::Connecting || held.output.is_empty() {
            return;
        }
        match stream.write(&held.output) {
            Ok(written) => {
                self.counters.sends += 1;
                self.counters.bytes_sent += written as u64;
                held.output.drain(..written);
                self.tidy(client);
            }
            // A broken connection also becomes readable, and ends there.
            Err(_would_block_or_broken) => {}
        }
    }

    /// Starts the close handshake.
    pub fn close(&mut self, client: u32) {
        if self.is_open(client) {
            self.queue(client, Opcode::Close, &1000u16.to_be_bytes());
            self.slots[client as usize].state = SlotState::Closing;
        }
    }

    /// Starts the close handshake of all clients, and cancels all connection attempts.
    pub fn close_all(&mut self) {
        self.waiting.clear();
        self.delayed.clear();
        for client in 0..u32::try_from(self.slots.len()).expect("clients are numbered in 32 bits") {
            if matches!(self.slots[client as usize].state, SlotState::Connecting | SlotState::Upgrading) {
                self.release(client);
            }
            self.close(client);
        }
    }

    /// Drops a connection without a close frame. Does not call [`Behavior::ended`].
    pub fn vanish(&mut self, client: u32, leaving: Departure) {
        self.flush(client);
        let slot = &mut self.slots[client as usize];
        let Some(mut stream) = slot.stream.take() else { return };
        match leaving {
            Departure::Fin => {}
            Departure::Reset => drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
            // Sends 3 bytes of a frame of 100 bytes, then the end of the stream.
            Departure::MidFrame => {
                let half = [0x82, 0x80 | 100, 1, 2, 3, 4, 5, 6, 7];
                let sealed = self.tls.as_mut().map(|tls| tls.sealed(client, &half));
                drop(stream.write(sealed.as_deref().unwrap_or(&half)));
            }
        }
        self.counters.vanished += 1;
        self.release(client);
    }

    /// Stops reading: the socket's buffers fill, then the server's.
    pub fn stall(&mut self, client: u32) {
        self.slots[client as usize].stalled = true;
    }

    /// Resumes reading.
    pub fn resume(&mut self, client: u32) {
        let slot = &mut self.slots[client as usize];
        if std::mem::take(&mut slot.stalled) {
            self.resumed.push(client);
        }
    }

    /// Runs one turn: waits for ready sockets or a deadline, handles them, and sends queued frames.
    ///
    /// # Errors
    /// epoll fails.
    pub fn turn(&mut self, behavior: &mut impl Behavior) -> io::Result<()> {
        self.connect_some(behavior);
        let mut events = self.events.take().expect("turns do not nest");
        let begun = self.clock.now();
        let wait = self.arm(begun);
        let timeout = (wait != PollWait::Asleep).then_some(Duration::ZERO);
        match self.poll.poll(&mut events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            Err(error) => return Err(error),
        }
        self.counters.turns += 1;
        let now = self.clock.now();
        if wait == PollWait::Awake {
            self.awake_ns += now - begun;
        }
        self.call_if_due(behavior, now);
        for event in &events {
            if event.token() != TIMER && event.token() != WAKER {
                self.handle_event(behavior, event);
            }
        }
        self.events = Some(events);
        for client in std::mem::take(&mut self.resumed) {
            self.read(behavior, client, true);
        }
        let now = self.clock.now();
        behavior.turn_ended(self, now);
        let mut dirty = std::mem::take(&mut self.dirty);
        for client in dirty.drain(..) {
            self.flush(client);
        }
        self.dirty = dirty;
        Ok(())
    }

    /// Sets the timer for the next deadline.
    fn arm(&mut self, now: u64) -> PollWait {
        let delayed = self.delayed.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        let next = self.deadline.min(delayed);
        let more = !self.waiting.is_empty() && self.connecting < self.connecting_max;
        if next <= now || more || !self.resumed.is_empty() || !self.dirty.is_empty() {
            return PollWait::Not;
        }
        let early = if self.awake_ns * AWAKE_SHARE < now { AWAKE_NS } else { 0 };
        if next <= now + early {
            return PollWait::Awake;
        }
        let at = if next == u64::MAX { next } else { next - early };
        if at != self.armed {
            self.armed = at;
            let set = if at == u64::MAX {
                self.timer.unset()
            } else {
                let wait = TimeSpec::from_duration(Duration::from_nanos(at - now));
                self.timer.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty())
            };
            set.expect("a time span of a started clock is a valid timer");
        }
        PollWait::Asleep
    }

    fn call_if_due(&mut self, behavior: &mut impl Behavior, now: u64) {
        if now >= self.deadline {
            self.deadline = u64::MAX;
            behavior.due(self, now);
        }
    }

    fn connect_some(&mut self, behavior: &mut impl Behavior) {
        let now = self.clock.now();
        while let Some(Reverse((at, client))) = self.delayed.peek().copied() {
            if at > now {
                break;
            }
            self.delayed.pop();
            self.waiting.push_back(client);
        }
        // Few per turn, so that open connections do not wait for many connects.
        for _ in 0..32 {
            if self.connecting >= self.connecting_max {
                return;
            }
            let Some(client) = self.waiting.pop_front() else { return };
            let request = behavior.request(client);
            if let Err(error) = self.start(client, &request) {
                self.fail(behavior, client, format!("connect: {error}"));
            }
        }
    }

    fn start(&mut self, client: u32, request: &OpeningRequest) -> io::Result<()> {
        let index = request.target % self.targets.len();
        let target = &self.targets[index];
        if let Some(tls) = &mut self.tls {
            tls.begin(client, index).map_err(io::Error::other)?;
        }
        let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = request.receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = self.sources.next(target.address) {
            socket.bind(&source.into())?;
        }
        match socket.connect(&target.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let mut stream = TcpStream::from_std(socket.into());
        let token = Token(client as usize);
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let slot = &mut self.slots[client as usize];
        let token = self.tokens.get(client as usize).map(String::as_str);
        let held = slot.held.get_or_insert_with(|| self.spare.pop().unwrap_or_default());
        held.output.extend_from_slice(handshake::request(request, &target.host, token, self.deflate).as_bytes());
        slot.stream = Some(stream);
        slot.state = SlotState::Connecting;
        slot.stalled = false;
        self.connecting += 1;
        Ok(())
    }

    fn handle_event(&mut self, behavior: &mut impl Behavior, event: &Event) {
        let client = u32::try_from(event.token().0).expect("a client's number");
        let slot = &mut self.slots[client as usize];
        if slot.state == SlotState::Connecting {
            let Some(stream) = &slot.stream else { return };
            if let Some(error) = stream.take_error().unwrap_or_else(Some) {
                self.fail(behavior, client, format!("connect: {error}"));
                return;
            }
            if !event.is_writable() {
                return;
            }
            slot.state = SlotState::Upgrading;
        }
        if event.is_writable() {
            self.flush(client);
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(behavior, client, event.is_read_closed());
        }
    }

    fn held(&mut self, client: u32) -> &mut SlotBuffers {
        self.slots[client as usize].held.get_or_insert_with(|| self.spare.pop().unwrap_or_default())
    }

    /// Recycles a client's buffers if they are empty.
    fn tidy(&mut self, client: u32) {
        let slot = &mut self.slots[client as usize];
        if slot.held.as_ref().is_some_and(|held| held.is_empty()) {
            self.spare.extend(slot.held.take());
        }
    }

    fn release(&mut self, client: u32) {
        let slot = &mut self.slots[client as usize];
        let stream = slot.stream.take();
        if let Some(farewell) = self.tls.as_mut().and_then(|tls| tls.end(client)) {
            // Fails only if the socket is full or broken.
            let _ = stream.map(|mut stream| stream.write(&farewell));
        }
        match slot.state {
            SlotState::Empty => {}
            SlotState::Connecting | SlotState::Upgrading => self.connecting -= 1,
            SlotState::Open | SlotState::Closing => self.counters.open -= 1,
        }
        slot.state = SlotState::Empty;
        slot.stalled = false;
        slot.deflate = false;
        if let Some(mut held) = slot.held.take() {
            held.clear();
            self.spare.push(held);
        }
    }

    fn fail(&mut self, behavior: &mut impl Behavior, client: u32, why: String) {
        self.counters.connect_failures += 1;
        self.last_failure = Some(why);
        self.release(client);
        let now = self.clock.now();
        behavior.failed(self, client, now);
    }

    fn broken(&mut self, behavior: &mut impl Behavior, client: u32, why: String) {
        let state = self.slots[client as usize].state;
        match state {
            SlotState::Empty => {}
            SlotState::Connecting | SlotState::Upgrading => self.fail(behavior, client, why),
            SlotState::Open | SlotState::Closing => {
                self.release(client);
                let ended = if state == SlotState::Closing { ConnectionEnd::Asked } else { ConnectionEnd::Broken(why) };
                let now = self.clock.now();
                behavior.ended(self, client, ended, now);
            }
        }
    }
}
