//! Engines driven as a core's loop drives them, in virtual time: inputs in the order in which they came, turns that end
//! when the engine takes no more, hops through lanes, and readers that read as they are told.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::limits::{TICK_MS, TURN_BYTES_MAX};
use crate::base::time::Now;
use crate::engine::Engine;
use crate::engine::hop::Hop;
use crate::engine::input::Input;
use crate::engine::output::Output;
use crate::engine::settings::Settings;
use crate::wire::client::{ServerDecoder, client_frame};
use crate::wire::frame::Opcode;

/// Bytes that arrive at once, as io receives them.
const RECEIVED_BYTES: usize = 2_048;

/// How long a turn takes.
const TURN_US: u64 = 50;

/// How long nothing happens before it is looked what readers have taken meanwhile.
const STEP_US: u64 = 5_000;

/// How a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Everything at once.
    AtOnce,
    /// So many bytes a second.
    BytesPerSecond(u64),
    /// Nothing any more.
    Nothing,
}

enum Arrived {
    Socket(u32),
    Bytes(u32, Vec<u8>),
    Sent(u32),
}

/// One client.
pub struct Reader {
    pub reads: Reads,
    decoder: ServerDecoder,
    head: Vec<u8>,
    is_open: bool,
    /// What is under way to it, and how much of that the kernel has taken.
    sending: Option<(Vec<u8>, u64)>,
    /// What it has read: the JSON of text messages, and of binary ones their op and payload.
    pub heard: Vec<Value>,
    pub binary: Vec<Vec<u8>>,
    /// The code of a close frame.
    pub closed: Option<u16>,
}

struct Core {
    engine: Engine,
    counters: Arc<CoreCounters>,
    arrived: VecDeque<Arrived>,
    batches: VecDeque<(CoreId, Vec<Hop>)>,
    readers: BTreeMap<u32, Reader>,
    output: Output,
    ticked: u64,
}

/// A machine.
pub struct TimedMachine {
    cores: Vec<Core>,
    pub now: Now,
    /// The most bytes that were charged on one core.
    pub charged_max: u64,
    /// The most bytes that one turn has taken from sockets.
    pub taken_max: usize,
}

/// A connection: its core and its slot.
pub type At = (usize, u32);

impl TimedMachine {
    pub fn new(settings: Settings) -> TimedMachine {
        let settings = Arc::new(settings);
        let core = |core| {
            let counters = Arc::new(CoreCounters::default());
            Core {
                engine: Engine::new(settings.clone(), CoreId(core), 1, counters.clone()),
                counters,
                arrived: VecDeque::new(),
                batches: VecDeque::new(),
                readers: BTreeMap::new(),
                output: Output::default(),
                ticked: 0,
            }
        };
        let now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };
        TimedMachine { cores: (0..settings.cores).map(core).collect(), now, charged_max: 0, taken_max: 0 }
    }

    /// A client connects to a core, and asks for `query` there.
    pub fn connect(&mut self, core: usize, query: &str, reads: Reads) -> At {
        self.connect_as(core, query, "", reads)
    }

    pub fn connect_as(&mut self, core: usize, query: &str, headers: &str, reads: Reads) -> At {
        let slot = self.cores[core].readers.len() as u32;
        let reader = Reader {
            reads,
            decoder: ServerDecoder::default(),
            head: Vec::new(),
            is_open: false,
            sending: None,
            heard: Vec::new(),
            binary: Vec::new(),
            closed: None,
        };
        self.cores[core].readers.insert(slot, reader);
        self.cores[core].arrived.push_back(Arrived::Socket(slot));
        let head = format!(
            "GET /ws?{query} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.write((core, slot), head.as_bytes());
        (core, slot)
    }

    /// A client writes.
    pub fn write(&mut self, (core, slot): At, bytes: &[u8]) {
        let pieces = bytes.chunks(RECEIVED_BYTES).map(|piece| Arrived::Bytes(slot, piece.to_vec()));
        self.cores[core].arrived.extend(pieces);
    }

    /// A client asks something.
    pub fn say(&mut self, at: At, command: &str) {
        self.write(at, &client_frame(Opcode::Text, command.as_bytes(), [1, 2, 3, 4]));
    }

    pub fn reader(&mut self, (core, slot): At) -> &mut Reader {
        self.cores[core].readers.get_mut(&slot).expect("it has connected")
    }

    pub fn counters(&self, core: usize) -> &CoreCounters {
        &self.cores[core].counters
    }

    /// Runs until nothing is left to do but to wait.
    pub fn settle(&mut self) {
        while self.round() {}
    }

    /// Runs for so long.
    pub fn pass(&mut self, ms: u64) {
        let until_us = self.now.mono_us + ms * 1_000;
        while self.now.mono_us < until_us {
            if !self.round() {
                self.advance(until_us.min(self.now.mono_us + STEP_US));
            }
        }
    }

    fn advance(&mut self, to_us: u64) {
        let us = to_us - self.now.mono_us;
        self.now.mono_us = to_us;
        self.now.unix_ms = 1_700_000_000_000 + to_us / 1_000;
        for core in &mut self.cores {
            for (slot, reader) in &mut core.readers {
                if let Reads::BytesPerSecond(rate) = reader.reads
                    && reader.take(us * rate)
                {
                    core.arrived.push_back(Arrived::Sent(*slot));
                }
            }
        }
    }

    /// A turn of every core. Whether one had something to do.
    fn round(&mut self) -> bool {
        let mut worked = false;
        for core in 0..self.cores.len() {
            worked |= self.turn(core);
        }
        if worked {
            self.advance(self.now.mono_us + TURN_US);
        }
        worked
    }

    fn turn(&mut self, index: usize) -> bool {
        let now = self.now;
        let core = &mut self.cores[index];
        let Core { engine, output, .. } = core;
        let (mut worked, mut taken) = (false, 0);
        while engine.takes_input()
            && let Some(arrived) = core.arrived.pop_front()
        {
            worked = true;
            match arrived {
                Arrived::Socket(slot) => {
                    engine.handle(now, Input::Accepted { slot, peer: IpAddr::from([192, 0, 2, 1]) }, output);
                }
                Arrived::Bytes(slot, mut bytes) => {
                    taken += bytes.len();
                    engine.handle(now, Input::Received { slot, bytes: &mut bytes }, output);
                }
                Arrived::Sent(slot) => engine.handle(now, Input::Sent { slot }, output),
            }
        }
        self.taken_max = self.taken_max.max(taken);
        while engine.takes_hops()
            && let Some((from, mut hops)) = core.batches.pop_front()
        {
            worked = true;
            engine.handle(now, Input::Hops { from, hops: &mut hops }, output);
            if !hops.is_empty() {
                core.batches.push_front((from, hops));
            }
        }
        if now.mono_ms() / TICK_MS > core.ticked {
            core.ticked = now.mono_ms() / TICK_MS;
            engine.handle(now, Input::Tick, output);
        }
        worked |= engine.finish_turn(now, output);
        self.charged_max = self.charged_max.max(core.counters.memory_charged.get());
        self.carry_out(index) || worked
    }

    fn carry_out(&mut self, index: usize) -> bool {
        let core = &mut self.cores[index];
        let mut worked = false;
        for send in core.output.sends.drain(..) {
            worked = true;
            let reader = core.readers.get_mut(&send.slot).expect("it has connected");
            assert!(reader.sending.replace((send.bytes.to_vec(), 0)).is_none(), "one send at a time");
            if reader.reads == Reads::AtOnce && reader.take(u64::MAX) {
                core.arrived.push_back(Arrived::Sent(send.slot));
            }
        }
        let closes = std::mem::take(&mut core.output.closes);
        core.arrived.retain(|arrived| match arrived {
            Arrived::Socket(slot) | Arrived::Bytes(slot, _) | Arrived::Sent(slot) => !closes.contains(slot),
        });
        for slot in closes {
            core.readers.get_mut(&slot).expect("it has connected").sending = None;
        }
        for to in (0..self.cores.len()).filter(|to| *to != index) {
            let hops = self.cores[index].engine.take_staged(CoreId(to as u16), Vec::new());
            if !hops.is_empty() {
                worked = true;
                self.cores[to].batches.push_back((CoreId(index as u16), hops));
            }
        }
        worked
    }
}

impl Reader {
    /// The kernel takes so many millionths of bytes more. Whether that was the rest.
    fn take(&mut self, more: u64) -> bool {
        let Some((bytes, taken)) = &mut self.sending else { return false };
        *taken = taken.saturating_add(more);
        if *taken / 1_000_000 < bytes.len() as u64 && more < u64::MAX {
            return false;
        }
        let bytes = self.sending.take().expect("just seen").0;
        self.read(&bytes);
        true
    }

    fn read(&mut self, bytes: &[u8]) {
        let mut used = 0;
        if !self.is_open {
            self.head.extend_from_slice(bytes);
            let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else { return };
            assert!(self.head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&self.head));
            used = end + 4;
            self.is_open = true;
        }
        while used < bytes.len() {
            let (consumed, message) = self.decoder.next(&bytes[used..], 1 << 30).expect("a sound server");
            used += consumed;
            let Some(message) = message else { return };
            match message.opcode {
                Opcode::Text => self.heard.push(parse(std::str::from_utf8(message.payload).expect("UTF-8"))),
                Opcode::Binary => self.binary.push(message.payload.to_vec()),
                Opcode::Close => self.closed = Some(u16::from_be_bytes([message.payload[0], message.payload[1]])),
                _ => {}
            }
        }
    }

    /// What was heard of one kind about one room.
    pub fn of<'a>(&'a self, kind: &'a str, room: &'a str) -> impl Iterator<Item = &'a Value> {
        self.heard.iter().filter(move |push| push["type"] == kind && push["room"] == room)
    }

    /// The seqs of a room in the order in which they came, those inside `joined` too.
    pub fn seqs(&self, room: &str) -> Vec<u64> {
        let mut seqs = Vec::new();
        for push in self.heard.iter().filter(|push| push["room"] == room) {
            let inside = push["messages"].as_array().into_iter().flatten();
            seqs.extend(inside.filter_map(|message| message["seq"].as_u64()));
            if push["type"] == "message" {
                seqs.push(push["seq"].as_u64().expect("a seq"));
            }
        }
        seqs
    }
}

/// What a text message says; of a room's message all but the data, which is nothing to these tests.
fn parse(text: &str) -> Value {
    let is_message = text.starts_with(r#"{"type":"message""#);
    let end = text.find(r#","data":"#).filter(|_| is_message).unwrap_or(text.len() - 1);
    serde_json::from_str(&format!("{}}}", &text[..end])).expect("JSON")
}

const _: () = assert!(TURN_BYTES_MAX > RECEIVED_BYTES);
