//! Whole cores that run a relay in place of the engine, driven over loopback.

mod services;
mod tls;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::base::ids::{ConnId, CoreId, RoomName, UserName};
use crate::base::time::Now;
use crate::engine::call::{Call, CallAnswer, Whom};
use crate::engine::hop::{Hop, ToOwner};
use crate::engine::input::Input;
use crate::engine::link_port::{LinkEvent, LinkRequest};
use crate::engine::outbound::Outbound;
use crate::engine::output::{Output, Send as SendOut};
use crate::io::calls::CallReply;
use crate::io::lanes::Staged;
use crate::io::listener::ListeningSockets;
use crate::io::service_lane::{ServiceEnd, service_lanes};
use crate::wire::form::Form;
use crate::wire::protocol::{Ask, Publish, ReplyTo};
use crate::wire::publication::DataKind;

/// A connection of a [`Relay`].
#[derive(Default)]
struct Relayed {
    generation: u32,
    is_sending: bool,
    waiting: Vec<u8>,
    /// The drain closes it once nothing waits.
    is_leaving: bool,
    /// The peer has ended its stream.
    has_ended: bool,
    /// Bytes received and not answered yet.
    owed: usize,
}

/// Sends received bytes around all cores, then back to their sender; closes on `!`. Asserts every rule of the contract
/// between engine and pump.
struct Relay {
    cores: u16,
    outbound: Outbound,
    slots: HashMap<u32, Relayed>,
    generation: u32,
    tick_us: Option<u64>,
    next_tick_us: Option<u64>,
    ticks: Arc<AtomicU64>,
}

impl Relay {
    fn pass_on(&mut self, conn: ConnId, data: Bytes) {
        let core = self.outbound.core();
        let next = CoreId((core.0 + 1) % self.cores);
        if next != core {
            let user = UserName::new("relay").expect("valid");
            let publish = Publish { kind: DataKind::Json, data, key: None, echo: true, ephemeral: false };
            let (room, ask) = (RoomName::new("relay").expect("valid"), Ask::Publish(publish));
            let reply = ReplyTo { form: Form::Json, id: None };
            let hop = ToOwner::Ask { room, conn, user, ask, arrived_us: 0, trace: None, reply };
            self.outbound.post_to_owner(next, hop);
        } else {
            self.answer(conn, &data);
        }
    }

    fn answer(&mut self, conn: ConnId, data: &[u8]) {
        if let Some(state) = self.slots.get_mut(&conn.slot).filter(|state| state.generation == conn.generation) {
            state.waiting.extend_from_slice(data);
            state.owed = state.owed.saturating_sub(data.len());
        }
    }

    fn close(&mut self, slot: u32, output: &mut Output) {
        self.slots.remove(&slot).expect("closed once");
        output.closes.push(slot);
    }
}

impl Staged for Relay {
    fn take_staged(&mut self, to: CoreId, empty: Vec<Hop>) -> Vec<Hop> {
        self.outbound.take_staged(to, empty)
    }

    fn put_back(&mut self, to: CoreId, staged: Vec<Hop>) -> Vec<Hop> {
        self.outbound.put_back(to, staged)
    }

    fn staged_bytes(&self, to: CoreId) -> usize {
        self.outbound.staged_bytes(to)
    }

    fn set_queued_bytes(&mut self, to: CoreId, bytes: usize) {
        self.outbound.set_queued_bytes(to, bytes);
    }
}

impl CoreState for Relay {
    fn takes_input(&self) -> bool {
        true
    }

    fn takes_hops(&self) -> bool {
        true
    }

    fn handle(&mut self, now: Now, input: Input<'_>, output: &mut Output) {
        let core = self.outbound.core();
        match input {
            Input::Accepted { slot, .. } => {
                self.generation += 1;
                let new = Relayed { generation: self.generation, ..Relayed::default() };
                assert!(self.slots.insert(slot, new).is_none(), "slot {slot} is in use");
            }
            Input::Received { slot, bytes } => {
                let generation = self.slots.get(&slot).expect("told of open slots only").generation;
                if bytes.contains(&b'!') {
                    return self.close(slot, output);
                }
                let conn = ConnId { home: core, slot, generation };
                self.slots.get_mut(&slot).expect("it is there").owed += bytes.len();
                self.pass_on(conn, Bytes::copy_from_slice(bytes));
            }
            Input::Sent { slot } => self.slots.get_mut(&slot).expect("told of open slots only").is_sending = false,
            // Bytes on their way around the cores still come back.
            Input::Ended { slot } => self.slots.get_mut(&slot).expect("told of open slots only").has_ended = true,
            Input::Broken { slot } => {
                let state = self.slots.get_mut(&slot).expect("told of open slots only");
                (state.waiting, state.is_sending, state.owed) = (Vec::new(), false, 0);
                output.shutdowns.push(slot);
            }
            Input::Disconnected { slot } => self.close(slot, output),
            Input::Hops { hops, .. } => {
                for hop in hops.drain(..) {
                    let Hop::ToOwner(ToOwner::Ask { conn, ask: Ask::Publish(Publish { data, .. }), .. }) = hop else {
                        panic!("never sent: {hop:?}")
                    };
                    if conn.home == core { self.answer(conn, &data) } else { self.pass_on(conn, data) }
                }
            }
            Input::Tick => {
                self.ticks.fetch_add(1, Ordering::Relaxed);
                self.next_tick_us = self.tick_us.map(|tick_us| now.mono_us + tick_us);
            }
            Input::Drain { .. } => self.slots.values_mut().for_each(|state| state.is_leaving = true),
            Input::Call { token, .. } => output.answers.push((token, CallAnswer::Ended { count: 7, next: None })),
            Input::Link(LinkEvent::Published { token, .. }) => {
                let room = RoomName::new("relay").expect("valid");
                output.link.push(LinkRequest::Read { token: 0, room, after: token, count: 1, presence: false });
            }
            Input::Peer { .. }
            | Input::Settings(_)
            | Input::Keys(_)
            | Input::Link(_)
            | Input::Store(_)
            | Input::Account(_) => {
                panic!("not configured")
            }
        }
    }

    fn finish_turn(&mut self, _now: Now, output: &mut Output) -> bool {
        let mut leaving = Vec::new();
        for (slot, state) in &mut self.slots {
            if state.is_sending {
                continue;
            }
            if !state.waiting.is_empty() {
                state.is_sending = true;
                output.sends.push(SendOut {
                    slot: *slot,
                    bytes: std::mem::take(&mut state.waiting).into(),
                    is_last: false,
                });
            } else if state.is_leaving || (state.has_ended && state.owed == 0) {
                leaving.push(*slot);
            }
        }
        for slot in leaving {
            self.close(slot, output);
        }
        false
    }

    fn next_tick_us(&self, _now: Now) -> Option<u64> {
        self.next_tick_us
    }

    fn open_slots(&self) -> usize {
        self.slots.len()
    }

    fn is_settled(&self) -> bool {
        true
    }

    fn charge_io(&mut self, bytes: u64) {
        assert!(bytes < 1 << 30, "{bytes} bytes are held below");
    }
}

/// Running cores that relay.
struct RunningCores {
    address: SocketAddr,
    cores: Vec<CoreHandle>,
    counters: Vec<Arc<CoreCounters>>,
    ended: mpsc::Receiver<u16>,
    ticks: Arc<AtomicU64>,
    /// Each core answers its events by requests.
    link: ServiceEnd<LinkRequest, LinkEvent>,
}

impl RunningCores {
    fn start(cores: u16, tick_us: Option<u64>) -> RunningCores {
        RunningCores::start_with(cores, tick_us, None)
    }

    fn start_with(cores: u16, tick_us: Option<u64>, tls: Option<Arc<ServerConfig>>) -> RunningCores {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listeners = ListeningSockets::bind(&[address], cores).expect("binds");
        let wakes: Vec<_> = (0..cores).map(|_| Arc::new(Wake::new().expect("an eventfd"))).collect();
        let (ends, ended) = mpsc::channel();
        let ticks = Arc::new(AtomicU64::new(0));
        let (link, links) = service_lanes(&wakes);
        let (address, cores_started, counters) = (listeners.addresses[0], Vec::new(), Vec::new());
        let mut running = RunningCores { address, cores: cores_started, counters, ended, ticks, link };
        let lanes = Lanes::mesh(&wakes).into_iter().zip(wakes).zip(links);
        for (((lanes, wake), link), listeners) in lanes.zip(listeners.by_core) {
            let counters = Arc::new(CoreCounters::default());
            running.counters.push(counters.clone());
            let core = lanes.core();
            let services = Services { link: Some(link), ..Services::default() };
            let config = CoreConfig {
                cpu: None,
                slots: 256,
                listeners,
                tls: tls.clone(),
                lanes,
                proxies: Trusted::default(),
                wake,
                services,
                counters,
            };
            let (ends, ticks) = (ends.clone(), running.ticks.clone());
            let state = move || Relay {
                cores,
                outbound: Outbound::new(core, cores),
                slots: HashMap::new(),
                generation: 0,
                tick_us,
                next_tick_us: tick_us.map(|_| 0),
                ticks,
            };
            running.cores.push(start(config, state, move || ends.send(core.0).expect("waited for")).expect("starts"));
        }
        running
    }

    fn tell(&self, control: impl Fn() -> Control) {
        for core in &self.cores {
            core.try_tell(control()).expect("has room");
        }
    }

    fn wait_for_end(&self) {
        for _ in &self.cores {
            self.ended.recv_timeout(Duration::from_secs(10)).expect("ends");
        }
    }

    fn cpu_us(&self) -> u64 {
        self.counters.iter().map(|counters| counters.cpu_us.get()).sum()
    }
}

fn echoed(client: &mut TcpStream, text: &[u8]) {
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    client.write_all(text).expect("written");
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).expect("answered");
    assert_eq!(answer, text);
}

#[test]
fn hops_go_around_and_wake_sleeping_cores() {
    let running = RunningCores::start(3, None);
    let address = running.address;
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            thread::spawn(move || {
                let mut client = TcpStream::connect(address).expect("connects");
                for round in 0..400_u64 {
                    echoed(&mut client, format!("{thread}/{round};").as_bytes());
                    // Pauses of every length find the cores awake, waiting in the ring, and parked.
                    let pause = [0, 0, 0, 50, 500, 3_000, 9_990, 11_000, 15_000][(round * 7 + thread) as usize % 9];
                    thread::sleep(Duration::from_micros(pause));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("nothing is lost");
    }
    assert!(running.counters.iter().all(|counters| counters.wakes.get() > 0), "sleepers were met");
    running.tell(|| Control::Stop);
    running.wait_for_end();
}

#[test]
fn thousands_come_and_go_across_cores() {
    let running = RunningCores::start(2, None);
    let address = running.address;
    let threads: Vec<_> = (0..4_u16)
        .map(|thread| {
            thread::spawn(move || {
                for round in 0..500_u16 {
                    let mut client = TcpStream::connect(address).expect("connects");
                    if round % 5 == 0 {
                        // More than one piece arrives, and the first makes the server close.
                        let _ = client.write_all(b"!");
                        let _ = client.write_all(&[b'x'; 20_000]);
                        let _ = client.read_to_end(&mut Vec::new());
                    } else {
                        echoed(&mut client, format!("{thread}/{round};").as_bytes());
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("nothing is confused");
    }
    running.tell(|| Control::Drain { window_ms: 0, hands_over: false });
    running.wait_for_end();
}

#[test]
fn a_drain_ends_when_every_core_has_let_go() {
    let running = RunningCores::start(3, None);
    let mut clients: Vec<_> = (0..12).map(|_| TcpStream::connect(running.address).expect("connects")).collect();
    clients.iter_mut().for_each(|client| echoed(client, b"hello"));
    // Parked by now.
    thread::sleep(Duration::from_millis(50));
    assert!(running.ended.try_recv().is_err());
    running.tell(|| Control::Drain { window_ms: 0, hands_over: false });
    running.wait_for_end();
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 1]).expect("closed in order"), 0);
    }
    assert!(running.cores[0].try_tell(Control::Stop).is_err(), "it has ended");
}

#[test]
fn a_call_wakes_a_core_and_ends_unanswered_with_it() {
    let running = RunningCores::start(1, None);
    let ask = |sender: mpsc::Sender<CallAnswer>| {
        let whom = Whom::User(UserName::new("ann").expect("valid"));
        let call = Call::Disconnect { whom, from: 0, reason: None };
        running.cores[0]
            .try_tell(Control::Call { call, reply: CallReply::new(move |answer| drop(sender.send(answer))) })
    };
    for pause_ms in [0, 1, 50] {
        // Finds the core awake, waiting in its ring, and parked.
        thread::sleep(Duration::from_millis(pause_ms));
        let (sender, receiver) = mpsc::channel();
        ask(sender).expect("the core serves");
        let answer = receiver.recv_timeout(Duration::from_secs(5));
        assert!(matches!(answer, Ok(CallAnswer::Ended { count: 7, next: None })), "{answer:?}");
    }
    running.tell(|| Control::Stop);
    let (sender, receiver) = mpsc::channel();
    // Whether the channel takes the call or not: nobody answers it, and the waiting side learns that.
    drop(ask(sender));
    running.ended.recv_timeout(Duration::from_secs(5)).expect("the core ends");
    let mut last = receiver.recv_timeout(Duration::from_secs(5));
    if let Ok(CallAnswer::Ended { count: 7, .. }) = last {
        // It was taken in the turn of the stop.
        last = receiver.recv_timeout(Duration::from_secs(5));
    }
    assert!(matches!(last, Err(mpsc::RecvTimeoutError::Disconnected)), "{last:?}");
}

#[test]
fn an_idle_core_sleeps_and_ticks_on_time() {
    let running = RunningCores::start(2, Some(20_000));
    let mut clients: Vec<_> = (0..100).map(|_| TcpStream::connect(running.address).expect("connects")).collect();
    clients.iter_mut().for_each(|client| echoed(client, b"hello"));
    thread::sleep(Duration::from_millis(100));
    let (cpu_us, ticks, start) = (running.cpu_us(), running.ticks.load(Ordering::Relaxed), Instant::now());
    thread::sleep(Duration::from_millis(1_000));
    let ticks = running.ticks.load(Ordering::Relaxed) - ticks;
    let due = 2 * start.elapsed().as_millis() as u64 / 20;
    running.tell(|| Control::Stop);
    running.wait_for_end();
    let cpu_us = running.cpu_us() - cpu_us;
    assert!(ticks > due / 2 && ticks <= due + 2, "{ticks} ticks of {due}");
    // 100 ticks take far less, even unoptimized and on a busy machine.
    assert!(cpu_us < 100_000, "{cpu_us} us of CPU time in an idle second");
}

#[test]
fn a_core_that_cannot_start_says_why() {
    let wakes = [Arc::new(Wake::new().expect("an eventfd"))];
    let lanes = Lanes::mesh(&wakes).pop().expect("one");
    let [wake] = wakes;
    let config = CoreConfig {
        cpu: Some(100_000),
        slots: 16,
        listeners: Vec::new(),
        tls: None,
        lanes,
        proxies: Trusted::default(),
        wake,
        services: Services::default(),
        counters: Arc::default(),
    };
    let (ends, ended) = mpsc::channel();
    let state = || -> Relay { panic!("is not made") };
    let error = start(config, state, move || ends.send(()).expect("waited for")).expect_err("no such CPU");
    assert!(error.to_string().starts_with("this process may not run on CPU 100000"), "{error}");
    ended.recv_timeout(Duration::from_secs(5)).expect("its thread has ended");
}

#[test]
fn this_host_is_fit() {
    probe().expect("the tests need io_uring");
}
