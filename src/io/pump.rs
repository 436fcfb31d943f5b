//! Owns the loop of one core: takes inputs from sockets, lanes, service thread and clock, runs the engine on them,
//! carries out its output, submits once, and sleeps when nothing is left to do. Never decides anything about the data.
//!
//! A core sleeps in two steps. First it waits a short time in its own ring, which costs one system call and wakes
//! fastest. Then it parks in the executor, which costs several system calls, until the ring writes the bell or the next
//! deadline comes; other tasks of the executor run meanwhile.

use std::future::{Future, poll_fn};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use crossbeam_channel::Receiver;
use glommio::io::{PollState, PollableFd};
use glommio::timer::Timer;

use super::calls::Calls;
use super::clock;
use super::error::StartError;
use super::lanes::{Batch, Lanes, Staged};
use super::log_lines::{self, LogLines};
use super::proxy_header::ProxyHeaders;
use super::services::{Control, Services};
use super::sockets::Sockets;
use super::tls::Tls;
use super::wake::{Sleep, Wake};
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::time::Now;
use crate::engine::Engine;
use crate::engine::hop::Hop;
use crate::engine::input::Input;
use crate::engine::output::Output;
use crate::engine::trusted::Trusted;

/// How long one turn works on TLS handshakes before it goes on with the connections that are open. At least one step is
/// made, which is one signature and one key exchange at most.
const TLS_HANDSHAKES_US_PER_TURN: u64 = 1_000;

/// Bounds on the input of one turn from each source, so that no source delays the others, and merged output goes out
/// within a few milliseconds.
const COMPLETIONS_PER_TURN: usize = 1024;
const BATCHES_PER_TURN: usize = 64;
const CONTROLS_PER_TURN: usize = 64;

/// Time that an idle core waits in its own ring before it parks in the executor. Measured at 200 publishes a second: a
/// quarter of the system calls and two thirds of the CPU time of parking at once.
const RING_WAIT_US: u64 = 10_000;

/// Time until output that a full lane to another core refused is offered again.
const OFFER_AGAIN_US: u64 = 500;

/// Maximum age of the CPU time counter on a busy core.
const CPU_TIME_US: u64 = 100_000;

/// The state of one core, as the pump drives it. Implemented by [`Engine`]; see its methods.
pub trait CoreState: Staged {
    /// Handles one input.
    fn handle(&mut self, now: Now, input: Input<'_>, output: &mut Output);
    /// Ends a turn. Returns whether another must follow.
    fn finish_turn(&mut self, now: Now, output: &mut Output) -> bool;
    /// Time of the next tick.
    fn next_tick_us(&self, now: Now) -> Option<u64>;
    /// Whether this turn takes more inputs from sockets.
    fn takes_input(&self) -> bool;
    /// Whether this turn takes more hops.
    fn takes_hops(&self) -> bool;
    /// Connections that a drain waits for.
    fn open_slots(&self) -> usize;
    /// Whether nobody waits for the link or the store.
    fn is_settled(&self) -> bool;
    /// Charges bytes that this floor holds for clients.
    fn charge_io(&mut self, bytes: u64);
}

impl Staged for Engine {
    fn take_staged(&mut self, to: CoreId, empty: Vec<Hop>) -> Vec<Hop> {
        if self.has_staged(to) { Engine::take_staged(self, to, empty) } else { empty }
    }

    fn put_back(&mut self, to: CoreId, staged: Vec<Hop>) -> Vec<Hop> {
        Engine::put_back(self, to, staged)
    }

    fn staged_bytes(&self, to: CoreId) -> usize {
        Engine::staged_bytes(self, to)
    }

    fn set_queued_bytes(&mut self, to: CoreId, bytes: usize) {
        Engine::set_queued_bytes(self, to, bytes);
    }
}

impl CoreState for Engine {
    fn handle(&mut self, now: Now, input: Input<'_>, output: &mut Output) {
        Engine::handle(self, now, input, output);
    }

    fn finish_turn(&mut self, now: Now, output: &mut Output) -> bool {
        Engine::finish_turn(self, now, output)
    }

    fn next_tick_us(&self, now: Now) -> Option<u64> {
        Engine::next_tick_us(self, now)
    }

    fn takes_input(&self) -> bool {
        Engine::takes_input(self)
    }

    fn takes_hops(&self) -> bool {
        Engine::takes_hops(self)
    }

    fn open_slots(&self) -> usize {
        Engine::open_slots(self)
    }

    fn is_settled(&self) -> bool {
        Engine::is_settled(self)
    }

    fn charge_io(&mut self, bytes: u64) {
        Engine::charge_io(self, bytes);
    }
}

/// How far the shutdown of a core is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CoreStage {
    Serving,
    /// Waits for its connections to end.
    Draining,
    /// Has no connections left; its rooms serve the other cores until those have none either.
    Drained,
    /// No core has connections left; waits for the link and the store to answer its rooms.
    Settling,
    Ended,
}

/// The eventfd that the executor waits on.
struct Bell(Arc<Wake>);

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.bell().as_raw_fd()
    }
}

/// The loop of one core. Belongs to the thread that created it.
pub struct Pump<S> {
    state: S,
    sockets: Sockets,
    proxy_headers: ProxyHeaders,
    /// Between sockets and engine, if clients use TLS.
    tls: Option<Tls>,
    lanes: Lanes,
    /// A batch from a lane of which the last turn left some hops.
    begun: Option<Batch>,
    control: Receiver<Control>,
    wake: Arc<Wake>,
    bell: PollableFd<Bell>,
    services: Services,
    counters: Arc<CoreCounters>,
    log_lines: LogLines,
    calls: Calls,
    output: Output,
    /// Number of closes in this turn's output whose slots are muted already.
    muted: usize,
    /// A full lane to another core refused some output.
    blocked: bool,
    /// The engine has more to send than fit into the last turn.
    unfinished: bool,
    stage: CoreStage,
    cpu_due_us: u64,
}

/// The parts around the state of a core.
pub struct PumpParts {
    /// Created on the pump's thread.
    pub sockets: Sockets,
    /// Proxies whose connections begin with a PROXY protocol header.
    pub proxies: Trusted,
    /// `None` for plain TCP.
    pub tls: Option<Tls>,
    /// This core's ends of the lanes.
    pub lanes: Lanes,
    /// Commands of the service thread.
    pub control: Receiver<Control>,
    /// The wake-up of this core.
    pub wake: Arc<Wake>,
    /// This core's ends of what it asks the services.
    pub services: Services,
    /// This core's counters.
    pub counters: Arc<CoreCounters>,
}

impl<S: CoreState> Pump<S> {
    /// Creates the loop. Call it inside a glommio executor, on the thread that created the sockets.
    ///
    /// # Errors
    /// The executor cannot wait on the bell.
    pub fn new(state: S, parts: PumpParts) -> Result<Pump<S>, StartError> {
        let PumpParts { sockets, proxies, tls, lanes, control, wake, services, counters } = parts;
        let bell = Bell(wake.clone());
        let core = lanes.core();
        let failed = |error: glommio::GlommioError<()>| StartError::Other("waiting for a ring", error.to_string());
        Ok(Pump {
            state,
            sockets,
            proxy_headers: ProxyHeaders::new(proxies, counters.clone()),
            tls,
            lanes,
            begun: None,
            control,
            wake,
            bell: PollableFd::new(bell).map_err(failed)?,
            services,
            counters,
            log_lines: LogLines::new(core),
            calls: Calls::new(core),
            output: Output::default(),
            muted: 0,
            blocked: false,
            unfinished: false,
            stage: CoreStage::Serving,
            cpu_due_us: 0,
        })
    }

    /// Runs until the core ends.
    pub async fn run(mut self) {
        while self.stage != CoreStage::Ended {
            if self.turn() {
                glommio::executor().yield_if_needed().await;
            } else if self.stage != CoreStage::Ended {
                self.rest().await;
            }
        }
        self.sockets.stop_accepting();
        self.sockets.submit();
        self.log_lines.finish();
        self.counters.cpu_us.set(clock::thread_cpu_us());
    }

    /// Runs one turn. Returns whether more work waits.
    fn turn(&mut self) -> bool {
        let now = clock::now();
        self.sockets.advance(now.mono_us);
        let mut worked = self.take_completions(now);
        worked |= self.take_handshakes(now);
        worked |= self.take_batches(now);
        worked |= self.take_controls(now);
        worked |= self.take_events(now);
        if self.state.next_tick_us(now).is_some_and(|due_us| due_us <= now.mono_us) {
            self.handle(now, Input::Tick);
            worked = true;
        }
        let is_told = self.log_lines.next_due_us().is_some_and(|due_us| due_us <= now.mono_us);
        if worked || self.blocked || self.unfinished || is_told || self.services.have_room_again() {
            let began_us = now.mono_us;
            let now = clock::now();
            self.counters.turn.record(now.mono_us - began_us, 1);
            self.unfinished = self.state.finish_turn(now, &mut self.output);
            self.carry_out(now);
        }
        if now.mono_us >= self.cpu_due_us {
            self.cpu_due_us = now.mono_us + CPU_TIME_US;
            self.counters.cpu_us.set(clock::thread_cpu_us());
        }
        self.advance_stage();
        let handshakes = self.tls.as_ref().is_some_and(Tls::has_steps);
        self.sockets.submit() || self.unfinished || handshakes || !self.is_quiet()
    }

    fn take_completions(&mut self, now: Now) -> bool {
        let mut taken = 0;
        while taken < COMPLETIONS_PER_TURN
            && self.state.takes_input()
            && let Some(input) = self.sockets.take_input()
        {
            taken += 1;
            let (state, output) = (&mut self.state, &mut self.output);
            let tls = &mut self.tls;
            let before = output.closes.len();
            self.proxy_headers.pass(input, |input| {
                match tls {
                    None => state.handle(now, input, output),
                    Some(tls) => tls.take(input, &mut |slot, input| tell(state, now, slot, input, output)),
                }
                output.closes.len() > before
            });
            self.mute_closed();
        }
        taken > 0
    }

    /// Continues handshakes for a bounded part of the turn.
    fn take_handshakes(&mut self, now: Now) -> bool {
        if !self.tls.as_ref().is_some_and(Tls::has_steps) {
            return false;
        }
        let until_us = clock::now().mono_us + TLS_HANDSHAKES_US_PER_TURN;
        while let Some(tls) = &mut self.tls {
            let (state, output) = (&mut self.state, &mut self.output);
            let has_stepped = tls.step(&mut |slot, input| tell(state, now, slot, input, output));
            self.mute_closed();
            if !has_stepped || clock::now().mono_us >= until_us {
                break;
            }
        }
        true
    }

    /// Stops inputs for slots that the engine has closed, although the close is carried out later.
    fn mute_closed(&mut self) {
        for slot in &self.output.closes[self.muted..] {
            match &mut self.tls {
                None => self.sockets.mute(*slot),
                Some(tls) => tls.mute(*slot),
            }
        }
        self.muted = self.output.closes.len();
    }

    fn take_batches(&mut self, now: Now) -> bool {
        let mut taken = 0;
        while taken < BATCHES_PER_TURN
            && self.state.takes_hops()
            && let Some(mut batch) = self.begun.take().or_else(|| self.lanes.try_take())
        {
            taken += 1;
            self.handle(now, Input::Hops { from: batch.from, hops: &mut batch.hops });
            if batch.hops.is_empty() {
                self.lanes.recycle(batch.hops);
            } else {
                self.begun = Some(batch);
            }
        }
        taken > 0
    }

    fn take_controls(&mut self, now: Now) -> bool {
        let mut taken = 0;
        while taken < CONTROLS_PER_TURN
            && let Ok(control) = self.control.try_recv()
        {
            taken += 1;
            match control {
                Control::Drain { window_ms, hands_over } => {
                    if self.stage == CoreStage::Serving {
                        self.stage = CoreStage::Draining;
                        if hands_over {
                            self.sockets.stop_accepting();
                        }
                        self.handle(now, Input::Drain { window_ms, hands_over });
                    }
                }
                Control::Beat(beats) => {
                    beats.fetch_add(1, Ordering::Relaxed);
                }
                Control::Stop => self.stage = CoreStage::Ended,
                Control::Settings(settings) => self.handle(now, Input::Settings(settings)),
                Control::Call { call, reply } => {
                    let token = self.calls.add(reply);
                    self.handle(now, Input::Call { token, call });
                }
                Control::Keys(keys) => self.handle(now, Input::Keys(keys)),
                Control::Tls(config) => {
                    if let Some(tls) = &mut self.tls {
                        tls.set_config(config);
                    }
                }
            }
        }
        taken > 0
    }

    fn take_events(&mut self, now: Now) -> bool {
        let (state, output) = (&mut self.state, &mut self.output);
        self.services.pass_events(&self.counters, |input| state.handle(now, input, output))
    }

    fn handle(&mut self, now: Now, input: Input<'_>) {
        self.state.handle(now, input, &mut self.output);
    }

    fn carry_out(&mut self, now: Now) {
        for slot in &self.output.closes {
            self.proxy_headers.forget(*slot);
        }
        match &mut self.tls {
            None => carry_out_plain(&mut self.output, &mut self.sockets),
            Some(tls) => {
                carry_out_encrypted(&mut self.output, tls, &mut self.sockets);
            }
        }
        self.muted = 0;
        self.log_lines.write_refused(now, &mut self.output.refused);
        self.log_lines.write(now, &mut self.output.ended);
        self.log_lines.write_state(now, &self.counters);
        self.services.take_spans(&mut self.output.spans, &self.counters);
        log_lines::write_tokens_refused(&mut self.output.tokens_refused);
        self.calls.answer(&mut self.output.answers);
        self.services.take(&mut self.output);
        let left = self.lanes.flush(&mut self.state, &self.counters);
        let tls_bytes = self.tls.as_ref().map_or(0, Tls::held_bytes);
        let lane_bytes = self.lanes.queued_bytes() + self.services.bytes(&self.output);
        self.state.charge_io(tls_bytes + lane_bytes as u64);
        self.blocked = left > 0;
    }

    fn advance_stage(&mut self) {
        if self.stage == CoreStage::Draining && self.state.open_slots() == 0 && !self.sockets.is_stopping_to_accept() {
            self.stage = CoreStage::Drained;
            self.lanes.leave();
        }
        if self.stage == CoreStage::Drained && self.lanes.have_all_left() {
            self.stage = CoreStage::Settling;
        }
        if self.stage == CoreStage::Settling && self.is_settled() {
            self.stage = CoreStage::Ended;
        }
    }

    /// Whether the services have taken everything and nobody waits for them.
    fn is_settled(&self) -> bool {
        self.state.is_settled() && self.output.link.is_empty() && self.output.store.is_empty()
    }

    /// Whether no work waits in the channels.
    fn is_quiet(&self) -> bool {
        self.begun.is_none()
            && self.lanes.is_empty()
            && self.control.is_empty()
            && self.services.are_quiet()
            && !self.services.have_room_again()
            && !(self.stage == CoreStage::Drained && self.lanes.have_all_left())
            && !(self.stage == CoreStage::Settling && self.is_settled())
    }

    /// Sleeps until an input or a deadline comes.
    async fn rest(&mut self) {
        let now = clock::now();
        let due_us = self.due_us(now);
        let left_us = |now_us: u64| due_us.map_or(u64::MAX, |due_us| due_us.saturating_sub(now_us));
        self.wake.fall_asleep(Sleep::Ring);
        if self.is_quiet() {
            let wait = Duration::from_micros(left_us(now.mono_us).min(RING_WAIT_US));
            if !self.sockets.wait(wait) {
                let left_us = left_us(clock::now().mono_us);
                if left_us > 0 {
                    self.park(due_us.map(|_| Duration::from_micros(left_us))).await;
                }
            }
        }
        self.wake.get_up();
    }

    /// The next deadline of this core.
    fn due_us(&self, now: Now) -> Option<u64> {
        let again = self.blocked.then_some(now.mono_us + OFFER_AGAIN_US);
        [self.state.next_tick_us(now), self.sockets.next_due_us(), self.log_lines.next_due_us(), again]
            .into_iter()
            .flatten()
            .min()
    }

    /// Waits in the executor for completions, at most for `timeout`.
    async fn park(&mut self, timeout: Option<Duration>) {
        self.counters.cpu_us.set(clock::thread_cpu_us());
        self.wake.clear_bell();
        self.wake.fall_asleep(Sleep::Executor);
        self.sockets.set_bell(true);
        // Earlier completions did not write the bell.
        if self.is_quiet() && !self.sockets.wait(Duration::ZERO) {
            let mut timer = pin!(timeout.map(Timer::new));
            let mut state = PollState::new();
            poll_fn(|context| {
                let is_over = timer.as_mut().as_pin_mut().is_some_and(|timer| Future::poll(timer, context).is_ready());
                let rings = self.bell.poll_readable(context, &mut state).is_ready();
                if is_over || rings { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        self.sockets.set_bell(false);
    }
}

/// Passes an input from TLS to the engine. Returns whether the engine closed the slot in response.
fn tell<S: CoreState>(state: &mut S, now: Now, slot: u32, input: Input<'_>, output: &mut Output) -> bool {
    let before = output.closes.len();
    state.handle(now, input, output);
    output.closes[before..].contains(&slot)
}

fn carry_out_plain(output: &mut Output, sockets: &mut Sockets) {
    for send in output.sends.drain(..) {
        sockets.send(send.slot, send.bytes, send.is_last);
    }
    for slot in output.shutdowns.drain(..) {
        sockets.shutdown(slot);
    }
    for slot in output.closes.drain(..) {
        sockets.close(slot);
    }
}

fn carry_out_encrypted(output: &mut Output, tls: &mut Tls, sockets: &mut Sockets) {
    for send in output.sends.drain(..) {
        tls.send(send.slot, send.bytes, send.is_last, sockets);
    }
    for slot in output.shutdowns.drain(..) {
        tls.shutdown(slot, sockets);
    }
    for slot in output.closes.drain(..) {
        tls.close(slot, sockets);
    }
    tls.flush(sockets);
}
