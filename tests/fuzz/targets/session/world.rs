//! Two cores and their clients under virtual time, carried out as the engine's contract says.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use roomring::base::counters::CoreCounters;
use roomring::base::ids::{CoreId, RoomName, UserName};
use roomring::base::places::Places;
use roomring::base::time::Now;
use roomring::engine::Engine;
use roomring::engine::access::Renewal;
use roomring::engine::call::{Call, ConnOrder, RoomOrder, Whom};
use roomring::engine::hop::Hop;
use roomring::engine::input::Input;
use roomring::engine::output::Output;
use roomring::wire::client::{ServerDecoder, client_frame, deflate_agreed};
use roomring::wire::deflate::Inflater;
use roomring::wire::frame::Opcode;
use roomring::wire::mask::unmask;
use roomring::wire::protocol::{Ask, Publish};
use roomring::wire::publication::DataKind;

use super::script::{Step, command, upgrade};
use super::settings::{ROOMS, keys, settings};

/// The wall clock at the start, Unix milliseconds.
const UNIX_MS: u64 = 1_700_000_000_000;
/// Everything that is remembered for a time is forgotten after so long: keys of publishes are the last.
const FORGOTTEN_MS: u64 = 300_000;
/// Sockets of one core.
const SLOTS: u32 = 12;

struct Client {
    core: usize,
    slot: u32,
    /// It takes no bytes.
    stalled: bool,
    /// A send is under way.
    sending: bool,
    /// Nothing may be sent any more.
    said_last: bool,
    /// Nothing comes from it any more.
    ended: bool,
    /// Nor can it be read, or told anything.
    broken: bool,
    reader: Reader,
}

/// What a client has been sent: a head, then whole frames.
#[derive(Default)]
struct Reader {
    bytes: Vec<u8>,
    /// Whether compression was agreed, once the head of a WebSocket has come.
    open: Option<bool>,
    decoder: ServerDecoder,
    inflater: Inflater,
    closed: bool,
}

impl Reader {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.open.is_none() && self.bytes.starts_with(b"HTTP/1.1 101 ") {
            let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head comes whole") + 4;
            let head = String::from_utf8(self.bytes.drain(..end).collect()).expect("a head is text");
            let mut lines = head.lines();
            let answer = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
            self.open = Some(deflate_agreed(answer).expect("it was offered"));
        }
        let Some(deflates) = self.open else {
            return assert!(self.bytes.starts_with(b"HTTP/1.1 "), "an answer: {}", self.bytes.escape_ascii());
        };
        let mut rest = &self.bytes[..];
        loop {
            let next = match deflates {
                true => self.decoder.next_inflated(rest, 1 << 20, &mut self.inflater),
                false => self.decoder.next(rest, 1 << 20),
            };
            let (used, message) = next.unwrap_or_else(|error| panic!("{error}: {}", rest.escape_ascii()));
            rest = &rest[used..];
            let Some(message) = message else { break };
            assert!(!self.closed, "nothing comes behind a close frame");
            self.closed = message.opcode == Opcode::Close;
            if message.opcode == Opcode::Text && !self.closed {
                std::str::from_utf8(message.payload).expect("text is UTF-8");
            }
        }
        assert_eq!(self.decoder.held_bytes(), 0, "a send ends with a frame");
        self.bytes.clear();
    }
}

struct Core {
    engine: Engine,
    counters: Arc<CoreCounters>,
    slots: [Option<usize>; SLOTS as usize],
    output: Output,
    /// Turns in which this core's lane to the other takes nothing.
    jammed: u32,
    tick_at_us: Option<u64>,
    calls: usize,
}

pub struct World {
    choice: u8,
    now_us: u64,
    cores: [Core; 2],
    clients: Vec<Client>,
    number: u64,
}

impl World {
    pub fn new(choice: u8) -> Self {
        let settings = settings(choice);
        let places: Arc<Places> = Arc::default();
        let cores = [0, 1].map(|core| {
            let counters = Arc::new(CoreCounters::default());
            let engine = Engine::new(settings.clone(), CoreId(core), 7, counters.clone());
            let mut engine = engine.sharing(places.clone());
            let (now, mut output) = (Now { mono_us: 0, unix_ms: UNIX_MS }, Output::default());
            if choice & 16 == 0 {
                engine.handle(now, Input::Keys(keys(Renewal::None)), &mut output);
            }
            let slots = [None; SLOTS as usize];
            Core { engine, counters, slots, output, jammed: 0, tick_at_us: None, calls: 0 }
        });
        Self { choice, now_us: 0, cores, clients: Vec::new(), number: 0 }
    }

    fn now(&self) -> Now {
        Now { mono_us: self.now_us, unix_ms: UNIX_MS + self.now_us / 1_000 }
    }

    /// A client that is there: by its number, else the last.
    fn client(&self, who: usize) -> Option<usize> {
        let at = if who == 255 { self.clients.len().checked_sub(1)? } else { who % self.clients.len().max(1) };
        self.clients.get(at).is_some_and(|client| self.holds(at, client)).then_some(at)
    }

    fn holds(&self, at: usize, client: &Client) -> bool {
        self.cores[client.core].slots[client.slot as usize] == Some(at)
    }

    pub fn take(&mut self, step: Step<'_>) {
        self.number += 1;
        match step {
            Step::Connect { core, address } => self.connect(core, address),
            Step::Upgrade { client, kind } => self.receive(client, upgrade(kind).into_bytes()),
            Step::Bytes { client, bytes } => self.receive(client, bytes.to_vec()),
            Step::Frame { client, first, payload } => self.receive(client, frame(first, payload)),
            Step::Command { client, kind, room } => {
                let text = command(kind, room, self.number);
                self.receive(client, client_frame(Opcode::Text, text.as_bytes(), [1, 2, 3, 4]));
            }
            Step::Wait { ms } => self.wait(ms),
            Step::Stall { client } => {
                if let Some(client) = self.client(client) {
                    self.clients[client].stalled ^= true;
                    self.go_on(client);
                }
            }
            Step::Leave { client } => {
                if let Some(client) = self.client(client) {
                    self.end_somehow(client);
                }
            }
            Step::Jam { core } => self.cores[core].jammed = 30,
            Step::Operate { core, kind, room } => self.operate(core, kind, room),
        }
        // Hops of one step are handled before the next, unless a lane is jammed.
        (0..4).for_each(|round| self.turn(round % 2, None));
    }

    fn connect(&mut self, core: usize, address: u8) {
        let Some(slot) = self.cores[core].slots.iter().position(Option::is_none) else { return };
        self.cores[core].slots[slot] = Some(self.clients.len());
        let slot = slot as u32;
        let reader = Reader::default();
        self.clients.push(Client {
            core,
            slot,
            stalled: false,
            sending: false,
            said_last: false,
            ended: false,
            broken: false,
            reader,
        });
        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, address));
        self.turn(core, Some(Input::Accepted { slot, peer }));
    }

    fn receive(&mut self, client: usize, mut bytes: Vec<u8>) {
        let Some(client) = self.client(client).filter(|_| !bytes.is_empty()) else { return };
        let Client { core, slot, ended, broken, .. } = self.clients[client];
        if ended || broken {
            return;
        }
        self.turn(core, Some(Input::Received { slot, bytes: &mut bytes }));
    }

    /// A client ends its stream, or sends what cannot be read, or its socket fails.
    fn end_somehow(&mut self, client: usize) {
        let Client { core, slot, ended, broken, .. } = self.clients[client];
        match self.number % 3 {
            0 if !ended => {
                self.clients[client].ended = true;
                self.turn(core, Some(Input::Ended { slot }));
            }
            1 if !ended && !broken => {
                self.clients[client].broken = true;
                self.turn(core, Some(Input::Broken { slot }));
            }
            _ => self.leave(client),
        }
    }

    fn leave(&mut self, client: usize) {
        let Client { core, slot, .. } = self.clients[client];
        self.turn(core, Some(Input::Disconnected { slot }));
        assert_ne!(self.cores[core].slots[slot as usize], Some(client), "whoever has gone is closed in the same turn");
    }

    /// The kernel takes the send under way, if its reader reads.
    fn go_on(&mut self, client: usize) {
        let Client { core, slot, sending, stalled, broken, .. } = self.clients[client];
        if sending && !stalled && !broken && self.cores[core].slots[slot as usize] == Some(client) {
            self.clients[client].sending = false;
            self.turn(core, Some(Input::Sent { slot }));
        }
    }

    fn operate(&mut self, core: usize, kind: u8, room: usize) {
        let room = RoomName::new(ROOMS[room]).expect("a name");
        let user = || UserName::new("alice").expect("a name");
        let ask = |ask| Call::Room { room: room.clone(), from: user(), ask };
        let call = match kind % 16 {
            0 => Call::Rooms { from: 0, limit: 3, order: RoomOrder::Members },
            1 => Call::Rooms { from: 1, limit: 1_000, order: RoomOrder::Rate },
            2 => Call::Connections { from: 0, limit: 2, order: ConnOrder::Queued, user: None, room: Some(room) },
            3 => Call::Connections { from: 0, limit: 9, order: ConnOrder::Slot, user: Some(user()), room: None },
            4 => Call::Disconnect { whom: Whom::User(user()), from: 0, reason: Some("enough".into()) },
            5 => Call::Kick { room, user: user(), from: 0 },
            6 => ask(Ask::Summary),
            7 => ask(Ask::Presence { after: None, limit: 3 }),
            8 => ask(Ask::History { after: Some(0), before: None, limit: 300 }),
            9 | 10 => {
                let data = Bytes::from_static(b"[1,2]");
                let key = (kind & 64 == 0).then(|| "same".into());
                let ephemeral = kind & 16 != 0;
                ask(Ask::Publish(Publish { kind: DataKind::Json, data, key, echo: true, ephemeral }))
            }
            11 => {
                return self.turn(core, Some(Input::Settings(settings(self.choice ^ (kind >> 5)))));
            }
            12 => return self.turn(core, Some(Input::Keys(keys(Renewal::Renewed)))),
            13 => return self.turn(core, Some(Input::Drain { window_ms: 1_000, hands_over: kind & 64 != 0 })),
            14 => return self.cores[core].engine.charge_io(u64::from(kind) * 10),
            _ => return self.wait(100),
        };
        self.cores[core].calls += 1;
        self.turn(core, Some(Input::Call { token: self.number, call }));
    }

    /// Time goes on from tick to tick.
    fn wait(&mut self, ms: u64) {
        let end_us = self.now_us + ms * 1_000;
        loop {
            let due = (0..2).filter_map(|core| Some((self.cores[core].tick_at_us?, core))).min();
            match due {
                Some((at_us, core)) if at_us <= end_us => {
                    self.now_us = self.now_us.max(at_us);
                    self.turn(core, Some(Input::Tick));
                    self.turn(1 - core, None);
                }
                _ => break,
            }
        }
        self.now_us = end_us;
    }

    /// One turn of a core, as its pump makes it.
    fn turn(&mut self, at: usize, input: Option<Input<'_>>) {
        let now = self.now();
        let is_tick = matches!(input, Some(Input::Tick));
        let core = &mut self.cores[at];
        let mut output = std::mem::take(&mut core.output);
        if let Some(input) = input {
            core.engine.handle(now, input, &mut output);
        }
        let mut more = core.engine.finish_turn(now, &mut output);
        self.carry_out(at, &mut output);
        for _ in 0..1_000 {
            if !more {
                break;
            }
            more = self.cores[at].engine.finish_turn(now, &mut output);
            self.carry_out(at, &mut output);
        }
        assert!(!more, "sends come to an end");
        self.cores[at].output = output;
        let open: u64 = self.cores.iter().map(|core| core.counters.connections.get()).sum();
        assert!(open <= u64::from(settings(self.choice).max_connections), "{open} connections");
        let wanted = self.cores[at].engine.next_tick_us(now);
        assert!(!is_tick || wanted.is_none_or(|wanted| wanted > now.mono_us), "a tick right after a tick");
        self.cores[at].tick_at_us = wanted;
        self.send_hops(at);
    }

    fn carry_out(&mut self, at: usize, output: &mut Output) {
        let mut taken = Vec::new();
        for send in output.sends.drain(..) {
            let client = self.cores[at].slots[send.slot as usize].expect("a send for a slot that holds a socket");
            let client_state = &mut self.clients[client];
            let may_send = !client_state.sending && !client_state.said_last && !client_state.broken;
            assert!(may_send && !send.bytes.is_empty(), "a send out of turn");
            client_state.sending = true;
            client_state.said_last = send.is_last;
            client_state.reader.take(&send.bytes);
            taken.push(client);
        }
        for slot in output.shutdowns.drain(..) {
            let client = self.cores[at].slots[slot as usize].expect("a shutdown of a slot that holds a socket");
            self.clients[client].said_last = true;
        }
        for slot in output.closes.drain(..) {
            self.cores[at].slots[slot as usize].take().expect("a slot that holds a socket is closed, and once");
        }
        self.cores[at].calls -= output.answers.len();
        assert!(output.link.is_empty() && output.store.is_empty(), "there is neither");
        let Output { answers, ended, refused, tokens_refused, keys_wanted, .. } = output;
        answers.clear();
        ended.clear();
        refused.clear();
        tokens_refused.clear();
        *keys_wanted = false;
        taken.into_iter().for_each(|client| self.go_on(client));
    }

    fn send_hops(&mut self, from: usize) {
        let (from_id, to_id) = (CoreId(from as u16), CoreId(1 - from as u16));
        let mut hops: Vec<Hop> = self.cores[from].engine.take_staged(to_id, Vec::new());
        if hops.is_empty() {
            return;
        }
        if self.cores[from].jammed > 0 {
            self.cores[from].jammed -= 1;
            let rest = self.cores[from].engine.put_back(to_id, hops);
            return assert!(rest.is_empty(), "put_back keeps something");
        }
        while !hops.is_empty() {
            let before = hops.len();
            self.turn(1 - from, Some(Input::Hops { from: from_id, hops: &mut hops }));
            assert!(hops.len() < before, "a turn takes one at least");
        }
    }

    /// All clients leave, all time passes: nothing is left of them.
    pub fn end(&mut self) {
        self.cores.iter_mut().for_each(|core| core.jammed = 0);
        self.cores.iter_mut().for_each(|core| core.engine.charge_io(0));
        for client in 0..self.clients.len() {
            if self.holds(client, &self.clients[client]) {
                self.leave(client);
            }
        }
        (0..20).for_each(|round| self.turn(round % 2, None));
        self.wait(FORGOTTEN_MS);
        (0..4).for_each(|round| self.turn(round % 2, None));
        for (at, core) in self.cores.iter().enumerate() {
            let counters = &core.counters;
            let left = [
                ("connections", counters.connections.get()),
                ("upgrading", counters.upgrading.get()),
                ("members", counters.members.get()),
                ("rooms", counters.rooms.get()),
                ("rooms held", counters.rooms_held.get()),
                ("hops staged", counters.lane_depth.get()),
                ("bytes charged", counters.memory_charged.get()),
                ("calls without answer", core.calls as u64),
                ("open slots", core.engine.open_slots() as u64),
            ];
            assert!(left.iter().all(|(_, count)| *count == 0), "core {at} keeps {left:?}");
        }
    }
}

/// A masked frame with any first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = client_frame(Opcode::Binary, payload, [9, 8, 7, 6]);
    frame[0] = first;
    debug_assert!({
        let start = frame.len() - payload.len();
        unmask(&mut frame[start..], [9, 8, 7, 6], 0);
        let same = &frame[start..] == payload;
        unmask(&mut frame[start..], [9, 8, 7, 6], 0);
        same
    });
    frame
}
