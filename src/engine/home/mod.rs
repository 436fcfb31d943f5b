//! The home half of an engine: this core's connections. Hears sockets by inputs and owners by hops; answers by sends,
//! closes and hops. Never numbers a message and never knows who else is in a room.
//!
//! `upgrade` opens a connection once `admission` has let it in, or `refusing` tells it why not; `verification` judges its
//! token, `tokens` knows what that allows and until when. `inbound` turns its bytes into commands, `commands` carries them
//! out at the `pace` that they may have, `pongs` answers its pings. `hops` hears the owners' answers, `delivery` what they
//! send to all members, `news` who is there; `late` keeps what must be told and meets a full lane. `crowd` bounds sockets
//! that are no WebSocket, `closing` ends a connection, `shedding` ends those that hold the most when memory is short.
//! `timers` does what time asks for, `reload` takes over other settings, `calls` does what the control address asks for.

mod admission;
mod calls;
mod closing;
mod commands;
mod crowd;
mod delivery;
mod hops;
mod inbound;
mod late;
mod news;
mod pace;
mod pongs;
mod refusing;
mod reload;
mod shedding;
#[cfg(test)]
mod tests;
mod timers;
mod tokens;
mod traces;
mod upgrade;
mod verification;
mod worst;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::FixedState;

use self::admission::Waiting;
use self::late::Late;
use self::pace::Pace;
use self::pongs::Pongs;
use self::shedding::Shedding;
use self::timers::Timers;
use self::tokens::Tokens;
use self::traces::Traced;
use super::audience::Audiences;
use super::budget::Budget;
use super::limiter::Limiter;
use super::outbound::Outbound;
use super::outbox::{Encoder, Outboxes, Outgoing, Role};
use super::output::Output;
use super::packer::Packer;
use super::peers::Peers;
use super::random::{Part, Random, Secrets};
use super::session::{Phase, SEEN_UNIT_MS, Session};
use super::settings::Settings;
use super::table::Table;
use crate::base::codes::ErrorCode;
use crate::base::counters::CoreCounters;
use crate::base::ids::{ConnId, CoreId, RoomName, Seq};
use crate::base::limits::{CONNECTION_BYTES, SENDS_PER_TURN_MAX};
use crate::base::places::Places;
use crate::base::time::Now;
use crate::wire::deflate::Inflater;
use crate::wire::encode::{encode_push, encode_reply};
use crate::wire::protocol::{Push, Reply, ReplyTo};
use crate::wire::publication::Publication;
use crate::wire::reading::Reading;

/// What the home half acts through: borrowed from the engine for one call.
pub struct HomeEffects<'a> {
    /// When it is.
    pub now: Now,
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// What is counted on this core, for what cannot wait for a hop to itself.
    pub limiter: &'a mut Limiter,
    /// Queued frames, partial heads and messages are charged here.
    pub budget: &'a mut Budget,
    /// Compresses what connections read so.
    pub packer: &'a mut Packer,
    /// This core's numbers.
    pub counters: &'a CoreCounters,
    /// Sockets and the log.
    pub output: &'a mut Output,
}

/// The connections of one core.
#[derive(Debug)]
pub struct Home {
    settings: Arc<Settings>,
    core: CoreId,
    random: Random,
    sessions: Table<Session>,
    peers: Peers,
    outboxes: Outboxes,
    audiences: Audiences,
    timers: Timers,
    /// Auth mode `jwt`; `None` in mode `open`.
    tokens: Option<Box<Tokens>>,
    /// Request heads of which a part has arrived, by slot: few at any time.
    heads: HashMap<u32, Box<[u8]>, FixedState>,
    /// Upgrades that wait to be let in, by slot.
    waiting: HashMap<u32, Box<Waiting>, FixedState>,
    /// In how many milliseconds those may come back whose address connects too often, by slot, while they still wait to be
    /// told so: few at any time.
    too_often: HashMap<u32, u64, FixedState>,
    /// How fast connections send, by slot: of those that have sent of late.
    paces: HashMap<u32, Pace, FixedState>,
    /// Pings that are not answered yet.
    pongs: Pongs,
    /// What is done when memory is short.
    shedding: Shedding,
    /// Bytes of `heads`.
    heads_bytes: usize,
    /// Given to the next accepted connection.
    next_generation: u32,
    /// Slots below it have been used.
    slots_used: u32,
    /// Slots that hold a socket.
    sockets: u32,
    /// What each connection is charged with beside its user's name.
    connection_bytes: usize,
    /// Slots that hold a WebSocket, closing ones included.
    websockets: u32,
    /// WebSockets that are open: what the limits on connections count.
    open: u32,
    /// Those of all cores of the process.
    places: Arc<Places>,
    draining: bool,
    /// Audiences (index and stream) that have publications pending in this turn.
    pending: Vec<(u32, u32)>,
    /// Arrival and number of the deliveries queued in this turn, for the publish-to-flush time.
    delivered: Vec<(u64, u64)>,
    /// Sampled publications that came in this turn: none where nothing is traced.
    traced: Vec<Traced>,
    /// Members whose queue could not take the frame at hand. Kept for its memory.
    lagging: Vec<u32>,
    /// Bytes of what connections were told in answer since this was last asked for.
    said_bytes: usize,
    /// What waits for lanes to be told.
    late: Late,
    /// Members (by audience and slot) who have missed news.
    behind: BTreeSet<(u32, u32)>,
    /// The first of them to be looked at next.
    behind_from: (u32, u32),
    /// Inflates what connections compress. Away while it lends a message.
    inflater: Inflater,
}

impl Home {
    /// No connections.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, secrets: &Secrets) -> Self {
        let mut random = secrets.shown(core, Part::Home);
        let mut home = Self {
            core,
            audiences: Audiences::new(secrets.tables(core, Part::Home).hashing()),
            // Then one after the other, so that a slot never has one twice. A connection's id is a name and no secret.
            next_generation: random.next_u64() as u32,
            random,
            sessions: Table::new(),
            peers: Peers::default(),
            outboxes: Outboxes::new(settings.outbox_bytes),
            timers: Timers::new(&settings),
            tokens: None,
            heads: HashMap::default(),
            waiting: HashMap::default(),
            too_often: HashMap::default(),
            paces: HashMap::default(),
            pongs: Pongs::default(),
            shedding: Shedding::default(),
            heads_bytes: 0,
            slots_used: 0,
            sockets: 0,
            connection_bytes: CONNECTION_BYTES + settings.io_bytes_per_connection,
            websockets: 0,
            open: 0,
            places: Arc::default(),
            draining: false,
            pending: Vec::new(),
            delivered: Vec::new(),
            traced: Vec::new(),
            lagging: Vec::new(),
            said_bytes: 0,
            late: Late::new(settings.cores),
            behind: BTreeSet::new(),
            behind_from: (0, 0),
            inflater: Inflater::default(),
            settings,
        };
        if let Some(last) = home.settings.warm_connections.checked_sub(1) {
            home.sessions.reach(last);
            home.peers.reach(last);
            home.outboxes.reach(last);
        }
        home
    }

    /// Counts open WebSockets where other cores of the process count theirs.
    pub fn share(&mut self, places: Arc<Places>) {
        debug_assert_eq!(self.open, 0, "before the first connection");
        self.places = places;
    }

    /// A socket was accepted from `peer`.
    pub fn accepted(&mut self, slot: u32, peer: IpAddr, effects: &mut HomeEffects<'_>) {
        self.sessions.reach(slot);
        self.outboxes.reach(slot);
        self.peers.set(slot, peer);
        self.slots_used = self.slots_used.max(slot + 1);
        let session = self.sessions.at_mut(slot);
        assert_eq!(session.phase, Phase::Free, "io gives a slot out again only after it was closed");
        session.generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        session.phase = Phase::Head;
        session.note_accepted(effects.now);
        self.sockets += 1;
        effects.counters.accepted.add(1);
        effects.counters.upgrading.add(1);
        if !self.count_connect(slot, effects) {
            return;
        }
        self.make_way(effects);
        self.timers.expect_head(effects.now, slot, self.sessions.at(slot).generation);
    }

    /// A proxy has told who is behind a socket.
    pub fn told_peer(&mut self, slot: u32, peer: IpAddr, effects: &mut HomeEffects<'_>) {
        debug_assert_eq!(self.sessions.at(slot).phase, Phase::Head, "before any byte");
        self.peers.set(slot, peer);
        self.count_connect(slot, effects);
    }

    /// Who is at the other end of a slot in use, as far as it is known: the peer of its socket, or the client that a
    /// trusted proxy in between has named. Never an IPv4 address in IPv6's form.
    #[must_use]
    pub fn address(&self, slot: u32) -> IpAddr {
        self.peers.get(slot)
    }

    /// Bytes arrived.
    pub fn received(&mut self, slot: u32, bytes: &mut [u8], effects: &mut HomeEffects<'_>) {
        effects.counters.bytes_received.add(bytes.len() as u64);
        let session = self.sessions.at_mut(slot);
        session.stats.bytes_received += bytes.len() as u64;
        session.last_seen = (effects.now.mono_ms() / SEEN_UNIT_MS) as u32;
        match session.phase {
            Phase::Head => self.receive_head(slot, bytes, effects),
            Phase::Open | Phase::Closing => self.receive_messages(slot, bytes, effects),
            Phase::Ending | Phase::Lingering => {}
            Phase::Free => debug_assert!(false, "bytes for a slot without a socket"),
        }
    }

    /// The kernel has taken the last send whole.
    pub fn sent(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let is_empty = self.outboxes.sent(slot, effects.budget);
        if !self.outboxes.is_sending(slot) {
            self.put_pong(slot, effects);
        }
        if is_empty {
            self.all_sent(slot, effects);
        }
    }

    /// Hands out the turn's sends. Returns whether more wait than fit in one turn.
    pub fn flush(&mut self, effects: &mut HomeEffects<'_>) -> bool {
        self.put_all_pending(effects);
        self.put_pongs(effects);
        self.shed(effects);
        self.tell_traced(effects);
        if self.outboxes.has_dirty() {
            let Self { outboxes, sessions, .. } = self;
            let HomeEffects { budget, counters, packer, output, .. } = effects;
            let mut encoder = LateEncoder { sessions, packer, counters };
            let mut flushed = std::mem::take(&mut self.timers.flushed);
            let sends = &mut output.sends;
            let before = sends.len();
            outboxes.flush(sends, budget, counters, &mut encoder, &mut |handed| flushed.push(handed));
            for (handed, send) in flushed.drain(..).zip(&mut sends[before..]) {
                let session = sessions.at_mut(handed.slot);
                let ends = matches!(session.phase, Phase::Ending | Phase::Lingering);
                send.is_last = ends && !outboxes.has_queued(handed.slot);
                session.stats.messages_sent = session.stats.messages_sent.wrapping_add(handed.messages);
                session.stats.bytes_sent += u64::from(handed.bytes);
            }
            self.timers.flushed = flushed;
        }
        let more = self.outboxes.has_dirty();
        if more && self.delivered.len() < SENDS_PER_TURN_MAX {
            return more;
        }
        for (arrived_us, count) in self.delivered.drain(..) {
            effects.counters.publish_to_flush.record(effects.now.mono_us.saturating_sub(arrived_us), count);
        }
        more
    }

    /// WebSockets there are, closing ones included; and every socket while a drain that hands over waits for heads.
    #[must_use]
    pub fn awaited(&self) -> usize {
        if self.awaits_heads() { self.sockets as usize } else { self.websockets as usize }
    }

    /// The session of a connection that is still there.
    fn session_of(&self, conn: ConnId) -> Option<&Session> {
        debug_assert_eq!(conn.home, self.core);
        self.sessions
            .get(conn.slot)
            .filter(|session| session.generation == conn.generation && session.phase == Phase::Open)
    }

    /// Queues a frame that answers or informs one connection; one that does not read its answers is a slow consumer.
    fn say(&mut self, slot: u32, bytes: Bytes, effects: &mut HomeEffects<'_>) {
        self.say_of(slot, None, bytes, effects);
    }

    /// The same of what is said about a room: it comes behind everything that the room has said before.
    fn say_of(&mut self, slot: u32, room: Option<&RoomName>, bytes: Bytes, effects: &mut HomeEffects<'_>) {
        let bytes = match self.sessions.at(slot).reading {
            Some(reading) => pack(reading, bytes, effects),
            None => bytes,
        };
        self.said_bytes += bytes.len();
        let messages = crate::wire::frame::count_messages(&bytes);
        let outgoing = Outgoing { bytes, messages, role: Role::Other };
        match room.filter(|room| self.outboxes.is_behind(slot, room)) {
            None => self.outboxes.push(slot, outgoing, effects.budget),
            Some(room) => {
                let frame = self.outboxes.add(outgoing, effects.budget);
                self.outboxes.hold(slot, self.source_of(room), frame, effects.budget);
                self.outboxes.release(frame, effects.budget);
            }
        }
        self.bound_replies(slot, effects);
    }

    fn reply(&mut self, slot: u32, reply: &Reply<'_>, to: ReplyTo, effects: &mut HomeEffects<'_>) {
        if to.wants_reply() {
            self.say(slot, encode_reply(reply, to), effects);
        }
    }

    /// Bytes of what connections were told in answer since this was last asked for.
    pub fn take_said_bytes(&mut self) -> usize {
        std::mem::take(&mut self.said_bytes)
    }

    fn refuse(&mut self, slot: u32, code: ErrorCode, message: &str, to: ReplyTo, effects: &mut HomeEffects<'_>) {
        self.refuse_until(slot, (code, message), None, to, effects);
    }

    /// Refuses, and says in how many milliseconds it may be tried again.
    fn refuse_until(
        &mut self,
        slot: u32,
        (code, message): (ErrorCode, &str),
        retry_after_ms: Option<u64>,
        to: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) {
        self.refuse_of(slot, None, (code, message, retry_after_ms), to, effects);
    }

    /// The same behind everything that a room has said before.
    fn refuse_of(
        &mut self,
        slot: u32,
        room: Option<&RoomName>,
        (code, message, retry_after_ms): (ErrorCode, &str, Option<u64>),
        to: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) {
        effects.counters.errors.add(1);
        effects.counters.causes.command_refused(code);
        let error = Reply::Error { code, message, retry_after_ms };
        self.say_of(slot, room, encode_reply(&error, to), effects);
        if code == ErrorCode::RateLimited {
            self.note_rate_refusal(slot, effects);
        }
    }
}

/// Finished frames as someone who reads so gets them.
fn pack(reading: Reading, bytes: Bytes, effects: &mut HomeEffects<'_>) -> Bytes {
    pack_with(effects.packer, reading, bytes, effects.counters)
}

fn pack_with(packer: &mut Packer, reading: Reading, bytes: Bytes, counters: &CoreCounters) -> Bytes {
    let Some(window) = reading.window() else { return bytes };
    packer.pack(window, &bytes, counters).unwrap_or(bytes)
}

/// Encodes what is not encoded before it goes out.
struct LateEncoder<'a> {
    sessions: &'a Table<Session>,
    packer: &'a mut Packer,
    counters: &'a CoreCounters,
}

impl LateEncoder<'_> {
    fn reading(&self, slot: u32) -> Reading {
        self.sessions.at(slot).reading.expect("only connections that were open are members")
    }
}

impl Encoder for LateEncoder<'_> {
    fn gap(&mut self, slot: u32, room: &RoomName, from: Seq, to: Seq) -> Bytes {
        encode_push(&Push::Gap { room, from, to }, self.reading(slot).form())
    }

    fn message(&mut self, slot: u32, room: &RoomName, message: &Publication) -> Bytes {
        let reading = self.reading(slot);
        pack_with(self.packer, reading, message.frame(room, reading.form()), self.counters)
    }
}
